package disk

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"cairn/internal/testkit"
)

func recorded(t testing.TB, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestMountinfo(t *testing.T) {
	for line, want := range map[string]mount{
		`36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue`:               {id: 36, device: "98:0", point: "/mnt2", fstype: "ext3", source: "/dev/root"},
		`36 35 8:17 / /mnt/usb\040disk\134x rw shared:1 master:2 propagate_from:3 - ext4 /dev/sdb1 rw`: {id: 36, device: "8:17", point: `/mnt/usb disk\x`, fstype: "ext4", source: "/dev/sdb1"},
		`42 27 0:45 /@ /mnt/b rw,relatime - btrfs /dev/sdc1 rw,subvolid=256`:                           {id: 42, device: "0:45", point: "/mnt/b", fstype: "btrfs", source: "/dev/sdc1"},
		`43 27 0:46 / /mnt/nfs rw - nfs4 nas:/export`:                                                  {id: 43, device: "0:46", point: "/mnt/nfs", fstype: "nfs4", source: "nas:/export"},
	} {
		got, ok := parseMount(line)
		if !ok || got.id != want.id || got.device != want.device || got.point != want.point || got.fstype != want.fstype || got.source != want.source {
			t.Errorf("%s: got %+v", line, got)
		}
	}
	for _, line := range []string{"", "36", "36 35 98:0 / /mnt rw", "x 35 98:0 / /mnt rw - ext4 /dev/sda rw", "36 35 98:0 / /mnt rw - ext4"} {
		if got, ok := parseMount(line); ok {
			t.Errorf("%q: got %+v", line, got)
		}
	}
}

func TestReadOnlyShowsInEitherOptionField(t *testing.T) {
	for name, want := range map[string]string{
		"mountinfo_ext4_emergency_ro_k6.18.txt":       "emergency_ro",
		"mountinfo_ext4_readonly_but_rw_k6.1.192.txt": "", // the probe has to find out
		"mountinfo_xfs_shutdown_k6.18.txt":            "",
		"mountinfo_usb_unplugged_k6.1.192.txt":        "",
	} {
		mounts := parseMounts(recorded(t, name))
		if len(mounts) != 1 {
			t.Fatalf("%s: %+v", name, mounts)
		}
		if got := mounts[0].readOnly(); (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	for line, want := range map[string]string{
		"1 2 8:1 / /m ro - ext4 /dev/sda1 rw":                         "mount option ro",
		"1 2 8:1 / /m rw - ext4 /dev/sda1 ro":                         "its option ro",
		"1 2 8:1 / /m rw - ext4 /dev/sda1 rw,shutdown":                "shutdown",
		"1 2 8:1 / /m rw - ext4 /dev/sda1 rw,errors=remount-ro,prose": "",
	} {
		m, _ := parseMount(line)
		if got := m.readOnly(); (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("%s: got %q", line, got)
		}
	}
}

// Lines of real machines: what is mounted on a path, and by which source.
func TestMountsOfRealMachines(t *testing.T) {
	all := parseMounts([]byte(strings.Join([]string{
		`22 1 253:0 / / rw,relatime shared:1 - ext4 /dev/mapper/vg-root rw,errors=remount-ro`,
		`41 22 0:36 / /mnt/auto rw,relatime shared:19 - autofs systemd-1 rw,fd=57,pgrp=1,timeout=600,minproto=5,maxproto=5,direct,pipe_ino=18231`,
		`97 41 8:17 / /mnt/auto rw,relatime shared:52 - ext4 /dev/sdb1 rw`,
		`42 22 0:37 / /mnt/idle rw,relatime shared:20 - autofs systemd-1 rw,direct`,
		`98 22 0:48 /@backup /mnt/btrfs rw,noatime shared:53 - btrfs /dev/sdc1 rw,ssd,space_cache=v2,subvolid=256,subvol=/@backup`,
		`99 22 253:3 / /mnt/crypt rw,noatime - ext4 /dev/mapper/luks-usb rw`,
		`100 22 8:17 /srv/data /srv/bound rw,relatime shared:52 - ext4 /dev/sdb1 rw`,
		`101 22 0:51 / /var/lib/docker/overlay2/ab/merged rw,relatime - overlay overlay rw,lowerdir=/a:/b,upperdir=/c,workdir=/d`,
		`102 22 8:33 / /media/my\040disk rw,nosuid,nodev,relatime shared:60 - exfat /dev/sdc1 rw,uid=0,gid=0,fmask=0022`,
		`103 22 8:34 / /mnt/ntfs rw,relatime - fuseblk /dev/sdc2 rw,user_id=0,group_id=0,allow_other,blksize=4096`,
		`104 22 0:60 / /mnt/nas rw,relatime - nfs4 nas:/export\040one rw,vers=4.2,addr=10.0.0.2`,
		`105 22 0:61 / /tank/pbs rw,xattr,noacl - zfs tank/pbs rw,xattr,noacl`,
	}, "\n")))
	for path, want := range map[string][2]string{
		"/mnt/auto": {"ext4", "/dev/sdb1"}, "/mnt/idle": {"autofs", "systemd-1"}, "/mnt/btrfs": {"btrfs", "/dev/sdc1"}, "/mnt/crypt": {"ext4", "/dev/mapper/luks-usb"},
		"/srv/bound": {"ext4", "/dev/sdb1"}, "/media/my disk": {"exfat", "/dev/sdc1"}, "/mnt/ntfs": {"fuseblk", "/dev/sdc2"}, "/mnt/nas": {"nfs4", "nas:/export one"}, "/tank/pbs": {"zfs", "tank/pbs"},
	} {
		m, ok := at(all, path)
		if !ok || m.fstype != want[0] || m.source != want[1] || m.readOnly() != "" {
			t.Errorf("%s: %+v, want %v", path, m, want)
		}
	}
	for _, path := range []string{"/mnt/nas", "/tank/pbs"} { // no device of its own: nothing is said to be gone
		if m, _ := at(all, path); deviceOf(m).gone {
			t.Errorf("%s has no block device, and is taken for a disk that was pulled", path)
		}
	}
}

func TestWhereAMountPointLies(t *testing.T) {
	all := parseMounts([]byte("1 0 8:1 / / rw - ext4 /dev/sda1 rw\n2 1 8:2 / /mnt rw - ext4 /dev/sda2 rw\n3 2 8:3 / /mnt/usb rw - ext4 /dev/sda3 rw\n4 2 8:4 / /mnt/usb rw - ext4 /dev/sda4 rw\n5 1 8:5 / /mnt/usb2 rw - ext4 /dev/sda5 rw\n"))
	if m, ok := at(all, "/mnt/usb"); !ok || m.source != "/dev/sda4" {
		t.Errorf("the mount on top hides the other: %+v", m)
	}
	if _, ok := at(all, "/mnt/us"); ok {
		t.Error("/mnt/us is no mount point")
	}
	for path, want := range map[string]string{"/mnt/us": "/dev/sda2", "/srv": "/dev/sda1", "/mnt/usb/x": "/dev/sda4", "/mnt/usb20": "/dev/sda2"} {
		if m, ok := below(all, path); !ok || m.source != want {
			t.Errorf("%s lies on %+v, want %s", path, m, want)
		}
	}
}

func TestUnitOf(t *testing.T) {
	units := []Unit{{Name: "a", UUID: "AAAA", Serial: "S1"}, {Name: "b", UUID: "bbbb"}, {Name: "c", Serial: "S3"}}
	for _, x := range []struct {
		id   identity
		want string
	}{
		{identity{"aaaa", []string{"S1"}}, "a"}, {identity{"aaaa", nil}, "a"}, {identity{"", []string{"s1"}}, "a"},
		{identity{"aaaa", []string{"S9"}}, ""}, // a clone of a
		{identity{"bbbb", []string{"S9"}}, "b"}, {identity{"dddd", []string{"S3"}}, "c"},
		{identity{"dddd", []string{"S1"}}, ""}, // a, formatted anew
		{identity{"aaaa", []string{"BRIDGE", "S1"}}, "a"},
		{identity{}, ""},
	} {
		if got, _ := unitOf(units, x.id); got.Name != x.want {
			t.Errorf("%+v is %q, want %q", x.id, got.Name, x.want)
		}
	}
}

func TestNames(t *testing.T) {
	for name, want := range map[string]string{"sdb1": "sdb", "sdaa12": "sdaa", "sdb": "sdb", "nvme0n1p2": "nvme0n1", "nvme0n1": "nvme0n1", "mmcblk0p1": "mmcblk0", "loop0": "loop0", "dm-0": "dm-0", "md127": "md127", "": "", "12": "12"} {
		if got := wholeName(name); got != want {
			t.Errorf("wholeName(%q) = %q, want %q", name, got, want)
		}
	}
	for name, want := range map[string]bool{"2-1": true, "2-1.4.1": true, "2-1:1.0": false, "usb2": false, "0000:00:04.0": false, "-1": false, "dm-0": false} {
		if isUSBPort(name) != want {
			t.Errorf("isUSBPort(%q)", name)
		}
	}
	if got := parseLsblk(recorded(t, "lsblk_no_udev.json")); len(got) != 5 || got[0].UUID != "" || got[4].Serial != "NVMESER003" {
		t.Errorf("got %+v", got)
	}
	nested := parseLsblk([]byte(`{"blockdevices":[{"kname":"sdb1","uuid":"U","serial":null,"children":[{"kname":"sdb","uuid":null,"serial":" S1 "}]}]}`))
	if len(nested) != 2 || nested[0] != (lsblkDevice{"sdb1", "U", ""}) || nested[1].Serial != "S1" {
		t.Errorf("got %+v", nested)
	}
	if got := parseBlkid([]byte("DEVNAME=/dev/loop0\nLABEL=x\nUUID=" + uuidA + "\nVERSION=1.0\nTYPE=ext4\n")); got != uuidA {
		t.Errorf("got %q", got)
	}
}

func TestProbeVerdicts(t *testing.T) {
	failed := os.ErrInvalid
	for said, want := range map[string]probe{
		"dd: failed to open '/m/.x': Read-only file system":   {readOnly: "Read-only file system"},
		"dd: error writing '/m/.x': No space left on device":  {readOnly: "full"},
		"dd: failed to open '/m/: odd/.x': Permission denied": {unknown: "may not write"},
		"dd: fsync failed for '/m/.x': Input/output error":    {readOnly: "Input/output error"},
		"": {readOnly: "failed"},
	} {
		got := judgeProbe(said, failed, false)
		if got.writable || (got.readOnly == "") != (want.readOnly == "") || !strings.Contains(got.readOnly, want.readOnly) || !strings.Contains(got.unknown, want.unknown) {
			t.Errorf("%q: got %+v", said, got)
		}
	}
	if got := judgeProbe("", failed, true); !strings.Contains(got.unknown, "10s") || got.writable {
		t.Errorf("got %+v", got)
	}
	if got := judgeProbe("", os.ErrNotExist, false); got.unknown == "" {
		t.Errorf("got %+v", got)
	}
}

func TestWriteThatNeverEnds(t *testing.T) {
	now := time.Unix(1e9, 0)
	c := New("usb", Config{})
	c.now = func() time.Time { return now }
	if got := c.hung(); got.unknown == "" || got.readOnly != "" {
		t.Errorf("it may be busy: %+v", got)
	}
	now = now.Add(stuck)
	if got := c.hung(); got.readOnly == "" {
		t.Errorf("got %+v", got)
	}
}

// records makes records of what dmesg prints.
func records(text []byte) []record {
	var out []record
	for line := range strings.Lines(string(text)) {
		_, message, _ := strings.Cut(strings.TrimSpace(line), "] ")
		out = append(out, record{text: message})
	}
	return out
}

func TestKernelTroubles(t *testing.T) {
	sdb := device{names: []string{"sdb"}, usb: "2-1", scsi: "0:0:0:0"}
	got := troubles(records(recorded(t, "dmesg_usb_unplug.txt")), sdb, "")
	for _, want := range []string{"USB disconnect", "device offline error, dev sdb", "Synchronize Cache(10) failed", "Buffer I/O error on device sdb", "Aborting journal", "EXT4-fs error (device sdb)"} {
		if !slices.ContainsFunc(got, func(line string) bool { return strings.Contains(line, want) }) {
			t.Errorf("no line with %q in %q", want, got)
		}
	}
	if got := troubles(records(recorded(t, "dmesg_usb_unplug.txt")), device{names: []string{"sdc"}, usb: "2-2", scsi: "1:0:0:0"}, ""); len(got) != 0 {
		t.Errorf("another disk's trouble: %q", got)
	}
	if got := troubles(records(recorded(t, "dmesg_usb_attach.txt")), sdb, ""); len(got) != 0 {
		t.Errorf("plugging in is no trouble: %q", got)
	}
	if got := troubles(records(recorded(t, "dmesg_dm_error_ext4.txt")), device{names: []string{"dm-0"}}, ""); len(got) < 5 {
		t.Errorf("got %q", got)
	}
	if got := troubles([]record{{text: "usb 9-9: USB disconnect, device number 2"}}, device{names: []string{"sdb"}, gone: true}, ""); len(got) != 1 {
		t.Errorf("whose port it was is not known: %q", got)
	}
	many := make([]record, 0, 200)
	for i := range 100 {
		many = append(many, record{text: "Buffer I/O error on dev sdb, logical block 1, lost sync page write"}, record{text: "I/O error, dev sdb, sector " + strings.Repeat("1", i+1)})
	}
	if got := troubles(many, sdb, ""); len(got) != kernelKept || !strings.HasSuffix(got[len(got)-1], strings.Repeat("1", 100)) {
		t.Errorf("%d lines, the last %q", len(got), got[len(got)-1])
	}
	if len(troubles([]record{{text: "I/O error, dev sdb12, sector 1"}}, device{names: []string{"sdb1"}}, "")) > 0 || len(troubles([]record{{text: "Aborting journal on device sdb-8."}}, sdb, "")) != 1 {
		t.Error("names are matched as words")
	}
}

func TestKernelRecords(t *testing.T) {
	r, ok := parseKmsg([]byte("3,339,5140900,-;sdb: attempt\\x0asdb: rw\n SUBSYSTEM=scsi\n DEVICE=+scsi:0:0:0:0\n"))
	if !ok || r.text != "sdb: attempt sdb: rw" || r.since != 5140900*time.Microsecond {
		t.Errorf("got %+v", r)
	}
	got := parseJournal([]byte(`{"MESSAGE":"usb 2-1: USB disconnect","_SOURCE_MONOTONIC_TIMESTAMP":"42018551"}` + "\nnot json\n" + `{"MESSAGE":[115,100,98,255]}` + "\n" + `{"MESSAGE":null}` + "\n"))
	if len(got) < 2 || got[0].text != "usb 2-1: USB disconnect" || got[0].since != 42018551*time.Microsecond || got[1].text != "sdb\xff" {
		t.Errorf("got %+v", got)
	}
	if all, err := readKmsg("/dev/kmsg"); err != nil {
		if os.Geteuid() == 0 {
			testkit.Need(t, "/dev/kmsg: "+err.Error())
		}
	} else if len(all) == 0 {
		t.Error("the kernel has said nothing")
	}
}

func FuzzMountinfo(f *testing.F) {
	f.Add(`36 35 98:0 /mnt1 /mnt\0402 rw,noatime master:1 - ext3 /dev/root rw`)
	f.Add("1 2 3 4 5 6 - 7 8")
	f.Add(`1 2 3 4 \777\04 6 - 7 8 9`)
	f.Fuzz(func(t *testing.T, text string) {
		for _, m := range parseMounts([]byte(text)) {
			_ = m.readOnly()
			_ = wholeName(filepath.Base(m.source))
		}
	})
}

func FuzzKernel(f *testing.F) {
	f.Add("3,339,5140900,-;sdb: x\n", "sdb", "2-1")
	f.Add(`{"MESSAGE":[115,100,98,255],"_SOURCE_MONOTONIC_TIMESTAMP":"9223372036854775807"}`, "b", "")
	f.Add("3,1,99999999999999999999;x", "", "-")
	f.Add("sd 0:0:0:0: [sdb] x\nEXT4-fs (sdb): mounted filesystem with\nscsi host0: uas 2-1:1.0\nsdb: detected capacity change from 0 to 1\nEXT4-fs (sdb): I/O error", "sdb", "2-1")
	f.Fuzz(func(t *testing.T, text, name, usb string) {
		all := parseJournal([]byte(text))
		if r, ok := parseKmsg([]byte(text)); ok {
			all = append(all, r)
		}
		for _, r := range all {
			if r.since < 0 {
				t.Errorf("since %d", r.since)
			}
		}
		for line := range strings.Lines(text) {
			all = append(all, record{text: strings.TrimSpace(line)})
		}
		troubles(append(all, record{text: text}), device{names: []string{name}, usb: usb}, name)
	})
}

func FuzzLsblk(f *testing.F) {
	f.Add([]byte(`{"blockdevices":[{"kname":"sda","uuid":null,"serial":7}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		parseLsblk(text)
		parseBlkid(text)
	})
}

func FuzzSmart(f *testing.F) {
	files, _ := filepath.Glob("testdata/*.json")
	for _, name := range files {
		if text, err := os.ReadFile(name); err == nil {
			f.Add(text, 0)
		}
	}
	f.Add([]byte(`{"smartctl":{"exit_status":"0"},"smart_status":{"passed":1},"temperature":45,"power_on_time":{"hours":1e400},"nvme_smart_health_information_log":{"percentage_used":-1e9,"media_errors":"340282366920938463463374607431768211455"}}`), 64)
	f.Fuzz(func(t *testing.T, text []byte, exit int) {
		h := judgeSmart(text, exit&0xff, Health{Wear: -1}, time.Unix(1000, 0))
		if math.IsNaN(h.Wear) || h.PowerOn < 0 || h.Wear > 10 {
			t.Errorf("got %+v", h)
		}
		judgeSmart(text, exit&0xff, h, time.Unix(5000, 0))
	})
}
