package checks

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"cairn/internal/backup"
	"cairn/restic"
)

// judgeRestic judges what concerns a repository itself: locks, runs, and what
// could not be read of it.
func (l *lab) judgeRestic(s *source) []Problem {
	f := l.facts.Restic[strings.TrimPrefix(s.name, "restic.")].Value
	out := judgeLocks(s, f, l.now)
	out = append(out, s.extra...)
	out = append(out, judgeRun(s, l.now)...)
	out = append(out, judgeOthersCheck(s, f, l.now)...)
	var unread []string
	for _, i := range f.Incomplete {
		if i.Subject != "snapshot" {
			unread = append(unread, strings.TrimPrefix(i.Subject, s.name)+": "+sentence(i.Err))
		}
	}
	if len(unread) > 0 {
		out = append(out, found(backup.Warning, "partly-read", s.name, fmt.Sprintf("Not all of %s could be read: %s", s.title, strings.TrimPrefix(listed(unread), ": ")),
			"Look again: cairn check --only "+s.name))
	}
	if s.blind != "" {
		out = append(out, found(backup.Unknown, "incomplete", s.name, s.title+" could not be read in full: "+s.blind, "Look again: cairn check --only "+s.name))
	}
	return out
}

// judgeLocks tells of locks that nobody renews: they block check, forget and
// prune until someone removes them, even when their process is long dead.
func judgeLocks(s *source, f restic.Facts, now time.Time) []Problem {
	var texts, grade []string
	for _, lock := range f.Locks {
		if age := now.Sub(lock.Time); lock.Stale(now) {
			kind := ""
			if lock.Dead {
				kind = "process gone, "
			}
			if lock.Exclusive {
				kind += "exclusive, "
			}
			texts = append(texts, fmt.Sprintf("%s@%s, PID %d, %s%s old", either(lock.Username, "?"), either(lock.Hostname, "?"), lock.PID, kind, backup.Age(age)))
			grade = append(grade, lock.ID)
		}
	}
	if len(texts) == 0 {
		return nil
	}
	first := f.Locks[slices.IndexFunc(f.Locks, func(lock restic.Lock) bool { return lock.Stale(now) })]
	return []Problem{found(backup.Warning, "stale-lock", s.name,
		fmt.Sprintf("%s holds %s that nobody renews (the limit is %s): %s", s.title, counted(len(texts), "lock"), backup.Age(restic.StaleAge), listed(texts)),
		fmt.Sprintf("On %s see that no such process runs (ps -p %d), then remove it: restic unlock, with the repository and password of [%s]",
			either(first.Hostname, "its host"), first.PID, s.name), grade...)}
}

// judgeRun tells of a last run that failed while the copies are still fresh;
// when they no longer are, freshness tells it.
func judgeRun(s *source, now time.Time) []Problem {
	r := s.last
	if r == nil || r.Status == backup.OK || s.running != nil && s.running.Started.After(r.Started) {
		return nil
	}
	for _, g := range s.groups {
		if n := g.newest(); n != nil && n.Taken.After(r.Started.Add(clockTolerance)) || g.expected && g.fresh.status >= backup.Warning {
			return nil
		}
	}
	at := lastOf(*r)
	when := "lately"
	if !at.IsZero() && !at.After(now) {
		when = backup.Age(now.Sub(at)) + " ago"
	}
	if r.Status == backup.Warning {
		return []Problem{found(backup.Warning, "run-warnings", s.name,
			fmt.Sprintf("The last run of %s, %s, ended with warnings: %s", s.title, when, either(sentence(r.Text), "no reason given")), s.again)}
	}
	return []Problem{found(backup.Warning, "run-failed", s.name,
		fmt.Sprintf("The last run of %s, %s, failed: %s", s.title, when, either(sentence(r.Text), "no reason given")), s.again)}
}

// judgeOthersCheck tells of a check by somebody else that failed. That none is
// known of is no problem: whoever runs the repository may look after it.
func judgeOthersCheck(s *source, f restic.Facts, now time.Time) []Problem {
	for _, r := range f.Runs {
		same := func(o backup.Run) bool { return o.Job != r.Job && o.ID == r.ID } // one unit does both: judgeRun tells
		if r.Job != restic.CheckJob || r.Running() || r.Status == backup.OK || slices.ContainsFunc(f.Runs, same) {
			continue
		}
		return []Problem{found(backup.Warning, "check-failed", s.name, fmt.Sprintf("The last check of %s by %s, %s, did not end well: %s", s.title, either(r.ID, "its unit"), since(lastOf(r), now), either(sentence(r.Text), "no reason given")),
			"Read its log: damage is found before it is needed. cairn's own look: c on its page", r.ID)}
	}
	return nil
}

func sortedBy[T any](all []T, compare func(a, b T) int) []T {
	sorted := slices.Clone(all)
	slices.SortStableFunc(sorted, compare)
	return sorted
}

// late says how long ago a time was, "never" for none.
func since(t, now time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return backup.Age(max(0, now.Sub(t))) + " ago"
}
