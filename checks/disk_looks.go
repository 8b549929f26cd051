package checks

import (
	"fmt"
	"strings"
	"time"

	"cairn/internal/backup"
	"cairn/internal/disk"
)

// DiskCheck is one check of a disk: what was looked at, the value, its limit, and in
// words what that means where it is not well.
type DiskCheck struct {
	What   string
	Value  string
	Limit  string
	Status backup.Status
	Words  string // empty: it is well
	Blind  bool   // nothing was looked at, so that it is neither well nor ill
}

// diskChecks list every check of a disk that is there, also those that found
// nothing. The status and words of each are those of its problem.
func (l *lab) diskChecks(cfg disk.Config, f disk.Facts, full fullRange, problems []Problem) []DiskCheck {
	var out []DiskCheck
	add := func(what, value, limit string, codes ...string) {
		v := DiskCheck{What: what, Value: value, Limit: limit}
		for _, p := range problems {
			for _, code := range codes {
				if p.Code == code && (p.Status > v.Status || v.Words == "") {
					v.Status, v.Words = p.Status, p.Summary
				}
			}
		}
		out = append(out, v)
	}
	blind := func(is bool) { // of the check before
		last := &out[len(out)-1]
		last.Blind = is && last.Words == ""
	}
	add("right disk", either(f.Unit, "UUID "+either(f.UUID, "not known")), "one of "+either(unitNames(cfg), "any"), "disk-unidentified")
	add("writable", writableText(f), "a file is written and synced", "disk-read-only", "disk-unprobed")
	warn, crit := limitsOf(cfg.Fill)
	both := fmt.Sprintf("under %s (critical %s)", percent(warn), percent(crit))
	add("space used", percent(f.UsedRatio()), both, "disk-full")
	if f.Inodes > 0 {
		add("inodes used", percent(1-float64(f.InodesFree)/float64(f.Inodes)), both, "disk-inodes")
	}
	add("full", l.fullText(full), "not within "+backup.Age(fullSoon), "disk-full-soon")
	blind(full.earliest.IsZero())
	errors := "not counted on " + either(f.FSType, "this file system")
	if f.ErrorsCount >= 0 {
		errors = fmt.Sprint(f.ErrorsCount)
	}
	add("file system errors", errors, "0", "disk-errors")
	blind(f.ErrorsCount < 0)
	kernel := fmt.Sprintf("%d lines of trouble", len(f.Kernel))
	if f.KernelErr != "" {
		kernel = "not readable"
	}
	add("kernel log, 24 h", kernel, "0", "disk-kernel", "kernel-log-unreadable")
	blind(f.KernelErr != "")
	smartChecks(f.Smart, unitOf(cfg, f.Unit), add, blind)
	return out
}

// smartChecks adds what SMART tells, and says of what it does not tell that it is blind.
func smartChecks(h disk.Health, unit disk.Unit, add func(what, value, limit string, codes ...string), blind func(bool)) {
	switch {
	case h.At.IsZero() && unit.Smart == nil:
		add("SMART", "not configured", "passed")
		blind(true)
		return
	case h.At.IsZero():
		add("SMART", "not read", "passed", "smart-unknown")
		blind(true)
		return
	}
	passed := "no verdict"
	if h.Passed != nil {
		passed = map[bool]string{true: "passed", false: "FAILED"}[*h.Passed]
	}
	add("SMART", passed, "passed", "smart-failed", "smart-unknown")
	blind(h.Passed == nil)
	add("SMART counters", fmt.Sprintf("%d over their limits", len(h.Findings)), "0", "smart-value")
	if h.Wear >= 0 {
		add("wear", percent(h.Wear), fmt.Sprintf("under %s (critical %s)", percent(wearWarning), percent(wearCritical)), "smart-wear")
	}
	if h.Temperature > 0 {
		add("temperature", fmt.Sprintf("%d C", h.Temperature), fmt.Sprintf("under %d C (critical %d C)", hotWarning, hotCritical), "smart-hot")
	}
}

func limitsOf(fill disk.Fill) (warn, crit float64) {
	warn, crit = fill.Warning, fill.Critical
	if warn <= 0 {
		warn = fillWarning
	}
	if crit <= 0 {
		crit = fillCritical
	}
	return warn, crit
}

func unitNames(cfg disk.Config) string {
	all := make([]string, len(cfg.Disks))
	for i, u := range cfg.Disks {
		all[i] = u.Name
	}
	return strings.Join(all, ", ")
}

func writableText(f disk.Facts) string {
	switch {
	case f.Writable:
		return "yes"
	case f.ReadOnly == "" && f.Unprobed != "":
		return "not tried"
	}
	return "no"
}

// fullText says when it is full, as a range.
func (l *lab) fullText(full fullRange) string {
	in := func(t time.Time) string { return backup.Age(t.Sub(l.now).Truncate(24 * time.Hour)) }
	switch {
	case full.earliest.IsZero():
		return "no trend to speak of"
	case full.latest.IsZero():
		return "in " + in(full.earliest) + " or later"
	}
	return "in " + in(full.earliest) + " to " + in(full.latest)
}
