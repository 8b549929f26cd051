package e2e

import (
	"path/filepath"
	"strings"
	"testing"

	"cairn/internal/lab"
)

// An asset's members come back together: a database, the documents that its rows
// name, and the guest that shows both, from points within the asset's skew.
func TestACompositeComesBackTogether(t *testing.T) {
	t.Parallel()
	l, err := lab.Start(t.Context(), lab.Options{}) // where PostgreSQL's own user can reach it
	must(t, err)
	t.Cleanup(func() { must(t, l.Stop()) })
	path := config(t, l)
	b := &bench{t: t, lab: l, config: path, state: filepath.Join(filepath.Dir(path), "state"), program: cairn}
	t.Cleanup(b.endWorkers)
	want, _ := b.promised()
	documents := filepath.Join(l.Dir(), "host", "srv", "ged")

	narrow := config(t, l, `skew = "2h"`, `skew = "1s"`)
	if r := try(t, "--config", narrow, "restore", "asset", "erp", "--plan"); r.code == 0 || !strings.Contains(r.err, "no points of its members lie within 1s of each other") || !strings.Contains(r.err, "guest:home/101 of ") {
		t.Errorf("exit %d: %s", r.code, r.err)
	}
	plan := b.must(0, "restore", "asset", "erp", "--plan").out
	if strings.Count(plan, "A part of asset erp, whose points lie ") != 3 || !strings.Contains(plan, "(limit 2h)") {
		t.Errorf("the plan is\n%s", plan)
	}
	r := b.must(0, "restore", "asset", "erp")
	if strings.Count(r.out, "  started  ") != 3 {
		t.Errorf("it says %s", r.out)
	}
	if g := l.PVE.Guest(111); hash(g.Content["scsi0"]) != want[101] {
		t.Errorf("the guest: %q", g.Content["scsi0"])
	}
	found, failed := filepath.Glob(filepath.Join(filepath.Dir(documents), ".cairn-restore-*"))
	if failed != nil || len(found) != 1 || treeHash(t, filepath.Join(found[0], documents)) != treeHash(t, documents) {
		t.Errorf("the documents: %v, %v", found, failed)
	}
}
