package guest

import (
	"testing"

	"cairn/internal/runbook/rehearse"
)

func TestEveryGuestKindHasAnAssumption(t *testing.T) {
	rehearse.Assumed(t, &Runbook{}, assumptions)
}
