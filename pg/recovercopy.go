package pg

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"

	"cairn/internal/command"
)

// CopyBase copies a base backup into the new directory of a recovery, its
// tablespaces too, each to a place of its own there. Links of the copy never
// lead to where the live server keeps anything.
func (c *Client) CopyBase(ctx context.Context, r Recovery, w Work) (int64, error) {
	if w.Operation == "" || !strings.Contains(filepath.Base(r.Dir), w.Operation) {
		return 0, fmt.Errorf("%s does not carry the operation's id: nothing was touched", r.Dir)
	}
	if err := c.freshDir(ctx, r, w); err != nil {
		return 0, err
	}
	copied, err := c.copyBackup(ctx, r, w)
	if err != nil {
		return copied, err
	}
	n, err := r.copyLeft(ctx, w)
	return copied + n, err
}

func (c *Client) copyBackup(ctx context.Context, r Recovery, w Work) (int64, error) {
	switch {
	case r.Tool != "":
		return c.restoreByTool(ctx, r, w)
	case isTarBase(r.Base):
		return c.unpackBase(ctx, r, w)
	}
	from := r.Base
	if _, err := os.Stat(filepath.Join(from, baseManifestName)); err == nil {
		from = filepath.Join(from, baseData)
	}
	if _, err := os.Stat(filepath.Join(from, "PG_VERSION")); err != nil {
		return 0, fmt.Errorf("%s is no data directory: %w", from, err)
	}
	total, _ := measure(r.Base)
	k := &copier{ctx: ctx, work: w, total: total, owner: r.Owner}
	w.say("copying the base backup")
	if err := k.tree(from, r.data()); err != nil {
		return k.done, fmt.Errorf("copying the base backup: %w", roomHint(err))
	}
	return k.done, k.tablespaces(from, r)
}

// roomHint says what to do about a full disk.
func roomHint(err error) error {
	if errors.Is(err, syscall.ENOSPC) {
		return fmt.Errorf("%w; the disk is full: make room, or recover into another directory with --dir", err)
	}
	return err
}

// freshDir makes the directory. One that an interrupted try of the same operation
// left is removed, once its server is stopped.
func (c *Client) freshDir(ctx context.Context, r Recovery, w Work) error {
	if _, err := os.Lstat(r.Dir); err == nil {
		if err := c.Discard(ctx, r, w); err != nil {
			return err
		}
	}
	if err := os.Mkdir(r.Dir, 0o700); err != nil {
		return fmt.Errorf("making the directory of the recovery: %w", err)
	}
	err := os.WriteFile(filepath.Join(r.Dir, recoveryMark), []byte(w.Operation+"\n"), 0o600)
	for _, dir := range []string{r.socket(), filepath.Join(r.Dir, baseTablespaces)} {
		if err == nil {
			err = os.Mkdir(dir, 0o700)
		}
		if err == nil {
			err = r.Owner.own(dir)
		}
	}
	if err == nil {
		err = r.Owner.own(r.Dir)
	}
	if err != nil {
		return fmt.Errorf("making the directory of the recovery: %w", err)
	}
	return nil
}

// own gives a path to the owner, where we are not that one ourselves.
func (o Owner) own(path string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	return os.Lchown(path, o.UID, o.GID)
}

// as puts runuser before a command where we are root.
func (o Owner) as(argv ...string) []string {
	if os.Geteuid() != 0 {
		return argv
	}
	return append([]string{"runuser", "-u", o.Name, "--"}, argv...)
}

// copier copies files and reports bytes.
type copier struct {
	ctx         context.Context
	work        Work
	owner       Owner
	done, total int64
}

// left are files of a running server or of another's configuration, which a
// recovery must not find.
var left = []string{"postmaster.pid", "postmaster.opts", "postgresql.auto.conf", "standby.signal", "recovery.signal", "recovery.conf", "tablespace_map"}

func (k *copier) tree(from, to string) error {
	return filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if err := k.ctx.Err(); err != nil {
			return context.Cause(k.ctx)
		}
		inside, err := filepath.Rel(from, path)
		if err != nil || slices.Contains(left, inside) {
			return err
		}
		target := filepath.Join(to, inside)
		switch {
		case e.IsDir():
			err = os.Mkdir(target, 0o700)
		case e.Type().IsRegular():
			err = k.file(path, target)
		default:
			return nil // links of pg_tblspc are made anew; sockets are nothing to keep
		}
		if err == nil {
			err = k.owner.own(target)
		}
		return err
	})
}

func (k *copier) file(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	n, err := io.Copy(out, in)
	k.done += n
	k.work.tell(Progress{Done: k.done, Total: k.total, Unit: "bytes"})
	return errors.Join(err, out.Close())
}

var isOID = regexp.MustCompile(`^\d+$`)

// tablespaces copies what the links of pg_tblspc lead to, and links to the copies.
func (k *copier) tablespaces(from string, r Recovery) error {
	entries, err := os.ReadDir(filepath.Join(from, "pg_tblspc"))
	if err != nil {
		return fmt.Errorf("reading the tablespaces of the base backup: %w", err)
	}
	for _, e := range entries {
		link := filepath.Join(from, "pg_tblspc", e.Name())
		if !isOID.MatchString(e.Name()) || e.Type()&fs.ModeSymlink == 0 {
			continue
		}
		place, err := filepath.EvalSymlinks(link)
		if err != nil {
			return fmt.Errorf("tablespace %s is not in the base backup: %w", e.Name(), err)
		}
		if outside := !strings.HasPrefix(place, filepath.Clean(r.Base)+"/"); outside {
			return fmt.Errorf("tablespace %s of the base backup lies in %s, outside of it, which may be the live one: take a base backup with cairn, or move it into the base backup", e.Name(), place)
		}
		to := filepath.Join(r.Dir, baseTablespaces, e.Name())
		if err := k.tree(place, to); err != nil {
			return fmt.Errorf("copying tablespace %s: %w", e.Name(), roomHint(err))
		}
		mine := filepath.Join(r.data(), "pg_tblspc", e.Name())
		if err := os.Symlink(to, mine); err != nil {
			return fmt.Errorf("pointing to tablespace %s: %w", e.Name(), err)
		}
		if err := k.owner.own(mine); err != nil {
			return err
		}
	}
	return nil
}

// Discard stops the recovered server and removes its directory. It refuses every
// directory that the operation did not make.
func (c *Client) Discard(ctx context.Context, r Recovery, w Work) error {
	if _, err := os.Lstat(r.Dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := r.marked(w.Operation); err != nil {
		return err
	}
	if err := c.stopRecovered(ctx, r); err != nil {
		return err
	}
	if err := os.RemoveAll(r.Dir); err != nil {
		return fmt.Errorf("removing %s: %w", r.Dir, err)
	}
	return nil
}

// stopRecovered stops the recovered server, where it runs. One that is to go on
// is stopped cleanly, so that it need not replay what it has.
func (c *Client) stopRecovered(ctx context.Context, r Recovery) error {
	if _, err := os.Stat(filepath.Join(r.data(), "postmaster.pid")); err != nil {
		return nil
	}
	r = r.versioned()
	path, err := c.toolPath(ctx, "pg_ctl", r.Major, r.Major > 0)
	if err != nil {
		return err
	}
	mode := "immediate"
	if r.Keep {
		mode = "fast"
	}
	argv := r.Owner.as(path, "stop", "--pgdata="+r.data(), "--mode="+mode, "--wait", "--timeout=300")
	result, err := command.Run(ctx, access{}.spec(Work{}, argv...))
	if err != nil && !strings.Contains(string(result.Stderr), "Is server running?") && !strings.Contains(string(result.Stderr), "No such process") {
		return c.server.toolError("stopping the recovered server", result, err)
	}
	return nil
}
