package pg

import (
	"archive/tar"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"

	"cairn/internal/backup"
)

const (
	manifestName = "backup_manifest"
	// longestManifest bounds what is read of a manifest: about 150 bytes for
	// each file of the cluster.
	longestManifest = 256 << 20
)

// baseScan reads one directory of base backups.
type baseScan struct {
	zone    *time.Location
	now     time.Time
	segment int64 // wal_segment_size
	cache   *cache
	prober  *prober
	// details are those parts of a BaseBackup that come from its inside, by path;
	// they are as old as what the cache keeps of it.
	details map[string]BaseBackup
	bases   []BaseBackup
	foreign int
}

// readBases lists the base backups in dir, newest first: directories as
// pg_basebackup writes them, plain or as tar files, and tar files of scripts
// (base_2026-11-21.tar.gz). dir may be a base backup itself.
func readBases(dir string, segment int64, zone *time.Location, now time.Time, c *cache, details map[string]BaseBackup) ([]BaseBackup, int, error) {
	if !validSegmentSize(segment) {
		segment = usualSegment
	}
	s := &baseScan{zone: zone, now: now, segment: segment, cache: c, prober: &prober{zone, unpackBudget}, details: details}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, 0, fmt.Errorf("reading the base backups: %w", err)
	}
	c.begin()
	if !s.directory(dir, entries) {
		for _, e := range entries {
			s.entry(filepath.Join(dir, e.Name()), e, 1)
		}
	}
	c.finish()
	maps.DeleteFunc(details, func(path string, _ BaseBackup) bool {
		return !slices.ContainsFunc(s.bases, func(b BaseBackup) bool { return b.Path == path })
	})
	slices.SortFunc(s.bases, func(a, b BaseBackup) int {
		return cmp.Or(b.Taken.Compare(a.Taken), cmp.Compare(a.Path, b.Path))
	})
	chained(s.bases)
	return s.bases, s.foreign, nil
}

// chained marks the incremental base backups (PostgreSQL 17 and later) that rest on
// one which is not there, or not whole: nothing can be restored from them. Where a
// whole one does not tell where it begins (packed so that it is not unpacked here),
// it may be that one: not known is not damaged. all are newest first.
func chained(all []BaseBackup) {
	whole := map[string]bool{}
	silent := false
	for i := len(all) - 1; i >= 0; i-- {
		b := &all[i]
		if b.State != backup.Complete {
			continue
		}
		if b.Incremental && b.from != "" && !whole[b.from] && !silent {
			b.State, b.Proofs = backup.Damaged, nil
			b.Why = "it is incremental, and the base backup that it rests on, which begins at LSN " + b.from + ", is not here or not whole"
			continue
		}
		whole[b.start] = true
		silent = silent || b.start == "" && !b.Incremental && !b.Ours
	}
}

// entry looks at one entry of the directory. Below a directory that is no base
// backup it looks levels deep: some scripts make one a day around it.
func (s *baseScan) entry(path string, e fs.DirEntry, levels int) {
	if e.IsDir() {
		inner, err := os.ReadDir(path)
		switch {
		case err == nil && slices.ContainsFunc(inner, func(e fs.DirEntry) bool { return e.Name() == baseManifestName }):
			s.ours(path)
		case err == nil && s.directory(path, inner):
		case err != nil || levels == 0:
			s.foreign++
		default:
			for _, below := range inner {
				s.entry(filepath.Join(path, below.Name()), below, levels-1)
			}
		}
		return
	}
	name := parseDumpName(e.Name(), s.zone)
	info, err := e.Info()
	if err != nil || !e.Type().IsRegular() {
		return
	}
	if name.Format != "tar" || name.Sidecar || parseWALName(e.Name()).kind != foreignFile || strings.HasPrefix(name.Stem, "pg_wal") {
		s.foreign++
		return
	}
	s.tarFile(path, name, info)
}

// tarFile takes a single tar file of a whole data directory.
func (s *baseScan) tarFile(path string, name dumpName, info fs.FileInfo) {
	key := cacheKey{path, info.Size(), info.ModTime()}
	grows := s.cache.changed(key)
	c := s.cache.get(key, s.now, func() content {
		b, c := s.probeTar(path, info.Size(), name.Packed)
		s.details[path] = b
		return c
	})
	if c.foreign {
		s.foreign++
		return
	}
	b := s.details[path]
	b.Path, b.Size, b.Finished = path, info.Size(), info.ModTime()
	if b.Taken.IsZero() {
		b.Taken = takenAt(name, time.Time{}, info.ModTime())
	}
	s.add(b, c, name.Unfinished, grows)
}

// probeTar reads backup_label, which is the first file of a base backup's tar
// as pg_basebackup writes it, and looks at the end of the file.
func (s *baseScan) probeTar(path string, size int64, packed string) (b BaseBackup, c content) {
	f, err := openRegular(path)
	if err != nil {
		return b, broken(backup.Damaged, "it cannot be read: "+err.Error())
	}
	defer f.Close()
	if size == 0 {
		return b, broken(backup.Damaged, "it is empty: the base backup failed")
	}
	c = content{state: backup.Complete}
	var r io.Reader
	if packed == ".zst" {
		z, bad := zstd.NewReader(f, zstd.WithDecoderConcurrency(1))
		if bad != nil {
			return b, broken(backup.Damaged, "it cannot be unpacked: "+bad.Error())
		}
		defer z.Close()
		r = z
	} else {
		r, err = unpacker(io.NewSectionReader(f, 0, size), packed)
	}
	if err == nil {
		b, c = s.firstFiles(r, packed != "" && size > s.prober.budget)
	} else if !errors.Is(err, errPacked) {
		return b, broken(backup.Damaged, "it cannot be unpacked: "+err.Error())
	}
	if c.foreign || c.state != backup.Complete {
		return b, c
	}
	whole, known := tarEnds(f, size), true
	if packed != "" {
		whole, known = s.prober.packedWhole(f, size, packed)
	}
	c.sure, c.partial = known && whole, !known && packed == ".gz" && size <= wholeGzip
	if known && !whole {
		c.state, c.why = backup.Torn, "it ends too early: it was cut"
	}
	return b, c
}

// firstFiles looks for backup_label among the files of a tar: among all of them
// where passing over the others is cheap, else among the first.
func (s *baseScan) firstFiles(r io.Reader, dear bool) (b BaseBackup, c content) {
	const most = 64 << 10
	look := 1_000_000
	if dear {
		look = 40
	}
	files := tar.NewReader(r)
	isCluster := false
	for range look {
		head, err := files.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil && isCluster {
			return b, broken(backup.Torn, "it ends too early: it was cut")
		}
		if err != nil {
			return b, broken(backup.Damaged, "it is no tar file, or was cut at its beginning")
		}
		name := filepath.Base(head.Name)
		if name == "backup_label" {
			text, err := io.ReadAll(io.LimitReader(files, most))
			if l, ok := parseLabel(text, s.zone); err == nil && ok {
				l.into(&b)
				return b, content{state: backup.Complete, proof: backup.MetadataRead}
			}
		}
		isCluster = isCluster || clusterFile.MatchString(name)
	}
	return b, content{foreign: !isCluster, state: backup.Complete}
}

// clusterFile matches what lies at the top of a data directory.
var clusterFile = regexp.MustCompile(`^(PG_VERSION|postgresql\.auto\.conf|global|base|pg_wal|pg_xact|tablespace_map|pg_multixact|pg_logical)$`)

var baseTar = regexp.MustCompile(`^base\.tar(\.gz|\.zst|\.lz4)?$`)

// directory takes path as a base backup if it is one.
func (s *baseScan) directory(path string, entries []fs.DirEntry) bool {
	names := map[string]bool{}
	var tarName string
	for _, e := range entries {
		names[e.Name()] = true
		if baseTar.MatchString(e.Name()) {
			tarName = e.Name()
		}
	}
	isPlain := names["PG_VERSION"] || names["backup_label"]
	if !isPlain && tarName == "" && !names[manifestName] && !names[manifestName+".tmp"] {
		return false
	}
	size, changed := measure(path)
	key := cacheKey{path, size, changed}
	grows := s.cache.changed(key)
	name := parseDumpName(filepath.Base(path), s.zone)
	c := s.cache.get(key, s.now, func() content {
		b, c := s.probeDirectory(path, names, tarName)
		s.details[path] = b
		return c
	})
	b := s.details[path]
	b.Path, b.Size, b.Finished = path, size, changed
	if b.Taken.IsZero() {
		b.Taken = takenAt(name, time.Time{}, changed)
	}
	s.add(b, c, name.Unfinished, grows)
	return true
}

// measure adds up the files below a directory; what cannot be read counts nothing.
func measure(dir string) (size int64, changed time.Time) {
	_ = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return nil
		}
		if info, err := e.Info(); err == nil {
			size += info.Size()
			if info.ModTime().After(changed) {
				changed = info.ModTime()
			}
		}
		return nil
	})
	return size, changed
}

func (s *baseScan) probeDirectory(path string, names map[string]bool, tarName string) (b BaseBackup, c content) {
	c = content{state: backup.Complete}
	if tarName != "" {
		name := parseDumpName(tarName, s.zone)
		if info, err := os.Stat(filepath.Join(path, tarName)); err == nil {
			b, c = s.probeTar(filepath.Join(path, tarName), info.Size(), name.Packed)
			c.foreign = false
		}
	} else if text, err := readLimited(filepath.Join(path, "backup_label"), smallFile); err == nil {
		if l, ok := parseLabel(text, s.zone); ok {
			l.into(&b)
			c.proof = backup.MetadataRead
		}
	}
	if tarName == "" {
		if control, err := readLimited(filepath.Join(path, "global", "pg_control"), smallFile); err == nil && len(control) >= 8 {
			b.SystemID = int64(binary.LittleEndian.Uint64(control))
		} else if c.state == backup.Complete {
			return b, broken(backup.Torn, "global/pg_control is missing, which is copied last: the base backup was interrupted")
		}
	}
	if c.state != backup.Complete {
		return b, c
	}
	switch {
	case names[manifestName]:
		return s.withManifest(b, c, path, tarName == "")
	case names[manifestName+".tmp"]:
		return b, broken(backup.Torn, "its manifest is unfinished: the base backup was interrupted")
	}
	return b, c
}

// withManifest compares a base backup with its manifest: the manifest's own
// checksum, and that each file is there with its size. It reads no file; that
// is what pg_verifybackup is for.
func (s *baseScan) withManifest(b BaseBackup, c content, path string, plain bool) (BaseBackup, content) {
	b.Manifest = true
	text, err := readLimited(filepath.Join(path, manifestName), longestManifest)
	if err != nil {
		return b, broken(backup.Damaged, "backup_manifest cannot be read: "+err.Error())
	}
	m, err := parseManifest(text)
	if err != nil {
		return b, broken(backup.Torn, err.Error())
	}
	if m.SystemID != 0 {
		b.SystemID = m.SystemID
	}
	if len(m.Ranges) == 1 {
		b.start = cmp.Or(b.start, m.Ranges[0].Start)
	}
	if n := len(m.Ranges); n > 0 {
		b.end = m.Ranges[n-1].End
	}
	b.Incremental = b.Incremental || m.incremental() // its label may be packed so that it is not read here
	if len(m.Ranges) > 0 && b.StartWAL == "" {
		if lsn, ok := parseLSN(m.Ranges[0].Start); ok {
			b.Timeline = m.Ranges[0].Timeline
			b.StartWAL = segment{b.Timeline, lsn / uint64(s.segment)}.name(s.segment)
		}
	}
	c.sure, c.proof = true, backup.MetadataRead
	if !plain {
		return b, c
	}
	for _, f := range m.Files {
		inside := f.inside()
		if !filepath.IsLocal(inside) {
			return b, broken(backup.Damaged, "backup_manifest names a file outside of the backup")
		}
		info, err := os.Stat(filepath.Join(path, inside))
		if err != nil {
			return b, broken(backup.Damaged, fmt.Sprintf("%q is missing, which backup_manifest names", inside))
		}
		if info.Size() != f.Size {
			return b, broken(backup.Damaged, fmt.Sprintf("%q has %d bytes, and %d in backup_manifest", inside, info.Size(), f.Size))
		}
	}
	return b, c
}

func (s *baseScan) add(b BaseBackup, c content, unfinished, grows bool) {
	b.State, b.Why = c.state, c.why
	if c.state == backup.Complete && c.proof > backup.Exists {
		b.Proofs = []backup.Proven{{Level: c.proof, At: c.looked}}
	}
	age := s.now.Sub(b.Finished)
	isFresh := age < fresh && age > -fresh
	switch {
	case unfinished && age >= abandoned:
		b.State, b.Why = backup.Torn, "it was left unfinished, as its name says"
	case unfinished, isFresh && c.state != backup.Complete, isFresh && grows && !c.sure:
		b.State, b.Why, b.Proofs = backup.InFlight, "", nil
	}
	s.bases = append(s.bases, b)
}
