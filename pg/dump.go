package pg

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"cairn/internal/command"
)

// What lies in a dump of ours, besides its manifest.
const (
	dumpDirectory = "data"        // of pg_dump -Fd
	dumpFile      = "data.dump"   // of pg_dump -Fc
	globalsFile   = "globals.sql" // of pg_dumpall --globals-only; it holds password verifiers
)

// unfinishedEnd ends the name of what is still being written: the survey takes
// it for no copy, and the next dump of the database removes it.
const (
	unfinishedEnd = ".part"
	removedEnd    = ".removed" // before it: of what is being forgotten
)

// stampLayout is the time in names, in UTC, so that they sort.
const stampLayout = "20060102T150405Z"

// Dump dumps one database with the globals of its server into a new directory
// below dump.dir, DATABASE-TIME, which is there only when all of it is. It
// returns the manifest and the directory.
func (c *Client) Dump(ctx context.Context, database string, w Work) (DumpManifest, string, error) {
	if c.cfg.Dump == nil {
		return DumpManifest{}, "", fmt.Errorf("postgres.%s has no dump: name its directory in the configuration", c.name)
	}
	name := fileName(database)
	if err := sweep(c.cfg.Dump.Dir, name); err != nil {
		return DumpManifest{}, "", err
	}
	part := filepath.Join(c.cfg.Dump.Dir, "."+name+"-"+c.now().UTC().Format(stampLayout)+unfinishedEnd)
	if err := os.Mkdir(part, 0o700); err != nil {
		return DumpManifest{}, "", fmt.Errorf("making room for the dump: %w", err)
	}
	d := &dumping{client: c, work: w, part: part}
	final, err := d.run(ctx, database)
	if err != nil {
		// Nothing of it may be taken for a dump; what cannot be removed is swept later.
		return d.manifest, "", errors.Join(fmt.Errorf("dumping %q: %w", database, err), os.RemoveAll(part))
	}
	return d.manifest, final, nil
}

// sweep removes what an interrupted run left in dir under the same name: the
// caller holds the lock of the server, so nobody writes to it any more.
func sweep(dir, name string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("reading what was made before: %w", err)
	}
	for _, e := range entries {
		stem, ours := strings.CutSuffix(e.Name(), unfinishedEnd)
		stem, hidden := strings.CutPrefix(strings.TrimSuffix(stem, removedEnd), ".")
		at := strings.LastIndexByte(stem, '-')
		if !ours || !hidden || !e.IsDir() || at < 0 || stem[:at] != name {
			continue
		}
		if _, err := time.Parse(stampLayout, stem[at+1:]); err != nil {
			continue
		}
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			return fmt.Errorf("removing what an interrupted run left: %w", err)
		}
	}
	return nil
}

// fileName makes a file name of a database's: what a file name cannot hold, and
// what would hide it, is written as in URLs.
func fileName(database string) string {
	var b strings.Builder
	for i := range len(database) {
		if ch := database[i]; ch < ' ' || ch == '/' || ch == '%' || ch == 0x7f || i == 0 && ch == '.' {
			fmt.Fprintf(&b, "%%%02X", ch)
			continue
		}
		b.WriteByte(database[i])
	}
	return b.String()
}

// dumping is one dump under way.
type dumping struct {
	client   *Client
	work     Work
	part     string
	manifest DumpManifest
	summed   *earlySums // of what pg_dump has finished
}

func (d *dumping) run(ctx context.Context, database string) (string, error) {
	c := d.client
	began := c.now()
	snap, err := c.server.hold(ctx, database)
	if err != nil {
		return "", err
	}
	defer snap.close(ctx)
	m := &d.manifest
	*m = DumpManifest{Version: 1, Source: "postgres." + c.name, Operation: d.work.Operation, Format: c.cfg.Dump.Format, Jobs: c.jobs(), Excluded: c.cfg.Dump.ExcludeTable}
	if m.Format == "" {
		m.Format = "directory"
	}
	if err := snap.describe(ctx, m); err != nil {
		return "", explain(targetOf(c.server.source, snap.conn.Config()), c.server.scrub, err)
	}
	m.SystemID = c.systemID(ctx, snap)
	if err := m.write(d.part); err != nil {
		return "", err
	}
	if err := d.both(ctx, snap); err != nil {
		return "", err
	}
	if m.Files, err = d.summed.rest(ctx); err != nil {
		return "", err
	}
	for _, f := range m.Files {
		m.Bytes += f.Bytes
	}
	m.Finished = c.now().UTC()
	m.Seconds = m.Finished.Sub(began).Seconds()
	if err := m.write(d.part); err != nil {
		return "", err
	}
	return appear(d.part, c.cfg.Dump.Dir, fileName(database), m.Started)
}

// appear gives what is complete its name, in one step. A second one within a
// second takes the next free second.
func appear(part, dir, name string, at time.Time) (string, error) {
	for ; ; at = at.Add(time.Second) {
		final := filepath.Join(dir, name+"-"+at.UTC().Format(stampLayout))
		if _, err := os.Lstat(final); err == nil {
			continue
		} else if !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("naming it: %w", err)
		}
		if err := os.Rename(part, final); err != nil {
			return "", fmt.Errorf("naming it: %w", err)
		}
		return final, syncDir(dir)
	}
}

// systemID is the server's; 0 where the role may not read it.
func (c *Client) systemID(ctx context.Context, n *snapshot) (id int64) {
	inner, err := n.tx.Begin(ctx)
	if err != nil {
		return 0
	}
	_ = inner.QueryRow(ctx, `SELECT system_identifier FROM pg_control_system()`).Scan(&id) // not permitted: 0
	_ = inner.Rollback(ctx)
	return id
}

func (c *Client) jobs() int {
	if c.cfg.Dump != nil && c.cfg.Dump.Jobs > 0 {
		return c.cfg.Dump.Jobs
	}
	return runtime.NumCPU()
}

// restoreJobs are more than there are cores: each waits for its client or for the
// disk at times, and an index that is built last holds up nobody. On two cores
// three were up to a quarter faster than two.
func (c *Client) restoreJobs() int {
	if c.cfg.Dump != nil && c.cfg.Dump.Jobs > 0 {
		return c.cfg.Dump.Jobs
	}
	return runtime.NumCPU() + (runtime.NumCPU()+1)/2
}

// application is what our children call themselves, so that they can be told
// from others in pg_stat_activity.
func (w Work) application() string {
	if w.Operation == "" {
		return "cairn"
	}
	return "cairn " + w.Operation
}

func (d *dumping) major() int { return majorOf(d.manifest.Server) }

// both dumps the globals while the rows are dumped. What fails first ends both.
func (d *dumping) both(ctx context.Context, snap *snapshot) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var failed error
	globals := async(func() {
		if failed = d.globals(ctx, d.manifest.Database.Name); failed != nil {
			stop(failed)
		}
	})
	err := d.data(ctx, snap)
	if err != nil {
		stop(err)
	}
	<-globals
	if failed != nil && (err == nil || errors.Is(err, context.Canceled) || errors.Is(err, failed)) {
		return failed
	}
	return err
}

// globals keeps roles and tablespaces, with the verifiers of passwords where the
// role may read them.
func (d *dumping) globals(ctx context.Context, database string) error {
	s := d.client.server
	path, err := d.client.toolPath(ctx, "pg_dumpall", d.major(), false)
	if err != nil {
		return err
	}
	a, err := s.access(ctx, database, d.work.application())
	if err != nil {
		return err
	}
	defer a.close()
	file := filepath.Join(d.part, globalsFile)
	if err := os.WriteFile(file, nil, 0o600); err != nil { // pg_dumpall writes into it, and so keeps the mode
		return fmt.Errorf("making the file of the globals: %w", err)
	}
	argv := []string{path, "--globals-only", "--no-password", "--file=" + file, "--dbname=" + a.conninfo}
	result, err := command.Run(ctx, a.spec(d.work, argv...))
	var exit *command.ExitError
	if errors.As(err, &exit) && strings.Contains(exit.Stderr, "pg_authid") { // only a superuser reads the verifiers
		result, err = command.Run(ctx, a.spec(d.work, append(argv, "--no-role-passwords")...))
	}
	if err != nil {
		return s.toolError("dumping the globals", result, err)
	}
	return nil
}

// data runs pg_dump in the snapshot and counts the rows meanwhile.
func (d *dumping) data(ctx context.Context, snap *snapshot) error {
	c, m := d.client, &d.manifest
	path, err := c.toolPath(ctx, "pg_dump", d.major(), false)
	if err != nil {
		return err
	}
	if result, err := command.Run(ctx, command.Spec{Argv: []string{path, "--version"}}); err == nil {
		m.Tool = toolVersion(string(result.Stdout))
	}
	a, err := c.server.access(ctx, m.Database.Name, d.work.application())
	if err != nil {
		return err
	}
	defer a.close()
	argv := append([]string{path}, d.arguments(snap.id)...)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	track := newTracker(m.Tables, func(t DumpedTable) int64 { return t.Bytes }, "bytes", d.work)
	spec := a.spec(d.work, append(argv, "--dbname="+a.conninfo)...)
	d.summed = sumEarly(d.part, len(m.Tables))
	defer d.summed.end()
	spec.Stderr = func(line []byte) { track.line(line); d.summed.line(line) }
	var result command.Result
	watched := c.watchCopies(ctx, m.Database.Name, d.work.application(), track)
	dumped := async(func() { result, err = command.Run(ctx, spec) })
	if m.Jobs > 1 && m.Format == "directory" {
		select { // until then its jobs keep the cores busy
		case <-track.last:
		case <-dumped:
		}
	}
	counted := snap.count(ctx, d.toCount())
	if counted != nil {
		stop()
	}
	<-dumped
	stop()
	<-watched
	switch {
	case counted != nil && (err == nil || errors.Is(err, context.Canceled)):
		return explain(targetOf(c.server.source, snap.conn.Config()), c.server.scrub, counted)
	case err != nil:
		return c.server.toolError("pg_dump", result, err)
	}
	return d.reconcile(ctx, snap)
}

func (d *dumping) arguments(snapshotID string) []string {
	m := &d.manifest
	args := []string{"--no-password", "--verbose", "--snapshot=" + snapshotID, "--lock-wait-timeout=60s"}
	if m.Format == "custom" {
		args = append(args, "--format=custom", "--file="+filepath.Join(d.part, dumpFile))
	} else {
		args = append(args, "--format=directory", "--file="+filepath.Join(d.part, dumpDirectory), "--jobs="+strconv.Itoa(m.Jobs))
	}
	for _, pattern := range m.Excluded {
		args = append(args, "--exclude-table="+pattern)
	}
	return args
}

// toCount are the tables in the order of their size. Those that a pattern seems
// to leave out are counted only if they turn out to be in the dump.
func (d *dumping) toCount() []*DumpedTable {
	var all []*DumpedTable
	for i := range d.manifest.Tables {
		t := &d.manifest.Tables[i]
		if !slices.ContainsFunc(d.manifest.Excluded, func(p string) bool { return seemsToMatch(p, t.Name) }) {
			all = append(all, t)
		}
	}
	slices.SortStableFunc(all, func(a, b *DumpedTable) int { return int(min(max(a.Bytes-b.Bytes, -1), 1)) })
	return all
}

// seemsToMatch guesses what pg_dump's patterns mean: shell patterns, with a
// schema before the last dot.
func seemsToMatch(pattern, table string) bool {
	if dot := strings.LastIndexByte(pattern, '.'); dot >= 0 {
		pattern = pattern[dot+1:]
	}
	ok, err := filepath.Match(strings.Trim(pattern, `"`), table)
	return err == nil && ok
}

// reconcile compares what the dump holds with what the database held: pg_dump
// may end well and leave a table out.
func (d *dumping) reconcile(ctx context.Context, snap *snapshot) error {
	m := &d.manifest
	t, err := d.contents()
	if err != nil {
		return fmt.Errorf("reading back the table of contents: %w", err)
	}
	held := map[string]bool{}
	for _, e := range t.data {
		held[qualified(e.schema, e.name)] = true
	}
	var uncounted []*DumpedTable
	var missing []string
	kept := m.Tables[:0]
	for _, table := range m.Tables {
		name := qualified(table.Schema, table.Name)
		if !held[name] {
			missing = append(missing, name)
			continue
		}
		kept = append(kept, table)
	}
	m.Tables = kept
	if len(missing) > 0 && len(m.Excluded) == 0 {
		return fmt.Errorf("pg_dump ended well but left out %d tables, the first: %s", len(missing), missing[0])
	}
	for i := range m.Tables {
		if m.Tables[i].Rows < 0 {
			uncounted = append(uncounted, &m.Tables[i])
		}
	}
	if err := snap.count(ctx, uncounted); err != nil {
		return explain(targetOf(d.client.server.source, snap.conn.Config()), d.client.server.scrub, err)
	}
	for _, table := range m.Tables {
		m.Rows += table.Rows
	}
	return nil
}

func (d *dumping) contents() (toc, error) {
	path := filepath.Join(d.part, dumpDirectory, "toc.dat")
	if d.manifest.Format == "custom" {
		path = filepath.Join(d.part, dumpFile)
	}
	return openTOC(path, d.client.zone)
}
