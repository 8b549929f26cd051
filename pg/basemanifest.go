package pg

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"cairn/internal/backup"
)

// What lies in a base backup of ours.
const (
	baseManifestName = "cairn-base.json"
	baseData         = "data"        // the data directory; its pg_tblspc points to the next, by relative links
	baseTablespaces  = "tablespaces" // by OID
	baseConfig       = "config"      // the server's configuration files from elsewhere, by their paths
)

// BaseManifest is what we know of a base backup that we made.
type BaseManifest struct {
	Version       int              `json:"cairn_base"` // of this form; 1
	Source        string           `json:"source"`
	Operation     string           `json:"operation,omitempty"`
	SystemID      int64            `json:"system_id,string"`
	Server        string           `json:"server_version"`
	DataDirectory string           `json:"data_directory"`
	Tablespaces   []BaseTablespace `json:"tablespaces,omitempty"`
	Config        []string         `json:"config,omitempty"`         // that are kept
	ConfigMissing []string         `json:"config_missing,omitempty"` // that could not be read
	Started       time.Time        `json:"started"`
	Stopped       time.Time        `json:"stopped,omitzero"`  // no recovery ends before
	Finished      time.Time        `json:"finished,omitzero"` // zero: it never was
	Verified      time.Time        `json:"verified,omitzero"` // pg_verifybackup found every byte as it should be
	Seconds       float64          `json:"seconds"`
	Bytes         int64            `json:"bytes"`
}

// BaseTablespace is a tablespace other than the two that every server has.
type BaseTablespace struct {
	OID      uint32 `json:"oid"`
	Name     string `json:"name"`
	Location string `json:"location"`
}

// ReadBaseManifest reads the manifest of a base backup that we made.
func ReadBaseManifest(dir string) (BaseManifest, error) {
	var m BaseManifest
	text, err := readLimited(filepath.Join(dir, baseManifestName), smallFile)
	if err == nil {
		m, err = parseBaseManifest(text)
	}
	if err != nil {
		return m, fmt.Errorf("reading the manifest of %s: %w", dir, err)
	}
	return m, nil
}

func parseBaseManifest(text []byte) (BaseManifest, error) {
	var m BaseManifest
	if err := json.Unmarshal(text, &m); err != nil {
		return m, fmt.Errorf("%s is no manifest of ours: %w", baseManifestName, err)
	}
	if m.Version != 1 {
		return m, fmt.Errorf("%s is of form %d, and this cairn knows 1: use a newer one", baseManifestName, m.Version)
	}
	if m.Source == "" {
		return m, errors.New(baseManifestName + " names no server")
	}
	return m, nil
}

func (m BaseManifest) write(dir string) error {
	text, err := json.MarshalIndent(m, "", " ")
	if err == nil {
		err = writeFile(filepath.Join(dir, baseManifestName), text, 0o600)
	}
	if err != nil {
		return fmt.Errorf("writing the manifest: %w", err)
	}
	return nil
}

// ours takes a directory with a manifest of ours.
func (s *baseScan) ours(path string) {
	size, changed := measure(path)
	key := cacheKey{path, size, changed}
	s.cache.changed(key)
	c := s.cache.get(key, s.now, func() content {
		b, c := s.probeOurs(path)
		s.details[path] = b
		return c
	})
	b := s.details[path]
	b.Path, b.Size, b.Ours = path, size, true
	finished := !b.Finished.IsZero()
	if finished && c.state != backup.Complete { // it is not being written: it was made, and is not good
		b.State, b.Why, b.Proofs = c.state, c.why, nil
		s.bases = append(s.bases, b)
		return
	}
	if !finished {
		b.Finished = changed
	}
	if b.Taken.IsZero() {
		b.Taken = b.Finished
	}
	proofs := b.Proofs
	s.add(b, c, parseDumpName(filepath.Base(path), s.zone).Unfinished, false)
	if last := &s.bases[len(s.bases)-1]; last.State == backup.Complete {
		last.Proofs = append(last.Proofs, proofs...)
	}
}

func (s *baseScan) probeOurs(path string) (BaseBackup, content) {
	m, err := ReadBaseManifest(path)
	if err != nil {
		return BaseBackup{}, broken(backup.Damaged, "its manifest cannot be used: "+err.Error())
	}
	b := BaseBackup{Taken: m.Started, Finished: m.Finished, SystemID: m.SystemID}
	if m.Finished.IsZero() {
		return b, broken(backup.Torn, "it was interrupted: its manifest was never finished")
	}
	data := filepath.Join(path, baseData)
	entries, err := os.ReadDir(data)
	if err != nil {
		return b, broken(backup.Damaged, "its data directory cannot be read: "+err.Error())
	}
	names := map[string]bool{}
	for _, e := range entries {
		names[e.Name()] = true
	}
	b, c := s.probeDirectory(data, names, "")
	if !names[manifestName] && c.state == backup.Complete && majorOf(m.Server) >= manifestSince {
		c = broken(backup.Damaged, "its backup_manifest is missing")
	}
	b.Taken, b.Finished, b.Stopped, b.SystemID = m.Started, m.Finished, m.Stopped, m.SystemID
	if !m.Verified.IsZero() {
		b.Proofs = append(b.Proofs, backup.Proven{Level: backup.EveryByteRead, At: m.Verified})
	}
	kept := readProofs(path)
	b.Proofs = append(b.Proofs, kept.proven()...)
	if why := kept.damage(); why != "" && c.state == backup.Complete {
		c, b.Proofs = broken(backup.Damaged, why), nil
	}
	return b, c
}
