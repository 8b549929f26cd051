package runbook

import (
	"strings"
	"testing"
	"time"

	"cairn/internal/backup"
	"cairn/internal/config"
	"cairn/internal/history"
	"cairn/internal/lab/pve"
	"cairn/internal/runbook/rehearse"
	"cairn/internal/secret"
	"cairn/pbs"
	"cairn/pg"
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

// A dump says that it is off-site too where that was found, of this server alone.
func TestDumpsThatAreOffSite(t *testing.T) {
	l := Open(&config.Config{}, secret.Reader{}, nil, time.Now)
	t.Cleanup(l.Close)
	if away, err := l.comparedAway(t.Context(), "postgres.erp"); err != nil || len(away) != 0 {
		t.Errorf("without a history: %v, %v", away, err)
	}
	past := rehearse.NewHistory(t, t.TempDir())
	l.Keep(past)
	rehearse.Must(t, past.RecordCompared(t.Context(),
		history.Compared{Repository: "restic.cloud", Snapshot: "aa", Source: "postgres.erp", Copy: "/dumps/whole", Complete: true},
		history.Compared{Repository: "restic.cloud", Snapshot: "aa", Source: "postgres.erp", Copy: "/dumps/torn", Missing: "toc.dat"},
		history.Compared{Repository: "restic.cloud", Snapshot: "aa", Source: "postgres.other", Copy: "/dumps/other", Complete: true}))
	away, err := l.comparedAway(t.Context(), "postgres.erp")
	rehearse.Must(t, err)
	for path, want := range map[string]bool{"/dumps/whole": true, "/dumps/torn": false, "/dumps/other": false} {
		if p := dumpPoint(pg.Dump{Path: path, State: backup.Complete}, away); p.OffSite != want || p.ID != path || p.Unusable != "" {
			t.Errorf("%+v", p)
		}
	}
	if p := dumpPoint(pg.Dump{Path: "/dumps/torn", State: backup.Torn, Why: "its table of contents is cut"}, away); p.Unusable != "its table of contents is cut" {
		t.Errorf("%+v", p)
	}
}

// What cairn made before a change holds the change: no rollback begins there.
func TestARollbackBeginsBeforeTheChange(t *testing.T) {
	safety, broken, good := Point{ID: "cairn-before-1", Safety: true}, Point{ID: "broken", Unusable: "incomplete"}, Point{ID: "before-upgrade"}
	for _, c := range []struct {
		all  []Point
		want string
	}{
		{[]Point{safety, broken, good}, "before-upgrade"},
		{[]Point{broken, safety}, "cairn-before-1"},
		{[]Point{broken}, ""},
		{nil, ""},
	} {
		if got := PointToBegin(c.all); got != c.want {
			t.Errorf("%+v: %q, want %q", c.all, got, c.want)
		}
	}
}
