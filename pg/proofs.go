package pg

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"cairn/internal/backup"
)

// ProofsName is the file in a dump or base backup of ours that keeps how far it
// was proven since it was made. It is no part of the copy.
const ProofsName = "cairn-proofs.json"

// damaged is the level of a proof that it is not good.
const damaged = "damaged"

// proof is one line of what was found out about a copy.
type proof struct {
	Level string    `json:"level"` // in the words of backup.Proof, or damaged
	At    time.Time `json:"at"`
	Why   string    `json:"why,omitempty"` // it is damaged
}

type proofs []proof

func readProofs(dir string) proofs {
	text, err := readLimited(filepath.Join(dir, ProofsName), smallFile)
	if err != nil {
		return nil
	}
	var kept proofs
	if json.Unmarshal(text, &kept) != nil {
		return nil
	}
	return kept
}

// proven are the levels that were reached, least first.
func (p proofs) proven() []backup.Proven {
	var all []backup.Proven
	for level := backup.Exists; level <= backup.ContentChecked; level++ {
		for _, one := range p {
			if one.Level == level.String() {
				all = append(all, backup.Proven{Level: level, At: one.At})
			}
		}
	}
	return all
}

// damage says why the copy is not good; empty where nothing was found.
func (p proofs) damage() string {
	for _, one := range p {
		if one.Level == damaged {
			return fmt.Sprintf("verified on %s: %s", one.At.Format("2006-01-02 15:04 MST"), one.Why)
		}
	}
	return ""
}

// RecordProof keeps beside a dump or base backup of ours that a level of proof
// was reached. Where its directory cannot be written, only the proof is lost.
func RecordProof(dir string, level backup.Proof, at time.Time) error {
	kept := slices.DeleteFunc(readProofs(dir), func(p proof) bool {
		return p.Level == level.String() || p.Level == damaged && level >= backup.EveryByteRead
	})
	return kept.write(dir, proof{Level: level.String(), At: at.UTC()})
}

// RecordDamage keeps beside a dump or base backup of ours that it was found to
// be damaged: it is no copy from then on, until all of it is found well again.
func RecordDamage(dir, why string, at time.Time) error {
	return proofs{}.write(dir, proof{Level: damaged, At: at.UTC(), Why: why})
}

func (p proofs) write(dir string, one proof) error {
	text, err := json.Marshal(append(p, one))
	if err == nil {
		err = writeFile(filepath.Join(dir, ProofsName), text, 0o600)
	}
	if err != nil {
		return fmt.Errorf("keeping how far %s was proven: %w", dir, err)
	}
	return nil
}
