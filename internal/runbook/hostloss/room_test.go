package hostloss

import (
	"testing"

	"cairn/internal/runbook/rehearse"
)

func TestEveryKindOfALostHostHasAnAssumption(t *testing.T) {
	rehearse.Assumed(t, &Runbook{}, assumptions)
}
