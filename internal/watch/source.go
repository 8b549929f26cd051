package watch

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"cairn/checks"
	"cairn/internal/backup"
	"cairn/internal/config"
	"cairn/internal/disk"
	"cairn/internal/secret"
	"cairn/pbs"
	"cairn/pg"
	"cairn/proxmox"
	"cairn/restic"
)

// source is one configured system, asked on a clock of its own.
type source struct {
	name  string        // "pbs.nas"
	every time.Duration // between two surveys that succeed
	limit time.Duration // for one survey
	// ask surveys the system.
	ask func(ctx context.Context) (outcome, error)
	// fail enters that the latest attempt failed; the former facts stay.
	fail func(*checks.Facts, error, time.Time)
	// recall enters the last facts that the history keeps, where none are known.
	recall func(load func(source string, into any) (time.Time, error), into *checks.Facts) error
	// absent enters that the system is configured and was not read yet.
	absent func(*checks.Facts)
	close  func()
}

// outcome of a survey that succeeded: how to enter it into the facts (the time is
// that of its end), and what it found, for the history.
type outcome struct {
	enter func(*checks.Facts, time.Time)
	found any
}

// client is what every system's package offers. Those that hold connections have
// a Close besides.
type client[T any] interface {
	Survey(context.Context) (T, error)
}

func closer(c any) func() {
	switch c := c.(type) {
	case interface{ Close() }:
		return c.Close
	case interface{ Close() error }:
		return func() { _ = c.Close() } // what it leaves behind ends with us
	}
	return func() {}
}

// shelf finds the map of one kind of system among the facts.
type shelf[T any] func(*checks.Facts) *map[string]backup.Observed[T]

func newSource[T any](kind, name string, c client[T], every, limit time.Duration, on shelf[T]) source {
	// Maps that were published are never written to: each change makes a new one.
	put := func(f *checks.Facts, change func(backup.Observed[T]) backup.Observed[T]) {
		m := maps.Clone(*on(f))
		if m == nil {
			m = map[string]backup.Observed[T]{}
		}
		m[name] = change(m[name])
		*on(f) = m
	}
	full := kind + "." + name
	return source{
		name: full, every: every, limit: limit, close: closer(c),
		ask: func(ctx context.Context) (outcome, error) {
			value, err := c.Survey(ctx)
			return outcome{found: value, enter: func(f *checks.Facts, now time.Time) {
				put(f, func(o backup.Observed[T]) backup.Observed[T] { return o.Next(value, nil, now) })
			}}, err
		},
		fail: func(f *checks.Facts, err error, now time.Time) {
			put(f, func(o backup.Observed[T]) backup.Observed[T] { return o.Next(o.Value, err, now) })
		},
		recall: func(load func(string, any) (time.Time, error), f *checks.Facts) error {
			var value T
			at, err := load(full, &value)
			if err != nil || at.IsZero() {
				return err
			}
			put(f, func(o backup.Observed[T]) backup.Observed[T] {
				if o.Known() {
					return o
				}
				return backup.Observed[T]{Value: value, At: at, Err: o.Err, Tried: o.Tried}
			})
			return nil
		},
		absent: func(f *checks.Facts) {
			put(f, func(o backup.Observed[T]) backup.Observed[T] { return o })
		},
	}
}

// How often a system is asked, and how long it may take. What lies on this host
// is cheap to ask; a cloud is asked rarely.
const (
	apiEvery    = 30 * time.Second
	apiLimit    = 45 * time.Second
	hostEvery   = time.Minute
	hostLimit   = 30 * time.Second
	remoteEvery = 15 * time.Minute
	remoteLimit = 2 * time.Minute
)

func sources(cfg *config.Config, secrets secret.Reader) []source {
	var all []source
	for name, c := range cfg.Proxmox {
		all = append(all, newSource("proxmox", name, proxmox.New(name, c, secrets), apiEvery, apiLimit,
			func(f *checks.Facts) *map[string]backup.Observed[proxmox.Facts] { return &f.Proxmox }))
	}
	for name, c := range cfg.PBS {
		all = append(all, newSource("pbs", name, pbs.New(name, c, secrets), hostEvery, apiLimit,
			func(f *checks.Facts) *map[string]backup.Observed[pbs.Facts] { return &f.PBS }))
	}
	for name, c := range cfg.Restic {
		every, limit := hostEvery, hostLimit
		if c.Dir() == "" {
			every, limit = remoteEvery, remoteLimit
		}
		all = append(all, newSource("restic", name, restic.New(name, c, secrets), every, limit,
			func(f *checks.Facts) *map[string]backup.Observed[restic.Facts] { return &f.Restic }))
	}
	for name, c := range cfg.Postgres {
		all = append(all, newSource("postgres", name, pg.New(name, c, secrets), hostEvery, hostLimit,
			func(f *checks.Facts) *map[string]backup.Observed[pg.Facts] { return &f.Postgres }))
	}
	for name, c := range cfg.Disks {
		all = append(all, diskSource(name, disk.New(name, c)))
	}
	slices.SortFunc(all, func(a, b source) int { return strings.Compare(a.name, b.name) })
	return all
}

// diskSource is a disk, whose client also recalls what SMART said last: asking
// again on each one-shot check would wear on it, and rises would not be seen.
func diskSource(name string, c *disk.Client) source {
	s := newSource("disk", name, c, hostEvery, hostLimit,
		func(f *checks.Facts) *map[string]backup.Observed[disk.Facts] { return &f.Disks })
	recall := s.recall
	s.recall = func(load func(string, any) (time.Time, error), f *checks.Facts) error {
		err := recall(load, f)
		if o := f.Disks[name]; o.Known() {
			c.Recall(o.Value.Unit, o.Value.Smart)
		}
		var bridges disk.Bridges
		_, unknown := load(disk.BridgesKey, &bridges)
		c.Learn(bridges)
		return errors.Join(err, unknown)
	}
	return s
}

// choose keeps the sources that only names: a full name ("pbs.nas") or a kind
// ("pbs"). Empty keeps all.
func choose(all []source, only []string) ([]source, error) {
	if len(only) == 0 {
		return all, nil
	}
	var chosen []source
	for _, want := range only {
		found := false
		for _, s := range all {
			kind, _, _ := strings.Cut(s.name, ".")
			if s.name != want && kind != want {
				continue
			}
			found = true
			if !slices.ContainsFunc(chosen, func(c source) bool { return c.name == s.name }) {
				chosen = append(chosen, s)
			}
		}
		if !found {
			names := make([]string, len(all))
			for i, s := range all {
				names[i] = s.name
			}
			return nil, fmt.Errorf("no source is called %q: there are %s", want, strings.Join(names, ", "))
		}
	}
	return chosen, nil
}

func policy(cfg *config.Config, home *time.Location) checks.Policy {
	return checks.Policy{
		Proxmox: cfg.Proxmox, Guests: cfg.Guests, PBS: cfg.PBS, Restic: cfg.Restic,
		Postgres: cfg.Postgres, Disks: cfg.Disks, Assets: cfg.Assets, Keys: cfg.Runbook.Keys, Home: home, Needs: needs(cfg),
	}
}
