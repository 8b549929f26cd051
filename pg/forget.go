package pg

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"cairn/internal/backup"
)

// Doomed is a dump or base backup that the retention no longer holds.
type Doomed struct {
	Path  string
	Of    string // database; empty: a base backup
	Taken time.Time
	Size  int64
	torn  bool
}

// Retention is what would go of one kind, and what keeps it from going.
type Retention struct {
	Kind   string // "dump" or "base"
	Doomed []Doomed
	Frozen []string // databases (or "base backups") of which nothing goes, and why
}

// Retain tells from a fresh look at the directories what the configured
// retention no longer holds. Only what is ours can go. Nothing goes of a
// database whose newest dump is not complete; the newest complete one never goes.
// Whether the newest one is suspiciously small is judged elsewhere.
func (c *Client) Retain(ctx context.Context, segment int64) ([]Retention, error) {
	c.survey.Lock()
	defer c.survey.Unlock()
	var all []Retention
	got := c.scan(found{}, c.known(Server{}), segment)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if cfg := c.cfg.Dump; cfg != nil && cfg.Keep != (backup.Keep{}) {
		if got.dumps.Err != nil {
			return nil, got.dumps.Err
		}
		r := Retention{Kind: "dump"}
		by := map[string][]held{}
		for _, d := range got.dumps.Value {
			if d.Database != "" {
				by[d.Database] = append(by[d.Database], held{Doomed{d.Path, d.Database, d.Taken, d.Size, d.State == backup.Torn}, d.State, d.Ours})
			}
		}
		for _, name := range sortedKeys(by) {
			r.judge(fmt.Sprintf("database %q", name), by[name], cfg.Keep, c.zone)
		}
		all = append(all, r)
	}
	if cfg := c.cfg.Base; cfg != nil && cfg.Keep != (backup.Keep{}) {
		if got.bases.Err != nil {
			return nil, got.bases.Err
		}
		r := Retention{Kind: "base"}
		var bases []held
		for _, b := range got.bases.Value {
			bases = append(bases, held{Doomed{b.Path, "", b.Taken, b.Size, b.State == backup.Torn}, b.State, b.Ours})
		}
		r.judge("the base backups", bases, cfg.Keep, c.zone)
		all = append(all, r)
	}
	return all, nil
}

func sortedKeys[T any](m map[string]T) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// held is a copy that lies there.
type held struct {
	Doomed
	state backup.State
	ours  bool
}

// judge decides about the copies of one thing.
func (r *Retention) judge(of string, copies []held, keep backup.Keep, zone *time.Location) {
	slices.SortStableFunc(copies, func(a, b held) int { return b.Taken.Compare(a.Taken) })
	var whole []held
	for _, one := range copies {
		if one.state == backup.Complete {
			whole = append(whole, one)
		}
	}
	if len(whole) == 0 {
		if len(copies) > 0 {
			r.Frozen = append(r.Frozen, of+": none of its copies is complete")
		}
		return
	}
	if newest := copies[0]; newest.state != backup.Complete {
		r.Frozen = append(r.Frozen, fmt.Sprintf("%s: the newest, %s, is %s", of, filepath.Base(newest.Path), newest.state))
		return
	}
	stays := keeps(whole, keep, zone)
	for i, one := range copies {
		gone := one.state == backup.Torn || one.state == backup.Complete && !stays[one.Path]
		if i > 0 && gone && one.ours && one.Path != whole[0].Path {
			r.Doomed = append(r.Doomed, one.Doomed)
		}
	}
}

// keeps says which copies a policy keeps: the newest of each of so many distinct
// periods, and so many last ones. Copies are newest first.
func keeps(copies []held, keep backup.Keep, zone *time.Location) map[string]bool {
	stays := map[string]bool{}
	for _, one := range copies[:min(keep.Last, len(copies))] {
		stays[one.Path] = true
	}
	for _, period := range []struct {
		count int
		name  func(time.Time) string
	}{
		{keep.Hourly, func(t time.Time) string { return t.Format("2006-01-02 15 -0700") }},
		{keep.Daily, func(t time.Time) string { return t.Format(time.DateOnly) }},
		{keep.Weekly, func(t time.Time) string { y, w := t.ISOWeek(); return fmt.Sprint(y, "-W", w) }},
		{keep.Monthly, func(t time.Time) string { return t.Format("2006-01") }},
		{keep.Yearly, func(t time.Time) string { return t.Format("2006") }},
	} {
		seen := map[string]bool{}
		for _, one := range copies {
			if name := period.name(one.Taken.In(zone)); !seen[name] && len(seen) < period.count {
				seen[name] = true
				stays[one.Path] = true
			}
		}
	}
	return stays
}

// Forget removes those of paths that the retention does not hold any more, as a
// fresh look tells; what is held again, or frozen since, stays. It returns what
// was removed.
func (c *Client) Forget(ctx context.Context, segment int64, paths []string) ([]Doomed, error) {
	now, err := c.Retain(ctx, segment)
	if err != nil {
		return nil, err
	}
	var gone []Doomed
	var failed error
	for _, r := range now {
		for _, d := range r.Doomed {
			if !slices.Contains(paths, d.Path) || ctx.Err() != nil {
				continue
			}
			if err := remove(d.Path); err != nil {
				failed = errors.Join(failed, err)
				continue
			}
			gone = append(gone, d)
		}
	}
	return gone, errors.Join(failed, ctx.Err())
}

// remove takes the name of a copy away first, so that a removal that breaks off
// leaves nothing that looks like a copy.
func remove(path string) error {
	dir, name := filepath.Split(path)
	doomed := filepath.Join(dir, "."+strings.TrimPrefix(name, ".")+removedEnd+unfinishedEnd)
	if err := os.Rename(path, doomed); err != nil {
		return fmt.Errorf("forgetting %s: %w", path, err)
	}
	if err := os.RemoveAll(doomed); err != nil {
		return fmt.Errorf("forgetting %s: what is left of it lies in %s: %w", path, doomed, err)
	}
	return nil
}
