// Package datastore reads a Proxmox Backup Server's datastore as it lies on
// disk, with no server: which backup snapshots there are, and which chunks each
// needs. Nothing of it writes but Complete, which changes no content.
package datastore

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Snapshot is a backup snapshot: its identity within the datastore.
type Snapshot struct {
	Namespace string // "" is the root, "a/b" below it
	Type      string // vm, ct, host
	ID        string
	Time      time.Time
}

// Dir is the snapshot's directory below the datastore.
func (s Snapshot) Dir() string {
	return path.Join(s.groupDir(), s.Time.UTC().Format(time.RFC3339))
}

func (s Snapshot) groupDir() string {
	var parts []string
	if s.Namespace != "" {
		for _, ns := range strings.Split(s.Namespace, "/") {
			parts = append(parts, "ns", ns)
		}
	}
	return path.Join(append(parts, s.Type, s.ID)...)
}

// Group names what it is a backup of, as PBS writes it: "lab/vm/101".
func (s Snapshot) Group() string { return path.Join(s.Namespace, s.Type, s.ID) }

// Key names the snapshot: "lab/vm/101/2026-01-02T03:04:05Z".
func (s Snapshot) Key() string { return path.Join(s.Group(), s.Time.UTC().Format(time.RFC3339)) }

// ParseDir reads a snapshot's directory, relative to the datastore.
func ParseDir(dir string) (s Snapshot, ok bool) {
	parts := strings.Split(path.Clean(dir), "/")
	n := len(parts) - 3
	if n < 0 || n%2 != 0 {
		return s, false
	}
	var spaces []string
	for i := 0; i < n; i += 2 {
		if parts[i] != "ns" || parts[i+1] == "" {
			return s, false
		}
		spaces = append(spaces, parts[i+1])
	}
	at, err := time.Parse(time.RFC3339, parts[n+2])
	s = Snapshot{strings.Join(spaces, "/"), parts[n], parts[n+1], at.UTC()}
	return s, err == nil && slices.Contains(kinds, s.Type) && s.ID != "" && s.Dir() == path.Clean(dir)
}

var kinds = []string{"vm", "ct", "host"}

// Store is a datastore on this host.
type Store struct{ Path string }

// ErrAbsent says that there is no datastore at the path, such as on an empty
// mount point: what it holds is not known.
var ErrAbsent = errors.New("no datastore is there")

// Snapshots lists the backup snapshots that are complete, in the order of their
// keys. What is being uploaded, with no manifest yet, is none.
func (s Store) Snapshots() ([]Snapshot, error) {
	if info, err := os.Stat(filepath.Join(s.Path, ".chunks")); err != nil || !info.IsDir() {
		return nil, fmt.Errorf("%s: %w", s.Path, ErrAbsent)
	}
	var all []Snapshot
	if err := s.walk("", 0, &all); err != nil {
		return nil, fmt.Errorf("listing the datastore: %w", err)
	}
	slices.SortFunc(all, func(a, b Snapshot) int { return strings.Compare(a.Key(), b.Key()) })
	return all, nil
}

const deepest = 16 // PBS nests namespaces 8 deep at the most

func (s Store) walk(dir string, depth int, all *[]Snapshot) error {
	for _, kind := range kinds {
		groups, err := s.list(path.Join(dir, kind))
		if err != nil {
			return err
		}
		for _, id := range groups {
			times, err := s.list(path.Join(dir, kind, id))
			if err != nil {
				return err
			}
			for _, at := range times {
				one, ok := ParseDir(path.Join(dir, kind, id, at))
				if !ok {
					continue
				}
				if _, err := os.Lstat(s.at(one.Dir(), ManifestName)); err == nil {
					*all = append(*all, one)
				} else if !errors.Is(err, fs.ErrNotExist) {
					return err
				}
			}
		}
	}
	spaces, err := s.list(path.Join(dir, "ns"))
	for _, name := range spaces {
		if err == nil && depth < deepest {
			err = s.walk(path.Join(dir, "ns", name), depth+1, all)
		}
	}
	return err
}

// list returns the directories in one; none where there is no such directory.
func (s Store) list(dir string) ([]string, error) {
	entries, err := os.ReadDir(s.at(dir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

func (s Store) at(parts ...string) string {
	return filepath.Join(append([]string{s.Path}, parts...)...)
}

// Need is all that one backup snapshot consists of.
type Need struct {
	Snapshot Snapshot
	Manifest []byte           // index.json.blob as it is
	Files    map[string]int64 // the other files of its directory by name, with their sizes: indexes and blobs
	Chunks   []Digest         // that its indexes name, sorted, each once
}

// Need reads the manifest and the indexes of a snapshot. The error says what of
// it cannot be read: then nobody knows which chunks it needs.
func (s Store) Need(of Snapshot) (Need, error) {
	return Collect(of, func(name string) ([]byte, error) { return os.ReadFile(s.at(of.Dir(), name)) },
		func() (map[string]int64, error) { return s.files(of) })
}

// files are the archives of a snapshot's directory; logs and marks are none.
func (s Store) files(of Snapshot) (map[string]int64, error) {
	entries, err := os.ReadDir(s.at(of.Dir()))
	if err != nil {
		return nil, err
	}
	files := map[string]int64{}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			return nil, err
		}
		if info.Mode().IsRegular() {
			files[e.Name()] = info.Size()
		}
	}
	return files, nil
}

// Collect makes the Need of a snapshot from its files, wherever these are read
// from. Where the manifest can be read, its files and checksums must agree with
// what is there; a log is not part of the backup.
func Collect(of Snapshot, read func(name string) ([]byte, error), list func() (map[string]int64, error)) (Need, error) {
	n := Need{Snapshot: of, Files: map[string]int64{}}
	fail := func(name string, err error) (Need, error) {
		return Need{}, fmt.Errorf("%s of %s: %w", name, of.Key(), err)
	}
	var err error
	if n.Manifest, err = read(ManifestName); err != nil {
		return fail(ManifestName, err)
	}
	manifest, err := ReadManifest(n.Manifest)
	opaque := errors.Is(err, ErrOpaque)
	if err != nil && !opaque {
		return fail(ManifestName, err)
	}
	there, err := list()
	if err != nil {
		return fail("the directory", err)
	}
	csums := map[string]string{}
	for _, f := range manifest.Files {
		csums[f.Name] = f.Csum
		if _, ok := there[f.Name]; !ok {
			return fail(f.Name, fs.ErrNotExist)
		}
	}
	for name, size := range there {
		if _, named := csums[name]; !named && !IsIndex(name) && !(opaque && isArchive(name)) {
			continue // the manifest itself, a log, a mark
		}
		n.Files[name] = size
		if !IsIndex(name) {
			continue
		}
		raw, err := read(name)
		if err != nil {
			return fail(name, err)
		}
		x, err := ReadIndex(bytes.NewReader(raw))
		if err != nil {
			return fail(name, err)
		}
		if want := csums[name]; want != "" && want != x.Csum.String() {
			return fail(name, errors.New("its checksum is not the one that the manifest names"))
		}
		n.Chunks = append(n.Chunks, x.Chunks...)
	}
	slices.SortFunc(n.Chunks, Digest.Compare)
	n.Chunks = slices.Compact(n.Chunks)
	return n, nil
}

// isArchive says whether a blob belongs to the backup: its log is sent later.
func isArchive(name string) bool {
	return strings.HasSuffix(name, ".blob") && name != ManifestName && name != "client.log.blob"
}

// ChunkSize is the size of a chunk's file, bytes; the error is fs.ErrNotExist
// where it is gone, as when PBS found it corrupt.
func (s Store) ChunkSize(d Digest) (int64, error) {
	info, err := os.Lstat(s.at(d.Path()))
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}
