package repository

import (
	"testing"

	"cairn/internal/runbook/rehearse"
)

func TestEveryRepositoryKindHasAnAssumption(t *testing.T) {
	rehearse.Assumed(t, &Runbook{}, assumptions)
}
