package repository

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cairn/internal/backup"
	labpbs "cairn/internal/lab/pbs"
	"cairn/internal/operation"
	"cairn/internal/runbook/rehearse"
	"cairn/internal/secret"
	"cairn/internal/testkit"
	"cairn/pbs"
)

// TestAnUploadIsProven: after the copy went off-site each PBS backup is proven to be
// there, or the run says which one is not.
func TestAnUploadIsProven(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "datastore")
	if err := os.MkdirAll(filepath.Join(dir, ".chunks"), 0o755); err != nil {
		t.Fatal(err)
	}
	store := &labpbs.Datastore{Name: "usb", Path: dir}
	add := func(id string, data string) {
		t.Helper()
		at := time.Now().Add(-time.Hour).Truncate(time.Second)
		if err := store.Put(&labpbs.Snapshot{Type: "vm", ID: id, Time: at.Unix(), Owner: "root@pam"}, labpbs.Content{Name: "drive-scsi0.img.fidx", Size: 8 << 20, Data: []byte(data)}); err != nil {
			t.Fatal(err)
		}
	}
	add("101", strings.Repeat("web", 3000))
	server, err := labpbs.Start(labpbs.World{Datastores: []*labpbs.Datastore{store},
		Users:  []labpbs.User{{ID: "cairn@pbs", ACL: []labpbs.Grant{{Path: "/", Role: "Admin"}}}},
		Tokens: []labpbs.Token{{ID: "cairn@pbs!read", Secret: testkit.ResticPassword, ACL: []labpbs.Grant{{Path: "/", Role: "Audit"}}}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	h := newHome(t, func(h *home) {
		cfg := h.cfg.Restic["usb"]
		cfg.Paths = append(cfg.Paths, dir)
		h.cfg.Restic["usb"] = cfg
		h.cfg.PBS = map[string]pbs.Config{"nas": {URL: server.URL(), Fingerprint: server.Fingerprint(), TokenID: "cairn@pbs!read", TokenSecret: secret.Source{File: filepath.Join(h.dir, "password")},
			Datastore: "usb", Path: dir}}
	})
	h.backup("usb")
	p := h.plan(BackupRequest{Name: "cloud"})
	if got := stepKinds(p); got != "copy prove check" {
		t.Fatalf("it does: %s", got)
	}
	s := h.Run(p)
	rehearse.Want(t, s, operation.StepDone)
	if s.Steps[1].State != operation.StepDone || !strings.Contains(s.Steps[1].Text, "1 backups and dumps are proven") {
		t.Errorf("it says %+v", s.Steps[1])
	}
	if r := h.last("cloud", "prove"); r.Status != backup.OK || r.Running() {
		t.Errorf("recorded as %+v", r)
	}
	kept, err := h.Past.Compared(t.Context())
	if err != nil || len(kept) < 1 || !strings.HasPrefix(kept[0].Copy, "vm/101/") && !strings.HasPrefix(kept[len(kept)-1].Copy, "vm/101/") {
		t.Errorf("the history keeps %+v, %v", kept, err)
	}
	add("102", strings.Repeat("mail", 5000))
	removeOneChunk(t, dir)
	h.backup("usb")
	s = h.Run(h.plan(BackupRequest{Name: "cloud"}))
	rehearse.Want(t, s, operation.StepDone)
	if one := s.Steps[1]; one.State != operation.StepWarned || !strings.Contains(one.Text, "vm/102/") || !strings.Contains(one.Text, "missing") {
		t.Errorf("a chunk is missing there, and it says %+v", one)
	}
}

// removeOneChunk removes the newest chunk of a datastore.
func removeOneChunk(t *testing.T, dir string) {
	t.Helper()
	newest, at := "", time.Time{}
	err := filepath.WalkDir(filepath.Join(dir, ".chunks"), func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		if info, err := e.Info(); err == nil && info.ModTime().After(at) {
			newest, at = path, info.ModTime()
		}
		return nil
	})
	if err != nil || newest == "" {
		t.Fatalf("no chunk in %s: %v", dir, err)
	}
	if err := os.Remove(newest); err != nil {
		t.Fatal(err)
	}
}
