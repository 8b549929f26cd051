package pg

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"cairn/internal/backup"
)

// PickDump chooses the newest whole dump of a database that accept takes: of ours
// where there is one, since only that can be compared; else of others. newer is a
// newer one without a manifest, if there is one.
func (f Facts) PickDump(database string, accept func(Dump) bool) (picked Dump, newer string, err error) {
	torn := 0
	var other Dump
	for _, d := range f.Dumps.Value {
		if d.Database != database && !d.Cluster || d.Globals || !accept(d) {
			continue
		}
		whole := d.State == backup.Complete && !d.Encrypted
		switch {
		case whole && d.Ours:
			return d, other.Path, nil
		case whole && other.Path == "":
			other = d
		case !whole:
			torn++
		}
	}
	if other.Path != "" {
		return other, "", nil
	}
	if f.Dumps.Err != nil {
		return Dump{}, "", f.Dumps.Err
	}
	return Dump{}, "", fmt.Errorf("there is no whole dump of %q to restore from (%d are torn, damaged or encrypted): cairn copies lists what there is", database, torn)
}

// OpenDump takes the dump that a person names: a directory of ours, or what
// pg_dump or pg_dumpall wrote. database is what is wanted of it.
func (c *Client) OpenDump(ctx context.Context, path, database string) (Dump, error) {
	path = filepath.Clean(path)
	if _, err := os.Stat(path); err != nil {
		return Dump{}, fmt.Errorf("there is no dump: %w", err)
	}
	if !IsOurs(path) {
		m, err := c.describe(ctx, path, database)
		return Dump{Path: path, Format: m.Format, Database: m.Database.Name, Taken: m.Started, Size: m.Bytes, Rows: -1, State: backup.Complete}, err
	}
	p := probeOurs(path)
	d := Dump{Path: path, Ours: true, State: p.state, Why: p.why, Database: p.database, Taken: p.created}
	if p.state != backup.Complete {
		return d, fmt.Errorf("the dump %s cannot be restored from: %s", path, p.why)
	}
	d.Rows, d.Size = p.ours.Rows, p.ours.Bytes
	return d, nil
}
