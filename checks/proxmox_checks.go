package checks

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"cairn/internal/backup"
	"cairn/proxmox"
)

// judgeProxmox judges what concerns a cluster itself: nodes, snapshots, locks,
// storages, and what its token may not see.
func (l *lab) judgeProxmox(s *source) []Problem {
	name := strings.TrimPrefix(s.name, "proxmox.")
	f := l.facts.Proxmox[name].Value
	out := judgeClock(s, f.Skew)
	out = append(out, judgeNodes(s, f)...)
	out = append(out, l.judgeSnapshotAge(s, name, f)...)
	out = append(out, l.judgeBroken(s, f)...)
	out = append(out, l.judgeStorages(name, f)...)
	out = append(out, l.judgeVzdumps(s, f)...)
	out = append(out, l.judgeLeftOut(s, name)...)
	return append(out, l.judgeCoverage(name)...)
}

// judgeNodes tells of nodes that are down and of what else could not be read:
// the one usually explains the other.
func judgeNodes(s *source, f proxmox.Facts) []Problem {
	var down, unread, hidden []string
	for _, n := range f.Nodes {
		if !n.Online {
			down = append(down, n.Name)
		}
	}
	first := ""
	for _, i := range f.Incomplete {
		if rest, ok := strings.CutPrefix(i.Subject, "backups on storage "); ok && !holdsBackups(f, rest) {
			continue
		}
		if unread = append(unread, i.Subject); first == "" {
			first = ": " + sentence(i.Err)
		}
	}
	for _, h := range f.Hidden {
		// An auditor sees no archives; where nobody writes any, that is no loss.
		if storage, ok := strings.CutPrefix(h.What, "backups on storage "); !ok || usedForBackups(f, storage) {
			hidden = append(hidden, h.What+" ("+h.Privilege+" on "+h.Path+")")
		}
	}
	var out []Problem
	switch {
	case len(down) > 0:
		text := fmt.Sprintf("%s of %s %s offline: %s", counted(len(down), "node"), s.title, verb(len(down), "is", "are"), listed(down))
		status := backup.Warning
		if len(unread) > 0 {
			status, text = backup.Unknown, text+"; not read because of that: "+listed(unread)
		}
		out = append(out, found(status, "node-offline", s.name, text, "Start the node, or remove it from the cluster: its guests are neither running nor backed up", down...))
	case len(unread) > 0:
		out = append(out, found(backup.Unknown, "incomplete", s.name,
			fmt.Sprintf("%s could not be read in full, missing: %s%s", s.title, listed(unread), first), "Look again: cairn check --only "+s.name, unread...))
	}
	if why := hiddenGuests(f); why != "" && len(unread) == 0 {
		out = append(out, found(backup.Unknown, "hidden", s.name, fmt.Sprintf("%s may hide guests: %s", s.title, why),
			"Give user and token the role PVEAuditor on / (pveum acl modify / --tokens USER@REALM!NAME --roles PVEAuditor)"))
	} else if len(hidden) > 0 {
		out = append(out, found(backup.Warning, "hidden", s.name, fmt.Sprintf("The token of %s may not read: %s", s.title, listed(hidden)),
			"Give user and token that privilege (pveum acl modify PATH --tokens USER@REALM!NAME --roles ROLE)", hidden...))
	}
	return out
}

// judgeSnapshotAge tells of snapshots older than max_age: each holds on to all
// blocks that were overwritten since, and fills thin pools.
func (l *lab) judgeSnapshotAge(s *source, cluster string, f proxmox.Facts) []Problem {
	limit := l.policy.Proxmox[cluster].Snapshots.MaxAge.Std()
	if limit <= 0 {
		return nil
	}
	var labels, grade []string
	var oldest time.Duration
	for i := range f.Guests {
		g := &f.Guests[i]
		for _, snap := range g.Snapshots {
			if snap.Taken.IsZero() {
				continue
			}
			if age := l.now.Sub(snap.Taken); age > limit {
				labels = append(labels, l.label(l.guests[guestID(cluster, g.VMID)])+" "+snap.Name)
				grade = append(grade, strconv.Itoa(g.VMID)+"/"+snap.Name)
				oldest = max(oldest, age)
			}
		}
	}
	if len(labels) == 0 {
		return nil
	}
	return []Problem{found(backup.Warning, "snapshot-old", s.name,
		fmt.Sprintf("%s older than %s on %s, the oldest %s: %s", counted(len(labels), "snapshot"), backup.Age(limit), s.title, backup.Age(oldest), listed(labels)),
		"Delete those that nobody needs: cairn snapshot delete GUEST NAME", grade...)}
}

// judgeBroken tells of snapshots that are not complete and of locks that an
// interrupted task left behind.
func (l *lab) judgeBroken(s *source, f proxmox.Facts) []Problem {
	var broken, locked, grade, lockGrade []string
	unlock := ""
	if slices.ContainsFunc(f.Hidden, func(h proxmox.Hidden) bool { return h.Privilege == "Sys.Audit" && strings.HasPrefix(h.Path, "/nodes") }) {
		return nil // whether a task of somebody else explains it cannot be seen
	}
	for i := range f.Guests {
		g := &f.Guests[i]
		if taskRuns(f, guestID(f.Name, g.VMID), g.VMID) {
			continue
		}
		label := l.label(l.guests[guestID(strings.TrimPrefix(s.name, "proxmox."), g.VMID)])
		for _, snap := range g.Snapshots {
			if snap.State != "" || snap.OfBackup() {
				broken = append(broken, fmt.Sprintf("%s %s (%s)", label, snap.Name, either(snap.State, "a backup left it, and the next one fails")))
				grade = append(grade, strconv.Itoa(g.VMID)+"/"+snap.Name)
			}
		}
		if g.Lock != "" && !harmlessLock(g.Lock) {
			locked = append(locked, label+" ("+g.Lock+")")
			lockGrade = append(lockGrade, strconv.Itoa(g.VMID))
			if unlock == "" {
				unlock = fmt.Sprintf("on node %s: %s unlock %d", g.Node, tool(g.Kind), g.VMID)
			}
		}
	}
	var out []Problem
	if len(broken) > 0 {
		out = append(out, found(backup.Warning, "snapshot-incomplete", s.name,
			fmt.Sprintf("%s on %s %s not complete, and no task works on %s: %s", counted(len(broken), "snapshot"), s.title,
				verb(len(broken), "is", "are"), verb(len(broken), "it", "them"), listed(broken)),
			"They cannot be rolled back to; remove them: qm delsnapshot VMID NAME --force (pct for a container)", grade...))
	}
	if len(locked) > 0 {
		out = append(out, found(backup.Warning, "locked", s.name,
			fmt.Sprintf("%s on %s %s locked, and no task works on %s: %s", counted(len(locked), "guest"), s.title,
				verb(len(locked), "is", "are"), verb(len(locked), "it", "them"), listed(locked)),
			"It cannot be backed up, nor rolled back. If no task runs there, "+unlock+" (no API token may do it)", lockGrade...))
	}
	return out
}

func tool(kind proxmox.GuestKind) string {
	if kind == proxmox.LXC {
		return "pct"
	}
	return "qm"
}

// harmlessLock: a suspended guest stays locked for as long as it sleeps.
func harmlessLock(lock string) bool { return lock == "suspended" }

// taskRuns says whether a task that is under way explains the state of a guest.
func taskRuns(f proxmox.Facts, id backup.AssetID, vmid int) bool {
	for i := range f.Runs {
		if r := &f.Runs[i]; r.Running() {
			_, name, _ := strings.Cut(r.Subject, "/")
			if r.Subject == "" || r.Subject == id.String() || r.Subject == id.Name || name == id.Name {
				return true
			}
		}
	}
	for i := range f.Backups {
		if b := &f.Backups[i]; b.VMID == vmid && b.Ended.IsZero() && !b.Started.IsZero() {
			return true
		}
	}
	return false
}

// judgeStorages judges the fill level of storages that hold guests, a thin
// pool's metadata too, and whether those that restores read from are there.
func (l *lab) judgeStorages(cluster string, f proxmox.Facts) []Problem {
	var out []Problem
	for _, st := range toJudge(f) {
		name := storageName(st)
		subject := "proxmox." + cluster + "/" + strings.ReplaceAll(name, " on ", "@")
		if !st.Active {
			if st.Type == "pbs" && l.restoresFrom(cluster, st.Name) {
				out = append(out, found(backup.Warning, "storage-inactive", subject,
					fmt.Sprintf("Proxmox %s cannot reach storage %s, which restores read from", cluster, name),
					"See that the PBS is up and its password, fingerprint and namespace still hold: pvesm status --storage "+st.Name))
			}
			continue
		}
		if st.Type == "pbs" || st.Total <= 0 {
			continue
		}
		if limit, hint := fillOf(st); hint != "" {
			if p := fillProblem("storage-full", subject, "Storage "+name+" of Proxmox "+cluster, float64(st.Used)/float64(st.Total), fillWarning, limit); p != nil {
				p.Hint = hint
				out = append(out, *p)
			}
		}
		if st.Meta != nil && st.Meta.Total > 0 {
			if p := fillProblem("storage-metadata", subject, "The metadata of thin pool "+name+" of Proxmox "+cluster, float64(st.Meta.Used)/float64(st.Meta.Total), fillWarning, fillCritical); p != nil {
				p.Hint = "Enlarge it before it is full, a full one is hard to mend: lvextend --poolmetadatasize +1G VG/POOL"
				out = append(out, *p)
			}
		}
	}
	return out
}

// toJudge are the storages that are in use, a shared one as a node sees it that
// reaches it: one node that is off hides no storage, and is told of by itself.
func toJudge(f proxmox.Facts) []*proxmox.Storage {
	var all []*proxmox.Storage
	at := map[string]int{}
	for i := range f.Storages {
		st := &f.Storages[i]
		off := slices.ContainsFunc(f.Nodes, func(n proxmox.Node) bool { return n.Name == st.Node && !n.Online })
		if !st.Enabled || off && !st.Active {
			continue
		}
		known, ok := at[storageName(st)]
		switch {
		case !ok:
			at[storageName(st)] = len(all)
			all = append(all, st)
		case st.Active && !all[known].Active:
			all[known] = st
		}
	}
	return all
}

// storageName is what a person calls a storage; of one that is not shared each node
// has its own.
func storageName(st *proxmox.Storage) string {
	if !st.Shared && st.Node != "" {
		return st.Name + " on " + st.Node
	}
	return st.Name
}

// fillOf is the ratio from which a storage's fill level is critical, and what to
// do about it; no hint: a full one harms neither guests nor backups.
func fillOf(st *proxmox.Storage) (critical float64, hint string) {
	holds := func(what string) bool { return slices.Contains(st.Content, what) }
	const never = 2 // a storage is never as full as that
	switch {
	case (holds("images") || holds("rootdir")) && st.Type == "lvm":
		return never, "New volumes and snapshots will not fit; those that are there have all their room: extend the volume group"
	case holds("images"), holds("rootdir"), len(st.Content) == 0:
		return fillCritical, "Delete old snapshots first (cairn snapshot list), then see what else fills it: a full pool stops every guest on it"
	case holds("backup"):
		return fillCritical, "Remove old archives, or keep fewer (Datacenter > Storage > Backup Retention): the next backup fails where there is no room"
	}
	return never, ""
}

// restoresFrom says whether restores read from a storage whose PBS answers us:
// one that does not tells of itself.
func (l *lab) restoresFrom(cluster, storage string) bool {
	return slices.ContainsFunc(l.sources, func(s *source) bool {
		name, ok := strings.CutPrefix(s.name, "pbs.")
		return ok && s.usableNow() && slices.Contains(l.policy.PBS[name].ProxmoxStorages, cluster+"/"+storage)
	})
}

// judgeVzdumps tells of guests whose latest backup failed or gave warnings.
func (l *lab) judgeVzdumps(s *source, f proxmox.Facts) []Problem {
	cluster := strings.TrimPrefix(s.name, "proxmox.")
	seen := map[int]bool{}
	lists, grade, reason := map[backup.Status][]string{}, map[backup.Status][]string{}, map[backup.Status]string{}
	for _, b := range newestFirst(f.Backups) {
		if seen[b.VMID] || b.Ended.IsZero() {
			continue
		}
		seen[b.VMID] = true
		g, ok := l.guests[guestID(cluster, b.VMID)]
		if !ok || g.parked != "" || b.Status == backup.OK {
			continue
		}
		lists[b.Status] = append(lists[b.Status], l.label(g))
		grade[b.Status] = append(grade[b.Status], g.id.String())
		if reason[b.Status] == "" {
			reason[b.Status] = sentence(b.Text)
		}
	}
	var out []Problem
	for _, status := range []backup.Status{backup.Critical, backup.Unknown, backup.Warning} {
		labels := lists[status]
		if len(labels) == 0 {
			continue
		}
		code, what := "backup-failed", "failed"
		switch status {
		case backup.Warning:
			code, what = "backup-warnings", "ended with warnings"
		case backup.Unknown:
			code, what = "backup-unclear", "has an unknown end"
		}
		// The copies that were made before still count: freshness tells when they no longer do.
		out = append(out, found(min(status, backup.Unknown), code, s.name,
			fmt.Sprintf("The latest backup of %s %s: %s", listed(labels), what, either(reason[status], "no reason given")),
			"Read the task's log (the node's Task History), then back up again: vzdump VMID --storage STORAGE", grade[status]...))
		if status == backup.Critical {
			out[len(out)-1].Status = backup.Warning
			out[len(out)-1].Fingerprint = fingerprint(backup.Warning, grade[status])
		}
	}
	return out
}

// judgeLeftOut tells of volumes that no backup holds: backup=0 on a VM's disk,
// and a container's mount points unless they say backup=1.
func (l *lab) judgeLeftOut(s *source, cluster string) []Problem {
	var labels, grade []string
	bound := true
	for _, id := range l.guestIDs() {
		g := l.guests[id]
		if g.cluster != cluster || g.parked != "" {
			continue
		}
		for _, d := range g.Disks {
			if d.NoBackup && !strings.HasPrefix(d.Key, "unused") {
				labels, grade = append(labels, l.label(g)+" "+d.Key), append(grade, id.String()+" "+d.Key)
				bound = bound && d.Storage == "" && g.Kind == proxmox.LXC
			}
		}
		for _, path := range g.HostMounts {
			labels, grade = append(labels, l.label(g)+" "+path), append(grade, id.String()+" "+path)
		}
	}
	if len(labels) == 0 {
		return nil
	}
	if bound {
		return []Problem{found(backup.Warning, "left-out", s.name,
			fmt.Sprintf("%s of %s %s in no backup of a guest, as PVE never backs those up: %s", counted(len(labels), "bind mount"), s.title, verb(len(labels), "is", "are"), listed(labels)),
			"Back the directory on the host up by other means (restic), or acknowledge that its data is not needed", grade...)}
	}
	return []Problem{found(backup.Warning, "left-out", s.name,
		fmt.Sprintf("%s of %s %s in no backup: %s", counted(len(labels), "volume"), s.title, verb(len(labels), "is", "are"), listed(labels)),
		"Set backup=1 on it (the guest's Hardware or Resources), or acknowledge that its data is not needed", grade...)}
}
