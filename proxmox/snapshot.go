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

// Children are the snapshots made from the one of that name, in order of time;
// of "" those that stand at the root, among them those whose parent is gone.
func (t Tree) Children(name string) []Snapshot {
	var children []Snapshot
	for _, s := range t.Snapshots {
		if _, known := t.Find(s.Parent); s.Parent == name && s.Name != name || name == "" && !known {
			children = append(children, s)
		}
	}
	return children
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
	seen := map[string]bool{}
	var visit func(s Snapshot, depth int)
	visit = func(s Snapshot, depth int) {
		if seen[s.Name] {
			return
		}
		seen[s.Name] = true
		order = append(order, Placed{s, depth})
		for _, child := range t.Children(s.Name) {
			visit(child, depth+1)
		}
	}
	for _, root := range t.Children("") {
		visit(root, 0)
	}
	for _, s := range t.Snapshots {
		visit(s, 0)
	}
	return order
}

// ancestors are the names on the way from the snapshot to its root, without itself.
func (t Tree) ancestors(name string) map[string]bool {
	up := map[string]bool{}
	for s, ok := t.Find(name); ok && s.Parent != "" && !up[s.Parent]; s, ok = t.Find(s.Parent) {
		up[s.Parent] = true
	}
	delete(up, name)
	return up
}

// Newer are the snapshots that stand in the way of a rollback to name where only
// the newest can be rolled back to: all that are not certainly older.
func (t Tree) Newer(name string) []Snapshot {
	target, ok := t.Find(name)
	if !ok {
		return nil
	}
	older := t.ancestors(name)
	var newer []Snapshot
	for _, s := range t.Snapshots {
		certainlyOlder := older[s.Name] || known(s.Taken, target.Taken) && s.Taken.Before(target.Taken)
		if s.Name != name && (!certainlyOlder || t.ancestors(s.Name)[name]) {
			newer = append(newer, s)
		}
	}
	return newer
}

func known(times ...time.Time) bool {
	return !slices.ContainsFunc(times, time.Time.IsZero)
}
