package tui

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"cairn/internal/backup"
	"cairn/internal/desk"
	"cairn/internal/operation"
	"cairn/internal/plan"
	"cairn/internal/runbook/database"
	"cairn/internal/runbook/repository"
	"cairn/restic"
)

// systemDesk is what the fake desk knows of repositories and servers.
type systemDesk struct {
	view     repository.View
	tree     *restic.Tree
	changes  restic.Changes
	versions []repository.FileVersion
	log      []operation.LogLine
	wait     bool // the tree comes only when the listing is cancelled
}

func (d *fakeDesk) Repository(context.Context, string) (repository.View, error) {
	return d.systems.view, d.err
}

func (d *fakeDesk) planOf(format string, args ...any) (plan.Plan, error) {
	d.note("plan "+format, args...)
	return d.planned, d.err
}

func (d *fakeDesk) RepositoryBackup(_ context.Context, r repository.BackupRequest) (plan.Plan, error) {
	if r.Init {
		d.note("plan to make restic.%s", r.Name)
		p := d.planned
		p.Blockers, p.Summary = nil, "Make a new, empty repository"
		return p, d.err
	}
	if r.NoWait {
		return d.planOf("backup of restic.%s without waiting", r.Name)
	}
	return d.planOf("backup of restic.%s", r.Name)
}
func (d *fakeDesk) RepositoryCheck(_ context.Context, name string) (plan.Plan, error) {
	return d.planOf("check of restic.%s", name)
}
func (d *fakeDesk) RepositoryForget(_ context.Context, name string) (plan.Plan, error) {
	return d.planOf("forget in restic.%s", name)
}
func (d *fakeDesk) RepositoryUnlock(_ context.Context, name string) (plan.Plan, error) {
	return d.planOf("unlock restic.%s", name)
}
func (d *fakeDesk) Tree(ctx context.Context, name, snapshot string, listed func(int)) (*restic.Tree, error) {
	d.note("list restic.%s %s", name, snapshot[56:])
	listed(4096)
	if d.systems.wait {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return d.systems.tree, d.err
}
func (d *fakeDesk) Changes(_ context.Context, name, from, to string, _ int) (restic.Changes, error) {
	d.note("compare in restic.%s %s %s", name, from[56:], to[56:])
	return d.systems.changes, d.err
}
func (d *fakeDesk) FileVersions(_ context.Context, path, from string) ([]repository.FileVersion, error) {
	d.note("versions of %s in %s", path, from)
	return d.systems.versions, d.err
}
func (d *fakeDesk) RestoreFiles(_ context.Context, r repository.FileRestore) (plan.Plan, error) {
	return d.planOf("restore of %s from %s at %s", strings.Join(r.Paths, " "), r.From, r.At.Format("02 15:04"))
}
func (d *fakeDesk) DumpFile(_ context.Context, f desk.FileAt, to string, wrote func(int64)) error {
	d.note("dump %s to %s", f.Path, to)
	wrote(1024)
	return d.err
}
func (d *fakeDesk) PostgresBackup(_ context.Context, source, what string) (plan.Plan, error) {
	return d.planOf("backup of postgres.%s %q", source, what)
}
func (d *fakeDesk) PostgresForget(_ context.Context, source string) (plan.Plan, error) {
	return d.planOf("forget in postgres.%s", source)
}
func (d *fakeDesk) RestoreDatabase(_ context.Context, r database.Restore) (plan.Plan, error) {
	return d.planOf("restore of %s/%s from %s swap %v", r.Source, r.Database, r.Dump, r.Swap)
}
func (d *fakeDesk) RecoverDatabase(_ context.Context, r database.Recovery) (plan.Plan, error) {
	return d.planOf("recovery of %s/%s to %s swap %v", r.Source, r.Database, r.Target, r.Swap)
}
func (d *fakeDesk) Recoverable(string) bool { return true }
func (d *fakeDesk) Eject(_ context.Context, name string) (plan.Plan, error) {
	return d.planOf("eject of %s", name)
}
func (d *fakeDesk) OperationLog(_ string, from int64) ([]operation.LogLine, int64, bool, error) {
	return d.systems.log[min(int(from), len(d.systems.log)):], int64(len(d.systems.log)), false, d.err
}

// someFiles is a small tree of a home server.
func someFiles(t testing.TB) *restic.Tree {
	t.Helper()
	var b strings.Builder
	line := func(kind, path string, bytes int) {
		fmt.Fprintf(&b, `{"name":"x","type":%q,"path":%q,"size":%d,"mtime":"2026-11-19T08:30:00Z","struct_type":"node"}`+"\n", kind, path, bytes)
	}
	line("dir", "/etc", 0)
	for i := range 40 {
		line("file", fmt.Sprintf("/etc/service-%02d.conf", i), 900+100*i)
	}
	line("symlink", "/etc/localtime", 0)
	line("dir", "/srv", 0)
	line("dir", "/srv/ged", 0)
	line("file", "/srv/ged/Rechnung März 2026.pdf", 48_000)
	line("file", "/srv/ged/invoice.odt", 1<<30)
	line("dir", "/srv/photos", 0)
	tree, err := restic.ReadTree(strings.NewReader(b.String()))
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// homeServers is a desk with a repository of some files.
func homeServers(t testing.TB) *fakeDesk {
	d := web01()
	h := time.Hour
	runs := []backup.Run{
		{Source: "restic.usb", Job: "check", Subject: "3/30", Started: before(4 * h), Ended: before(4*h - 2*time.Minute), Text: "no errors in the structure and in part 3 of 30"},
		{Source: "restic.usb", Job: "backup", Started: before(5 * h), Ended: before(5*h - 4*time.Minute), Text: "snapshot feed0004: 91233 files, 420.0 GiB, 3.0 GiB of it new", ID: "20261121-3"},
		{Source: "restic.usb", Job: "backup", Started: before(29 * h), Ended: before(29*h - time.Minute), Status: backup.Critical, Text: "disk.usb: it is not mounted on /mnt/usb", ID: "20261120-1"},
	}
	d.systems = systemDesk{tree: someFiles(t), view: repository.View{Where: "/mnt/usb/restic", Paths: []string{"/etc", "/srv", "/mnt/usb/pbs"}, Keep: backup.Keep{Daily: 5},
		Runs: runs, Past: true, Coverage: restic.Cover(runs, 30*backup.Day, backup.Day, noon), Every: backup.Day, Lacks: restic.Version{Major: 0, Minor: 14}.Lacks()}}
	snap := func(i int) restic.Snapshot { return resticFacts("usb", 5).Snapshots[i] }
	d.systems.versions = []repository.FileVersion{
		{Repository: "usb", FileVersion: restic.FileVersion{Snapshot: snap(4), Size: 1000, Modified: before(60 * h), Same: true}},
		{Repository: "usb", FileVersion: restic.FileVersion{Snapshot: snap(3), Size: 1000, Modified: before(60 * h)}},
		{Repository: "usb", FileVersion: restic.FileVersion{Snapshot: snap(0), Size: 900, Modified: before(600 * h)}},
	}
	d.systems.changes = restic.Changes{Added: 1, Changed: 1, Removed: 1, Changes: []restic.Change{{Path: "/etc/service-03.conf", What: "M"}, {Path: "/srv/ged/", What: "U"}, {Path: "/srv/ged/new.odt", What: "+"}, {Path: "/srv/ged/old.odt", What: "-"}}}
	for i := range 120 {
		d.systems.log = append(d.systems.log, operation.LogLine{At: noon, Step: "2-rollback", Text: fmt.Sprintf("line %d of what the task said", i+1)})
	}
	return d
}
