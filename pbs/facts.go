package pbs

import (
	"time"

	"cairn/internal/backup"
)

// Facts is what one survey of a datastore found.
type Facts struct {
	Name        string // configured name
	Version     string
	ServerTime  time.Time
	Skew        time.Duration // the server's clock minus ours
	Datastore   string
	MountStatus string // "mounted", "notmounted", "nonremovable"; empty: an older server
	Backend     string // "filesystem", "s3"; empty: an older server
	Maintenance string // "read-only", "offline", "unmount", …, with its message; empty: none
	Usage       Usage
	Namespaces  []string // those that were read; "" is the root
	Unread      []string // those that should have been read and could not be; "**": it is not known which there are
	Snapshots   []Snapshot
	Jobs        []Job
	GC          *Job // garbage collection; nil: not readable
	GCStatus    GCStatus
	Runs        []backup.Run // recent tasks on this datastore and all that run, newest first
	// TasksComplete says that Runs holds every task of the last two weeks, those
	// of others and those that run included: what runs there, runs.
	TasksComplete bool
	Hidden        []Hidden
	Incomplete    []Incompletion
}

// Mounted says whether the datastore can be read at all.
func (f Facts) Mounted() bool { return f.MountStatus != "notmounted" }

// CacheUsage says whether Usage is that of the disk before an object store, which
// PBS fills with what it fetched and empties by itself, not that of the backups.
func (f Facts) CacheUsage() bool { return f.Backend == "s3" }

// Usage is how full a datastore is.
type Usage struct {
	Total, Used, Available int64 // bytes; all 0 when not known
	History                []Sample
	Full                   time.Time // when PBS expects it to be full; zero: no estimate
	Trend                  Trend     // why there is no estimate; empty where there is one
	Err                    string    // why PBS could not tell
}

// Trend says why there is no date at which a datastore will be full.
type Trend string

// The reasons.
const (
	TooLittleData Trend = "too little data"
	Flat          Trend = "flat"
	Shrinking     Trend = "shrinking"
	FarAway       Trend = "years away" // over five: PBS extrapolates a month
)

// Sample is one value of the usage history.
type Sample struct {
	At    time.Time
	Ratio float64 // used / total, 0..1
}

// Snapshot is a backup snapshot. Its identity is (server, datastore, namespace,
// type, id, time), never the VMID alone.
type Snapshot struct {
	Namespace   string
	Type        string // vm, ct, host
	ID          string // a VMID, or a host's name
	Time        time.Time
	Size        int64 // bytes; 0 while in flight
	Files       []File
	Owner       string
	Protected   bool
	Comment     string
	Fingerprint string // of the key that encrypts or signs it; empty: neither
	Verify      Verification
	InFlight    bool // no index.json.blob yet: not a backup
	Unreadable  bool // it has an index, and PBS could not read it: the files are told by name alone
}

// File is one archive or blob of a backup snapshot.
type File struct {
	Name  string
	Crypt string // none, encrypt, sign-only
	Size  int64
}

// Verification is the last check of a backup snapshot by PBS. The zero value
// says that it was never verified, which is not a failure.
type Verification struct {
	State string // "ok", "failed"; empty: never
	UPID  string
	At    time.Time // when that task started; zero: never or not known
}

// JobKind tells what a job does.
type JobKind string

// The kinds of job.
const (
	VerifyJob JobKind = "verify"
	PruneJob  JobKind = "prune"
	SyncJob   JobKind = "sync"
	GCJob     JobKind = "gc"
)

// Job is a scheduled job of the server, with its last run.
type Job struct {
	Kind                    JobKind
	ID                      string
	Datastore               string
	Namespace               string
	Schedule                string // empty: not scheduled
	Disabled                bool
	Direction               string // a sync job's: pull or push
	Remote                  string // "REMOTE:STORE", as it is shown
	RemoteName, RemoteStore string
	OnMount                 bool        // a sync job's: it also runs when its disk is mounted
	Vanished                bool        // a sync job's: it removes what the other side has no more
	Owner                   string      // a sync job's; empty: root@pam
	IgnoreVerified          bool        // a verify job's
	OutdatedAfter           int         // a verify job's, in days; 0: none is ever outdated
	Keep                    backup.Keep // a prune job's
	NextRun                 time.Time
	LastRun                 backup.Run // the zero value: never ran; while it runs its Status is Unknown
}

// GCStatus holds the counters of the last garbage collection that ended well.
type GCStatus struct {
	DiskBytes, IndexBytes, RemovedBytes, PendingBytes int64
	DiskChunks                                        int64
	StillBad                                          int64
}

// Hidden is something that the token's privileges keep from us.
type Hidden struct{ What, Path, Privilege string }

// Incompletion is something that could not be read: its subject and why.
type Incompletion struct{ Subject, Err string }
