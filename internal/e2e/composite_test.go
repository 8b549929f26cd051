package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"cairn/internal/lab"
)

// The scenarios of files and databases to their end, in one lab: what came back is
// compared by hash with what was there before the incident.
func TestFilesDatabasesAndWhatBelongsTogether(t *testing.T) {
	t.Parallel()
	l, err := lab.Start(t.Context(), lab.Options{}) // where PostgreSQL's own user can reach it
	must(t, err)
	t.Cleanup(func() { must(t, l.Stop()) })
	path := config(t, l)
	b := &bench{t: t, lab: l, config: path, state: filepath.Join(filepath.Dir(path), "state"), program: cairn}
	t.Cleanup(b.endWorkers)
	b.togetherAgain()
	b.filesAreBack(filepath.Join(l.Dir(), "host", "srv", "ged"))
	b.databasesAreBack()
}

// filesAreBack is file-loss: documents are ruined and lost, come back beside, and take
// their place.
func (b *bench) filesAreBack(documents string) {
	b.t.Helper()
	was := treeHash(b.t, documents)
	must(b.t, os.Remove(filepath.Join(documents, "2026", "invoice-001.txt")))
	write(b.t, filepath.Join(documents, "2026", "invoice-002.txt"), "ruined")
	plan := b.must(0, "restore", "file-loss", documents, "--plan").out
	if !regexp.MustCompile(`what is restored is of 20\d\d-\d\d-\d\d \d\d:\d\d: the changes of the last \d+`).MatchString(plan) {
		b.t.Errorf("the plan announces no loss:\n%s", plan)
	}
	id := idIn(b.t, b.must(0, "restore", "file-loss", documents).err)
	if treeHash(b.t, documents) == was {
		b.t.Error("a restore beside changed what is there")
	}
	b.must(0, "restore", "file-loss", "--swap", id, "--yes", documents)
	if is := treeHash(b.t, documents); is != was {
		b.t.Errorf("the documents are %s, and were %s", is, was)
	}
}

// databasesAreBack are database-mistake and database-loss: prices are ruined, and a
// database is dropped.
func (b *bench) databasesAreBack() {
	b.t.Helper()
	text, err := os.ReadFile(b.config)
	must(b.t, err)
	port := regexp.MustCompile(`dsn = "host=127.0.0.1 port=(\d+)`).FindStringSubmatch(string(text))
	psql := func(database, query string) string {
		b.t.Helper()
		out, err := exec.Command("psql", "-h", filepath.Join(b.lab.Dir(), "run"), "-p", port[1], "-U", "postgres", "-d", database, "-Atc", query).CombinedOutput()
		if err != nil {
			b.t.Fatalf("%s: %v: %s", query, err, out)
		}
		return string(out)
	}
	sum := func(database, table string) string {
		return psql(database, "SELECT count(*) || ' ' || md5(string_agg(t::text, '|' ORDER BY t::text)) FROM "+table+" t")
	}
	product, report := sum("openprod", "product"), sum("jasper", "report")
	psql("openprod", "UPDATE product SET price = 0")
	if plan := b.must(0, "restore", "database-mistake", "erp/openprod", "--plan").out; !strings.Contains(plan, "YOU WILL LOSE") || strings.Contains(plan, "not known") {
		b.t.Errorf("the plan announces no loss:\n%s", plan)
	}
	b.must(0, "restore", "database-mistake", "erp/openprod", "--swap", "--yes", "openprod")
	if is := sum("openprod", "product"); is != product {
		b.t.Errorf("the products are %s, and were %s", is, product)
	}
	psql("postgres", "DROP DATABASE jasper WITH (FORCE)")
	b.must(0, "restore", "database-loss", "erp/jasper", "--yes", "jasper")
	if is := sum("jasper", "report"); is != report {
		b.t.Errorf("the reports are %s, and were %s", is, report)
	}
}

// An asset's members come back together: a database, the documents that its rows
// name, and the guest that shows both, from points within the asset's skew.
func (b *bench) togetherAgain() {
	t, l := b.t, b.lab
	t.Helper()
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
