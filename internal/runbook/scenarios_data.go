package runbook

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"cairn/internal/backup"
	"cairn/internal/operation"
	"cairn/internal/plan"
	"cairn/internal/runbook/database"
	"cairn/internal/runbook/repository"
	"cairn/pg"
	"cairn/restic"
)

func fileLoss() Scenario {
	return Scenario{
		Name: "file-loss", What: "Files or directories of this host are gone or ruined", Method: "restic, beside them, then swap", Asks: AtPath,
		Points: filePoints,
		Options: []Option{
			{Name: "target", Title: "Directory", Hint: "empty: one beside the path"},
		},
		Plan: func(ctx context.Context, l *Lab, w Wish) (plan.Plan, error) {
			r := repository.FileRestore{Paths: []string{w.Target}, Target: w.Options["target"]}
			if w.Point == "" {
				return l.Repositories.Restore(ctx, r)
			}
			points, _, err := filePoints(ctx, l, w.Target)
			if err != nil {
				return plan.Plan{}, err
			}
			for _, p := range points {
				if p.ID == w.Point {
					r.From, r.At = p.Source, p.Taken
					return l.Repositories.Restore(ctx, r)
				}
			}
			return plan.Plan{}, fmt.Errorf("there is no snapshot %s any more: choose another", w.Point)
		},
		Next: &Next{Title: "exchange it with what is there now", Plan: func(_ context.Context, l *Lab, s operation.Status) (plan.Plan, error) {
			return l.Repositories.Swap(s)
		}},
	}
}

// filePoints are the snapshots of all repositories that were made of a path.
func filePoints(ctx context.Context, l *Lab, path string) (out []Point, unread []string, err error) {
	if !filepath.IsAbs(path) {
		return nil, nil, fmt.Errorf("%q is no full path: write it from / on, as it was backed up", path)
	}
	path = filepath.Clean(path)
	for _, name := range slices.Sorted(maps.Keys(l.config.Restic)) {
		facts, err := l.Repositories.Survey(ctx, name)
		if err != nil {
			unread = append(unread, restic.Source(name)+": "+err.Error())
			continue
		}
		for _, s := range facts.Snapshots {
			made := func(top string) bool {
				return backup.Within(path, filepath.Clean(top)) || backup.Within(filepath.Clean(top), path)
			}
			if !slices.ContainsFunc(s.Paths, made) {
				continue
			}
			p := Point{ID: name + "/" + s.ID, Taken: s.Time, Source: restic.Source(name), Proven: "exists", Encrypted: true, Key: "password of " + restic.Source(name),
				OffSite: l.config.Restic[name].OffSite(), Note: strings.Join(s.Tags, " ")}
			if s.Summary != nil {
				p.Size = s.Summary.Bytes
			}
			out = append(out, p)
		}
	}
	return out, unread, nil
}

func databaseMistake() Scenario {
	return Scenario{
		Name: "database-mistake", What: "A database holds wrong data, and its server runs", Method: "a point in time, or a dump, beside it; then swap", Asks: AtDatabase,
		Points:  databasePoints,
		Options: []Option{moment(), part()},
		Plan:    func(ctx context.Context, l *Lab, w Wish) (plan.Plan, error) { return l.planDatabase(ctx, w, false) },
		Next: &Next{Title: "give it the live one's name", Plan: func(ctx context.Context, l *Lab, s operation.Status) (plan.Plan, error) {
			return l.Databases.SwapRestored(ctx, s)
		}},
	}
}

func databaseLoss() Scenario {
	return Scenario{
		Name: "database-loss", What: "A database is gone, or nothing in it is worth keeping", Method: "a base backup and its WAL, or a dump, under its own name", Asks: AtDatabase,
		Points:  databasePoints,
		Options: []Option{moment()},
		Plan:    func(ctx context.Context, l *Lab, w Wish) (plan.Plan, error) { return l.planDatabase(ctx, w, true) },
	}
}

func moment() Option {
	return Option{Name: "at", Title: "Moment", Hint: "such as 2026-11-21 18:04:59, 0/3000060 (an LSN) or name:RESTORE-POINT",
		Unasked: func(w Wish) bool { return w.Point != "" && w.Point != ToTheEnd }} // a dump is of one moment, its own
}

func part() Option {
	return Option{Name: "table", Title: "Table", Hint: "only the rows of SCHEMA.NAME of the dump; empty: all",
		Unasked: func(w Wish) bool { return w.Point == ToTheEnd }}
}

// ToTheEnd is the id of the point of a server's WAL: the moment is typed.
const ToTheEnd = "point in time"

// planDatabase recovers to a typed moment where the server's WAL is kept, else it
// restores a dump.
func (l *Lab) planDatabase(ctx context.Context, w Wish, swap bool) (plan.Plan, error) {
	source, name, err := l.Databases.Find(ctx, w.Target)
	if err != nil {
		return plan.Plan{}, err
	}
	at, err := database.ParseTarget(w.Options["at"], time.Local)
	if err != nil {
		return plan.Plan{}, err
	}
	exact := at != pg.Target{}
	c := l.config.Postgres[source]
	switch {
	case w.Point == ToTheEnd && !exact:
		return plan.Plan{}, errors.New("a point in time needs its moment: type it under Moment")
	case exact && w.Point == ToTheEnd, exact && w.Point == "" && c.Base != nil && c.WAL != nil:
		return l.Databases.Recover(ctx, database.Recovery{Source: source, Database: name, Target: at, Swap: swap})
	case exact && w.Point != "":
		return plan.Plan{}, errors.New("a dump is of one moment, its own: leave Moment empty, or choose the point in time")
	}
	r := database.Restore{Source: source, Database: name, Dump: w.Point, At: at.Time, Swap: swap}
	if table := w.Options["table"]; table != "" {
		r.Tables = []string{table}
	}
	return l.Databases.Restore(ctx, r)
}

// databasePoints are the dumps of a database, and, where base backups and WAL are
// kept, every moment between the oldest of them and the newest WAL.
func databasePoints(ctx context.Context, l *Lab, target string) (out []Point, unread []string, err error) {
	source, name, ok := l.Databases.Name(target)
	if !ok || name == "" {
		return nil, nil, fmt.Errorf("%q is no database of a configured postgres entry", target)
	}
	f, err := l.Databases.Survey(ctx, source)
	if err != nil {
		return nil, nil, err
	}
	for what, failed := range map[string]error{"dumps": f.Dumps.Err, "base backups": f.Bases.Err, "WAL archive": f.Archive.Err} {
		if failed != nil {
			unread = append(unread, what+": "+failed.Error())
		}
	}
	away, err := l.comparedAway(ctx, "postgres."+source)
	if err != nil {
		unread = append(unread, "which of them are off-site: "+err.Error())
	}
	slices.Sort(unread)
	for _, d := range f.Dumps.Value {
		if d.Database != name || d.Globals {
			continue
		}
		out = append(out, dumpPoint(d, away))
	}
	if cfg := l.config.Postgres[source]; cfg.Base != nil && cfg.WAL != nil {
		p := Point{ID: ToTheEnd, Taken: l.now(), Source: "base backup and WAL", Proven: "any moment that the WAL reaches", From: f.Archive.Value.From, To: f.Archive.Value.To}
		whole := func(b pg.BaseBackup) bool { return b.State == backup.Complete }
		if !slices.ContainsFunc(f.Bases.Value, whole) {
			p.Unusable = "no base backup is whole"
		}
		out = append(out, p)
	}
	return out, unread, nil
}

// dumpPoint is a dump; away are those that are off-site too, by their paths.
func dumpPoint(d pg.Dump, away map[string]bool) Point {
	p := Point{ID: d.Path, Taken: d.Taken, Source: "dump " + filepath.Base(d.Path), Size: d.Size, Encrypted: d.Encrypted, Proven: provenWord(d.Proofs), OffSite: away[d.Path]}
	if d.State != backup.Complete {
		p.Unusable = cmp.Or(d.Why, string(d.State))
	}
	return p
}

// comparedAway are the copies of a source, by id, that were found whole off-site when
// they were last compared.
func (l *Lab) comparedAway(ctx context.Context, source string) (map[string]bool, error) {
	if l.history == nil {
		return nil, nil
	}
	compared, err := l.history.Compared(ctx)
	away := map[string]bool{}
	for _, c := range compared {
		if c.Complete && c.Source == source {
			away[c.Copy] = true
		}
	}
	return away, err
}

func provenWord(all []backup.Proven) string {
	best := backup.Exists
	for _, p := range all {
		best = max(best, p.Level)
	}
	return best.String()
}
