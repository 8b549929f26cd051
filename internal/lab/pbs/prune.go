package pbs

import (
	"sort"
	"strconv"
	"time"
)

// periods are the units of retention, from the finest, with the name of the
// period that a time falls into.
var periods = []struct {
	option string
	name   func(time.Time) string
}{
	{"keep-hourly", func(t time.Time) string { return t.Format("2006-01-02 15") }},
	{"keep-daily", func(t time.Time) string { return t.Format("2006-01-02") }},
	{"keep-weekly", func(t time.Time) string {
		year, week := t.ISOWeek()
		return strconv.Itoa(year) + "/" + strconv.Itoa(week)
	}},
	{"keep-monthly", func(t time.Time) string { return t.Format("2006-01") }},
	{"keep-yearly", func(t time.Time) string { return t.Format("2006") }},
}

// keep returns the snapshots of one group that options keep. A unit counts the
// periods that no finer unit holds yet; the newest snapshot of each stays.
func keep(snapshots []*Snapshot, options map[string]int) map[*Snapshot]bool {
	sorted := append([]*Snapshot(nil), snapshots...)
	sort.Slice(sorted, func(i, j int) bool { return sorted[i].Time > sorted[j].Time })
	kept := map[*Snapshot]bool{}
	for i := 0; i < len(sorted) && i < options["keep-last"]; i++ {
		kept[sorted[i]] = true
	}
	for _, p := range periods {
		have, added := map[string]bool{}, map[string]bool{}
		for s := range kept {
			have[p.name(time.Unix(s.Time, 0))] = true
		}
		for _, s := range sorted {
			period := p.name(time.Unix(s.Time, 0))
			if have[period] || added[period] || len(added) >= options[p.option] {
				continue
			}
			added[period], kept[s] = true, true
		}
	}
	return kept
}

// prune removes from the groups of a namespace what options do not keep.
// Protected snapshots and the newest in flight neither count nor go.
func (d *Datastore) prune(w *World, t *Task, ns string, options map[string]int) string {
	empty := true
	for _, n := range options {
		empty = empty && n == 0
	}
	for _, groups := range d.groups(ns, false) {
		for _, g := range groups {
			var counted []*Snapshot
			for _, s := range g.snapshots {
				if !s.Protected && !s.InFlight() {
					counted = append(counted, s)
				}
			}
			kept := keep(counted, options)
			for _, s := range counted {
				if empty || kept[s] {
					continue
				}
				if err := d.Remove(s); err != nil {
					return err.Error()
				}
				t.Say(w.now(), "remove %s/%s/%s", s.Type, s.ID, rfc3339(s.Time))
			}
		}
	}
	return "OK"
}

// startPrune is the prune of a whole namespace.
func startPrune(c *call) (any, error) {
	d, err := c.open(write, modify, prune)
	if err != nil {
		return nil, err
	}
	options := map[string]int{}
	for name := range c.params {
		if len(name) > 5 && name[:5] == "keep-" {
			n, err := c.number(name, 0, 1)
			if err != nil {
				return nil, err
			}
			options[name] = int(n)
		}
	}
	dry := c.truth("dry-run")
	return c.run("prune", d.Name, d.Name, func(w *World, t *Task) string {
		if dry {
			return "OK"
		}
		return d.prune(w, t, c.params["ns"], options)
	})
}
