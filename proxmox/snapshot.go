package proxmox

import (
	"slices"
	"strings"
	"time"
)

// Tree is a guest's snapshots, and where it stands among them.
type Tree struct {
	Snapshots []Snapshot // in order of time
	Parent    string     // the snapshot that the running state descends from
	Running   bool
	Digest    string // of the guest's configuration: it changes with every change
}

// wireSnapshot is a row of a guest's snapshot list, which comes in random order.
type wireSnapshot struct {
	Name        text   `json:"name"`
	Description text   `json:"description"`
	Parent      text   `json:"parent"`
	Time        number `json:"snaptime"`
	RAM         flag   `json:"vmstate"`
	State       text   `json:"snapstate"`
	Running     flag   `json:"running"`
	Digest      text   `json:"digest"`
}

// current is the name of the entry that stands for the running state: no copy.
const current = "current"

func newTree(found rows[wireSnapshot]) Tree {
	var t Tree
	for _, w := range found.all {
		switch w.Name {
		case "":
		case current:
			t.Parent, t.Running, t.Digest = string(w.Parent), bool(w.Running), string(w.Digest)
		default:
			t.Snapshots = append(t.Snapshots, Snapshot{Name: string(w.Name), Description: string(w.Description),
				Parent: string(w.Parent), Taken: w.Time.when(), RAM: bool(w.RAM), State: string(w.State)})
		}
	}
	slices.SortFunc(t.Snapshots, func(a, b Snapshot) int {
		if c := a.Taken.Compare(b.Taken); c != 0 {
			return c
		}
		return strings.Compare(a.Name, b.Name)
	})
	return t
}

// Find returns the snapshot of that name; names are case-sensitive.
func (t Tree) Find(name string) (Snapshot, bool) {
	for _, s := range t.Snapshots {
		if s.Name == name {
			return s, true
		}
	}
	return Snapshot{}, false
}

// children lists the snapshots made from each, in order of time; below "" those
// that stand at the root, among them those whose parent is gone.
func (t Tree) children() map[string][]Snapshot {
	parents := t.parents()
	below := map[string][]Snapshot{}
	for _, s := range t.Snapshots {
		parent := s.Parent
		if _, known := parents[parent]; !known {
			parent = ""
		}
		below[parent] = append(below[parent], s)
	}
	return below
}

func (t Tree) parents() map[string]string {
	parents := make(map[string]string, len(t.Snapshots))
	for _, s := range t.Snapshots {
		parents[s.Name] = s.Parent
	}
	return parents
}

// Placed is a snapshot in the order of the tree's drawing, with its depth.
type Placed struct {
	Snapshot
	Depth int
}

// Walk lists every snapshot once, parents before their children. A circle of
// parents, which only a damaged configuration has, is entered at its oldest.
func (t Tree) Walk() []Placed {
	var order []Placed
	seen, below := map[string]bool{}, t.children()
	var visit func(s Snapshot, depth int)
	visit = func(s Snapshot, depth int) {
		if seen[s.Name] {
			return
		}
		seen[s.Name] = true
		order = append(order, Placed{s, depth})
		for _, child := range below[s.Name] {
			visit(child, depth+1)
		}
	}
	for _, root := range below[""] {
		visit(root, 0)
	}
	for _, s := range t.Snapshots {
		visit(s, 0)
	}
	return order
}

// above says whether the snapshot ancestor is on the way from name to its root.
func above(parents map[string]string, name, ancestor string) bool {
	for range len(parents) { // a circle of parents must end
		parent := parents[name]
		if parent == "" || parent == ancestor {
			return parent == ancestor && parent != ""
		}
		name = parent
	}
	return false
}

// Newer are the snapshots that stand in the way of a rollback to name where only
// the newest can be rolled back to: all that are not certainly older.
func (t Tree) Newer(name string) []Snapshot {
	target, ok := t.Find(name)
	if !ok {
		return nil
	}
	parents := t.parents()
	var newer []Snapshot
	for _, s := range t.Snapshots {
		older := above(parents, name, s.Name) || known(s.Taken, target.Taken) && s.Taken.Before(target.Taken)
		if s.Name != name && (!older || above(parents, s.Name, name)) {
			newer = append(newer, s)
		}
	}
	return newer
}

func known(times ...time.Time) bool {
	return !slices.ContainsFunc(times, time.Time.IsZero)
}
