package checks

import (
	"fmt"

	"cairn/internal/backup"
)

// VerdictsOf are the latest verdicts that runs of verifications, newest first, tell
// of; one that could not look says nothing.
func VerdictsOf(runs []backup.Run) map[string]Verdict {
	all := map[string]Verdict{}
	for _, r := range runs {
		key := CopyKey(r.Source, r.Subject)
		if _, newer := all[key]; newer || r.Running() || r.Status == backup.Unknown {
			continue
		}
		v := Verdict{At: r.Ended}
		if r.Status >= backup.Warning {
			v.Bad = r.Text
		}
		all[key] = v
	}
	return all
}

// ProofsOf are the proofs of each copy that runs of backup.ProofJob tell of.
func ProofsOf(runs []backup.Run) map[string][]backup.Proven {
	all := map[string][]backup.Proven{}
	for _, r := range runs {
		if level, known := backup.ParseProof(r.Text); known && r.Status == backup.OK && !r.Ended.IsZero() {
			key := CopyKey(r.Source, r.Subject)
			all[key] = append(all[key], backup.Proven{Level: level, At: r.Ended})
		}
	}
	return all
}

// applyVerdicts takes what the latest verification of each copy found into its
// proofs and its state. One that is older than the copy is of another one.
func (l *lab) applyVerdicts(s *source) {
	if len(l.facts.Past.Verdicts) == 0 {
		return
	}
	for _, g := range s.groups {
		for i := range g.copies {
			c := &g.copies[i]
			v, ok := l.facts.Past.Verdicts[CopyKey(c.Source, c.ID)]
			switch {
			case !ok || v.At.Before(c.Finished) || v.At.Before(c.Taken):
			case v.Bad == "":
				if c.State == backup.Complete {
					c.Proofs = append(c.Proofs, backup.Proven{Level: backup.EveryByteRead, At: v.At})
				}
			case c.State != backup.InFlight && !provenSince(c, v):
				c.State, c.Why, c.Proofs = backup.Damaged, "verified "+since(v.At, l.now)+": "+v.Bad, nil
			}
		}
	}
}

// provenSince says whether all of a copy was found well again after a verdict.
func provenSince(c *backup.Copy, v Verdict) bool {
	for _, p := range c.Proofs {
		if p.Level >= backup.EveryByteRead && p.At.After(v.At) {
			return true
		}
	}
	return false
}

// judgeVerdicts tells of copies that a verification found damaged.
func (l *lab) judgeVerdicts(s *source) []Problem {
	var labels, grade []string
	why := ""
	for _, g := range s.groups {
		for i := range g.copies {
			c := &g.copies[i]
			if v, ok := l.facts.Past.Verdicts[CopyKey(c.Source, c.ID)]; ok && v.Bad != "" && c.State == backup.Damaged {
				labels, grade = append(labels, fmt.Sprintf("%s of %s", g.label, c.Taken.In(l.home).Format("2006-01-02 15:04"))), append(grade, c.ID)
				why = either(why, v.Bad)
			}
		}
	}
	if v := l.facts.Past.Verdicts[CopyKey(s.name, "")]; v.Bad != "" && len(labels) == 0 {
		return []Problem{found(backup.Critical, "verify-failed", s.name, fmt.Sprintf("%s was verified %s and is not good: %s", s.title, since(v.At, l.now), v.Bad),
			"Take a full backup with it now, and look at the disk that it lies on; then: cairn verify "+verifyName(s), v.Bad)}
	}
	if len(labels) == 0 {
		return nil
	}
	return []Problem{found(backup.Critical, "verify-failed", s.name, fmt.Sprintf("%s on %s %s damaged, as a verification found: %s: %s", counted(len(labels), "copy"), s.title, verb(len(labels), "is", "are"), listed(labels), why),
		"Make a new copy now, and look at the disk that they lie on (smartctl, dmesg); what is good again: cairn verify "+verifyName(s), grade...)}
}
