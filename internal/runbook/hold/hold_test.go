package hold

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"cairn/internal/history"
	labpbs "cairn/internal/lab/pbs"
	"cairn/internal/lab/pve"
	"cairn/internal/operation"
	"cairn/internal/plan"
	"cairn/internal/runbook/rehearse"
	"cairn/internal/runbook/step"
	"cairn/internal/secret"
	"cairn/pbs"
	"cairn/proxmox"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// servers are a cluster and a backup server, and the room that holds what they do.
type servers struct {
	*Runbook
	*rehearse.Stage
	pve *pve.Server
}

func TestEveryKindHasAnAssumption(t *testing.T) {
	rehearse.Assumed(t, &Runbook{}, assumptions)
}

// everything that a token may be given on a backup server to hold all of its jobs.
var mayHoldAll = []labpbs.Grant{{Path: "/datastore/usb", Role: "DatastoreAdmin"}, {Path: "/remote", Role: "RemoteSyncOperator"}, {Path: "/remote/cloud", Role: "RemoteSyncPushOperator"}}

// withBackupServer gives x a backup server with jobs of every kind, and a backup job
// of the cluster for each way in which it may prune; an incident is open.
func withBackupServer(t *testing.T, grants []labpbs.Grant) (*servers, *labpbs.Server) {
	t.Helper()
	server, err := labpbs.Start(labpbs.World{
		Users: []labpbs.User{{ID: "cairn@pbs", ACL: []labpbs.Grant{{Path: "/", Role: "Admin"}}}},
		Tokens: []labpbs.Token{
			{ID: "cairn@pbs!read", Secret: "r", ACL: []labpbs.Grant{{Path: "/datastore", Role: "DatastoreAudit"}, {Path: "/remote", Role: "RemoteAudit"}}},
			{ID: "cairn@pbs!act", Secret: "a", ACL: grants},
		},
		Datastores: []*labpbs.Datastore{{Name: "usb", Mount: labpbs.Mounted, Total: 100, Namespaces: []string{"lab"}, GC: labpbs.GC{Schedule: "sat 04:00"}}},
		Jobs: []*labpbs.Job{
			{Kind: labpbs.Prune, ID: "p1", Store: "usb", NS: "lab", Schedule: "02:00", Comment: "ours", Keep: map[string]int{"keep-daily": 5}},
			{Kind: labpbs.Prune, ID: "off", Store: "usb", Schedule: "02:00", Disable: true},
			{Kind: labpbs.Sync, ID: "in", Store: "usb", Remote: "far", RemoteStore: "x", Schedule: "hourly", RemoveVanished: true, RunOnMount: true},
			{Kind: labpbs.Sync, ID: "out", Store: "usb", Remote: "cloud", RemoteStore: "x", Schedule: "daily", Direction: "push"},
			{Kind: labpbs.Verify, ID: "v1", Store: "usb", Schedule: "daily"},
			{Kind: labpbs.Prune, ID: "other", Store: "elsewhere", Schedule: "02:00"},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	cluster, err := pve.Start(pve.World{
		Cluster: "home", Nodes: []pve.Node{{Name: "pve1"}},
		Users:    []pve.User{{ID: "cairn@pve", Tokens: []pve.Token{{Name: "read", Secret: "r", Privsep: true}, {Name: "act", Secret: "a", Privsep: true}}}},
		Roles:    map[string][]string{"Act": {"Sys.Modify"}},
		ACL:      []pve.ACL{{Path: "/", Who: "cairn@pve", Role: "Administrator"}, {Path: "/", Who: "cairn@pve!read", Role: "PVEAuditor"}, {Path: "/", Who: "cairn@pve!act", Role: "Act"}},
		Storages: []pve.Storage{{ID: "pbs-usb", Type: "pbs", Shared: true, Content: []string{"backup"}, Server: "nas", Datastore: "usb", Store: pve.NewMemoryStore(1 << 40), Prune: "keep-last=9"}},
		Jobs: []pve.Job{
			{"id": "own", "enabled": "1", "all": "1", "schedule": "21:00", "storage": "pbs-usb", "prune-backups": "keep-last=3,keep-daily=7"},
			{"id": "stores", "enabled": "1", "vmid": "101", "schedule": "22:00", "storage": "pbs-usb"},
			{"id": "keeps", "enabled": "1", "vmid": "102", "schedule": "22:00", "storage": "pbs-usb", "prune-backups": "keep-all=1"},
			{"id": "removes-none", "enabled": "1", "vmid": "102", "schedule": "22:00", "storage": "pbs-usb", "remove": "0"},
			{"id": "asleep", "enabled": "0", "vmid": "102", "schedule": "22:00", "storage": "pbs-usb", "prune-backups": "keep-last=1"},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Stop)
	typed := secret.Reader{Getenv: strings.ToLower}
	cfg := pbs.Config{URL: server.URL(), Fingerprint: server.Fingerprint(), TokenID: "cairn@pbs!read", TokenSecret: secret.Source{Env: "R"},
		Act: &actingToken, Datastore: "usb", Namespaces: []string{"", "lab/**"}, ProxmoxStorages: []string{"home/pbs-usb"}}
	backups := pbs.New("nas", cfg, typed)
	t.Cleanup(func() { _ = backups.Close() })
	guests := proxmox.New("home", proxmox.Config{URLs: []string{cluster.URL()}, Fingerprints: []string{cluster.Fingerprint()}, TokenID: "cairn@pve!read", TokenSecret: secret.Source{Env: "R"},
		Act: &proxmox.Token{TokenID: "cairn@pve!act", TokenSecret: secret.Source{Env: "A"}}}, typed)
	t.Cleanup(guests.Close)
	room := New(Config{PBS: map[string]pbs.Config{"nas": cfg}}, map[string]*proxmox.Client{"home": guests}, map[string]*pbs.Client{"nas": backups}, nil, time.Now)
	x := &servers{Runbook: room, Stage: rehearse.NewStage(t, t.TempDir(), room), pve: cluster}
	x.Keep(x.Past)
	if _, err := x.Past.OpenIncident(t.Context(), history.Incident{What: "odd files", Who: "ana", Opened: time.Now()}); err != nil {
		t.Fatal(err)
	}
	return x, server
}

var actingToken = pbs.Token{TokenID: "cairn@pbs!act", TokenSecret: secret.Source{Env: "A"}}

// standing is all that the two servers are configured to do by themselves.
func standing(x *servers, server *labpbs.Server) string {
	var text []string
	server.Change(func(w *labpbs.World) {
		for _, j := range w.Jobs {
			one := *j
			one.NextRun = 0
			text = append(text, fmt.Sprintf("%+v", one))
		}
		text = append(text, "gc "+w.Datastores[0].GC.Schedule)
	})
	for _, id := range []string{"own", "stores", "keeps", "removes-none", "asleep"} {
		j := x.pve.Job(id)
		parts := strings.Split(j["prune-backups"], ",")
		slices.Sort(parts)
		text = append(text, id+" "+strings.Join(parts, ",")+" enabled="+j["enabled"])
	}
	return strings.Join(text, "\n")
}

// quiet says what still runs by itself.
func (x *servers) stillRuns() string {
	var all []string
	for _, server := range x.holdable() {
		k, err := x.keeper(server)
		if err != nil {
			x.T.Fatal(err)
		}
		found, _, _, err := k.settings(x.T.Context())
		if err != nil {
			x.T.Fatal(err)
		}
		for _, s := range found {
			all = append(all, s.Says)
		}
	}
	return strings.Join(all, ", ")
}

func (x *servers) undo(s operation.Status) plan.Plan {
	x.T.Helper()
	p, _, err := x.Undo(x.T.Context(), s)
	rehearse.Must(x.T, err)
	return p
}

func (x *servers) holdServers(only ...string) plan.Plan {
	x.T.Helper()
	p, err := x.Hold(x.T.Context(), only)
	if err != nil {
		x.T.Fatal(err)
	}
	return p
}

func (x *servers) releaseServers(only ...string) plan.Plan {
	x.T.Helper()
	p, err := x.Release(x.T.Context(), only)
	if err != nil {
		x.T.Fatal(err)
	}
	return p
}

func (x *servers) heldNow() int {
	x.T.Helper()
	all, err := x.Held(x.T.Context())
	if err != nil {
		x.T.Fatal(err)
	}
	return len(all)
}

// TestTheServersAreHeldAndReleased: all that takes copies away by itself, and nothing
// else; afterwards it is exactly as it was.
func TestTheServersAreHeldAndReleased(t *testing.T) {
	x, server := withBackupServer(t, mayHoldAll)
	before := standing(x, server)
	p := x.holdServers()
	if len(p.Steps) != 8 {
		t.Fatalf("%d steps: %+v", len(p.Steps), p.Steps)
	}
	shows := ""
	for _, s := range p.Steps {
		shows += s.Title + " · " + s.Show + "\n"
	}
	rehearse.Contains(t, "the plan", shows, "PUT /config/prune/p1 disable=true", "PUT /config/sync/in delete=schedule", "PUT /config/sync/out delete=schedule", "PUT /config/datastore/usb delete=gc-schedule",
		"PUT /cluster/backup/own prune-backups=keep-all=1", "by its own keep-daily=7,keep-last=3", "by storage pbs-usb's keep-last=9", "sync job in with far:x (hourly, and when the disk is mounted)")
	rehearse.Contains(t, "the notes", rehearse.Notes(p), "fill up")
	s := x.Run(p)
	rehearse.Want(t, s, operation.StepDone)
	if s.Outcome() != operation.StepDone {
		t.Errorf("%+v", s.Steps)
	}
	if left := x.stillRuns(); left != "" || x.heldNow() != 6 {
		t.Errorf("it still runs: %s; %d are held", left, x.heldNow())
	}
	held := standing(x, server)
	server.Change(func(w *labpbs.World) {
		if in := w.Jobs[2]; in.Schedule != "" || in.RunOnMount || !in.RemoveVanished || in.Remote != "far" {
			t.Errorf("the sync job: %+v", in)
		}
	})
	if again := x.holdServers(); !again.Blocked() || !strings.Contains(rehearse.Blockers(again), "6 settings are held already") {
		t.Errorf("held again: %s", rehearse.Blockers(again))
	}

	p = x.releaseServers()
	if !p.Loses || len(p.Steps) != 6 {
		t.Errorf("the release: %+v", p)
	}
	rehearse.Contains(t, "the release", rehearse.Notes(p), "Incident 1 is still open")
	rehearse.Want(t, x.Run(p), operation.StepDone)
	if now := standing(x, server); now != before || now == held || x.heldNow() != 0 {
		t.Errorf("released:\n%s\nbefore:\n%s\nheld: %d", now, before, x.heldNow())
	}
	if p := x.releaseServers(); !p.Blocked() {
		t.Error("there is nothing to release")
	}
}

// TestAHoldIsTakenBackByItsOwnPlan even where the history is gone, one server alone
// can be held, and without an incident nothing is.
func TestAHoldIsTakenBackByItsOwnPlan(t *testing.T) {
	x, server := withBackupServer(t, mayHoldAll)
	before := standing(x, server)
	s := x.Run(x.holdServers("nas"))
	rehearse.Want(t, s, operation.StepDone)
	if left := x.stillRuns(); !strings.Contains(left, "backup job own") || strings.Contains(left, "prune job") {
		t.Errorf("it still runs: %s", left)
	}
	x.Keep(nil)
	rehearse.Want(t, x.Run(x.undo(s)), operation.StepDone)
	if now := standing(x, server); now != before {
		t.Errorf("undone:\n%s\nbefore:\n%s", now, before)
	}
	if p := x.holdServers(); !strings.Contains(rehearse.Blockers(p), "no history is kept") {
		t.Error(rehearse.Blockers(p))
	}
	x.Keep(x.Past)
	if _, err := x.Hold(t.Context(), []string{"nobody"}); err == nil {
		t.Error("a server that is none")
	}
	_, err := x.Past.ChangeIncident(t.Context(), func(i *history.Incident) error { i.Closed = time.Now(); return nil })
	if err != nil {
		t.Fatal(err)
	}
	if p := x.holdServers(); !strings.Contains(rehearse.Blockers(p), "none is open") {
		t.Error(rehearse.Blockers(p))
	}
}

// TestAHoldThatMayNot: what the acting token lacks is said before anything is done.
func TestAHoldThatMayNot(t *testing.T) {
	for name, c := range map[string]struct {
		grants []labpbs.Grant
		says   []string
	}{
		"nothing":          {nil, []string{"lacks Datastore.Modify on /datastore/usb/lab", "prune job p1", "lacks Datastore.Modify on /datastore/usb,", "garbage collection of usb", "lacks Remote.Read on /remote/far/x", "lacks Remote.DatastoreBackup on /remote/cloud/x"}},
		"no remotes":       {mayHoldAll[:1], []string{"lacks Remote.Read on /remote/far/x", "lacks Remote.DatastoreBackup on /remote/cloud/x"}},
		"no pruning":       {[]labpbs.Grant{{Path: "/datastore/usb", Role: "DatastoreBackup"}, mayHoldAll[1], mayHoldAll[2]}, []string{"lacks Datastore.Prune on /datastore/usb", "lacks Datastore.Modify on /datastore/usb/lab"}},
		"another store's":  {[]labpbs.Grant{{Path: "/datastore/elsewhere", Role: "DatastoreAdmin"}}, []string{"lacks Datastore.Modify on /datastore/usb/lab"}},
		"only a namespace": {append([]labpbs.Grant{{Path: "/datastore/usb/lab", Role: "DatastoreAdmin"}}, mayHoldAll[1:]...), []string{"garbage collection of usb"}},
	} {
		t.Run(name, func(t *testing.T) {
			x, server := withBackupServer(t, c.grants)
			before := standing(x, server)
			p := x.holdServers("pbs.nas")
			rehearse.Contains(t, "the blockers", rehearse.Blockers(p), c.says...)
			rehearse.Contains(t, "the blockers", rehearse.Blockers(p), "acl update")
			if _, err := x.Store.Create(p, operation.Actor{}, time.Now()); err == nil || standing(x, server) != before {
				t.Error("it was begun")
			}
			rehearse.Want(t, x.Run(x.holdServers("home")), operation.StepDone) // the others go alone
		})
	}
}

// TestWhatChangesWhileItIsHeld: a job that is changed between plan and call is left
// alone, one that is gone is said, and what somebody set meanwhile is theirs.
func TestWhatChangesWhileItIsHeld(t *testing.T) {
	x, server := withBackupServer(t, mayHoldAll)
	p := x.holdServers()
	server.Change(func(w *labpbs.World) { w.Jobs[2].Schedule = "daily" })
	id := x.Create(p)
	if err := x.Worker().Work(t.Context(), id); !errors.Is(err, operation.ErrRefused) {
		t.Errorf("the plan of another state: %v", err)
	}
	server.Change(func(w *labpbs.World) { w.Jobs[2].Schedule = "hourly" })

	// between the look and the call: the server itself refuses, by the digest
	k, err := x.keeper("pbs.nas")
	if err != nil {
		t.Fatal(err)
	}
	c := x.servers["nas"]
	now, digest, err := c.Standing(t.Context(), pbs.PruneJob, "p1")
	if err != nil || digest == "" {
		t.Fatal(digest, err)
	}
	server.Change(func(w *labpbs.World) { w.Jobs[0].Comment = "theirs" })
	if err := c.SetStanding(t.Context(), now, now.Held(), digest); err == nil || !strings.Contains(err.Error(), "detected modified configuration") {
		t.Errorf("with an old digest: %v", err)
	}
	if err := k.write(t.Context(), "prune", "p1", "something else", encoded(now.Held())); err == nil {
		t.Error("it was not what it was")
	}

	rehearse.Want(t, x.Run(x.holdServers()), operation.StepDone)
	server.Change(func(w *labpbs.World) {
		w.Jobs[2].Schedule = "weekly"                                                        // somebody's
		w.Jobs = slices.DeleteFunc(w.Jobs, func(j *labpbs.Job) bool { return j.ID == "p1" }) // gone
		w.Datastores[0].GC.Schedule = "sat 04:00"                                            // as it was
	})
	r := x.releaseServers()
	rehearse.Contains(t, "the release", rehearse.Notes(r), "prune job p1 (02:00) of pbs.nas is there no more", "sync job in with far:x (hourly, and when the disk is mounted) of pbs.nas was changed by somebody", "garbage collection of usb (sat 04:00) of pbs.nas is as it was already")
	s := x.Run(r)
	rehearse.Want(t, s, operation.StepDone)
	if s.Outcome() != operation.StepWarned || x.heldNow() != 0 {
		t.Errorf("%s, %d held: %+v", s.Outcome(), x.heldNow(), s.Steps)
	}
	server.Change(func(w *labpbs.World) {
		for _, j := range w.Jobs {
			if j.ID == "in" && (j.Schedule != "weekly" || j.RunOnMount) {
				t.Errorf("what somebody set was changed: %+v", j)
			}
		}
	})
}

// TestAServerThatDoesNotAnswer holds up none of the others, and a release waits for it.
func TestAServerThatDoesNotAnswer(t *testing.T) {
	x, server := withBackupServer(t, mayHoldAll)
	before := standing(x, server)
	if err := server.Refuse(true); err != nil {
		t.Fatal(err)
	}
	p := x.holdServers()
	rehearse.Contains(t, "the notes", rehearse.Notes(p), "pbs.nas does not answer")
	rehearse.Want(t, x.Run(p), operation.StepDone)
	if err := server.Refuse(false); err != nil {
		t.Fatal(err)
	}
	// its own answer is lost, though it did as it was asked
	server.Fault("PUT /api2/json/config/prune/p1", labpbs.Fault{Cut: true, Times: 1})
	rehearse.Want(t, x.Run(x.holdServers()), operation.StepDone)
	server.Clear()
	if err := server.Refuse(true); err != nil {
		t.Fatal(err)
	}
	if p := x.releaseServers(); !strings.Contains(rehearse.Blockers(p), "incident release NAME") {
		t.Error(rehearse.Blockers(p))
	}
	rehearse.Want(t, x.Run(x.releaseServers("home")), operation.StepDone)
	if err := server.Refuse(false); err != nil {
		t.Fatal(err)
	}
	rehearse.Want(t, x.Run(x.releaseServers()), operation.StepDone)
	if now := standing(x, server); now != before {
		t.Errorf("released:\n%s\nbefore:\n%s", now, before)
	}
}

// TestACallThatIsRefusedHoldsNothing: what is remembered is what is so.
func TestACallThatIsRefusedHoldsNothing(t *testing.T) {
	x, server := withBackupServer(t, mayHoldAll)
	before := standing(x, server)
	p := x.holdServers("nas")
	server.Change(func(w *labpbs.World) { w.Tokens[1].ACL = nil })
	s := x.Run(p)
	rehearse.Want(t, s, operation.StepFailed)
	rehearse.Contains(t, "why", s.Text, "permission check failed")
	if n := x.heldNow(); n != 0 || standing(x, server) != before {
		t.Errorf("%d are held:\n%s", n, standing(x, server))
	}
}

// TestWhatIsHeldTwiceComesBackAsItWasLast: what somebody set while it was held, and what
// was then held anew, is what a release sets; the undo of the first hold leaves it. Only
// a worker that goes on after its call keeps what was noted before it.
func TestWhatIsHeldTwiceComesBackAsItWasLast(t *testing.T) {
	x, server := withBackupServer(t, mayHoldAll)
	first := x.Run(x.holdServers())
	rehearse.Want(t, first, operation.StepDone)
	_, err := x.pve.Root("PUT", "/cluster/backup/own", map[string]string{"prune-backups": "keep-daily=90"})
	rehearse.Must(t, err)
	server.Change(func(w *labpbs.World) { w.Datastores[0].GC.Schedule = "sun 05:00" })
	second := x.holdServers()
	rehearse.Want(t, x.Run(second), operation.StepDone)

	undo := x.undo(first)
	rehearse.Contains(t, "the undo of the first", rehearse.Notes(undo), "stays held: what backup job own", "stays held: garbage collection of usb")
	if len(undo.Steps) != 4 {
		t.Errorf("the undo of the first has %d steps: %+v", len(undo.Steps), undo.Steps)
	}
	again, err := step.Args[heldArgs](second.Steps[slices.IndexFunc(second.Steps, func(s plan.Step) bool { return strings.Contains(s.Title, "backup job own") })])
	rehearse.Must(t, err)
	k, err := x.keeper(again.Server)
	rehearse.Must(t, err)
	if _, err := x.holdServer(t.Context(), k, again, "resumed"); err != nil {
		t.Fatal(err)
	}
	rehearse.Want(t, x.Run(x.releaseServers()), operation.StepDone)
	now := standing(x, server)
	rehearse.Contains(t, "released", now, "own keep-daily=90", "gc sun 05:00")
	if n := x.heldNow(); n != 0 {
		t.Errorf("%d are held", n)
	}
}

// TestAServerThatLeftTheConfiguration is forgotten by its name too, says what to set by
// hand, and keeps none of the others held.
func TestAServerThatLeftTheConfiguration(t *testing.T) {
	x, server := withBackupServer(t, mayHoldAll)
	rehearse.Want(t, x.Run(x.holdServers()), operation.StepDone)
	held := standing(x, server)
	delete(x.servers, "nas")
	if _, err := x.Hold(t.Context(), []string{"nas"}); err == nil {
		t.Error("a server that is not configured cannot be held")
	}
	if p := x.releaseServers("nas"); p.Blocked() || len(p.Steps) != 4 || !strings.Contains(rehearse.Notes(p), "pbs.nas is not configured any more") {
		t.Errorf("by its name: %+v", p)
	}
	p := x.releaseServers()
	rehearse.Contains(t, "the release", rehearse.Notes(p), "set by hand what it was, PUT /config/prune/p1", "PUT /config/datastore/usb gc-schedule=")
	s := x.Run(p)
	rehearse.Want(t, s, operation.StepDone)
	if s.Outcome() != operation.StepWarned || x.heldNow() != 0 {
		t.Errorf("%s, %d held: %+v", s.Outcome(), x.heldNow(), s.Steps)
	}
	now := standing(x, server)
	if before, _, _ := strings.Cut(held, "gc "); !strings.HasPrefix(now, before) || !strings.Contains(now, "own keep-daily=7,keep-last=3") {
		t.Errorf("now:\n%s\nheld:\n%s", now, held)
	}
}
