package pbs

import (
	"testing"
	"time"

	"cairn/internal/backup"
)

// The id of a backup task names the group without its namespace: what is written into
// a namespace at this moment was taken for an upload that broke off.
func TestUploadIntoANamespace(t *testing.T) {
	begun := fakeNow.Add(-5 * time.Minute)
	f := Facts{ServerTime: fakeNow, TasksComplete: true, Runs: []backup.Run{{Job: "backup", Subject: "vm/101", Started: begun, Text: runningText}}}
	for name, x := range map[string]struct {
		s    Snapshot
		want backup.State
	}{
		"in the root":              {Snapshot{Type: "vm", ID: "101", Time: begun}, backup.InFlight},
		"in a namespace":           {Snapshot{Namespace: "lab/nodes", Type: "vm", ID: "101", Time: begun}, backup.InFlight},
		"of another guest":         {Snapshot{Namespace: "lab", Type: "vm", ID: "102", Time: begun}, backup.Torn},
		"of a container":           {Snapshot{Namespace: "lab", Type: "ct", ID: "101", Time: begun}, backup.Torn},
		"of the same, from before": {Snapshot{Namespace: "lab", Type: "vm", ID: "101", Time: begun.Add(-24 * time.Hour)}, backup.Torn},
	} {
		x.s.InFlight = true
		if state, why := f.State(x.s); state != x.want {
			t.Errorf("an upload %s is %s (%s), want %s", name, state, why, x.want)
		}
	}
}
