package proxmox

import (
	"strings"
	"time"

	"cairn/internal/backup"
)

// Facts is what one survey of a cluster found.
type Facts struct {
	Name        string // configured name of the cluster
	Endpoint    string // the URL that answered
	Version     string // of pve-manager, such as "8.4.21"
	ServerTime  time.Time
	Skew        time.Duration // the server's clock minus ours, when it answered
	Nodes       []Node
	Guests      []Guest
	Storages    []Storage
	Jobs        []BackupJob
	NotBackedUp []int          // VMIDs in no backup job; a disabled job counts as a job here (PVE's rule)
	Backups     []GuestBackup  // each guest's latest vzdump runs, newest first
	Runs        []backup.Run   // recent backup, snapshot and restore tasks, newest first
	Copies      []backup.Copy  // the snapshots, and vzdump archives on storages other than PBS
	Hidden      []Hidden       // what the token may not read
	Incomplete  []Incompletion // what could not be read this time, though it may be
}

// Node is a cluster member.
type Node struct {
	Name   string
	Online bool
}

// GuestKind is qemu or lxc, as in API paths.
type GuestKind string

// The kinds of guest.
const (
	QEMU GuestKind = "qemu"
	LXC  GuestKind = "lxc"
)

// Guest is a VM or a container.
type Guest struct {
	VMID        int
	Name        string
	Node        string
	Kind        GuestKind
	Running     bool
	Unsure      bool // whether it runs is not known: its node is off, or does not tell
	Template    bool
	Lock        string // such as "backup", "rollback"; empty when unlocked
	Tags        []string
	HAState     string // empty: not under HA
	Pool        string // empty: in none
	Agent       bool   // the guest agent is configured (qemu)
	OnBoot      bool
	Description string
	Disks       []Disk
	HostMounts  []string   // of a container: directories and disks of its host that it uses by lxc.mount.entry
	Snapshots   []Snapshot // in order of time; "current" is not among them
	Parent      string     // the snapshot that the running state descends from
	SnapshotsAt time.Time  // when they were read; zero: never
}

// Disk is a volume of a guest.
type Disk struct {
	Key       string // scsi0, rootfs, mp0, unused0
	Storage   string
	Volume    string // storage:volume
	Size      int64  // bytes; 0: not known
	NoBackup  bool   // left out of vzdump (backup=0; for a container's mount point: not backup=1)
	NoReplica bool   // left out of replication jobs (replicate=0)
	Format    string // qcow2, raw, …; empty when the volume id does not say
}

// Snapshot is a snapshot of a guest.
type Snapshot struct {
	Name        string
	Description string
	Parent      string
	Taken       time.Time // zero when PVE does not know
	RAM         bool      // it holds the memory
	State       string    // snapstate: "prepare", "delete", …; empty when complete
}

// OfBackup says whether vzdump made the snapshot, to back a container up from it. It
// removes it at the end: one that stays was left by a backup that broke off, and the
// next cannot make its own.
func (s Snapshot) OfBackup() bool {
	return s.Name == "vzdump" && strings.HasPrefix(s.Description, "vzdump backup snapshot")
}

// Storage is a storage as one node sees it.
type Storage struct {
	Name      string
	Node      string
	Type      string // lvmthin, zfspool, dir, pbs, …
	Shared    bool
	Active    bool // PVE could reach it
	Enabled   bool
	Content   []string
	Total     int64 // bytes; 0 when not active
	Used      int64
	Available int64
	Meta      *Usage // an LVM thin pool's metadata; nil: not one, or not readable
	// PBS storages only:
	Server, Datastore, Namespace string
	// NewestOnly: a rollback goes to the newest snapshot only (ZFS, volume chains).
	NewestOnly  bool
	VolumeChain bool // snapshot-as-volume-chain is set
}

// Usage is a fill level in bytes.
type Usage struct{ Total, Used int64 }

// BackupJob is a vzdump job of the cluster.
type BackupJob struct {
	ID       string
	Enabled  bool
	Schedule string    // systemd-calendar-like text
	NextRun  time.Time // computed by the server from now; there is no last run
	Storage  string
	Mode     string // snapshot, suspend, stop
	All      bool
	VMIDs    []int
	Exclude  []int
	Pool     string
	Node     string // empty: any

	Retention string // its own prune-backups, such as "keep-daily=7"; empty: that of its storage counts
	KeepsAll  bool   // it removes nothing (remove=0)
}

// GuestBackup is one guest's part of a vzdump task.
type GuestBackup struct {
	VMID        int
	Node        string
	UPID        string
	Storage     string
	Started     time.Time
	Ended       time.Time // zero while it runs
	Status      backup.Status
	Text        string // the reason of a failure or warning, as the log says it
	Consistency backup.Consistency
	Archive     string // file name, or PBS snapshot ("vm/100/2026-11-21T20:00:00Z"); empty when the log does not say
}

// Hidden is something that the token's privileges keep from us.
type Hidden struct {
	What      string // "backups on storage local"
	Path      string // "/storage/local"
	Privilege string // "Datastore.Audit"
}

// Incompletion is something that could not be read: its subject and why.
type Incompletion struct {
	Subject string
	Err     string
}
