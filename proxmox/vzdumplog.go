package proxmox

import (
	"strconv"
	"strings"
	"time"

	"cairn/internal/backup"
)

// vzdumpLog is what the log of a vzdump task says, guest by guest: the task's own
// id and exit text name no guest when it covered several.
type vzdumpLog struct {
	Storage string
	Asked   []int // VMIDs on its command line; none when all or a pool were asked for
	Skipped []int // of these, guests of other nodes: each node runs its part of a job in a task of its own
	Parts   []vzdumpPart

	growing bool // the task ran when it was read
}

// vzdumpPart is one guest's part of the log.
type vzdumpPart struct {
	VMID     int
	Begun    time.Time     // as the log writes it: the server's local time, read as UTC
	Ended    time.Time     // likewise; zero when the log does not say
	Took     time.Duration // as the log counted it; 0: it did not
	Finished bool
	Failure  string   // why it failed
	Warnings []string // of a guest that was backed up all the same
	Archive  string   // file name, or a PBS snapshot such as vm/100/2026-11-21T20:00:00Z

	mode, status  string
	frozen, loose bool // the freeze was issued; it failed
	made          bool // the archive was whole before what the log says last
}

// Consistency tells in what state the guest was copied.
func (p vzdumpPart) Consistency() backup.Consistency {
	switch {
	case p.mode == "stop" || p.status == "stopped":
		return backup.Stopped
	case p.frozen && !p.loose:
		return backup.Frozen
	case p.status == "running" || p.mode == "snapshot" || p.mode == "suspend":
		return backup.CrashConsistent
	}
	return backup.ConsistencyUnknown
}

// Status is OK, Warning, Critical, or Unknown while the log goes on.
func (p vzdumpPart) Status() backup.Status {
	switch {
	case p.Failure != "" && p.made:
		return backup.Warning
	case p.Failure != "":
		return backup.Critical
	case !p.Finished:
		return backup.Unknown
	case len(p.Warnings) > 0:
		return backup.Warning
	}
	return backup.OK
}

// parseVzdumpLog reads the log's lines.
func parseVzdumpLog(lines []string) vzdumpLog {
	var l vzdumpLog
	for _, line := range lines {
		level, said, _ := strings.Cut(line, ": ")
		part := l.last()
		switch level {
		case "INFO":
			l.inform(said)
		case "ERROR":
			if id, why, ok := guestFailure(said); ok {
				l.fail(id, why)
			} else if part != nil && !part.over() {
				part.trouble(said)
			}
		case "WARN", "WARNING":
			if part != nil && !part.over() && !ofTheMachine(said) {
				part.trouble(said)
			}
		}
	}
	return l
}

// ofTheMachine says whether a warning is about how a VM starts, which PVE does for
// the backup of a stopped one: nothing is wrong with the copy.
func ofTheMachine(said string) bool {
	for _, start := range []string{"EFI disk without 'ms-cert", "no efidisk configured!"} {
		if strings.HasPrefix(said, start) {
			return true
		}
	}
	return false
}

func (l *vzdumpLog) last() *vzdumpPart {
	if len(l.Parts) == 0 {
		return nil
	}
	return &l.Parts[len(l.Parts)-1]
}

func (p *vzdumpPart) over() bool { return p.Finished || p.Failure != "" }

// trouble keeps a complaint, and notes when it says that the freeze failed.
func (p *vzdumpPart) trouble(said string) {
	if strings.Contains(said, "fsfreeze-freeze") || strings.Contains(said, "fs-freeze") {
		p.loose = true
	}
	p.Warnings = append(p.Warnings, said)
}

// inform reads an INFO line.
func (l *vzdumpLog) inform(said string) {
	if command, ok := strings.CutPrefix(said, "starting new backup job: vzdump "); ok {
		l.command(command)
		return
	}
	if others, ok := strings.CutPrefix(said, "skip external VMs: "); ok {
		l.Skipped = append(l.Skipped, vmids(others)...)
		return
	}
	if id, ok := guestAfter(said, "Starting Backup of VM "); ok {
		l.Parts = append(l.Parts, vzdumpPart{VMID: id})
		return
	}
	if p := l.last(); p != nil {
		p.inform(said)
	}
}

func (p *vzdumpPart) inform(said string) {
	if at, ok := strings.CutPrefix(said, "Backup started at "); ok {
		p.Begun = localStamp(at)
	} else if at, ok := strings.CutPrefix(said, "Backup finished at "); ok {
		p.Ended = localStamp(at)
	} else if at, ok := strings.CutPrefix(said, "Failed at "); ok {
		p.Ended = localStamp(at)
	} else if mode, ok := strings.CutPrefix(said, "backup mode: "); ok {
		p.mode = strings.TrimSpace(mode)
	} else if status, ok := strings.CutPrefix(said, "status = "); ok {
		p.status = strings.TrimSpace(status)
	} else if id, ok := guestAfter(said, "Finished Backup of VM "); ok && id == p.VMID {
		p.Finished, p.Took = true, parenthesized(said)
	} else if isAfterward(said) {
		p.made = true
	} else if strings.Contains(said, "skipping guest-agent 'fs-freeze'") {
		p.loose = true
	} else if strings.Contains(said, "guest-agent 'fs-freeze'") {
		p.frozen = true
	} else if strings.HasPrefix(said, "creating ") && strings.Contains(said, " archive '") {
		_, name, _ := strings.Cut(said, " archive '")
		p.Archive = archiveName(strings.TrimSuffix(name, "'"))
	}
}

// isAfterward says whether vzdump writes the line when the archive is whole: its notes,
// its protection and the pruning of older ones come after, and may fail alone.
func isAfterward(said string) bool {
	for _, start := range []string{"archive file size: ", "adding notes to backup", "marking backup as protected", "prune older backups with retention"} {
		if strings.HasPrefix(said, start) {
			return true
		}
	}
	return false
}

// archiveName is a file's name without its directory; a PBS snapshot is whole.
func archiveName(name string) string {
	if strings.HasPrefix(name, "/") {
		return name[strings.LastIndexByte(name, '/')+1:]
	}
	return name
}

// command reads the arguments: "102 103 --storage vmstore --mode stop". VMIDs stand
// before the options, among which a quoted note may hold any number.
func (l *vzdumpLog) command(args string) {
	fields := strings.Fields(args)
	options := false
	for i, f := range fields {
		options = options || strings.HasPrefix(f, "--")
		if id, err := strconv.Atoi(f); err == nil && id > 0 && !options {
			l.Asked = append(l.Asked, id)
		}
		if f == "--storage" && i+1 < len(fields) {
			l.Storage = strings.Trim(fields[i+1], "'")
		}
	}
}

// fail notes that a guest's backup failed, which may be the first word of it.
func (l *vzdumpLog) fail(id int, why string) {
	if p := l.last(); p != nil && p.VMID == id && !p.over() {
		if p.Failure = why; p.made {
			p.Failure = "the backup was made, but what follows it failed: " + why
		}
		return
	}
	l.Parts = append(l.Parts, vzdumpPart{VMID: id, Failure: why})
}

// guestFailure reads "Backup of VM 103 failed - VM is locked (migrate)".
func guestFailure(said string) (id int, why string, ok bool) {
	id, ok = guestAfter(said, "Backup of VM ")
	_, why, found := strings.Cut(said, " failed - ")
	if !ok || !found {
		return 0, "", false
	}
	if why = strings.TrimSpace(why); why == "" {
		why = "it failed, and the log does not say why"
	}
	return id, why, true
}

func guestAfter(said, prefix string) (int, bool) {
	rest, ok := strings.CutPrefix(said, prefix)
	if !ok {
		return 0, false
	}
	word, _, _ := strings.Cut(rest, " ")
	id, err := strconv.Atoi(word)
	return id, err == nil && id > 0
}

// parenthesized reads the duration of "… (00:00:04)".
func parenthesized(said string) time.Duration {
	open := strings.LastIndexByte(said, '(')
	if open < 0 {
		return 0
	}
	f := strings.Split(strings.TrimSuffix(said[open+1:], ")"), ":")
	if len(f) != 3 {
		return 0
	}
	var total time.Duration
	for i, unit := range []time.Duration{time.Hour, time.Minute, time.Second} {
		n, err := strconv.ParseUint(f[i], 10, 16)
		if err != nil {
			return 0
		}
		total += time.Duration(n) * unit
	}
	return total
}

func localStamp(at string) time.Time {
	t, err := time.Parse("2006-01-02 15:04:05", strings.TrimSpace(at))
	if err != nil {
		return time.Time{}
	}
	return t
}

// span is when a part began and ended, by the clock.
type span struct{ start, end time.Time }

// place finds out when each part began and ended; an end is zero while it goes
// on. The log writes the server's local time without its zone, which may even
// change during the night: only the distances between its lines are used, and
// they are hung up at the task's own end, or at its start while it runs.
func place(parts []vzdumpPart, start, end time.Time) []span {
	type offsets struct{ begin, end time.Duration }
	var all []offsets
	var total time.Duration
	var before time.Time // the stamp before, in the log's time
	for _, p := range parts {
		if gap := distance(before, p.Begun); gap < time.Hour || gap > time.Hour+2*time.Minute {
			total = min(total+gap, remembered)
		} // else the clocks went forward between two guests
		from := total
		if p.Took > 0 {
			total += p.Took
		} else {
			total += distance(p.Begun, p.Ended)
		}
		total = min(total, remembered) // stamps that make no sense
		all = append(all, offsets{from, total})
		if before = p.Ended; before.IsZero() && !p.Begun.IsZero() {
			before = p.Begun.Add(total - from)
		}
	}
	base := start
	if n := len(parts); n > 0 && !end.IsZero() && parts[n-1].over() && end.Sub(start) > total {
		base = end.Add(-total)
	}
	spans := make([]span, len(parts))
	for i, o := range all {
		spans[i].start = base.Add(o.begin)
		if parts[i].over() {
			spans[i].end = base.Add(o.end)
		} else if !end.IsZero() {
			spans[i].end = end // the task ended in its middle
		}
	}
	return spans
}

// distance is the time between two stamps of the log. One that goes backwards is
// the clocks' going back an hour.
func distance(from, to time.Time) time.Duration {
	if from.IsZero() || to.IsZero() {
		return 0
	}
	d := to.Sub(from)
	if d < 0 {
		d += time.Hour
	}
	return max(d, 0)
}
