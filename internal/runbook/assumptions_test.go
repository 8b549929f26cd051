package runbook

import (
	"testing"
	"time"

	"cairn/internal/config"
	"cairn/internal/secret"
)

// The kinds of the rooms are looked at there.
func TestEveryKindOfALostHostHasAnAssumption(t *testing.T) {
	l := Open(&config.Config{}, secret.Reader{}, nil, time.Now)
	defer l.Close()
	for kind := range l.hostSteps() {
		if assumptions[kind].Fixed <= 0 {
			t.Errorf("%s: %+v", kind, assumptions[kind])
		}
	}
}
