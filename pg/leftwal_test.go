package pg

import (
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestWALThatADeadServerLeft(t *testing.T) {
	data, archive := t.TempDir(), t.TempDir()
	left := filepath.Join(data, pgWAL)
	put(t, filepath.Join(left, "archive_status/x.ready"), nil)
	for n := uint64(3); n <= 6; n++ {
		realWAL(t, left, segment{1, n}, segment{1, n})
		age(t, filepath.Join(left, segment{1, n}.name(mib)), now.Add(time.Duration(n)*time.Minute))
	}
	realWAL(t, left, segment{1, 7}, segment{1, 2}) // kept under the name of one to come
	put(t, filepath.Join(left, segment{1, 8}.name(mib)), make([]byte, mib))
	put(t, filepath.Join(left, segment{1, 9}.name(mib)), pageOf(0xD110, segment{1, 9}, mib)) // cut
	put(t, filepath.Join(left, "00000002.history"), []byte("1\t0/700000\tx\n"))
	wal(t, archive, 1, 1, 2, 3, 4)
	d, err := scanArchive(archive, mib)
	if err != nil {
		t.Fatal(err)
	}
	l, files, err := leftOf(data, d, pageID)
	if err != nil || l.Segments != 2 || l.Bytes != 2*mib || !l.Last.Equal(now.Add(6*time.Minute)) {
		t.Fatalf("%+v %v", l, err)
	}
	more := d.with(files)
	if len(more.segments) != 6 || len(d.segments) != 4 || len(more.histories[2]) != 1 {
		t.Errorf("%+v", more)
	}
	base := base(1, 1, -time.Hour)
	base.Stopped = now.Add(-time.Hour)
	at := Target{Time: now.Add(5*time.Minute + time.Second)}
	if _, err := d.choose([]BaseBackup{base}, at, now.Add(time.Hour), false); err == nil {
		t.Error("the archive alone reaches it")
	}
	if s, err := more.choose([]BaseBackup{base}, at, now.Add(time.Hour), false); err != nil || s.Segments != 6 {
		t.Errorf("%+v %v", s, err)
	}
	if _, _, err := leftOf(filepath.Join(data, "none"), d, pageID); err == nil {
		t.Error("what is not there was read")
	}
	if l, _, err := leftOf(data, d, pageID+1); err != nil || l.Segments != 0 {
		t.Errorf("of another server: %+v %v", l, err)
	}
	me := Recovery{Left: left, LeftID: pageID, Segment: mib, WAL: archive, Dir: t.TempDir(), Owner: Owner{os.Getuid(), os.Getgid(), ""}}
	if n, err := me.copyLeft(t.Context(), Work{}); err != nil || n != 2*mib+int64(len("1\t0/700000\tx\n")) {
		t.Errorf("%d %v", n, err)
	}
	for name, want := range map[string]bool{segment{1, 4}.name(mib): false, segment{1, 5}.name(mib): true, segment{1, 7}.name(mib): false, "00000002.history": true} {
		if exists(filepath.Join(me.left(), name)) != want || !exists(filepath.Join(left, segment{1, 5}.name(mib))) {
			t.Errorf("%s: copied %v", name, !want)
		}
	}
	fetch := filepath.Join(me.Dir, "fetch.sh")
	put(t, fetch, []byte("#!/bin/sh\n"+walScript(archive)+me.leftScript()+guardScript("")))
	for name, want := range map[string]int{segment{1, 4}.name(mib): 0, segment{1, 6}.name(mib): 0, "00000002.history": 0, segment{1, 7}.name(mib): 1, "00000003.history": 1} {
		cmd := exec.Command("sh", fetch, name, filepath.Join(me.Dir, "out"))
		if _ = cmd.Run(); cmd.ProcessState.ExitCode() != want {
			t.Errorf("%s: %v", name, cmd.ProcessState)
		}
	}
}

// WAL of another server has the same names.
func TestWhoseWALWasLeft(t *testing.T) {
	for _, c := range []struct {
		server, here int64
		want         whose
	}{{7, 7, thisServer}, {7, 8, otherServer}, {0, 8, unknownServer}, {7, 0, unknownServer}, {0, 0, unknownServer}} {
		if got, why := sameServer(c.server, c.here); got != c.want || (why == "") != (got == thisServer) {
			t.Errorf("%d, %d: %v %q", c.server, c.here, got, why)
		}
	}
	plain, packed, bare := t.TempDir(), t.TempDir(), t.TempDir()
	wal(t, bare, 1, 1)
	realWAL(t, plain, segment{1, 3}, segment{1, 3})
	wal(t, plain, 1, 2)
	put(t, filepath.Join(packed, segment{1, 3}.name(mib)+".gz"), gz(t, pageOf(0xD110, segment{1, 3}, mib)))
	for dir, want := range map[string]int64{plain: pageID, packed: pageID, bare: 0, t.TempDir(): 0} {
		d, err := scanArchive(dir, mib)
		if err != nil || d.systemID() != want {
			t.Errorf("%s: %d, want %d %v", dir, d.systemID(), want, err)
		}
	}
	for name, id := range map[string]int64{"its own": pageID, "another's": 5} {
		data := t.TempDir()
		control := make([]byte, 8)
		binary.LittleEndian.PutUint64(control, uint64(id))
		put(t, filepath.Join(data, "global/pg_control"), control)
		put(t, filepath.Join(data, pgWAL, "x"), nil)
		for n := uint64(3); n <= 5; n++ {
			realWAL(t, filepath.Join(data, pgWAL), segment{1, n}, segment{1, n})
		}
		for _, archive := range []string{plain, bare} { // only one tells whose it is
			d, err := scanArchive(archive, mib)
			if err != nil {
				t.Fatal(err)
			}
			c := &Client{}
			c.last.Server.Value.DataDirectory = data
			var r RecoverReady
			more := r.findLeft(c, BaseBackup{}, d)
			uses := archive == plain && id == pageID
			if (r.Recovery.Left != "") != uses || (len(more.segments) > len(d.segments)) != uses || uses && r.Recovery.LeftID != pageID || len(r.Notes) != 1 {
				t.Errorf("%s: %+v", name, r)
			}
		}
	}
}

func TestWhetherAProcessIsAServer(t *testing.T) {
	for stat, want := range map[string]bool{"4487 (postgres) S 1 2 3": true, "4487 (postgres) Z 1 2 3": false, "1 (systemd) S 0": false, "9 (a) (postgres) S 1": false, "9 (postmaster) R 1": true, "": true} {
		if got := livesAsServer(stat); got != want {
			t.Errorf("%q: %v", stat, got)
		}
	}
}

func TestWhetherAServerRunsInADirectory(t *testing.T) {
	dir := t.TempDir()
	if _, runs := runsIn(dir); runs {
		t.Error("nothing runs where there is no postmaster.pid")
	}
	gone := exec.Command("true")
	if err := gone.Run(); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]bool{strconv.Itoa(gone.Process.Pid) + "\n": false, "1\n/x\n": false, "": true, "x\n": true} {
		put(t, filepath.Join(dir, "postmaster.pid"), []byte(text))
		if pid, runs := runsIn(dir); runs != want {
			t.Errorf("%q: %d runs %v", strings.TrimSpace(text), pid, runs)
		}
	}
}
