package checks

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"cairn/internal/backup"
	"cairn/pbs"
	"cairn/proxmox"
)

// judgePBS judges what concerns a datastore itself: verification, jobs, garbage
// collection, its state and fill level.
func (l *lab) judgePBS(s *source) []Problem {
	name := strings.TrimPrefix(s.name, "pbs.")
	cfg, f := l.policy.PBS[name], l.facts.PBS[name].Value
	out := judgeClock(s, f.Skew)
	out = append(out, s.extra...)
	out = append(out, judgeHiddenRows(s, f)...)
	out = append(out, judgeMaintenance(s, f)...)
	out = append(out, l.judgeVerified(s, cfg)...)
	out = append(out, judgeDamaged(s)...)
	out = append(out, judgeOrphans(s)...)
	out = append(out, judgeJobs(s, cfg, f)...)
	out = append(out, l.whileHeld(s, judgeGC(s, f, l.now))...)
	if s.disk == "" {
		out = append(out, judgeUsage(s, f, l.now)...)
	}
	return out
}

func judgeHiddenRows(s *source, f pbs.Facts) []Problem {
	if s.blind == "" {
		var hidden, unread []string
		for _, h := range f.Hidden {
			hidden = append(hidden, h.What+" ("+h.Privilege+" on "+h.Path+")")
		}
		for _, i := range f.Incomplete {
			unread = append(unread, i.Subject+" ("+sentence(i.Err)+")")
		}
		var out []Problem
		if len(hidden) > 0 {
			out = append(out, found(backup.Warning, "hidden", s.name, fmt.Sprintf("The token of %s may not read: %s", s.title, listed(hidden)),
				"Give it, to the user and to the token: "+grants(f.Hidden), hidden...))
		}
		if len(unread) > 0 {
			out = append(out, found(backup.Warning, "incomplete", s.name, fmt.Sprintf("%s could not be read in full, missing: %s", s.title, listed(unread)),
				"Look again: cairn check --only "+s.name))
		}
		return out
	}
	return []Problem{found(backup.Unknown, "hidden", s.name, fmt.Sprintf("%s may hide backup snapshots: %s", s.title, s.blind),
		"Give user and token DatastoreAudit: proxmox-backup-manager acl update /datastore/"+either(f.Datastore, "NAME")+" DatastoreAudit --auth-id USER@REALM!NAME")}
}

// grants are the commands that give the roles which hold the missing privileges.
func grants(hidden []pbs.Hidden) string {
	roles := map[string]string{"Datastore.Audit": "DatastoreAudit", "Remote.Audit": "RemoteAudit", "Sys.Audit": "Audit"}
	var commands []string
	for _, h := range hidden {
		privilege, _, _ := strings.Cut(h.Privilege, " ")
		command := fmt.Sprintf("proxmox-backup-manager acl update %s %s --auth-id USER@REALM!NAME", h.Path, either(roles[privilege], "ROLE"))
		if !slices.Contains(commands, command) {
			commands = append(commands, command)
		}
	}
	return strings.Join(commands, "; ")
}

func judgeMaintenance(s *source, f pbs.Facts) []Problem {
	if mode, _, _ := strings.Cut(f.Maintenance, ":"); strings.TrimSpace(mode) == "read-only" {
		return []Problem{found(backup.Warning, "maintenance", s.name, fmt.Sprintf("%s is in maintenance, no backup can be written: %s", s.title, sentence(f.Maintenance)),
			"End it when you are done: proxmox-backup-manager datastore update "+either(f.Datastore, "NAME")+" --delete maintenance-mode")}
	}
	return nil
}

// judgeVerified tells of guests that were never verified, which is no failure,
// and of those whose last verification is too old.
func (l *lab) judgeVerified(s *source, cfg pbs.Config) []Problem {
	limit := cfg.VerifyMaxAge.Std()
	var never, old, ahead, neverGrade, oldGrade []string
	var oldest time.Duration
	for _, g := range s.groups {
		if g.parked != "" || g.doubt != "" || g.usable() == 0 {
			continue
		}
		at, verified, first := lastVerified(g)
		switch {
		case at.After(l.now.Add(clockTolerance)):
			ahead = append(ahead, g.label)
		case !verified && l.now.Sub(first) > neverVerifiedAfter:
			never, neverGrade = append(never, g.label), append(neverGrade, g.asset.String())
		case verified && limit > 0 && l.now.Sub(at) > limit:
			old, oldGrade = append(old, g.label), append(oldGrade, g.asset.String())
			oldest = max(oldest, l.now.Sub(at))
		}
	}
	hint := "Datastore > Verify Jobs: schedule one, or now: proxmox-backup-manager verify " + either(cfg.Datastore, "DATASTORE")
	var out []Problem
	if len(ahead) > 0 {
		out = append(out, found(backup.Unknown, "verify-future", s.name, fmt.Sprintf("When %s on %s %s last verified is not known: the time of it is in the future: %s",
			counted(len(ahead), "guest"), s.title, verb(len(ahead), "was", "were"), listed(ahead)), "Set the server's clock by NTP (timedatectl status), then verify them again: "+hint, ahead...))
	}
	if len(never) > 0 {
		out = append(out, found(backup.Warning, "never-verified", s.name, fmt.Sprintf("%s on %s %s never verified: %s",
			counted(len(never), "guest"), s.title, verb(len(never), "was", "were"), listed(never)), hint, neverGrade...))
	}
	if len(old) > 0 {
		out = append(out, found(backup.Warning, "verify-old", s.name, fmt.Sprintf("%s on %s %s last verified %s ago, the limit is %s: %s",
			counted(len(old), "guest"), s.title, verb(len(old), "was", "were"), backup.Age(oldest), backup.Age(limit), listed(old)), hint, oldGrade...))
	}
	return out
}

// lastVerified is when any of an asset's copies was last read in full, and when
// the oldest of them was made.
func lastVerified(g *group) (at time.Time, verified bool, first time.Time) {
	for i := range g.copies {
		c := &g.copies[i]
		if !c.Usable() {
			continue
		}
		first = c.Taken
		if p := c.Best(); p.Level >= backup.EveryByteRead {
			verified = true
			if p.At.After(at) {
				at = p.At
			}
		}
	}
	return at, verified, first
}

// judgeDamaged tells of copies whose verification failed.
func judgeDamaged(s *source) []Problem {
	var labels, grade []string
	n := 0
	for _, g := range s.groups {
		bad := 0
		for i := range g.copies {
			if c := &g.copies[i]; c.State == backup.Damaged {
				bad++
				grade = append(grade, c.ID)
			}
		}
		if bad > 0 {
			n += bad
			labels = append(labels, g.label)
		}
	}
	if n == 0 {
		return nil
	}
	return []Problem{found(backup.Critical, "verify-failed", s.name,
		fmt.Sprintf("%s on %s failed verification: %s", counted(n, "backup snapshot"), s.title, listed(labels)),
		"They cannot be relied on. Read the verify task's log, back the guest up anew (good chunks heal bad ones), check the disk, then verify again", grade...)}
}

// judgeOrphans tells of uploads that were begun and never ended: no task works
// on them any more.
func judgeOrphans(s *source) []Problem {
	var labels, grade []string
	for _, g := range s.groups {
		for i := range g.copies {
			if c := &g.copies[i]; c.State == backup.Torn {
				labels, grade = append(labels, c.ID), append(grade, c.ID)
			}
		}
	}
	if len(labels) == 0 {
		return nil
	}
	return []Problem{found(backup.Warning, "orphan", s.name,
		fmt.Sprintf("%s on %s %s begun and never finished: %s", counted(len(labels), "upload"), s.title, verb(len(labels), "was", "were"), listed(labels)),
		"They are no backups. See why the backup broke off, then remove them (Datastore > Content)", grade...)}
}

// judgeJobs judges the server's own jobs by their last run. A job's state is
// free text: OK, "WARNINGS: n", anything else is a failure.
func judgeJobs(s *source, cfg pbs.Config, f pbs.Facts) []Problem {
	var out []Problem
	for _, j := range f.Jobs {
		if j.Disabled || j.Kind == pbs.GCJob {
			continue
		}
		subject, hint := s.name+"/"+j.ID, fmt.Sprintf("Datastore > %s: read the log of its last run, mend the cause, then Run now", jobMenu(j.Kind))
		what := fmt.Sprintf("The %s job %s of %s", j.Kind, j.ID, s.title)
		switch status := runStatus(j.LastRun); {
		case j.LastRun.Running():
		case status == backup.Critical:
			// A failed verification names its copies in a problem of its own.
			out = append(out, found(backup.Warning, string(j.Kind)+"-failed", subject, fmt.Sprintf("%s failed: %s", what, sentence(j.LastRun.Text)), hint))
		case status == backup.Warning:
			out = append(out, found(backup.Warning, string(j.Kind)+"-warnings", subject, fmt.Sprintf("%s ended with warnings: %s", what, sentence(j.LastRun.Text)), hint))
		case status == backup.Unknown:
			out = append(out, found(backup.Warning, string(j.Kind)+"-unclear", subject, fmt.Sprintf("How %s ended is not known: %s", strings.Replace(what, "The", "the", 1), either(sentence(j.LastRun.Text), "no state")), hint))
		}
		if j.Kind == pbs.PruneJob {
			out = append(out, judgePrune(s, cfg.Keep, j)...)
		}
	}
	return out
}

func jobMenu(k pbs.JobKind) string {
	switch k {
	case pbs.VerifyJob:
		return "Verify Jobs"
	case pbs.SyncJob:
		return "Sync Jobs"
	}
	return "Prune & GC Jobs"
}

// runStatus reads a PBS run's own words rather than trusting its status alone.
func runStatus(r backup.Run) backup.Status {
	switch text := strings.TrimSpace(r.Text); {
	case r.Running() || text == "":
		return r.Status
	case text == "OK":
		return max(r.Status, backup.OK)
	case strings.HasPrefix(text, "WARNINGS:"):
		return max(r.Status, backup.Warning)
	case text == "unknown":
		return backup.Unknown
	}
	return backup.Critical
}

// judgePrune tells of a prune job that keeps less than the policy wants.
func judgePrune(s *source, want backup.Keep, j pbs.Job) []Problem {
	if j.Keep == (backup.Keep{}) || want == (backup.Keep{}) {
		return nil
	}
	less := max(want.Daily-j.Keep.Daily, want.Weekly-j.Keep.Weekly, want.Monthly-j.Keep.Monthly, want.Yearly-j.Keep.Yearly, want.Hourly-j.Keep.Hourly)
	if less <= 0 || j.Keep.Last >= want.Daily && want.Weekly+want.Monthly+want.Yearly+want.Hourly == 0 {
		return nil
	}
	return []Problem{found(backup.Warning, "prune-keeps-less", s.name+"/"+j.ID,
		fmt.Sprintf("Prune job %s of %s keeps %s, the policy wants %s", j.ID, s.title, keepText(j.Keep), keepText(want)),
		"Make the two agree: Datastore > Prune & GC Jobs, or keep in ["+s.name+"]")}
}

// judgeGC judges garbage collection: without it pruned data is never freed. A
// failed one keeps the counters of the one before.
func judgeGC(s *source, f pbs.Facts, now time.Time) []Problem {
	var out []Problem
	if f.GCStatus.StillBad > 0 {
		out = append(out, found(backup.Critical, "bad-chunks", s.name,
			fmt.Sprintf("%s holds %s that garbage collection found corrupt", s.title, counted(int(f.GCStatus.StillBad), "chunk")),
			"Verify the datastore to learn which backups lack them, back those guests up anew, and check the disk", fmt.Sprintf("bad=%d", f.GCStatus.StillBad)))
	}
	if f.GC == nil || len(f.Snapshots) == 0 {
		return out
	}
	run := f.GC.LastRun
	hint := "Datastore > Prune & GC Jobs: schedule it, or now: proxmox-backup-manager garbage-collection start " + either(f.Datastore, "DATASTORE")
	switch status := runStatus(run); {
	case run.Running():
	case run.Started.IsZero() && run.Ended.IsZero() && run.Text == "":
		out = append(out, found(backup.Warning, "gc-never", s.name, s.title+" has never collected garbage: what is pruned is not freed", hint))
	case status == backup.Critical:
		out = append(out, found(backup.Warning, "gc-failed", s.name, fmt.Sprintf("Garbage collection of %s failed: %s", s.title, sentence(run.Text)), hint))
	case status == backup.Warning:
		out = append(out, found(backup.Warning, "gc-warnings", s.name, fmt.Sprintf("Garbage collection of %s ended with warnings: %s", s.title, sentence(run.Text)), hint))
	case lastOf(run).After(now.Add(clockTolerance)):
		out = append(out, found(backup.Unknown, "gc-future", s.name, fmt.Sprintf("When %s last collected garbage is not known: its run carries %s", s.title, odd(lastOf(run), now)), "Set the server's clock by NTP (timedatectl status)"))
	case !lastOf(run).IsZero() && now.Sub(lastOf(run)) > gcMaxAge:
		out = append(out, found(backup.Warning, "gc-old", s.name, fmt.Sprintf("%s last collected garbage %s ago, the limit is %s", s.title,
			backup.Age(now.Sub(lastOf(run))), backup.Age(gcMaxAge)), hint))
	}
	return out
}

func lastOf(r backup.Run) time.Time {
	if r.Ended.IsZero() {
		return r.Started
	}
	return r.Ended
}

// judgeUsage judges the datastore's fill level where no disk is watched for it.
func judgeUsage(s *source, f pbs.Facts, now time.Time) []Problem {
	u := f.Usage
	var out []Problem
	if f.CacheUsage() {
		return nil
	}
	if u.Used+u.Available > 0 {
		if p := fillProblem("datastore-full", s.name, s.title, float64(u.Used)/float64(u.Used+u.Available), fillWarning, fillCritical); p != nil {
			p.Hint = "Prune and collect garbage (Datastore > Prune & GC Jobs), or enlarge it"
			out = append(out, *p)
		}
	}
	if left := u.Full.Sub(now); !u.Full.IsZero() && left > 0 && left < fullSoon {
		out = append(out, found(backup.Warning, "datastore-full-soon", s.name,
			fmt.Sprintf("%s will be full in %s by its own estimate, the limit is %s", s.title, backup.Age(left), backup.Age(fullSoon)),
			"Keep less, collect garbage, or enlarge it"))
	}
	return out
}

func newestFirst(all []proxmox.GuestBackup) []proxmox.GuestBackup {
	return sortedBy(all, func(a, b proxmox.GuestBackup) int { return b.Started.Compare(a.Started) })
}
