package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"cairn/internal/desk"
	"cairn/internal/runbook/repository"
	"cairn/restic"
)

// whichSnapshot is how a person names a snapshot: by its id, or by a time.
type whichSnapshot struct{ from, at, id string }

func (w *whichSnapshot) register(c *cobra.Command) {
	c.Flags().StringVar(&w.from, "from", "", "`REPOSITORY`, such as restic.usb (default: the one with the newest copy)")
	c.Flags().StringVar(&w.at, "at", "", "the newest copy not after this `TIME`: 2026-11-21, \"2026-11-21 18:00\", or 3d for three days ago")
	c.Flags().StringVar(&w.id, "snapshot", "", "the snapshot whose `ID` begins so, instead of a time")
}

// find lists what the snapshot holds at a path.
func (w whichSnapshot) find(ctx context.Context, d *desk.Desk, full string) (name string, s restic.Snapshot, t *restic.Tree, err error) {
	if !filepath.IsAbs(full) {
		return "", s, nil, fail(ExitUsage, fmt.Errorf("%q is no full path: write it from / on, as it was backed up", full))
	}
	r := repository.FileRestore{Paths: []string{filepath.Clean(full)}, From: w.from}
	if w.id != "" {
		if w.at != "" {
			return "", s, nil, fail(ExitUsage, errors.New("--snapshot and --at both choose a snapshot: write one of them"))
		}
		if name, s, err = d.FindSnapshot(ctx, w.from, w.id); err != nil {
			return "", s, nil, err
		}
		r.From, r.At = name, s.Time
	} else if r.At, err = pointInTime(w.at, time.Now()); err != nil {
		return "", s, nil, fail(ExitUsage, err)
	}
	return d.FilesAt(ctx, r)
}

type fileLine struct {
	Path     string    `json:"path"`
	Kind     string    `json:"kind"`
	Size     int64     `json:"size"`
	Modified time.Time `json:"modified"`
}

func (a *app) filesList() *cobra.Command {
	var w whichSnapshot
	var format string
	var depth int
	c := &cobra.Command{Use: "list DIRECTORY", Short: "List a directory as a restic snapshot holds it", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := oneOf("format", format, "text", "json"); err != nil {
				return err
			}
			return a.withDesk(c.Context(), func(d *desk.Desk) error { return a.listFiles(c.Context(), d, w, args[0], depth, format) })
		}}
	w.register(c)
	c.Flags().StringVar(&format, "format", "text", "`FORMAT`: text or json")
	c.Flags().IntVar(&depth, "depth", 1, "`LEVELS` of directories to go down; 0: all")
	return c
}

func (a *app) listFiles(ctx context.Context, d *desk.Desk, w whichSnapshot, dir string, depth int, format string) error {
	repository, s, tree, err := w.find(ctx, d, dir)
	if err != nil {
		return err
	}
	at, ok := tree.Find(dir)
	if !ok {
		return fail(ExitFailed, fmt.Errorf("snapshot %s of restic.%s, of %s, does not hold %s: cairn files %s lists its versions", s.Short, repository, minute(s.Time), dir, dir))
	}
	lines := below(tree, at, depth)
	if format == "json" {
		return printJSON(a.env.Out, map[string]any{"schema_version": schemaVersion, "source": "restic." + repository, "snapshot": s.ID, "taken_at": s.Time, "path": path.Clean(dir), "files": lines})
	}
	fmt.Fprintf(a.env.Err, "Snapshot %s of restic.%s, of %s\n", s.Short, repository, minute(s.Time))
	t := tabwriter.NewWriter(a.env.Out, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, l := range lines {
		name := l.Path
		if l.Kind == "dir" {
			name += "/"
		}
		fmt.Fprintf(t, "%d\t%s\t  %s\n", l.Size, minute(l.Modified), name)
	}
	return t.Flush()
}

func minute(t time.Time) string { return t.Local().Format("2006-01-02 15:04") }

// below lists a file, or what lies in a directory so many levels down.
func below(tree *restic.Tree, at restic.Node, depth int) []fileLine {
	line := func(n restic.Node) fileLine { return fileLine{tree.Path(n.ID), n.Kind, n.Size, n.Modified} }
	if at.Kind != "dir" {
		return []fileLine{line(at)}
	}
	out := []fileLine{}
	for _, n := range tree.Children(at.ID, 0, tree.Count(at.ID)) {
		out = append(out, line(n))
		if n.Kind == "dir" && depth != 1 {
			out = append(out, below(tree, n, depth-1)...)
		}
	}
	return out
}

func (a *app) filesChanges() *cobra.Command {
	var from, format string
	c := &cobra.Command{Use: "changes SNAPSHOT [SNAPSHOT]", Short: "List what changed between two restic snapshots, or since the one before",
		Args: cobra.RangeArgs(1, 2), RunE: func(c *cobra.Command, args []string) error {
			if err := oneOf("format", format, "text", "json"); err != nil {
				return err
			}
			return a.withDesk(c.Context(), func(d *desk.Desk) error { return a.changes(c.Context(), d, from, args, format) })
		}}
	c.Flags().StringVar(&from, "from", "", "`REPOSITORY`, such as restic.usb (default: all)")
	c.Flags().StringVar(&format, "format", "text", "`FORMAT`: text or json")
	return c
}

type changeLine struct {
	Path string `json:"path"`
	What string `json:"what"` // restic's signs: + added, - removed, M content, U attributes, T type
}

func (a *app) changes(ctx context.Context, d *desk.Desk, from string, ids []string, format string) error {
	repository, to, err := d.FindSnapshot(ctx, from, ids[len(ids)-1])
	if err != nil {
		return err
	}
	old, err := a.changedSince(ctx, d, repository, ids, to)
	if err != nil {
		return err
	}
	const most = 1_000_000
	c, err := d.Changes(ctx, repository, old.ID, to.ID, most)
	if err != nil {
		return err
	}
	lines := each(c.Changes, func(one restic.Change) changeLine { return changeLine{one.Path, one.What} })
	if format == "json" {
		return printJSON(a.env.Out, map[string]any{"schema_version": schemaVersion, "source": "restic." + repository, "from": old.ID, "to": to.ID,
			"added": c.Added, "changed": c.Changed, "removed": c.Removed, "complete": !c.More, "changes": lines})
	}
	for _, l := range lines {
		fmt.Fprintf(a.env.Out, "%-3s %s\n", l.What, l.Path)
	}
	_, err = fmt.Fprintf(a.env.Err, "From %s (%s) to %s (%s): %d files added, %d changed, %d removed\n", old.Short, minute(old.Time), to.Short, minute(to.Time), c.Added, c.Changed, c.Removed)
	return err
}

// changedSince is the older of two snapshots: the one that was named, else the one
// before of the same host and paths.
func (a *app) changedSince(ctx context.Context, d *desk.Desk, repository string, ids []string, to restic.Snapshot) (old restic.Snapshot, err error) {
	if len(ids) == 2 {
		_, old, err = d.FindSnapshot(ctx, repository, ids[0])
		return old, err
	}
	all, err := d.RepositorySnapshots(ctx, repository)
	if err != nil {
		return old, err
	}
	for _, s := range all { // oldest first
		if s.Time.Before(to.Time) && s.Hostname == to.Hostname && strings.Join(s.Paths, "\x00") == strings.Join(to.Paths, "\x00") {
			old = s
		}
	}
	if old.ID == "" {
		return old, fail(ExitUsage, fmt.Errorf("there is no snapshot of the same host and paths before %s: name the other one", to.Short))
	}
	return old, nil
}

func (a *app) filesDump() *cobra.Command {
	var w whichSnapshot
	var out string
	c := &cobra.Command{Use: "dump FILE", Short: "Write one file of a restic snapshot to stdout, or to a new file", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.withDesk(c.Context(), func(d *desk.Desk) error { return a.dumpFile(c.Context(), d, w, args[0], out) })
		}}
	w.register(c)
	c.Flags().StringVarP(&out, "output", "o", "", "write to this new `FILE` (never over one that is there)")
	return c
}

func (a *app) dumpFile(ctx context.Context, d *desk.Desk, w whichSnapshot, file, out string) error {
	repository, s, tree, err := w.find(ctx, d, file)
	if err != nil {
		return err
	}
	n, ok := tree.Find(file)
	switch {
	case !ok:
		return fail(ExitFailed, fmt.Errorf("snapshot %s of restic.%s, of %s, does not hold %s: cairn files %s lists its versions", s.Short, repository, minute(s.Time), file, file))
	case n.Kind != "file":
		return fail(ExitUsage, fmt.Errorf("%s is a %s, and one file is dumped: cairn restore file-loss %s brings all of it back", file, n.Kind, file))
	}
	at := desk.FileAt{Repository: repository, Snapshot: s.ID, Path: filepath.Clean(file)}
	if out == "" {
		return d.Dump(ctx, at, onlyWriter{a.env.Out})
	}
	if err := d.DumpFile(ctx, at, out, nil); err != nil {
		return refusal(err)
	}
	_, err = fmt.Fprintf(a.env.Err, "%s as of %s is in %s\n", file, minute(s.Time), out)
	return err
}

// onlyWriter hides that stdout is a file, which restic must not get.
type onlyWriter struct{ io.Writer }
