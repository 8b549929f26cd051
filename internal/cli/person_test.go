package cli

import (
	"bytes"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cairn/internal/history"
	"cairn/internal/operation"
	"cairn/internal/plan"
	"cairn/internal/watch"
)

func TestWhoAndOrigin(t *testing.T) {
	t.Setenv("SUDO_USER", "")
	t.Setenv("SSH_CONNECTION", "")
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	if who() != me.Username || origin() != "local" {
		t.Errorf("%s from %s", who(), origin())
	}
	t.Setenv("SUDO_USER", "ana")
	t.Setenv("SSH_CONNECTION", "192.0.2.7 50514 192.0.2.2 22")
	if who() != "ana" || origin() != "192.0.2.7" {
		t.Errorf("%s from %s", who(), origin())
	}
}

// lonely is a configuration of one restic repository that is not there: enough
// for a problem, without any server.
func lonely(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"password": "x", "config.toml": fmt.Sprintf(
		"state_dir = %q\n[restic.usb]\nrepository = %q\npassword = { file = %q }\npaths = [\"/etc\"]\nevery = \"24h\"\n",
		filepath.Join(dir, "state"), filepath.Join(dir, "nothing"), filepath.Join(dir, "password"))} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "config.toml")
}

// runs runs a command line in this process.
func runs(t *testing.T, args ...string) (code int, out, said string) {
	t.Helper()
	var o, e bytes.Buffer
	code = Main(t.Context(), args, Env{Out: &o, Err: &e, Version: "test", Console: Console{
		Text: func(s *watch.State, _ string, _ time.Time, _ int) string { return s.Report.Status.String() + "\n" },
	}})
	return code, o.String(), e.String()
}

func TestHoldAckAndHistory(t *testing.T) {
	t.Setenv("SUDO_USER", "ana")
	t.Setenv("SSH_CONNECTION", "192.0.2.7 50514 192.0.2.2 22")
	path := lonely(t)
	do := func(want int, args ...string) string {
		t.Helper()
		code, out, said := runs(t, append(args, "--config", path)...)
		if code != want {
			t.Fatalf("%v: exit %d %s%s", args, code, out, said)
		}
		return out + said
	}
	if out := do(3, "check"); !strings.HasPrefix(out, "unknown\n") || !strings.Contains(out, "cairn ack lists the problems with their ids") {
		t.Errorf("check: %q", out)
	}
	const problem = "unreachable:restic.usb"
	for _, args := range [][]string{{"hold", "on"}, {"hold", "off"}, {"ack", problem}, {"ack", problem, "--off"}} {
		if out := do(65, append(args, "--read-only")...); !strings.Contains(out, "read-only") {
			t.Errorf("%v: %s", args, out)
		}
	}
	if out := do(0, "ack"); !strings.Contains(out, problem+"  unknown") {
		t.Errorf("the ids of the problems are not listed: %s", out)
	}
	if out := do(64, "ack", "stale:nothing"); !strings.Contains(out, problem) {
		t.Errorf("what there is to acknowledge is not told: %s", out)
	}
	if out := do(0, "ack", problem); !strings.Contains(out, "Noted, until it worsens: restic usb") {
		t.Errorf("ack: %s", out)
	}
	if out := do(1, "check"); !strings.HasPrefix(out, "warning\n") { // what remains: there is no off-site copy
		t.Errorf("acknowledged, and %q", out)
	}
	if out := do(0, "ack"); !strings.Contains(out, problem+"  acknowledged") {
		t.Errorf("what was acknowledged is listed as %s", out)
	}
	do(64, "ack", "--off")
	do(0, "ack", "--off", problem)
	do(3, "check")
	if out := do(0, "hold", "on", "--why", "ransomware?"); !strings.Contains(out, "The hold is on") {
		t.Errorf("hold on: %s", out)
	}
	if out := do(3, "check", "--format", "json"); !strings.Contains(out, `"id": "hold:incident"`) || !strings.Contains(out, "ransomware?") || !strings.Contains(out, "ana") {
		t.Errorf("the hold is no problem of the report:\n%s", out)
	}
	if out := do(0, "hold", "off"); !strings.Contains(out, "The hold is off") {
		t.Errorf("hold off: %s", out)
	}
	trail := do(0, "history")
	for _, want := range []string{"ana", "192.0.2.7", "hold on", "hold off", "ransomware?", "acknowledge", problem} {
		if !strings.Contains(trail, want) {
			t.Errorf("the history lacks %q:\n%s", want, trail)
		}
	}
	if out := do(0, "history", "--format", "json", "--limit", "1"); !strings.Contains(out, `"schema_version": 1`) || strings.Contains(out, "hold on") || !strings.Contains(out, "hold off") {
		t.Errorf("history as JSON, the latest alone:\n%s", out)
	}
}

// The hold is kept where the next process finds it.
func TestTheHoldIsInTheHistory(t *testing.T) {
	path := lonely(t)
	if code, _, said := runs(t, "hold", "on", "--config", path); code != 0 {
		t.Fatal(said)
	}
	s, err := history.Open(t.Context(), filepath.Join(filepath.Dir(path), "state", "history.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if h, err := s.HeldBy(t.Context()); err != nil || h == nil || h.Who == "" {
		t.Errorf("%+v %v", h, err)
	}
}

// TestTheHistoryNamesGuests where an operation knows what they are called.
func TestTheHistoryNamesGuests(t *testing.T) {
	path := lonely(t)
	state := filepath.Join(filepath.Dir(path), "state")
	now := time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)
	ops, err := operation.OpenStore(state)
	if err != nil {
		t.Fatal(err)
	}
	p := plan.Plan{Operation: "rollback", Target: "guest:home/100", Confirm: "web01", Created: now, Summary: "Roll back web01", Steps: []plan.Step{{ID: "1", Kind: "none", Title: "nothing"}}}
	if _, err := ops.Create(p, operation.Actor{Who: "ana"}, now); err != nil {
		t.Fatal(err)
	}
	past, err := history.Open(t.Context(), filepath.Join(state, "history.db"))
	if err != nil {
		t.Fatal(err)
	}
	if err := past.Audit(t.Context(), history.Entry{At: now, Who: "ana", What: "rollback", Target: "guest:home/100", Result: "done"}); err != nil {
		t.Fatal(err)
	}
	if err := past.Close(); err != nil {
		t.Fatal(err)
	}
	if code, out, said := runs(t, "history", "--config", path); code != 0 || !strings.Contains(out, "guest:home/100 web01") {
		t.Errorf("exit %d: the guest has no name in\n%s%s", code, out, said)
	}
}
