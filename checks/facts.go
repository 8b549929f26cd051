// Package checks judges: from a policy, the facts of every system and the time
// it makes a report. It is pure: no I/O, no clock of its own, and it calls
// nothing of the systems whose facts it takes.
package checks

import (
	"time"

	"cairn/internal/backup"
	"cairn/internal/disk"
	"cairn/internal/estimate"
	"cairn/pbs"
	"cairn/pg"
	"cairn/proxmox"
	"cairn/restic"
)

// Facts is everything known of a lab. Maps are keyed by configured name; a
// system that was not asked this time (--only) has no entry.
type Facts struct {
	Proxmox  map[string]backup.Observed[proxmox.Facts]
	PBS      map[string]backup.Observed[pbs.Facts]
	Restic   map[string]backup.Observed[restic.Facts]
	Postgres map[string]backup.Observed[pg.Facts]
	Disks    map[string]backup.Observed[disk.Facts]
	OffSite  map[string]OffSiteProof // what was compared off-site with the copies here; any key
	Past     Past
}

// Past is what the history adds to a survey. The zero value is a history that
// remembers nothing.
type Past struct {
	Durations map[string]time.Duration // usual duration of a source's runs, by source name ("pbs.nas")
	Runs      map[string]backup.Run    // the last run that cairn itself made, by source name
	Fill      map[string][]FillSample  // of each disk, oldest first, at most 30 days
	Since     map[string]time.Time     // when a problem was first seen, by its id
	Acks      map[string]string        // fingerprints of acknowledged problems, by id
	Hold      *Hold                    // an incident is open
	Held      []HeldSetting            // what was set aside on the servers for an incident, and is still
	Steps     []estimate.Run           // measured steps of operations, newest first
	Score     estimate.Score           // how good their predictions were
	Absent    map[string]time.Time     // when each disk ("usb/a") was last seen
	Unread    string                   // why the history could not be read; empty: it was, or none is kept
	Unwritten string                   // why what was found could not be kept in it; empty: it was, or none is kept

	// First is when the first copy of an asset was seen in a source, by
	// CopyKey(source, asset): a young source is not to blame for few periods.
	First map[string]time.Time
	// Proofs are drills and checks of copies, by CopyKey(source, copy's id).
	Proofs map[string][]backup.Proven
	// Verdicts are what the latest verification of each copy found, by
	// CopyKey(source, copy's id); with an empty id that of a whole source.
	Verdicts map[string]Verdict
	// Torn says of restic snapshots, by the tag of the operation that made them, why
	// what they hold of a PBS datastore is no copy: PBS wrote to it while it was read,
	// or may have.
	Torn map[string]string
}

// Verdict is what a verification found.
type Verdict struct {
	At  time.Time
	Bad string // what is wrong; empty: nothing
}

// FillSample is how full a disk was.
type FillSample struct {
	At    time.Time
	Used  int64
	Total int64
}

// Hold says that nothing may be forgotten, since when and why.
type Hold struct {
	Since    time.Time
	By       string
	Why      string
	Incident int64 // that holds; 0: somebody asked for it without one
}

// HeldSetting is what a server does no more by itself, because it was held for an
// incident.
type HeldSetting struct {
	Server   string // "pbs.nas", "proxmox.home"
	Kind, ID string // "prune", "sync", "gc" or "retention", and of what
	Says     string // for a person
	Since    time.Time
	Incident int64
}

// Policy is what the lab should look like: the configured tables.
type Policy struct {
	Proxmox  map[string]proxmox.Config
	Guests   map[string]proxmox.GuestConfig // by "CLUSTER/VMID"
	PBS      map[string]pbs.Config
	Restic   map[string]restic.Config
	Postgres map[string]pg.Config
	Disks    map[string]disk.Config
	Assets   map[string]backup.CompositeConfig
	Keys     map[string]string // where the key of a source is kept apart from it, such as "restic.cloud"; never the key
	Needs    []Need            // configurations that restores need
	Home     *time.Location    // whose calendar days retention counts; nil: UTC
}
