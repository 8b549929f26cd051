package proxmox

import (
	"slices"
	"strings"

	"cairn/internal/backup"
)

// archive is a row of a storage's backup content.
type archive struct {
	Volume    text   `json:"volid"`
	VMID      number `json:"vmid"`
	Time      number `json:"ctime"`
	Size      number `json:"size"`
	Guess     number `json:"approximate-size"`
	Kind      text   `json:"subtype"`
	Notes     text   `json:"notes"` // their first line
	Protected flag   `json:"protected"`
	Encrypted text   `json:"encrypted"` // a fingerprint, or 1
	Content   text   `json:"content"`
}

// archives are those of one storage.
type archives struct {
	storage string
	files   []archive
}

// kept is how many backup runs of a guest the facts hold.
const kept = 10

// guestBackups are the guests' latest vzdump runs, newest first.
func (m *memory) guestBackups() []GuestBackup {
	var all []GuestBackup
	for _, t := range m.backupTasks() {
		all = append(all, guestBackups(t, m.logs[t.UPID])...)
	}
	slices.SortStableFunc(all, func(a, b GuestBackup) int { return b.Started.Compare(a.Started) })
	count := map[int]int{}
	return slices.DeleteFunc(all, func(b GuestBackup) bool {
		count[b.VMID]++
		return count[b.VMID] > kept
	})
}

// guestBackups splits a vzdump task by guest. Without its log only a task of one
// guest says whom it was about.
func guestBackups(t Task, l *vzdumpLog) []GuestBackup {
	whole := GuestBackup{VMID: t.VMID(), Node: t.Node, UPID: t.UPID, Started: t.Started, Ended: t.Ended,
		Status: t.Status(), Text: complaint(t)}
	if l == nil {
		if whole.VMID == 0 {
			return nil
		}
		return []GuestBackup{whole}
	}
	whole.Storage = l.Storage
	var all []GuestBackup
	had := map[int]bool{}
	for _, id := range l.Skipped {
		had[id] = true
	}
	spans := place(l.Parts, t.Started, t.Ended)
	for i, p := range l.Parts {
		had[p.VMID] = true
		b := whole
		b.VMID, b.Started, b.Ended = p.VMID, spans[i].start, spans[i].end
		b.Status, b.Consistency, b.Archive = p.Status(), p.Consistency(), p.Archive
		b.Text = strings.Join(p.Warnings, "; ")
		if p.Failure != "" {
			b.Text = p.Failure
		} else if !p.Finished && !t.Running { // it was cut short in this guest
			b.Status, b.Text = backup.Critical, t.Exit
		}
		all = append(all, b)
	}
	asked := l.Asked
	if len(asked) == 0 && whole.VMID > 0 {
		asked = []int{whole.VMID}
	}
	for _, id := range asked { // asked for, but never begun
		if !had[id] && !t.Running && t.Status() != backup.OK {
			b := whole
			b.VMID, b.Status = id, backup.Critical
			all = append(all, b)
		}
	}
	return all
}

// complaint is the exit text where it is not just OK.
func complaint(t Task) string {
	if t.Exit == "OK" {
		return ""
	}
	return t.Exit
}

// jobNames are the tasks that make, use or remove copies.
var jobNames = map[string]string{
	"vzdump": "backup", "qmsnapshot": "snapshot", "vzsnapshot": "snapshot", "qmrollback": "rollback", "vzrollback": "rollback",
	"qmdelsnapshot": "delete snapshot", "vzdelsnapshot": "delete snapshot", "qmrestore": "restore", "vzrestore": "restore",
}

// runs are the recent tasks that make, use or remove copies, newest first. The
// status of one that still runs is unknown.
func (m *memory) runs(cluster string) []backup.Run {
	var tasks []Task
	for _, t := range m.tasks {
		if jobNames[t.Type] != "" {
			tasks = append(tasks, t)
		}
	}
	newestFirst(tasks)
	var all []backup.Run
	for _, t := range tasks {
		r := backup.Run{Source: source(cluster), Job: jobNames[t.Type], Started: t.Started, Ended: t.Ended,
			Status: t.Status(), Text: t.Exit, ID: t.UPID}
		if id := t.VMID(); id > 0 {
			r.Subject = Asset(cluster, id).String()
		}
		all = append(all, r)
	}
	return all
}

func source(cluster string) string { return "proxmox." + cluster }

// snapshotCopies are the guests' snapshots as copies: they lie on the live
// medium. A time in the future is kept as it is; an unknown one is zero.
func snapshotCopies(cluster string, guests []Guest) []backup.Copy {
	var copies []backup.Copy
	for _, g := range guests {
		for _, s := range g.Snapshots {
			if s.OfBackup() {
				continue // it is gone when the backup is done
			}
			c := backup.Copy{Asset: Asset(cluster, g.VMID), Tier: backup.LocalRollback, Source: source(cluster),
				ID: Asset(cluster, g.VMID).Name + "/" + s.Name, Kind: "snapshot", Medium: backup.LiveMedium,
				Site: backup.HomeSite, Taken: s.Taken, State: backup.Complete}
			switch s.State {
			case "":
			case "prepare":
				c.State = backup.InFlight
				c.Why = "it is being made, or its making was cut short (snapstate prepare)"
			default:
				c.State = backup.Torn
				c.Why = "its last change did not end (snapstate " + printable(s.State) + ")"
			}
			copies = append(copies, c)
		}
	}
	return copies
}

// archiveCopies are the vzdump archives on storages other than PBS. One that
// several nodes list under the same name is one: a directory that all of them
// mount, without being marked as shared.
func (m *memory) archiveCopies(cluster string, runs []GuestBackup) []backup.Copy {
	byArchive := map[string]GuestBackup{}
	for _, b := range runs {
		if b.Archive != "" {
			byArchive[b.Archive] = b
		}
	}
	var copies []backup.Copy
	seen := map[text]bool{}
	for _, at := range m.archives {
		for _, a := range at.files {
			if a.VMID <= 0 || a.Volume == "" || a.foreign() || seen[a.Volume] {
				continue
			}
			seen[a.Volume] = true
			c := backup.Copy{Asset: Asset(cluster, int(a.VMID)), Tier: backup.DurableLocal, Source: source(cluster),
				ID: string(a.Volume), Kind: "backup", Medium: source(cluster) + "/" + at.storage, Site: backup.HomeSite,
				Taken: a.taken(), Size: max(int64(a.Size), int64(a.Guess), 0), Protected: bool(a.Protected),
				Safety:    a.renamed() || strings.HasPrefix(string(a.Notes), backup.SafetyComment),
				Encrypted: a.Encrypted != "" && a.Encrypted != "0", State: backup.Complete}
			if b, ok := byArchive[string(a.Volume[strings.LastIndexByte(string(a.Volume), '/')+1:])]; ok {
				c.Consistency = b.Consistency
				if b.Status == backup.OK || b.Status == backup.Warning {
					c.Finished = b.Ended
				}
			}
			copies = append(copies, c)
		}
	}
	slices.SortFunc(copies, func(a, b backup.Copy) int {
		if c := a.Taken.Compare(b.Taken); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return copies
}
