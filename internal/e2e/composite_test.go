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
	l, err := lab.Start(t.Context(), lab.Options{Cache: labs}) // where PostgreSQL's own user can reach it
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
// their place. What is lost is what was announced, file by file.
func (b *bench) filesAreBack(documents string) {
	b.t.Helper()
	b.must(0, "backup", "usb", "--no-wait")
	untouched := treeHash(b.t, documents)
	write(b.t, filepath.Join(documents, "2026", "invoice-099.txt"), "written after the backup")
	was := filesOf(b.t, documents)
	since, text := b.announced("file-loss", documents)
	if !regexp.MustCompile(`what is restored is of 20\d\d-\d\d-\d\d \d\d:\d\d:\d\d: the changes of the last \d+`).MatchString(text) {
		b.t.Errorf("announced is %q", text)
	}
	b.inIncident("documents are ruined", since, func() {
		must(b.t, os.Remove(filepath.Join(documents, "2026", "invoice-001.txt")))
		write(b.t, filepath.Join(documents, "2026", "invoice-002.txt"), "ruined")
		ruined := treeHash(b.t, documents)
		id := idIn(b.t, b.must(0, "restore", "file-loss", documents).err)
		if treeHash(b.t, documents) != ruined {
			b.t.Error("a restore beside changed what is there")
		}
		b.must(0, "restore", "file-loss", "--swap", id, "--yes", documents)
	})
	if is := treeHash(b.t, documents); is != untouched {
		b.t.Errorf("the documents are %s, and were %s at the backup", is, untouched)
	}
	if lost := lostFiles(b.t, was, filesOf(b.t, documents), since); lost != 1 {
		b.t.Errorf("%d files are lost, and one was written after the backup", lost)
	}
}

// databases speak with the lab's PostgreSQL as its superuser.
type databases struct {
	*bench
	port string
}

func (d *databases) psql(database, query string) string {
	d.t.Helper()
	out, err := exec.Command("psql", "-h", filepath.Join(d.lab.Dir(), "run"), "-p", d.port, "-U", "postgres", "-d", database, "-qAtc", query).CombinedOutput()
	if err != nil {
		d.t.Fatalf("%s: %v: %s", query, err, out)
	}
	return string(out)
}

func (d *databases) sum(database, table string) string {
	return d.psql(database, "SELECT count(*) || ' ' || md5(string_agg(t::text, '|' ORDER BY t::text)) FROM "+table+" t")
}

// databasesAreBack are database-mistake, from a dump and to a point in time, and
// database-loss: prices are ruined, and a database is dropped. What is lost is what was
// announced, row by row.
func (b *bench) databasesAreBack() {
	b.t.Helper()
	text, err := os.ReadFile(b.config)
	must(b.t, err)
	d := &databases{b, regexp.MustCompile(`dsn = "host=127.0.0.1 port=(\d+)`).FindStringSubmatch(string(text))[1]}
	for _, database := range []string{"openprod", "jasper"} {
		d.write(database)
	}
	b.must(0, "backup", "erp")
	for _, database := range []string{"openprod", "jasper"} {
		d.write(database)
	}
	product, report := d.sum("openprod", "product"), d.sum("jasper", "report")

	was := d.rows("openprod", "entry")
	since, _ := b.announced("database-mistake", "erp/openprod", "--swap")
	b.inIncident("prices are ruined", since, func() {
		d.psql("openprod", "UPDATE product SET price = 0")
		b.must(0, "restore", "database-mistake", "erp/openprod", "--swap", "--yes", "openprod")
	})
	if lost := d.lostRows(was, d.rows("openprod", "entry"), since); lost != 1 || d.sum("openprod", "product") != product {
		b.t.Errorf("%d rows are lost, and one was written after the dump; the products are %s, and were %s", lost, d.sum("openprod", "product"), product)
	}

	d.write("openprod")
	at := d.moment("openprod")
	d.write("openprod")
	was = d.rows("openprod", "entry")
	since, loss := b.announced("database-mistake", "erp/openprod", "--at", at, "--swap")
	if !strings.Contains(loss, "what was written to \"openprod\" since ") {
		b.t.Errorf("announced is %q", loss)
	}
	b.inIncident("prices are ruined again", since, func() {
		d.psql("openprod", "UPDATE product SET price = 1")
		b.must(0, "restore", "database-mistake", "erp/openprod", "--at", at, "--swap", "--yes", "openprod")
	})
	if lost := d.lostRows(was, d.rows("openprod", "entry"), since); lost != 1 || d.sum("openprod", "product") != product {
		b.t.Errorf("%d rows are lost, and one was written after the point; the products are %s, and were %s", lost, d.sum("openprod", "product"), product)
	}

	was = d.rows("jasper", "entry")
	d.psql("postgres", "DROP DATABASE jasper WITH (FORCE)")
	since, loss = b.announced("database-loss", "erp/jasper")
	if !strings.Contains(loss, "what was written to \"jasper\" since ") {
		b.t.Errorf("announced is %q", loss)
	}
	b.inIncident("reports are gone", since, func() { b.must(0, "restore", "database-loss", "erp/jasper", "--yes", "jasper") })
	if lost := d.lostRows(was, d.rows("jasper", "entry"), since); lost != 1 || d.sum("jasper", "report") != report {
		b.t.Errorf("%d rows are lost, and one was written after the dump; the reports are %s, and were %s", lost, d.sum("jasper", "report"), report)
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
	if !strings.Contains(r.out, "3 members of asset erp are back, each beside what is there") {
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
