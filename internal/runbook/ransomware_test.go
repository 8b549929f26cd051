package runbook

import (
	"strings"
	"testing"
	"time"

	"cairn/internal/config"
	"cairn/internal/runbook/siteloss"
	"cairn/internal/secret"
)

func TestRansomwareNeedsATime(t *testing.T) {
	l := Open(&config.Config{}, secret.Reader{}, nil, time.Now)
	defer l.Close()
	if p, err := l.Ransomware(t.Context(), siteloss.Restore{}); err != nil || !p.Blocked() || !strings.Contains(p.Blockers[0].Hint, "--at") {
		t.Errorf("%+v, %v", p, err)
	}
	if _, err := l.Ransomware(t.Context(), siteloss.Restore{Infected: time.Now().Add(240 * time.Hour)}); err == nil {
		t.Error("it begins in the future")
	}
}
