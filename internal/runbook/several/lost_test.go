package several

import (
	"testing"
	"time"

	"cairn/proxmox"
)

// Of a guest and the one whose place it took only one comes back after the loss of
// their hypervisor, from the newest backup of both.
func TestHandDown(t *testing.T) {
	at := time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)
	kept, heir := proxmox.Guest{VMID: 101, Name: "web-replaced-20261120-1"}, proxmox.Guest{VMID: 111, Name: "web", Tags: []string{proxmox.Predecessor{VMID: 101, Until: at}.Tag()}}
	for name, one := range map[string]struct {
		have map[int]time.Duration // of the newest backup, after the swap
		want map[int]time.Duration
	}{
		"before the swap":          {map[int]time.Duration{101: -2}, map[int]time.Duration{111: -2}},
		"backed up since":          {map[int]time.Duration{101: -2, 111: 3}, map[int]time.Duration{111: 3}},
		"the kept one, afterwards": {map[int]time.Duration{101: 2}, map[int]time.Duration{101: 2}},
		"none":                     {nil, nil},
	} {
		newest := map[int]Lost{}
		for id, after := range one.have {
			newest[id] = Lost{VMID: id, Taken: at.Add(after * time.Hour)}
		}
		HandDown([]proxmox.Guest{kept, heir}, newest)
		if len(newest) != len(one.want) {
			t.Errorf("%s: %+v", name, newest)
		}
		for id, after := range one.want {
			if g := newest[id]; g.VMID != id || !g.Taken.Equal(at.Add(after*time.Hour)) {
				t.Errorf("%s: %+v", name, newest)
			}
		}
	}
	if g, ok := HeirOf([]proxmox.Guest{kept, heir}, kept); !ok || g.VMID != 111 {
		t.Errorf("%+v", g)
	}
}
