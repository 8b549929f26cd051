package backup

import (
	"fmt"
	"time"
)

// Tier is the layer of the 3-2-1 scheme that a copy belongs to.
type Tier int

// The tiers.
const (
	LocalRollback Tier = 1 // snapshots on the live medium
	DurableLocal  Tier = 2 // on another medium at home
	OffSite       Tier = 3 // on another site
)

// String names the tier as the screens do.
func (t Tier) String() string {
	switch t {
	case LocalRollback:
		return "local rollback"
	case DurableLocal:
		return "durable local"
	case OffSite:
		return "off-site"
	}
	return "no tier"
}

// HomeSite is the site of everything that names no other.
const HomeSite = "home"

// LiveMedium is the medium of the live data and of whatever lies beside it,
// such as a snapshot: it counts once, together with the live copy.
const LiveMedium = "live"

// Proof is how far a copy is shown to be good, least first. Each level has an
// age of its own: see Proven.
type Proof int

// The verification ladder.
const (
	Exists         Proof = iota // it is listed
	MetadataRead                // its own index could be read
	EveryByteRead               // all of its data was read and its checksums compared
	Restored                    // it was restored somewhere
	Starts                      // what was restored starts, and recovers
	ContentChecked              // what was restored was compared with what was expected
)

var proofNames = [...]string{"exists", "metadata read", "every byte read", "restored", "starts", "content checked"}

// ProofJob is the job of a run of ours that restored a copy, its subject; the text of
// the run is the level of proof that this is.
const ProofJob = "proof"

// ParseProof reads a level as String writes it; false: it is none.
func ParseProof(text string) (Proof, bool) {
	for i, name := range proofNames {
		if name == text {
			return Proof(i), true
		}
	}
	return Exists, false
}

// String writes the level in the words of the screens.
func (p Proof) String() string {
	if p < Exists || p > ContentChecked {
		return "unproven"
	}
	return proofNames[p]
}

// MarshalText writes the form of String.
func (p Proof) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads the words that String writes.
func (p *Proof) UnmarshalText(text []byte) error {
	for level, name := range proofNames {
		if name == string(text) {
			*p = Proof(level)
			return nil
		}
	}
	return fmt.Errorf("there is no proof %q", text)
}

// Proven says that a level of proof was reached, and when.
type Proven struct {
	Level Proof
	At    time.Time
}

// State tells whether a copy can be restored from.
type State string

// The states of a copy. Only Complete counts as a copy.
const (
	Complete State = "complete"
	InFlight State = "in flight" // being written now
	Torn     State = "torn"      // its source changed while it was read, or it was cut off
	Damaged  State = "damaged"   // a verification failed
)

// Consistency tells in what state of the guest its data was copied.
type Consistency string

// How consistent a guest's copy is.
const (
	ConsistencyUnknown Consistency = ""
	Frozen             Consistency = "frozen"           // file systems frozen by the guest agent
	CrashConsistent    Consistency = "crash-consistent" // as after a power cut
	Stopped            Consistency = "stopped"          // the guest did not run
)

// Copy is one restorable instance of an asset.
type Copy struct {
	Asset       AssetID
	Tier        Tier
	Source      string // configured name, such as "pbs.nas"
	ID          string // the system's own id of it
	Kind        string // "snapshot", "backup", "dump", "base backup"
	Medium      string // copies on one medium count once; LiveMedium, "disk.usb", "s3.example.net"
	Site        string // HomeSite unless configured
	Taken       time.Time
	Finished    time.Time // zero when not known
	Size        int64     // bytes; 0 when not known
	Encrypted   bool
	Protected   bool // it may not be pruned
	Safety      bool // cairn made it before a change, or a person put it aside: a copy, but it says nothing of the schedule
	State       State
	Why         string // why it is torn or damaged, one sentence; else empty
	Consistency Consistency
	Proofs      []Proven // each level that was reached, with its age
}

// What cairn calls the safety copies that it makes before a change: the name of
// a snapshot, and the comment of a backup, begin so.
const (
	SafetySnapshot = "cairn-before-"
	SafetyComment  = "Safety copy of cairn operation "
)

// Usable says whether the copy can be restored from, as far as is known.
func (c Copy) Usable() bool { return c.State == Complete }

// Best returns the highest level of proof that was reached, Exists at the time
// the copy was taken when there is none.
func (c Copy) Best() Proven {
	best := Proven{Exists, c.Taken}
	for _, p := range c.Proofs {
		if p.Level > best.Level || p.Level == best.Level && p.At.After(best.At) {
			best = p
		}
	}
	return best
}
