// Package pbs is a Proxmox Backup Server in a box: its HTTP API on loopback
// TLS, with state, privileges, tasks that take time, and switches for the ways
// in which a real one fails. It knows nothing of the client it is tested with.
package pbs

import (
	"fmt"
	"strings"
	"time"
)

// World is the state of the server. Change it while the server runs through
// Server.Change only.
type World struct {
	Version string           // "4.2"; below "3.3" the server knows no sync-direction; empty: "4.2"
	Release string           // empty: "0"
	Node    string           // host name in UPIDs; empty: "nas"
	Now     func() time.Time // the server's clock; nil: time.Now
	// TaskTime is how long a task started over the API runs, by the server's clock.
	TaskTime time.Duration

	Users      []User // "root@pam" exists always and may do everything
	Tokens     []Token
	Datastores []*Datastore
	Jobs       []*Job
	Tasks      []*Task
	Disks      []Disk
}

// User is a user and what it may do.
type User struct {
	ID  string // user@realm
	ACL []Grant
}

// Token is an API token. What it may do is what both it and its user may.
type Token struct {
	ID     string // user@realm!name
	Secret string
	ACL    []Grant
}

// Grant gives a role on a path, such as "DatastoreAudit" on "/datastore".
type Grant struct {
	Path, Role  string
	NoPropagate bool // it counts on the path itself only, not below
}

// Mount states of a datastore.
const (
	NonRemovable = "nonremovable"
	Mounted      = "mounted"
	NotMounted   = "notmounted"
)

// Datastore is a datastore with its namespaces and backup snapshots.
type Datastore struct {
	Name    string
	Comment string
	// Path is where it lies on disk, in PBS's own format; empty: nowhere.
	Path string
	// Mount is NonRemovable (the zero value too), Mounted or NotMounted.
	Mount string
	// Absent: the removable medium is not plugged in, so that mounting fails.
	Absent bool
	// Maintenance as it is configured: "read-only", "offline,message=why", "unmount", …
	Maintenance  string
	Total, Used  int64
	History      []*float64 // used/total, a value each HistoryDelta, the newest last; nil: no data
	HistoryStart int64
	HistoryDelta int64  // seconds; 0: 1800
	FullDate     *int64 // estimated-full-date; nil: too little data, 0: flat
	Error        string // what /status/datastore-usage says instead of numbers
	GC           GC
	Namespaces   []string // besides the root
	Snapshots    []*Snapshot
	// EmptyGroups have no snapshot: what a failed sync leaves behind.
	EmptyGroups []Group
}

// Group names a backup group.
type Group struct{ NS, Type, ID, Owner string }

// Snapshot is a backup snapshot. Without index.json.blob among its files it is
// in flight and has no size.
type Snapshot struct {
	NS, Type, ID string
	Time         int64 // the start of the backup, Unix seconds
	Files        []File
	Owner        string
	Protected    bool
	Comment      string
	Fingerprint  string // of the key; empty: not encrypted
	Verify       string // "ok", "failed"; empty: never
	VerifyUPID   string
}

// File is one archive or blob of a snapshot.
type File struct {
	Name, Crypt string
	Size        int64
	Csum        string // hex; of the index, or of the raw blob
}

// InFlight says whether the upload has not ended, or never will.
func (s *Snapshot) InFlight() bool {
	for _, f := range s.Files {
		if f.Name == indexName {
			return false
		}
	}
	return true
}

// Size is the sum of the sizes of the files, in bytes.
func (s *Snapshot) Size() int64 {
	var sum int64
	for _, f := range s.Files {
		sum += f.Size
	}
	return sum
}

// GC is the state of garbage collection: the counters of the last run that
// ended well, and how the last run ended.
type GC struct {
	UPID, State, Schedule      string // UPID empty: never ran; State empty with a UPID: it runs
	Start, End, NextRun        int64
	DiskBytes, DiskChunks      int64
	IndexBytes, IndexFiles     int64
	PendingBytes, RemovedBytes int64
	StillBad                   int64
}

// Kinds of job.
const (
	Verify = "verify"
	Prune  = "prune"
	Sync   = "sync"
)

// Job is a scheduled job of the server.
type Job struct {
	Kind, ID, Store, NS string
	Schedule, Comment   string
	Disable             bool           // a prune job's
	Keep                map[string]int // a prune job's: "keep-daily": 5
	IgnoreVerified      bool           // a verify job's
	OutdatedAfter       int            // a verify job's, in days
	Remote, RemoteStore string         // a sync job's
	Direction           string         // a sync job's: "pull" (the zero value too) or "push"
	RemoveVanished      bool           // a sync job's
	RunOnMount          bool           // a sync job's: it runs when a removable disk is mounted
	Owner               string         // a sync job's; empty: root@pam
	NextRun             int64
	LastUPID, LastState string // a UPID without a state: it runs
	LastEnd             int64
}

// Task is a task of the server's log.
type Task struct {
	UPID       string
	Type, ID   string
	User       string // user or token that started it
	Store      string
	PID        int
	PStart     int
	Start, End int64  // End 0: it runs
	Status     string // "OK", "WARNINGS: n", or the error's text
	Log        []string
}

// Disk is a row of the node's disks.
type Disk struct {
	Name, Model, Serial, Status, Used string
	Size                              int64
	Wearout                           float64
}

// UPID composes the identifier of a task.
func UPID(node string, t *Task, number int) string {
	return fmt.Sprintf("UPID:%s:%08X:%08X:%08X:%08X:%s:%s:%s:",
		node, t.PID, t.PStart, number, t.Start, t.Type, escapeUnit(t.ID), t.User)
}

// escapeUnit writes a worker's id as systemd writes unit names.
func escapeUnit(id string) string {
	var b strings.Builder
	for i := range len(id) {
		switch c := id[i]; {
		case c == '/':
			b.WriteByte('-')
		case c >= '0' && c <= '9', c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c == '_', c == '.' && i > 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, `\x%02x`, c)
		}
	}
	return b.String()
}

// Store returns the datastore of that name, or nil.
func (w *World) Store(name string) *Datastore {
	for _, d := range w.Datastores {
		if d.Name == name {
			return d
		}
	}
	return nil
}

// Find returns a snapshot, or nil.
func (d *Datastore) Find(ns, kind, id string, at int64) *Snapshot {
	for _, s := range d.Snapshots {
		if s.Time == at && s.ID == id && s.Type == kind && s.NS == ns {
			return s
		}
	}
	return nil
}

func (d *Datastore) hasNamespace(ns string) bool {
	if ns == "" {
		return true
	}
	for _, have := range d.Namespaces {
		if have == ns {
			return true
		}
	}
	return false
}

func (w *World) now() time.Time {
	if w.Now == nil {
		return time.Now()
	}
	return w.Now()
}

func (w *World) node() string {
	if w.Node == "" {
		return "nas"
	}
	return w.Node
}

func (w *World) version() string {
	if w.Version == "" {
		return "4.2"
	}
	return w.Version
}
