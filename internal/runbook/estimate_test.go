package runbook

import (
	"slices"
	"testing"
	"time"

	"cairn/internal/config"
)

// Every kind of step is predicted before it was ever measured: a plan's time would
// leave it out otherwise. What only says something takes none.
func TestEveryKindHasAnAssumption(t *testing.T) {
	l := &Lab{config: &config.Config{}}
	said := []string{kindVerdict, kindLeft}
	for kind := range l.Executors() {
		g, known := assumptions[kind]
		if !known || g.Fixed <= 0 && !slices.Contains(said, kind) {
			t.Errorf("%s: %+v, %t", kind, g, known)
		}
	}
	for kind := range assumptions {
		if l.Executors()[kind] == nil {
			t.Errorf("nothing carries out %s", kind)
		}
	}
	if g := assumptions[kindFetch]; g.Fixed != 10*time.Second || g.Rate != 5<<20 {
		t.Errorf("a fetch: %+v", g)
	}
}
