package disk

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"cairn/internal/command"
	"cairn/internal/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// volume is an ext4 file system in an image on a loop device.
type volume struct {
	image, device, uuid string
}

func run(t testing.TB, argv ...string) string {
	t.Helper()
	r, err := command.Run(t.Context(), command.Spec{Argv: argv})
	if err != nil {
		t.Fatalf("%v: %v\n%s", argv, err, r.Stderr)
	}
	return strings.TrimSpace(string(r.Stdout))
}

// late runs a command of a cleanup, when the test's own context has ended.
func late(t testing.TB, argv ...string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 20*time.Second)
	defer cancel()
	_, _ = command.Run(ctx, command.Spec{Argv: argv})
}

func newVolume(t testing.TB, uuid string, flags ...string) volume {
	t.Helper()
	if os.Geteuid() != 0 {
		testkit.Need(t, "root, to set up a loop device")
	}
	for _, tool := range []string{"losetup", "mkfs.ext4", "mount", "umount"} {
		testkit.Program(t, tool, "/usr/sbin/"+tool, "/sbin/"+tool)
	}
	v := volume{image: filepath.Join(t.TempDir(), "image"), uuid: uuid}
	if err := os.WriteFile(v.image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(v.image, 48<<20); err != nil {
		t.Fatal(err)
	}
	run(t, append(append([]string{"mkfs.ext4", "-q", "-F", "-m", "0", "-U", uuid}, flags...), v.image)...)
	r, err := command.Run(t.Context(), command.Spec{Argv: []string{"losetup", "--find", "--show", v.image}})
	if err != nil {
		testkit.Need(t, fmt.Sprintf("a free loop device (%v: %s)", err, r.Stderr))
	}
	v.device = strings.TrimSpace(string(r.Stdout))
	t.Cleanup(func() { late(t, "losetup", "-d", v.device) })
	return v
}

func mountPoint(t testing.TB) string {
	t.Helper()
	point := filepath.Join(t.TempDir(), "the usb disk") // a blank, which mountinfo escapes
	if err := os.Mkdir(point, 0o755); err != nil {
		t.Fatal(err)
	}
	return point
}

func (v volume) mount(t testing.TB, point string, options ...string) {
	t.Helper()
	argv := []string{"mount", "-t", "ext4"}
	if len(options) > 0 {
		argv = append(argv, "-o", strings.Join(options, ","))
	}
	run(t, append(argv, v.device, point)...)
	t.Cleanup(func() { late(t, "umount", "-l", point) })
}

const (
	uuidA = "11111111-2222-4333-8444-aaaaaaaaaaaa"
	uuidB = "11111111-2222-4333-8444-bbbbbbbbbbbb"
)

func medium(point string) Config {
	return Config{Mount: point, Disks: []Unit{{Name: "a", UUID: strings.ToUpper(uuidA)}, {Name: "m", UUID: "11111111-2222-4333-8444-cccccccccccc"}}}
}

func look(t testing.TB, c *Client) Facts {
	t.Helper()
	facts, err := c.Survey(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return facts
}

func TestMountedDisk(t *testing.T) {
	v, point := newVolume(t, uuidA), mountPoint(t)
	v.mount(t, point)
	c := New("usb", medium(point))
	for range 2 {
		f := look(t, c)
		if !f.Present() || f.Unit != "a" || f.UUID != uuidA || f.Device != v.device || f.FSType != "ext4" || !f.Writable || f.ReadOnly != "" || f.Unprobed != "" || f.ErrorsCount != 0 {
			t.Errorf("got %+v", f)
		}
		if f.Total < 30<<20 || f.Available <= 0 || f.Inodes < 1000 || f.InodesFree <= 0 || f.UsedRatio() <= 0 || f.UsedRatio() > 0.5 {
			t.Errorf("fill: %+v", f)
		}
		if !strings.Contains(f.Smart.Err, "smart = {") || !strings.Contains(f.Smart.Err, "[disk.usb]") {
			t.Errorf("SMART is not configured, but says %q", f.Smart.Err)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(point, probePrefix+"*")); len(left) > 0 {
		t.Errorf("the probe left %v", left)
	}
}

func TestUnmountedDisk(t *testing.T) {
	v, point := newVolume(t, uuidA), mountPoint(t)
	f := look(t, New("usb", medium(point)))
	if f.Mounted || f.Present() || f.Writable || f.Stray || !strings.HasPrefix(f.Below, "a directory on /") || f.Smart.Err == "" {
		t.Errorf("got %+v", f)
	}
	if _, err := os.Stat(byUUID); err != nil && !slices.Equal(f.Attached, []string{"a"}) {
		t.Errorf("%s is plugged in: %v", v.device, f.Attached)
	}
	marker, data := filepath.Join(point, "NOT_MOUNTED"), filepath.Join(point, "repo")
	if err := os.WriteFile(marker, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if f := look(t, New("usb", medium(point))); f.Stray {
		t.Error("an empty marker is no data")
	}
	if err := os.WriteFile(data, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if f := look(t, New("usb", medium(point))); !f.Stray {
		t.Error("the files in the unmounted mount point were not seen")
	}
	f = look(t, New("usb", medium(filepath.Join(point, "nothing"))))
	if f.Mounted || f.Below != "a directory that does not exist" {
		t.Errorf("got %+v", f)
	}
}

func TestForeignDisk(t *testing.T) {
	v, point := newVolume(t, uuidB), mountPoint(t)
	v.mount(t, point)
	f := look(t, New("usb", medium(point)))
	if !f.Foreign || f.Present() || f.Unit != "" || f.UUID != uuidB || f.Writable || f.Unprobed == "" {
		t.Errorf("got %+v", f)
	}
	if f := look(t, New("usb", Config{Mount: point})); f.Foreign || !f.Present() || !f.Writable || f.Unidentified != "" {
		t.Errorf("no disk is configured, so none is foreign: %+v", f)
	}
}

func TestSwappedDisk(t *testing.T) {
	a, b, point := newVolume(t, uuidA), newVolume(t, uuidB), mountPoint(t)
	c := New("usb", medium(point))
	a.mount(t, point)
	if f := look(t, c); f.Unit != "a" {
		t.Errorf("got %+v", f)
	}
	run(t, "umount", point)
	if f := look(t, c); f.Mounted {
		t.Errorf("got %+v", f)
	}
	b.mount(t, point)
	if f := look(t, c); !f.Foreign || f.UUID != uuidB {
		t.Errorf("got %+v", f)
	}
	a.mount(t, point) // on top
	if f := look(t, c); f.Unit != "a" || f.Foreign {
		t.Errorf("got %+v", f)
	}
}

func TestReadOnlyDisk(t *testing.T) {
	v, point := newVolume(t, uuidA), mountPoint(t)
	v.mount(t, point, "ro")
	f := look(t, New("usb", medium(point)))
	if !f.Present() || f.Writable || !strings.Contains(f.ReadOnly, "read-only") {
		t.Errorf("got %+v", f)
	}
}

func TestFullDisk(t *testing.T) {
	v, point := newVolume(t, uuidA), mountPoint(t)
	v.mount(t, point)
	_, _ = command.Run(t.Context(), command.Spec{Argv: []string{"dd", "if=/dev/zero", "of=" + filepath.Join(point, "fill"), "bs=64K", "status=none"}})
	_, _ = command.Run(t.Context(), command.Spec{Argv: []string{"dd", "if=/dev/zero", "of=" + filepath.Join(point, "fill2"), "bs=1K", "status=none"}})
	f := look(t, New("usb", medium(point)))
	if !f.Present() || f.Writable || !strings.Contains(f.ReadOnly, "full") || f.UsedRatio() < 0.99 {
		t.Errorf("ratio %f, got %+v", f.UsedRatio(), f)
	}
	if left, _ := filepath.Glob(filepath.Join(point, probePrefix+"*")); len(left) > 0 {
		t.Errorf("the probe left %v", left)
	}
}

func TestNoInodesLeft(t *testing.T) {
	v, point := newVolume(t, uuidA, "-N", "64"), mountPoint(t)
	v.mount(t, point)
	for i := range 1000 {
		if os.WriteFile(filepath.Join(point, fmt.Sprint(i)), nil, 0o600) != nil {
			break
		}
	}
	f := look(t, New("usb", medium(point)))
	if f.InodesFree != 0 || f.Inodes == 0 || f.Writable || !strings.Contains(f.ReadOnly, "full") {
		t.Errorf("got %+v", f)
	}
}

func TestFileSystemError(t *testing.T) {
	v, point := newVolume(t, uuidA), mountPoint(t)
	v.mount(t, point, "errors=remount-ro")
	c := New("usb", medium(point))
	look(t, c)
	trigger := filepath.Join("/sys/fs/ext4", filepath.Base(v.device), "trigger_fs_error")
	if err := os.WriteFile(trigger, []byte("test\n"), 0o200); err != nil {
		testkit.Need(t, "ext4's "+trigger)
	}
	f := look(t, c)
	if f.ErrorsCount < 1 || f.Writable || f.ReadOnly == "" {
		t.Errorf("got %+v", f)
	}
	if _, err := readKmsg("/dev/kmsg"); err == nil && !slices.ContainsFunc(f.Kernel, func(line string) bool { return strings.Contains(line, "EXT4-fs error") }) {
		t.Errorf("the kernel's lines: %q", f.Kernel)
	}
}

// A loop device cannot be pulled. What a pulled disk looks like is a mountinfo
// line whose device sysfs does not have.
func TestDeviceGone(t *testing.T) {
	text, err := os.ReadFile("testdata/mountinfo_usb_unplugged_k6.1.192.txt")
	if err != nil {
		t.Fatal(err)
	}
	m := parseMounts(text)[0]
	m.device = "4095:17" // as 8:16 may well be here
	d := deviceOf(m)
	if !d.gone || d.disk != "sdb" {
		t.Errorf("got %+v", d)
	}
	c := New("usb", medium(m.point))
	facts := Facts{}
	c.known = &known{mount: m.id, device: device{name: "sdb", disk: "sdb", usb: "2-1"}, id: identity{uuid: uuidA}}
	if got := c.identity(t.Context(), m, &facts); !got.gone || !facts.DeviceGone || facts.Unit != "a" || facts.Foreign || got.usb != "2-1" {
		t.Errorf("got %+v %+v", got, facts)
	}
	c = New("usb", medium(m.point))
	facts = Facts{}
	if c.identity(t.Context(), m, &facts); !facts.DeviceGone || facts.Foreign || facts.Unit != "" {
		t.Errorf("got %+v", facts)
	}
}

// A device that is detached while it is mounted stays until it is unmounted:
// its disk still answers.
func TestDetachedLazily(t *testing.T) {
	v, point := newVolume(t, uuidA), mountPoint(t)
	v.mount(t, point)
	c := New("usb", medium(point))
	look(t, c)
	run(t, "losetup", "-d", v.device)
	if f := look(t, c); !f.Present() || !f.Writable {
		t.Errorf("got %+v", f)
	}
	run(t, "umount", point)
	if f := look(t, c); f.Mounted {
		t.Errorf("got %+v", f)
	}
}

func TestHangingDiskHoldsUpNothing(t *testing.T) {
	g, release := newGuard(), make(chan struct{})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	ended := make(chan struct{})
	_, err := start(ctx, g, func() (int, error) { <-release; close(ended); return 1, nil })()
	if err == nil {
		t.Error("a hanging disk was waited for")
	}
	if _, err := start(t.Context(), g, func() (int, error) { return 2, nil })(); err != errStuck {
		t.Errorf("another look was started meanwhile: %v", err)
	}
	close(release)
	<-ended
	testkit.Until(t, time.Minute, "the guard is free again", func() bool {
		n, err := start(t.Context(), g, func() (int, error) { return 3, nil })()
		return err == nil && n == 3
	})
}
