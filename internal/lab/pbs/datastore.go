package pbs

import (
	"math/rand/v2"
	"net/url"
	"strings"
)

const (
	audit  = "Datastore.Audit"
	backup = "Datastore.Backup"
	modify = "Datastore.Modify"
	prune  = "Datastore.Prune"
)

// operation is what a request wants with a datastore: maintenance allows the
// one and not the other.
type operation int

const (
	read operation = iota
	write
)

type object = map[string]any

// unavailable says why the datastore cannot be used for op; nil: it can.
func (d *Datastore) unavailable(op operation) error {
	kind, message := d.maintenance()
	switch {
	case kind == "delete":
		return bad("datastore '%s' is unavailable: datastore is being deleted", d.Name)
	case kind == "unmount":
		return bad("datastore '%s' is unavailable: datastore is being unmounted", d.Name)
	case kind == "offline":
		return bad("datastore '%s' is unavailable: offline maintenance mode: %s", d.Name, message)
	case kind == "s3-refresh":
		return bad("datastore '%s' is unavailable: S3 refresh maintenance mode: %s", d.Name, message)
	case kind == "read-only" && op == write:
		return bad("datastore '%s' is unavailable: read-only maintenance mode: %s", d.Name, message)
	case d.Mount == NotMounted:
		return bad("Datastore '%s' is not mounted", d.Name)
	}
	return nil
}

// Unavailable says why nothing can be written to the datastore; nil: it can.
func (d *Datastore) Unavailable() error { return d.unavailable(write) }

// maintenance takes the configured text apart: a kind and a message.
func (d *Datastore) maintenance() (kind, message string) {
	kind, rest, _ := strings.Cut(d.Maintenance, ",")
	kind = strings.TrimPrefix(kind, "type=")
	message = strings.Trim(strings.TrimPrefix(rest, "message="), `"`)
	if plain, err := url.PathUnescape(message); err == nil {
		message = plain
	}
	return kind, message
}

func (d *Datastore) mount() string {
	if d.Mount == "" {
		return NonRemovable
	}
	return d.Mount
}

// open finds the datastore that the path names, for one who has one of the
// privileges on it, or on the namespace that is asked for. Privileges come
// first: a stranger does not learn what exists.
func (c *call) open(op operation, privileges ...string) (*Datastore, error) {
	store, ns := c.r.PathValue("store"), c.params["ns"]
	if !c.may(storePath(store, ns), privileges...) {
		return nil, refuse(403, "permission check failed - missing %s on %s", strings.Join(privileges, "|"), storePath(store, ns))
	}
	d := c.Store(store)
	if d == nil {
		return nil, bad("no such datastore '%s'", store)
	}
	if err := d.unavailable(op); err != nil {
		return nil, err
	}
	if !d.hasNamespace(ns) {
		return nil, bad("namespace '%s' does not exist in datastore '%s'", ns, store)
	}
	return d, nil
}

func version(c *call) (any, error) {
	release := c.Release
	if release == "" {
		release = "0"
	}
	return object{"version": c.version(), "release": release, "repoid": "1f2e3d4c5b6a79881f2e3d4c5b6a79881f2e3d4c"}, nil
}

func ping(*call) (any, error) { return object{"pong": true}, nil }

func shuffled[T any](list []T) []T {
	rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list
}

func textOrNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// listStores shows the datastores that the caller may see something of.
func listStores(c *call) (any, error) {
	rows := []object{}
	for _, d := range c.Datastores {
		if !c.maySomewhere(d, audit, backup) {
			continue
		}
		row := object{"store": d.Name, "comment": textOrNull(d.Comment)}
		if atLeast(c.version(), 3, 3) {
			row["mount-status"] = d.mount()
		}
		if atLeast(c.version(), 4, 1) {
			row["backend-type"] = "filesystem"
		}
		if d.Maintenance != "" {
			row["maintenance"] = d.Maintenance
		}
		rows = append(rows, row)
	}
	return shuffled(rows), nil
}

// storesUsage is /status/datastore-usage.
func storesUsage(c *call) (any, error) {
	rows := []object{}
	for _, d := range c.Datastores {
		row := object{"store": d.Name}
		if atLeast(c.version(), 3, 3) {
			row["mount-status"] = d.mount()
		}
		if atLeast(c.version(), 4, 1) {
			row["backend-type"] = "filesystem"
		}
		switch full := c.may(storePath(d.Name, ""), audit, backup); {
		case !full && !c.maySomewhere(d, audit, backup):
			continue
		case !full, d.Mount == NotMounted:
		case d.unavailable(read) != nil:
			row["error"] = d.unavailable(read).Error()
		case d.Error != "":
			row["error"] = d.Error
		default:
			d.usage(row)
		}
		rows = append(rows, row)
	}
	return shuffled(rows), nil
}

func (d *Datastore) usage(row object) {
	row["total"], row["used"], row["avail"] = d.Total, d.Used, d.Total-d.Used
	row["gc-status"] = d.GC.counters()
	if d.History != nil {
		row["history"] = d.History
		row["history-start"] = d.HistoryStart
		row["history-delta"] = d.historyDelta()
	}
	if d.FullDate != nil {
		row["estimated-full-date"] = *d.FullDate
	}
}

func (d *Datastore) historyDelta() int64 {
	if d.HistoryDelta == 0 {
		return 1800
	}
	return d.HistoryDelta
}

func storeStatus(c *call) (any, error) {
	d, err := c.open(read, audit, backup)
	if err != nil {
		return nil, err
	}
	row := object{"total": d.Total, "used": d.Used, "avail": d.Total - d.Used}
	if atLeast(c.version(), 4, 1) {
		row["backend-type"] = "filesystem"
	}
	if c.truth("verbose") {
		row["gc-status"] = d.GC.counters()
		row["counts"] = d.counts()
	}
	return row, nil
}

// counts is the number of groups and snapshots by type.
func (d *Datastore) counts() object {
	counts := object{}
	for kind, groups := range d.groups("", true) {
		n := 0
		for _, g := range groups {
			n += len(g.snapshots)
		}
		counts[kind] = object{"groups": len(groups), "snapshots": n}
	}
	return counts
}

// listNamespaces shows a namespace and those below it, as far as they are visible.
func listNamespaces(c *call) (any, error) {
	store, parent := c.r.PathValue("store"), c.params["parent"]
	d := c.Store(store)
	if d == nil || !c.maySomewhere(d, audit, backup, modify) {
		if !c.may(storePath(store, parent), audit, backup, modify) {
			return nil, denied()
		}
		return nil, bad("no such datastore '%s'", store)
	}
	if err := d.unavailable(read); err != nil {
		return nil, err
	}
	depth, err := c.number("max-depth", 7, 0)
	if err != nil {
		return nil, err
	}
	rows := []object{}
	for _, ns := range append([]string{""}, d.Namespaces...) {
		below := parent == "" || ns == parent || strings.HasPrefix(ns, parent+"/")
		levels := int64(len(split(ns)) - len(split(parent)))
		if below && levels <= depth && c.may(storePath(d.Name, ns), audit, backup, modify) {
			rows = append(rows, object{"ns": ns})
		}
	}
	return rows, nil
}

// atLeast compares a version such as "3.2" with major.minor.
func atLeast(version string, major, minor int) bool {
	a, b := 0, 0
	for i, part := range strings.SplitN(version, ".", 3) {
		n := 0
		for _, c := range part {
			n = n*10 + int(c-'0')
		}
		if i == 0 {
			a = n
		} else if i == 1 {
			b = n
		}
	}
	return a > major || a == major && b >= minor
}
