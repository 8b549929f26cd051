package desk

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"cairn/internal/backup"
	"cairn/internal/config"
	"cairn/internal/history"
	"cairn/internal/lab/pve"
	"cairn/internal/operation"
	"cairn/internal/runbook/guest"
	"cairn/internal/secret"
	"cairn/proxmox"
)

// sit opens a desk on a cluster with one guest. Its workers run in this process.
func sit(t *testing.T, readOnly bool) (*Desk, *pve.Server, *history.Store) {
	t.Helper()
	guest := pve.Guest{VMID: 101, Kind: pve.QEMU, Node: "pve1", Running: true, Content: map[string]string{"scsi0": "new"},
		Config:    map[string]string{"name": "web", "memory": "512", "kvm": "0", "parent": "before", "scsi0": "thin:vm-101-disk-0,size=4G"},
		Snapshots: []pve.Snapshot{{Name: "before", Time: time.Now().Add(-time.Hour), Content: map[string]string{"scsi0": "old"}}}}
	s, err := pve.Start(pve.World{
		Nodes: []pve.Node{{Name: "pve1"}}, Users: []pve.User{{ID: "root@pam", Tokens: []pve.Token{{Name: "t", Secret: "s3cret-all"}}}},
		Storages: []pve.Storage{{ID: "thin", Type: "lvmthin", Content: []string{"images"}, VGName: "pve", Pool: "data"}}, Guests: []pve.Guest{guest},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	dir := t.TempDir()
	past, err := history.Open(t.Context(), dir+"/history.db")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = past.Close() })
	var d *Desk
	o := Options{
		Config: &config.Config{StateDir: dir, ReadOnly: readOnly, Proxmox: map[string]proxmox.Config{"home": {
			URLs: []string{s.URL()}, Fingerprints: []string{s.Fingerprint()}, TokenID: "root@pam!t", TokenSecret: secret.Source{Env: "T"}}}},
		Secrets: secret.Reader{Getenv: func(string) string { return "s3cret-all" }}, History: past, Now: time.Now, By: operation.Actor{Who: "ana", From: "192.0.2.7"},
		Launch: func(ctx context.Context, id string) error { return d.Work(ctx, id) },
	}
	if d, err = Open(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d, s, past
}

func guestOf(t *testing.T, d *Desk) guest.Guest {
	t.Helper()
	g, err := d.Guest(t.Context(), backup.AssetID{Kind: backup.Guest, Scope: "home", Name: "101"})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestAPlanBecomesAnOperation(t *testing.T) {
	d, s, past := sit(t, false)
	ctx := t.Context()
	p, err := d.Rollback(ctx, guest.RollbackRequest{Guest: guestOf(t, d), Snapshot: "before"})
	if err != nil || p.Blocked() {
		t.Fatalf("%+v, %v", p.Blockers, err)
	}
	id, err := d.Start(ctx, p, "because")
	if err != nil {
		t.Fatal(err)
	}
	all, err := d.Operations()
	if err != nil || len(all) != 1 || all[0].State != operation.StepDone || all[0].Record.By.Why != "because" || all[0].Record.By.Who != "ana" {
		t.Fatalf("%+v, %v", all, err)
	}
	if s.Guest(101).Content["scsi0"] != "old" {
		t.Error("nothing was rolled back")
	}
	if err := d.Resume(ctx, id); !errors.Is(err, operation.ErrRefused) {
		t.Errorf("an ended operation was resumed: %v", err)
	}
	back, err := d.Undo(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Start(ctx, back, ""); err != nil || s.Guest(101).Content["scsi0"] != "new" {
		t.Errorf("the undo: %v, %+v", err, s.Guest(101))
	}
	if trail, err := past.Trail(ctx, 10); err != nil || len(trail) != 4 {
		t.Errorf("the trail is %+v, %v", trail, err)
	}
}

func TestAReadOnlyDeskOnlyLooks(t *testing.T) {
	d, s, _ := sit(t, true)
	g := guestOf(t, d)
	p, err := d.CreateSnapshot(t.Context(), g, "mine", "", false)
	if err != nil {
		t.Fatal(err)
	}
	_, start := d.Start(t.Context(), p, "")
	for what, err := range map[string]error{"start": start, "cancel": d.Cancel("20261121-1"), "resume": d.Resume(t.Context(), "20261121-1")} {
		if !errors.Is(err, ErrReadOnly) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if all, err := d.Operations(); err != nil || len(all) != 0 || !d.ReadOnly() {
		t.Errorf("operations %v, %v", all, err)
	}
	for _, r := range s.Requests() {
		if r.Method != "GET" {
			t.Errorf("it changed something: %+v", r)
		}
	}
}

// TestEveryPlanSaysWhoHoldsTheGuest: while an operation works on it.
func TestEveryPlanSaysWhoHoldsTheGuest(t *testing.T) {
	d, s, past := sit(t, false)
	g := guestOf(t, d)
	first, err := d.CreateSnapshot(t.Context(), g, "first", "", false)
	if err != nil {
		t.Fatal(err)
	}
	hold := s.HoldTask("qmsnapshot", "101", "begin")
	ended := make(chan error, 1)
	go func() {
		_, err := d.Start(context.WithoutCancel(t.Context()), first, "")
		ended <- err
	}()
	<-hold.Reached()
	all, err := d.Operations()
	if err != nil || len(all) != 1 {
		t.Fatalf("%+v, %v", all, err)
	}
	id := all[0].ID()
	create, err1 := d.CreateSnapshot(t.Context(), g, "second", "", false)
	remove, err2 := d.DeleteSnapshot(t.Context(), g, "before", false)
	back, err3 := d.Rollback(t.Context(), guest.RollbackRequest{Guest: g, Snapshot: "before"})
	copied, err4 := d.Backup(t.Context(), g)
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		t.Fatal(err)
	}
	for what, p := range map[string]interface{ Blocked() bool }{"create": create, "delete": remove, "rollback": back, "backup": copied} {
		if !p.Blocked() {
			t.Errorf("%s is not blocked", what)
		}
	}
	if last := back.Blockers[len(back.Blockers)-1]; !strings.Contains(last.Why, "held by operation "+id) || last.Hint == "" {
		t.Errorf("the blocker is %+v", last)
	}
	hold.Release()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	// who resumes is in the trail, who began it is in the record
	p, err := d.Backup(t.Context(), g)
	if err != nil || p.Blocked() {
		t.Fatalf("%+v, %v", p.Blockers, err)
	}
	waiting, err := d.store.Create(p, operation.Actor{Who: "bob"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Resume(t.Context(), waiting); err != nil {
		t.Fatal(err)
	}
	trail, err := past.Trail(t.Context(), 3)
	if err != nil || len(trail) != 3 || trail[2].Result != "resume was asked for" || trail[2].Who != "ana" || trail[1].Who != "bob" {
		t.Errorf("the trail is %+v, %v", trail, err)
	}
}
