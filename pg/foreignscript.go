package pg

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"cairn/internal/command"
)

// describeScript reads the head of a plain dump; of pg_dumpall's all of it, since
// the database that is wanted may be the last.
func (c *Client) describeScript(ctx context.Context, f *foreignDump, database string) (DumpManifest, error) {
	if f.cluster && database == "" {
		return DumpManifest{}, fmt.Errorf("%s holds all databases of a server: say which one is wanted", f.path)
	}
	want := ""
	if f.cluster {
		want = database
	}
	r, err := f.open(ctx)
	if err != nil {
		return DumpManifest{}, err
	}
	defer r.Close()
	if f.script, err = readScript(&boundReader{ctx, r}, want, io.Discard, !f.cluster); err != nil {
		return DumpManifest{}, fmt.Errorf("%s: %w", f.path, err)
	}
	if f.cluster && !contains(f.script.Databases, database) {
		return DumpManifest{}, fmt.Errorf("%s holds no database %q: it has %s", f.path, database, few(f.script.Databases))
	}
	return f.manifest(database), nil
}

// loadScript runs a plain dump with psql, and returns what it complained of.
func (c *Client) loadScript(ctx context.Context, m DumpManifest, r RestoreRequest, w Work) ([]string, error) {
	f := m.foreign
	path, err := c.toolPath(ctx, "psql", f.reader(), false)
	if err != nil { // an older one understands most, and says what it does not
		path, err = c.toolPath(ctx, "psql", 0, false)
	}
	if err != nil {
		return nil, err
	}
	a, err := c.server.access(ctx, r.Into, w.application())
	if err != nil {
		return nil, err
	}
	defer a.close()
	from, err := f.open(ctx)
	if err != nil {
		return nil, err
	}
	defer from.Close()
	in, out := io.Pipe()
	want := ""
	if f.cluster {
		want = r.Database
	}
	var facts scriptFacts
	var told error
	counted := &countingReader{Reader: &boundReader{ctx, from}, tell: func(n int64) { w.tell(Progress{Done: n, Total: max(n, m.Database.Bytes), Unit: "bytes"}) }}
	done := async(func() {
		facts, told = readScript(counted, want, out, false)
		_ = out.CloseWithError(told) // it always returns nil
	})
	said := &complaints{scrub: c.server.scrub}
	spec := a.spec(w, path, "--no-psqlrc", "--no-password", "--quiet", "--output="+os.DevNull, "--dbname="+a.conninfo)
	spec.Stdin, spec.Stderr = in, said.line
	w.say("psql runs %s", f.path)
	result, err := command.Run(ctx, spec)
	_ = in.CloseWithError(io.ErrClosedPipe) // psql may have ended before the script did
	<-done
	switch {
	case said.full:
		return said.all(), errors.New("the server's disk is full: make room, then try again")
	case err != nil:
		return said.all(), c.server.toolError("psql", result, err)
	case told != nil:
		return said.all(), damageOf(f.path, told)
	case !facts.Complete:
		return said.all(), &Damage{f.path, "its last line, “dump complete”, is missing: it was cut"}
	}
	f.script = facts // what it says of the database may stand at its end
	return said.all(), nil
}

// count reads a script once more for the rows of its tables.
func (f *foreignDump) count(ctx context.Context, m *DumpManifest, database string) error {
	if f.format != "plain" {
		return nil
	}
	want := ""
	if f.cluster {
		want = database
	}
	r, err := f.open(ctx)
	if err != nil {
		return err
	}
	defer r.Close()
	if f.script, err = readScript(&boundReader{ctx, r}, want, io.Discard, false); err != nil {
		return err
	}
	m.Tables, m.Rows = f.script.Tables, 0
	for _, t := range m.Tables {
		m.Rows += t.Rows
	}
	return nil
}
