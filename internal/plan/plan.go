// Package plan is pure data: what is to be done, what stands in the way, what
// it would lose and how long it should take. It knows no system.
package plan

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"
)

// Step is one thing to do. Show is the exact call or command, secrets out; Args
// is what its executor needs to do it, secrets out as well.
type Step struct {
	ID           string          `json:"id"`   // unique in the plan, such as "2-rollback"
	Kind         string          `json:"kind"` // which executor runs it, such as "proxmox.rollback"
	Title        string          `json:"title"`
	Show         string          `json:"show"`
	Commands     []string        `json:"commands,omitempty"` // what a person types, in this order; empty: cairn does it
	Args         json.RawMessage `json:"args,omitempty"`
	Irreversible bool            `json:"irreversible"`
	Estimate     Estimate        `json:"estimate"`
}

// Blocker is a reason why a plan cannot run, found before anything is touched.
type Blocker struct {
	Subject string `json:"subject"`
	Why     string `json:"why"`             // with value and limit
	Hint    string `json:"hint"`            // what to do
	Offer   string `json:"offer,omitempty"` // what a person may ask for instead, such as OfferInit; empty: nothing
}

// OfferInit offers to make the repository that is missing.
const OfferInit = "init"

// Offered is what a person may ask for instead of a blocked plan, where nothing
// else stands in the way; empty: nothing.
func (p Plan) Offered() string {
	offer := ""
	for _, b := range p.Blockers {
		if b.Offer == "" {
			return ""
		}
		offer = b.Offer
	}
	return offer
}

// Estimate is a predicted duration.
type Estimate struct {
	Median   time.Duration `json:"median_ns"`
	P90      time.Duration `json:"p90_ns"`
	Measured int           `json:"runs"` // runs it rests on; 0: assumed
}

// Basis says what the estimate rests on: "measured" or "assumed".
func (e Estimate) Basis() string {
	if e.Measured > 0 {
		return "measured"
	}
	return "assumed"
}

// Plan is what an operation will do to one target. It is made from fresh reads;
// Fingerprint names the state that it was made for.
type Plan struct {
	ID          string    `json:"id"`
	Operation   string    `json:"operation"` // "rollback", "restore", …
	Target      string    `json:"target"`    // what is locked while it runs: "guest:home/101"
	Confirm     string    `json:"confirm"`   // the name a person types, such as the guest's own
	Summary     string    `json:"summary"`
	Created     time.Time `json:"created"`
	Fingerprint string    `json:"fingerprint"`
	Steps       []Step    `json:"steps"`
	Parts       []Plan    `json:"parts,omitempty"` // that a step starts, each as an operation of its own, in this order; none: it starts no other
	Blockers    []Blocker `json:"blockers"`
	Notes       []string  `json:"notes"`                // what a person should know, but does not stop it
	Loss        string    `json:"loss"`                 // what would be lost, in one sentence
	LosesSince  time.Time `json:"loses_since,omitzero"` // what was written after it is not in what comes back; zero: nothing, or not known
	Loses       bool      `json:"loses,omitempty"`      // copies go, as the configuration wants it; a person is asked first
	WayBack     string    `json:"way_back"`             // how to undo it; empty: it cannot be undone
	Undoes      string    `json:"undoes,omitempty"`     // id of the operation that it takes back; empty: none
	PartOf      string    `json:"part_of,omitempty"`    // id of the operation that it is a part of; empty: none
	Scenario    string    `json:"scenario,omitempty"`   // that it is the way back from; empty: none
	Estimate    Estimate  `json:"estimate"`
}

// Blocked says whether the plan must not run.
func (p Plan) Blocked() bool { return len(p.Blockers) > 0 }

// Hash names what the plan does to which state: the same steps against the same
// fingerprint have the same hash, whenever they were planned and whatever they
// are expected to take.
func (p Plan) Hash() (string, error) {
	type step struct {
		Kind, Show   string
		Commands     []string `json:",omitempty"`
		Args         json.RawMessage
		Irreversible bool
	}
	same := struct {
		Operation, Target, Fingerprint string
		Steps                          []step
		Blockers                       []Blocker
		Parts                          []string `json:",omitempty"`
	}{Operation: p.Operation, Target: p.Target, Fingerprint: p.Fingerprint, Blockers: p.Blockers}
	for _, s := range p.Steps {
		same.Steps = append(same.Steps, step{s.Kind, s.Show, s.Commands, s.Args, s.Irreversible})
	}
	for _, part := range p.Parts {
		hash, err := part.Hash()
		if err != nil {
			return "", err
		}
		same.Parts = append(same.Parts, hash)
	}
	text, err := json.Marshal(same)
	if err != nil {
		return "", fmt.Errorf("hashing the plan: %w", err)
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8]), nil
}
