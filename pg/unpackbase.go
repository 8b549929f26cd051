package pg

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

var tarName = regexp.MustCompile(`\.(tar(\.gz|\.zst|\.lz4|\.bz2|\.xz)?|tgz)$`)

// isTarBase says whether a base backup lies in tar files: one file, or a
// directory of pg_basebackup -Ft.
func isTarBase(base string) bool {
	if tarName.MatchString(base) {
		return true
	}
	return len(baseTars(base)) > 0
}

// baseTars are the tar files of a directory of pg_basebackup -Ft: base.tar, one
// for each tablespace, pg_wal.tar.
func baseTars(dir string) []string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var all []string
	found := false
	for _, e := range entries {
		if tarName.MatchString(e.Name()) {
			all = append(all, filepath.Join(dir, e.Name()))
			found = found || baseTar.MatchString(e.Name())
		}
	}
	if !found {
		return nil
	}
	return all
}

// unpackBase unpacks a base backup in tar format into the directory of a recovery.
func (c *Client) unpackBase(ctx context.Context, r Recovery, w Work) (int64, error) {
	files := []string{r.Base}
	if !tarName.MatchString(r.Base) {
		files = baseTars(r.Base)
	}
	k := &copier{ctx: ctx, work: w, owner: r.Owner}
	for _, f := range files {
		if info, err := os.Stat(f); err == nil {
			k.total += info.Size()
		}
	}
	w.say("unpacking the base backup")
	spaces := map[string]bool{}
	for _, f := range files {
		stem := tarName.ReplaceAllString(filepath.Base(f), "")
		to := r.data()
		switch {
		case isOID.MatchString(stem) && len(files) > 1:
			spaces[stem] = true
			to = filepath.Join(r.Dir, baseTablespaces, stem)
		case stem == "pg_wal" && len(files) > 1:
			to = filepath.Join(r.data(), "pg_wal")
		}
		if err := k.unpack(f, to, r); err != nil {
			return k.done, fmt.Errorf("unpacking %s: %w", f, roomHint(err))
		}
	}
	for _, must := range []string{"PG_VERSION", "global/pg_control"} {
		if _, err := os.Stat(filepath.Join(r.data(), must)); err != nil {
			return k.done, fmt.Errorf("%s holds no data directory: %s is missing", r.Base, must)
		}
	}
	return k.done, k.linkTablespaces(r, spaces)
}

// unpack unpacks one tar file. Scripts put a directory around it: that is cut off.
func (k *copier) unpack(file, to string, r Recovery) error {
	in, err := openPacked(k.ctx, file, parseDumpName(filepath.Base(file), time.UTC).Packed)
	if err != nil {
		return err
	}
	defer in.Close()
	if err := k.dir(to); err != nil {
		return err
	}
	files, prefix, known := tar.NewReader(&boundReader{k.ctx, in}), "", to != r.data()
	for {
		head, err := files.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return &Damage{file, "it ends too early: it was cut (" + err.Error() + ")"}
		}
		name := path.Clean(strings.TrimPrefix(head.Name, "./"))
		if !known {
			prefix, known = tarPrefix(name)
		}
		name, ok := strings.CutPrefix(name, prefix)
		if !ok || name == "" || name == "." || slices.Contains(left, name) {
			continue
		}
		if !filepath.IsLocal(name) {
			return &Damage{file, "it names a file outside of it"}
		}
		err = k.tarEntry(files, head, filepath.Join(to, name))
		if errors.Is(err, io.ErrUnexpectedEOF) {
			err = &Damage{file, "it ends too early: it was cut"}
		}
		if err != nil {
			return err
		}
	}
}

// tarPrefix is the directory that a script put around a data directory: known
// from the first entry that can only lie at the top of one.
func tarPrefix(name string) (prefix string, known bool) {
	top, rest, nested := strings.Cut(name, "/")
	if first, _, _ := strings.Cut(rest, "/"); nested && topFile.MatchString(first) {
		return top + "/", true
	}
	return "", topFile.MatchString(top) && top != "base" // a directory around it may be called base
}

// topFile matches what lies at the top of a data directory and nowhere below it.
var topFile = regexp.MustCompile(`^(backup_label|backup_manifest|tablespace_map|PG_VERSION|postgresql\..*conf|global|base|pg_(commit_ts|dynshmem|logical|multixact|notify|replslot|serial|snapshots|stat|stat_tmp|subtrans|tblspc|twophase|wal|xact|(hba|ident)\.conf))$`)

func (k *copier) tarEntry(from io.Reader, head *tar.Header, to string) error {
	switch head.Typeflag {
	case tar.TypeDir:
		return k.dir(to)
	case tar.TypeReg:
		if err := k.dir(filepath.Dir(to)); err != nil {
			return err
		}
		return k.stream(from, to)
	}
	return nil // links of pg_tblspc are made anew
}

// dir makes a directory with all above it, and gives it to the owner.
func (k *copier) dir(to string) error {
	if _, err := os.Stat(to); err == nil {
		return nil
	}
	if err := k.dir(filepath.Dir(to)); err != nil {
		return err
	}
	if err := os.Mkdir(to, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return k.owner.own(to)
}

func (k *copier) stream(from io.Reader, to string) error {
	out, err := os.OpenFile(to, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	n, err := io.Copy(out, from)
	k.done += n
	k.work.tell(Progress{Done: k.done, Total: max(k.total, k.done), Unit: "bytes"})
	return errors.Join(err, out.Close(), k.owner.own(to))
}

// linkTablespaces links to the tablespaces that were unpacked. One that the data
// directory knows and the backup has not is refused: without it the server would
// begin, and lack its tables.
func (k *copier) linkTablespaces(r Recovery, spaces map[string]bool) error {
	at := filepath.Join(r.data(), "pg_tblspc")
	if err := k.dir(at); err != nil {
		return err
	}
	known, err := tablespaceMap(k.ctx, r.Base)
	if err != nil {
		return err
	}
	for _, oid := range known {
		if !spaces[oid] {
			return fmt.Errorf("tablespace %s is not in the base backup %s, so it cannot be put elsewhere: take base backups with cairn, or with pg_basebackup -Ft", oid, r.Base)
		}
	}
	for oid := range spaces {
		link := filepath.Join(at, oid)
		if err := os.Symlink(filepath.Join(r.Dir, baseTablespaces, oid), link); err != nil {
			return fmt.Errorf("pointing to tablespace %s: %w", oid, err)
		}
		if err := k.owner.own(link); err != nil {
			return err
		}
	}
	return nil
}

// tablespaceMap lists the tablespaces that a base backup in tar format says it has:
// in its tablespace_map, or as links.
func tablespaceMap(ctx context.Context, base string) ([]string, error) {
	file := base
	if !tarName.MatchString(base) {
		for _, f := range baseTars(base) {
			if baseTar.MatchString(filepath.Base(f)) {
				file = f
			}
		}
	}
	in, err := openPacked(ctx, file, parseDumpName(filepath.Base(file), time.UTC).Packed)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	var all []string
	files := tar.NewReader(&boundReader{ctx, in})
	for {
		head, err := files.Next()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, &Damage{file, "it ends too early: it was cut"}
		}
		name := path.Clean(head.Name)
		switch {
		case path.Base(path.Dir(name)) == "pg_tblspc" && isOID.MatchString(path.Base(name)) && head.Typeflag == tar.TypeSymlink:
			all = append(all, path.Base(name))
		case path.Base(name) == "tablespace_map":
			text, err := io.ReadAll(io.LimitReader(files, 1<<20))
			if err != nil {
				return nil, &Damage{file, "it ends too early: it was cut"}
			}
			for line := range strings.SplitSeq(string(text), "\n") {
				if oid, _, ok := strings.Cut(line, " "); ok && isOID.MatchString(oid) {
					all = append(all, oid)
				}
			}
			return all, nil // it is the second file
		}
	}
}
