package lab

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"time"

	"cairn/internal/command"
)

// Nights of which a dump, and of which a base backup, is kept.
var (
	dumpNights = []int{0, 1, 2, 3, 4, 5, 6, 9, 16, 23}
	baseNights = []int{0, 7}
)

// backUp writes what nightly scripts would have left behind: dumps, globals,
// base backups and the WAL archive. They are made once; those of former nights
// are the same ones with the time of their night inside.
func (c *cluster) backUp(ctx context.Context, now time.Time) error {
	for _, step := range []func(context.Context, time.Time) error{c.dump, c.base, c.archive} {
		if err := step(ctx, now); err != nil {
			return fmt.Errorf("backing up PostgreSQL: %w", err)
		}
	}
	return nil
}

// client is the command line of one of the client programs.
func (c *cluster) client(program string, args ...string) []string {
	return c.argv(program, append([]string{"-h", c.dir.at("run"), "-p", strconv.Itoa(c.port), "-U", "postgres"}, args...)...)
}

// night is the time at which the scripts ran some nights ago.
func night(now time.Time, nights int) time.Time {
	return now.Add(-5*time.Hour - 30*time.Minute - time.Duration(nights)*day).Truncate(time.Second)
}

func (c *cluster) dump(ctx context.Context, now time.Time) error {
	dir := c.dir.at("usb", "pg", "erp")
	for _, database := range []string{"openprod", "jasper"} {
		r, err := command.Run(ctx, command.Spec{Argv: c.client("pg_dump", "-Fc", "-d", database), Dir: "/"})
		if err != nil {
			return err
		}
		for _, n := range dumpNights {
			at := night(now, n)
			made, err := redate(r.Stdout, at)
			if err != nil {
				return fmt.Errorf("dump of %s: %w", database, err)
			}
			if err := writeAt(filepath.Join(dir, database+"_"+at.Format(time.DateOnly)+".dump"), made, at); err != nil {
				return err
			}
		}
	}
	r, err := command.Run(ctx, command.Spec{Argv: c.client("pg_dumpall", "--globals-only"), Dir: "/"})
	if err != nil {
		return err
	}
	for _, n := range dumpNights {
		at := night(now, n)
		if err := writeAt(filepath.Join(dir, "globals_"+at.Format(time.DateOnly)+".sql"), r.Stdout, at); err != nil {
			return err
		}
	}
	return nil
}

// writeAt writes a file as if it had been written at a time. Only its owner may
// read it: dumps hold passwords' verifiers.
func writeAt(path string, content []byte, at time.Time) error {
	if err := os.WriteFile(path, content, 0o600); err != nil {
		return err
	}
	return os.Chtimes(path, at, at)
}

// redate returns an archive of pg_dump -Fc that says it was made at a time. Its
// head: "PGDMP", version (3 bytes), sizes of integer and offset, format, the
// compression, then the time as seven integers: a sign and the bytes, low first.
func redate(archive []byte, at time.Time) ([]byte, error) {
	if len(archive) < 64 || string(archive[:5]) != "PGDMP" {
		return nil, errors.New("pg_dump wrote no archive")
	}
	size := int(archive[8])
	p := 11
	if archive[6] >= 15 { // from 1.15 on, the method is one byte
		p++
	} else {
		p += 1 + size
	}
	made := bytes.Clone(archive)
	local := at.Local()
	for _, v := range []int{local.Second(), local.Minute(), local.Hour(), local.Day(), int(local.Month()) - 1, local.Year() - 1900} {
		made[p] = 0
		field := make([]byte, 8)
		binary.LittleEndian.PutUint64(field, uint64(v))
		copy(made[p+1:p+1+size], field)
		p += 1 + size
	}
	return made, nil
}

// base takes one base backup, as a script does that packs it into one file.
func (c *cluster) base(ctx context.Context, now time.Time) error {
	var packed bytes.Buffer
	_, err := command.Run(ctx, command.Spec{
		Argv: c.client("pg_basebackup", "-D", "-", "-Ft", "-X", "fetch", "-c", "fast", "--manifest-checksums=NONE", "--no-sync"), Dir: "/", Raw: &packed,
	})
	if err != nil {
		return err
	}
	for _, n := range baseNights {
		at := night(now, n)
		var out bytes.Buffer
		if err := repack(&out, packed.Bytes(), at); err != nil {
			return fmt.Errorf("base backup: %w", err)
		}
		if err := writeAt(c.dir.at("usb", "pg", "base", "base_"+at.Format(time.DateOnly)+".tar.gz"), out.Bytes(), at); err != nil {
			return err
		}
	}
	return nil
}

// repack compresses a base backup whose label says that it began at a time. The
// label keeps its length, which the manifest knows.
func repack(out io.Writer, archive []byte, at time.Time) error {
	zip, err := gzip.NewWriterLevel(out, gzip.BestSpeed)
	if err != nil {
		return err
	}
	w, r := tar.NewWriter(zip), tar.NewReader(bytes.NewReader(archive))
	for {
		head, err := r.Next()
		if err == io.EOF {
			return errors.Join(w.Close(), zip.Close())
		}
		if err != nil {
			return err
		}
		var body io.Reader = r
		if head.Name == "backup_label" {
			text, err := io.ReadAll(r)
			if err != nil {
				return err
			}
			body = bytes.NewReader(relabel(text, at))
		}
		if err := w.WriteHeader(head); err != nil {
			return err
		}
		if _, err := io.Copy(w, body); err != nil {
			return err
		}
	}
}

// relabel changes the time in a backup_label; the server's zone is UTC.
func relabel(label []byte, at time.Time) []byte {
	lines := strings.Split(string(label), "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, "START TIME: ") {
			lines[i] = "START TIME: " + at.UTC().Format("2006-01-02 15:04:05 UTC")
		}
	}
	return []byte(strings.Join(lines, "\n"))
}

// archive closes some WAL segments, waits until they are archived, and spreads
// the segments over the time since the oldest base backup.
func (c *cluster) archive(ctx context.Context, now time.Time) error {
	var last string
	for i := range 3 {
		out, err := c.sql(ctx, "openprod", fmt.Sprintf("INSERT INTO heartbeat VALUES (now() - interval '%d hours'); SELECT pg_walfile_name(pg_switch_wal());", i))
		if err != nil {
			return err
		}
		last = out
	}
	dir := c.dir.at("usb", "pg", "wal")
	limit := time.NewTimer(time.Minute)
	defer limit.Stop()
	for {
		if _, err := os.Stat(filepath.Join(dir, last)); err == nil {
			break
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-limit.C:
			return fmt.Errorf("WAL segment %s was not archived within a minute: %s", last, command.LastLine([]byte(c.log.String())))
		case <-time.After(10 * time.Millisecond):
		}
	}
	return spread(dir, night(now, baseNights[len(baseNights)-1]), now)
}

// spread gives the files of a directory times between from and to, by name.
func spread(dir string, from, to time.Time) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	sort.Slice(entries, func(i, j int) bool { return entries[i].Name() < entries[j].Name() })
	for i, e := range entries {
		at := from.Add(to.Sub(from) * time.Duration(i+1) / time.Duration(len(entries)))
		if err := os.Chtimes(filepath.Join(dir, e.Name()), at, at); err != nil {
			return err
		}
	}
	return nil
}
