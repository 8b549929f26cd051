package runbook

import (
	"strings"
	"testing"
	"time"

	"cairn/internal/config"
	"cairn/internal/history"
	"cairn/internal/lab/pve"
	"cairn/internal/runbook/rehearse"
	"cairn/internal/secret"
	"cairn/pbs"
	"cairn/proxmox"
)

// A point of a guest says that it is off-site too where that was found, newest first.
func TestPointsOfAGuestThatAreOffSite(t *testing.T) {
	store, taken := pve.NewMemoryStore(1<<40), time.Now().Add(-48*time.Hour).Truncate(time.Second)
	for _, at := range []time.Time{taken, taken.Add(24 * time.Hour)} {
		store.Put(pve.Place{Datastore: "usb"}, pve.Stored{BackupID: pve.BackupID{Kind: pve.QEMU, VMID: 101, Time: at}, Size: 4 << 30}, pve.Image{Kind: pve.QEMU, VMID: 101, Config: map[string]string{"name": "web"}})
	}
	s, err := pve.Start(pve.World{
		Cluster: "home", Nodes: []pve.Node{{Name: "pve1"}},
		Users:    []pve.User{{ID: "cairn@pve", Tokens: []pve.Token{{Name: "read", Secret: "r"}}}},
		ACL:      []pve.ACL{{Path: "/", Who: "cairn@pve", Role: "Administrator"}},
		Storages: []pve.Storage{{ID: "pbs-usb", Type: "pbs", Shared: true, Content: []string{"backup"}, Server: "nas", Datastore: "usb", Store: store}},
		Guests:   []pve.Guest{{VMID: 101, Kind: pve.QEMU, Node: "pve1", Config: map[string]string{"name": "web"}}},
	})
	rehearse.Must(t, err)
	t.Cleanup(s.Stop)
	c := &config.Config{PBS: map[string]pbs.Config{"nas": {ProxmoxStorages: []string{"home/pbs-usb"}}},
		Proxmox: map[string]proxmox.Config{"home": {URLs: []string{s.URL()}, Fingerprints: []string{s.Fingerprint()}, TokenID: "cairn@pve!read", TokenSecret: secret.Source{Env: "R"}}}}
	l := Open(c, secret.Reader{Getenv: strings.ToLower}, nil, time.Now)
	t.Cleanup(l.Close)
	past := rehearse.NewHistory(t, t.TempDir())
	l.Keep(past)
	rehearse.Must(t, past.RecordCompared(t.Context(), history.Compared{Repository: "restic.cloud", Snapshot: "aa", Source: "pbs.nas", Copy: "vm/101/" + taken.UTC().Format(time.RFC3339), Complete: true, At: taken}))
	all, unread, err := l.Points(t.Context(), "guest-loss", "home/101")
	if err != nil || len(all) != 2 || all[0].OffSite || !all[1].OffSite {
		t.Errorf("%+v, %v, %v", all, unread, err)
	}
}
