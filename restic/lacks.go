package restic

// Lacks says what this version of restic cannot do, and what is done instead, a
// sentence each.
func (v Version) Lacks() []string {
	var out []string
	for _, one := range []struct {
		ability Ability
		instead string
	}{
		{CopyFrom, "copies nothing between repositories: a copy_from does not work"},
		{Summaries, "keeps no sizes in snapshots: those of the newest are asked for where they matter"},
		{TypedExits, "has no exit codes of its own for a missing, locked or wrongly opened repository: its words are read"},
		{JSONCheck, "tells how far a check or restore is in plain text: no bytes are shown there"},
		{RetryLock, "does not wait for a lock: the run ends and says who holds it"},
		{MissingIsPartial, "ends well where a source path is missing: it is looked for before each run"},
	} {
		if !v.Can(one.ability) {
			out = append(out, one.instead)
		}
	}
	return out
}
