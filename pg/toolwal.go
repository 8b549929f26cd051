package pg

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"time"

	"cairn/internal/backup"
)

// ToolWAL is what we saw ourselves in an archive of WAL that another tool keeps:
// its own word proves nothing, pgBackRest's verify misses no segment that is gone.
type ToolWAL struct {
	Repository int    // its number; 0: the tool has but one
	Cluster    int    // that it is of, of those that a stanza ever was; 0: not known, or there is but one
	Dir        string // of the archive; empty: not known
	Unknown    string // why it could not be looked through; empty: it was
	Away       bool   // it lies elsewhere or is encrypted, as configured: nothing went wrong
	Archive    Archive
}

// walLook is a look at the WAL of a tool: the one that runs, and what the last saw.
// A large archive takes longer than a survey waits: the next survey takes it then.
type walLook struct {
	done  <-chan struct{} // closed when it has ended
	began time.Time
	seen  *Tool // may be read once done is closed

	last   *Tool // nil: none has ended yet
	lastAt time.Time
}

// walSeenFor is how long what a look saw is shown while a newer one goes on.
const walSeenFor = time.Hour

// settle takes what the look saw, if it has ended.
func (l *walLook) settle() bool {
	select {
	case <-l.done:
		l.last, l.lastAt = l.seen, l.began
		return true
	default:
		return false
	}
}

// into tells of the WAL what was seen, of the backups that are still there; that
// it is not known where that is too long ago.
func (l *walLook) into(tool *Tool, now time.Time) {
	if l.last == nil || now.Sub(l.lastAt) > walSeenFor {
		tool.WAL = []ToolWAL{{Unknown: fmt.Sprintf("looking through it, begun at %s, has not ended yet", l.began.Local().Format("15:04:05"))}}
		return
	}
	tool.WAL = l.last.WAL
	for i := range tool.Backups {
		b := &tool.Backups[i]
		at := slices.IndexFunc(l.last.Backups, func(o ToolBackup) bool { return o.Label == b.Label && o.Repository == b.Repository })
		if at < 0 {
			continue
		}
		saw := l.last.Backups[at]
		b.StartWAL, b.StopWAL = cmp.Or(b.StartWAL, saw.StartWAL), cmp.Or(b.StopWAL, saw.StopWAL)
		if b.State == backup.Complete && saw.State == backup.Damaged {
			b.State, b.Why = saw.State, saw.Why
		}
	}
}

// lookAtWAL looks through the archives of WAL of a tool that has answered, and
// marks the backups that lack WAL which they need themselves. A look that takes
// longer than ctx goes on, and no second one is begun beside it.
func (c *Client) lookAtWAL(ctx context.Context, t asked, tool *Tool, segment int64) {
	if t.places == nil {
		return
	}
	c.looks.Lock()
	if c.looking == nil {
		c.looking = map[string]*walLook{}
	}
	l := c.looking[t.name]
	if l == nil {
		l = &walLook{}
		c.looking[t.name] = l
	}
	c.looks.Unlock()
	if l.done == nil || l.settle() {
		seen := &Tool{Backups: slices.Clone(tool.Backups)}
		l.seen, l.began = seen, c.now()
		l.done = async(func() { seen.WAL, _ = t.scanWAL(seen, segment) })
		select {
		case <-l.done:
			l.settle()
		case <-ctx.Done():
		}
	}
	l.into(tool, c.now())
}

// seenWAL is an archive that was looked through.
type seenWAL struct {
	place walPlace
	wal   walDirectory
}

// scanWAL does so, and returns what it saw of each archive that it could read:
// those of the clusters before an upgrade come last, and are not told of.
func (t asked) scanWAL(tool *Tool, segment int64) (all []ToolWAL, seen []seenWAL) {
	places, err := t.places()
	if err != nil {
		return []ToolWAL{{Unknown: err.Error()}}, nil
	}
	var former []seenWAL
	for _, p := range places {
		one := ToolWAL{Repository: p.repository, Dir: p.dir, Unknown: p.away, Away: p.away != ""}
		if one.Unknown == "" {
			clusters, err := p.clusters()
			for i, p := range clusters {
				d, unread := p.scan(tool, segment)
				if unread == nil {
					p.missing(tool, d)
				}
				switch {
				case i > 0 && unread == nil:
					former = append(former, seenWAL{p, d})
				case i == 0:
					if one.Dir, one.Cluster, err = p.dir, p.cluster, unread; err == nil {
						one.Archive = d.judge(p.bases(tool))
						seen = append(seen, seenWAL{p, d})
					}
				}
			}
			if err != nil {
				one.Unknown = whyUnread(err)
			}
		}
		all = append(all, one)
	}
	return all, append(seen, former...)
}

func whyUnread(err error) string {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return "it may not be read by the user that cairn runs as"
	case errors.Is(err, fs.ErrNotExist):
		return "it is not on this host"
	}
	return err.Error()
}

var archiveID = regexp.MustCompile(`^[0-9.]+-([0-9]+)$`)

// clusters are the archives of a place, that of the server as it is first.
// pgBackRest has a directory for each cluster that the stanza ever was, and an
// upgrade begins to count WAL anew: what lies in one says nothing of another.
func (p walPlace) clusters() ([]walPlace, error) {
	if p.repository == 0 {
		return []walPlace{p}, nil
	}
	names, err := os.ReadDir(p.dir)
	if err != nil {
		return nil, err
	}
	var all []walPlace
	for _, n := range names {
		if m := archiveID.FindStringSubmatch(n.Name()); m != nil && n.IsDir() {
			one := p
			one.cluster, _ = strconv.Atoi(m[1]) // the pattern made sure
			one.dir = filepath.Join(p.dir, n.Name())
			all = append(all, one)
		}
	}
	slices.SortFunc(all, func(a, b walPlace) int { return cmp.Compare(b.cluster, a.cluster) })
	for i := range all {
		all[i].former = i > 0
	}
	if len(all) == 0 {
		all = []walPlace{p}
	}
	return all, nil
}

// scan lists one archive.
func (p walPlace) scan(tool *Tool, segment int64) (walDirectory, error) {
	entries, err := listArchive(p.dir, 1)
	if err != nil {
		return walDirectory{}, err
	}
	for _, also := range p.also {
		more, _ := listArchive(also, 0) // it is only there where WAL comes that way
		entries = append(entries, more...)
	}
	for i := range entries {
		entries[i].unnamed = p.repository == 0
	}
	p.label(tool)
	return gatherWAL(entries, segment), nil
}

// label finds out of each backup which WAL it needs, where the tool did not say.
func (p walPlace) label(tool *Tool) {
	if p.labels == "" {
		return
	}
	known := barmanLabels(p.labels)
	for i := range tool.Backups {
		b := &tool.Backups[i]
		b.StartWAL, b.StopWAL = cmp.Or(b.StartWAL, known[b.Label].begin), cmp.Or(b.StopWAL, known[b.Label].end)
	}
}

// of says whether a backup lies in this place, and is of its cluster.
func (p walPlace) of(b ToolBackup) bool {
	return (p.repository == 0 || b.Repository == 0 || b.Repository == p.repository) &&
		(p.cluster == 0 || b.Cluster == 0 && !p.former || b.Cluster == p.cluster)
}

// missing marks the backups of which WAL is gone that they need to become
// consistent: nothing can be restored from them. What is not archived yet is no loss.
func (p walPlace) missing(tool *Tool, d walDirectory) {
	if len(d.segments) == 0 {
		return
	}
	newest := d.segments[len(d.segments)-1].segment
	for i := range tool.Backups {
		b := &tool.Backups[i]
		first, ok1 := parseWALName(b.StartWAL).segmentOf(d.size)
		last, ok2 := parseWALName(b.StopWAL).segmentOf(d.size)
		if b.State != backup.Complete || !p.of(*b) || b.StartWAL == "" || b.StopWAL == "" || !ok1 || !ok2 || first.timeline != last.timeline {
			continue
		}
		if last.timeline == newest.timeline {
			last.number = min(last.number, newest.number)
		}
		if gone := d.gaps([]stretch{{first.timeline, first.number, last.number + 1}}); len(gone) > 0 {
			b.State, b.Why = backup.Damaged, "WAL segment "+gone[0].First+", which it needs to become consistent, is missing from "+p.dir
		}
	}
}

// bases are the backups of a place as starts of a recovery, newest first. A
// recovery from one ends when it ended, at the earliest.
func (p walPlace) bases(tool *Tool) []BaseBackup {
	var all []BaseBackup
	for _, b := range tool.Backups {
		if p.of(b) {
			all = append(all, BaseBackup{Path: b.Label, Taken: b.Finished, Finished: b.Finished, Size: b.Size, State: b.State, Why: b.Why, StartWAL: b.StartWAL})
		}
	}
	return all
}
