package guest

import (
	"testing"

	"cairn/internal/runbook/rehearse"
)

func TestEveryKindHasAnAssumption(t *testing.T) {
	rehearse.Assumed(t, &Runbook{}, assumptions)
}
