package pg

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// LeftWAL is WAL of a server that is down, which it never archived: the newest
// that there is of it.
type LeftWAL struct {
	Dir      string    // its pg_wal
	Segments int       // that the archive lacks, and that are what their names say
	Bytes    int64     // of these
	Last     time.Time // when the newest of them was written last
}

// leftFiles are the files of that pg_wal which a recovery can use.
type leftFiles struct {
	segments  []archived
	histories []walEntry
}

// pgWAL is where a server keeps its WAL, below its data directory.
const pgWAL = "pg_wal"

// readLeft reads the pg_wal of a server that is down. A segment counts only where
// its first page says that it is the one of its name, and of the server with that
// system identifier (0: not asked): the server keeps old ones under the names of
// some to come, and another server's have the same names.
func readLeft(dir string, size, id int64) (leftFiles, error) {
	entries, err := listArchive(dir, 0)
	if err != nil {
		return leftFiles{}, fmt.Errorf("reading the WAL that the server left: %w", err)
	}
	var l leftFiles
	for _, e := range entries {
		if e.packed != "" || e.summed {
			continue
		}
		if e.kind == walHistory {
			l.histories = append(l.histories, e)
		}
		s, ok := e.segmentOf(size)
		if e.kind != walSegment || !ok || e.info.Size() != size {
			continue
		}
		if p, ok := readPage(e.path, ""); ok && p.size == size && p.is(s) && (id == 0 || p.systemID == id) {
			l.segments = append(l.segments, archived{s, e.info.ModTime()})
		}
	}
	return l, nil
}

// beyond leaves out what an archive has.
func (l leftFiles) beyond(d walDirectory) leftFiles {
	have := map[segment]bool{}
	for _, s := range d.segments {
		have[s.segment] = true
	}
	l.segments = slices.DeleteFunc(slices.Clone(l.segments), func(s archived) bool { return have[s.segment] })
	return l
}

// with is an archive together with what the server left.
func (d walDirectory) with(l leftFiles) walDirectory {
	d.segments = append(slices.Clone(d.segments), l.beyond(d).segments...)
	slices.SortFunc(d.segments, func(a, b archived) int { return a.compare(b.segment) })
	known := map[uint32][]ancestor{}
	for _, e := range l.histories {
		if text, err := readUnpacked(e.path, ""); err == nil {
			known[e.timeline] = parseHistory(text)
		}
	}
	for timeline, one := range d.histories {
		known[timeline] = one
	}
	d.histories = known
	return d
}

// leftOf tells of the WAL that a server which is down left in its data directory,
// beyond an archive. id is the system identifier that it must have.
func leftOf(data string, d walDirectory, id int64) (LeftWAL, leftFiles, error) {
	out := LeftWAL{Dir: filepath.Join(data, pgWAL)}
	l, err := readLeft(out.Dir, d.size, id)
	if err != nil {
		return out, l, err
	}
	for _, s := range l.beyond(d).segments {
		out.Segments, out.Bytes = out.Segments+1, out.Bytes+d.size
		if s.written.After(out.Last) {
			out.Last = s.written
		}
	}
	return out, l, nil
}

// runsIn says whether a server runs in a data directory, as far as this host can
// tell: the process of its postmaster.pid lives, and is one of PostgreSQL.
func runsIn(data string) (pid int, runs bool) {
	text, err := readLimited(filepath.Join(data, "postmaster.pid"), smallFile)
	if err != nil {
		return 0, !errors.Is(err, fs.ErrNotExist)
	}
	line, _, _ := strings.Cut(string(text), "\n")
	pid, err = strconv.Atoi(strings.TrimSpace(line))
	if err != nil || pid <= 0 {
		return 0, true // being written
	}
	if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return pid, false
	}
	text, err = os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return pid, err != nil || livesAsServer(string(text))
}

// livesAsServer reads a process's stat file: "4487 (postgres) Z 1 …".
func livesAsServer(stat string) bool {
	_, rest, _ := strings.Cut(stat, "(")
	end := strings.LastIndex(rest, ")")
	if end < 0 {
		return true // not to be understood: better too careful
	}
	name, state := rest[:end], strings.TrimSpace(rest[end+1:])
	dead := strings.HasPrefix(state, "Z") || strings.HasPrefix(state, "X")
	return !dead && (strings.HasPrefix(name, "postgres") || strings.HasPrefix(name, "postmaster"))
}

// deadData is the data directory of a server that does not answer: as it said
// last, or as the base backup or pgBackRest's configuration has it. Empty: it is
// not known, or not on this host.
func (c *Client) deadData(b BaseBackup) string {
	places := []string{c.last.Server.Value.DataDirectory}
	if m, err := ReadBaseManifest(b.Path); err == nil {
		places = append(places, m.DataDirectory)
	}
	if t := c.cfg.PgBackRest; t != nil {
		if conf, err := t.read(); err == nil {
			places = append(places, conf[t.Stanza]["pg1-path"], conf["global"]["pg1-path"])
		}
	}
	for _, dir := range places {
		if _, err := os.Stat(filepath.Join(dir, "global", "pg_control")); err == nil && dir != "" {
			return dir
		}
	}
	return ""
}

// controlID is the system identifier of a data directory; 0: it does not tell.
func controlID(data string) int64 {
	f, err := openRegular(filepath.Join(data, "global", "pg_control"))
	if err != nil {
		return 0
	}
	defer f.Close()
	var id [8]byte
	if _, err := f.ReadAt(id[:], 0); err != nil {
		return 0
	}
	return int64(binary.LittleEndian.Uint64(id[:]))
}

// whose data directory it is, as far as the system identifiers tell.
type whose int

const (
	thisServer whose = iota
	otherServer
	unknownServer
)

// sameServer compares the system identifier of a server with that of a data
// directory; 0: not known. WAL of another server must not be replayed, and its files
// have the same names: what cannot be compared is not used. why follows the path.
func sameServer(server, here int64) (w whose, why string) {
	switch {
	case here == 0:
		return unknownServer, "does not tell whose it is: global/pg_control cannot be read, and what its pg_wal holds that was never archived is not used. Run cairn as root, or as the user that owns it."
	case server == 0:
		return unknownServer, fmt.Sprintf("has the system identifier %d, and neither the backups nor the newest WAL segment tell that of the server: what its pg_wal holds that was never archived is not used. If it is this server's, copy that into the WAL archive and plan again.", here)
	case server != here:
		return otherServer, "is of another server than the backups (the system identifiers differ): its pg_wal is not used."
	}
	return thisServer, ""
}

// findLeft looks for WAL that a dead server left, and adds it to what a recovery
// uses; newest is the newest backup. It returns the archive with that.
func (r *RecoverReady) findLeft(c *Client, newest BaseBackup, d walDirectory) walDirectory {
	if r.Live {
		return d
	}
	data := c.deadData(newest)
	if data == "" {
		r.Notes = append(r.Notes, "The server does not answer, and its data directory is not on this host: what its pg_wal holds that was never archived is not used. If its disk can still be read, mount it here under the path that it had, and plan again.")
		return d
	}
	if pid, runs := runsIn(data); runs {
		r.Notes = append(r.Notes, fmt.Sprintf("The server does not answer, but something runs in %s (process %d): its pg_wal is not touched. Stop it, and plan again: what it has not archived is used then.", data, pid))
		return d
	}
	id := cmp.Or(newest.SystemID, r.Server.SystemID, c.last.Server.Value.SystemID, d.systemID())
	whose, why := sameServer(id, controlID(data))
	if whose != otherServer {
		r.dead = data
	}
	if whose != thisServer {
		r.Notes = append(r.Notes, data+" "+why)
		return d
	}
	if !validSegmentSize(d.size) {
		entries, _ := listArchive(filepath.Join(data, pgWAL), 0) // what it cannot read, the next one says
		d.size = sizeOf(entries)
	}
	left, files, err := leftOf(data, d, id)
	switch {
	case err != nil:
		r.Notes = append(r.Notes, fmt.Sprintf("The server is down, and what its pg_wal holds that was never archived cannot be read: %v. Run cairn as root, or as the user that owns it.", err))
	case left.Segments > 0:
		r.Left, r.Recovery.Left, r.Recovery.LeftID = left, left.Dir, id
		saved := "what was written until " + left.Last.Local().Format("2006-01-02 15:04:05 MST")
		if n := len(d.segments); n > 0 && d.segments[n-1].written.Before(left.Last) {
			saved = fmt.Sprintf("what was written from %s to %s", d.segments[n-1].written.Local().Format("2006-01-02 15:04:05"), left.Last.Local().Format("2006-01-02 15:04:05 MST"))
		}
		r.Notes = append(r.Notes, fmt.Sprintf("The server is down, and %d WAL segments that it never archived are in %s: they are copied and replayed too, which saves %s.", left.Segments, left.Dir, saved))
		return d.with(files)
	default:
		r.Notes = append(r.Notes, fmt.Sprintf("The server is down; its pg_wal (%s) holds nothing that is not archived.", left.Dir))
	}
	return d
}

// left is where the WAL that a dead server left is copied to.
func (r Recovery) left() string { return filepath.Join(r.Dir, "left-wal") }

// copyLeft copies the WAL that a dead server left beside the copy of its backup:
// never more than what is not archived, never moved.
func (r Recovery) copyLeft(ctx context.Context, w Work) (int64, error) {
	if r.Left == "" {
		return 0, nil
	}
	d := walDirectory{}
	if r.WAL != "" {
		var err error
		if d, err = scanArchive(r.WAL, r.Segment); err != nil {
			return 0, fmt.Errorf("reading the WAL archive: %w", err)
		}
	}
	l, err := readLeft(r.Left, r.Segment, r.LeftID)
	if err != nil {
		return 0, err
	}
	l = l.beyond(d)
	w.say("copying %d WAL segments that the server never archived", len(l.segments))
	k := &copier{ctx: ctx, work: w, total: int64(len(l.segments)) * r.Segment, owner: r.Owner}
	names := make([]string, 0, len(l.segments)+len(l.histories))
	for _, s := range l.segments {
		names = append(names, s.name(r.Segment))
	}
	for _, e := range l.histories {
		names = append(names, filepath.Base(e.path))
	}
	err = os.Mkdir(r.left(), 0o700)
	if err == nil {
		err = r.Owner.own(r.left())
	}
	for _, name := range names {
		if err == nil {
			err = context.Cause(ctx)
		}
		if err == nil {
			err = k.file(filepath.Join(r.Left, name), filepath.Join(r.left(), name))
		}
		if err == nil {
			err = r.Owner.own(filepath.Join(r.left(), name))
		}
	}
	if err != nil {
		return k.done, fmt.Errorf("copying the WAL that the server left: %w", roomHint(err))
	}
	return k.done, nil
}

// leftScript fetches WAL from the archive, else from what the server left.
func (r Recovery) leftScript() string {
	if r.Left == "" {
		return "get() { fetch \"$1\" \"$2\"; }\n"
	}
	return `left=` + shellQuote(r.left()) + `
get() {
  fetch "$1" "$2"
  code=$?
  if [ $code -ne 1 ] || [ ! -f "$left/$1" ]; then return $code; fi
  cp "$left/$1" "$2" || return 2
}
`
}
