package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"cairn/internal/lab/pve"
	"cairn/internal/testkit"
)

func hashOf(t *testing.T, out string) string {
	t.Helper()
	var p struct{ Hash string }
	if err := json.Unmarshal([]byte(out), &p); err != nil || len(p.Hash) != 16 {
		t.Fatalf("the plan is %s, %v", out, err)
	}
	return p.Hash
}

func TestThePlanIsOnlyAPlan(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	rollback := []string{"snapshot", "rollback", "web01", "before-upgrade"}
	text := b.must(0, append(rollback, "--plan")...).out
	hash := hashOf(t, b.must(0, append(rollback, "--plan", "--format", "json")...).out)
	for _, part := range []string{hash, "YOU WILL LOSE", "POST /nodes/pve1/qemu/100/snapshot/before-upgrade/rollback", "stop the guest hard", "WAY BACK", "BLOCKERS       none", "TAKES", "assumed"} {
		if !strings.Contains(text, part) {
			t.Errorf("%q is missing in the plan:\n%s", part, text)
		}
	}
	if again := hashOf(t, b.must(0, append(rollback, "--plan", "--format", "json")...).out); again != hash {
		t.Errorf("the same plan has the hashes %s and %s", hash, again)
	}
	if r := b.must(65, append(rollback, "--yes", "web01", "--expect-plan", "0123456789abcdef")...); !strings.Contains(r.err, hash) || !strings.Contains(r.err, "nothing was touched") {
		t.Errorf("another plan was expected, and it says %s", r.err)
	}
	if len(b.changes()) != 0 {
		t.Fatalf("planning changed something: %v", b.changes())
	}
	if r := b.must(0, "operation", "list", "--format", "json"); !strings.Contains(r.out, `"operations": []`) {
		t.Errorf("planning made an operation: %s", r.out)
	}
	b.must(0, append(rollback, "--yes", "web01", "--expect-plan", hash)...)
	b.rolledBack()
}

// TestConfirmation: what is not confirmed with the guest's own name, or may only
// look, changes nothing.
func TestConfirmation(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	readOnly := config(t, b.lab, "title = ", "read_only = true\ntitle = ")
	broken := write(t, filepath.Join(t.TempDir(), "config.toml"), "[proxmox.home]\nurl = 1\n")
	rollback := []string{"snapshot", "rollback", "web01", "before-upgrade"}
	with := func(more ...string) []string { return append(append([]string{}, rollback...), more...) }
	for _, c := range []struct {
		code int
		args []string
		says string
	}{
		{65, rollback, "without a terminal it needs --yes web01"},
		{65, with("--yes", "web02"), `--yes web02 is not the target's name "web01"`},
		{65, with("--yes", "100"), "is not the target's name"},
		{65, with("--yes", "web01", "--read-only"), "read-only: nothing may be changed from here"},
		{65, append([]string{"--config", readOnly}, with("--yes", "web01")...), "read-only"},
		{65, []string{"snapshot", "create", "web01", "mine", "--read-only"}, "read-only"},
		{65, []string{"snapshot", "rollback", "files", "weekly", "--yes", "files"}, "snapshot daily: storage local-zfs rolls back to the newest snapshot only"},
		{65, []string{"snapshot", "rollback", "files", "weekly", "--plan"}, ""},
		{65, []string{"snapshot", "rollback", "web01", "nope", "--yes", "web01"}, "no such snapshot"},
		{64, with("--without-safety-copy", "--yes", "web01"), "needs its reason: --why REASON"},
		{64, with("--format", "yaml", "--plan"), "text json"},
		{64, []string{"snapshot", "rollback", "web01"}, "--help"},
		{64, with("--nonsense"), "unknown flag"},
		{70, []string{"snapshot", "rollback", "nobody", "x", "--yes", "nobody"}, `no guest is called "nobody"`},
		{70, []string{"operation", "show", "20200101-1"}, "there is no operation 20200101-1"},
		{70, []string{"operation", "show", "../../etc"}, "is no operation's id"},
		{78, append([]string{"--config", broken}, rollback...), "config.toml"},
		{78, append([]string{"--config", broken + "x"}, rollback...), "config.toml"},
	} {
		r := b.try(c.args...)
		if r.code != c.code || !strings.Contains(r.err, c.says) {
			t.Errorf("cairn %v ended with %d and %q, want %d and %q", c.args, r.code, r.err, c.code, c.says)
		}
		if strings.Contains(r.out, "read-only") || c.code != 78 && c.says != "" && !strings.HasPrefix(lastLine(r.err), "cairn: ") {
			t.Errorf("cairn %v: an error is one sentence on stderr, got %q and %q", c.args, r.out, r.err)
		}
	}
	if len(b.changes()) != 0 {
		t.Errorf("something was changed: %v", b.changes())
	}
	if g := b.lab.PVE.Guest(102); !g.Running {
		t.Error("a refused guest was stopped")
	}
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return lines[len(lines)-1]
}

func TestTheNameIsTypedInATerminal(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for _, keys := range []string{"web02\r", "\r", "y\r", "\x03", "\x04"} {
		s := b.session("snapshot", "rollback", "web01", "before-upgrade")
		s.See("Type the target's name to go on")
		s.Send(keys)
		if code := s.End(); code != 65 {
			t.Errorf("%q ended it with %d:\n%s", keys, code, s.Text())
		}
	}
	// what is typed before the question was asked confirms nothing
	s := b.session("snapshot", "rollback", "web01", "before-upgrade")
	s.Send("web01\r")
	s.See("Type the target's name to go on")
	if _, err := os.Stat(filepath.Join(b.state, "operations")); err == nil {
		if all, _ := os.ReadDir(filepath.Join(b.state, "operations")); len(all) != 0 {
			t.Fatal("keys in flight confirmed it")
		}
	}
	s.Send("web01\r")
	if code := s.End(); code != 0 {
		t.Fatalf("it ended with %d:\n%s", code, s.Text())
	}
	b.rolledBack()
}

func TestUndoBringsTheFormerStateBack(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		guest, snapshot, disk string
		vmid                  int
	}{{"web01", "before-upgrade", "scsi0", 100}, {"proxy", "before-tls", "rootfs", 106}} {
		b := newBench(t)
		before := b.lab.PVE.Guest(c.vmid)
		r := b.must(0, "snapshot", "rollback", c.guest, c.snapshot, "--yes", c.guest, "--why", "a bad upgrade")
		id := idIn(t, r.err)
		after := b.lab.PVE.Guest(c.vmid)
		if after.Content[c.disk] == before.Content[c.disk] || !after.Running {
			t.Errorf("%s was not rolled back: %+v", c.guest, after)
		}
		if c.vmid == 106 { // on ZFS a backup is the safety copy
			b.must(0, "operation", "undo", id, "--yes", c.guest)
			if beside := b.lab.PVE.Guest(111); beside.Content[c.disk] != before.Content[c.disk] {
				t.Errorf("the safety backup came back as %+v, want %v", beside, before.Content)
			}
			continue
		}
		b.must(0, "operation", "undo", id, "--yes", c.guest)
		if back := b.lab.PVE.Guest(c.vmid); back.Content[c.disk] != before.Content[c.disk] || !back.Running {
			t.Errorf("%s was not brought back: %+v", c.guest, back)
		}
	}
}

func TestWatchCancelAndWhatItCannotTakeBack(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	h := b.lab.PVE.HoldTask("qmrollback", "100", "data")
	id := b.rollback()
	reached(t, h)
	watching := b.session("operation", "watch", id)
	watching.See("stop the guest hard and roll back")
	watching.Send("\x03")
	if code := watching.End(); code != 0 || !strings.Contains(watching.Text(), "goes on") {
		t.Errorf("Ctrl-C ended the watching with %d:\n%s", code, watching.Text())
	}
	b.want(id, "running")
	if r := b.must(65, "operation", "cancel", id, "--read-only"); !strings.Contains(r.err, "read-only") {
		t.Errorf("a cancel that may only look says %s", r.err)
	}
	r := b.must(0, "operation", "cancel", id)
	for _, part := range []string{"asked to stop", "not to be undone by this: stop the guest hard and roll back", "cairn operation undo " + id, "Not to be done any more: start: the guest was running"} {
		if !strings.Contains(r.out, part) {
			t.Errorf("%q is missing in %s", part, r.out)
		}
	}
	h.Release()
	b.until(id, "cancelled")
	b.must(70, "operation", "watch", id)
	b.must(65, "operation", "cancel", id)
	b.once()
	if g := b.lab.PVE.Guest(100); g.Running {
		t.Error("it was started after the cancel")
	}
	b.must(0, "operation", "undo", id, "--yes", "web01")
	if g := b.lab.PVE.Guest(100); !g.Running || g.Config["parent"] != "cairn-before-"+id {
		t.Errorf("after the undo: %+v", g)
	}
}

func TestBackupAndTheTrail(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.env = []string{"SSH_CONNECTION=192.0.2.7 50000 192.0.2.1 22", "SUDO_USER=ana"}
	r := b.must(0, "backup", "web01", "--why", "before the upgrade") // destroys nothing: no name is asked for
	id := idIn(t, r.err)
	if s := b.lab.PVE.Guest(100).Snapshots; s[len(s)-1] != "cairn-"+id {
		t.Errorf("the snapshots are %v", s)
	}
	b.lab.PVE.EditStorage("local-lvm", func(s *pve.Storage) { s.Base = 390 << 30 })
	r = b.must(0, "backup", "web01")
	copied := idIn(t, r.err)
	var protected bool
	for _, c := range b.changes() {
		protected = protected || strings.HasSuffix(c.Path, "/vzdump") && c.Status == 200
	}
	if !protected {
		t.Errorf("no backup was made: %v", b.changes())
	}
	out := b.must(0, "history").out
	for _, line := range []string{`ana\s+192\.0\.2\.7\s+backup\s+guest:home/100 web01\s+started\s+before the upgrade`, `ana\s+192\.0\.2\.7\s+backup\s+guest:home/100 web01\s+done\s+before the upgrade`, `proxmox\.backup\s+1\s+\d+ %\s+\d+ %`} {
		if !regexp.MustCompile(line).MatchString(out) {
			t.Errorf("no line like %s in\n%s", line, out)
		}
	}
	plan := b.must(0, "backup", "dns", "--plan").out
	if !strings.Contains(plan, "measured") {
		t.Errorf("the estimate knows nothing of the runs before:\n%s", plan)
	}
	if list := b.must(0, "operation", "list").out; !strings.Contains(list, id) || !strings.Contains(list, copied) {
		t.Errorf("finished operations are gone:\n%s", list)
	}
}

// TestJSONKeys: every key that a script may depend on is snake_case, every list
// is one, and every time is RFC 3339 in UTC or null.
func TestJSONKeys(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	id := idIn(t, b.must(0, "snapshot", "rollback", "web01", "before-upgrade", "--yes", "web01").err)
	for _, args := range [][]string{
		{"snapshot", "rollback", "web01", "clean", "--plan"}, {"snapshot", "create", "web01", "x1", "--plan"}, {"snapshot", "delete", "web01", "clean", "--plan"},
		{"backup", "web01", "--plan"}, {"operation", "undo", id, "--plan"}, {"operation", "list"}, {"operation", "show", id}, {"snapshot", "list", "web01"}, {"history"},
	} {
		out := b.must(0, append(args, "--format", "json")...).out
		var v map[string]any
		if err := json.Unmarshal([]byte(out), &v); err != nil {
			t.Fatalf("%v: %v", args, err)
		}
		if v["schema_version"] != float64(1) {
			t.Errorf("%v has the schema_version %v", args, v["schema_version"])
		}
		keys(t, strings.Join(args, " "), v)
		for _, bad := range []string{"0001-01-01", "_ns\"", "s3cret"} {
			if strings.Contains(out, bad) {
				t.Errorf("%v prints %s:\n%s", args, bad, out)
			}
		}
	}
}

var snake = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)

func keys(t *testing.T, at string, v any) {
	t.Helper()
	switch v := v.(type) {
	case map[string]any:
		for key, one := range v {
			if !snake.MatchString(key) {
				t.Errorf("%s: the key %q", at, key)
			}
			if list := strings.HasSuffix(key, "s") && key != "status"; list && one == nil {
				t.Errorf("%s.%s is null and no list", at, key)
			}
			keys(t, at+"."+key, one)
		}
	case []any:
		for i, one := range v {
			keys(t, fmt.Sprintf("%s[%d]", at, i), one)
		}
	}
}

// TestAnActingSecretThatIsTyped reaches the worker, and nothing else.
func TestAnActingSecretThatIsTyped(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	text, err := os.ReadFile(b.config)
	if err != nil {
		t.Fatal(err)
	}
	file := regexp.MustCompile(`act = \{ token_id = "cairn@pve!act", token_secret = \{ file = "([^"]*)" \} \}`).FindStringSubmatch(string(text))
	if file == nil {
		t.Fatalf("the configuration has no acting token:\n%s", text)
	}
	kept, err := os.ReadFile(file[1])
	if err != nil {
		t.Fatal(err)
	}
	secret := strings.TrimSpace(string(kept))
	write(t, b.config, strings.Replace(string(text), `{ file = "`+file[1]+`" }`, "{ ask = true }", 1))

	if r := b.try("snapshot", "rollback", "web01", "before-upgrade", "--yes", "web01"); r.code == 0 || !strings.Contains(r.err, "run it in a terminal") {
		t.Errorf("without a terminal it ended with %d: %s", r.code, r.err)
	}
	wrong := b.session("snapshot", "rollback", "web01", "before-upgrade")
	wrong.See("Type the acting token of proxmox home")
	wrong.Send("wrong-secret\r")
	if code := wrong.End(); code == 0 || strings.Contains(string(wrong.Raw()), "wrong-secret") {
		t.Errorf("a wrong secret ended it with %d:\n%s", code, wrong.Text())
	}
	hold := b.lab.PVE.HoldTask("qmrollback", "100", "data")
	s := b.session("snapshot", "rollback", "web01", "before-upgrade")
	s.See("Type the acting token of proxmox home")
	s.Send(secret + "\r")
	s.See("Type the target's name")
	s.Send("web01\r")
	reached(t, hold)
	s.See("has started")
	id := idIn(t, s.Text()[strings.Index(s.Text(), "Operation "):])
	worker := b.worker(id)
	for _, name := range []string{"cmdline", "environ"} {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", worker, name))
		if err != nil || len(text) == 0 || strings.Contains(string(text), secret) {
			t.Errorf("the worker's %s: %q, %v", name, text, err)
		}
	}
	if links, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", worker)); true {
		for _, link := range links {
			if to, _ := os.Readlink(link); strings.Contains(to, "memfd") {
				t.Errorf("the worker holds the secret's file open: %s", to)
			}
		}
	}
	// a worker that resumes has nobody to ask: the console asks for it
	if err := syscall.Kill(worker, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	b.until(id, "interrupted")
	hold.Release()
	resumed := b.session("operation", "resume", id)
	resumed.See("Type the acting token of proxmox home")
	resumed.Send(secret + "\r")
	if code := resumed.End(); code != 0 {
		t.Errorf("the resume ended with %d:\n%s\n%s", code, resumed.Text(), b.workerLog(id))
	}
	b.want(id, "done")
	b.rolledBack()
	if strings.Contains(string(s.Raw())+string(resumed.Raw()), secret) {
		t.Error("the secret was shown")
	}
	nowhere(t, b.state, secret)
}

// nowhere fails the test where a file below dir holds text.
func nowhere(t *testing.T, dir, text string) {
	t.Helper()
	n := 0
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err != nil || !info.Mode().IsRegular() {
			return err
		}
		n++
		found, err := os.ReadFile(path)
		if strings.Contains(string(found), text) {
			t.Errorf("%s holds the secret", path)
		}
		return err
	})
	if err != nil || n == 0 {
		t.Errorf("%d files were read, %v", n, err)
	}
}

// TestABrokenHistoryStopsNoRollback: the estimates are assumed then, and said.
func TestABrokenHistoryStopsNoRollback(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	write(t, filepath.Join(b.state, "history.db"), strings.Repeat("this is no database\n", 400))
	r := b.must(0, "snapshot", "rollback", "web01", "before-upgrade", "--yes", "web01")
	if !strings.Contains(r.err, "is set aside as") {
		t.Errorf("it does not say so: %s", r.err)
	}
	b.rolledBack()
	aside, _ := filepath.Glob(filepath.Join(b.state, "history.db.broken-*"))
	if len(aside) == 0 {
		t.Error("the broken history was not kept")
	}
	testkit.Until(t, limit, "no task runs", b.lab.PVE.Idle)
}
