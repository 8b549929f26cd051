package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"cairn/internal/lab"
	"cairn/internal/lab/pbs"
	"cairn/internal/lab/pve"
	"cairn/internal/testkit"
)

// trouble is something bad that a source of the lab gives to read.
type trouble struct {
	name    string
	make    func(t *testing.T, l *lab.Lab) (edits []string) // of the configuration
	args    []string
	subject string // the source in trouble
	code    string // of its problem; empty: there is none, it reads through it
	status  string // of the problem; empty: unknown
	says    string // in its sentence
	hint    string // in its hint
}

// hold runs check and looks at what it makes of the trouble: one problem of its
// source, a sentence with a hint; the source not ok; all others as they were.
func (x trouble) hold(t *testing.T, before report, config string) {
	t.Helper()
	rep, r := check(t, config, x.args...)
	if r.err != "" || len(rep.Warnings) > 0 || r.took > 20*time.Second {
		t.Errorf("after %s: %s %v", r.took, r.err, rep.Warnings)
	}
	if x.code == "" {
		if rep.tell() != before.tell() {
			t.Errorf("it changes the report:\n%s\ninstead of\n%s", rep.tell(), before.tell())
		}
		return
	}
	var mine []problem
	for _, p := range rep.about(x.subject) {
		if p.Code == x.code {
			mine = append(mine, p)
		} else if !strings.Contains(before.tell(), p.ID) {
			t.Errorf("one trouble gives a second problem: %s: %s", p.ID, p.Summary)
		}
	}
	want := x.status
	if want == "" {
		want = "unknown"
	}
	switch {
	case len(mine) != 1:
		t.Fatalf("%d problems %s of %s:\n%s", len(mine), x.code, x.subject, rep.tell())
	case mine[0].Status != want || !strings.Contains(mine[0].Summary, x.says) || !strings.Contains(mine[0].Hint, x.hint):
		t.Errorf("%s: %s -> %s\nwanted %s, %q -> %q", mine[0].Status, mine[0].Summary, mine[0].Hint, want, x.says, x.hint)
	}
	sentence(t, mine[0])
	x.rows(t, before, rep)
	board := try(t, append([]string{"check", "--config", config}, x.args...)...)
	if strings.Contains(board.out, "all is well") || board.code != r.code || !strings.Contains(strings.Join(strings.Fields(board.out), " "), mine[0].Summary[:20]) {
		t.Errorf("the board: exit %d\n%s", board.code, board.out)
	}
}

// rows compares the sources and disks with those before the trouble.
func (x trouble) rows(t *testing.T, before, after report) {
	t.Helper()
	for _, tier := range before.Tiers {
		for _, was := range tier.Sources {
			is := after.source(t, was.Name)
			switch {
			case was.Name == x.subject && is.Status == "ok":
				t.Errorf("%s is ok", is.Name)
			case was.Name != x.subject && !strings.HasPrefix(x.subject, "disk.") && (is.Status != was.Status || is.Reachable != was.Reachable || is.Copies != was.Copies):
				t.Errorf("%s was %+v and is %+v", was.Name, was, is)
			}
		}
	}
	for _, d := range after.Disks {
		if "disk."+d.Name == x.subject && d.Status == "ok" {
			t.Errorf("disk %s is ok", d.Name)
		}
	}
}

// sentence holds what every problem owes a tired admin.
func sentence(t *testing.T, p problem) {
	t.Helper()
	for _, text := range []string{p.Summary, p.Hint} {
		first, _ := utf8.DecodeRuneInString(text)
		if text == "" || unicode.IsLower(first) && !strings.HasPrefix(text, "restic ") || strings.ContainsAny(text, "\n\x1b") || len(text) > 500 {
			t.Errorf("no sentence: %q", text)
		}
	}
	for _, jargon := range []string{"context deadline", "context canceled", "%!", "<nil>", "EOF", "goroutine", "unmarshal"} {
		if strings.Contains(p.Summary, jargon) {
			t.Errorf("%q means nothing to an admin: %s", jargon, p.Summary)
		}
	}
}

// rewrite changes every value of a JSON text; what is none stays.
func rewrite(text []byte, change func(any) any) []byte {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var v any
	if d.Decode(&v) != nil {
		return text
	}
	out, err := json.Marshal(walk(v, change))
	if err != nil {
		return text
	}
	return out
}

func walk(v any, change func(any) any) any {
	switch v := v.(type) {
	case map[string]any:
		for key, one := range v {
			v[key] = walk(one, change)
		}
	case []any:
		for i, one := range v {
			v[i] = walk(one, change)
		}
	}
	return change(v)
}

// quoted makes every number a string.
func quoted(text []byte) []byte {
	return rewrite(text, func(v any) any {
		if n, ok := v.(json.Number); ok {
			return n.String()
		}
		return v
	})
}

// strange adds a field that no version has to every object.
func strange(text []byte) []byte {
	return rewrite(text, func(v any) any {
		if m, ok := v.(map[string]any); ok {
			m["of-another-version"] = map[string]any{"a": []any{1, nil, "x"}}
		}
		return v
	})
}

func pveFault(f pve.Fault) func(*testing.T, *lab.Lab) []string {
	return func(t *testing.T, l *lab.Lab) []string { l.PVE.Fault(f); return nil }
}

func pbsFault(f pbs.Fault) func(*testing.T, *lab.Lab) []string {
	return func(t *testing.T, l *lab.Lab) []string { l.PBS.Fault("", f); return nil }
}

func TestBadServers(t *testing.T) {
	// The labs run beside each other: a port that one gives back, another may take.
	refused := func(_ *testing.T, l *lab.Lab) []string { return []string{l.PBS.URL(), "https://127.0.0.1:1"} }
	pbsWorld := func(change func(*pbs.World)) func(*testing.T, *lab.Lab) []string {
		return func(_ *testing.T, l *lab.Lab) []string { l.PBS.Change(change); return nil }
	}
	late := func(d time.Duration) func(*pbs.World) {
		return func(w *pbs.World) { w.Now = func() time.Time { return time.Now().Add(d) } }
	}
	const nas, home = "pbs.nas", "proxmox.home"
	for _, x := range []trouble{
		{name: "PBS refuses the connection", subject: nas, code: "unreachable", says: "the connection was refused (never read)", hint: "Is proxmox-backup-proxy running", make: refused},
		{name: "PBS hangs", subject: nas, code: "unreachable", says: "no answer within 5s", hint: "overloaded", args: []string{"--timeout", "5s"},
			make: func(_ *testing.T, l *lab.Lab) []string { l.PBS.Hang(); return nil }},
		{name: "PBS has a new certificate", subject: nas, code: "unreachable", says: "certificate has changed", hint: "Compare it",
			make: func(_ *testing.T, l *lab.Lab) []string {
				return []string{l.PBS.Fingerprint(), strings.Repeat("AB:", 31) + "AB"}
			}},
		{name: "PBS refuses the token", subject: nas, code: "unreachable", says: "401", hint: "Check token_id",
			make: func(*testing.T, *lab.Lab) []string { return []string{"cairn@pbs!read", "cairn@pbs!gone"} }},
		{name: "PBS hides what the token may not see", subject: nas, code: "unreachable", says: "Datastore.Audit on /datastore/usb is missing", hint: "acl update /datastore/usb DatastoreAudit",
			make: pbsWorld(func(w *pbs.World) { w.Tokens[0].ACL = nil })},
		{name: "PBS cuts its answers", subject: nas, code: "unreachable", says: "the answer was cut off", hint: "See the log", make: pbsFault(pbs.Fault{Cut: true})},
		{name: "PBS sends no JSON", subject: nas, code: "unreachable", says: "the answer is no JSON", hint: "cairn check --only pbs.nas", make: pbsFault(pbs.Fault{Edit: pbs.Malformed})},
		{name: "PBS fails inside", subject: nas, code: "unreachable", says: "PBS answered 500: proxy error", hint: "cairn check --only pbs.nas", make: pbsFault(pbs.Fault{Status: 500, Body: "proxy error"})},
		{name: "the clock of PBS is behind", subject: nas, code: "clock", status: "warning", says: "1h behind this host's, the limit is 2m", hint: "NTP", make: pbsWorld(late(-time.Hour - 30*time.Second))},
		{name: "the clock of PBS is ahead", subject: nas, code: "clock", status: "warning", says: "ahead of this host's, the limit is 2m", hint: "NTP", make: pbsWorld(late(time.Hour))},
		{name: "PBS has lost its disk", subject: nas, code: "not-mounted", says: "the datastore is not mounted", hint: "proxmox-backup-manager datastore mount",
			make: pbsWorld(func(w *pbs.World) { w.Datastores[0].Mount, w.Datastores[0].Absent = pbs.NotMounted, true })},
		{name: "PBS sends numbers as strings", subject: nas, make: pbsFault(pbs.Fault{Edit: quoted})},
		{name: "PBS sends unknown fields", subject: nas, make: pbsFault(pbs.Fault{Edit: strange})},

		{name: "PVE is down", subject: home, code: "unreachable", says: "connection refused", hint: "pveproxy",
			make: func(_ *testing.T, l *lab.Lab) []string { return []string{l.PVE.URL(), "https://127.0.0.1:1"} }},
		{name: "PVE hangs", subject: home, code: "unreachable", says: "no answer within 5s", hint: "overloaded", args: []string{"--timeout", "5s"},
			make: func(_ *testing.T, l *lab.Lab) []string { l.PVE.Hang(true); return nil }},
		{name: "PVE has a new certificate", subject: home, code: "unreachable", says: "the certificate of 127.0.0.1", hint: "Compare it",
			make: func(_ *testing.T, l *lab.Lab) []string {
				return []string{l.PVE.Fingerprint(), strings.Repeat("AB:", 31) + "AB"}
			}},
		{name: "PVE refuses the token", subject: home, code: "unreachable", says: "the token was refused (401", hint: "Check token_id",
			make: func(*testing.T, *lab.Lab) []string { return []string{"cairn@pve!read", "cairn@pve!gone"} }},
		{name: "PVE hides what the token may not see", subject: home, code: "hidden", says: "lacks VM.Audit", hint: "pveum acl modify",
			make: func(_ *testing.T, l *lab.Lab) []string { l.PVE.Revoke("/", "cairn@pve!read"); return nil }},
		{name: "PVE cuts its answers", subject: home, code: "unreachable", says: "the answer was cut off", hint: "See the log", make: pveFault(pve.Fault{CutAfter: 20})},
		{name: "PVE sends no JSON", subject: home, code: "unreachable", says: "GET /cluster/resources: the answer", make: pveFault(pve.Fault{Malformed: true})},
		{name: "PVE fails inside", subject: home, code: "unreachable", says: "500 Internal Server Error", hint: "cairn check --only proxmox.home", make: pveFault(pve.Fault{Status: 500, Reason: "Internal Server Error"})},
		{name: "a node of PVE is away", subject: home, code: "node-offline", says: "pve2", hint: "Start the node",
			make: func(_ *testing.T, l *lab.Lab) []string { l.PVE.NodeDown("pve2", true); return nil }},
		{name: "PVE sends numbers as strings", subject: home, make: pveFault(pve.Fault{Edit: func(b string) string { return string(quoted([]byte(b))) }})},
		{name: "PVE sends unknown fields", subject: home, make: pveFault(pve.Fault{Edit: func(b string) string { return string(strange([]byte(b))) }})},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			l := start(t, lab.Servers)
			x.hold(t, expected(t), config(t, l, x.make(t, l)...))
		})
	}
}

// healthy is the report of a lab of servers in which nothing is wrong but what
// the lab shows on purpose.
var healthy struct {
	once   sync.Once
	report report
}

func expected(t *testing.T) report {
	t.Helper()
	healthy.once.Do(func() { healthy.report, _ = check(t, config(t, start(t, lab.Servers))) })
	return healthy.report
}

func TestBadCopies(t *testing.T) {
	l := whole(t)
	before, _ := check(t, config(t, l))
	repository := filepath.Join(l.USB(), "restic")
	wrong := write(t, filepath.Join(t.TempDir(), "wrong"), "wrong")
	secret := func(name string) string { return filepath.Join(l.Dir(), "secrets", name) }
	text, err := os.ReadFile(l.ConfigPath())
	must(t, err)
	port := regexp.MustCompile(`dsn = "host=127.0.0.1 port=\d+`).FindString(string(text))
	usb := fmt.Sprintf("repository = %q\npassword = { file = %q", repository, secret("restic"))
	for _, x := range []struct {
		trouble
		edits []string
	}{
		{trouble{name: "there is no repository", subject: "restic.usb", code: "unreachable", says: "there is no repository at", hint: "repository in [restic.usb]"},
			[]string{repository, filepath.Join(l.USB(), "nothing")}},
		{trouble{name: "the password is wrong", subject: "restic.usb", code: "unreachable", says: "opens no key", hint: "Check password in [restic.usb]"},
			[]string{usb, strings.Replace(usb, secret("restic"), wrong, 1)}},
		{trouble{name: "the cloud is away", subject: "restic.cloud", code: "unreachable", says: "cannot be reached", hint: "Check the network"},
			[]string{"rest:http://127.0.0.1:", "rest:http://127.0.0.1:1/"}},
		{trouble{name: "PostgreSQL refuses the connection", subject: "postgres.erp", code: "server-unreachable", says: "PostgreSQL at 127.0.0.1 port 1", hint: "Start the server"},
			[]string{port, `dsn = "host=127.0.0.1 port=1`}},
		{trouble{name: "PostgreSQL refuses the password", subject: "postgres.erp", code: "server-unreachable", says: "refuses the password of role cairn", hint: "password"},
			[]string{secret("pg"), wrong}},
	} {
		t.Run(x.name, func(t *testing.T) { x.hold(t, before, config(t, l, x.edits...)) })
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A killed backup leaves its lock; the repository is surveyed all the same.
func TestALockedRepository(t *testing.T) {
	l := whole(t)
	before, _ := check(t, config(t, l))
	repository, password := filepath.Join(l.USB(), "restic"), filepath.Join(l.Dir(), "secrets", "restic")
	job := exec.Command(testkit.Program(t, "restic"), "-r", repository, "-p", password, "--no-cache", "backup", "--stdin")
	in, err := job.StdinPipe()
	must(t, err)
	must(t, job.Start())
	defer in.Close()
	locks := func() int {
		found, _ := filepath.Glob(filepath.Join(repository, "locks", "[0-9a-f]*"))
		return len(found)
	}
	testkit.Until(t, time.Minute, "the backup holds a lock", func() bool { return locks() == 1 })
	if s := before.source(t, "restic.usb"); s.Status != "ok" {
		t.Fatalf("before: %+v", s)
	}
	while, _ := check(t, config(t, l))
	if s := while.source(t, "restic.usb"); s.Status != "ok" || s.Copies != 8 {
		t.Errorf("while it is written to: %+v\n%s", s, while.tell())
	}
	_ = job.Process.Kill()
	_ = job.Wait()
	defer func() {
		if out, err := exec.Command("restic", "-r", repository, "-p", password, "--no-cache", "unlock").CombinedOutput(); err != nil || locks() > 0 {
			t.Errorf("unlock: %v %s", err, out)
		}
	}()
	x := trouble{subject: "restic.usb", code: "stale-lock", status: "warning", says: "1 lock that nobody renews", hint: "restic unlock"}
	x.hold(t, before, config(t, l))
}

func TestBadDisks(t *testing.T) {
	if os.Geteuid() != 0 {
		testkit.Need(t, "root, to mount")
	}
	for _, x := range []trouble{
		{name: "absent", code: "disk-absent", status: "critical", says: "is absent: nothing is mounted on", hint: "Plug it in and mount it",
			make: func(t *testing.T, l *lab.Lab) []string { must(t, syscall.Unmount(l.USB(), 0)); return nil }},
		{name: "read-only", code: "disk-read-only", status: "critical", says: "cannot be written to", hint: "",
			make: func(t *testing.T, l *lab.Lab) []string {
				must(t, syscall.Mount("", l.USB(), "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""))
				return nil
			}},
		{name: "another one", code: "disk-foreign", status: "critical", says: "Another disk is mounted", hint: "Unmount it",
			make: func(t *testing.T, l *lab.Lab) []string {
				image := filepath.Join(t.TempDir(), "other.img")
				must(t, os.WriteFile(image, make([]byte, 4<<20), 0o600))
				for _, argv := range [][]string{{"/sbin/mkfs.ext4", "-q", "-F", image}, {"mount", "-o", "loop", image, l.USB()}} {
					if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
						t.Fatalf("%v: %v %s", argv, err, out)
					}
				}
				return nil
			}},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			l := start(t, lab.USB|lab.Datastore)
			path := config(t, l)
			before, _ := check(t, path)
			if len(before.Disks) != 1 || before.Disks[0].Status != "ok" || !before.Disks[0].Present || !before.Disks[0].Writable {
				t.Fatalf("before: %+v", before.Disks)
			}
			x.make(t, l)
			x.subject = "disk.usb"
			x.hold(t, before, path)
			after, _ := check(t, path)
			if nas := after.source(t, "pbs.nas"); x.name != "read-only" && nas.Status != "unknown" {
				t.Errorf("what lies on the disk: %+v", nas)
			}
			if after.Disks[0].Writable || after.source(t, "proxmox.home").Status != before.source(t, "proxmox.home").Status {
				t.Errorf("after: %+v\n%s", after.Disks, after.tell())
			}
		})
	}
}
