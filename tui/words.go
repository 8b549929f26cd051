package tui

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"cairn/checks"
	"cairn/internal/backup"
)

// span of time for a board: one unit, days with hours. Never seconds: a board
// changes once a minute at most.
func brief(d time.Duration) string {
	switch {
	case d < 0:
		return "in future"
	case d < time.Minute:
		return "now"
	case d < time.Hour:
		return fmt.Sprintf("%dm", d/time.Minute)
	case d < 2*backup.Day:
		return fmt.Sprintf("%dh", d/time.Hour)
	}
	return backup.Age(d.Truncate(time.Hour))
}

// long is brief's form for a detail: hours with minutes.
func long(d time.Duration) string {
	if d >= 0 && d < time.Minute {
		return "less than 1m"
	}
	return backup.Age(d)
}

// exact is a time that somebody waits for: with seconds below ten minutes.
func exact(d time.Duration) string {
	d = max(d, 0).Truncate(time.Second)
	if d >= time.Minute && d < 10*time.Minute {
		return fmt.Sprintf("%dm %02ds", d/time.Minute, d%time.Minute/time.Second)
	}
	return backup.Age(d)
}

func every(d time.Duration) string {
	switch {
	case d <= 0:
		return "-"
	case d%backup.Day == 0 && d > backup.Day:
		return fmt.Sprintf("%dd", d/backup.Day)
	}
	return brief(d)
}

func size(n int64) string {
	if n < 0 {
		return "?"
	}
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	f, unit := float64(n), 0
	for f >= 1024 && unit < 6 {
		f, unit = f/1024, unit+1
	}
	name := [...]string{"", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}[unit]
	if f >= 100 {
		return fmt.Sprintf("%.0f %s", f, name)
	}
	return fmt.Sprintf("%.1f %s", f, name)
}

func percent(part, whole int64) string {
	if whole <= 0 {
		return "?"
	}
	return fmt.Sprintf("%.0f %%", 100*float64(part)/float64(whole))
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + many
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func or(text, other string) string {
	if text == "" {
		return other
	}
	return text
}

// clock writes a moment as short as it stays clear: the time of day, with its
// day of the week or its date where that is not today.
func (m *Model) clock(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	t, now := t.In(m.o.Location), m.now.In(m.o.Location)
	days := dayNumber(t) - dayNumber(now)
	switch {
	case days == 0:
		return t.Format("15:04")
	case days > -7 && days < 7:
		return t.Format("Mon 15:04")
	case t.Year() == now.Year():
		return t.Format("2 Jan 15:04")
	}
	return t.Format("2006-01-02 15:04")
}

// date writes a moment with its day, where a weekday could be taken for another
// week's.
func (m *Model) date(t time.Time) string { return t.In(m.o.Location).Format("2 Jan 15:04") }

func dayNumber(t time.Time) int {
	y, mo, d := t.Date()
	return int(time.Date(y, mo, d, 0, 0, 0, 0, time.UTC).Unix() / 86400)
}

// ago writes a moment with its age: "Tue 02:10, 9d 2h ago".
func (m *Model) ago(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	if t.After(m.now.Add(time.Minute)) {
		return m.clock(t) + ", in " + long(t.Sub(m.now))
	}
	return m.clock(t) + ", " + long(max(m.now.Sub(t), 0)) + " ago"
}

// since writes an age for a sentence: "5h ago".
func (m *Model) since(t time.Time) string {
	if text := m.age(t); text != "now" {
		return text + " ago"
	}
	return "just now"
}

func (m *Model) age(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return brief(m.now.Sub(t))
}

// kept sums up retention: the units that fall short, or the first one.
func kept(all []checks.Retention, most int) string {
	var short, full []string
	for _, r := range all {
		text := fmt.Sprintf("%d/%d %s", r.Kept, r.Wanted, r.Unit)
		if r.Kept < r.Wanted {
			short = append(short, text)
		} else {
			full = append(full, text)
		}
	}
	shown := append(short, full...)
	if len(shown) == 0 {
		return "-"
	}
	return strings.Join(shown[:min(most, len(shown))], ", ")
}

// statusWord is how a status is written in a list: critical ones in capitals.
func statusWord(s backup.Status) string {
	if s == backup.Critical {
		return "CRITICAL"
	}
	return s.String()
}
