package tui

import (
	"fmt"
	"slices"

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
	s.add(m.diskVerdict(d), m.problemsOf("disk."+name))
	if seen, ok := m.state.Facts.Disks[name]; ok {
		s.add(unread(m, seen)...)
		if seen.Known() {
			s.add(m.diskMount(seen.Value), m.diskHealth(seen.Value.Smart), diskFindings(seen.Value))
		}
	}
	s.sections = slices.DeleteFunc(s.sections, section.isEmpty)
	return s
}

func (m *Model) diskVerdict(d checks.Disk) section {
	var s section
	s.fact("status", say(toneOf(d.Status), or(d.Word, statusWord(d.Status))).add(span{"  " + d.Note, plain}))
	s.word("mount point", d.Mount)
	if d.Unit != "" {
		s.word("disk in", d.Unit)
	}
	if !d.Present {
		s.fact("present", say(alarm, "no"))
		return s
	}
	s.word("writable", yesNo(d.Writable))
	s.word("used", fmt.Sprintf("%.1f %%", 100*d.UsedRatio))
	if text := m.fills(d); text != "" {
		s.word("forecast", text)
	}
	if d.Smart.Reason != "" {
		s.fact("SMART", say(toneOf(d.Smart.Status), d.Smart.Reason))
	}
	s.facts = append(s.facts, m.polled("disk."+d.Name).facts...)
	return s
}

func (m *Model) diskMount(f disk.Facts) section {
	s := section{title: "FILE SYSTEM"}
	if !f.Mounted {
		s.fact("mounted", say(alarm, "no"))
		return s
	}
	s.word("device", or(f.Device, "not known")+" "+f.FSType)
	if f.Foreign {
		s.fact("UUID", say(alarm, or(f.UUID, "not known")+": none of the configured disks"))
	} else {
		s.word("UUID", or(f.UUID, "not known"))
	}
	if f.DeviceGone {
		s.fact("device", say(alarm, "has left the system: unplugged, or reset by the kernel"))
	}
	if f.ReadOnly != "" {
		s.fact("read-only", say(alarm, f.ReadOnly))
	}
	s.word("space", fmt.Sprintf("%s used of %s, %s free for us", size(f.Used), size(f.Total), size(f.Available)))
	if f.Inodes > 0 {
		s.word("inodes", percent(f.Inodes-f.InodesFree, f.Inodes)+" used")
	}
	if f.ErrorsCount > 0 {
		s.fact("ext4 errors", say(alarm, fmt.Sprint(f.ErrorsCount)))
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
	verdict := say(doubt, "the disk gives no verdict")
	if h.Passed != nil {
		verdict = say(good, "passed")
		if !*h.Passed {
			verdict = say(alarm, "FAILED: copy what is on it, then replace it")
		}
	}
	s.fact("verdict", verdict)
	if h.Standby {
		s.word("asleep", "it was not woken; this is older")
	}
	s.word("model", or(h.Model, "not known")+" "+h.Serial)
	if h.Temperature != 0 {
		s.word("temperature", fmt.Sprintf("%d °C", h.Temperature))
	}
	if h.Wear >= 0 {
		s.word("wear", fmt.Sprintf("%.0f %% of the rated endurance", 100*h.Wear))
	}
	if h.PowerOn > 0 {
		s.word("powered on", fmt.Sprintf("%d days", h.PowerOn/backup.Day))
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
