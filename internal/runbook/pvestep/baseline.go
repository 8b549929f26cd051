package pvestep

import (
	"slices"
	"strings"
	"time"

	"cairn/proxmox"
)

// baseline is the newest tasks of a step's type that were there before ours was
// begun. After a crash what is newer on that node is ours: that needs no clock of
// ours, and no journaled baseline means that nothing was sent.
type baseline struct {
	node  string
	upids []string // those of the newest second: times are whole seconds
}

const afterMark = "after:"

// newBaseline takes tasks newest first.
func newBaseline(node string, tasks []proxmox.Task) baseline {
	b := baseline{node: node}
	for _, t := range tasks {
		if t.Started.Equal(tasks[0].Started) {
			b.upids = append(b.upids, t.UPID)
		}
	}
	return b
}

// String is the form that is journaled: "after:NODE:UPID UPID …".
func (b baseline) String() string { return afterMark + b.node + ":" + strings.Join(b.upids, " ") }

// parseBaseline reads what String wrote; false: it is a task's id.
func parseBaseline(text string) (baseline, bool) {
	rest, marked := strings.CutPrefix(text, afterMark)
	node, upids, _ := strings.Cut(rest, ":")
	return baseline{node, strings.Fields(upids)}, marked
}

// since are the tasks that were not there.
func (b baseline) since(tasks []proxmox.Task) []proxmox.Task {
	var newest time.Time
	for _, upid := range b.upids {
		if id, err := proxmox.ParseUPID(upid); err == nil {
			newest = id.Started
		}
	}
	var found []proxmox.Task
	for _, t := range tasks {
		if !t.Started.Before(newest) && !slices.Contains(b.upids, t.UPID) {
			found = append(found, t)
		}
	}
	return found
}

// RemoteTask is the task's id in what a step journaled as remote; empty while
// there is none.
func RemoteTask(remote string) string {
	if _, marked := parseBaseline(remote); marked {
		return ""
	}
	return remote
}
