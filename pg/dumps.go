package pg

import (
	"cmp"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"cairn/internal/backup"
)

// fresh is how long after its last change a dump may still be being written.
const fresh = time.Minute

// abandoned is how old an unfinished file is when nobody writes it any more.
const abandoned = 24 * time.Hour

// dumpScan reads one directory of dumps, and what lies in its subdirectories:
// some scripts make one a day, some one a database.
type dumpScan struct {
	root    string
	known   []string // names of databases
	zone    *time.Location
	now     time.Time
	cache   *cache
	prober  *prober
	dumps   []Dump
	foreign int
}

// readDumps lists the dumps in dir, newest first, and counts the files that are
// none. known are the databases that exist or are configured.
func readDumps(dir string, known []string, zone *time.Location, now time.Time, c *cache) ([]Dump, int, error) {
	s := &dumpScan{root: dir, known: known, zone: zone, now: now, cache: c, prober: &prober{zone, unpackBudget}}
	c.begin()
	const levels = 2
	if err := s.walk(dir, dumpName{}, levels); err != nil {
		return nil, 0, fmt.Errorf("reading the dumps: %w", err)
	}
	c.finish()
	slices.SortFunc(s.dumps, func(a, b Dump) int {
		return cmp.Or(b.Taken.Compare(a.Taken), cmp.Compare(a.Path, b.Path))
	})
	return s.dumps, s.foreign, nil
}

func (s *dumpScan) walk(dir string, above dumpName, levels int) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range slices.Backward(entries) { // the latest date first: it is unpacked first
		path := filepath.Join(dir, e.Name())
		name := parseDumpName(e.Name(), s.zone).under(above)
		switch {
		case e.IsDir():
			if s.directory(path, name) || levels == 0 {
				continue
			}
			if err := s.walk(path, name, levels-1); err != nil {
				s.foreign++ // it may not be read, or was removed since
			}
		case e.Type().IsRegular():
			info, err := e.Info()
			if err != nil {
				continue // it was removed since
			}
			s.file(path, name, info)
		}
	}
	return nil
}

// under adds what the name of the directory above tells: a day, a database.
func (d dumpName) under(above dumpName) dumpName {
	if !d.HasDate && above.HasDate {
		d.Taken, d.HasDate, d.HasTime = above.Taken, true, above.HasTime
	}
	if m := periodNumber.FindStringSubmatch(d.Stem); m != nil && !d.HasDate && periodStem.MatchString(above.Stem) {
		d.Stem = m[1]
	}
	if d.Stem == "" && !periodStem.MatchString(above.Stem) {
		d.Stem = above.Stem
	}
	d.Unfinished = d.Unfinished || above.Unfinished
	return d
}

// periodStem matches directories that say how long a dump is kept.
var periodStem = regexp.MustCompile(`(?i)^(hourly|daily|weekly|monthly|yearly|latest|last|current|old|archive|backups?|dumps?)$`)

func (s *dumpScan) file(path string, name dumpName, info fs.FileInfo) {
	isWAL := parseWALName(filepath.Base(path)).kind != foreignFile
	bare := name.Packed == ".gz" && name.Format == "" && name.HasDate // pg_dumpall | gzip > dump_DATE.gz
	if bare {
		name.Format = "plain"
	}
	if isWAL || name.Sidecar || name.Encrypted && !name.HasDate && name.Format == "" || name.Packed != "" && name.Format == "" {
		s.foreign++
		return
	}
	key := cacheKey{path, info.Size(), info.ModTime()}
	grows := s.cache.changed(key)
	c := s.cache.get(key, s.now, func() content {
		c := s.prober.file(path, info.Size(), name)
		if c.cluster {
			c.roles = rolesIn(path, name.Packed)
		}
		return c
	})
	if bare && c.state == backup.Damaged {
		c.foreign = true // nothing but its inside could say that it is a dump
	}
	if c.foreign || info.Size() == 0 && name.Format == "" {
		s.foreign++
		return
	}
	format := name.Format
	if format == "" {
		format = "custom"
	}
	s.add(path, name, c, format, info.Size(), info.ModTime(), grows)
}

var dataFile = regexp.MustCompile(`^(\d+\.dat|blobs?_.*)(\.gz|\.zst|\.lz4)?$`)

// directory takes path as a dump of pg_dump -Fd if it is one.
func (s *dumpScan) directory(path string, name dumpName) bool {
	entries, err := os.ReadDir(path)
	if err != nil {
		return false
	}
	if slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == dumpManifestName }) {
		s.ours(path, name)
		return true
	}
	if slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == "PG_VERSION" || e.Name() == manifestName }) {
		s.foreign++ // a base backup
		return true
	}
	isDump := len(entries) == 0 && name.HasDate && name.Stem != ""
	files := map[string]int64{}
	var size int64
	var changed time.Time
	for _, e := range entries {
		isDump = isDump || e.Name() == "toc.dat" || dataFile.MatchString(e.Name())
		info, err := e.Info()
		if err != nil {
			continue // it was removed since
		}
		files[e.Name()] = info.Size()
		size += info.Size()
		if info.ModTime().After(changed) {
			changed = info.ModTime()
		}
	}
	if !isDump {
		return false
	}
	if info, err := os.Stat(path); err == nil && changed.IsZero() {
		changed = info.ModTime()
	}
	key := cacheKey{path, size, changed}
	grows := s.cache.changed(key)
	c := s.cache.get(key, s.now, func() content { return probeDirectory(path, files, s.zone) })
	s.add(path, name, c, "directory", size, changed, grows)
	return true
}

// probeDirectory reads toc.dat, which pg_dump -Fd writes last, and looks for
// the files that it names.
func probeDirectory(path string, files map[string]int64, zone *time.Location) content {
	if len(files) == 0 {
		return broken(backup.Damaged, "it is empty: the dump failed")
	}
	if _, ok := files["toc.dat"]; !ok {
		return broken(backup.Torn, "toc.dat is missing, which pg_dump writes last: the dump was interrupted")
	}
	f, err := openRegular(filepath.Join(path, "toc.dat"))
	if err != nil {
		return broken(backup.Damaged, "toc.dat cannot be read: "+err.Error())
	}
	defer f.Close()
	t, err := readTOC(f, zone)
	c := ofTOC(t)
	c.sure = true
	if err != nil {
		c.state, c.why = backup.Damaged, "toc.dat is damaged: "+err.Error()
		return c
	}
	for _, name := range t.files {
		if !holds(files, name) {
			c.state, c.why = backup.Torn, name+" is missing or empty, which toc.dat names"
			return c
		}
	}
	c.state, c.proof = backup.Complete, backup.MetadataRead
	return c
}

func holds(files map[string]int64, name string) bool {
	for _, packed := range []string{"", ".gz", ".zst", ".lz4"} {
		if size, ok := files[name+packed]; ok {
			return size > 0 || strings.HasSuffix(name, ".toc") // a list of large objects may be empty
		}
	}
	return false
}

func (s *dumpScan) add(path string, name dumpName, c content, format string, size int64, changed time.Time, grows bool) {
	d := Dump{Path: path, Format: format, Size: size, State: c.state, Why: c.why, Rows: -1, Roles: c.roles, Version: c.version, Encrypted: name.Encrypted,
		Finished: changed, Taken: takenAt(name, c.created, changed)}
	s.owner(&d, name, c)
	if c.state == backup.Complete && c.proof > backup.Exists {
		d.Proofs = []backup.Proven{{Level: c.proof, At: c.looked}}
	}
	age := s.now.Sub(changed)
	isFresh := age < fresh && age > -fresh
	switch {
	case name.Unfinished && age >= abandoned:
		d.State, d.Why = backup.Torn, "it was left unfinished, as its name says"
	case name.Unfinished, isFresh && c.state != backup.Complete, isFresh && grows && !c.sure:
		d.State, d.Why, d.Proofs = backup.InFlight, "", nil
	}
	s.dumps = append(s.dumps, d)
}

// rolesIn lists the roles that a dump of the globals creates: they stand at its
// beginning.
func rolesIn(path, packed string) []string {
	text, err := readUnpacked(path, packed) // as far as it can be read
	if err != nil && len(text) == 0 {
		return nil
	}
	var all []string
	for line := range strings.Lines(string(text)) {
		if m := createRole.FindStringSubmatch(strings.TrimRight(line, "\r\n")); m != nil {
			all = append(all, unquoted(m[1]))
		}
	}
	return all
}

// takenAt chooses among the time in the name, the time in the dump itself and
// the time of its last change: a name with a time of day first, because copying
// keeps it and it is the script's own; a date alone last.
func takenAt(name dumpName, created, changed time.Time) time.Time {
	switch {
	case name.HasTime:
		return name.Taken
	case !created.IsZero() && created.Year() > 1995:
		return created
	case name.HasDate && changed.Sub(name.Taken) < 0, name.HasDate && changed.Sub(name.Taken) > 2*backup.Day:
		return name.Taken // it was touched or copied since
	}
	return changed
}

var (
	globalsStem = regexp.MustCompile(`(?i)(^|[_.\- ])(globals?|global_objects|roles)($|[_.\- ])`)
	clusterStem = regexp.MustCompile(`(?i)^(pg_?)?(dump_?all|all|all[_-]?(dbs?|databases)|cluster|full)$`)
	// tiredofit/db-backup writes the kind before the database, and the host behind it.
	kindAndHost = regexp.MustCompile(`^(?i:pgsql|postgres|postgresql)_(.+)_[^_]+$`)
	toolPrefix  = regexp.MustCompile(`(?i)^(pg_?dump|pgsql|pg|postgres|postgresql|dump|backup|db)[_.\- ]`)
)

// owner says what the dump is of. Its own head knows; the name is asked where
// that does not speak.
func (s *dumpScan) owner(d *Dump, name dumpName, c content) {
	stem := name.Stem
	isKnown := slices.Contains(s.known, stem)
	switch {
	case c.database != "":
		d.Database = c.database
	case d.Format == "plain" && globalsStem.MatchString(stem) && !isKnown:
		d.Globals, d.Format = true, "globals"
	case c.cluster || clusterStem.MatchString(stem) && !isKnown && d.Format == "plain":
		d.Cluster = true
	default:
		d.Database = stem
		if rest := toolPrefix.ReplaceAllString(stem, ""); !isKnown && slices.Contains(s.known, rest) {
			d.Database = rest
		} else if m := kindAndHost.FindStringSubmatch(stem); !isKnown && m != nil && slices.Contains(s.known, m[1]) {
			d.Database = m[1]
		}
	}
}
