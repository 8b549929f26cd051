package tui

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"cairn/checks"
	"cairn/internal/backup"
	"cairn/internal/disk"
)

func aboutDisk(m *Model, name string) *sheet {
	at := slices.IndexFunc(m.state.Report.Disks, func(d checks.Disk) bool { return d.Name == name })
	if at < 0 {
		return nil
	}
	d := m.state.Report.Disks[at]
	s := &sheet{name: "disk " + name, source: "disk." + name}
	s.add(m.diskState(d), m.workOn("disk."+name), m.problemsOf("disk."+name))
	seen := m.state.Facts.Disks[name]
	s.add(unread(m, seen)...)
	s.add(diskChecks(d), m.diskUnits(d), m.diskShares(d), m.diskTrend(d))
	if seen.Known() {
		s.add(m.diskMount(seen.Value), m.diskHealth(seen.Value.Smart), diskFindings(seen.Value))
	}
	s.sections = slices.DeleteFunc(s.sections, section.isEmpty)
	return s
}

func (m *Model) diskState(d checks.Disk) section {
	var s section
	s.fact("status", say(toneOf(d.Status), or(d.Word, statusWord(d.Status))).add(span{"  " + d.Note, plain}))
	if d.Present {
		s.word("disk in", or(d.Unit, "not known which")+", on "+d.Mount)
	} else {
		s.fact("disk in", say(alarm, "none").add(span{", on " + d.Mount, plain}))
	}
	s.facts = append(s.facts, m.polled("disk."+d.Name).facts...)
	return s
}

// diskChecks are all checks, with value and limit; those that are not well say
// in words what that means.
func diskChecks(d checks.Disk) section {
	if len(d.Checks) == 0 {
		return section{}
	}
	s := section{title: "CHECKS", cols: []column{{title: "WHAT"}, {title: "VALUE", grows: true}, {title: "LIMIT", grows: true, drop: 1}, {title: "VERDICT"}}}
	for _, v := range d.Checks {
		s.row(v.What, words(v.What), words(v.Value), say(faint, v.Limit), diskVerdict(v))
	}
	return s
}

// diskVerdict is a status in words. What was not looked at is not ok.
func diskVerdict(v checks.DiskCheck) line {
	if v.Blind {
		return say(faint, "not known")
	}
	return say(toneOf(v.Status), statusWord(v.Status))
}

// diskUnits are the disks that take turns.
func (m *Model) diskUnits(d checks.Disk) section {
	if len(d.Units) == 0 || len(d.Units) == 1 && d.Present {
		return section{}
	}
	s := section{title: "DISKS THAT TAKE TURNS", cols: []column{{title: "DISK"}, {title: "WHERE"}, {title: "DUE BACK", grows: true}, {title: "LAST IN", drop: 1}, {title: "NEWEST COPY", drop: 2}, {title: "ROLE", drop: 3}}}
	for _, u := range d.Units {
		where, due := words("away"), words("-")
		switch {
		case u.In:
			where = say(good, "in")
		case u.Next:
			where = say(strong, "away, next")
		}
		if !u.Due.IsZero() {
			due = words("by " + m.clock(u.Due) + ", in " + brief(u.Due.Sub(m.now)))
			if m.now.After(u.Due) {
				due = say(alarm, "since "+m.clock(u.Due)+", "+brief(m.now.Sub(u.Due))+" over")
			}
		}
		s.row(u.Name, words(u.Name), where, due, words(m.lastIn(u)), words(m.writtenText(u.Written)), words(or(u.Role, "-")))
	}
	return s
}

func (m *Model) lastIn(u checks.DiskUnit) string {
	switch {
	case u.In:
		return "now"
	case u.Seen.IsZero():
		return "never seen"
	}
	return m.age(u.Seen) + " ago"
}

func (m *Model) writtenText(t time.Time) string {
	if t.IsZero() {
		return "not known"
	}
	return m.age(t) + " old"
}

// diskShares tell what fills it.
func (m *Model) diskShares(d checks.Disk) section {
	if len(d.Shares) == 0 {
		return section{}
	}
	s := section{title: "WHAT FILLS IT", cols: []column{{title: "SOURCE", grows: true}, {title: "SIZE", right: true}, {title: "OF THE DISK", right: true}, {title: "", drop: 1}, {title: "", grows: true, drop: 2}}}
	total := int64(0)
	if f := m.state.Facts.Disks[d.Name].Value; f.Used+f.Available > 0 {
		total = f.Used + f.Available
	}
	for _, share := range d.Shares {
		frees := ""
		if share.Frees > 0 {
			frees = "the next garbage collection frees " + size(share.Frees)
		}
		bar := 0
		if total > 0 {
			bar = int(20*float64(share.Bytes)/float64(total) + 0.5)
		}
		s.row("share "+share.Source, words(or(share.Source, "everything else")), words(size(share.Bytes)), words(percent(share.Bytes, total)),
			words(strings.Repeat("█", min(bar, 20))), say(faint, frees))
		if share.Source != "" {
			s.opens("source:" + share.Source)
		}
	}
	return s
}

// diskTrend is how it filled up, and when it is full.
func (m *Model) diskTrend(d checks.Disk) section {
	samples := m.state.Facts.Past.Fill[d.Name]
	s := section{title: "FILL"}
	f := m.state.Facts.Disks[d.Name].Value
	if d.Present && f.Total > 0 {
		s.word("now", fmt.Sprintf("%.1f %%: %s used, %s free for us", 100*d.UsedRatio, size(f.Used), size(f.Available)))
	}
	if text := fillGraph(samples); text != "" {
		first, last := samples[0], samples[len(samples)-1]
		grown := last.Used - first.Used
		word := "grew by " + size(grown)
		if grown < 0 {
			word = "shrank by " + size(-grown)
		}
		s.word("trend", fmt.Sprintf("%s in %s  %s", word, backup.Age(last.At.Sub(first.At)), text))
	}
	switch text := m.fills(d); {
	case text != "":
		s.word("forecast", text)
	case d.Present && len(samples) < 3:
		s.word("forecast", "needs a week of looks")
	case d.Present:
		s.word("forecast", "not filling up at the pace of the last weeks")
	}
	if len(s.facts) == 0 {
		return section{}
	}
	return s
}

// fillGraph draws a fill level in digits, one a tenth of the disk: every terminal
// has them.
func fillGraph(samples []checks.FillSample) string {
	const width = 20
	if len(samples) < 3 {
		return ""
	}
	var b strings.Builder
	for i := range width {
		s := samples[i*(len(samples)-1)/(width-1)]
		if s.Total <= 0 {
			return ""
		}
		fmt.Fprint(&b, max(0, min(int(10*float64(s.Used)/float64(s.Total)), 9)))
	}
	return b.String()
}

func (m *Model) diskMount(f disk.Facts) section {
	s := section{title: "FILE SYSTEM"}
	if !f.Mounted {
		s.fact("mounted", say(alarm, "no").add(span{": " + or(f.Below, "the mount point is empty"), plain}))
		if f.Stray {
			s.fact("stray files", say(alarm, "files lie in the empty mount point: something wrote there while the disk was away"))
		}
		if len(f.Attached) > 0 {
			s.word("plugged in", strings.Join(f.Attached, ", ")+": mount it on "+f.Mount)
		}
		return s
	}
	s.word("device", or(f.Device, "not known")+" "+f.FSType)
	if f.Foreign {
		s.fact("UUID", say(alarm, or(f.UUID, "not known")+": none of the configured disks"))
	} else {
		s.word("UUID", or(f.UUID, "not known"))
	}
	if f.Serial != "" {
		s.word("serial", f.Serial)
	}
	if f.DeviceGone {
		s.fact("device", say(alarm, "has left the system: unplugged, or reset by the kernel"))
	}
	if f.ReadOnly != "" {
		s.fact("read-only", say(alarm, f.ReadOnly))
	}
	for _, text := range f.Kernel {
		s.fact("kernel", say(caution, text))
	}
	return s
}

func (m *Model) diskHealth(h disk.Health) section {
	s := section{title: "HEALTH (SMART)"}
	switch {
	case h.Err != "":
		s.sentence(doubt, h.Err)
		return s
	case h.At.IsZero():
		s.sentence(doubt, "Never read.")
		return s
	}
	if h.Standby {
		s.word("asleep", "it was not woken; this is older")
	}
	s.word("model", or(h.Model, "not known")+" "+h.Serial)
	if h.PowerOn > 0 {
		s.word("powered on", fmt.Sprintf("%d days", h.PowerOn/backup.Day))
	}
	for _, name := range sorted(h.Counters) {
		c := h.Counters[name]
		text := fmt.Sprint(c.Value)
		if !c.Rose.IsZero() {
			text += fmt.Sprintf(", rose from %d %s", c.Before, m.ago(c.Rose))
		}
		s.word(name, text)
	}
	s.word("read", m.ago(h.At))
	return s
}

func diskFindings(f disk.Facts) section {
	s := section{}
	for _, one := range f.Smart.Findings {
		s.title = "FINDINGS"
		tone := caution
		if one.Critical {
			tone = alarm
		}
		s.sentence(tone, or(one.Text, fmt.Sprintf("%s is %d, limit %s.", one.Name, one.Value, one.Limit)))
	}
	return s
}
