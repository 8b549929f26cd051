package tui

import (
	"testing"

	"cairn/checks"
)

func TestTheNodesOfAClusterAreRowsOfTheirOwn(t *testing.T) {
	a := checks.Scenario{Name: "hypervisor-loss", Subject: "proxmox.home", Target: "pve1"}
	b := a
	b.Target = "pve2"
	if scenarioID(a) == scenarioID(b) {
		t.Error("two rows with one id: the cursor would stand on both and never pass")
	}
}
