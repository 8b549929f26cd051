package tui

import (
	"fmt"
	"slices"
	"strings"

	"cairn/internal/backup"
	"cairn/proxmox"
)

// unread says that the latest attempt failed and how old the facts are.
func unread[T any](m *Model, o backup.Observed[T]) []section {
	switch {
	case o.Err != nil && o.Known():
		return []section{{title: "LAST FACTS", text: []line{say(doubt, "Read "+m.ago(o.At)+". The latest attempt failed: "+o.Err.Error())}}}
	case o.Err != nil:
		return []section{{title: "FACTS", text: []line{say(doubt, "Never read. The latest attempt failed: "+o.Err.Error())}}}
	}
	return nil
}

func (m *Model) proxmoxSections(name string) []section {
	seen, ok := m.state.Facts.Proxmox[name]
	if !ok {
		return nil
	}
	out := unread(m, seen)
	if !seen.Known() {
		return out
	}
	f := seen.Value
	return append(out, m.pveServer(f), m.pveGuests(f), m.pveStorages(f), m.pveJobs(f), m.runs("RECENT TASKS", f.Runs), gaps(pveGaps(f)))
}

func (m *Model) pveServer(f proxmox.Facts) section {
	s := section{title: "SERVER"}
	s.word("version", or(f.Version, "not known"))
	s.word("endpoint", f.Endpoint)
	var nodes []string
	for _, n := range f.Nodes {
		if n.Online {
			nodes = append(nodes, n.Name)
		} else {
			nodes = append(nodes, n.Name+" (offline)")
		}
	}
	s.word("nodes", or(strings.Join(nodes, ", "), "not known"))
	if skewed(f.Skew) {
		s.fact("clock", say(caution, "differs from ours by "+long(f.Skew.Abs())))
	}
	if n := len(f.NotBackedUp); n > 0 {
		s.fact("in no job", say(caution, guestNumbers(f.NotBackedUp)))
	}
	return s
}

func guestNumbers(ids []int) string {
	text := make([]string, len(ids))
	for i, id := range ids {
		text[i] = fmt.Sprint(id)
	}
	return strings.Join(text, ", ")
}

func (m *Model) pveGuests(f proxmox.Facts) section {
	s := section{title: "GUESTS", none: "no guest, or none that the token may see",
		cols: []column{{title: "ID", right: true}, {title: "NAME", grows: true}, {title: "KIND", drop: 4}, {title: "NODE", drop: 6}, {title: "STATE"},
			{title: "SNAPSHOTS", right: true, drop: 1}, {title: "NEWEST", drop: 3}, {title: "DISKS", right: true, drop: 5}, {title: "", drop: 2}}}
	for _, g := range f.Guests {
		state := words("stopped")
		switch {
		case g.Lock != "":
			state = say(caution, "locked: "+g.Lock)
		case g.Template:
			state = say(faint, "template")
		case g.Unsure:
			state = say(caution, "not known")
		case g.Running:
			state = say(good, "running")
		}
		kind := "VM"
		if g.Kind == proxmox.LXC {
			kind = "CT"
		}
		newest, total, note := "-", int64(0), ""
		if n := len(g.Snapshots); n > 0 {
			newest = m.age(g.Snapshots[n-1].Taken)
		}
		for _, d := range g.Disks {
			total += d.Size
			if d.NoBackup {
				note = "a disk is not backed up"
			}
		}
		if slices.ContainsFunc(g.Snapshots, func(s proxmox.Snapshot) bool { return s.State != "" }) {
			note = "a snapshot is incomplete"
		}
		snapshots := fmt.Sprint(len(g.Snapshots))
		if g.SnapshotsAt.IsZero() {
			snapshots = "?"
		}
		s.row(fmt.Sprint(g.VMID), words(fmt.Sprint(g.VMID)), words(g.Name), words(kind), words(g.Node), state,
			words(snapshots), words(newest), words(sizeOr(total)), say(caution, note))
		s.opens("asset:" + proxmox.Asset(f.Name, g.VMID).String())
	}
	return s
}

func sizeOr(n int64) string {
	if n <= 0 {
		return "?"
	}
	return size(n)
}

func (m *Model) pveStorages(f proxmox.Facts) section {
	s := section{title: "STORAGES", none: "no storage, or none that the token may see",
		cols: []column{{title: "NAME", grows: true}, {title: "NODE", drop: 2}, {title: "TYPE", drop: 5}, {title: "USED", right: true}, {title: "OF", right: true, drop: 3}, {title: "META", right: true, drop: 4}, {title: "", grows: true, drop: 1}}}
	for _, st := range f.Storages {
		used, total, note := percent(st.Used, st.Total), sizeOr(st.Total), line(nil)
		switch {
		case !st.Enabled:
			note = say(faint, "disabled")
		case !st.Active:
			note = say(alarm, "not reachable")
		case st.NewestOnly:
			note = words("only the newest snapshot rolls back")
		case st.Datastore != "":
			note = words(strings.TrimSuffix(st.Server+" "+st.Datastore+" "+st.Namespace, " "))
		}
		meta := "-"
		if st.Meta != nil {
			meta = percent(st.Meta.Used, st.Meta.Total)
		}
		s.row(st.Node+"/"+st.Name, words(st.Name), words(st.Node), words(st.Type), words(used), words(total), words(meta), note)
	}
	return s
}

func (m *Model) pveJobs(f proxmox.Facts) section {
	s := section{title: "BACKUP JOBS", none: "no backup job, or none that the token may see",
		cols: []column{{title: "JOB", grows: true}, {title: "SCHEDULE", drop: 1}, {title: "NEXT"}, {title: "STORAGE", drop: 3}, {title: "GUESTS", grows: true, drop: 2}, {title: "MODE", drop: 4}}}
	for _, j := range f.Jobs {
		guests := guestNumbers(j.VMIDs)
		if j.All {
			guests = "all"
			if len(j.Exclude) > 0 {
				guests += " but " + guestNumbers(j.Exclude)
			}
		}
		if j.Pool != "" {
			guests = "pool " + j.Pool
		}
		next := words(m.clock(j.NextRun))
		if !j.Enabled {
			next = say(caution, "disabled")
		}
		s.row(j.ID, words(j.ID), words(j.Schedule), next, words(j.Storage), words(guests), words(j.Mode))
	}
	return s
}

// runs lists what a system did lately, newest first.
func (m *Model) runs(title string, all []backup.Run) section {
	s := section{title: title, none: "none that is known",
		cols: []column{{title: "WHEN"}, {title: "TOOK", drop: 2}, {title: "WHAT"}, {title: "ON", grows: true, most: 24, drop: 1}, {title: "RESULT"}, {title: "", grows: true, drop: 3}}}
	for i, r := range all {
		if i == 50 {
			break
		}
		took, result := "-", say(toneOf(r.Status), statusWord(r.Status))
		switch {
		case r.Running():
			result = words("running")
		case !r.Ended.IsZero() && !r.Started.IsZero():
			took = backup.Age(r.Ended.Sub(r.Started))
		}
		id := r.ID
		if id == "" {
			id = fmt.Sprint(r.Job, r.Subject, r.Started.Unix(), i)
		}
		text := r.Text
		if strings.EqualFold(text, "OK") {
			text = ""
		}
		s.row(id, words(m.clock(r.Started)), words(took), words(r.Job), words(r.Subject), result, words(text))
	}
	return s
}

// gap is something that could not be read, or may not be.
type gapText struct{ what, why string }

// gaps tells what is missing from the facts above.
func gaps(all []gapText) section {
	s := section{}
	for i, g := range all {
		s.title = "NOT SEEN"
		if i == 12 {
			s.sentence(faint, fmt.Sprintf("… and %d more", len(all)-i))
			break
		}
		s.sentence(doubt, g.what+": "+g.why)
	}
	return s
}

func pveGaps(f proxmox.Facts) []gapText {
	var out []gapText
	for _, h := range f.Hidden {
		out = append(out, gapText{h.What, "the token lacks " + h.Privilege + " on " + h.Path})
	}
	for _, i := range f.Incomplete {
		out = append(out, gapText{i.Subject, i.Err})
	}
	return out
}
