package runbook

import (
	"slices"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestTheTenScenarios: every one is there once, says what it is, and what it asks
// for can be asked.
func TestTheTenScenarios(t *testing.T) {
	var names []string
	for _, s := range Scenarios() {
		names = append(names, s.Name)
		if s.What == "" || s.Method == "" {
			t.Errorf("%s says nothing of itself: %+v", s.Name, s)
		}
		if !slices.Contains([]Aim{AtNothing, AtGuest, AtDatabase, AtPath, AtNode, AtDisk}, s.Asks) {
			t.Errorf("%s asks for %q", s.Name, s.Asks)
		}
		seen := map[string]bool{}
		for _, o := range s.Options {
			if o.Name == "" || o.Title == "" || seen[o.Name] || len(o.Choices) == 1 || len(o.Choices) == 0 && o.Hint == "" {
				t.Errorf("%s has option %+v", s.Name, o)
			}
			seen[o.Name] = true
		}
		if found, err := FindScenario(s.Name); err != nil || found.Name != s.Name {
			t.Errorf("FindScenario(%s): %v, %v", s.Name, found.Name, err)
		}
		if s.Next != nil && (s.Next.Title == "" || s.Next.Plan == nil || s.Plan == nil) {
			t.Errorf("%s: what is next is %+v", s.Name, s.Next)
		}
	}
	want := []string{"config-mistake", "guest-loss", "file-loss", "database-mistake", "database-loss", "hypervisor-loss", "usb-loss", "backup-host-loss", "site-loss", "ransomware"}
	if !slices.Equal(names, want) {
		t.Errorf("the scenarios are %v, want %v", names, want)
	}
	if _, err := FindScenario("nonsense"); err == nil {
		t.Error("a scenario that is none was found")
	}
}

func TestHowManyAtOnce(t *testing.T) {
	for text, want := range map[string]int{"": 0, "3": 3, "0": -1, "many": -1} {
		n, err := atOnce(Wish{Options: map[string]string{"parallel": text}})
		if n != want && (want >= 0 || err == nil) {
			t.Errorf("%q: %d, %v", text, n, err)
		}
	}
}
