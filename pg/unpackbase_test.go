package pg

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// recovery is what a test recovers with.
func (c *cluster) recovery(t *testing.T, client *Client, op string, s Source, target Target) Recovery {
	t.Helper()
	r := Recovery{Base: s.Base.Path, WAL: client.cfg.WAL.Dir, Dir: filepath.Join(c.dir, "recover-"+op), Target: target, User: "postgres", Owner: owner(t), Total: s.Segments}
	t.Cleanup(func() { _ = client.Discard(t.Context(), r, Work{Operation: op}) })
	return r
}

// point is a time between what was written before and after.
func (c *cluster) point(t *testing.T) Target {
	t.Helper()
	at := c.ask(t, "postgres", `SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') FROM pg_sleep(0.05)`)
	c.sql(t, "postgres", `SELECT pg_sleep(0.05)`)
	target, err := ParseTarget(at, time.UTC)
	if err != nil {
		t.Fatal(err)
	}
	return target
}

// TestBaseBackupsInTarFormat recovers from what scripts make: a directory of
// pg_basebackup -Ft, and one tar file around a data directory.
func TestBaseBackupsInTarFormat(t *testing.T) {
	c := running(t)
	name := `in "tar" é`
	c.withTablespace(t, "tar space")
	c.withDatabase(t, name)
	t.Cleanup(func() { c.sql(t, name, "DROP TABLE far") })
	c.sql(t, name, `CREATE TABLE far TABLESPACE "tar space" AS SELECT g FROM generate_series(1, 1000) g`)
	client := acting(t, c, onlyBases, func(cfg *Config) {
		cfg.Base, cfg.WAL = &BaseConfig{Dir: c.temp(t)}, &WALConfig{Dir: filepath.Join(c.dir, "wal")}
	})
	bases := client.cfg.Base.Dir
	if err := os.Chmod(bases, 0o777); err != nil {
		t.Fatal(err)
	}
	c.run(t, "pg_basebackup", "-h", c.dir, "-p", fmt.Sprint(c.port), "-U", "postgres", "-c", "fast", "-X", "stream", "-Ft", "-z", "-D", filepath.Join(bases, "base_2026-11-21"))
	c.run(t, "sh", "-c", "chmod -R a+rX "+filepath.Join(bases, "base_2026-11-21"))
	c.sql(t, name, `INSERT INTO far SELECT g FROM generate_series(5000, 5100) g`)
	good, at := c.hashes(t, c.port, name), c.point(t)
	c.sql(t, name, `DELETE FROM far`)
	if _, err := client.FlushWAL(t.Context(), Work{}); err != nil {
		t.Fatal(err)
	}
	s, err := client.ChooseBase(t.Context(), at, 1<<20, false)
	if err != nil {
		t.Fatal(err)
	}
	r := c.recovery(t, client, "20261121-501", s, at)
	c.recoverTo(t, client, r, Work{Operation: "20261121-501"}, name, good)
	c.lonelyTar(t, client, s, at)
	verifyTarBase(t, client, s.Base.Path)
}

// verifyTarBase reads a base backup in tar format: whole, then with a file of it
// changed, cut, and gone.
func verifyTarBase(t *testing.T, client *Client, dir string) {
	t.Helper()
	if e, err := client.VerifyCopy(t.Context(), dir, Work{}); err != nil || !strings.Contains(e.Text, "read every byte") || e.Bytes == 0 {
		t.Errorf("a good one: %+v %v", e, err)
	}
	tars, err := filepath.Glob(filepath.Join(dir, "[0-9]*.tar.gz")) // of its tablespace
	if err != nil || len(tars) != 1 {
		t.Fatal(tars, err)
	}
	text, err := os.ReadFile(tars[0])
	if err != nil {
		t.Fatal(err)
	}
	r, err := unpacker(bytes.NewReader(text), ".gz")
	if err != nil {
		t.Fatal(err)
	}
	inside, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	inside[len(inside)/2] ^= 1
	for _, one := range []struct {
		text []byte
		want string
	}{{gz(t, inside), "differs"}, {text[:len(text)/2], "unexpected EOF"}, {nil, "files are missing, which backup_manifest names (pg_tblspc/"}} {
		put(t, tars[0], one.text)
		if one.text == nil {
			_ = os.Remove(tars[0])
		}
		var damage *Damage
		if _, err := client.VerifyCopy(t.Context(), dir, Work{}); !errors.As(err, &damage) || !strings.Contains(err.Error(), one.want) {
			t.Errorf("wanted %s: %v", one.want, err)
		}
	}
}

// lonelyTar takes the base backup's first tar file alone: its tablespace is not in it.
func (c *cluster) lonelyTar(t *testing.T, client *Client, s Source, at Target) {
	t.Helper()
	alone := filepath.Join(client.cfg.Base.Dir, "base_2026-11-20.tar.gz")
	text, err := os.ReadFile(filepath.Join(s.Base.Path, "base.tar.gz"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(alone, text, 0o644); err != nil {
		t.Fatal(err)
	}
	s.Base.Path = alone
	r := c.recovery(t, client, "20261121-502", s, at)
	if _, err := client.CopyBase(t.Context(), r, Work{Operation: "20261121-502"}); err == nil || !strings.Contains(err.Error(), "is not in the base backup") || !strings.Contains(err.Error(), "cannot be put elsewhere") {
		t.Errorf("a tablespace that is nowhere: %v", err)
	}
	if err := os.WriteFile(alone, text[:len(text)/2], 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := client.CopyBase(t.Context(), r, Work{Operation: "20261121-502"}); err == nil || !strings.Contains(err.Error(), "it was cut") {
		t.Errorf("a cut one: %v", err)
	}
}

// TestOneTarAroundADataDirectory is what `tar czf base_DATE.tar.gz DIRECTORY` makes;
// and a tablespace that is made after it must not be replayed into the live one's.
func TestOneTarAroundADataDirectory(t *testing.T) {
	c := running(t)
	name := "in one tar"
	c.withDatabase(t, name)
	client := acting(t, c, onlyBases, func(cfg *Config) {
		cfg.Base, cfg.WAL = &BaseConfig{Dir: c.temp(t)}, &WALConfig{Dir: filepath.Join(c.dir, "wal")}
	})
	bases := client.cfg.Base.Dir
	plain := filepath.Join(c.dir, "plain base")
	c.run(t, "pg_basebackup", "-h", c.dir, "-p", fmt.Sprint(c.port), "-U", "postgres", "-c", "fast", "-X", "stream", "-D", plain)
	if err := verifyFiles(t.Context(), plain, plain, Work{}); err != nil { // CRC32C is what pg_basebackup takes
		t.Error(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(plain) })
	if err := os.Chmod(bases, 0o777); err != nil {
		t.Fatal(err)
	}
	c.run(t, "tar", "czf", filepath.Join(bases, "base_2026-11-21.tar.gz"), "-C", c.dir, "plain base")
	c.sql(t, name, `DELETE FROM a WHERE id > 500`)
	good, before := c.hashes(t, c.port, name), c.point(t)
	if _, err := client.FlushWAL(t.Context(), Work{}); err != nil { // what follows lies in other segments
		t.Fatal(err)
	}
	c.withTablespace(t, "made later")
	t.Cleanup(func() { c.sql(t, name, "DROP TABLE late") })
	c.sql(t, name, `CREATE TABLE late TABLESPACE "made later" AS SELECT g FROM generate_series(1, 1000) g`)
	after := c.point(t)
	c.sql(t, name, `DELETE FROM b`)
	if _, err := client.FlushWAL(t.Context(), Work{}); err != nil {
		t.Fatal(err)
	}
	live := c.hashes(t, c.port, name)
	s, err := client.ChooseBase(t.Context(), after, 1<<20, false)
	if err != nil {
		t.Fatal(err)
	}
	r, w := c.recovery(t, client, "20261121-503", s, after), Work{Operation: "20261121-503"}
	if _, err := client.CopyBase(t.Context(), r, w); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Recover(t.Context(), r, w); err == nil || !strings.Contains(err.Error(), "a tablespace was made after the base backup") || !strings.Contains(err.Error(), "ts =x") {
		t.Errorf("a tablespace made later: %v", err)
	}
	if !maps.Equal(c.hashes(t, c.port, name), live) {
		t.Error("the live database changed")
	}
	r = c.recovery(t, client, "20261121-504", s, before)
	c.recoverTo(t, client, r, Work{Operation: "20261121-504"}, name, good)
}

func TestTarPrefix(t *testing.T) {
	for name, want := range map[string]string{"PG_VERSION": "", "x/PG_VERSION": "x/", "base/pg_wal": "base/", "global/pg_control": "", "a/b": "?", "base": "?", "base/1/2": "?", "pg_wal": ""} {
		prefix, known := tarPrefix(name)
		if !known {
			prefix = "?"
		}
		if prefix != want {
			t.Errorf("%s: %q", name, prefix)
		}
	}
}
