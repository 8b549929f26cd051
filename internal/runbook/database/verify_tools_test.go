package database

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cairn/checks"
	"cairn/internal/backup"
	"cairn/internal/operation"
	"cairn/internal/runbook/rehearse"
	"cairn/pg"
)

// TestOtherToolsAreVerifiedAndShown: pgBackRest's verify ends with 0 on a corrupted
// backup; the board shows it as bad all the same, and Barman's as well.
func TestOtherToolsAreVerifiedAndShown(t *testing.T) {
	d := newDatabase(t)
	d.withShop()
	repository := d.withTools()
	cfg := d.config.Postgres["erp"]
	cfg.Dump, cfg.Base, cfg.WAL = nil, nil, nil
	cfg.PgBackRest.Every, cfg.Barman.Every = backup.Duration(backup.Day), backup.Duration(backup.Day)
	d.config.Postgres["erp"], d.postgres["erp"] = cfg, pg.New("erp", cfg, reading())
	report := func() checks.Report {
		t.Helper()
		f, err := d.postgres["erp"].Survey(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		runs, err := d.Past.RunsOfJob(t.Context(), "verify", 100)
		if err != nil {
			t.Fatal(err)
		}
		now := time.Now()
		return checks.Judge(checks.Policy{Postgres: d.config.Postgres}, checks.Facts{Postgres: map[string]backup.Observed[pg.Facts]{"erp": {Value: f, At: now, Tried: now}},
			Past: checks.Past{Verdicts: checks.VerdictsOf(runs)}}, now)
	}
	holds := func(when string, copies int, proof backup.Proof) {
		t.Helper()
		r, found := report(), 0
		for _, p := range r.Problems {
			if p.Code == "empty" || p.Code == "no-copy" && copies > 0 {
				t.Errorf("%s: %s", when, p.Summary)
			}
		}
		for _, tier := range r.Tiers {
			for _, s := range tier.Sources {
				if s.Kind == "pgbackrest" || s.Kind == "barman" {
					if found++; s.Copies != copies {
						t.Errorf("%s: %s holds %d copies: %+v", when, s.Name, s.Copies, r.Problems)
					}
				}
			}
		}
		for _, h := range r.Assets[len(r.Assets)-1].Held {
			if copies > 0 && h.Proof != proof {
				t.Errorf("%s: %+v", when, h)
			}
		}
		if found != 2 {
			t.Errorf("%s: %d sources", when, found)
		}
	}
	holds("before", 1, backup.Exists)
	p, err := d.Verify(t.Context(), "erp", "", false)
	if err != nil || len(p.Steps) != 3 {
		t.Fatalf("%v %+v", err, p)
	}
	rehearse.Want(t, d.Run(p), operation.StepDone)
	holds("verified", 1, backup.EveryByteRead)

	flipByte(t, filepath.Join(repository, "backup", "lab", "*F", "pg_data", "global", "1262"))
	flipByte(t, filepath.Join(filepath.Dir(repository), "barman", "lab", "base", "*", "data", "global", "1262"))
	s := d.Run(p)
	rehearse.Want(t, s, operation.StepFailed)
	rehearse.Contains(t, "what was found", s.Text, "pgBackRest says that it is invalid", "checksum mismatch")
	holds("corrupted", 0, backup.Exists)
	for _, one := range []string{"pgBackRest erp", "Barman erp"} {
		bad := false
		for _, p := range report().Problems {
			bad = bad || p.Code == "verify-failed" && strings.Contains(p.Summary, one) && p.Status == backup.Critical
		}
		if !bad {
			t.Errorf("%s is not shown as bad", one)
		}
	}
}
