package pvestep

import (
	"testing"
	"time"

	"cairn/proxmox"
)

func TestBaseline(t *testing.T) {
	at := time.Unix(0x66f00000, 0)
	upid := func(pid string) proxmox.Task {
		u := "UPID:pve1:" + pid + ":00000001:66F00000:qmrollback:101:cairn@pve!act:"
		return proxmox.Task{UPID: u, Node: "pve1", Started: at}
	}
	older := proxmox.Task{UPID: "UPID:pve1:00000009:00000001:66E00000:qmrollback:101:root@pam:", Started: at.Add(-time.Hour)}
	a, b, c := upid("00000003"), upid("00000002"), upid("00000001")
	mark, ok := parseBaseline(newBaseline("pve1", []proxmox.Task{a, b, older}).String())
	if !ok || mark.node != "pve1" || len(mark.upids) != 2 {
		t.Fatalf("read back %+v, %v", mark, ok)
	}
	// of the same second, and sorted behind the known ones: still ours
	if got := mark.since([]proxmox.Task{a, b, c, older}); len(got) != 1 || got[0].UPID != c.UPID {
		t.Errorf("since: %+v", got)
	}
	if got := mark.since([]proxmox.Task{a, b, older}); len(got) != 0 {
		t.Errorf("nothing is since, got %+v", got)
	}
	if _, ok := parseBaseline(a.UPID); ok {
		t.Error("a task's id was taken for a baseline")
	}
}
