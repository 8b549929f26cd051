package checks

import (
	"slices"
	"testing"
	"time"

	"cairn/internal/backup"
	"cairn/pbs"
	"cairn/proxmox"
	"cairn/restic"
)

func TestWhoseBackupAProofIsOf(t *testing.T) {
	for key, want := range map[string]pbs.Snapshot{
		"vm/101/2026-01-02T03:04:05Z":       {Type: "vm", ID: "101"},
		"lab/a/ct/105/2026-01-02T03:04:05Z": {Namespace: "lab/a", Type: "ct", ID: "105"},
		"host/pve1/2026-01-02T03:04:05Z":    {Type: "host", ID: "pve1"},
	} {
		if got, ok := backupOf(key); !ok || got.Key() != want.Key() {
			t.Errorf("%s: got %+v", key, got)
		}
	}
	for _, key := range []string{"", "/", "vm", "101/2026", "x/101/2026-01-02T03:04:05Z"} {
		if got, ok := backupOf(key); ok {
			t.Errorf("%s: got %+v", key, got)
		}
	}
}

// A proof names a backup; the cluster's storages tell the guest, as they do for
// the backup itself. Where two clusters write to one namespace, it proves nothing.
func TestAProofFindsItsGuest(t *testing.T) {
	p, f := home()
	snapshot := f.Restic["cloud"].Value.Snapshots[3].ID
	taken := f.PBS["nas"].Value.Snapshots[0].Time
	proof := OffSiteProof{Source: "pbs.nas", Copy: pbs.Snapshot{Namespace: f.PBS["nas"].Value.Snapshots[0].Namespace, Type: "vm", ID: "101", Time: taken}.Key(),
		Taken: taken, In: "restic.cloud", Snapshot: snapshot, Complete: true, At: now}
	f.OffSite = map[string]OffSiteProof{"x": proof}
	if a := assetOf(t, Judge(p, f, now), "guest:home/101"); !a.OffSite || !a.Proven {
		t.Errorf("got %+v", a)
	}
	if a := assetOf(t, Judge(p, f, now), "guest:home/102"); a.OffSite {
		t.Errorf("got %+v", a)
	}
	elsewhere := proof
	elsewhere.Source = "pbs.other"
	f.OffSite["x"] = elsewhere
	if a := assetOf(t, Judge(p, f, now), "guest:home/101"); a.OffSite {
		t.Error("a proof of a source that is not configured counted")
	}
	f.OffSite["x"] = proof
	cfg := p.PBS["nas"]
	cfg.ProxmoxStorages = append(cfg.ProxmoxStorages, "away/"+cfg.ProxmoxStorages[0][len("home/"):])
	p.PBS["nas"] = cfg
	p.Proxmox["away"] = p.Proxmox["home"]
	f.Proxmox["away"] = backup.Observed[proxmox.Facts]{Value: proxmox.Facts{Storages: f.Proxmox["home"].Value.Storages}, At: now, Tried: now}
	if a := assetOf(t, Judge(p, f, now), "guest:home/101"); a.OffSite {
		t.Error("two clusters write there: whose backup is proven nobody knows")
	}
}

// What is there in full and with another content is no copy; a whole one that is
// older stays one, and the newer one is told of all the same.
func TestAnotherContentOffSiteIsTold(t *testing.T) {
	p, f := home()
	id := assetOf(t, Judge(p, f, now), "postgres.erp/openprod").ID
	all := f.Restic["cloud"].Value.Snapshots
	bad := OffSiteProof{Asset: id, Source: "postgres.erp", Copy: "new", Taken: now.Add(-80 * time.Hour), In: "restic.cloud", Snapshot: all[3].ID, How: ByHash, Missing: "toc.dat has another content there", At: now}
	f.OffSite = map[string]OffSiteProof{"bad": bad}
	r := Judge(p, f, now)
	want(t, r, backup.Warning, "offsite-altered", "openprod", "toc.dat has another content")
	if a := assetOf(t, r, "postgres.erp/openprod"); a.OffSite || heldIn(a, "restic.cloud").Word != "broken" {
		t.Errorf("got %+v", a)
	}
	good := bad
	good.Copy, good.Taken, good.Snapshot, good.Complete, good.Missing = "old", now.Add(-300*time.Hour), all[2].ID, true, ""
	f.OffSite["good"] = good
	r = Judge(p, f, now)
	want(t, r, backup.Warning, "offsite-altered", "openprod", "toc.dat has another content")
	if a := assetOf(t, r, "postgres.erp/openprod"); !a.OffSite || heldIn(a, "restic.cloud").How != ByHash || !heldIn(a, "restic.cloud").Taken.Equal(good.Taken) {
		t.Errorf("got %+v", a)
	}
	bad.How = "" // a part of it is missing: it may have been written just then
	f.OffSite["bad"] = bad
	for _, one := range Judge(p, f, now).Problems {
		if one.Code == "offsite-altered" || one.Code == "offsite-broken" {
			t.Errorf("got %+v", one)
		}
	}
	delete(f.OffSite, "bad")
	good.How = ""
	f.OffSite["good"] = good
	if h := heldIn(assetOf(t, Judge(p, f, now), "postgres.erp/openprod"), "restic.cloud"); h.How != ByNameAndSize {
		t.Errorf("got %+v", h)
	}
}

// A copy that restic made has the very tree of the snapshot here, or it is another.
func TestACopiedPathIsListedWithItsTree(t *testing.T) {
	p, f := home()
	cloud := f.Restic["cloud"].Value.Snapshots
	path := cloud[3].Paths[0]
	for name, want := range map[string]string{"cafe": AsListedHere, "beef": "", "": ""} {
		edit(f.Restic, "cloud", func(v *restic.Facts) { v.Snapshots = slices.Clone(v.Snapshots); v.Snapshots[3].Tree = "cafe" })
		edit(f.Restic, "usb", func(v *restic.Facts) { v.Snapshots = slices.Clone(v.Snapshots); v.Snapshots[0].Tree = name })
		h := heldIn(assetOf(t, Judge(p, f, now), "path:"+path), "restic.cloud")
		if h == nil || h.How != want || h.Proof != backup.Exists {
			t.Errorf("%q: got %+v", name, h)
		}
	}
}
