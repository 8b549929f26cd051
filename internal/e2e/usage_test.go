package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cairn/internal/lab"
)

// What a script gets for a command line that is wrong: 64, and one line that
// says how to mend it.
func TestWrongCommandLines(t *testing.T) {
	for line, says := range map[string]string{
		"check --bogus":                      "unknown flag: --bogus; see cairn check --help",
		"check extra":                        "see cairn check --help",
		"check --format yaml":                "--format yaml: it is one of [text json nagios prometheus]",
		"check --timeout soon":               "--timeout",
		"bogus":                              `unknown command "bogus" for "cairn"; see cairn --help`,
		"operation":                          "cairn operation needs one of: cancel, done, list, resume, show",
		"operation bogus":                    "see cairn operation --help",
		"snapshot":                           "cairn snapshot needs one of",
		"snapshot rollback home/100":         "see cairn snapshot rollback --help",
		"ack --off":                          "cairn ack lists their ids",
		"hold perhaps":                       "see cairn hold --help",
		"copies a b":                         "see cairn copies --help",
		"version 2":                          "see cairn version --help",
		"history --limit many":               "--limit",
		"snapshot list home/100 --format no": "--format no",
	} {
		r := try(t, strings.Fields(line)...)
		if r.code != 64 || r.out != "" || !strings.Contains(r.err, says) || !strings.HasPrefix(r.err, "cairn: ") || strings.Count(r.err, "\n") != 1 {
			t.Errorf("cairn %s: exit %d %q %q, wanted %q", line, r.code, r.out, r.err, says)
		}
	}
}

func TestSourcesThatAreNotThere(t *testing.T) {
	path := config(t, start(t, lab.Servers))
	if r := try(t, "check", "--config", path, "--only", "pbs.nass"); r.code != 64 || !strings.Contains(r.err, `no source is called "pbs.nass": there are pbs.nas, proxmox.home`) {
		t.Errorf("exit %d %s", r.code, r.err)
	}
	if r := try(t, "copies", "nobody", "--config", path); r.code != 64 || !strings.Contains(r.err, `there is no asset "nobody"`) {
		t.Errorf("exit %d %s", r.code, r.err)
	}
	if r := try(t, "ack", "nothing", "--config", path); r.code != 64 || !strings.Contains(r.err, "never-verified:pbs.nas") {
		t.Errorf("exit %d %s", r.code, r.err)
	}
}

// What is asked alone is judged alone: the copies of the others are neither
// missing nor well.
func TestOnlySomeSources(t *testing.T) {
	l := start(t, lab.Servers)
	must(t, l.PBS.Refuse(true))
	path := config(t, l)
	rep, r := check(t, path, "--only", "proxmox")
	if r.code != 0 || len(rep.Tiers) != 1 || len(rep.Assets) != 0 || len(rep.Scenarios) != 0 || len(rep.Problems) != 0 {
		t.Errorf("exit %d\n%s", r.code, r.out)
	}
	if n := len(l.PBS.Requests()); n != 0 {
		t.Errorf("the PBS got %d requests", n)
	}
	if text := try(t, "check", "--config", path, "--only", "proxmox.home"); !strings.Contains(text.out, "Asked: proxmox.home; no other source") || strings.Contains(text.out, "YOU LOSE") {
		t.Errorf("the board:\n%s", text.out)
	}
	if rep, r := check(t, path, "--only", "proxmox,pbs.nas"); r.code != 3 || len(rep.Tiers) != 2 {
		t.Errorf("exit %d\n%s", r.code, r.out)
	}
}

func TestNoConfiguration(t *testing.T) {
	for _, args := range [][]string{nil, {"check"}, {"copies"}, {"history"}, {"check", "--format", "json"}} {
		r := try(t, args...)
		if r.code != 78 || r.out != "" || !strings.Contains(r.err, "there is no configuration") || !strings.Contains(r.err, "/etc/cairn/config.toml") || !strings.Contains(r.err, "cairn demo") || strings.Count(r.err, "\n") != 1 {
			t.Errorf("%v: exit %d %s%s", args, r.code, r.out, r.err)
		}
	}
	if r := try(t, "check", "--config", "/nowhere/config.toml"); r.code != 78 || !strings.Contains(r.err, "/nowhere/config.toml") {
		t.Errorf("exit %d %s", r.code, r.err)
	}
	r := try(t, "check", "--format", "nagios")
	if r.code != 3 || !strings.HasPrefix(r.out, "UNKNOWN - there is no configuration") || r.err != "" {
		t.Errorf("for Nagios: exit %d %q %q", r.code, r.out, r.err)
	}
}

// Every mistake of a file is told at once, with file, line and key; no secret
// that stands in it is repeated.
func TestABadConfiguration(t *testing.T) {
	dir := t.TempDir()
	open := filepath.Join(dir, "secret")
	write(t, open, "hunter2")
	must(t, os.Chmod(open, 0o644))
	path := write(t, filepath.Join(dir, "config.toml"), `titel = "x"
[proxmox.home]
urls = ["http://pve1:8006"]
token_id = "cairn"
token_secret = { file = "`+open+`" }
[pbs.nas]
url = 5
datastore = "usb"
disk = "nowhere"
every = "daily"
token_secret = "hunter2"
[restic.cloud]
copy_from = "usb"
`)
	r := try(t, "check", "--config", path)
	if r.code != 78 || r.out != "" {
		t.Errorf("exit %d %s", r.code, r.out)
	}
	for _, want := range []string{":1: titel:", ":3: proxmox.home.urls", ":4: proxmox.home.token_id", ":5: proxmox.home.token_secret", ":7: pbs.nas.url", ":9: pbs.nas.disk", ":10: pbs.nas.every", ":11: pbs.nas.token_secret", ":13: restic.cloud.copy_from"} {
		if !strings.Contains(r.err, path+want) {
			t.Errorf("%s is not told of:\n%s", want, r.err)
		}
	}
	if strings.Contains(r.err, "hunter2") {
		t.Errorf("a secret is printed:\n%s", r.err)
	}
	nagios := try(t, "check", "--config", path, "--format", "nagios")
	if nagios.code != 3 || !strings.HasPrefix(nagios.out, "UNKNOWN - ") || strings.Count(nagios.out, "\n") != 1 || !strings.Contains(nagios.out, "pbs.nas.disk") {
		t.Errorf("for Nagios: exit %d %q %q", nagios.code, nagios.out, nagios.err)
	}
}

func TestReadOnlyChangesNothing(t *testing.T) {
	l := start(t, lab.Servers)
	path := config(t, l)
	r := try(t, "--read-only", "--config", path, "snapshot", "create", "home/100", "now")
	if r.code != 65 || !strings.Contains(r.err, "read-only") {
		t.Errorf("exit %d %s%s", r.code, r.out, r.err)
	}
	for _, one := range l.PVE.Guest(100).Snapshots {
		if one == "now" {
			t.Error("the snapshot was made")
		}
	}
	for _, q := range l.PVE.Requests() {
		if q.Method != "GET" {
			t.Errorf("read-only, and %s %s was called", q.Method, q.Path)
		}
	}
	if r := try(t, "--read-only", "--config", path, "check"); r.code != 1 {
		t.Errorf("check: exit %d %s", r.code, r.err)
	}
}

func TestVersion(t *testing.T) {
	r := try(t, "version")
	if r.code != 0 || r.out != "cairn e2e\n" || r.err != "" {
		t.Errorf("exit %d %q %q", r.code, r.out, r.err)
	}
}
