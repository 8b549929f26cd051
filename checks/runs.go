package checks

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"cairn/internal/backup"
	"cairn/pbs"
	"cairn/proxmox"
)

// pbsAway says why a datastore's copies cannot be reached although the server
// answers.
func (l *lab) pbsAway(s *source, f pbs.Facts) string {
	if d, ok := l.disks[s.disk]; ok && d.gone != "" {
		return d.gone
	}
	if !s.reach.known {
		return ""
	}
	if !f.Mounted() {
		return "the datastore is not mounted"
	}
	mode, _, _ := strings.Cut(f.Maintenance, ":")
	switch mode = strings.TrimSpace(mode); mode {
	case "", "read-only":
		return ""
	}
	return "the datastore is in maintenance: " + sentence(f.Maintenance)
}

// hiddenRows says why backup snapshots may be missing from a datastore's listing.
func hiddenRows(f pbs.Facts) string {
	if len(f.Unread) == 0 {
		return ""
	}
	what := "namespace " + strings.Join(f.Unread, ", ") + " could not be read"
	if slices.Contains(f.Unread, "**") {
		what = "which namespaces there are could not be read"
	} else if len(f.Unread) == 1 && f.Unread[0] == "" {
		what = "its root namespace could not be read"
	}
	for _, i := range f.Incomplete {
		if strings.Contains(i.Subject, "snapshots") || strings.Contains(i.Subject, "namespace") {
			return what + ": " + sentence(i.Err)
		}
	}
	for _, h := range f.Hidden {
		if strings.HasPrefix(h.Path, "/datastore") {
			return what + ": the token lacks " + h.Privilege + " on " + h.Path
		}
	}
	return what
}

// hiddenGuests says why guests may be missing from a cluster's listing.
func hiddenGuests(f proxmox.Facts) string {
	for _, h := range f.Hidden {
		if h.Privilege == "VM.Audit" {
			return "the token lacks " + h.Privilege + " on " + h.Path
		}
	}
	for _, i := range f.Incomplete {
		if strings.HasPrefix(i.Subject, "guests,") || i.Subject == "guests" {
			return "the guests could not be read: " + sentence(i.Err)
		}
	}
	if len(f.Guests) == 0 {
		return "no guest is listed"
	}
	return ""
}

// vzdumps are the guests' parts of vzdump tasks that write to a datastore,
// newest first.
func (l *lab) vzdumps(cfg pbs.Config) []proxmox.GuestBackup {
	var out []proxmox.GuestBackup
	for _, cluster := range names(l.policy.Proxmox, l.facts.Proxmox) {
		for _, b := range l.facts.Proxmox[cluster].Value.Backups {
			if slices.Contains(cfg.ProxmoxStorages, cluster+"/"+b.Storage) {
				out = append(out, b)
			}
		}
	}
	slices.SortStableFunc(out, func(a, b proxmox.GuestBackup) int { return b.Started.Compare(a.Started) })
	return out
}

// usualVzdump is the median duration of the vzdump tasks that the facts hold,
// for when the history has learned none.
func (l *lab) usualVzdump(cfg pbs.Config) time.Duration {
	type span struct{ from, to time.Time }
	tasks := map[string]span{}
	for _, b := range l.vzdumps(cfg) {
		if b.Ended.Before(b.Started) {
			continue
		}
		t, ok := tasks[b.UPID]
		if !ok || b.Started.Before(t.from) {
			t.from = b.Started
		}
		if b.Ended.After(t.to) {
			t.to = b.Ended
		}
		tasks[b.UPID] = t
	}
	var all []time.Duration
	for _, t := range tasks {
		all = append(all, t.to.Sub(t.from))
	}
	return median(all)
}

// median of nothing is the zero value.
func median[T cmp.Ordered](all []T) T {
	var zero T
	if len(all) == 0 {
		return zero
	}
	sorted := slices.Clone(all)
	slices.Sort(sorted)
	return sorted[len(sorted)/2]
}

// pbsRuns finds the backup that runs now and the last one that ended, from the
// server's tasks, the clusters' tasks and the uploads that are under way.
func (l *lab) pbsRuns(s *source, cfg pbs.Config, f pbs.Facts, plan schedule) (running, last *backup.Run) {
	runs := make([]backup.Run, 0, len(f.Runs))
	for _, r := range f.Runs {
		if r.Job == "backup" {
			runs = append(runs, r)
		}
	}
	for _, j := range f.Jobs {
		if pulls(j) && !j.LastRun.Started.IsZero() {
			run := j.LastRun
			run.Status = runStatus(run)
			runs = append(runs, run)
		}
	}
	for _, b := range l.vzdumps(cfg) {
		runs = append(runs, backup.Run{Source: s.name, Job: "backup", Started: b.Started, Ended: b.Ended,
			Status: b.Status, Text: vzdumpText(b), ID: b.UPID})
	}
	for i := range f.Snapshots {
		if b := &f.Snapshots[i]; b.InFlight && !f.TasksComplete && l.now.Sub(b.Time) <= plan.patience() && l.now.Sub(b.Time) < orphanAfter {
			runs = append(runs, backup.Run{Source: s.name, Job: "backup", Started: b.Time, Text: "an upload is under way"})
		}
	}
	return latest(runs, s.reach.current)
}

func vzdumpText(b proxmox.GuestBackup) string {
	if b.Status == backup.OK {
		return b.Text
	}
	return "guest " + strconv.Itoa(b.VMID) + ": " + b.Text
}

// latest splits runs into the newest one that is under way, if the system was
// just asked, and the newest that ended.
func latest(runs []backup.Run, current bool) (running, last *backup.Run) {
	for i := range runs {
		r := &runs[i]
		switch {
		case r.Running():
			if current && (running == nil || r.Started.After(running.Started)) {
				running = r
			}
		case r.Started.IsZero() && r.Ended.IsZero():
		case last == nil || r.Started.After(last.Started) || r.Started.Equal(last.Started) && r.Status > last.Status:
			last = r
		}
	}
	return running, last
}

// nextVzdump is when a cluster next writes to a datastore by its own schedule.
func (l *lab) nextVzdump(cfg pbs.Config) time.Time {
	var next time.Time
	for _, cluster := range names(l.policy.Proxmox, l.facts.Proxmox) {
		for _, j := range l.facts.Proxmox[cluster].Value.Jobs {
			if j.Enabled && j.NextRun.After(l.now) && slices.Contains(cfg.ProxmoxStorages, cluster+"/"+j.Storage) &&
				(next.IsZero() || j.NextRun.Before(next)) {
				next = j.NextRun
			}
		}
	}
	return next
}

// backupHint says how the guests of a datastore are backed up again.
func (l *lab) backupHint(cfg pbs.Config) string {
	storage := "STORAGE"
	if len(cfg.ProxmoxStorages) > 0 {
		_, storage, _ = strings.Cut(cfg.ProxmoxStorages[0], "/")
	}
	return "Read the backup task's log (Proxmox: Datacenter > Backup, and the node's Task History), then back up again: vzdump VMID --storage " + storage
}

// matchRuns tells each PBS copy how consistent it is: what the vzdump task that
// made it logged of the guest.
func (l *lab) matchRuns(s *source) {
	if len(l.facts.Past.Proofs) > 0 {
		for _, g := range s.groups {
			for i := range g.copies {
				c := &g.copies[i]
				c.Proofs = append(c.Proofs, l.facts.Past.Proofs[CopyKey(c.Source, c.ID)]...)
			}
		}
	}
	l.applyVerdicts(s)
	if s.kind != "pbs" {
		return
	}
	byGuest := map[backup.AssetID][]*proxmox.GuestBackup{}
	for _, cluster := range names(l.policy.Proxmox, l.facts.Proxmox) {
		all := l.facts.Proxmox[cluster].Value.Backups
		for i := range all {
			id := guestID(cluster, all[i].VMID)
			byGuest[id] = append(byGuest[id], &all[i])
		}
	}
	for _, g := range s.groups {
		for _, run := range byGuest[g.asset] {
			for i := range g.copies {
				if c := &g.copies[i]; c.Taken.Sub(run.Started).Abs() <= matchWindow {
					c.Consistency = run.Consistency
					c.Finished = run.Ended
				}
			}
		}
	}
}
