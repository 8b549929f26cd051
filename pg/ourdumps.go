package pg

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"cairn/internal/backup"
)

// ours takes a directory with a manifest of ours.
func (s *dumpScan) ours(path string, name dumpName) {
	size, changed := measure(path)
	key := cacheKey{path, size, changed}
	s.cache.changed(key)
	c := s.cache.get(key, s.now, func() content { return probeOurs(path) })
	d := Dump{Path: path, Ours: true, Format: "directory", Size: size, State: c.state, Why: c.why, Rows: -1, Version: c.version, Taken: c.created, Finished: changed}
	d.Database = c.database
	if m := c.ours; m != nil {
		d.Format, d.Rows, d.Taken = m.Format, m.Rows, m.Started
		if !m.Finished.IsZero() {
			d.Finished = m.Finished
		}
	}
	if d.Taken.IsZero() {
		d.Taken = takenAt(name, time.Time{}, changed)
	}
	if d.Database == "" {
		d.Database = name.Stem
	}
	if d.State == backup.Complete {
		d.Proofs = append([]backup.Proven{{Level: backup.MetadataRead, At: c.looked}}, c.proofs...)
	}
	if age := s.now.Sub(changed); name.Unfinished && age < abandoned && age > -abandoned {
		d.State, d.Why, d.Rows = backup.InFlight, "", -1
	}
	s.dumps = append(s.dumps, d)
}

// probeOurs looks whether all that the manifest names is there with its size. It
// reads no data: that is what VerifyDump is for.
func probeOurs(path string) content {
	m, err := ReadDumpManifest(path)
	if err != nil {
		return broken(backup.Damaged, "its manifest cannot be used: "+err.Error())
	}
	c := content{state: backup.Complete, sure: true, database: m.Database.Name, version: m.Server, created: m.Started, ours: &m}
	if m.Finished.IsZero() {
		c.state, c.why = backup.Torn, "it was interrupted: its manifest was never finished"
		return c
	}
	for _, f := range m.Files {
		info, err := os.Stat(filepath.Join(path, f.Path))
		if err != nil {
			c.state, c.why = backup.Torn, f.Path+" is missing, which its manifest names"
			return c
		}
		if info.Size() != f.Bytes {
			c.state, c.why = backup.Damaged, fmt.Sprintf("%s has %d bytes, and %d in its manifest", f.Path, info.Size(), f.Bytes)
			return c
		}
	}
	kept := readProofs(path)
	c.proofs = kept.proven()
	if why := kept.damage(); why != "" {
		c.state, c.why, c.proofs = backup.Damaged, why, nil
	}
	return c
}
