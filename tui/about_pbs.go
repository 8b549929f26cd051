package tui

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"cairn/pbs"
)

func (m *Model) pbsSections(name string) []section {
	seen, ok := m.state.Facts.PBS[name]
	if !ok {
		return nil
	}
	out := unread(m, seen)
	if !seen.Known() {
		return out
	}
	f := seen.Value
	return append(out, m.pbsStore(f), m.pbsNamespaces(f), m.pbsGroups(f), m.pbsJobs(f), m.runs("RECENT TASKS", f.Runs), gaps(pbsGaps(f)))
}

func skewed(d time.Duration) bool { return d.Abs() >= time.Minute }

func (m *Model) pbsStore(f pbs.Facts) section {
	s := section{title: "DATASTORE " + f.Datastore}
	s.word("version", or(f.Version, "not known"))
	if !f.Mounted() {
		s.fact("mounted", say(alarm, "no: its disk is not there"))
	}
	if f.Maintenance != "" {
		s.fact("maintenance", say(caution, f.Maintenance))
	}
	u := f.Usage
	switch {
	case u.Err != "":
		s.fact("usage", say(doubt, u.Err))
	case u.Total > 0:
		text := fmt.Sprintf("%s of %s, %s free", percent(u.Used, u.Total), size(u.Total), size(u.Available))
		if !u.Full.IsZero() {
			text += ", full on " + u.Full.In(m.o.Location).Format("2 Jan 2006") + " as PBS reckons"
		}
		s.word("usage", text)
	default:
		s.fact("usage", say(doubt, "not known"))
	}
	if g := f.GCStatus; g.DiskBytes > 0 {
		text := fmt.Sprintf("%s in %d chunks hold %s of backups", size(g.DiskBytes), g.DiskChunks, size(g.IndexBytes))
		if g.PendingBytes > 0 {
			text += ", " + size(g.PendingBytes) + " to be freed"
		}
		s.word("chunks", text)
		if g.StillBad > 0 {
			s.fact("bad chunks", say(alarm, fmt.Sprint(g.StillBad)))
		}
	}
	if skewed(f.Skew) {
		s.fact("clock", say(caution, "differs from ours by "+long(f.Skew.Abs())))
	}
	return s
}

// tallied counts backup snapshots: of a namespace, or of a group.
type tallied struct {
	key              string
	groups           map[string]bool
	all, ok, bad     int
	never, inFlight  int
	newest, verified time.Time
	size             int64
}

func tallyOf(all []pbs.Snapshot, key func(pbs.Snapshot) string) []*tallied {
	by := map[string]*tallied{}
	for _, s := range all {
		k := key(s)
		t := by[k]
		if t == nil {
			t = &tallied{key: k, groups: map[string]bool{}}
			by[k] = t
		}
		t.count(s)
	}
	out := make([]*tallied, 0, len(by))
	for _, t := range by {
		out = append(out, t)
	}
	slices.SortFunc(out, func(a, b *tallied) int { return cmp.Compare(a.key, b.key) })
	return out
}

func (t *tallied) count(s pbs.Snapshot) {
	t.groups[s.Type+"/"+s.ID] = true
	if s.InFlight {
		t.inFlight++
		return
	}
	t.all++
	switch s.Verify.State {
	case "ok":
		if s.Unreadable {
			t.bad++
		} else {
			t.ok++
		}
	case "":
		t.never++
	default:
		t.bad++
	}
	if s.Verify.At.After(t.verified) {
		t.verified = s.Verify.At
	}
	if s.Time.After(t.newest) {
		t.newest, t.size = s.Time, s.Size
	}
}

func (t *tallied) note() line {
	switch {
	case t.bad > 0:
		return say(alarm, fmt.Sprintf("%d FAILED verification", t.bad))
	case t.inFlight > 0:
		return words("one is being written")
	case t.all > 0 && t.ok == 0:
		return say(caution, "never verified")
	}
	return nil
}

func space(name string) string { return or(name, "(root)") }

func (m *Model) pbsNamespaces(f pbs.Facts) section {
	s := section{title: "NAMESPACES", none: "none that the token may see",
		cols: []column{{title: "NAMESPACE", grows: true}, {title: "GROUPS", right: true, drop: 2}, {title: "BACKUPS", right: true}, {title: "VERIFIED", right: true, drop: 1}, {title: "NEWEST", right: true}, {title: ""}}}
	counted := map[string]*tallied{}
	for _, t := range tallyOf(f.Snapshots, func(s pbs.Snapshot) string { return s.Namespace }) {
		counted[t.key] = t
	}
	names := slices.Clone(f.Namespaces)
	for _, n := range sorted(counted) {
		if !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	for _, n := range names {
		t := counted[n]
		if t == nil {
			t = &tallied{}
		}
		s.row(n, words(space(n)), words(fmt.Sprint(len(t.groups))), words(fmt.Sprint(t.all)), words(fmt.Sprint(t.ok)), words(m.age(t.newest)), t.note())
	}
	return s
}

func (m *Model) pbsGroups(f pbs.Facts) section {
	s := section{title: "BACKUP GROUPS", none: "no backup",
		cols: []column{{title: "GROUP", grows: true}, {title: "BACKUPS", right: true}, {title: "NEWEST", right: true}, {title: "SIZE", right: true, drop: 2}, {title: "VERIFIED", right: true, drop: 1}, {title: "", grows: true}}}
	key := func(b pbs.Snapshot) string {
		if b.Namespace == "" {
			return b.Type + "/" + b.ID
		}
		return b.Namespace + " " + b.Type + "/" + b.ID
	}
	for _, t := range tallyOf(f.Snapshots, key) {
		verified := "-"
		if !t.verified.IsZero() {
			verified = m.age(t.verified)
		}
		s.row(t.key, words(t.key), words(fmt.Sprint(t.all)), words(m.age(t.newest)), words(sizeOr(t.size)), words(verified), t.note())
	}
	return s
}

func (m *Model) pbsJobs(f pbs.Facts) section {
	s := section{title: "JOBS", none: "no job, or none that the token may see",
		cols: []column{{title: "KIND"}, {title: "JOB", grows: true, drop: 2}, {title: "NAMESPACE", drop: 4}, {title: "SCHEDULE", drop: 3}, {title: "LAST"}, {title: "RESULT"}, {title: "NEXT", drop: 1}, {title: "", grows: true, drop: 2}}}
	jobs := slices.Clone(f.Jobs)
	if f.GC != nil {
		jobs = append(jobs, *f.GC)
	}
	for _, j := range jobs {
		result := say(caution, "never ran")
		switch {
		case j.LastRun.Running():
			result = words("running")
		case !j.LastRun.Started.IsZero() || !j.LastRun.Ended.IsZero():
			result = say(toneOf(j.LastRun.Status), statusWord(j.LastRun.Status))
		}
		next := words(m.clock(j.NextRun))
		if j.Disabled {
			next = say(caution, "disabled")
		}
		last := j.LastRun.Started
		if last.IsZero() {
			last = j.LastRun.Ended
		}
		text := j.LastRun.Text
		if text == "OK" {
			text = ""
		}
		s.row(string(j.Kind)+j.ID, words(string(j.Kind)), words(j.ID), words(j.Namespace), words(or(j.Schedule, "by hand")), words(m.clock(last)), result, next, words(text))
	}
	return s
}

func pbsGaps(f pbs.Facts) []gapText {
	var out []gapText
	for _, h := range f.Hidden {
		out = append(out, gapText{h.What, "the token lacks " + h.Privilege + " on " + h.Path})
	}
	for _, i := range f.Incomplete {
		out = append(out, gapText{i.Subject, i.Err})
	}
	return out
}
