package eject

import (
	"testing"

	"cairn/internal/runbook/rehearse"
)

func TestEveryDiskKindHasAnAssumption(t *testing.T) {
	rehearse.Assumed(t, &Runbook{}, assumptions)
}
