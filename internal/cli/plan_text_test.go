package cli

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"

	"cairn/internal/operation"
	"cairn/internal/plan"
)

// TestAPlanOnATerminalBreaksNoWord and is never wider than it, but for one word.
func TestAPlanOnATerminalBreaksNoWord(t *testing.T) {
	p := plan.Plan{Summary: "Roll back web01", Loss: strings.Repeat("all that was written since ", 8), WayBack: "cairn operation undo 20261122-1 " + strings.Repeat("é", 90) + " and then look",
		Steps: []plan.Step{{Title: "stop the guest hard and roll back", Show: strings.Repeat("POST /nodes/pve1/qemu/100 ", 6)}}}
	var b bytes.Buffer
	if err := printPlan(&b, p, "hash"); err != nil {
		t.Fatal(err)
	}
	got := wrapped(b.String(), 80)
	if strings.Join(strings.Fields(got), " ") != strings.Join(strings.Fields(b.String()), " ") {
		t.Errorf("words were lost or broken:\n%s", got)
	}
	for line := range strings.Lines(got) {
		if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); n > 80 && !strings.Contains(line, "ééé") {
			t.Errorf("%d columns: %q", n, line)
		}
	}
	if !strings.Contains(got, "\n"+strings.Repeat(" ", labelColumns)+"all that") && !strings.Contains(got, "\n"+strings.Repeat(" ", labelColumns)+"was") &&
		!strings.Contains(got, "\n"+strings.Repeat(" ", labelColumns)+"since") && !strings.Contains(got, "\n"+strings.Repeat(" ", labelColumns)+"that") {
		t.Errorf("what goes on does not stand below its beginning:\n%s", got)
	}
	var cost bytes.Buffer
	if err := printCost(&cost, p); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"YOU WILL LOSE", "WAY BACK", "BLOCKERS       none"} {
		if !strings.Contains(cost.String(), want) {
			t.Errorf("%q is out of sight where the name is typed:\n%s", want, cost.String())
		}
	}
}

// TestEachStepIsShownOnce with how it stands.
func TestEachStepIsShownOnce(t *testing.T) {
	s := operation.Status{Record: operation.Record{Plan: plan.Plan{Steps: []plan.Step{{ID: "1", Title: "copy"}, {ID: "2", Title: "stop"}, {ID: "3", Title: "start"}}}},
		Steps:    []operation.StepStatus{{State: operation.StepDone, Text: "whole"}, {State: operation.Running}, {State: operation.Waiting}},
		Progress: &operation.Progress{Step: "2", Lines: []string{"half of it"}}}
	var b bytes.Buffer
	printStates(&b, s)
	for _, want := range []string{"[x] copy  done whole\n", "[>] stop", "    half of it\n", "[ ] start"} {
		if strings.Count(b.String(), want) != 1 {
			t.Errorf("%q is not there once:\n%s", want, b.String())
		}
	}
	if n := strings.Count(b.String(), "["); n != 3 {
		t.Errorf("%d marks for 3 steps:\n%s", n, b.String())
	}
}

// TestTheEndNamesWhatFollows with the operation's own id.
func TestTheEndNamesWhatFollows(t *testing.T) {
	p := plan.Plan{ID: "20261122-7", WayBack: "remove it: cairn operation undo 20261122-7", Notes: []string{"It is large.", "Afterwards cairn restore file-loss --swap 20261122-7 puts it in place."}}
	var b bytes.Buffer
	if err := printEnd(&b, operation.Status{State: operation.StepDone, Record: operation.Record{Plan: p}}); err != nil {
		t.Fatal(err)
	}
	want := "Operation 20261122-7: done.\nNext: Afterwards cairn restore file-loss --swap 20261122-7 puts it in place.\nWay back: remove it: cairn operation undo 20261122-7\n"
	if b.String() != want {
		t.Errorf("%q, want %q", b.String(), want)
	}
}
