package proxmox

import (
	"slices"
	"testing"
	"time"
)

func TestPredecessors(t *testing.T) {
	at := time.Date(2026, 11, 22, 3, 3, 0, 0, time.UTC)
	g := Guest{VMID: 111, Tags: []string{"prod", "Cairn-Replaces-100-20261122-0303", "cairn-replaces-111-20261122-0303", "cairn-replaces-x-20261122-0303", "cairn-replaces-7", "cairn-replaces-7-yesterday", "cairn-replaces--3-20261122-0303"}}
	if got := g.Predecessors(); !slices.Equal(got, []Predecessor{{100, at}}) {
		t.Errorf("%+v", got)
	}
	for _, one := range []struct {
		vmid  int
		taken time.Time
		want  bool
	}{{111, at.Add(time.Hour), true}, {100, at.Add(-time.Second), true}, {100, at, false}, {7, at.Add(-time.Hour), false}} {
		if got := g.Owns(one.vmid, one.taken); got != one.want {
			t.Errorf("%d of %s: %t", one.vmid, one.taken, got)
		}
	}
	tag := Predecessor{100, at.Add(30 * time.Second)}.Tag()
	c := Configuration{"tags": "prod;web"}
	if got := c.Tagged([]string{tag}, nil); got != "prod;web;cairn-replaces-100-20261122-0303" {
		t.Errorf("tags %q", got)
	}
	after := Configuration{"tags": "Cairn-replaces-100-20261122-0303;prod;web"} // as PVE sorts them
	if !after.HasTags([]string{tag}, nil) || after.HasTags(nil, []string{tag}) || after.Tagged(nil, []string{tag}) != "prod;web" || after.Tagged([]string{tag}, nil) != after["tags"] {
		t.Errorf("%q", after.Tagged([]string{tag}, []string{tag}))
	}
}

func FuzzPredecessors(f *testing.F) {
	f.Add("cairn-replaces-100-20261122-0303")
	f.Add("cairn-replaces-99999999999999999999-0")
	f.Add("cairn-replaces-")
	f.Fuzz(func(t *testing.T, tag string) {
		for _, p := range (Guest{VMID: 1, Tags: []string{tag}}).Predecessors() {
			if p.VMID <= 1 || !slices.Equal((Guest{VMID: 1, Tags: []string{p.Tag()}}).Predecessors(), []Predecessor{p}) {
				t.Errorf("%q is read as %+v", tag, p)
			}
		}
	})
}
