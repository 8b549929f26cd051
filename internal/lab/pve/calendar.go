package pve

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// calendar is a schedule such as "mon..fri 03:30", "*/2:00", "sat 18:15",
// "*-*-01 02:00" or "daily".
type calendar struct {
	weekdays      []int // empty: every day; 0 is Sunday
	days, months  []int // empty: every
	hours, minute []int
}

var weekdayNames = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

func parseCalendar(text string) (calendar, error) {
	switch strings.ToLower(strings.TrimSpace(text)) {
	case "":
		return calendar{}, fmt.Errorf("empty schedule")
	case "minutely":
		text = "*:*"
	case "hourly":
		text = "*:00"
	case "daily":
		text = "00:00"
	case "weekly":
		text = "mon 00:00"
	case "monthly":
		text = "*-*-01 00:00"
	case "yearly", "annually":
		text = "*-01-01 00:00"
	}
	cal := calendar{hours: []int{0}, minute: []int{0}}
	words := strings.Fields(strings.ToLower(text))
	for i, word := range words {
		var err error
		switch {
		case strings.Contains(word, "-"):
			err = cal.date(word)
		case strings.Contains(word, ":") || (i == len(words)-1 && strings.Trim(word, "0123456789*/,.") == ""):
			err = cal.clock(word)
		default:
			cal.weekdays, err = weekdays(word)
		}
		if err != nil {
			return calendar{}, err
		}
	}
	return cal, nil
}

// clock reads hours:minutes, or minutes alone.
func (c *calendar) clock(word string) error {
	parts := strings.Split(word, ":")
	if len(parts) == 1 {
		parts = []string{"*", parts[0]}
	}
	if len(parts) > 3 {
		return fmt.Errorf("bad time %q", word)
	}
	var err error
	if c.hours, err = numbers(parts[0], 0, 23); err != nil {
		return err
	}
	c.minute, err = numbers(parts[1], 0, 59)
	return err
}

func (c *calendar) date(word string) error {
	parts := strings.Split(word, "-")
	if len(parts) == 3 {
		parts = parts[1:]
	}
	var err error
	if c.months, err = numbers(parts[0], 1, 12); err != nil {
		return err
	}
	c.days, err = numbers(parts[1], 1, 31)
	return err
}

// numbers reads lists of n, a..b, a/step, */step and *.
func numbers(text string, least, most int) ([]int, error) {
	var all []int
	for _, item := range strings.Split(text, ",") {
		item, step, stepped := strings.Cut(item, "/")
		from, to, ranged := strings.Cut(item, "..")
		a, b, by := least, most, 1
		var err error
		if from != "*" {
			if a, err = bounded(from, least, most); err != nil {
				return nil, err
			}
			if !ranged && !stepped {
				b = a
			}
		}
		if ranged {
			if b, err = bounded(to, least, most); err != nil {
				return nil, err
			}
		}
		if stepped {
			if by, err = bounded(step, 1, most); err != nil {
				return nil, err
			}
		}
		if a > b {
			return nil, fmt.Errorf("%q ends before it begins", item)
		}
		for n := a; n <= b; n += by {
			all = append(all, n)
		}
	}
	slices.Sort(all)
	return all, nil
}

func bounded(text string, least, most int) (int, error) {
	n := number(text)
	if text == "" || strings.Trim(text, "0123456789") != "" || n < least || n > most {
		return 0, fmt.Errorf("%q is not between %d and %d", text, least, most)
	}
	return n, nil
}

func weekdays(word string) ([]int, error) {
	var all []int
	for _, item := range strings.Split(word, ",") {
		from, to, ranged := strings.Cut(item, "..")
		a, b := weekday(from), weekday(to)
		if a < 0 || (ranged && b < 0) {
			return nil, fmt.Errorf("%q is no weekday", item)
		}
		if !ranged {
			b = a
		}
		for n := a; ; n = (n + 1) % 7 {
			all = append(all, n)
			if n == b {
				break
			}
		}
	}
	return all, nil
}

func weekday(text string) int {
	if len(text) > 3 {
		text = text[:3]
	}
	return slices.Index(weekdayNames, text)
}

// next is the first time after t; the zero time when none comes in four years.
func (c calendar) next(t time.Time) time.Time {
	day := time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, t.Location())
	for range 4 * 366 {
		if has(c.weekdays, int(day.Weekday())) && has(c.days, day.Day()) && has(c.months, int(day.Month())) {
			for _, h := range c.hours {
				for _, m := range c.minute {
					at := time.Date(day.Year(), day.Month(), day.Day(), h, m, 0, 0, day.Location())
					if at.After(t) {
						return at
					}
				}
			}
		}
		day = day.AddDate(0, 0, 1)
	}
	return time.Time{}
}

func has(list []int, n int) bool { return len(list) == 0 || slices.Contains(list, n) }
