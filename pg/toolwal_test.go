package pg

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cairn/internal/backup"
)

const walSum = "-0123456789abcdef0123456789abcdef01234567"

// pgBackRestWAL lays segments out as pgBackRest does.
func pgBackRestWAL(t *testing.T, dir, end string, timeline uint32, numbers ...uint64) {
	t.Helper()
	for _, n := range numbers {
		name := segment{timeline, n}.name(mib)
		path := filepath.Join(dir, name[:16], name+walSum+end)
		text := append(pageOf(0xD110, segment{timeline, n}, mib), make([]byte, 100)...)
		if end == ".gz" {
			text = gz(t, text)
		}
		put(t, path, text)
		age(t, path, now.Add(time.Duration(n)*time.Minute))
	}
}

func backupOf(label string, first, last uint64) ToolBackup {
	return ToolBackup{Label: label, State: backup.Complete, Finished: now.Add(time.Duration(last) * time.Minute), StartWAL: segment{1, first}.name(mib), StopWAL: segment{1, last}.name(mib), Repository: 1}
}

func scanned(p walPlace, size int64, backups ...ToolBackup) (ToolWAL, Tool) {
	tool := Tool{Backups: backups}
	all, _ := asked{places: func() ([]walPlace, error) { return []walPlace{p}, nil }}.scanWAL(&tool, size)
	return all[0], tool
}

func TestWALOfPgBackRest(t *testing.T) {
	for _, end := range []string{".gz", ".lz4", ""} { // without an end: encrypted, or not compressed
		dir := t.TempDir()
		p := walPlace{repository: 1, dir: dir}
		pgBackRestWAL(t, filepath.Join(dir, "15-1"), end, 1, 900) // what the stanza was before
		at := filepath.Join(dir, "17-2")
		pgBackRestWAL(t, at, end, 1, 1, 2, 3, 4, 5, 6)
		put(t, filepath.Join(at, "00000002.history"), []byte("1\t0/700000\tx\n"))
		put(t, filepath.Join(at, "0000000100000000", segment{1, 7}.name(mib)+".partial"+walSum+end), []byte("x"))
		put(t, filepath.Join(at, "0000000100000000", segment{1, 2}.name(mib)+".00000028.backup"), []byte("x"))
		put(t, filepath.Join(at, "archive.info"), []byte("x"))
		pgBackRestWAL(t, at, end, 2, 7, 8)
		w, tool := scanned(p, mib, backupOf("new", 4, 5), backupOf("old", 2, 2))
		if a := w.Archive; w.Unknown != "" || w.Dir != at || a.Segments != 8 || len(a.Gaps) != 0 || !a.From.Equal(now.Add(2*time.Minute)) || !a.To.Equal(now.Add(8*time.Minute)) {
			t.Errorf("%q: %+v", end, w)
		}
		if tool.Backups[0].State != backup.Complete || tool.Backups[1].State != backup.Complete {
			t.Errorf("%q: %+v", end, tool.Backups)
		}
		lose := func(s segment) {
			if err := os.Remove(filepath.Join(at, s.name(mib)[:16], s.name(mib)+walSum+end)); err != nil {
				t.Fatal(err)
			}
		}
		lose(segment{1, 6})
		lose(segment{2, 7})
		w, _ = scanned(p, mib, backupOf("new", 4, 5), backupOf("old", 2, 2))
		if a := w.Archive; len(a.Gaps) != 2 || a.Gaps[0].First != (segment{1, 6}).name(mib) || a.Gaps[1].First != (segment{2, 7}).name(mib) || !a.To.Equal(now.Add(5*time.Minute)) {
			t.Errorf("%q, with a gap: %+v", end, w)
		}
		lose(segment{1, 5})
		_, tool = scanned(p, mib, backupOf("new", 4, 5), backupOf("old", 2, 2))
		if b := tool.Backups; b[0].State != backup.Damaged || !strings.Contains(b[0].Why, (segment{1, 5}).name(mib)+", which it needs") || b[1].State != backup.Complete {
			t.Errorf("%q, WAL of a backup is gone: %+v", end, b)
		}
	}
}

func TestWALOfBarman(t *testing.T) {
	dir := t.TempDir()
	p := iniOf("[lab]\nbackup_directory = " + dir + "\n").barman("lab")
	name := func(n uint64) string { return segment{1, n}.name(mib) }
	wals := filepath.Join(p.dir, name(1)[:16])
	put(t, filepath.Join(wals, "x"), nil)
	wal(t, wals, 1, 1, 2, 4)
	put(t, filepath.Join(wals, name(3)), gz(t, []byte("compressed in place")))
	put(t, filepath.Join(wals, name(5)), []byte("cut"))
	put(t, filepath.Join(p.dir, "xlog.db"), []byte(name(1)+"\t1\t1\tNone\n"))
	put(t, filepath.Join(p.also[0], "x"), nil)
	wal(t, p.also[0], 1, 6, 7)
	put(t, filepath.Join(dir, "base/20261121T120000/backup.info"), []byte("backup_label=None\nbegin_wal="+name(2)+"\nend_wal="+name(2)+"\n"))
	put(t, filepath.Join(dir, "meta/20261121T130000-backup.info"), []byte("begin_wal="+name(4)+"\nend_wal="+name(5)+"\n"))
	backups := []ToolBackup{{Label: "20261121T130000", State: backup.Complete, Finished: now}, {Label: "20261121T120000", State: backup.Complete, Finished: now.Add(-time.Hour)}}
	w, tool := scanned(p, mib, backups...)
	if a := w.Archive; w.Unknown != "" || a.Segments != 6 || a.Newest != name(7) || len(a.Gaps) != 1 || a.Gaps[0].First != name(5) || a.Gaps[0].Count != 1 {
		t.Errorf("%+v", w)
	}
	if b := tool.Backups; b[0].State != backup.Damaged || b[1].State != backup.Complete || b[1].StartWAL != name(2) {
		t.Errorf("%+v", b)
	}
}

func TestWALThatCannotBeSeen(t *testing.T) {
	if w, _ := scanned(walPlace{repository: 1, dir: "/nosuch", away: "its repository lies in s3"}, mib); !strings.Contains(w.Unknown, "s3") {
		t.Errorf("%+v", w)
	}
	if w, _ := scanned(walPlace{repository: 1, dir: "/nosuch"}, mib); w.Unknown != "it is not on this host" {
		t.Errorf("%+v", w)
	}
	// Two archives; a target in a gap of one is reached through the other.
	dir := t.TempDir()
	whole, torn := filepath.Join(dir, "whole"), filepath.Join(dir, "torn")
	pgBackRestWAL(t, filepath.Join(torn, "15-1"), ".gz", 1, 1, 2, 4)
	pgBackRestWAL(t, filepath.Join(whole, "15-1"), ".gz", 1, 1, 2, 3, 4)
	two := backupOf("b", 1, 1)
	two.Repository = 2
	tool := Tool{Name: "pgbackrest", Backups: []ToolBackup{backupOf("a", 1, 1), two}}
	places := []walPlace{{repository: 1, dir: torn}, {repository: 2, dir: whole}}
	var seen []seenWAL
	tool.WAL, seen = asked{places: func() ([]walPlace, error) { return places, nil }}.scanWAL(&tool, mib)
	target := Target{Time: now.Add(3 * time.Minute)}
	b, s, err := tool.choose(seen, target, now.Add(time.Hour), false)
	if err != nil || b.Label != "b" || s.Segments < 3 {
		t.Errorf("%+v %+v %v", b, s, err)
	}
	tool.WAL, seen = tool.WAL[:1], seen[:1]
	if _, _, err := tool.choose(seen, target, now.Add(time.Hour), false); err == nil || !strings.Contains(err.Error(), "has a gap") || !strings.Contains(err.Error(), "restorable are the times from") {
		t.Errorf("into a gap: %v", err)
	}
	tool.WAL = []ToolWAL{{Unknown: "away"}}
	if b, _, err := tool.choose(nil, target, now.Add(time.Hour), false); err != nil || b.Label != "a" {
		t.Errorf("where nothing is seen, the tool's word counts: %+v %v", b, err)
	}
}

// After stanza-upgrade WAL is counted anew, in a directory of its own.
func TestBackupsFromBeforeAnUpgrade(t *testing.T) {
	dir := t.TempDir()
	p := walPlace{repository: 1, dir: dir}
	pgBackRestWAL(t, filepath.Join(dir, "15-1"), ".gz", 1, 10, 11, 12, 14)
	pgBackRestWAL(t, filepath.Join(dir, "16-2"), ".gz", 1, 20, 21, 22)
	of := func(cluster int, label string, first, last uint64) ToolBackup {
		b := backupOf(label, first, last)
		b.Cluster = cluster
		return b
	}
	backups := []ToolBackup{of(2, "new", 20, 21), of(1, "torn", 12, 13), of(1, "old", 10, 11)}
	tool := Tool{Name: "pgbackrest", Backups: backups}
	all, seen := asked{places: func() ([]walPlace, error) { return []walPlace{p}, nil }}.scanWAL(&tool, mib)
	if len(all) != 1 || all[0].Dir != filepath.Join(dir, "16-2") || all[0].Cluster != 2 || all[0].Archive.Segments != 3 || len(all[0].Archive.Gaps) != 0 || !all[0].Archive.From.Equal(now.Add(21*time.Minute)) {
		t.Errorf("%+v", all)
	}
	for i, want := range []backup.State{backup.Complete, backup.Damaged, backup.Complete} {
		if b := tool.Backups[i]; b.State != want || want == backup.Damaged && !strings.Contains(b.Why, "15-1") {
			t.Errorf("%+v", b)
		}
	}
	for label, target := range map[string]Target{"old": {Time: now.Add(12 * time.Minute)}, "new": {Time: now.Add(22 * time.Minute)}} {
		if b, _, err := tool.choose(seen, target, now.Add(time.Hour), true); err != nil || b.Label != label {
			t.Errorf("%s: %+v %v", label, b, err)
		}
	}
	if b, _, err := tool.choose(seen, Target{}, now.Add(time.Hour), true); err != nil || b.Label != "new" {
		t.Errorf("%+v %v", b, err)
	}
	if b, _, err := tool.choose(seen, Target{LSN: "0/100000"}, now.Add(time.Hour), true); err == nil {
		t.Errorf("LSNs of before the upgrade are none of now: %+v", b)
	}
	tool.Backups = tool.Backups[1:]
	if b, _, err := tool.choose(seen, Target{}, now.Add(time.Hour), true); err != nil || b.Label != "old" {
		t.Errorf("there is no backup since: %+v %v", b, err)
	}
	if b, _, err := tool.choose(seen, Target{Time: now.Add(16 * time.Minute)}, now.Add(time.Hour), true); err == nil {
		t.Errorf("its archive ends before: %+v", b)
	}
	ready := RecoverReady{Left: LeftWAL{Segments: 1}, Recovery: Recovery{Major: 16, Left: "/left"}}
	ready.Server.SystemID = 2
	if ready.before(ToolBackup{SystemID: 2, Major: 16}); ready.Left.Segments != 1 || ready.Recovery.Major != 16 || len(ready.Notes) != 0 {
		t.Errorf("%+v", ready)
	}
	if ready.before(ToolBackup{SystemID: 1, Major: 15}); ready.Left.Segments != 0 || ready.Recovery.Left != "" || ready.Recovery.Major != 15 || len(ready.Notes) != 1 {
		t.Errorf("%+v", ready)
	}
}

// A look that takes longer than a survey waits is not lost, and no sign of a disk
// that hangs.
func TestLookAtWALThatComesLate(t *testing.T) {
	dir, at := t.TempDir(), now
	wals := filepath.Join(dir, "15-1")
	pgBackRestWAL(t, wals, ".gz", 1, 1, 2, 4)
	hold := make(chan struct{})
	a := asked{name: "pgbackrest", places: func() ([]walPlace, error) {
		<-hold
		return []walPlace{{repository: 1, dir: dir}}, nil
	}}
	c := &Client{now: func() time.Time { return at }}
	hurried, cancel := context.WithCancel(t.Context())
	cancel()
	look := func(ctx context.Context) Tool {
		tool := Tool{Backups: []ToolBackup{backupOf("new", 4, 4), backupOf("torn", 2, 3)}}
		c.lookAtWAL(ctx, a, &tool, mib)
		return tool
	}
	for range 2 {
		if w := look(hurried).WAL; len(w) != 1 || !strings.Contains(w[0].Unknown, "has not ended yet") || strings.Contains(w[0].Unknown, "hang") {
			t.Fatalf("%+v", w)
		}
	}
	close(hold)
	<-c.looking["pgbackrest"].done
	hold = make(chan struct{}) // the next look takes long as well: what the first saw is shown meanwhile
	a.places = func() ([]walPlace, error) { <-hold; return []walPlace{{repository: 1, dir: dir}}, nil }
	at = now.Add(time.Minute)
	for range 2 {
		tool := look(hurried)
		if w := tool.WAL; len(w) != 1 || w[0].Unknown != "" || w[0].Archive.Segments != 3 || tool.Backups[0].State != backup.Complete || tool.Backups[1].State != backup.Damaged {
			t.Fatalf("%+v", tool)
		}
	}
	at = now.Add(walSeenFor + time.Minute)
	if w := look(hurried).WAL; len(w) != 1 || w[0].Unknown == "" {
		t.Errorf("what was seen long ago says nothing of now: %+v", w)
	}
	pgBackRestWAL(t, wals, ".gz", 1, 3)
	close(hold)
	<-c.looking["pgbackrest"].done
	if tool := look(t.Context()); len(tool.WAL) != 1 || tool.WAL[0].Archive.Segments != 4 || tool.Backups[1].State != backup.Complete {
		t.Errorf("%+v", tool)
	}
}
