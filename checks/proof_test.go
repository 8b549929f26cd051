package checks

import (
	"testing"
	"time"

	"cairn/internal/backup"
	"cairn/internal/disk"
	"cairn/pbs"
	"cairn/proxmox"
	"cairn/restic"
)

func heldIn(a Asset, source string) *Held {
	for i := range a.Held {
		if a.Held[i].Source == source {
			return &a.Held[i]
		}
	}
	return nil
}

func TestCopiesOnOneMediumCountOnce(t *testing.T) {
	p, f := home()
	edit(f.Proxmox, "home", func(v *proxmox.Facts) { v.Guests[0].Snapshots = []proxmox.Snapshot{{Name: "s", Taken: now}} })
	a := assetOf(t, Judge(p, f, now), "guest:home/101")
	if a.Copies != 2 || a.Media != 2 || a.OffSite || a.Proven {
		t.Errorf("live with its snapshot, and the disk with PBS and restic, are two: %+v", a)
	}
	if a.Word != "NO OFF-SITE" || a.Status != backup.Warning {
		t.Errorf("got %+v", a)
	}
	if h := heldIn(a, "proxmox.home"); h == nil || h.Medium != backup.LiveMedium || h.Tier != backup.LocalRollback {
		t.Errorf("got %+v", a.Held)
	}
	cloud := f.Restic["cloud"]
	f.Restic["cloud"] = backup.Observed[restic.Facts]{}
	if a := assetOf(t, Judge(p, f, now), "guest:home/101"); a.Word != "unknown" || a.Status != backup.Unknown {
		t.Errorf("what was not read yet is not absent: %+v", a)
	}
	f.Restic["cloud"] = cloud
	files := assetOf(t, Judge(p, f, now), "path:/srv")
	if files.Copies != 3 || files.Media != 3 || !files.OffSite || !files.Proven || files.Word != "ok" {
		t.Errorf("got %+v", files)
	}
	for _, one := range Judge(p, f, now).Assets {
		if one.ID.Name == "/mnt/usb/pbs" || one.ID.Name == "/mnt/usb/pg" {
			t.Errorf("%s only carries copies", one.ID)
		}
	}
}

// A path in a listing proves nothing: the cloud's snapshot of the datastore is
// shown, and is no off-site copy until its content was compared.
func TestOffSiteIsProvenByContent(t *testing.T) {
	p, f := home()
	a := assetOf(t, Judge(p, f, now), "guest:home/101")
	h := heldIn(a, "restic.cloud")
	if h == nil || h.Word != "in snap" || h.Proof != backup.Exists || a.OffSite || h.Tier != backup.OffSite {
		t.Fatalf("got %+v", a)
	}
	if newest := time.Date(2026, 11, 18, 1, 30, 0, 0, time.UTC); !h.Taken.Equal(newest) {
		t.Errorf("the newest backup before the snapshot of the 18th is of %s, got %s", newest, h.Taken)
	}
	snapshot := f.Restic["cloud"].Value.Snapshots[3].ID
	proof := OffSiteProof{Asset: a.ID, Source: "pbs.nas", Taken: h.Taken, In: "restic.cloud", Snapshot: snapshot, Complete: true, At: now}
	f.OffSite = map[string]OffSiteProof{"x": proof}
	r := Judge(p, f, now)
	a = assetOf(t, r, "guest:home/101")
	if !a.OffSite || a.Copies != 3 || !a.Proven || a.Word != "ok" || heldIn(a, "restic.cloud").Proof != backup.MetadataRead {
		t.Errorf("got %+v", a)
	}
	if other := assetOf(t, r, "guest:home/102"); other.OffSite {
		t.Error("the other guest is not proven by that")
	}
	proof.Complete, proof.Missing = false, "chunk 4f2a is missing"
	f.OffSite["x"] = proof
	r = Judge(p, f, now)
	want(t, r, backup.Warning, "offsite-broken", "web01", "chunk 4f2a is missing")
	if a := assetOf(t, r, "guest:home/101"); a.OffSite || heldIn(a, "restic.cloud").Word != "broken" {
		t.Errorf("got %+v", a)
	}
	proof.Complete, proof.Snapshot = true, "gone since"
	f.OffSite["x"] = proof
	if a := assetOf(t, Judge(p, f, now), "guest:home/101"); a.OffSite {
		t.Error("the proof went with its snapshot")
	}
}

func TestAGuestYoungerThanTheSnapshotIsNotInIt(t *testing.T) {
	p, f := home()
	edit(f.PBS, "nas", func(v *pbs.Facts) { v.Snapshots = append(nightly("101", 5), nightly("102", 2)...) })
	r := Judge(p, f, now)
	want(t, r, backup.Warning, "no-offsite", "1 asset has", "mail")
	if h := heldIn(assetOf(t, r, "guest:home/102"), "restic.cloud"); h != nil {
		t.Errorf("got %+v", h)
	}
	// Five of five days are kept: those from before the snapshot were pruned.
	f.Restic["cloud"] = read(repository(7, 4, 6*backup.Day))
	if h := heldIn(assetOf(t, Judge(p, f, now), "guest:home/101"), "restic.cloud"); h == nil || h.Word != "in snap" {
		t.Errorf("got %+v", h)
	}
}

func TestADumpIsInTheSnapshotThatWasTakenAfterIt(t *testing.T) {
	p, f := home()
	a := assetOf(t, Judge(p, f, now), "postgres.erp/openprod")
	h := heldIn(a, "restic.cloud")
	if h == nil || h.Word != "in snap" || a.OffSite || !h.Taken.Equal(time.Date(2026, 11, 18, 2, 0, 0, 0, time.UTC)) {
		t.Fatalf("got %+v", a)
	}
	if d := heldIn(a, "postgres.erp"); d == nil || d.Word != "dump" || d.Count != 5 {
		t.Errorf("got %+v", d)
	}
}

func TestAnOffSitePBSHoldsRealCopies(t *testing.T) {
	p, f := home()
	p.PBS["far"] = pbs.Config{URL: "https://far.example.net:8007", Site: "far", Every: backup.Duration(7 * backup.Day)}
	copies := pbs.Facts{Name: "far", TasksComplete: true, Snapshots: nightly("101", 2), Jobs: []pbs.Job{{Kind: pbs.SyncJob, ID: "s", Direction: "pull"}}}
	f.PBS["far"] = read(copies)
	r := Judge(p, f, now)
	a := assetOf(t, r, "guest:home/101")
	if !a.OffSite || !a.Proven {
		t.Errorf("got %+v", a)
	}
	if h := heldIn(a, "pbs.far"); h.Proof != backup.Exists {
		t.Errorf("a synced copy carries the verification of its source, which proves nothing here: %+v", h)
	}
	if s := sourceOf(t, r, "pbs.far"); s.Name == "" || r.Tiers[2].Sources[0].Name != "pbs.far" {
		t.Errorf("it is tier 3: %+v", r.Tiers)
	}
}

func TestDisksThatTakeTurnsAreAMediumEach(t *testing.T) {
	p, f := home()
	p.Disks["usb"] = disk.Config{Mount: "/mnt/usb", Disks: []disk.Unit{{Name: "a"}, {Name: "m", AbsentOK: backup.Duration(40 * backup.Day)}}}
	if a := assetOf(t, Judge(p, f, now), "guest:home/101"); heldIn(a, "pbs.nas").Medium != "disk.usb/a" {
		t.Errorf("got %+v", a)
	}
}

func TestAnOffSiteThatCannotBeReadIsNotAbsent(t *testing.T) {
	p, f := home()
	o := f.Restic["cloud"]
	o.Err = errTest
	f.Restic["cloud"] = o
	r := Judge(p, f, now)
	never(t, r, "no-offsite")
	never(t, r, "offsite-unproven")
	if a := assetOf(t, r, "path:/srv"); a.Status != backup.Unknown || a.Proven {
		t.Errorf("got %+v", a)
	}
}

func TestNoOffSiteIsConfigured(t *testing.T) {
	p, f := home()
	delete(p.Restic, "cloud")
	delete(f.Restic, "cloud")
	pb := want(t, Judge(p, f, now), backup.Warning, "no-offsite", "web01")
	if pb.Hint != "No off-site entry is configured: add a [restic.NAME] or [pbs.NAME] whose site is not home" {
		t.Errorf("got %s", pb.Hint)
	}
}

func TestMediaOfRepositories(t *testing.T) {
	for address, want := range map[string]string{
		"/backup/restic": thisHost, "": thisHost, "rest:http://user:secret@nas.lan:8000/x": "nas.lan", "s3:https://s3.example.net/b": "s3.example.net",
		"s3:s3.amazonaws.com/b": "s3.amazonaws.com", "sftp:me@host:/srv/r": "host", "sftp://me@host:22//srv": "host", "b2:bucket:path": "b2 storage",
		"rest:http://127.0.0.1:8000": thisHost, "rclone:remote:path": "rclone storage", "https://nas.lan:8007": "nas.lan",
	} {
		if got := hostOf(address); got != want {
			t.Errorf("hostOf(%q) = %q, want %q", address, got, want)
		}
	}
	for dsn, want := range map[string]string{"host=127.0.0.1 port=5432": thisHost, "dbname=x": thisHost, "host=/run/postgresql": thisHost, "host=db.lan": "db.lan", "postgres://u:p@db.lan/x": "db.lan"} {
		if got := dsnHost(dsn); got != want {
			t.Errorf("dsnHost(%q) = %q, want %q", dsn, got, want)
		}
	}
	if !within("/mnt/usb/pbs", "/mnt/usb") || within("/mnt/usb2", "/mnt/usb") || !within("/x", "/") || within("", "/") {
		t.Error("within")
	}
}

func TestARepositoryBesideTheDataIsOneMedium(t *testing.T) {
	p, f := home()
	p.Restic = map[string]restic.Config{"local": {Repository: "/var/restic", Paths: []string{"/srv"}, Every: backup.Duration(backup.Day)}}
	f.Restic = map[string]backup.Observed[restic.Facts]{"local": read(repository(1, 5, time.Hour))}
	if a := assetOf(t, Judge(p, f, now), "path:/srv"); a.Copies != 1 {
		t.Errorf("got %+v", a)
	}
}

// What is stale in one place and current in another is late, not lost: its three
// copies are there. What is not proven to be there is none of them.
func TestAStaleOffSiteCopyIsLate(t *testing.T) {
	p, f := home()
	f.Restic["cloud"] = read(repository(7, 4, 9*backup.Day+2*time.Hour))
	r := Judge(p, f, now)
	if s := sourceOf(t, r, "restic.cloud"); s.Status != backup.Critical || s.Word != "STALE" {
		t.Errorf("got %+v", s)
	}
	for _, id := range []string{"path:/srv", "guest:home/101"} {
		if a := assetOf(t, r, id); a.Status != backup.Warning || a.Word != "LATE" || a.Proven != (id == "path:/srv") {
			t.Errorf("got %+v", a)
		}
	}
}
