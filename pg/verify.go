package pg

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"cairn/internal/backup"
	"cairn/internal/command"
)

// Damage is the error of a copy that was read and is not what it should be. Any
// other error of a verification says nothing of the copy.
type Damage struct{ Path, Why string }

func (d *Damage) Error() string { return d.Path + " is damaged: " + d.Why }

// Examined is what a verification that found nothing wrong looked at.
type Examined struct {
	Text  string // in words
	Bytes int64  // that were read
	Ours  bool   // the copy was made by us: its proof can be kept beside it
}

// VerifyCopy reads every byte of one dump or base backup: ours against the
// manifest, a base backup by pg_verifybackup, a dump of another's by pg_restore
// or, if it is plain SQL, to its last line. The error is a *Damage where it is
// not good.
func (c *Client) VerifyCopy(ctx context.Context, path string, w Work) (Examined, error) {
	info, err := os.Stat(path)
	if err != nil {
		return Examined{}, fmt.Errorf("verifying: %w", err)
	}
	has := func(name string) bool { _, err := os.Stat(filepath.Join(path, name)); return err == nil }
	switch {
	case info.IsDir() && has(dumpManifestName):
		return c.verifyOurDump(ctx, path, w)
	case info.IsDir() && has(baseManifestName):
		m, err := ReadBaseManifest(path)
		if err != nil {
			return Examined{}, &Damage{path, err.Error()}
		}
		return c.examineBase(ctx, path, filepath.Join(path, baseData), majorOf(m.Server), w)
	case info.IsDir() && (has("PG_VERSION") || has(manifestName)):
		text, _ := readLimited(filepath.Join(path, "PG_VERSION"), 64) // a tar format has none
		return c.examineBase(ctx, path, path, majorOf(strings.TrimSpace(string(text))), w)
	}
	return c.verifyForeign(ctx, path, info, w)
}

// VerifyDump reads every byte of a dump of ours and compares it with its
// manifest. The error, a *Damage, names the first file that differs.
func VerifyDump(ctx context.Context, dir string) (DumpManifest, error) {
	return verifySums(ctx, dir, Work{})
}

func verifySums(ctx context.Context, dir string, w Work) (DumpManifest, error) {
	m, err := ReadDumpManifest(dir)
	switch {
	case errors.Is(err, fs.ErrPermission), errors.Is(err, fs.ErrNotExist):
		return m, err
	case err != nil:
		return m, &Damage{dir, err.Error()}
	case m.Finished.IsZero():
		return m, &Damage{dir, "it was never finished"}
	}
	var done int64
	err = eachFile(ctx, dir, slices.Clone(m.Files), func(f *DumpedFile, bytes int64, sum string) error {
		if bytes != f.Bytes || sum != f.SHA256 {
			return &Damage{dir, fmt.Sprintf("%s has %d bytes with SHA-256 %.12s…, and its manifest says %d with %.12s…", f.Path, bytes, sum, f.Bytes, f.SHA256)}
		}
		done += bytes
		w.tell(Progress{Done: done, Total: m.Bytes, Unit: "bytes", Line: f.Path})
		return nil
	})
	return m, damageOf(dir, err)
}

// damageOf takes what could not be read of a copy for damage: all but what
// somebody stopped or what may not be read.
func damageOf(path string, err error) error {
	var known *Damage
	var missing *MissingProgramError
	if err == nil || errors.As(err, &known) || errors.As(err, &missing) || errors.Is(err, fs.ErrPermission) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return &Damage{path, err.Error()}
}

func (c *Client) verifyOurDump(ctx context.Context, dir string, w Work) (Examined, error) {
	m, err := verifySums(ctx, dir, w)
	if err != nil {
		return Examined{}, err
	}
	data := filepath.Join(dir, dumpDirectory)
	if m.Format == "custom" {
		data = filepath.Join(dir, dumpFile)
	}
	e := Examined{Ours: true, Bytes: m.Bytes, Text: fmt.Sprintf("%d files are what they were when it was made, %d rows", len(m.Files), m.Rows)}
	tool, err := c.toolPath(ctx, "pg_restore", majorOf(m.Tool), false)
	if err != nil {
		e.Text += "; pg_restore was not asked: " + err.Error()
		return e, nil
	}
	if err := c.restorable(ctx, w, dir, tool, "--list", "--file="+os.DevNull, data); err != nil {
		return Examined{}, err
	}
	e.Text += ", and pg_restore reads its contents"
	return e, nil
}

// restorable has pg_restore read an archive and write nothing.
func (c *Client) restorable(ctx context.Context, w Work, path string, argv ...string) error {
	return c.readBy(ctx, path, access{}.spec(w, argv...))
}

// readBy runs a program that reads a copy. Its complaint is damage, unless it is
// that it may not read it or is too old.
func (c *Client) readBy(ctx context.Context, path string, spec command.Spec) error {
	result, err := command.Run(ctx, spec)
	var exit *command.ExitError
	if err != nil && spec.Stdin != nil && !errors.As(err, &exit) {
		return damageOf(path, err) // what it reads could not be unpacked
	}
	if err == nil || !errors.As(err, &exit) || exit.Signal != 0 {
		return err
	}
	said := string(result.Stderr)
	err = c.server.toolError(filepath.Base(spec.Argv[0]), result, err)
	if strings.Contains(said, "Permission denied") || strings.Contains(said, "unsupported version") || strings.Contains(said, "not support compression") {
		return err
	}
	return &Damage{path, err.Error()}
}

// examineBase has pg_verifybackup read a base backup, whose data directory is data.
func (c *Client) examineBase(ctx context.Context, path, data string, major int, w Work) (Examined, error) {
	if _, err := os.Stat(filepath.Join(data, manifestName)); err != nil {
		return Examined{}, fmt.Errorf("%s has no backup_manifest to compare it with: pg_basebackup writes one since PostgreSQL 13", path)
	}
	size, _ := measure(data)
	if _, err := os.Stat(filepath.Join(data, "PG_VERSION")); err != nil && path == data {
		if len(baseTars(data)) == 0 {
			return Examined{}, &Damage{path, "PG_VERSION is missing"}
		}
		w.say("reading %s", path)
		return Examined{Bytes: size, Text: readByUs + " read every byte"}, verifyTars(ctx, path, w)
	}
	w.say("reading %s", path)
	by, err := c.verifyBase(ctx, path, data, major, w)
	if err != nil {
		return Examined{}, err
	}
	return Examined{Ours: path != data, Bytes: size, Text: by + " read every byte"}, nil
}

// verifyForeign reads a dump that a script made.
func (c *Client) verifyForeign(ctx context.Context, path string, info fs.FileInfo, w Work) (Examined, error) {
	name := parseDumpName(filepath.Base(path), c.zone)
	if name.Encrypted {
		return Examined{}, fmt.Errorf("%s is encrypted: nothing of it can be read here", path)
	}
	size := info.Size()
	if info.IsDir() {
		size, _ = measure(path)
	} else if size == 0 {
		return Examined{}, &Damage{path, "it is empty: the dump failed"}
	}
	if err := mayRead(path, info); err != nil {
		return Examined{}, err
	}
	head := c.structure(path, info, name, size)
	if head.state == backup.Torn || head.state == backup.Damaged {
		return Examined{}, &Damage{path, head.why} // pg_restore reads a cut tar file for ever
	}
	if name.Format == "tar" {
		if err := eachOfTar(ctx, path, name.Packed, func(string, io.Reader) error { return nil }); err != nil {
			return Examined{}, damageOf(path, err)
		}
	}
	isPlain := !info.IsDir() && (name.Format == "plain" || head.database == "" && name.Format != "tar" && !startsWith(ctx, path, name.Packed, tocMagic))
	if isPlain {
		return c.readPlain(ctx, path, name, size, w)
	}
	if f, err := identify(ctx, path); err == nil && f.format == "tar" {
		if err := f.wholeTar(ctx); err != nil { // pg_restore never ends on one that was cut
			return Examined{}, err
		}
	}
	tool, err := c.toolPath(ctx, "pg_restore", head.reader, false)
	if err != nil {
		return Examined{}, err
	}
	spec := access{}.spec(w, tool, "--file="+os.DevNull)
	if name.Packed == "" {
		spec.Argv = append(spec.Argv, path)
	} else {
		r, err := openPacked(ctx, path, name.Packed)
		if err != nil {
			return Examined{}, damageOf(path, err)
		}
		defer r.Close()
		spec.Stdin = &boundReader{ctx, r}
	}
	if err := c.readBy(ctx, path, spec); err != nil {
		return Examined{}, err
	}
	return Examined{Bytes: size, Text: "pg_restore read every byte"}, nil
}

// mayRead says why a dump that is there may not be read: that is no damage of it.
func mayRead(path string, info fs.FileInfo) error {
	if info.IsDir() {
		path = filepath.Join(path, "toc.dat")
	}
	f, err := openRegular(path)
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("the user that cairn runs as may not read it: %w", err)
	}
	if err != nil {
		return nil // what is missing or odd is told of by who looks inside
	}
	return f.Close()
}

// structure looks at a dump as a survey does.
func (c *Client) structure(path string, info fs.FileInfo, name dumpName, size int64) content {
	if !info.IsDir() {
		p := prober{zone: c.zone, budget: size}
		return p.file(path, size, name)
	}
	files := map[string]int64{}
	entries, err := os.ReadDir(path)
	for _, e := range entries {
		if one, err := e.Info(); err == nil {
			files[e.Name()] = one.Size()
		}
	}
	if err != nil {
		return content{} // pg_restore says why
	}
	return probeDirectory(path, files, c.zone)
}

// eachOfTar calls each with the regular files of a tar file, from its first to its
// last. What each leaves unread of one is read too.
func eachOfTar(ctx context.Context, path, packed string, each func(name string, from io.Reader) error) error {
	in, err := openPacked(ctx, path, packed)
	if err != nil {
		return err
	}
	defer in.Close()
	files := tar.NewReader(&boundReader{ctx, in})
	for {
		head, err := files.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil && head.Typeflag == tar.TypeReg {
			err = each(head.Name, files)
		}
		if err == nil {
			_, err = io.Copy(io.Discard, files)
		}
		var known *Damage
		if err != nil && !errors.As(err, &known) {
			err = fmt.Errorf("reading %s as a tar file: %w", filepath.Base(path), err)
		}
		if err != nil {
			return err
		}
	}
}

// startsWith says whether the unpacked content of a file begins with text.
func startsWith(ctx context.Context, path, packed, text string) bool {
	r, err := openPacked(ctx, path, packed)
	if err != nil {
		return false
	}
	defer r.Close()
	head := make([]byte, len(text))
	_, err = io.ReadFull(r, head)
	return err == nil && string(head) == text
}

// readPlain reads plain SQL to its last line, through its compression.
func (c *Client) readPlain(ctx context.Context, path string, name dumpName, size int64, w Work) (Examined, error) {
	r, err := openPacked(ctx, path, name.Packed)
	if err != nil {
		return Examined{}, damageOf(path, err)
	}
	defer r.Close()
	end := &lastBytes{}
	if _, err = io.Copy(end, &boundReader{ctx, r}); err != nil {
		return Examined{}, damageOf(path, err)
	}
	if text := string(end.kept); !strings.Contains(text, string(plainEnd)) && !strings.Contains(text, string(clusterEnd)) {
		return Examined{}, &Damage{path, "its last line, “dump complete”, is missing: it was cut"}
	}
	return Examined{Bytes: size, Text: "it was read to its last line; whether its SQL is right only a restore tells"}, nil
}

// KeepVerdict keeps beside a copy of ours what a verification found: damage is
// nil where it found nothing wrong.
func KeepVerdict(path string, damage error, at time.Time) error {
	if damage != nil {
		why := damage.Error()
		var known *Damage
		if errors.As(damage, &known) {
			why = known.Why
		}
		return RecordDamage(path, why, at)
	}
	return RecordProof(path, backup.EveryByteRead, at)
}
