package checks

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"cairn/internal/backup"
	"cairn/internal/disk"
)

// medium is a configured disk with its judgement.
type medium struct {
	view      Disk
	problems  []Problem
	gone      string // why nothing on it can be reached; empty: it can
	tolerated bool   // it is away, and may be
}

// readDisks judges every disk that was asked.
func (l *lab) readDisks() map[string]medium {
	out := map[string]medium{}
	for _, name := range names(l.policy.Disks, l.facts.Disks) {
		out[name] = l.readDisk(name)
	}
	return out
}

func (l *lab) readDisk(name string) medium {
	cfg, seen := l.policy.Disks[name], l.facts.Disks[name]
	f, id := seen.Value, "disk."+name
	m := medium{view: Disk{Name: name, Mount: cfg.Mount, Unit: f.Unit, Units: l.unitsOf(name, cfg, presentUnit(seen)), Present: f.Present(), Writable: f.Present() && f.Writable,
		UsedRatio: f.UsedRatio(), Word: "ok", Smart: Smart{Status: backup.Unknown, Wear: -1}}}
	if r := observed(seen, l.now); !r.current {
		code := "unreachable"
		if !r.tried {
			code = "not-read"
		}
		m.view.Word = "unknown"
		m.problems = []Problem{found(backup.Unknown, code, id, fmt.Sprintf("Disk %s: %s (%s)", name, r.why, r.seen(l.now)),
			either(r.hint, "Look again: cairn check --only "+id))}
		return m.settled()
	}
	if absence, gone, tolerated := l.judgePresence(name, cfg, f); gone != "" {
		m.gone, m.tolerated, m.problems, m.view.Word = gone, tolerated, []Problem{absence}, presenceWord(f)
		m.view.Present, m.view.Writable, m.view.UsedRatio = false, false, 0
		return m.settled()
	}
	m.problems = append(m.problems, l.judgeTurns(name, cfg, f)...)
	m.problems = append(m.problems, judgeWritable(name, f)...)
	m.view.Shares = l.sharesOf(name, f)
	m.problems = append(m.problems, sayShares(judgeFill(name, cfg.Fill, f), m.view.Shares)...)
	m.problems = append(m.problems, judgeErrors(name, f)...)
	smart, wrong := judgeSmart(name, unitOf(cfg, f.Unit), f.Smart)
	m.view.Smart, m.problems = smart, append(m.problems, wrong...)
	full := forecast(l.facts.Past.Fill[name], f.Available, l.now)
	m.view.FullEarliest, m.view.FullLatest = full.earliest, full.latest
	m.problems = append(m.problems, judgeForecast(name, full, l.now)...)
	m.view.Checks = l.diskChecks(cfg, f, full, m.problems)
	m.view.Note = smartNote(m.view.Smart, unitOf(cfg, f.Unit))
	return m.settled()
}

// settled takes the disk's status from its problems.
func (m medium) settled() medium {
	for _, p := range m.problems {
		m.view.Status = max(m.view.Status, p.Status)
	}
	if m.view.Word == "ok" && m.view.Status > backup.OK {
		m.view.Word = m.view.Status.String()
	}
	return m
}

func either(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func presenceWord(f disk.Facts) string {
	switch {
	case f.DeviceGone:
		return "GONE"
	case f.Mounted && f.Foreign:
		return "WRONG DISK"
	}
	return "absent"
}

func unitOf(cfg disk.Config, name string) disk.Unit {
	for _, u := range cfg.Disks {
		if u.Name == name {
			return u
		}
	}
	if len(cfg.Disks) == 1 {
		return cfg.Disks[0]
	}
	return disk.Unit{}
}

// judgePresence says whether one of the configured disks is there. A disk that
// may be away is absent and tolerated until a date: neither well nor a failure.
func (l *lab) judgePresence(name string, cfg disk.Config, f disk.Facts) (p Problem, gone string, tolerated bool) {
	id, mount := "disk."+name, cfg.Mount
	switch {
	case f.Mounted && f.DeviceGone:
		return found(backup.Critical, "disk-gone", id,
			fmt.Sprintf("Disk %s was pulled while it was mounted on %s: its device %s has left the system", name, mount, f.Device),
			fmt.Sprintf("Stop what writes there, then: umount -l %s; plug it in again; mount %s", mount, mount)), "disk " + name + " was pulled", false
	case f.Mounted && f.Foreign:
		return found(backup.Critical, "disk-foreign", id,
			fmt.Sprintf("Another disk is mounted on %s: file system UUID %s is none of those of disk %s", mount, either(f.UUID, "(not known)"), name),
			"Unmount it, or add its UUID to [disk."+name+"] if it belongs there (lsblk -o NAME,UUID,SERIAL,MOUNTPOINT)"), "another disk is on " + mount, false
	case f.Mounted:
		return Problem{}, "", false
	}
	gone = "disk " + name + " is absent"
	stray := ""
	if f.Stray {
		stray = "; files lie in the empty mount point, so something wrote there"
	}
	hint := fmt.Sprintf("Plug it in and mount it (mount %s): until then a job that writes to %s fills this host's own disk", mount, mount)
	if dumps := l.dumpedTo(name); len(dumps) > 0 {
		hint += ", such as a script that dumps " + listed(dumps)
	}
	if len(f.Attached) > 0 {
		gone = "disk " + name + " is not mounted"
		hint = fmt.Sprintf("It is plugged in (%s): mount %s", listed(f.Attached), mount)
	}
	until, ok := l.toleratedUntil(name, cfg)
	switch {
	case ok && slices.ContainsFunc(cfg.Disks, func(u disk.Unit) bool { return l.seenAhead(name, u) }):
		return found(backup.Unknown, "disk-absent", id,
			fmt.Sprintf("Disk %s is absent, and how long it may be is not known: it was last seen at a time in the future, so a clock was wrong%s", name, stray), hint), gone, false
	case ok && until.IsZero():
		return found(backup.Warning, "disk-absent", id,
			fmt.Sprintf("Disk %s is absent, and was never seen since it is watched%s", name, stray), hint), gone, true
	case ok && !l.now.After(until):
		return found(backup.Warning, "disk-absent", id,
			fmt.Sprintf("Disk %s is absent, tolerated until %s%s", name, until.In(l.home).Format("2006-01-02 15:04"), stray), hint), gone, true
	case ok:
		return found(backup.Critical, "disk-absent", id,
			fmt.Sprintf("Disk %s is absent, %s longer than its absent_ok tolerates%s", name, backup.Age(l.now.Sub(until)), stray), hint), gone, false
	}
	return found(backup.Critical, "disk-absent", id, fmt.Sprintf("Disk %s is absent: nothing is mounted on %s%s", name, mount, stray), hint), gone, false
}

// seenAhead says whether a disk was last seen at a time that is yet to come.
func (l *lab) seenAhead(name string, u disk.Unit) bool {
	return l.facts.Past.Absent[name+"/"+u.Name].After(l.now.Add(clockTolerance))
}

// toleratedUntil is when the mount point may no longer be empty: when the last
// of its disks is due back. Not ok: one of them should always be there.
func (l *lab) toleratedUntil(name string, cfg disk.Config) (until time.Time, ok bool) {
	if len(cfg.Disks) == 0 {
		return time.Time{}, false
	}
	for _, u := range cfg.Disks {
		if u.MayBeAway() <= 0 {
			return time.Time{}, false
		}
		seen := l.facts.Past.Absent[name+"/"+u.Name]
		if !seen.IsZero() && seen.Add(u.MayBeAway()).After(until) {
			until = seen.Add(u.MayBeAway())
		}
	}
	return until, true
}

// judgeTurns tells of the disks that take turns with the one that is in, and
// have been away for too long.
func (l *lab) judgeTurns(name string, cfg disk.Config, f disk.Facts) []Problem {
	var out []Problem
	for _, u := range cfg.Disks {
		seen := l.facts.Past.Absent[name+"/"+u.Name]
		if u.Name == f.Unit || seen.IsZero() {
			continue
		}
		if l.seenAhead(name, u) {
			out = append(out, found(backup.Unknown, "disk-turn", "disk."+name+"/"+u.Name,
				fmt.Sprintf("When disk %s of %s was last in is not known: it carries %s", u.Name, name, odd(seen, l.now)), "A clock was wrong then: bring it in once"))
			continue
		}
		limit := u.MayBeAway()
		if limit <= 0 {
			limit = turnsWithout
		}
		if away := l.now.Sub(seen); away > limit {
			out = append(out, found(backup.Warning, "disk-turn", "disk."+name+"/"+u.Name,
				fmt.Sprintf("Disk %s of %s was last seen %s ago, the limit is %s", u.Name, name, backup.Age(away), backup.Age(limit)),
				"Bring it in and put it in the place of disk "+either(f.Unit, "that is in")))
		}
	}
	return out
}

func judgeWritable(name string, f disk.Facts) []Problem {
	switch {
	case f.Writable:
		return nil
	case f.ReadOnly == "" && f.Unprobed != "":
		return []Problem{found(backup.Unknown, "disk-unprobed", "disk."+name,
			fmt.Sprintf("Whether disk %s can be written to is not known: %s", name, sentence(f.Unprobed)), "Let cairn write to its root: run it as root, or give its user a directory there")}
	}
	return []Problem{found(backup.Critical, "disk-read-only", "disk."+name,
		fmt.Sprintf("Disk %s cannot be written to: %s", name, either(sentence(f.ReadOnly), "the write probe failed")),
		fmt.Sprintf("Read dmesg for the cause; then umount %s, fsck %s, mount %s. Copy what matters off it first", f.Mount, either(f.Device, "the device"), f.Mount))}
}

// judgeFill judges space and inodes by the same limits.
func judgeFill(name string, limits disk.Fill, f disk.Facts) []Problem {
	warn, crit := limits.Warning, limits.Critical
	if warn <= 0 {
		warn = fillWarning
	}
	if crit <= 0 {
		crit = fillCritical
	}
	var out []Problem
	if p := fillProblem("disk-full", "disk."+name, "Disk "+name, f.UsedRatio(), warn, crit); p != nil {
		p.Summary += fmt.Sprintf(", %s are left", size(f.Available))
		p.Hint = "See what fills it (du -xh --max-depth=2 " + f.Mount + "), then forget and prune: a disk that is quite full cannot even prune"
		out = append(out, *p)
	}
	if f.Inodes > 0 {
		used := 1 - float64(f.InodesFree)/float64(f.Inodes)
		if p := fillProblem("disk-inodes", "disk."+name, "The inode table of disk "+name, used, warn, crit); p != nil {
			p.Hint = "Many small files fill it: see du --inodes -x --max-depth=2 " + f.Mount
			out = append(out, *p)
		}
	}
	return out
}

// fillProblem judges a fill level; nil: it is below both limits.
func fillProblem(code, subject, what string, ratio, warn, crit float64) *Problem {
	status, limit := backup.OK, 0.0
	switch {
	case ratio >= crit:
		status, limit = backup.Critical, crit
	case ratio >= warn:
		status, limit = backup.Warning, warn
	default:
		return nil
	}
	p := found(status, code, subject, fmt.Sprintf("%s is %s full, the limit is %s", what, percent(ratio), percent(limit)), "")
	return &p
}

// severeLines in the kernel's log mean that data may be lost already.
var severeLines = []string{"aborting journal", "i/o error", "potential data loss", "shutting down"}

func judgeErrors(name string, f disk.Facts) []Problem {
	var out []Problem
	if f.Unidentified != "" {
		out = append(out, found(backup.Unknown, "disk-unidentified", "disk."+name,
			fmt.Sprintf("Which disk is mounted on %s is not known: %s", f.Mount, sentence(f.Unidentified)), "Run cairn as root, or see that udev or blkid can be read (lsblk -o NAME,UUID,SERIAL)"))
	}
	if f.KernelErr != "" {
		out = append(out, found(backup.Warning, "kernel-log-unreadable", "disk."+name,
			fmt.Sprintf("The kernel's log about disk %s cannot be read: %s", name, sentence(f.KernelErr)), "Add cairn's user to group systemd-journal or adm"))
	}
	if f.ErrorsCount > 0 {
		out = append(out, found(backup.Warning, "disk-errors", "disk."+name,
			fmt.Sprintf("The file system of disk %s has counted %s since it was last checked, the limit is 0", name, counted(int(f.ErrorsCount), "error")),
			fmt.Sprintf("umount %s && fsck -f %s", f.Mount, either(f.Device, "its device")), fmt.Sprintf("errors=%d", f.ErrorsCount)))
	}
	if len(f.Kernel) > 0 {
		status := backup.Warning
		for _, line := range f.Kernel {
			for _, word := range severeLines {
				if strings.Contains(strings.ToLower(line), word) {
					status = backup.Critical
				}
			}
		}
		out = append(out, found(status, "disk-kernel", "disk."+name,
			fmt.Sprintf("The kernel reports trouble with disk %s: %s", name, sentence(f.Kernel[len(f.Kernel)-1])),
			"Try another cable and port; read: journalctl -k | tail -50", fmt.Sprintf("lines=%d", len(f.Kernel))))
	}
	return out
}
