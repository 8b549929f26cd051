package cli

import (
	"encoding/json"
	"strings"
	"testing"
)

// TestAnIncidentOnTheCommandLine: opened, seen by every check, validated, closed
// with its record; each refusal says what to do.
func TestAnIncidentOnTheCommandLine(t *testing.T) {
	t.Setenv("SUDO_USER", "ana")
	path := lonely(t)
	do := func(want int, args ...string) string {
		t.Helper()
		code, out, said := runs(t, append(args, "--config", path)...)
		if code != want {
			t.Fatalf("%v: exit %d, want %d: %s%s", args, code, want, out, said)
		}
		return out + said
	}
	holds := func(text string, want ...string) {
		t.Helper()
		for _, w := range want {
			if !strings.Contains(text, w) {
				t.Errorf("%q is not in:\n%s", w, text)
			}
		}
	}
	holds(do(64, "incident", "show"), "no incident is open", "cairn incident list")
	holds(do(64, "incident", "close", "--loss", "nothing"), "no incident is open")
	holds(do(64, "incident", "validated"), "no incident is open")
	holds(do(64, "incident", "open"), "WHAT is missing: write cairn incident open WHAT…")
	holds(do(65, "incident", "open", "x", "--read-only"), "read-only")
	holds(do(0, "incident", "open", "web01", "does not start"), "Incident 1 is open since", "cairn incident close", "cairn restore")
	holds(do(65, "incident", "open", "again"), "incident 1 (web01 does not start) is open since")
	holds(do(3, "check", "--format", "json"), `"id": "incident:incident 1"`, "Incident 1 is open since", "web01 does not start", "ana")
	holds(do(0, "hold", "off"), "incident 1 (web01 does not start) is open and holds all copies on")
	holds(do(0, "incident", "show"), "1: web01 does not start", "not yet: it is open", "by ana")
	holds(do(64, "incident", "close"), "--loss")
	holds(do(0, "incident", "validated"), "Incident 1: all was back at")
	out := do(0, "incident", "close", "--loss", "six hours", "--differed", "the key was in the other safe", "--format", "json")
	var closed struct {
		Incident struct {
			ID        int
			Open      bool
			Loss      string
			Validated string   `json:"validated_at"`
			Closed    string   `json:"closed_at"`
			Wall      *float64 `json:"wall_seconds"`
			Human     *float64 `json:"human_seconds"`
			Differed  []string
			Told      []string
		}
	}
	if err := json.Unmarshal([]byte(out), &closed); err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
	if i := closed.Incident; i.ID != 1 || i.Open || i.Loss != "six hours" || i.Validated == "" || i.Closed == "" || i.Wall == nil || i.Human == nil || len(i.Differed) != 1 || i.Told == nil {
		t.Errorf("the record is %+v:\n%s", i, out)
	}
	holds(do(0, "incident", "list"), "web01 does not start", "six hours")
	holds(do(0, "incident", "list", "--format", "json"), `"incidents": [`)
	holds(do(0, "incident", "show", "1"), "six hours", "the key was in the other safe", "wall clock")
	holds(do(64, "incident", "show", "7"), `there is no incident "7"`)
	if text := do(3, "check", "--format", "json"); strings.Contains(text, "incident 1") {
		t.Errorf("it is closed, and checks speak of it:\n%s", text)
	}
	trail := do(0, "history")
	holds(trail, "incident open", "incident validated", "incident close")
}

// TestRestoreAloneWithoutATerminal lists the scenarios.
func TestRestoreAloneWithoutATerminal(t *testing.T) {
	path := lonely(t)
	code, out, said := runs(t, "restore", "--config", path)
	if code != 0 || !strings.Contains(out, "SCENARIO") {
		t.Errorf("exit %d: %s%s", code, out, said)
	}
	code, out, said = runs(t, "restore", "--format", "json", "--config", path)
	if code != 0 || !strings.Contains(out, `"scenarios": [`) {
		t.Errorf("exit %d: %s%s", code, out, said)
	}
	if code, _, _ := runs(t, "restore", "--format", "xml", "--config", path); code != 64 {
		t.Errorf("a format that is none: exit %d", code)
	}
	if code, _, _ := runs(t, "restore", "nonsense", "--config", path); code != 64 {
		t.Errorf("a scenario that is none: exit %d", code)
	}
}
