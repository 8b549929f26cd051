package proxmox

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Predecessor is the VMID of a guest whose place another took. What was backed up
// under it before then is that other one's own.
type Predecessor struct {
	VMID  int
	Until time.Time // when the place was taken, to the minute
}

// lineageTag is how the tag begins by which a cluster remembers a predecessor: it is
// read with the list of guests, by any host, and goes into the guest's backups.
const lineageTag = "cairn-replaces-"

const lineageTime = "20060102-1504"

// Tag is the tag of the guest that took the place.
func (p Predecessor) Tag() string {
	return fmt.Sprintf("%s%d-%s", lineageTag, p.VMID, p.Until.UTC().Format(lineageTime))
}

// Predecessors are the guests whose place this one took, as its tags say.
func (g Guest) Predecessors() (all []Predecessor) {
	for _, tag := range g.Tags {
		rest, ours := strings.CutPrefix(strings.ToLower(tag), lineageTag)
		number, at, timed := strings.Cut(rest, "-")
		id, err := strconv.Atoi(number)
		until, wrong := time.Parse(lineageTime, at)
		if ours && timed && err == nil && wrong == nil && id > 0 && id != g.VMID {
			all = append(all, Predecessor{id, until})
		}
	}
	return all
}

// LineageTags are the tags that say whose place a guest took.
func (g Guest) LineageTags() (tags []string) {
	for _, p := range g.Predecessors() {
		tags = append(tags, p.Tag())
	}
	return tags
}

// Owns says whether a backup that was made as a VMID at a time is the guest's own.
func (g Guest) Owns(vmid int, taken time.Time) bool {
	return vmid == g.VMID || slices.ContainsFunc(g.Predecessors(), func(p Predecessor) bool { return p.VMID == vmid && taken.Before(p.Until) })
}

// Tagged is the option "tags" with some added and others removed.
func (c Configuration) Tagged(add, remove []string) string {
	same := func(tag string) func(string) bool {
		return func(o string) bool { return strings.EqualFold(o, tag) }
	}
	tags := slices.DeleteFunc(list(c["tags"]), func(t string) bool { return slices.ContainsFunc(remove, same(t)) })
	for _, tag := range add {
		if !slices.ContainsFunc(tags, same(tag)) {
			tags = append(tags, tag)
		}
	}
	return strings.Join(tags, ";")
}

// HasTags says whether the configuration has all of some tags, and none of others.
// PVE sorts tags, and may change their case.
func (c Configuration) HasTags(all, none []string) bool {
	return c.Tagged(all, none) == c.Tagged(nil, nil)
}
