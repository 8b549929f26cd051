package checks

import (
	"fmt"
	"testing"
	"time"

	"cairn/internal/backup"
	"cairn/internal/disk"
	"cairn/pg"
)

// watchedOnly is a server that only other tools back up, and what they said.
func watchedOnly() (Policy, Facts) {
	p := Policy{Postgres: map[string]pg.Config{"erp": {DSN: "host=db",
		PgBackRest: &pg.PgBackRestConfig{Stanza: "lab", Every: day},
		Barman:     &pg.BarmanConfig{Server: "lab", Every: day, Site: "barn"},
	}}, Home: time.UTC}
	copyOf := func(tool, label string, age time.Duration) backup.Copy {
		return backup.Copy{Asset: backup.AssetID{Kind: backup.Cluster, Scope: "erp"}, Source: pg.ToolSource(tool, "erp"), ID: pg.ToolCopy(tool, label), Kind: "base backup",
			Taken: now.Add(-age), Finished: now.Add(-age), State: backup.Complete, Size: gib}
	}
	f := Facts{Postgres: map[string]backup.Observed[pg.Facts]{"erp": read(pg.Facts{Name: "erp", Server: read(pg.Server{Checksums: true, SystemID: 7}),
		Others: []pg.Tool{{Name: "pgbackrest", Instance: "lab", At: now}, {Name: "barman", Instance: "lab", At: now}},
		Copies: []backup.Copy{copyOf("pgbackrest", "new", time.Hour), copyOf("pgbackrest", "old", 25*time.Hour), copyOf("barman", "b", time.Hour)},
	})}}
	return p, f
}

func TestWhatOtherToolsHoldIsASourceOfItsOwn(t *testing.T) {
	p, f := watchedOnly()
	r := Judge(p, f, now)
	never(t, r, "empty")
	never(t, r, "no-schedule")
	if s := sourceOf(t, r, "pgbackrest.erp"); s.Word != "ok" || s.Copies != 2 || s.Title != "pgBackRest erp" || s.Every != day.Std() {
		t.Errorf("%+v", s)
	}
	if a := assetOf(t, r, "postgres.erp"); a.Copies != 3 || !a.OffSite {
		t.Errorf("live, here, and at the other site: %+v", a)
	}
	edit(f.Postgres, "erp", func(v *pg.Facts) {
		v.Others[0].Problems = []string{"no valid backups"}
		v.Others[1].Err = "barman ended with exit code 1; its log says why"
		v.Copies = v.Copies[1:]
	})
	r = Judge(p, f, now)
	want(t, r, backup.Critical, "tool-problems", "pgBackRest erp says of itself: no valid backups")
	want(t, r, backup.Unknown, "unreachable", "Barman erp: barman ended with exit code 1")
	want(t, r, backup.Warning, "late", "pgBackRest erp")
	p, f = watchedOnly()
	edit(f.Postgres, "erp", func(v *pg.Facts) { v.Copies = nil })
	want(t, Judge(p, f, now), backup.Critical, "no-copy", "pgBackRest erp")
	never(t, Judge(p, f, now), "empty")
	p.Postgres["erp"] = pg.Config{DSN: "host=db", PgBackRest: &pg.PgBackRestConfig{Stanza: "lab", Disk: "usb"}}
	p, f = watchedOnly()
	p.Postgres["erp"] = pg.Config{DSN: "host=db", PgBackRest: &pg.PgBackRestConfig{Stanza: "lab", Disk: "usb"}}
	p.Disks = map[string]disk.Config{"usb": {Mount: "/mnt/usb"}}
	f.Disks = map[string]backup.Observed[disk.Facts]{"usb": read(disk.Facts{Name: "usb"})}
	if s := sourceOf(t, Judge(p, f, now), "pgbackrest.erp"); s.Word != "absent" {
		t.Errorf("its disk is away: %+v", s)
	}
}

func TestVerdicts(t *testing.T) {
	p, f := watchedOnly()
	f.Past.Verdicts = map[string]Verdict{
		CopyKey("pgbackrest.erp", "pgbackrest:new"): {At: now, Bad: "pgBackRest says that it is invalid"},
		CopyKey("barman.erp", "barman:b"):           {At: now},
	}
	r := Judge(p, f, now)
	want(t, r, backup.Critical, "verify-failed", "1 copy on pgBackRest erp is damaged", "pgBackRest says that it is invalid")
	if s := sourceOf(t, r, "pgbackrest.erp"); s.Copies != 1 || s.Word == "ok" {
		t.Errorf("a damaged backup is no copy: %+v", s)
	}
	for _, h := range assetOf(t, r, "postgres.erp").Held {
		if h.Source == "barman.erp" && (h.Proof != backup.EveryByteRead || h.Word != "verified") {
			t.Errorf("%+v", h)
		}
	}
	f.Past.Verdicts = map[string]Verdict{CopyKey("pgbackrest.erp", "pgbackrest:new"): {At: now.Add(-2 * time.Hour), Bad: "of another one"}}
	never(t, Judge(p, f, now), "verify-failed")
	f.Past.Verdicts = map[string]Verdict{CopyKey("pgbackrest.erp", ""): {At: now, Bad: "of 9 WAL segments of 15-1 only 8 are valid"}}
	want(t, Judge(p, f, now), backup.Critical, "verify-failed", "only 8 are valid")

	p, f = home()
	edit(f.Postgres, "erp", func(v *pg.Facts) {
		newest := &v.Dumps.Value[0]
		for i := range v.Dumps.Value {
			if d := &v.Dumps.Value[i]; d.Database == "openprod" && d.Taken.After(newest.Taken) {
				newest = d
			}
		}
		f.Past.Verdicts = map[string]Verdict{CopyKey("postgres.erp", newest.Path): {At: now, Bad: "data/1.dat.gz has 4 bytes"}}
	})
	want(t, Judge(p, f, now), backup.Critical, "verify-failed", "openprod of", "data/1.dat.gz has 4 bytes")
}

// Each of our own dumps holds the globals.
func TestOurOwnDumpsHoldTheGlobals(t *testing.T) {
	p, f := home()
	edit(f.Postgres, "erp", func(v *pg.Facts) {
		for i := range v.Dumps.Value {
			d := &v.Dumps.Value[i]
			d.Globals, d.Database, d.Ours = false, "openprod", true
		}
	})
	never(t, Judge(p, f, now), "no-globals")
}

// What we saw of the WAL that a tool keeps counts, not what it says of itself.
func TestWALOfOtherToolsIsLookedThrough(t *testing.T) {
	p, f := watchedOnly()
	name := func(n int) string { return fmt.Sprintf("00000001000000000000%04X", n) }
	whole := pg.Archive{Segments: 9, From: now.Add(-day.Std()), To: now.Add(-time.Minute)}
	set := func(w ...pg.ToolWAL) Report {
		edit(f.Postgres, "erp", func(v *pg.Facts) {
			v.Others[0].WAL = w
			v.Others[0].Backups = []pg.ToolBackup{{Label: "b", State: backup.Complete, StartWAL: name(5), Repository: 1, Cluster: 1}}
		})
		return Judge(p, f, now)
	}
	r := set(pg.ToolWAL{Repository: 1, Dir: "/r", Archive: whole})
	never(t, r, "wal-gap")
	never(t, r, "tool-wal-unknown")
	if a := assetOf(t, r, "postgres.erp"); a.RPO == nil || *a.RPO != time.Minute {
		t.Errorf("the window of the tool's WAL counts: %+v", a.RPO)
	}
	gap := func(first int) pg.ToolWAL {
		a := whole
		a.Gaps = []pg.Gap{{First: name(first), Last: name(first + 1), Count: 2}}
		return pg.ToolWAL{Repository: 1, Dir: "/r", Archive: a}
	}
	want(t, set(gap(6)), backup.Critical, "wal-gap", "2 segments missing in the WAL archive of pgBackRest erp ("+name(6)+" to "+name(7)+")", "no recovery goes past it")
	want(t, set(gap(2)), backup.Warning, "wal-gap", "pgBackRest erp")
	want(t, set(pg.ToolWAL{Repository: 1, Dir: "/r"}), backup.Critical, "wal-empty", "pgBackRest erp is empty", "/r")
	r = set(pg.ToolWAL{Repository: 1, Cluster: 2, Dir: "/r"}) // after an upgrade: nothing needs it yet
	never(t, r, "wal-empty")
	want(t, r, backup.Warning, "tool-upgraded", "no backup of the server since its upgrade", "only what the 1 backup before it holds")
	r = set(pg.ToolWAL{Repository: 1, Dir: "/r", Archive: whole}, pg.ToolWAL{Repository: 2, Dir: "/q", Unknown: "it may not be read by the user that cairn runs as"})
	want(t, r, backup.Unknown, "tool-wal-unknown", "pgBackRest erp in repository 2 is there is not known: it may not be read")
	r = set(pg.ToolWAL{Repository: 1, Dir: "/r", Archive: whole}, pg.ToolWAL{Repository: 2, Unknown: "its repository lies in s3", Away: true})
	never(t, r, "tool-wal-unknown")
}
