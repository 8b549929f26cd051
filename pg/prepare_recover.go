package pg

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// RecoverReady is what a plan of a recovery rests on.
type RecoverReady struct {
	Source   Source
	Recovery Recovery // without Dir's end, which carries the operation's id
	Live     bool     // the live server answers: it can be asked to archive, and take the database back
	Preflight
}

// PrepareRecover looks whether a server can be recovered to a target now, and
// where: below dir, or beside the live data directory where that is here.
func (c *Client) PrepareRecover(ctx context.Context, t Target, dir string) (RecoverReady, error) {
	out := RecoverReady{Live: true}
	var err error
	if out.Server, err = c.server.readServer(ctx, c.now); err != nil {
		out.Live = false
		out.Notes = append(out.Notes, "The live server does not answer: only what is archived already can be restored to.")
	}
	flushed := out.Live && !out.Server.InRecovery && out.Server.Archiver.Mode == "on" && !out.Server.Archiver.FailingNow()
	if out.Source, err = c.ChooseBase(ctx, t, out.Server.SegmentBytes, flushed); err != nil {
		return out, err
	}
	b := out.Source.Base
	if id := out.Server.SystemID; id != 0 && b.SystemID != 0 && id != b.SystemID {
		out.block("base backup", "it is of another server: the system identifiers differ", "see that base.dir is this server's own")
	}
	out.Recovery = Recovery{Base: b.Path, WAL: c.cfg.WAL.Dir, Target: t, User: "postgres", Total: out.Source.Segments}
	if out.Recovery.Major, err = baseMajor(b.Path); err != nil {
		return out, err
	}
	for _, program := range []string{"postgres", "pg_ctl", "pg_controldata"} {
		if _, err := c.toolPath(ctx, program, out.Recovery.Major, true); err != nil {
			out.block(program, err.Error(), fmt.Sprintf("install postgresql-%d on this host (without making a cluster of it)", out.Recovery.Major))
		}
	}
	if out.Live {
		out.bootstrapUser(ctx, c)
	}
	out.place(dir, b)
	return out, nil
}

// baseMajor is the major version of a base backup.
func baseMajor(dir string) (int, error) {
	for _, path := range []string{filepath.Join(dir, baseData, "PG_VERSION"), filepath.Join(dir, "PG_VERSION")} {
		if text, err := os.ReadFile(path); err == nil {
			return majorOf(strings.TrimSpace(string(text))), nil
		}
	}
	return 0, fmt.Errorf("%s does not say its version: a base backup as tar files has to be unpacked first", dir)
}

// bootstrapUser finds out what the superuser is called that initdb makes.
func (r *RecoverReady) bootstrapUser(ctx context.Context, c *Client) {
	conn, err := c.server.connect(ctx, "")
	if err != nil {
		return // the usual name stays
	}
	defer shut(ctx, conn)
	_ = conn.QueryRow(ctx, `SELECT rolname::text FROM pg_roles WHERE oid = 10`).Scan(&r.Recovery.User) // as above
}

// place chooses the directory and its owner, and looks for room.
func (r *RecoverReady) place(dir string, b BaseBackup) {
	live := r.Server.DataDirectory
	info, err := os.Stat(live)
	here := live != "" && err == nil
	if dir == "" && here {
		dir = filepath.Dir(live)
	}
	if dir == "" {
		r.block("directory", "the live data directory is not on this host, so there is no place beside it", "name a directory for the recovery: --dir DIR")
		return
	}
	if r.Recovery.Owner, err = ownerOf(info, here); err != nil {
		r.block("owner", err.Error(), "run cairn as root, or as the user that owns the data directory")
	}
	r.Recovery.Dir = dir
	r.room(dir, b.Size+b.Size/10)
	if r.Recovery.Owner.Name != "" && os.Geteuid() == 0 {
		for _, path := range []string{dir, r.Recovery.WAL} {
			if !reachable(path, r.Recovery.Owner) {
				r.block(path, fmt.Sprintf("the user %s, which runs the recovered server, cannot reach it", r.Recovery.Owner.Name), "give it the right to read: chmod o+x on the way, or choose another directory with --dir")
			}
		}
	}
}

// ownerOf is who runs the recovered server: the owner of the live one, else the
// user postgres; without being root only ourselves.
func ownerOf(live os.FileInfo, here bool) (Owner, error) {
	me, err := user.Current()
	if err != nil {
		return Owner{}, fmt.Errorf("who we are is not known: %w", err)
	}
	u := me
	if os.Geteuid() == 0 {
		u, err = user.Lookup("postgres")
	}
	if stat, ok := sysStat(live); here && ok {
		if os.Geteuid() != 0 && int(stat.Uid) != os.Geteuid() {
			return Owner{}, fmt.Errorf("the data directory belongs to another user than %s", me.Username)
		}
		u, err = user.LookupId(strconv.Itoa(int(stat.Uid)))
	}
	if err != nil {
		return Owner{}, fmt.Errorf("the user that is to run the recovered server is not known: %w", err)
	}
	if u.Uid == "0" {
		return Owner{}, errors.New("PostgreSQL refuses to run as root, and there is no other owner")
	}
	uid, err1 := strconv.Atoi(u.Uid)
	gid, err2 := strconv.Atoi(u.Gid)
	return Owner{uid, gid, u.Username}, errors.Join(err1, err2)
}

func sysStat(info os.FileInfo) (*syscall.Stat_t, bool) {
	if info == nil {
		return nil, false
	}
	s, ok := info.Sys().(*syscall.Stat_t)
	return s, ok
}

// reachable says whether a user may enter a directory and all above it, as far as
// the permissions for owner and others tell.
func reachable(path string, o Owner) bool {
	for at := filepath.Clean(path); ; at = filepath.Dir(at) {
		info, err := os.Stat(at)
		stat, ok := sysStat(info)
		if err != nil || !ok {
			return false
		}
		mode := info.Mode().Perm()
		mine := int(stat.Uid) == o.UID && mode&0o100 != 0 || int(stat.Gid) == o.GID && mode&0o010 != 0 || mode&0o001 != 0
		if !mine {
			return false
		}
		if at == "/" {
			return true
		}
	}
}
