package checks

import (
	"testing"
	"time"

	"cairn/internal/backup"
	"cairn/internal/disk"
	"cairn/internal/estimate"
	"cairn/pg"
	"cairn/proxmox"
)

func TestRPO(t *testing.T) {
	p, f := home()
	edit(f.Proxmox, "home", func(v *proxmox.Facts) { v.Guests[0].Snapshots = []proxmox.Snapshot{{Name: "s", Taken: now}} })
	p.Guests["home/101"] = proxmox.GuestConfig{RPO: backup.Duration(12 * time.Hour), RTO: backup.Duration(5 * time.Minute)}
	r := Judge(p, f, now)
	if a := assetOf(t, r, "guest:home/101"); a.RPO == nil || *a.RPO != 18*time.Hour+44*time.Minute {
		t.Errorf("a snapshot dies with the live medium, so it is the backup's age: %v", a.RPO)
	}
	want(t, r, backup.Warning, "rpo", "web01 (101) would lose 18h, its target is 12h")
	want(t, r, backup.Warning, "rto", "11m (assumed), its target is 5m")
	if a := assetOf(t, r, "postgres.erp/openprod"); a.RPO == nil || *a.RPO != 40*time.Second {
		t.Errorf("WAL brings a database back to 40 s ago: %v", a.RPO)
	}
	edit(f.Postgres, "erp", func(v *pg.Facts) { v.Archive.Value.To = time.Time{} })
	if a := assetOf(t, Judge(p, f, now), "postgres.erp/openprod"); *a.RPO != 18*time.Hour+14*time.Minute {
		t.Errorf("without a window it is the dump's age: %v", a.RPO)
	}
}

func TestComposites(t *testing.T) {
	p, f := home()
	member := func(text string) backup.AssetID {
		id, err := backup.ParseAssetID(text)
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	p.Assets["erp"] = backup.CompositeConfig{Members: []backup.AssetID{member("guest:home/101"), member("path:/srv")}, Skew: backup.Duration(10 * time.Minute)}
	r := Judge(p, f, now)
	want(t, r, backup.Warning, "skew", "16h", "10m")
	if a := assetOf(t, r, "asset.erp"); a.RPO == nil || *a.RPO != 18*time.Hour+44*time.Minute || a.Proven {
		t.Errorf("it is as old as its oldest member: %+v", a)
	}
	p.Assets["erp"] = backup.CompositeConfig{Members: []backup.AssetID{member("postgres.erp/openprod"), member("path:/srv")}, Skew: backup.Duration(10 * time.Minute)}
	never(t, Judge(p, f, now), "skew") // any point of the WAL's window meets the other
	p.Assets["erp"] = backup.CompositeConfig{Members: []backup.AssetID{member("guest:home/777")}}
	if a := assetOf(t, Judge(p, f, now), "asset.erp"); a.Status != backup.Unknown || a.RPO != nil {
		t.Errorf("got %+v", a)
	}
}

func scenarioOf(t *testing.T, r Report, name string) Scenario {
	t.Helper()
	for _, s := range r.Scenarios {
		if s.Name == name {
			return s
		}
	}
	t.Fatalf("no scenario %s", name)
	return Scenario{}
}

func TestScenarios(t *testing.T) {
	p, f := home()
	p.Guests["home/102"] = proxmox.GuestConfig{Priority: 1}
	r := Judge(p, f, now)
	g := scenarioOf(t, r, "guest-loss")
	if g.Target != "mail (VM 102)" || !g.Ready || g.Basis != "assumed" || g.Runs != 0 || *g.RPO != 18*time.Hour+44*time.Minute {
		t.Errorf("the highest priority: %+v", g)
	}
	gigs := float64(32 * gib)
	if want := time.Minute + time.Duration(gigs/55e6*1e9); g.RTO.Round(time.Second) != want.Round(time.Second) || g.RTOP90.Round(time.Second) != (want*5/2).Round(time.Second) {
		t.Errorf("cold: %s, p90 %s, want %s", g.RTO, g.RTOP90, want)
	}
	if s := scenarioOf(t, r, "hypervisor-loss"); s.Target != "pve1" || s.Method != "PBS, 2 guests" || s.RTO <= 2*g.RTO {
		t.Errorf("got %+v", s)
	}
	if s := scenarioOf(t, r, "usb-loss"); s.RPO == nil || *s.RPO != 0 || s.RTO < 24*time.Hour {
		t.Errorf("got %+v", s)
	}
	if s := scenarioOf(t, r, "site-loss"); s.Ready || s.RPO == nil || *s.RPO < 3*backup.Day || len(s.Blockers) == 0 {
		t.Errorf("nothing is proven off-site: %+v", s)
	}
	scenarioOf(t, r, "backup-host-loss")
}

func TestMeasuredTimes(t *testing.T) {
	p, f := home()
	for range 9 {
		f.Past.Steps = append(f.Past.Steps, estimate.Run{Kind: "proxmox.restore", Target: "guest:home/101", Bytes: 32 * gib, Took: 42 * time.Second})
	}
	for _, runs := range []int{0, 1, 4, 9} {
		g := f
		g.Past.Steps = f.Past.Steps[:runs]
		s := scenarioOf(t, Judge(p, g, now), "guest-loss")
		basis := "measured"
		if runs == 0 {
			basis = "assumed"
		}
		if s.Basis != basis || s.Runs != runs || runs < 5 && s.RTOP90.Round(time.Second) != time.Duration(2.5*float64(s.RTO)).Round(time.Second) {
			t.Errorf("%d runs: %+v", runs, s)
		}
		if runs == 9 && (s.RTO < 40*time.Second || s.RTO > 46*time.Second || s.RTOP90 > 60*time.Second) {
			t.Errorf("nine equal runs: %+v", s)
		}
	}
}

func TestScenarioBlockers(t *testing.T) {
	p, f := home()
	edit(f.Proxmox, "home", func(v *proxmox.Facts) { v.Storages[0].Active = false })
	if s := scenarioOf(t, Judge(p, f, now), "guest-loss"); s.Ready || s.Blockers[0] != "Proxmox home cannot reach storage pbs-usb" {
		t.Errorf("got %+v", s)
	}
	p, f = home()
	edit(f.Disks, "usb", func(v *disk.Facts) { *v = disk.Facts{} })
	s := scenarioOf(t, Judge(p, f, now), "guest-loss")
	if s.Ready || s.RPO != nil || len(s.Blockers) < 2 {
		t.Errorf("got %+v", s)
	}
	if h := scenarioOf(t, Judge(p, f, now), "hypervisor-loss"); h.Ready || h.Blockers[0] != "2 guests cannot be restored: web01, mail" {
		t.Errorf("got %+v", h)
	}
}

func TestAMemberBelowAPathIsPartOfIt(t *testing.T) {
	p, f := home()
	p.Assets["erp"] = backup.CompositeConfig{Members: []backup.AssetID{{Kind: backup.Path, Name: "/srv/ged"}}}
	if a := assetOf(t, Judge(p, f, now), "asset.erp"); a.Status != backup.OK || a.RPO == nil || *a.RPO != 2*time.Hour {
		t.Errorf("got %+v", a)
	}
	p.Assets["erp"] = backup.CompositeConfig{Members: []backup.AssetID{{Kind: backup.Path, Name: "/srv2"}, {Kind: backup.Path, Name: "x"}}}
	if a := assetOf(t, Judge(p, f, now), "asset.erp"); a.Status != backup.Unknown {
		t.Errorf("got %+v", a)
	}
}

func TestTheSourceShowsWhatIsDueFirst(t *testing.T) {
	p, f := home()
	cfg := p.Postgres["erp"]
	base := *cfg.Base
	base.Every, base.Keep = backup.Duration(7*backup.Day), backup.Keep{}
	cfg.Base = &base
	p.Postgres["erp"] = cfg
	edit(f.Postgres, "erp", func(v *pg.Facts) { v.Bases.Value = v.Bases.Value[3:] })
	s := sourceOf(t, Judge(p, f, now), "postgres.erp")
	if s.Status != backup.OK || s.Every != backup.Day || !s.Stalest.Equal(time.Date(2026, 11, 21, 2, 0, 0, 0, time.UTC)) {
		t.Errorf("got %+v", s)
	}
	if s.Note != "PITR 4d back, WAL 40s" {
		t.Errorf("got %q", s.Note)
	}
}
