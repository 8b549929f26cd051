package pg

import (
	"time"

	"cairn/internal/backup"
)

// Facts is what one survey of a server and its directories found. The server
// and each directory fail apart: Server.Err and the Dirs' own errors say so.
type Facts struct {
	Name     string // configured name
	Server   backup.Observed[Server]
	Dumps    backup.Observed[[]Dump]       // nil without dump.dir
	Bases    backup.Observed[[]BaseBackup] // nil without base.dir
	Archive  backup.Observed[Archive]      // without wal.dir: the zero value, never read
	Standbys []Standby
	Others   []Tool        // what other tools say of the backups that they make
	Tools    string        // version of pg_dump in PATH; empty: none
	Copies   []backup.Copy // the dumps and base backups as copies of a database, or of the whole server
	Foreign  int           // files in the directories that are neither dump nor base backup
}

// Server is what the server itself says.
type Server struct {
	Version       string // "15.18"
	VersionNum    int    // 150018
	SystemID      int64
	InRecovery    bool   // it is a standby
	Role          string // that it is surveyed as
	SeesAllRows   bool   // the role is above row security; else a dump by it fails, or with --enable-row-security silently lacks rows
	StartedAt     time.Time
	ServerTime    time.Time
	Skew          time.Duration // its clock minus ours
	DataDirectory string
	Databases     []Database
	Archiver      Archiver
	Replication   []Replica
	Slots         []Slot
	Checksums     bool  // data_checksums is on
	WALDirBytes   int64 // pg_wal's size; -1: not permitted
	SegmentBytes  int64 // wal_segment_size; 0: not known
	CurrentLSN    string
	Hidden        []string // what the role may not read, and the grant that it lacks
}

// Database is one database of the server.
type Database struct {
	Name         string
	Bytes        int64 // -1: not permitted
	AllowConn    bool
	Template     bool
	ChecksumFail int64
}

// Archiver is the state of WAL archiving.
type Archiver struct {
	Mode        string // archive_mode: off, on, always
	Command     string // archive_command, or the archive_library's name
	Archived    int64
	LastWAL     string
	LastTime    time.Time
	Failed      int64
	LastFailed  string
	LastFailure time.Time
	OldestReady time.Time // of the oldest .ready file; zero: none, or not permitted
	ReadyCount  int       // -1: not permitted
	StatsReset  time.Time
}

// FailingNow says whether the latest attempt failed: failed_count never goes
// back, so only the order of the two times tells.
func (a Archiver) FailingNow() bool { return a.LastFailure.After(a.LastTime) }

// Replica is a row of pg_stat_replication.
type Replica struct {
	Name, Client, State, SyncState string
	LagBytes                       int64 // -1: not known
}

// Slot is a replication slot.
type Slot struct {
	Name, Type, WALStatus string
	Active                bool
	RetainedBytes         int64
}

// Dump is one dump of one database, or of the globals (Database empty).
type Dump struct {
	Database  string
	Path      string
	Format    string // custom, directory, plain, tar, globals
	Taken     time.Time
	Size      int64
	State     backup.State
	Why       string          // why it is not complete
	Ours      bool            // it has a manifest of ours
	Rows      int64           // from our manifest; -1: not known
	Globals   bool            // roles and tablespaces, not a database
	Cluster   bool            // pg_dumpall's: every database and the globals
	Proofs    []backup.Proven // how far its content was looked at
	Finished  time.Time       // when its last byte was written
	Encrypted bool            // gpg, age, …: nothing of it can be read
	Version   string          // the server's version that it was taken from, if it says so
	Roles     []string        // that own something in it; of the globals: that it creates. Nil: not known
}

// BaseBackup is one base backup.
type BaseBackup struct {
	Path        string
	Taken       time.Time
	Size        int64
	State       backup.State
	Why         string
	StartWAL    string // the first segment that it needs
	Timeline    uint32
	SystemID    int64           // 0: not known
	Manifest    bool            // it has a backup_manifest
	Incremental bool            // of PostgreSQL 17 and later: worth nothing without its predecessors
	Finished    time.Time       // when its last byte was written
	Proofs      []backup.Proven // how far its content was looked at
	Ours        bool            // it has a manifest of ours
	Stopped     time.Time       // no recovery from it can end before; zero: Finished tells

	start, end, from string // LSNs: its own, and that of the one which an incremental one rests on
}

// Archive is the WAL archive: what it holds, and the holes in it.
type Archive struct {
	Segments int
	Bytes    int64
	Oldest   string
	Newest   string
	NewestAt time.Time // when the newest segment was written
	Gaps     []Gap     // since the oldest base backup that is kept
	From     time.Time // restorable from …
	To       time.Time // … to; zero: no window
}

// Gap is a run of missing segments.
type Gap struct {
	First, Last string
	Count       int
}

// Standby is a streaming standby: continuity, never a copy.
type Standby struct {
	DSN      string // without secrets
	Up       bool
	Err      string
	Received string // LSN
	Replayed string
	LagBytes int64         // behind the primary, or received and not replayed where that is not known; -1: not known
	Lag      time.Duration // since the last replayed commit; 0 where all that was received is replayed, or no commit was yet
}
