package pbs

import (
	"errors"
	"strings"
	"testing"

	lab "cairn/internal/lab/pbs"
)

// What a job is told to be is what it is then, whatever else stands in its
// configuration; what is gone is told from what may not be read.
func TestStandingsOnTheLab(t *testing.T) {
	w := labWorld()
	w.Datastores[0].GC.Schedule = "daily"
	w.Jobs[0].RunOnMount, w.Jobs[0].RemoveVanished, w.Jobs[0].Comment = true, true, "ours"
	server, cfg := startLab(t, w)
	cfg.Act.TokenID = "cairn@pbs!all"
	server.Change(func(w *lab.World) {
		w.Tokens = append(w.Tokens, lab.Token{ID: "cairn@pbs!all", Secret: actSecret, ACL: []lab.Grant{{Path: "/", Role: "Admin"}}})
	})
	c := newClient(t, cfg)
	jobs, err := c.OwnWork(t.Context())
	if err != nil || len(jobs) != 4 {
		t.Fatal(jobs, err)
	}
	if missing, err := c.Missing(t.Context(), jobs); err != nil || len(missing) != 0 {
		t.Error(missing, err)
	}
	for _, j := range jobs {
		was, digest, err := c.Standing(t.Context(), j.Kind, j.ID)
		if err != nil || was != j.Standing() || !was.Runs() || was.Held().Runs() || len(digest) != 64 {
			t.Fatalf("%+v stands as %+v (%q), %v", j, was, digest, err)
		}
		if err := c.SetStanding(t.Context(), was, was.Held(), digest); err != nil {
			t.Fatal(err)
		}
		held, digest, err := c.Standing(t.Context(), j.Kind, j.ID)
		if err != nil || held != was.Held() {
			t.Errorf("held as %+v, %v", held, err)
		}
		if err := c.SetStanding(t.Context(), held, was, strings.Repeat("0", 64)); err == nil || !strings.Contains(err.Error(), "file changed by other user") {
			t.Errorf("with a wrong digest: %v", err)
		}
		if err := c.SetStanding(t.Context(), held, was, digest); err != nil {
			t.Fatal(err)
		}
		if now, _, err := c.Standing(t.Context(), j.Kind, j.ID); err != nil || now != was {
			t.Errorf("back as %+v, %v", now, err)
		}
	}
	server.Change(func(w *lab.World) {
		if j := w.Jobs[0]; j.Schedule != "hourly" || !j.RunOnMount || !j.RemoveVanished || j.Comment != "ours" || j.Remote != "far" {
			t.Errorf("the sync job: %+v", j)
		}
		if j := w.Jobs[2]; j.Disable || j.Schedule != "daily" || j.Keep["keep-daily"] != 5 {
			t.Errorf("the prune job: %+v", j)
		}
		w.Jobs = w.Jobs[1:]
	})
	if _, _, err := c.Standing(t.Context(), SyncJob, "pull1"); !errors.Is(err, ErrNoJob) {
		t.Errorf("a job that is gone: %v", err)
	}
	if _, _, err := c.Standing(t.Context(), PruneJob, "p1"); err != nil {
		t.Errorf("one that is there: %v", err)
	}
	server.Fault("GET .*/config/prune/p1", lab.Fault{Status: 400, Body: "permission check failed"})
	if _, _, err := c.Standing(t.Context(), PruneJob, "p1"); err == nil || errors.Is(err, ErrNoJob) {
		t.Errorf("one that may not be read: %v", err)
	}
}

func TestWhatHoldingTakes(t *testing.T) {
	_, cfg := startLab(t, labWorld())
	c := newClient(t, cfg) // its acting token may do all with datastores, and nothing with remotes
	jobs, err := c.OwnWork(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	missing, err := c.Missing(t.Context(), jobs)
	var lacks []string
	for _, n := range missing {
		lacks = append(lacks, n.Job.ID+" "+n.Privilege+" on "+n.Path)
	}
	if got, want := strings.Join(lacks, ", "), "pull1 Remote.Read on /remote/far/x, push1 Remote.DatastoreBackup on /remote/far/x"; err != nil || got != want {
		t.Errorf("%s, %v; want %s", got, err, want)
	}
	now, digest, err := c.Standing(t.Context(), SyncJob, "pull1")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.SetStanding(t.Context(), now, now.Held(), digest); err == nil || !strings.Contains(err.Error(), "permission check failed") {
		t.Errorf("without the privilege: %v", err)
	}
	cfg.TokenID = "cairn@pbs!plain" // it sees no remote, so it cannot tell which syncs there are
	if _, err := newClient(t, cfg).OwnWork(t.Context()); err == nil || !strings.Contains(err.Error(), "Remote.Audit on /remote") {
		t.Errorf("a list that may not be whole: %v", err)
	}
}

func FuzzStanding(f *testing.F) {
	for _, seed := range []string{`{"data":{"id":"p1","store":"usb","schedule":"daily","disable":true},"digest":"ab"}`, `{"data":{"gc-schedule":7,"disable":"1","run-on-mount":null},"digest":12}`,
		`{"data":null}`, `{"data":[]}`, `[]`, `{`, ``, `{"data":{"schedule":{"a":1}}}`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, kind := range []JobKind{PruneJob, SyncJob, GCJob} {
			s, _, err := readStanding(kind, "x", strings.NewReader(text))
			if err == nil && (s.Kind != kind || s.ID != "x" || s.Held().Runs()) {
				t.Errorf("%q: %+v", text, s)
			}
		}
	})
}
