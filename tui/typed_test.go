package tui

import (
	"strings"
	"testing"

	"cairn/checks"
	"cairn/internal/operation"
	"cairn/internal/plan"
)

// What a person has to type stands below its step, in the plan and while the operation
// waits for it; once it is done it is gone.
func TestCommandsOfAPersonAreShown(t *testing.T) {
	long := "pvesm add pbs pbs-usb --server \"$SERVER\" --datastore usb --username root@pam --password"
	p := plan.Plan{Summary: "Put web-restore-{id} in its place", Steps: []plan.Step{{ID: "1-do", Title: "install it", Show: "by hand", Commands: []string{"apt-get  update\n  pveversion", long}}}}
	text := func(lines []line) string {
		var b strings.Builder
		for _, l := range lines {
			if width(l.text()) > 60 {
				t.Errorf("too wide: %q", l.text())
			}
			b.WriteString(l.text() + "\n")
		}
		return b.String()
	}
	review := text((&review{plan: &p}).body(nil, 60))
	for _, want := range []string{"apt-get  update\n", "    pveversion\n", "--username root@pam", "Put web-restore-ID in its place"} {
		if !strings.Contains(review, want) {
			t.Errorf("the review lacks %q:\n%s", want, review)
		}
	}
	if strings.Contains(review, "{id}") {
		t.Errorf("a template:\n%s", review)
	}
	page := &operationPage{op: "20261121-1", status: operation.Status{Record: operation.Record{Plan: p}, State: operation.WaitsForYou, Steps: []operation.StepStatus{{ID: "1-do", State: operation.WaitsForYou}}}}
	if body := text(page.body(&Model{}, 60)); !strings.Contains(body, "    apt-get  update\n") || !strings.Contains(body, "--username root@pam") {
		t.Errorf("the operation:\n%s", body)
	}
	page.status.Steps[0].State = operation.StepDone
	if body := text(page.body(&Model{}, 60)); strings.Contains(body, "apt-get") {
		t.Errorf("it is done:\n%s", body)
	}
}

func TestTheWayOfAScenario(t *testing.T) {
	for want, sc := range map[string]checks.Scenario{
		"cairn restore guest-loss home/101 ":  {Name: "guest-loss", Subject: "guest:home/101"},
		"R here, or cairn restore site-loss ": {Name: "site-loss", Subject: "site:home"},
		"cairn runbook":                       {Name: "something-else"},
	} {
		if got := wayOf(sc); !strings.Contains(got, want) {
			t.Errorf("%s: %s", sc.Name, got)
		}
	}
}
