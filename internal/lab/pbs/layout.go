package pbs

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const indexName = "index.json.blob"

// Content is what goes into one file of a snapshot. The name decides how: a
// .fidx is a disk image of Size bytes, all zero but for Data at the end of its
// first 4 MiB; a .didx holds Data in chunks of 64 KiB; a .blob is Data.
type Content struct {
	Name string
	Size int64 // of an image
	Data []byte
}

// dir is the snapshot's directory below the datastore's path.
func (s *Snapshot) dir() string {
	at := time.Unix(s.Time, 0).UTC().Format("2006-01-02T15:04:05Z")
	return filepath.Join(s.groupDir(), at)
}

func (s *Snapshot) groupDir() string {
	parts := []string{}
	for _, p := range split(s.NS) {
		parts = append(parts, "ns", p)
	}
	return filepath.Join(append(parts, s.Type, s.ID)...)
}

// Dir is the directory of a snapshot on disk.
func (d *Datastore) Dir(s *Snapshot) string { return filepath.Join(d.Path, s.dir()) }

// LaterThan lists the directories of the snapshots that were not yet there at a
// time, and of the groups that had none.
func (d *Datastore) LaterThan(at time.Time) []string {
	var later []string
	if d.Path == "" {
		return nil
	}
	begun := map[string]bool{}
	for _, s := range d.Snapshots {
		if s.Time <= at.Unix() {
			begun[s.groupDir()] = true
		} else {
			later = append(later, d.Dir(s))
		}
	}
	for _, s := range d.Snapshots {
		if g := s.groupDir(); !begun[g] {
			begun[g] = true // said once
			later = append(later, filepath.Join(d.Path, g))
		}
	}
	return later
}

// Open adds a snapshot that has no manifest yet: an upload in flight.
func (d *Datastore) Open(s *Snapshot) error {
	s.Files = nil
	if d.Path != "" {
		if err := os.MkdirAll(d.Dir(s), 0o755); err != nil {
			return fmt.Errorf("opening a backup: %w", err)
		}
		owner := filepath.Join(d.Path, s.groupDir(), "owner")
		if err := os.WriteFile(owner, []byte(s.Owner+"\n"), 0o644); err != nil {
			return fmt.Errorf("opening a backup: %w", err)
		}
	}
	d.Snapshots = append(d.Snapshots, s)
	return nil
}

// Close ends the upload of an open snapshot with its content.
func (d *Datastore) Close(s *Snapshot, contents []Content) error {
	for _, c := range contents {
		f, err := d.write(s, c)
		if err != nil {
			return err
		}
		s.Files = append(s.Files, f)
	}
	s.Files = append(s.Files, File{Name: indexName, Crypt: "none"})
	if err := d.diskManifest(s); err != nil {
		return err
	}
	return d.diskProtect(s)
}

// Put adds a whole snapshot.
func (d *Datastore) Put(s *Snapshot, contents ...Content) error {
	if err := d.Open(s); err != nil {
		return err
	}
	return d.Close(s, contents)
}

// Annotate changes what is not nil, on disk too.
func (d *Datastore) Annotate(s *Snapshot, notes *string, protected *bool) error {
	if protected != nil {
		s.Protected = *protected
		if err := d.diskProtect(s); err != nil {
			return err
		}
	}
	if notes == nil {
		return nil
	}
	if s.InFlight() {
		return bad("unable to load blob '\"index.json.blob\"' - No such file or directory (os error 2)")
	}
	s.Comment = *notes
	return d.diskManifest(s)
}

// write stores one file of a snapshot: its chunks, then the file itself.
func (d *Datastore) write(s *Snapshot, c Content) (File, error) {
	f := File{Name: c.Name, Crypt: "none"}
	var encode func() []byte
	if isIndex(c.Name) {
		x, err := d.chunks(c)
		if err != nil {
			return f, err
		}
		x.created, encode = s.Time, func() []byte { return x.encode() }
		csum := x.csum()
		f.Size, f.Csum = x.size, hex.EncodeToString(csum[:])
	} else {
		raw := blob(plainMagic, c.Data)
		encode = func() []byte { return raw }
		f.Size, f.Csum = int64(len(raw)), hexSum(raw)
	}
	if d.Path == "" {
		return f, nil
	}
	if err := os.WriteFile(filepath.Join(d.Dir(s), c.Name), encode(), 0o644); err != nil {
		return f, fmt.Errorf("writing a backup: %w", err)
	}
	return f, nil
}

func hexSum(raw []byte) string {
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:])
}

// chunks stores the chunks of an archive and returns its index.
func (d *Datastore) chunks(c Content) (index, error) {
	x := index{fixed: strings.HasSuffix(c.Name, ".fidx"), size: c.Size}
	if !x.fixed {
		x.size = int64(len(c.Data))
		for rest := c.Data; len(rest) > 0; {
			n := min(len(rest), 64<<10)
			sum, err := dataChunk(d.Path, rest[:n])
			if err != nil {
				return x, err
			}
			rest = rest[n:]
			x.entries = append(x.entries, entry{sum, x.size - int64(len(rest))})
		}
		return x, nil
	}
	var zero digest
	for at := int64(0); at < x.size; at += chunkSize {
		size := int(min(chunkSize, x.size-at))
		tail := c.Data
		if at > 0 {
			tail = nil
		}
		sum := zero
		if at <= chunkSize || size < chunkSize {
			var err error
			if sum, err = imageChunk(d.Path, size, tail); err != nil {
				return x, err
			}
		}
		if at == chunkSize && size == chunkSize {
			zero = sum
		}
		x.entries = append(x.entries, entry{sum, at + int64(size)})
	}
	return x, nil
}

// manifest is the content of index.json.blob.
type manifest struct {
	Type        string         `json:"backup-type"`
	ID          string         `json:"backup-id"`
	Time        int64          `json:"backup-time"`
	Files       []manifestFile `json:"files"`
	Unprotected unprotected    `json:"unprotected"`
	Signature   *string        `json:"signature"`
}

type manifestFile struct {
	Name  string `json:"filename"`
	Crypt string `json:"crypt-mode"`
	Size  int64  `json:"size"`
	Csum  string `json:"csum"`
}

type unprotected struct {
	Notes          string        `json:"notes,omitempty"`
	VerifyState    *verification `json:"verify_state,omitempty"`
	KeyFingerprint string        `json:"key-fingerprint,omitempty"`
}

// diskManifest writes index.json.blob as the snapshot now is, and notes its size.
func (d *Datastore) diskManifest(s *Snapshot) error {
	m := manifest{Type: s.Type, ID: s.ID, Time: s.Time, Unprotected: unprotected{Notes: s.Comment, KeyFingerprint: s.Fingerprint}}
	if s.Verify != "" {
		m.Unprotected.VerifyState = &verification{s.VerifyUPID, s.Verify}
	}
	for _, f := range s.Files {
		if f.Name != indexName {
			m.Files = append(m.Files, manifestFile(f))
		}
	}
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return fmt.Errorf("writing the manifest: %w", err)
	}
	raw := blob(plainMagic, text)
	for i := range s.Files {
		if s.Files[i].Name == indexName {
			s.Files[i].Size = int64(len(raw))
		}
	}
	if d.Path == "" {
		return nil
	}
	if err := os.WriteFile(filepath.Join(d.Dir(s), indexName), raw, 0o644); err != nil {
		return fmt.Errorf("writing the manifest: %w", err)
	}
	return nil
}

func (d *Datastore) diskProtect(s *Snapshot) error {
	if d.Path == "" {
		return nil
	}
	mark := filepath.Join(d.Dir(s), ".protected")
	if !s.Protected {
		if err := os.Remove(mark); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("taking protection off: %w", err)
		}
		return nil
	}
	if err := os.WriteFile(mark, nil, 0o644); err != nil {
		return fmt.Errorf("protecting: %w", err)
	}
	return nil
}

func (d *Datastore) diskRemove(s *Snapshot) error {
	if d.Path == "" {
		return nil
	}
	if err := os.RemoveAll(d.Dir(s)); err != nil {
		return fmt.Errorf("removing a snapshot: %w", err)
	}
	for _, other := range d.Snapshots {
		if other.NS == s.NS && other.Type == s.Type && other.ID == s.ID {
			return nil
		}
	}
	return os.RemoveAll(filepath.Join(d.Path, s.groupDir()))
}

// diskVerify reads every byte of a snapshot; without a path there is nothing to read.
func (d *Datastore) diskVerify(s *Snapshot) error {
	if d.Path != "" {
		for _, f := range s.Files {
			if _, err := d.Read(s, f.Name); err != nil {
				return err
			}
		}
	}
	return d.diskManifest(s)
}

// Read returns the data of one file of a snapshot from disk, as it was put
// there; of an image what is not zero. It reads and checks every chunk.
func (d *Datastore) Read(s *Snapshot, name string) ([]byte, error) {
	raw, err := os.ReadFile(filepath.Join(d.Dir(s), name))
	if err != nil {
		return nil, fmt.Errorf("reading a backup: %w", err)
	}
	if !isIndex(name) {
		return unblob(raw)
	}
	x, err := decodeIndex(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	var data []byte
	seen := map[digest]bool{}
	for _, e := range x.entries {
		if x.fixed && seen[e.digest] {
			continue
		}
		seen[e.digest] = true
		chunk, err := loadChunk(d.Path, e.digest)
		if err != nil {
			return nil, err
		}
		if x.fixed {
			chunk = bytes.TrimLeft(chunk, "\x00")
		}
		data = append(data, chunk...)
	}
	return data, nil
}

// diskSweep removes the chunks that no index names and returns their bytes. An
// index that cannot be read stops it: its chunks are not known.
func (d *Datastore) diskSweep() (removed int64, err error) {
	if d.Path == "" {
		return 0, nil
	}
	used := map[string]bool{}
	err = filepath.WalkDir(d.Path, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !isIndex(path) {
			return err
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		x, err := decodeIndex(raw)
		for _, e := range x.entries {
			used[hex.EncodeToString(e.digest[:])] = true
		}
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("marking used chunks: %w", err)
	}
	files, err := filepath.Glob(filepath.Join(d.Path, ".chunks", "*", "*"))
	if err != nil {
		return 0, err
	}
	for _, path := range files {
		if info, err := os.Stat(path); err == nil && !used[filepath.Base(path)] && os.Remove(path) == nil {
			removed += info.Size()
		}
	}
	return removed, nil
}
