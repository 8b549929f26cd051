package pg

import (
	"archive/tar"
	"bytes"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"cairn/internal/backup"
)

// oddFiles fills a directory with what no backup tool writes: named pipes and
// sockets under the names of what is read, links that lead in circles, and files
// that are a terabyte long without holding anything.
func oddFiles(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	at := func(name string) string {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, name := range []string{"shop_2026-11-21.dump", "pipe_2026-11-21/toc.dat", "ours_2026-11-21/" + dumpManifestName, "base_2026-11-21/backup_label", "mine_2026-11-21/" + baseManifestName} {
		if err := syscall.Mkfifo(at(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, to := range map[string]string{"round": "round", "up/2026-11-21": "../up", "looped_2026-11-21/toc.dat": "toc.dat", "device_2026-11-21/toc.dat": "/dev/zero"} {
		if err := os.Symlink(to, at(name)); err != nil {
			t.Fatal(err)
		}
	}
	const long = 1 << 40
	for _, name := range []string{"sparse_2026-11-21.dump", "sparse_2026-11-21.sql.gz", "sparse_2026-11-21.tar", "sparse_2026-11-21/toc.dat",
		"thin_2026-11-21/" + dumpManifestName, "thin_2026-11-20/PG_VERSION", "thin_2026-11-20/backup_label", "thin_2026-11-20/global/pg_control", "thin_2026-11-20/" + manifestName} {
		put(t, at(name), nil)
		if err := os.Truncate(at(name), long); err != nil {
			t.Fatal(err)
		}
	}
	l, err := net.Listen("unix", at("s.dump"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return dir
}

// TestDirectoryFullOfOtherFiles looks through one as a survey does: it waits for
// nobody, reads no terabyte, and takes nothing of it for a copy.
func TestDirectoryFullOfOtherFiles(t *testing.T) {
	dir := oddFiles(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		got, _, err := readDumps(dir, []string{"shop"}, paris, now, new(cache))
		if err != nil {
			t.Error(err)
		}
		for _, d := range got {
			if d.State == backup.Complete || d.Why == "" {
				t.Errorf("%+v", d)
			}
			if name := filepath.Base(d.Path); strings.HasPrefix(name, "pipe_") && !strings.Contains(d.Why, "is no regular file") {
				t.Errorf("%+v", d)
			}
		}
		bases, _, err := readBases(dir, 0, paris, now, new(cache), map[string]BaseBackup{})
		if err != nil {
			t.Error(err)
		}
		for _, b := range bases {
			if b.State == backup.Complete || b.Why == "" {
				t.Errorf("%+v", b)
			}
		}
		if _, err := identify(t.Context(), filepath.Join(dir, "shop_2026-11-21.dump")); err == nil || !strings.Contains(err.Error(), "is no regular file") {
			t.Error(err)
		}
	}()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Fatal("it waits for a named pipe")
	}
}

// A tar file that was cut where its files hold nothing but zeros ends as a whole one does.
func TestTarThatIsCutInZeros(t *testing.T) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	text := make([]byte, 100<<10)
	err := w.WriteHeader(&tar.Header{Name: "base/1/2", Size: int64(len(text)), Mode: 0o600})
	if err == nil {
		_, err = w.Write(text)
	}
	if err = errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	for _, cut := range []int64{0, 2048, 20 << 10} {
		size := int64(b.Len()) - cut
		if got := tarEnds(bytes.NewReader(b.Bytes()[:size]), size); got != (cut == 0) {
			t.Errorf("%d bytes cut: %v", cut, got)
		}
	}
}
