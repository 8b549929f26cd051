package pg

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"time"
)

// dumpManifestName is the file that makes a directory a dump of ours. It is
// written twice: at the begin, without Finished, and as the last thing of all.
const dumpManifestName = "cairn-dump.json"

// DumpManifest is what we know of a dump that we made. The rows were counted in
// the dump's own snapshot: they can be compared with what is restored from it.
type DumpManifest struct {
	Version    int              `json:"cairn_dump"` // of this form; 1
	Source     string           `json:"source"`     // "postgres.erp"
	Operation  string           `json:"operation,omitempty"`
	SystemID   int64            `json:"system_id,string"` // 0: not known
	Server     string           `json:"server_version"`
	Tool       string           `json:"pg_dump_version"`
	Format     string           `json:"format"` // directory or custom
	Jobs       int              `json:"jobs"`
	Excluded   []string         `json:"exclude_table,omitempty"`
	Started    time.Time        `json:"started"`
	Finished   time.Time        `json:"finished,omitzero"` // zero: it never was
	Seconds    float64          `json:"seconds"`
	LSN        string           `json:"lsn,omitempty"`
	Database   DumpedDatabase   `json:"database"`
	Tables     []DumpedTable    `json:"tables"`
	Sequences  []DumpedSequence `json:"sequences"`
	Roles      []string         `json:"roles"` // that own something, or are granted something
	Extensions []Extension      `json:"extensions"`
	Objects    int64            `json:"large_objects"`
	Kinds      map[string]int64 `json:"objects,omitempty"` // how many there are of what else; empty where tables were left out
	Files      []DumpedFile     `json:"files"`
	Rows       int64            `json:"rows"`
	Bytes      int64            `json:"bytes"`

	foreign *foreignDump // nil: it is a manifest; else the dump has none, and this is what it tells
}

// DumpedDatabase is the database itself: what pg_restore does not bring back
// when it restores into another one.
type DumpedDatabase struct {
	Name       string    `json:"name"`
	Bytes      int64     `json:"bytes"` // pg_database_size
	Owner      string    `json:"owner"`
	Encoding   string    `json:"encoding"`
	Collate    string    `json:"collate"`
	CType      string    `json:"ctype"`
	Provider   string    `json:"locale_provider,omitempty"` // libc, icu, builtin; empty: a version before 15
	ICULocale  string    `json:"icu_locale,omitempty"`      // of icu or builtin
	ICURules   string    `json:"icu_rules,omitempty"`
	Tablespace string    `json:"tablespace"`
	Limit      int       `json:"connection_limit"`
	Comment    string    `json:"comment,omitempty"`
	Settings   []Setting `json:"settings,omitempty"`
	Grants     []Grant   `json:"grants,omitempty"` // empty: the defaults
	Defaults   bool      `json:"default_grants"`
}

// Setting is one ALTER DATABASE … SET, for all roles or one.
type Setting struct {
	Role  string `json:"role,omitempty"`
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Grant is one privilege on the database. An empty role is PUBLIC.
type Grant struct {
	Role      string `json:"role,omitempty"`
	Privilege string `json:"privilege"`
	Grantable bool   `json:"grantable,omitempty"`
}

// DumpedTable is a table whose rows are in the dump. Rows is -1 where the rows
// are not comparable: those of a materialized view, or of an extension's table.
type DumpedTable struct {
	Schema string `json:"schema"`
	Name   string `json:"name"`
	Rows   int64  `json:"rows"`
	Bytes  int64  `json:"bytes"` // on the server
}

// DumpedSequence is a sequence and where it stood.
type DumpedSequence struct {
	Schema string `json:"schema"`
	Name   string `json:"name"`
	Last   int64  `json:"last_value"`
	Called bool   `json:"is_called"`
}

// Extension is one that the database needs.
type Extension struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

// DumpedFile is a file of the dump, by its path inside of it.
type DumpedFile struct {
	Path   string `json:"path"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

const longestDumpManifest = 64 << 20

// ReadDumpManifest reads the manifest of a dump that we made.
func ReadDumpManifest(dir string) (DumpManifest, error) {
	var m DumpManifest
	text, err := readLimited(filepath.Join(dir, dumpManifestName), longestDumpManifest)
	if err == nil {
		m, err = parseDumpManifest(text)
	}
	if err != nil {
		return m, fmt.Errorf("reading the manifest of %s: %w", dir, err)
	}
	return m, nil
}

func parseDumpManifest(text []byte) (DumpManifest, error) {
	var m DumpManifest
	if err := json.Unmarshal(text, &m); err != nil {
		return m, fmt.Errorf("%s is no manifest of ours: %w", dumpManifestName, err)
	}
	if m.Version != 1 {
		return m, fmt.Errorf("%s is of form %d, and this cairn knows 1: use a newer one", dumpManifestName, m.Version)
	}
	if m.Database.Name == "" {
		return m, errors.New(dumpManifestName + " names no database")
	}
	for _, f := range m.Files {
		if !filepath.IsLocal(f.Path) {
			return m, errors.New(dumpManifestName + " names a file outside of the dump")
		}
	}
	return m, nil
}

// Largest returns the n tables with the most rows.
func (m DumpManifest) Largest(n int) []DumpedTable {
	all := slices.Clone(m.Tables)
	slices.SortStableFunc(all, func(a, b DumpedTable) int { return cmp.Compare(b.Rows, a.Rows) })
	return all[:min(n, len(all))]
}

// write makes the manifest durable in dir.
func (m DumpManifest) write(dir string) error {
	text, err := json.MarshalIndent(m, "", " ")
	if err != nil {
		return fmt.Errorf("encoding the manifest: %w", err)
	}
	if err := writeFile(filepath.Join(dir, dumpManifestName), text, 0o600); err != nil {
		return fmt.Errorf("writing the manifest: %w", err)
	}
	return nil
}

// writeFile writes a file so that after a power cut either all of it is there or
// the former one.
func writeFile(path string, text []byte, mode fs.FileMode) error {
	f, err := os.OpenFile(path+".new", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(path+".new"))
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// eachFile hashes files side by side and calls each with what came of it, one at
// a time.
func eachFile(ctx context.Context, dir string, files []DumpedFile, each func(*DumpedFile, int64, string) error) error {
	var mu sync.Mutex
	var failed error
	next := 0
	take := func() *DumpedFile {
		mu.Lock()
		defer mu.Unlock()
		if failed == nil {
			failed = ctx.Err()
		}
		if failed != nil || next == len(files) {
			return nil
		}
		next++
		return &files[next-1]
	}
	var wait sync.WaitGroup
	for range min(len(files), runtime.GOMAXPROCS(0)) {
		wait.Go(func() {
			for f := take(); f != nil; f = take() {
				bytes, sum, err := hashFile(filepath.Join(dir, f.Path))
				mu.Lock()
				if err == nil {
					err = each(f, bytes, sum)
				}
				if failed == nil {
					failed = err
				}
				mu.Unlock()
			}
		})
	}
	wait.Wait()
	return failed
}

func hashFile(path string) (int64, string, error) {
	f, err := openRegular(path)
	if err != nil {
		return 0, "", err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, f)
	if err != nil {
		return n, "", fmt.Errorf("reading %s: %w", path, err)
	}
	return n, hex.EncodeToString(h.Sum(nil)), nil
}
