// Package pve is a Proxmox VE API server for the demo and the tests. It keeps
// state, runs tasks, and answers as PVE 8.4 was recorded to answer, with the
// differences of 9.1 that are known; it shares no line with the client.
package pve

import "time"

// World is what a server starts from. The zero values are those of a small
// standalone node; only Nodes is required.
type World struct {
	Version  string // of pve-manager, such as "9.1.6"; empty: "8.4.21"
	Cluster  string // its name; empty: a standalone node
	Nodes    []Node // the first one answers; the others are reached through it
	Users    []User // root@pam is always there
	Roles    map[string][]string
	ACL      []ACL
	Pools    map[string][]int // VMIDs by pool
	Storages []Storage
	Guests   []Guest
	Archives []Archive // vzdump files on storages that keep files
	Jobs     []Job
	HA       map[string]string // requested state by service, such as "vm:100": "started"

	// Backups finds the backup server of a pbs storage that is defined while the
	// server runs; nil: there is none to be found.
	Backups func(server, datastore string) BackupStore

	Now      func() time.Time // nil: time.Now
	Location *time.Location   // of the node's clock and schedules; nil: UTC
	Pace     Pace
}

// Pace says how long things take. All of it may be zero, for tests.
type Pace struct {
	Step      time.Duration // each step of a task; a restore or backup has ten
	Lock      time.Duration // wait for a guest's lock file; 0: the real 10 s
	AuthDelay time.Duration // before a 401; the real one is 3 s
}

// Node is a member of the cluster.
type Node struct {
	Name    string
	IP      string
	Offline bool // its calls end with 595
	NoKVM   bool // a VM without "kvm: 0" fails to start
	Memory  int64
	Disks   []Disk
}

// Disk is a physical disk of a node.
type Disk struct {
	Dev, Model, Serial, Type string // "/dev/sda"; Type ssd, hdd, nvme, usb
	Size                     int64
	Health, Used             string // "PASSED", "LVM"
	Wearout                  int    // 100 = new; negative: not known
}

// User is a user with its API tokens.
type User struct {
	ID       string // "audit@pve"
	Comment  string
	Password string
	Tokens   []Token
}

// Token is an API token: user@realm!Name=Secret.
type Token struct {
	Name, Secret string
	Privsep      bool  // its rights are the token's own within the user's
	Expire       int64 // Unix time; 0: never
}

// ACL grants a role on a path to a user or token.
type ACL struct {
	Path, Who, Role string
	NoPropagate     bool
}

// Storage is a storage of the cluster.
type Storage struct {
	ID      string
	Type    string   // dir, nfs, lvmthin, lvm, zfspool, btrfs, pbs
	Content []string // images, rootdir, backup, iso, vztmpl, snippets
	Path    string   // of file storages; empty: /mnt/pve/ID
	Nodes   []string // empty: all
	Shared  bool
	Disable bool

	Total    int64 // bytes; 0: 500 GiB
	Base     int64 // used besides what the lab knows of
	Reserved int64 // of the file system: neither used nor available

	VolumeChain     bool // snapshot-as-volume-chain: only the newest rolls back
	IsMountpoint    bool
	Unmounted       bool   // with IsMountpoint: the disk is not there
	Prune           string // prune-backups, such as "keep-last=3"
	MaxProtected    int    // max-protected-backups; 0: not set
	VGName, Pool    string // lvmthin: volume group and thin pool; zfspool: Pool
	MetaTotal, Meta int64  // lvmthin: bytes of the pool's metadata

	Server, Datastore, Namespace string // pbs
	Username, Fingerprint        string
	EncryptionKey                string // pbs: fingerprint of the key that the node has; empty: none
	Export                       string // nfs
	Store                        BackupStore
}

// Guest is a VM or container. A disk is a configuration value that names a
// volume ("store:100/vm-100-disk-0.qcow2,size=8G"); the volumes are made from
// the values when the server starts.
type Guest struct {
	VMID      int
	Kind      Kind
	Node      string
	Config    map[string]string
	Content   map[string]string // what is on each disk, by configuration key
	Used      map[string]int64  // bytes used of each disk; 0: 1/8 of its size
	Running   bool
	Started   time.Time  // zero with Running: an hour ago
	Snapshots []Snapshot // parents before children

	NoOS    bool   // nothing inside answers: a shutdown runs into its time limit
	NoAgent bool   // the agent is configured but does not answer
	Warn    string // a warning that every start gives
	// HiddenZFS are snapshots of the guest's volumes that other tools made: on a
	// zfspool they block a rollback to anything older, and no call lists them.
	HiddenZFS []HiddenSnapshot
}

// HiddenSnapshot is a ZFS snapshot that PVE's configuration does not know.
type HiddenSnapshot struct {
	Name  string
	After string // the guest's snapshot it came after; empty: before all
}

// Snapshot is a snapshot of a guest.
type Snapshot struct {
	Name, Parent, Description string
	Time                      time.Time
	RAM                       bool
	State                     string            // snapstate: prepare, delete
	Config                    map[string]string // nil: the guest's
	Content                   map[string]string // nil: the guest's
}

// Archive is a vzdump file.
type Archive struct {
	Storage   string
	Time      time.Time
	Size      int64
	Format    string // empty: vma.zst or tar.zst
	Notes     string
	Protected bool
	Image     Image
}

// Job is a backup job: the properties of /cluster/backup as text, such as
// "schedule": "21:00", "enabled": "1", "vmid": "100,101".
type Job map[string]string
