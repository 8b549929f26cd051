package pg

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"cairn/internal/command"
)

// RestoreRequest says what is restored from where into which new database.
type RestoreRequest struct {
	Dump     string   // of ours, or any other that pg_dump or pg_dumpall made
	Database string   // which one of a dump of pg_dumpall
	Into     string   // the new database; it must carry the operation's id
	Schema   string   // only this one; empty: all
	Table    []string // only the rows of these, SCHEMA.NAME or NAME, without their indexes; empty: all
	Globals  string   // file or dump with the roles; empty: those of the dump, where it has any
	Jobs     int      // of pg_restore; 0: as configured
	Flat     bool     // into the default tablespace: the server lacks some of those that the dump knows
}

// Whole says whether the request is for all of the dump.
func (r RestoreRequest) Whole() bool { return r.Schema == "" && len(r.Table) == 0 }

// Restore makes the new database and brings the dump into it. What an earlier try
// of the same operation left is dropped first. The text tells of errors that
// pg_restore passed over: whether they matter is for Validate to say.
func (c *Client) Restore(ctx context.Context, r RestoreRequest, w Work) (DumpManifest, string, error) {
	m, err := c.describe(ctx, r.Dump, r.Database)
	if err != nil {
		return m, "", err
	}
	if w.Operation == "" || !strings.HasSuffix(r.Into, w.Operation) {
		return m, "", fmt.Errorf("%q does not carry the operation's id: nothing was touched", r.Into)
	}
	if err := c.createBeside(ctx, m, r.Into); err != nil {
		return m, "", err
	}
	said, err := c.load(ctx, m, r, w)
	if err == nil {
		var more []string
		more, err = c.dressUp(ctx, m, r.Into)
		said = strings.Join(append(more, nonEmpty(said)...), "; ")
	}
	if err != nil {
		// It carries our id and nobody uses it: what is half there only fills the disk.
		cleaning := context.WithoutCancel(ctx)
		if left := c.DropBeside(cleaning, r.Into, w.Operation); left != nil {
			err = fmt.Errorf("%w; the half of it that is there could not be dropped (%w): DROP DATABASE %s", err, left, quote(r.Into))
		}
		return m, said, fmt.Errorf("restoring %q beside, the live databases are as they were: %w", m.Database.Name, err)
	}
	return m, said, nil
}

// load runs pg_restore and watches it.
func (c *Client) load(ctx context.Context, m DumpManifest, r RestoreRequest, w Work) (string, error) {
	conn, err := c.server.connect(ctx, "")
	if err != nil {
		return "", err
	}
	var num int
	err = conn.QueryRow(ctx, `SELECT current_setting('server_version_num')::int / 10000`).Scan(&num)
	shut(ctx, conn)
	if err != nil {
		return "", explain(targetOf(c.server.source, conn.Config()), c.server.scrub, err)
	}
	path, err := c.toolPath(ctx, "pg_restore", max(num, majorOf(m.Tool)), false)
	if err != nil {
		return "", err
	}
	tables := slices.DeleteFunc(slices.Clone(m.Tables), func(t DumpedTable) bool { return !r.takes(t) })
	if m.foreign != nil && m.foreign.format == "plain" {
		said, err := c.loadScript(ctx, m, r, w)
		return strings.Join(said, "; "), err
	}
	track := newTracker(tables, func(t DumpedTable) int64 { return t.Rows }, "rows", w)
	limited, stop := context.WithCancel(ctx)
	defer stop()
	watched := c.watchCopies(limited, r.Into, w.application(), track)
	defer func() { stop(); <-watched }()
	var complaints []string
	for _, args := range r.passes() {
		said, err := c.pgRestore(limited, path, m, r, args, track, w)
		complaints = append(complaints, said...)
		if err != nil {
			return strings.Join(complaints, "; "), err
		}
	}
	return strings.Join(complaints, "; "), nil
}

// takes says whether the rows of a table are asked for.
func (r RestoreRequest) takes(t DumpedTable) bool {
	if r.Schema != "" && t.Schema != r.Schema {
		return false
	}
	return len(r.Table) == 0 || slices.Contains(r.Table, t.Name) || slices.Contains(r.Table, t.Schema+"."+t.Name)
}

// passes are the runs of pg_restore: one for all; for a part all definitions
// first, since a table may need types and functions from anywhere.
func (r RestoreRequest) passes() [][]string {
	if r.Whole() {
		return [][]string{nil}
	}
	var part []string
	if r.Schema != "" {
		part = append(part, "--schema="+r.Schema)
	}
	for _, t := range r.Table {
		if schema, name, ok := strings.Cut(t, "."); ok && r.Schema == "" {
			part = append(part, "--schema="+schema, "--table="+name)
		} else {
			part = append(part, "--table="+strings.TrimPrefix(t, r.Schema+"."))
		}
	}
	all := [][]string{{"--section=pre-data"}, append([]string{"--section=data"}, part...)}
	if len(r.Table) == 0 {
		all = append(all, append([]string{"--section=post-data"}, part...))
	}
	return all
}

func (c *Client) pgRestore(ctx context.Context, path string, m DumpManifest, r RestoreRequest, args []string, track *tracker, w Work) ([]string, error) {
	a, err := c.server.access(ctx, r.Into, w.application())
	if err != nil {
		return nil, err
	}
	defer a.close()
	spec := a.spec(w, append([]string{path, "--no-password", "--verbose", "--dbname=" + a.conninfo}, args...)...)
	if r.Flat {
		spec.Argv = append(spec.Argv, "--no-tablespaces")
	}
	closeInput, err := m.feed(ctx, r, c.restoreJobs(), &spec)
	if err != nil {
		return nil, err
	}
	said := &complaints{scrub: c.server.scrub}
	spec.Stderr = func(line []byte) { said.line(line); track.line(line) }
	result, err := command.Run(ctx, spec)
	err = errors.Join(err, closeInput())
	var exit *command.ExitError
	switch {
	case said.full:
		return said.all(), errors.New("the server's disk is full: make room, then try again")
	case err == nil:
		return said.all(), nil
	case errors.As(err, &exit) && exit.Code == 1 && strings.Contains(exit.Stderr, "errors ignored on restore"):
		return said.all(), nil // it went on to the end
	}
	return said.all(), c.server.toolError("pg_restore", result, err)
}

// feed has pg_restore read the archive. One that is compressed as a whole, or in
// tar format, is read by one job.
func (m DumpManifest) feed(ctx context.Context, r RestoreRequest, jobs int, spec *command.Spec) (func() error, error) {
	if r.Jobs > 0 {
		jobs = r.Jobs
	}
	parallel := "--jobs=" + strconv.Itoa(jobs)
	switch {
	case m.foreign == nil && m.Format == "custom":
		spec.Argv = append(spec.Argv, parallel, filepath.Join(r.Dump, dumpFile))
	case m.foreign == nil:
		spec.Argv = append(spec.Argv, parallel, filepath.Join(r.Dump, dumpDirectory))
	case m.foreign.packed == "" && m.foreign.format != "tar":
		spec.Argv = append(spec.Argv, parallel, r.Dump)
	default:
		return m.foreign.feed(ctx, spec)
	}
	return func() error { return nil }, nil
}
