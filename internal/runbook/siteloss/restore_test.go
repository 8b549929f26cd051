package siteloss

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cairn/internal/command"
	labpbs "cairn/internal/lab/pbs"
	"cairn/internal/plan"
	"cairn/internal/runbook/rehearse"
	"cairn/internal/runbook/repository"
	"cairn/internal/secret"
	"cairn/internal/testkit"
	"cairn/pbs"
	"cairn/pbs/datastore"
	"cairn/pg"
	"cairn/proxmox"
	"cairn/restic"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// away is a site of which only the off-site repository is left: two guests in
// two namespaces, a host's configuration, dumps, and a path.
type away struct {
	*Runbook
	t    *testing.T
	dir  string
	past time.Time
}

func newAway(t *testing.T) *away {
	t.Helper()
	binary := testkit.Program(t, "restic")
	dir := t.TempDir()
	a := &away{t: t, dir: dir, past: time.Date(2026, 11, 20, 2, 0, 0, 0, time.UTC)}
	store := &labpbs.Datastore{Name: "usb", Path: filepath.Join(dir, "usb", "pbs"), Namespaces: []string{"home"}}
	a.write("usb/pbs/.lock", "")
	a.write("srv/a.txt", "content")
	a.write("etc/pve/user.cfg", "user:root@pam")
	for _, name := range []string{"erp_2026-11-19.dump", "erp_2026-11-20.dump", "erp2_2026-11-20.dump", "globals_2026-11-20.sql"} {
		a.write("usb/pg/"+name, name)
	}
	for _, g := range []struct{ ns, kind, id, name string }{{"home", "vm", "101", "web"}, {"home", "ct", "102", "dns"}, {"home", "vm", "103", "scratch"}, {"", "host", "pve1", ""}} {
		for nights := range 2 {
			s := &labpbs.Snapshot{NS: g.ns, Type: g.kind, ID: g.id, Time: a.past.Add(-time.Duration(nights) * 24 * time.Hour).Unix(), Owner: "b@pbs", Comment: g.name}
			rehearse.Must(t, store.Put(s, labpbs.Content{Name: "root.pxar.didx", Data: []byte(g.id + s.Owner + time.Unix(s.Time, 0).String())}))
		}
	}
	password := a.write("password", testkit.ResticPassword)
	cloud := filepath.Join(dir, "cloud")
	testkit.ResticRepository(t, cloud)
	c := Config{
		PBS: map[string]pbs.Config{"nas": {Datastore: "usb", Path: store.Path, ProxmoxStorages: []string{"home/pbs-usb"}}},
		Restic: map[string]restic.Config{
			"usb":   {Repository: filepath.Join(dir, "usb", "restic"), Paths: []string{store.Path}, Password: secret.Source{File: password}},
			"cloud": {Repository: cloud, CopyFrom: "usb", Site: "away", Password: secret.Source{File: password}, Binary: binary}},
		Guests:   map[string]proxmox.GuestConfig{"home/102": {Priority: 1}, "home/103": {Ignore: true}},
		Postgres: map[string]pg.Config{"erp": {Dump: &pg.DumpConfig{Databases: []string{"erp"}, Dir: filepath.Join(dir, "usb", "pg")}}},
	}
	for nights := 1; nights >= 0; nights-- {
		at := a.past.Add(-time.Duration(nights)*24*time.Hour + time.Hour)
		_, err := command.Run(t.Context(), command.Spec{Argv: []string{binary, "-r", cloud, "--no-cache", "-q", "-p", password, "backup", "--host", "nas", "--time", at.Local().Format(time.DateTime),
			filepath.Join(dir, "usb", "pbs"), filepath.Join(dir, "usb", "pg"), filepath.Join(dir, "srv"), filepath.Join(dir, "etc")}})
		rehearse.Must(t, err)
	}
	now := func() time.Time { return a.past.Add(10 * time.Hour) }
	repositories := repository.New(repository.Config{Restic: c.Restic}, repository.Here{}, secret.Reader{Getenv: os.Getenv}, nil, now)
	t.Cleanup(repositories.Close)
	database := func(text string) (source, name string, ok bool) {
		source, name, _ = strings.Cut(strings.TrimPrefix(text, "postgres."), "/")
		return source, name, source == "erp"
	}
	a.Runbook = New(c, repositories, database, nil, now)
	return a
}

func (a *away) write(name, text string) string {
	a.t.Helper()
	path := filepath.Join(a.dir, name)
	rehearse.Must(a.t, os.MkdirAll(filepath.Dir(path), 0o755))
	rehearse.Must(a.t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// plan plans and says what it is to do, a line a step.
func (a *away) plan(r Restore) (plan.Plan, string) {
	a.t.Helper()
	if r.Dir == "" {
		r.Dir = filepath.Join(a.dir, "rescue")
	}
	p, err := a.Restore(a.t.Context(), r)
	rehearse.Must(a.t, err)
	var said []string
	for _, s := range p.Steps {
		said = append(said, s.Title)
	}
	for _, b := range p.Blockers {
		said = append(said, "BLOCKED "+b.Subject+": "+b.Why)
	}
	return p, strings.ReplaceAll(strings.Join(said, "\n"), a.dir, "")
}

func TestEverythingFromOffSiteInOrder(t *testing.T) {
	a := newAway(t)
	p, said := a.plan(Restore{})
	want := []string{"restore /etc", "compare", "fetch host/pve1/2026-11-20T02:00:00Z", "fetch dns (home/ct/102/2026-11-20T02:00:00Z)", "fetch web (home/vm/101/", "make it a datastore", "restore /srv, /usb/pg", "compare"}
	at := -1
	for _, part := range want {
		next := strings.Index(said[at+1:], part)
		if next < 0 {
			t.Fatalf("%q does not come after the others:\n%s", part, said)
		}
		at += 1 + next
	}
	if strings.Contains(said, "scratch") || strings.Contains(said, "BLOCKED") || strings.Count(said, "fetch ") != 3 {
		t.Errorf("planned:\n%s", said)
	}
	if !strings.Contains(p.Loss, a.past.Local().Format("2006-01-02 15:04:05")+": 10h") {
		t.Errorf("the loss: %s", p.Loss)
	}
	if p.Target != "offsite.cloud" || p.Confirm != "cloud" {
		t.Errorf("%+v", p)
	}
	if again, err := a.Fingerprint(t.Context(), p); err != nil || again != p.Fingerprint {
		t.Errorf("%s, %v; planned with %s", again, err, p.Fingerprint)
	}
}

func TestTargetsFromOffSite(t *testing.T) {
	a := newAway(t)
	for name, c := range map[string]struct {
		ask  Restore
		want []string
		not  []string
	}{
		"by name":         {Restore{Targets: []string{"web"}}, []string{"fetch web", "make it"}, []string{"dns", "restore"}},
		"by VMID":         {Restore{Targets: []string{"102"}}, []string{"fetch dns"}, []string{"web"}},
		"by cluster":      {Restore{Targets: []string{"home/101", "guest:home/102"}}, []string{"fetch dns", "fetch web"}, nil},
		"ignored, named":  {Restore{Targets: []string{"scratch"}}, []string{"fetch scratch"}, nil},
		"a host":          {Restore{Targets: []string{"host/pve1"}}, []string{"fetch host/pve1/2026-11-20"}, nil},
		"a database":      {Restore{Targets: []string{"erp/erp"}}, []string{"restore /usb/pg/erp_2026-11-20.dump, /usb/pg/globals_2026-11-20.sql"}, []string{"fetch", "erp2"}},
		"a path":          {Restore{Targets: []string{a.dir + "/srv"}}, []string{"restore /srv"}, []string{"fetch"}},
		"nobody":          {Restore{Targets: []string{"nobody"}}, []string{"BLOCKED nobody: snapshot", "holds no backup of it"}, []string{"fetch"}},
		"no such path":    {Restore{Targets: []string{"/gone"}}, []string{"BLOCKED /gone: snapshot"}, nil},
		"no such dump":    {Restore{Targets: []string{"erp/other"}}, []string{"BLOCKED postgres.erp/other"}, nil},
		"the day before":  {Restore{Targets: []string{"web"}, At: a.past.Add(-20 * time.Hour)}, []string{"fetch web (home/vm/101/2026-11-19"}, nil},
		"long before":     {Restore{At: a.past.Add(-90 * time.Hour)}, []string{"BLOCKED off-site: all 2 snapshots of cloud are later"}, nil},
		"before it began": {Restore{Targets: []string{"web"}, Infected: a.past.Add(-time.Minute)}, []string{"hold everything", "fetch web (home/vm/101/2026-11-19"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			_, said := a.plan(c.ask)
			for _, part := range c.want {
				if !strings.Contains(said, part) {
					t.Errorf("it lacks %q:\n%s", part, said)
				}
			}
			for _, part := range c.not {
				if strings.Contains(said, part) {
					t.Errorf("it has %q:\n%s", part, said)
				}
			}
		})
	}
	a.write("rescue"+a.dir+"/srv/mine.txt", "mine")
	if _, said := a.plan(Restore{Targets: []string{a.dir + "/srv"}}); !strings.Contains(said, "it is there already") {
		t.Errorf("what is there would mix with it:\n%s", said)
	}
}

func TestNoRoomForWhatIsOffSite(t *testing.T) {
	a := newAway(t)
	p := plan.Plan{}
	free, _, err := restic.Free(a.dir)
	rehearse.Must(t, err)
	for _, c := range []struct {
		size    int64
		blocked bool
		notes   int
	}{{1, false, 0}, {2 * free, false, 1}, {100 * free, true, 0}} {
		p = plan.Plan{}
		d := &draft{Plan: &p, room: a.Runbook, ask: Restore{Dir: a.dir}, size: c.size}
		if d.space(); p.Blocked() != c.blocked || len(p.Notes) != c.notes {
			t.Errorf("%d bytes of %d free: %v, %v", c.size, free, p.Blockers, p.Notes)
		}
	}
}

func TestWhatIsMeant(t *testing.T) {
	one := datastore.Snapshot{Namespace: "a", Type: "vm", ID: "101"}
	for text, want := range map[string]bool{"101": true, "home/101": true, "guest:home/101": true, "vm/101": true, "a/vm/101": true, "ct/101": false, "other/101": false, "10": false} {
		if means(text, "home", one) != want {
			t.Errorf("%s: %v", text, !want)
		}
	}
	for name, want := range map[string]bool{"erp_2026.dump": true, "erp-2026": true, "erp.sql": true, "erp": false, "erp2_x": false, "other_erp": false} {
		if isDumpOf(name, "erp") != want {
			t.Errorf("%s: %v", name, !want)
		}
	}
}
