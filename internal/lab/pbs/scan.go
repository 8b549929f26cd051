package pbs

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Reuse returns the datastore that lies at path, as a new server finds it there
// (datastore create --reuse-datastore): all it knows comes from the disk.
func Reuse(name, path string) (*Datastore, error) {
	d := &Datastore{Name: name, Path: path}
	if _, err := os.Stat(filepath.Join(path, ".chunks")); err != nil {
		return nil, fmt.Errorf("%s is no datastore: %w", path, err)
	}
	if err := d.scan("", path); err != nil {
		return nil, fmt.Errorf("reading the datastore %s: %w", path, err)
	}
	slices.Sort(d.Namespaces)
	return d, nil
}

// scan adds the namespace ns, which lies at dir, and those below it.
func (d *Datastore) scan(ns, dir string) error {
	below, err := os.ReadDir(filepath.Join(dir, "ns"))
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	for _, e := range below {
		child := strings.TrimPrefix(ns+"/"+e.Name(), "/")
		d.Namespaces = append(d.Namespaces, child)
		if err := d.scan(child, filepath.Join(dir, "ns", e.Name())); err != nil {
			return err
		}
	}
	for _, kind := range []string{"vm", "ct", "host"} {
		found, err := filepath.Glob(filepath.Join(dir, kind, "*", "*Z"))
		if err != nil {
			return err
		}
		for _, path := range found {
			s, err := load(ns, kind, path)
			if err != nil {
				return err
			}
			d.Snapshots = append(d.Snapshots, s)
		}
	}
	return nil
}

// load reads one snapshot's directory.
func load(ns, kind, path string) (*Snapshot, error) {
	at, err := time.Parse("2006-01-02T15:04:05Z", filepath.Base(path))
	if err != nil {
		return nil, err
	}
	group := filepath.Dir(path)
	owner, err := os.ReadFile(filepath.Join(group, "owner"))
	if err != nil {
		return nil, err
	}
	s := &Snapshot{NS: ns, Type: kind, ID: filepath.Base(group), Time: at.Unix(), Owner: strings.TrimSpace(string(owner))}
	_, err = os.Stat(filepath.Join(path, ".protected"))
	s.Protected = err == nil
	raw, err := os.ReadFile(filepath.Join(path, indexName))
	if os.IsNotExist(err) {
		return s, nil // in flight, or never finished
	}
	if err != nil {
		return nil, err
	}
	text, err := unblob(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	var m manifest
	if err := json.Unmarshal(text, &m); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	for _, f := range m.Files {
		s.Files = append(s.Files, File(f))
	}
	s.Files = append(s.Files, File{Name: indexName, Crypt: "none", Size: int64(len(raw))})
	s.Comment, s.Fingerprint = m.Unprotected.Notes, m.Unprotected.KeyFingerprint
	if v := m.Unprotected.VerifyState; v != nil {
		s.Verify, s.VerifyUPID = v.State, v.UPID
	}
	return s, nil
}
