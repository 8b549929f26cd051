package backup

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Duration is a time.Duration that reads and writes days and weeks too:
// "14d", "1w", "1d12h", besides everything time.ParseDuration takes. A day is
// 24 hours: schedules count elapsed time, so daylight saving changes nothing.
type Duration time.Duration

// Day and Week are elapsed time, not calendar time.
const (
	Day  = 24 * time.Hour
	Week = 7 * Day
)

// Std returns d as the standard library's type.
func (d Duration) Std() time.Duration { return time.Duration(d) }

// ParseDuration reads a duration such as "90m", "14d" or "1w2d". It refuses
// negative ones, because every duration that is configured is a span.
func ParseDuration(text string) (Duration, error) {
	rest, total := strings.TrimSpace(text), time.Duration(0)
	if rest == "" {
		return 0, fmt.Errorf("duration is empty: write for example 24h, 14d or 1w")
	}
	for rest != "" {
		cut := strings.IndexAny(rest, "dw")
		if cut < 0 {
			part, err := time.ParseDuration(rest)
			if err != nil || part < 0 {
				return 0, fmt.Errorf("%q is no duration: write for example 90m, 24h, 14d or 1w", text)
			}
			total += part
			break
		}
		unit := Day
		if rest[cut] == 'w' {
			unit = Week
		}
		n, err := strconv.ParseUint(rest[:cut], 10, 16)
		if err != nil {
			return 0, fmt.Errorf("%q is no duration: write for example 90m, 24h, 14d or 1w", text)
		}
		total += time.Duration(n) * unit
		rest = rest[cut+1:]
	}
	if total < 0 {
		return 0, fmt.Errorf("duration %q is too long", text)
	}
	return Duration(total), nil
}

// UnmarshalText reads what ParseDuration reads; it serves TOML and JSON.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := ParseDuration(string(text))
	if err == nil {
		*d = v
	}
	return err
}

// MarshalText writes the form of String.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// String writes the two largest units: "9d 2h", "25h" below two days, "40m",
// "12s", as the screens show an age.
func (d Duration) String() string { return Age(time.Duration(d)) }

// Age writes a span for a person with at most two units: "0s", "40m", "3h",
// "25h", "2d", "9d 2h". Seconds are shown below a minute only, minutes only
// below ten hours.
func Age(d time.Duration) string {
	if d < 0 {
		if d == math.MinInt64 {
			d++ // it has no opposite
		}
		return "-" + Age(-d)
	}
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm", d/time.Minute)
	case d < 10*time.Hour:
		return join(d/time.Hour, "h", d%time.Hour/time.Minute, "m")
	case d < 2*Day:
		return fmt.Sprintf("%dh", d/time.Hour)
	case d < 100*Day:
		return join(d/Day, "d", d%Day/time.Hour, "h")
	}
	return fmt.Sprintf("%dd", d/Day)
}

func join(big time.Duration, bigUnit string, small time.Duration, smallUnit string) string {
	if small == 0 {
		return fmt.Sprintf("%d%s", big, bigUnit)
	}
	return fmt.Sprintf("%d%s %d%s", big, bigUnit, small, smallUnit)
}
