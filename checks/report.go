package checks

import (
	"slices"
	"time"

	"cairn/internal/backup"
)

// Report is the judgement of one survey. Every list is in the order to show it.
type Report struct {
	At        time.Time
	Status    backup.Status // the worst of all problems that are not acknowledged
	Problems  []Problem     // worst first
	Tiers     []Tier
	Assets    []Asset
	Disks     []Disk
	Scenarios []Scenario // that the board shows
	Others    []Scenario // that it does not
}

// EveryScenario lists those that the board shows, and the others.
func (r Report) EveryScenario() []Scenario { return slices.Concat(r.Scenarios, r.Others) }

// Problem is one thing that is not as it should be.
type Problem struct {
	ID           string // stable: code and subject
	Code         string // "stale", "unreachable", "never-verified", …
	Subject      string // "pbs.nas", "guest:home/101", "disk.usb"
	Status       backup.Status
	Summary      string // one sentence: why, with value and limit
	Hint         string // what to do
	Since        time.Time
	Acknowledged bool
	Fingerprint  string // an acknowledgement holds as long as this stays: it changes when the problem worsens
}

// Tier is one layer of 3-2-1 with the sources that fill it.
type Tier struct {
	Tier    backup.Tier
	Name    string
	Status  backup.Status
	Sources []Source
}

// Source is one configured system that holds copies: "proxmox.home", "pbs.nas",
// "restic.usb", "postgres.erp".
type Source struct {
	Name      string
	Kind      string // proxmox, pbs, restic, postgres
	Title     string // for a person: "PBS nas"
	Status    backup.Status
	Word      string // the one word or two beside it: "ok", "late", "STALE", "unknown", "running"
	Note      string // the most telling remark: "1 never verified", "next 01:30"
	Reachable bool
	Error     string    // of the latest attempt; empty: none
	Surveyed  time.Time // when its facts were read; zero: never
	Newest    time.Time // of all copies; zero: none
	Stalest   time.Time // the oldest of the assets' newest copies; zero: none
	Due       time.Time // zero: no schedule
	Every     time.Duration
	Copies    int
	Running   bool
	LastRun   *Run
	Retention []Retention
	Frozen    string // why nothing may be forgotten here now; empty: it may
}

// Age is how old the copy is that freshness is judged by: the stalest asset's.
func (s Source) Age(now time.Time) (time.Duration, bool) {
	if s.Stalest.IsZero() {
		return 0, false
	}
	return now.Sub(s.Stalest), true
}

// Run is the last run of a source's job.
type Run struct {
	Started  time.Time
	Duration time.Duration // 0 while it runs
	Status   backup.Status
	Text     string
}

// Retention is how many distinct periods of a unit hold a copy, of how many wanted.
type Retention struct {
	Unit   string // last, hourly, daily, weekly, monthly, yearly
	Kept   int
	Wanted int
	Gaps   []string // the periods that are missing, such as "2026-11-18"
}

// Asset is one protected thing with all its copies.
type Asset struct {
	ID      backup.AssetID
	Name    string // for a person: "web01"
	Detail  string // "VM 100", "openprod on erp"
	Live    string // "run", "stop", "up", "?": the live copy
	Status  backup.Status
	Word    string // "ok", "LATE", "NO OFF-SITE", …
	Copies  int    // independent copies, the live one among them
	Media   int
	OffSite bool           // an off-site copy is there, as far as that is proven
	Proven  bool           // 3 copies, 2 media, 1 off-site: all there, though one of them may be late
	RPO     *time.Duration // what would be lost now, from the newest usable copy; nil: everything, or not known
	Held    []Held
	Parked  bool // deleted, a template or ignored: a class of its own, raises no alarm
}

// Held is one source's best copy of an asset.
type Held struct {
	Tier     backup.Tier
	Source   string
	ID       string
	Taken    time.Time
	Medium   string
	Site     string
	Proof    backup.Proof
	ProvedAt time.Time
	Status   backup.Status
	Word     string // for the matrix: "verified", "in snap", "dump", "none"
	Count    int    // how many copies that source holds
	How      string // an off-site copy was compared with the one here: ByNameAndSize and others; empty: it was not
	Missing  string // what the off-site copy was found to lack, a sentence; empty: nothing, or it was not looked for
}

// Disk is a medium with its judgement.
type Disk struct {
	Name         string
	Status       backup.Status
	Word         string
	Mount        string
	Unit         string // which of its disks is in
	Units        []DiskUnit
	Shares       []DiskShare // what fills it, the largest first
	Checks       []DiskCheck // every check of it; none where it is absent
	Present      bool
	Writable     bool
	UsedRatio    float64
	FullEarliest time.Time // zero: no estimate
	FullLatest   time.Time
	Note         string // SMART, temperature and wear in a few words
	Smart        Smart
}

// Smart is what SMART says of a disk.
type Smart struct {
	Status      backup.Status
	Reason      string  // why it is not ok or not known
	Temperature int     // °C; 0: not known
	Wear        float64 // -1: not known
	Read        time.Time
}

// Scenario is what would be lost and how long the way back takes, if this fails now.
type Scenario struct {
	Name     string // guest-loss, hypervisor-loss, usb-loss, site-loss, …
	Target   string // for a person: "web01 (VM 100)"
	Subject  string // the asset, disk or site that it is about
	Method   string
	Ready    bool
	Blockers []string
	Unread   string         // what was not read yet, without which nothing can be said; empty: all was
	RPO      *time.Duration // nil: everything, or not known
	RTO      time.Duration
	RTOP90   time.Duration
	Goal     time.Duration // that RTO may take at the most; 0: no limit is configured
	Basis    string        // measured or assumed
	Runs     int
}
