package pg

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"cairn/internal/command"
)

// RecoverReady is what a plan of a recovery rests on.
type RecoverReady struct {
	Source   Source
	Recovery Recovery  // without Dir's end, which carries the operation's id
	Live     bool      // the live server answers: it can be asked to archive, and take the database back
	Newest   time.Time // how far the archive reaches, with Left; zero: not known
	Left     LeftWAL   // what a server that is down never archived; zero: nothing, or it is not known
	dead     string    // data directory of a server that is down, where that is here
	former   bool      // the backup is of the server before its upgrade: what is written now is no part of it
	Preflight
}

// RecoverRequest says to which point a server is to be recovered, and from what.
type RecoverRequest struct {
	Target Target
	Dir    string // below which; empty: beside the live data directory
	Tool   string // pgbackrest or barman: from its backups; empty: from base backups and the WAL archive
	Keep   bool   // it stays until a person ends it
}

// PrepareRecover looks whether a server can be recovered to a target now, and
// where: below dir, or beside the live data directory where that is here.
func (c *Client) PrepareRecover(ctx context.Context, req RecoverRequest) (RecoverReady, error) {
	out := RecoverReady{Live: true}
	var err error
	if out.Server, err = c.server.readServer(ctx, c.now); err != nil {
		out.Live = false
		out.Notes = append(out.Notes, "The live server does not answer: it can archive nothing more.")
	}
	out.Recovery = Recovery{Target: req.Target, User: "postgres", Keep: req.Keep, Tool: req.Tool, Major: majorOf(out.Server.Version)}
	if req.Tool != "" {
		err = out.fromTool(ctx, c)
	} else {
		err = out.fromBase(ctx, c)
	}
	if err != nil {
		return out, err
	}
	r := &out.Recovery
	if r.Major == 0 {
		out.Notes = append(out.Notes, "The backup's version is only seen when it is unpacked: PostgreSQL's programs of that very version must be on this host.")
	} else {
		for _, program := range []string{"postgres", "pg_ctl", "pg_controldata", "pg_waldump"} {
			if _, err := c.toolPath(ctx, program, r.Major, true); err != nil {
				out.block(program, err.Error(), fmt.Sprintf("install postgresql-%d on this host (without making a cluster of it)", r.Major))
			}
		}
	}
	if out.Live {
		out.liveFacts(ctx, c)
	}
	out.place(c.name, req.Dir, out.Source.Base)
	return out, nil
}

// fromBase chooses a base backup of our own or of pg_basebackup.
func (r *RecoverReady) fromBase(ctx context.Context, c *Client) (err error) {
	bases, d, err := c.basesAndWAL(ctx, r.Server.SegmentBytes)
	if err != nil {
		return err
	}
	if len(bases) > 0 {
		d = r.findLeft(c, bases[0], d)
	}
	if r.Source, err = d.choose(bases, r.Recovery.Target, c.now(), r.Flushes()); err != nil {
		return err
	}
	r.Recovery.Segment = d.size
	r.needUnpackers(ctx, d)
	b := r.Source.Base
	if id := r.Server.SystemID; id != 0 && b.SystemID != 0 && id != b.SystemID {
		r.block("base backup", "it is of another server: the system identifiers differ", "see that base.dir is this server's own")
	}
	r.Recovery.Base, r.Recovery.WAL, r.Recovery.Total = b.Path, c.cfg.WAL.Dir, r.Source.Segments
	r.Newest = r.Source.Reach
	if !isTarBase(b.Path) { // else its version is that of the live server, or is seen when it is unpacked
		if r.Recovery.Major, err = baseMajor(b.Path); err != nil {
			return err
		}
	}
	if r.Recovery.Target == (Target{}) && !r.Flushes() {
		if at := c.lastCommit(ctx, r.Recovery.Major, d, r.Source, c.cfg.WAL.Dir, r.Left.Dir); !at.IsZero() {
			r.Newest = at
		}
	}
	return nil
}

// fromTool chooses one of another tool's backups.
func (r *RecoverReady) fromTool(ctx context.Context, c *Client) error {
	version := map[string]string{ToolPgBackRest: "version", ToolBarman: "--version"}[r.Recovery.Tool]
	if _, err := command.Run(ctx, command.Spec{Argv: []string{r.Recovery.Tool, version}}); err != nil && c.cfg.names(r.Recovery.Tool) {
		r.block(r.Recovery.Tool, "it cannot be run here: "+err.Error(), "install "+r.Recovery.Tool+" on this host, which has its own restore")
		return nil
	}
	tool, seen, err := c.toolBackups(ctx, r.Recovery.Tool, r.Server.SegmentBytes)
	if err != nil {
		return err
	}
	for _, problem := range tool.Problems {
		r.Notes = append(r.Notes, fmt.Sprintf("%s says: %s.", tool.Name, problem))
	}
	for _, w := range tool.WAL {
		if w.Unknown != "" {
			r.Notes = append(r.Notes, fmt.Sprintf("Whether all WAL is there could not be seen: %s.", w.Unknown))
		}
	}
	archive := walDirectory{size: r.Server.SegmentBytes}
	if len(seen) > 0 {
		archive = seen[0].wal
	}
	var newest BaseBackup
	if len(tool.Backups) > 0 {
		newest.SystemID = tool.Backups[0].SystemID
	}
	if archive = r.findLeft(c, newest, archive); len(seen) > 0 {
		seen[0].wal = archive
	}
	r.Recovery.Segment = archive.size
	b, source, err := tool.choose(seen, r.Recovery.Target, c.now(), r.Flushes())
	if err != nil {
		return err
	}
	r.before(b)
	size := b.Size
	for _, d := range r.Server.Databases {
		size += max(0, d.Bytes)
	}
	if r.Recovery.Tool == ToolBarman { // it copies all WAL that follows the backup
		if s, ok := parseWALName(b.StartWAL).segmentOf(archive.size); ok {
			size += int64(archive.from(BaseBackup{}, s, Target{}).Segments) * archive.size
		}
	}
	r.Recovery.Label, r.Recovery.Total, r.Newest = b.Label, source.Segments, source.Reach
	r.Source = source
	r.Source.Base = BaseBackup{Path: tool.Name + ":" + b.Label, Taken: b.Started, Finished: b.Finished, Size: size}
	return nil
}

// before takes the version of a backup that a tool tells: one from before an upgrade
// needs the programs of then, and what the server left is of another cluster.
func (r *RecoverReady) before(b ToolBackup) {
	now := cmp.Or(r.Server.SystemID, controlID(r.dead))
	r.Recovery.Major = cmp.Or(b.Major, r.Recovery.Major)
	if b.SystemID == 0 || now == 0 || b.SystemID == now {
		return
	}
	r.Notes = append(r.Notes, fmt.Sprintf("Backup %s is of the server before its upgrade, when it was PostgreSQL %d: nothing that was written since is in it.", b.Label, r.Recovery.Major))
	r.former, r.Left, r.Recovery.Left, r.Recovery.LeftID = true, LeftWAL{}, "", 0
}

func (c Config) names(tool string) bool {
	return tool == ToolPgBackRest && c.PgBackRest != nil || tool == ToolBarman && c.Barman != nil
}

// Flushes says whether the live server can archive what it has written so far, and
// that belongs to what is recovered.
func (r *RecoverReady) Flushes() bool {
	return r.Live && !r.former && !r.Server.InRecovery && r.Server.Archiver.Mode == "on" && !r.Server.Archiver.FailingNow()
}

// baseMajor is the major version of a base backup.
func baseMajor(dir string) (int, error) {
	for _, path := range []string{filepath.Join(dir, baseData, "PG_VERSION"), filepath.Join(dir, "PG_VERSION")} {
		if text, err := readLimited(path, smallFile); err == nil {
			return majorOf(strings.TrimSpace(string(text))), nil
		}
	}
	return 0, fmt.Errorf("%s does not say its version: it is no base backup", dir)
}

// liveFacts finds out what the superuser is called that initdb makes, and which
// tablespaces there are.
func (r *RecoverReady) liveFacts(ctx context.Context, c *Client) {
	conn, err := c.server.connect(ctx, "")
	if err != nil {
		return // the usual name stays
	}
	defer shut(ctx, conn)
	r.flushNote(ctx, conn)
	_ = conn.QueryRow(ctx, `SELECT rolname::text FROM pg_roles WHERE oid = 10`).Scan(&r.Recovery.User) // as above
	if found, err := conn.Query(ctx, `SELECT spcname::text FROM pg_tablespace WHERE pg_tablespace_location(oid) <> '' ORDER BY 1`); err == nil {
		r.Recovery.Spaces, _ = pgx.CollectRows(found, pgx.RowTo[string]) // a tool that needs them complains
	}
}

// flushNote says that the role may not have the server archive what it has written
// so far: GRANT pg_monitor does not give that right.
func (r *RecoverReady) flushNote(ctx context.Context, conn *pgx.Conn) {
	var may bool
	if !r.Flushes() || conn.QueryRow(ctx, `SELECT has_function_privilege('pg_switch_wal()', 'EXECUTE')`).Scan(&may) != nil || may {
		return
	}
	role := conn.Config().User
	r.Notes = append(r.Notes, fmt.Sprintf("Role %s may not have the server archive what it has written so far: the last minutes may not be in the archive yet. GRANT EXECUTE ON FUNCTION pg_switch_wal() TO %s.", role, quote(role)))
}

// place chooses the directory and its owner, and looks for room.
func (r *RecoverReady) place(name, dir string, b BaseBackup) {
	live := cmp.Or(r.Server.DataDirectory, r.dead)
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
	if n := len(filepath.Join(dir, name+"-recover-", "run", ".s.PGSQL.5432")) + longestID; n > longestSocket {
		r.block(dir, fmt.Sprintf("the path of its socket would have %d characters, and %d are allowed", n, longestSocket), "choose a shorter directory with --dir")
	}
	r.room(dir, b.Size+b.Size/10+r.Left.Bytes)
	if r.Recovery.Owner.Name != "" && os.Geteuid() == 0 {
		for _, path := range []string{dir, r.Recovery.WAL} {
			if path != "" && !reachable(path, r.Recovery.Owner) {
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
