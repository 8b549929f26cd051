package siteloss

import (
	"testing"

	"cairn/internal/runbook/rehearse"
)

func TestEveryOffSiteKindHasAnAssumption(t *testing.T) {
	rehearse.Assumed(t, &Runbook{}, assumptions)
}
