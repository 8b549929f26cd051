package pbs

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"cairn/internal/backup"
	lab "cairn/internal/lab/pbs"
	"cairn/internal/secret"
)

// labWorld is a server with a removable datastore, as this client never sees it
// from inside: what comes back must be what was put in.
func labWorld() lab.World {
	unix := func(ago time.Duration) int64 { return fakeNow.Add(-ago).Unix() }
	files := func(names ...string) (all []lab.File) {
		for _, n := range names {
			all = append(all, lab.File{Name: n, Crypt: "none", Size: 1000})
		}
		return all
	}
	audit := []lab.Grant{{Path: "/datastore", Role: "DatastoreAudit"}, {Path: "/remote", Role: "RemoteAudit"}, {Path: "/system/tasks", Role: "Audit"}}
	w := lab.World{
		Now:   func() time.Time { return fakeNow },
		Users: []lab.User{{ID: "cairn@pbs", ACL: []lab.Grant{{Path: "/", Role: "Admin"}}}},
		Tokens: []lab.Token{
			{ID: readToken, Secret: fakeSecret, ACL: audit},
			{ID: actToken, Secret: actSecret, ACL: []lab.Grant{{Path: "/datastore", Role: "DatastoreAdmin"}, {Path: "/system", Role: "Admin"}}},
			{ID: "cairn@pbs!none", Secret: fakeSecret},
			{ID: "cairn@pbs!plain", Secret: fakeSecret, ACL: []lab.Grant{{Path: "/datastore", Role: "DatastoreAudit"}}},
			{ID: "cairn@pbs!lab", Secret: fakeSecret, ACL: []lab.Grant{{Path: "/datastore/usb/lab", Role: "DatastoreAudit"}}},
		},
		Datastores: []*lab.Datastore{{
			Name: "usb", Mount: lab.Mounted, Total: 1000, Used: 710, Namespaces: []string{"lab", "lab/old"},
			Snapshots: []*lab.Snapshot{
				{NS: "lab", Type: "vm", ID: "100", Time: unix(6 * time.Hour), Files: files("drive-scsi0.img.fidx", indexName), Owner: "b@pbs", Verify: "ok"},
				{NS: "lab", Type: "vm", ID: "100", Time: unix(30 * time.Hour), Files: files("drive-scsi0.img.fidx", indexName), Owner: "b@pbs", Verify: "failed"},
				{NS: "lab", Type: "vm", ID: "103", Time: unix(time.Minute), Files: files("qemu-server.conf.blob"), Owner: "b@pbs"},
				{NS: "lab/old", Type: "ct", ID: "100", Time: unix(54 * time.Hour), Files: files("root.pxar.didx", indexName), Owner: "b@pbs", Protected: true},
				{Type: "host", ID: "db01", Time: unix(7 * time.Hour), Owner: "b@pbs", Fingerprint: "03:7e",
					Files: []lab.File{{Name: "root.pxar.didx", Crypt: "encrypt", Size: 1000}, {Name: indexName, Crypt: "sign-only", Size: 90}}},
			},
		}, {Name: "spare", Total: 100, Used: 1}},
		Jobs: []*lab.Job{
			{Kind: lab.Sync, ID: "pull1", Store: "usb", Schedule: "hourly", Remote: "far", RemoteStore: "x", LastUPID: "UPID:s", LastState: "client error (Connect)", LastEnd: unix(time.Hour)},
			{Kind: lab.Sync, ID: "push1", Store: "usb", Schedule: "daily", Remote: "far", RemoteStore: "x", Direction: "push"},
			{Kind: lab.Prune, ID: "p1", Store: "usb", NS: "lab", Schedule: "daily", Keep: map[string]int{"keep-daily": 5}},
		},
	}
	verify := w.Past("verificationjob", "usb:v1", "usb", "root@pam", fakeNow.Add(-5*time.Hour), fakeNow.Add(-4*time.Hour), "WARNINGS: 1")
	w.Jobs = append(w.Jobs, &lab.Job{Kind: lab.Verify, ID: "v1", Store: "usb", Schedule: "daily", LastUPID: verify.UPID, LastState: verify.Status, LastEnd: verify.End})
	for _, s := range w.Datastores[0].Snapshots[:2] {
		s.VerifyUPID = verify.UPID
	}
	w.Begin("backup", "usb:lab:vm/103", "usb", "b@pbs")
	return w
}

func startLab(t *testing.T, w lab.World) (*lab.Server, Config) {
	t.Helper()
	s, err := lab.Start(w)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s, Config{
		URL: s.URL(), Fingerprint: s.Fingerprint(), TokenID: readToken, TokenSecret: secret.Source{Env: "READ"},
		Act: &Token{TokenID: actToken, TokenSecret: secret.Source{Env: "ACT"}}, Datastore: "usb",
	}
}

func TestSurveyOfTheLab(t *testing.T) {
	_, cfg := startLab(t, labWorld())
	f, err := newClient(t, cfg).Survey(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Incomplete)+len(f.Hidden)+len(f.Unread) > 0 || !f.TasksComplete {
		t.Fatalf("%v %v %q complete %t", f.Incomplete, f.Hidden, f.Unread, f.TasksComplete)
	}
	var got []string
	for _, s := range f.Snapshots {
		state, _ := f.State(s)
		got = append(got, fmt.Sprintf("%s %s verified=%t protected=%t encrypted=%t", s.Group(), state, s.Verified(), s.Protected, s.Encrypted()))
	}
	want := []string{
		"host/db01 complete verified=false protected=false encrypted=true",
		"lab/vm/100 damaged verified=false protected=false encrypted=false",
		"lab/vm/100 complete verified=true protected=false encrypted=false",
		"lab/vm/103 in flight verified=false protected=false encrypted=false",
		"lab/old/ct/100 complete verified=false protected=true encrypted=false",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if at := f.Snapshots[2].Verify.At; !at.Equal(fakeNow.Add(-5 * time.Hour)) {
		t.Errorf("verified at %s", at)
	}
	if f.Usage.Used != 710 || f.GC == nil || len(f.Jobs) != 4 || f.MountStatus != "mounted" {
		t.Errorf("%+v %+v %d jobs, %s", f.Usage, f.GC, len(f.Jobs), f.MountStatus)
	}
}

func TestPrivilegesOnTheLab(t *testing.T) {
	_, cfg := startLab(t, labWorld())
	cfg.TokenID = "cairn@pbs!none"
	if _, err := newClient(t, cfg).Survey(t.Context()); err == nil || !strings.Contains(err.Error(), "Datastore.Audit on /datastore/usb") {
		t.Errorf("%v", err)
	}
	cfg.TokenID = "cairn@pbs!plain"
	f, err := newClient(t, cfg).Survey(t.Context())
	if err != nil || len(f.Hidden) != 2 || f.TasksComplete || len(f.Snapshots) != 5 {
		t.Errorf("%v: hidden %v, %d snapshots", err, f.Hidden, len(f.Snapshots))
	}
	cfg.TokenID = "cairn@pbs!lab"
	f, err = newClient(t, cfg).Survey(t.Context())
	if err != nil || f.SnapshotsKnown() || !slices.Contains(f.Namespaces, "lab") || slices.Contains(f.Namespaces, "") || len(f.Snapshots) != 4 {
		t.Errorf("%v: namespaces %q, unread %q, %d snapshots, incomplete %v", err, f.Namespaces, f.Unread, len(f.Snapshots), f.Incomplete)
	}
}

func TestTroublesOfTheLab(t *testing.T) {
	server, cfg := startLab(t, labWorld())
	survey := func() (Facts, error) { return newClient(t, cfg).Survey(t.Context()) }
	server.Fault("GET .*ns=lab$", lab.Fault{Cut: true})
	if f, err := survey(); err != nil || !slices.Equal(f.Unread, []string{"lab"}) || len(f.Snapshots) != 2 {
		t.Errorf("cut: %v %q %d", err, f.Unread, len(f.Snapshots))
	}
	server.Clear()
	server.Fault("GET .*/admin/", lab.Fault{Edit: lab.Malformed})
	if f, err := survey(); err == nil {
		t.Errorf("malformed: %d snapshots, incomplete %v", len(f.Snapshots), f.Incomplete)
	}
	server.Clear()
	server.Change(func(w *lab.World) { w.Store("usb").Maintenance = `offline,message="disk swap"` })
	if f, err := survey(); err != nil || f.Maintenance != "offline: disk swap" || f.SnapshotsKnown() {
		t.Errorf("maintenance: %v %q", err, f.Maintenance)
	}
	server.Change(func(w *lab.World) { w.Store("usb").Maintenance = "" })
	c := newClient(t, cfg)
	if _, err := c.Survey(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := server.NewCertificate(); err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	var changed *CertificateError
	if _, err := survey(); !errors.As(err, &changed) {
		t.Errorf("a new certificate: %v", err)
	}
	if err := server.Refuse(true); err != nil {
		t.Fatal(err)
	}
	if _, err := survey(); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("refused: %v", err)
	}
}

func TestAnOlderLab(t *testing.T) {
	w := labWorld()
	w.Version, w.Release = "3.2", "7"
	_, cfg := startLab(t, w)
	f, err := newClient(t, cfg).Survey(t.Context())
	if err != nil || len(f.Incomplete) > 0 || f.Version != "3.2.7" {
		t.Errorf("%v %v %s", err, f.Incomplete, f.Version)
	}
}

func TestActingOnTheLab(t *testing.T) {
	server, cfg := startLab(t, labWorld())
	c := newClient(t, cfg)
	at := fakeNow.Add(-6 * time.Hour)
	protected := func() (yes bool) {
		server.Change(func(w *lab.World) { yes = w.Store("usb").Find("lab", "vm", "100", at.Unix()).Protected })
		return yes
	}
	if err := c.Protect(t.Context(), "lab", "vm", "100", at, true); err != nil || !protected() {
		t.Error(err)
	}
	if err := c.Protect(t.Context(), "lab", "vm", "100", at, false); err != nil || protected() {
		t.Error(err)
	}
	if err := c.Protect(t.Context(), "lab", "vm", "100", at.Add(time.Hour), true); err == nil {
		t.Error("no such backup snapshot, no error")
	}
	server.Change(func(w *lab.World) { w.Tasks = slices.DeleteFunc(w.Tasks, func(x *lab.Task) bool { return x.End == 0 }) })
	upid, err := c.Unmount(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var log []string
	run, err := c.Follow(t.Context(), upid, func(l string) { log = append(log, l) })
	if err != nil || run.Status != backup.OK || run.Job != "unmount" || len(log) == 0 {
		t.Fatalf("%+v %v %q", run, err, log)
	}
	f, err := c.Survey(t.Context())
	if err != nil || f.Mounted() {
		t.Errorf("%v: still mounted", err)
	}
	if upid, err = c.Mount(t.Context()); err != nil {
		t.Fatal(err)
	}
	if run, err = c.Follow(t.Context(), upid, func(string) {}); err != nil || run.Status != backup.OK {
		t.Errorf("%+v %v", run, err)
	}
	cfg.Act = nil
	if err := newClient(t, cfg).Protect(t.Context(), "lab", "vm", "100", at, true); err == nil || protected() {
		t.Error("the reading token may not act")
	}
}
