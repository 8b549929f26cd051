package pg

import (
	"archive/tar"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"cairn/internal/command"
)

// foreignDump is what is known of a dump that has no manifest of ours.
type foreignDump struct {
	path    string
	format  string // custom, directory, tar, plain
	packed  string // ".gz", …
	script  scriptFacts
	cluster bool
}

// NoManifest says whether a dump was made by others: what was in it when it was
// made is not known, so rows cannot be compared with anything but the dump.
func (m DumpManifest) NoManifest() bool { return m.foreign != nil }

// IsOurs says whether a dump has a manifest of ours.
func IsOurs(path string) bool {
	_, err := os.Stat(filepath.Join(path, dumpManifestName))
	return err == nil
}

// RestoredBy is the program that restores the dump.
func (m DumpManifest) RestoredBy() string {
	if m.Format == "plain" {
		return "psql --file"
	}
	return "pg_restore --jobs …"
}

// Counted says whether the rows of the tables are known, from the manifest or
// from the dump itself.
func (m DumpManifest) Counted() bool {
	return m.foreign == nil || m.foreign.format == "plain" && !m.foreign.script.Inserts
}

// describe reads the manifest of a dump, or what a dump without one tells of
// itself. database is what is wanted of a dump of pg_dumpall.
func (c *Client) describe(ctx context.Context, path, database string) (DumpManifest, error) {
	if IsOurs(path) {
		return ReadDumpManifest(path)
	}
	f, err := identify(ctx, path)
	if err != nil {
		return DumpManifest{}, fmt.Errorf("%s cannot be restored from: %w", path, err)
	}
	if f.format == "plain" {
		return c.describeScript(ctx, f, database)
	}
	return c.describeArchive(ctx, f)
}

// identify finds out what a dump is from its first bytes: names lie.
func identify(ctx context.Context, path string) (*foreignDump, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	f := &foreignDump{path: path}
	if info.IsDir() {
		f.format = "directory"
		if _, err := os.Stat(filepath.Join(path, "toc.dat")); err != nil {
			return nil, errors.New("it has no toc.dat: it is no dump, or was interrupted")
		}
		return f, nil
	}
	name := parseDumpName(filepath.Base(path), time.UTC)
	if name.Encrypted {
		return nil, errors.New("it is encrypted: decrypt it first, and name the decrypted file with --from-dump")
	}
	f.packed = name.Packed
	r, err := f.open(ctx)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	head := make([]byte, tarBlock)
	n, err := io.ReadFull(r, head)
	var missing *MissingProgramError
	switch {
	case errors.As(err, &missing):
		return nil, err
	case err != nil && !errors.Is(err, io.ErrUnexpectedEOF):
		return nil, fmt.Errorf("it is empty, or cut at its begin: %w", err)
	}
	switch head = head[:n]; {
	case bytes.HasPrefix(head, []byte(tocMagic)):
		f.format = "custom"
	case n == tarBlock && string(head[257:262]) == "ustar" && bytes.HasPrefix(head, []byte("toc.dat\x00")):
		f.format = "tar"
	case bytes.Contains(head, plainHead) || bytes.Contains(head, clusterHead):
		f.format, f.cluster = "plain", bytes.Contains(head, clusterHead)
	default:
		return nil, errors.New("it is no dump of pg_dump or pg_dumpall")
	}
	return f, nil
}

// open reads the dump unpacked.
func (f *foreignDump) open(ctx context.Context) (io.ReadCloser, error) {
	return openPacked(ctx, f.path, f.packed)
}

// describeArchive reads the table of contents of a dump in one of pg_restore's
// formats, and has pg_restore tell what is said of the database itself.
func (c *Client) describeArchive(ctx context.Context, f *foreignDump) (DumpManifest, error) {
	t, err := f.contents(ctx, c.zone)
	if err != nil {
		return DumpManifest{}, fmt.Errorf("%s: %w", f.path, err)
	}
	path, err := c.toolPath(ctx, "pg_restore", t.reader(), false)
	if err != nil {
		return DumpManifest{}, err
	}
	spec := command.Spec{Argv: []string{path, "--create", "--schema-only", "--file=-"}, Dir: "/"}
	closeInput, err := f.feed(ctx, &spec)
	if err != nil {
		return DumpManifest{}, err
	}
	f.script, err = c.readSchema(ctx, "pg_restore", spec)
	if err = errors.Join(err, closeInput()); err != nil {
		return DumpManifest{}, err
	}
	f.script.Version, f.script.Tool = t.server, t.tool
	f.script.Tables = nil
	for _, one := range t.data {
		f.script.Tables = append(f.script.Tables, DumpedTable{Schema: one.schema, Name: one.name, Rows: -1})
	}
	m := f.manifest(t.database)
	m.Started = t.created
	return m, nil
}

// feed has a program read the dump: by its path, or unpacked from its input.
func (f *foreignDump) feed(ctx context.Context, spec *command.Spec) (func() error, error) {
	if f.packed == "" {
		spec.Argv = append(spec.Argv, f.path)
		return func() error { return nil }, nil
	}
	r, err := f.open(ctx)
	if err != nil {
		return nil, err
	}
	spec.Stdin = r
	return r.Close, nil
}

func (f *foreignDump) contents(ctx context.Context, zone *time.Location) (toc, error) {
	if f.format == "directory" {
		return openTOC(filepath.Join(f.path, "toc.dat"), zone)
	}
	r, err := f.open(ctx)
	if err != nil {
		return toc{}, err
	}
	defer r.Close()
	if f.format == "tar" {
		if err := f.wholeTar(ctx); err != nil {
			return toc{}, err
		}
		if _, err := io.CopyN(io.Discard, r, tarBlock); err != nil {
			return toc{}, errNoTOC
		}
	}
	return readTOC(r, zone)
}

// wholeTar walks over the files of a tar: pg_restore never ends on one that was cut.
func (f *foreignDump) wholeTar(ctx context.Context) error {
	r, err := f.open(ctx)
	if err != nil {
		return err
	}
	defer r.Close()
	counted := &countingReader{Reader: &boundReader{ctx, r}, tell: func(int64) {}}
	files := tar.NewReader(counted)
	for {
		head, err := files.Next()
		if errors.Is(err, io.EOF) && counted.n%tarBlock == 0 {
			return nil
		}
		if err == nil {
			_, err = io.CopyN(io.Discard, files, head.Size)
		}
		if err != nil {
			return &Damage{f.path, "it ends too early: it was cut"}
		}
	}
}

// manifest is what is known of the dump, in the form of ours.
func (f *foreignDump) manifest(database string) DumpManifest {
	size, changed := measure(f.path)
	if info, err := os.Stat(f.path); err == nil && !info.IsDir() {
		size, changed = info.Size(), info.ModTime()
	}
	return DumpManifest{Format: f.format, Server: f.script.Version, Tool: cmp.Or(f.script.Tool, f.script.Version), Started: changed, Database: DumpedDatabase{Name: database, Bytes: grown * size, Limit: -1, Defaults: true},
		Tables: f.script.Tables, Roles: f.script.Owners, Bytes: size, foreign: f}
}

// reader is the oldest major version of pg_restore or psql that reads it.
func (f *foreignDump) reader() int { return majorOf(cmp.Or(f.script.Tool, f.script.Version)) }

// grown is about how much larger a database is than its compressed dump.
const grown = 6

// VerifySource reads every byte of what is to be restored: a dump of ours against
// its manifest, a script to its last line, an archive as pg_restore would. The
// error is a *Damage where it is not good.
func (c *Client) VerifySource(ctx context.Context, r RestoreRequest, w Work) (text string, bytes int64, err error) {
	m, err := c.describe(ctx, r.Dump, r.Database)
	if err != nil {
		return "", 0, err
	}
	if m.foreign == nil {
		m, err := VerifyDump(ctx, r.Dump)
		return fmt.Sprintf("%d files are what they were", len(m.Files)), m.Bytes, err
	}
	bytes, err = m.foreign.verify(ctx, c, w)
	return "every byte can be read; what was in it when it was made is not known", bytes, err
}

func (f *foreignDump) verify(ctx context.Context, c *Client, w Work) (int64, error) {
	size, _ := measure(f.path)
	if f.format == "plain" {
		r, err := f.open(ctx)
		if err != nil {
			return 0, err
		}
		defer r.Close()
		facts, err := readScript(&boundReader{ctx, r}, "", io.Discard, false)
		if err == nil && !facts.Complete {
			err = &Damage{f.path, "its last line, “dump complete”, is missing: it was cut"}
		}
		return size, damageOf(f.path, err)
	}
	path, err := c.toolPath(ctx, "pg_restore", f.reader(), false)
	if err != nil {
		return 0, err
	}
	spec := access{}.spec(w, path, "--file="+os.DevNull)
	closeInput, err := f.feed(ctx, &spec)
	if err != nil {
		return 0, err
	}
	return size, errors.Join(c.readBy(ctx, f.path, spec), closeInput())
}
