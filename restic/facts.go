package restic

import (
	"time"

	"cairn/internal/backup"
)

// Facts is what one survey of a repository found.
type Facts struct {
	Name       string     // configured name
	Version    string     // of the restic binary
	ID         string     // the repository's id
	Snapshots  []Snapshot // those that match, oldest first
	Others     int        // snapshots in the repository that do not match
	Size       int64      // of the repository's data, bytes; 0: not known
	Locks      []Lock
	Running    bool         // a backup by us or by the unit of run_by runs now
	Runs       []backup.Run // the unit's last run, if run_by names one
	Incomplete []Incompletion
}

// Snapshot is one restic snapshot.
type Snapshot struct {
	ID       string // full
	Short    string
	Parent   string
	Original string // of a copied snapshot: the id it was copied from
	Time     time.Time
	Hostname string
	Username string
	Paths    []string
	Tags     []string
	Summary  *Summary // written since restic 0.17
}

// Summary is what the backup that made a snapshot counted.
type Summary struct {
	Started, Ended time.Time
	Files          int64
	Bytes          int64 // processed: the size of what was backed up
	Added          int64 // bytes added to the repository
}

// Lock is a lock in the repository.
type Lock struct {
	ID        string
	Time      time.Time
	Exclusive bool
	Hostname  string
	Username  string
	PID       int
}

// Incompletion is something that could not be read: its subject and why.
type Incompletion struct{ Subject, Err string }
