package offsite

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"cairn/internal/backup"
	"cairn/pg"
)

// Dumps are the complete dumps and base backups of a PostgreSQL server that lie on
// this host. A dump of the whole server, as pg_dumpall makes, is a copy of each of
// its databases; a base backup needs the archived WAL from its beginning on.
func Dumps(name string, cfg pg.Config, f pg.Facts) []Dump {
	var out []Dump
	source := "postgres." + name
	database := func(d pg.Dump, database string, shared bool) Dump {
		return Dump{Source: source, Path: d.Path, Taken: d.Taken, Shared: shared, Asset: backup.AssetID{Kind: backup.Database, Scope: name, Name: database}}
	}
	if f.Dumps.Current() {
		for _, d := range f.Dumps.Value {
			switch {
			case d.State != backup.Complete || d.Globals:
			case d.Cluster:
				for _, one := range databases(cfg, f) {
					out = append(out, database(d, one, true))
				}
			case d.Database != "":
				out = append(out, database(d, d.Database, false))
			}
		}
	}
	if f.Bases.Current() {
		for _, b := range f.Bases.Value {
			if b.State != backup.Complete {
				continue
			}
			d := Dump{Source: source, Path: b.Path, Taken: b.Taken, Asset: backup.AssetID{Kind: backup.Cluster, Scope: name}}
			if cfg.WAL != nil && b.StartWAL != "" {
				d.WAL, d.From = filepath.Clean(cfg.WAL.Dir), b.StartWAL
			}
			out = append(out, d)
		}
	}
	return out
}

// databases are those that a dump of the whole server holds, as far as it is known.
func databases(cfg pg.Config, f pg.Facts) []string {
	var out []string
	if cfg.Dump != nil {
		out = append(out, cfg.Dump.Databases...)
	}
	if len(out) > 0 {
		return out
	}
	for _, d := range f.Server.Value.Databases {
		if !d.Template && d.AllowConn {
			out = append(out, d.Name)
		}
	}
	return out
}

// Lock lets one process at a time list off-site snapshots; free is false while
// another one does. An empty directory locks nothing.
func Lock(stateDir string) (unlock func(), free bool, err error) {
	if stateDir == "" {
		return func() {}, true, nil
	}
	f, err := os.OpenFile(filepath.Join(stateDir, "offsite.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, false, fmt.Errorf("locking: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close() // nothing was written
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, false, nil
		}
		return nil, false, fmt.Errorf("locking: %w", err)
	}
	return func() { _ = f.Close() }, true, nil
}
