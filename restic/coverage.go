package restic

import (
	"fmt"
	"time"

	"cairn/internal/backup"
)

// Coverage is how much of a repository was read lately, part by part: a part is
// the nth of so many of its packs.
type Coverage struct {
	Parts  int           // the repository is read in so many parts
	Read   int           // of these, within Within and found good
	Within time.Duration // in which all of it should be read
	Next   int           // the part to read next, from 1: one that was never read, else the one read longest ago
	Oldest time.Time     // when that part was read; zero: never
}

// mostParts is how many parts restic can tell apart.
const mostParts = 256

// CheckJob is the job of a run that read one part: its Subject is "3/30".
const CheckJob = "check"

// Cover tells from the runs of a repository's checks how much of it was read,
// and what to read next, so that one part each time covers all of it within the
// given time. every is how often a part is read.
func Cover(runs []backup.Run, within, every time.Duration, now time.Time) Coverage {
	c := Coverage{Parts: 1, Within: within}
	if every > 0 {
		c.Parts = min(mostParts, max(1, int(within/every)))
	}
	read := make([]time.Time, c.Parts+1)
	for _, r := range runs {
		n, of, ok := part(r.Subject)
		if r.Job == CheckJob && ok && of == c.Parts && r.Status == backup.OK && !r.Ended.IsZero() && r.Ended.After(read[n]) && !r.Ended.After(now) {
			read[n] = r.Ended
		}
	}
	for n := 1; n <= c.Parts; n++ {
		if now.Sub(read[n]) <= within && !read[n].IsZero() {
			c.Read++
		}
		if c.Next == 0 || read[n].Before(c.Oldest) {
			c.Next, c.Oldest = n, read[n]
		}
	}
	return c
}

// Part names the part that is read next, as Run.Subject does.
func (c Coverage) Part() string { return fmt.Sprintf("%d/%d", c.Next, c.Parts) }

// String says how much was read, for a person.
func (c Coverage) String() string {
	return fmt.Sprintf("%d of %d parts read in the last %s (%d %%)", c.Read, c.Parts, backup.Age(c.Within), 100*c.Read/c.Parts)
}

func part(subject string) (n, of int, ok bool) {
	if _, err := fmt.Sscanf(subject, "%d/%d", &n, &of); err != nil {
		return 0, 0, false
	}
	return n, of, n >= 1 && n <= of && of <= mostParts
}
