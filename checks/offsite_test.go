package checks

import (
	"testing"

	"cairn/internal/backup"
	"cairn/pbs"
	"cairn/proxmox"
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
