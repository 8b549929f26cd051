package restic

import (
	"time"

	"cairn/internal/backup"
)

// Facts is what one survey of a repository found.
type Facts struct {
	Name         string     // configured name
	Version      string     // of the restic binary
	ID           string     // the repository's id; empty: a brief survey
	Snapshots    []Snapshot // those that match, oldest first
	Others       int        // snapshots in the repository that do not match
	Size         int64      // of the files in data/, bytes; 0: not known, as of every remote repository
	Locks        []Lock
	Keeps        string        // why it removes nothing, or keeps for a while what is removed; empty: nothing tells
	KeepsUnknown string        // why that could not be asked; empty: it was, or there is nothing to ask
	Running      bool          // a backup runs now: run_by's unit is active, or a live lock says so
	Runs         []backup.Run  // the unit's last run, if run_by names one
	Copies       []backup.Copy // one per snapshot and path, as Copies makes them
	Incomplete   []Incompletion
}

// Snapshot is one restic snapshot.
type Snapshot struct {
	ID       string // full
	Short    string
	Parent   string
	Original string // of a copied snapshot: the id it was copied from
	Tree     string // id of its root: the same where the content is the same, to the last byte and time
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
	Dead      bool // made on this host by a process that no longer runs
}

// StaleAge is the age from which restic itself takes a lock for abandoned: a
// live process renews its lock every few minutes.
const StaleAge = 30 * time.Minute

// Stale says whether nobody holds the lock any more: its process is gone, or
// it was not renewed for StaleAge.
func (l Lock) Stale(now time.Time) bool { return l.Dead || now.Sub(l.Time) > StaleAge }

// Incompletion is something that could not be read: its subject and why.
type Incompletion struct{ Subject, Err string }
