package checks

import (
	"fmt"
	"strings"
	"time"

	"cairn/internal/backup"
)

// reach is whether a system answered, and how old what it said is.
type reach struct {
	known   bool // its facts were read at some time
	current bool // the latest attempt gave them, lately
	at      time.Time
	why     string // why they are not current, one sentence
	hint    string // that the error itself gives
	tried   bool
}

// observed tells how far what was read can be relied on now.
func observed[T any](o backup.Observed[T], now time.Time) reach {
	r := reach{known: o.Known(), at: o.At, tried: !o.Tried.IsZero() || o.Err != nil}
	switch {
	case o.Err != nil:
		// The systems write their errors as "what and why; what to do".
		why, hint, _ := strings.Cut(o.Err.Error(), "; ")
		r.why, r.hint = either(sentence(why), "it did not answer"), capital(sentence(hint))
	case !o.Known():
		r.why = "not read yet"
	case o.At.After(now.Add(clockTolerance)):
		r.why = "its facts are from the future: the clock of this host went back"
	case now.Sub(o.At) > factsMaxAge && o.Tried.IsZero():
		r.why = "not read yet"
	case now.Sub(o.At) > factsMaxAge:
		r.why = fmt.Sprintf("its facts are %s old, the limit is %s", backup.Age(now.Sub(o.At)), backup.Age(factsMaxAge))
	default:
		r.current = true
	}
	return r
}

// seen says when the last facts were read, as part of a sentence.
func (r reach) seen(now time.Time) string {
	if !r.known {
		return "never read"
	}
	return "last seen " + backup.Age(max(0, now.Sub(r.at))) + " ago"
}

// judgeReach tells of a source that cannot be read, or only in part.
func judgeReach(s *source, now time.Time) []Problem {
	r := s.reach
	if !r.current {
		code := "unreachable"
		if !r.tried {
			code = "not-read"
		}
		hint, seen := r.hint, " ("+r.seen(now)+")"
		if !r.tried && !r.known {
			seen = "" // "not read yet" says so
		}
		if hint == "" {
			hint = "Check that it is up and that its table in the configuration is right, then: cairn check --only " + s.name
		}
		return []Problem{found(backup.Unknown, code, s.name, fmt.Sprintf("%s: %s%s", s.title, strings.TrimPrefix(r.why, s.name+": "), seen), hint)}
	}
	return nil
}

// judgeClock tells of a server whose clock disagrees with ours.
func judgeClock(s *source, skew time.Duration) []Problem {
	if skew.Abs() <= clockTolerance {
		return nil
	}
	direction := "ahead of"
	if skew < 0 {
		direction = "behind"
	}
	return []Problem{found(backup.Warning, "clock", s.name,
		fmt.Sprintf("The clock of %s is %s %s this host's, the limit is %s", s.title, backup.Age(skew.Abs()), direction, backup.Age(clockTolerance)),
		"Set both by NTP (timedatectl status): every age and every schedule is judged by these clocks")}
}
