package database

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cairn/checks"
	"cairn/internal/backup"
	"cairn/internal/operation"
	"cairn/internal/runbook/rehearse"
	"cairn/internal/secret"
	"cairn/pg"
)

// flipByte changes one byte in the middle of a file.
func flipByte(t *testing.T, pattern string) {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatal(err, pattern)
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	text[len(text)/2] ^= 4
	if err := os.WriteFile(files[0], text, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestVerifyReadsCopiesAndKeepsWhatItFound(t *testing.T) {
	d := newDatabase(t)
	d.withShop()
	made, err := d.Backup(t.Context(), "erp", "")
	if err != nil {
		t.Fatal(err)
	}
	rehearse.Want(t, d.Run(made), operation.StepDone)
	// The server is down: its copies can be read all the same.
	cfg := d.config.Postgres["erp"]
	cfg.DSN = "host=127.0.0.1 port=1 user=postgres dbname=postgres"
	d.config.Postgres["erp"] = cfg
	d.postgres["erp"] = pg.New("erp", cfg, secret.Reader{Getenv: os.Getenv, Scrubber: new(secret.Scrubber)})
	p, err := d.Verify(t.Context(), "erp", "", false)
	if err != nil || p.Blocked() || len(p.Steps) < 3 || (operationPlan{p}).destroys() {
		t.Fatalf("%v %+v", err, p)
	}
	s := d.Run(p)
	rehearse.Want(t, s, operation.StepDone)
	rehearse.Contains(t, "good", s.Steps[0].Text, "files are what they were")
	dumps := d.dumpsOf(t, shop)
	if last := dumps[0].Proofs[len(dumps[0].Proofs)-1]; last.Level != backup.EveryByteRead {
		t.Errorf("the proof was not kept: %+v", dumps[0].Proofs)
	}
	flipByte(t, filepath.Join(dumps[0].Path, "data", "*.gz"))
	if p, err = d.Verify(t.Context(), "erp", "dump", false); err != nil {
		t.Fatal(err)
	}
	s = d.Run(p)
	rehearse.Want(t, s, operation.StepFailed)
	rehearse.Contains(t, "what was found", s.Text, "not good", filepath.Base(dumps[0].Path), "SHA-256", "make a new copy now")
	if after := d.dumpsOf(t, shop); after[0].State != backup.Damaged || !strings.Contains(after[0].Why, "SHA-256") {
		t.Errorf("what was found is not shown: %+v", after[0])
	}
	runs, err := d.Past.RunsOfJob(t.Context(), "verify", 100)
	if err != nil || len(runs) < 3 || runs[0].Subject != dumps[0].Path && runs[1].Subject != dumps[0].Path {
		t.Errorf("%+v %v", runs, err)
	}
	if _, err := d.Verify(t.Context(), "erp", "nowhere", false); err == nil || !strings.Contains(err.Error(), "holds no copy nowhere to verify") {
		t.Error(err)
	}
}

func (d *database) dumpsOf(t *testing.T, name string) (all []pg.Dump) {
	t.Helper()
	f, err := d.postgres["erp"].Survey(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range f.Dumps.Value {
		if one.Database == name {
			all = append(all, one)
		}
	}
	if len(all) == 0 {
		t.Fatal(fmt.Errorf("no dump of %q: %+v", name, f.Dumps))
	}
	return all
}

// TestAShrunkenDumpFreezesForget: good dumps must not age out behind one that
// lost most of its rows, until a person says that it is right.
func TestAShrunkenDumpFreezesForget(t *testing.T) {
	d := newDatabase(t)
	d.withShop()
	dump := func() {
		t.Helper()
		if _, _, err := d.postgres["erp"].Dump(t.Context(), shop, pg.Work{}); err != nil {
			t.Fatal(err)
		}
	}
	d.sql(shop, "INSERT INTO a SELECT g, md5(g::text) FROM generate_series(1, 60000) g")
	for range 4 {
		dump()
	}
	d.sql(shop, "DELETE FROM a")
	dump()
	p, err := d.Forget(t.Context(), "erp")
	if err != nil || !p.Blocked() {
		t.Fatalf("%v %+v", err, p)
	}
	rehearse.Contains(t, "frozen", p.Blockers[0].Hint, "3 copies are past the retention and stay", "suspiciously small", "less than 50 %", "cairn ack shrunk:postgres.erp if that is right")
	ack := func() {
		t.Helper()
		f, err := d.postgres["erp"].Survey(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		now := time.Now()
		for _, p := range checks.Judge(checks.Policy{Postgres: d.config.Postgres}, checks.Facts{Postgres: map[string]backup.Observed[pg.Facts]{"erp": {Value: f, At: now, Tried: now}}}, now).Problems {
			if p.ID == "shrunk:postgres.erp" {
				if err := d.Past.Acknowledge(t.Context(), p.ID, p.Fingerprint, "ana", now); err != nil {
					t.Fatal(err)
				}
				return
			}
		}
		t.Fatal("the board does not tell of it")
	}
	ack()
	if p, err = d.Forget(t.Context(), "erp"); err != nil || p.Blocked() || len(p.Steps) != 1 {
		t.Fatalf("acknowledged: %v %+v", err, p)
	}
	rehearse.Contains(t, "what would go", p.Steps[0].Show, "rm -r ")
	rehearse.Want(t, d.Run(p), operation.StepDone)
	if left := d.dumpsOf(t, shop); len(left) != 2 {
		t.Errorf("%d dumps are left", len(left))
	}
}
