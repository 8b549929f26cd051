package guest

import (
	"errors"
	"strings"
	"testing"
	"time"

	"cairn/internal/history"
	"cairn/internal/lab/pve"
	"cairn/internal/operation"
	"cairn/internal/plan"
	"cairn/internal/runbook/rehearse"
	"cairn/internal/runbook/step"
)

func TestARollbackAndItsUndo(t *testing.T) {
	for _, c := range []struct {
		name, disk, key, now, then string
		vmid                       int
	}{{"web", "scsi0", "memory", "1024", "512", 101}, {"dns", "rootfs", "cores", "2", "1", 102}} {
		t.Run(c.name, func(t *testing.T) {
			x := newSite(t)
			p := x.rollback(c.name, "before")
			if got := kinds(p); got != "snapshot rollback start check-rollback" {
				t.Fatalf("the steps are %s", got)
			}
			rehearse.Contains(t, "notes", rehearse.Notes(p), "stopped hard", "is started afterwards", "thin pool thin is", "its metadata 27 %", c.key+": "+c.now+", was "+c.then)
			rehearse.Contains(t, "loss", p.Loss, "since snapshot before")
			if n := x.count(""); n != 0 {
				t.Fatalf("planning changed something: %v", x.changes())
			}
			s := x.Run(p)
			rehearse.Want(t, s, operation.StepDone)
			g := x.pve.Guest(c.vmid)
			if g.Content[c.disk] != "old" || g.Config[c.key] != c.then || !g.Running || g.Config["parent"] != "before" || g.Config["lock"] != "" {
				t.Errorf("after the rollback: %+v", g)
			}
			for _, step := range s.Steps {
				if step.State != operation.StepDone {
					t.Errorf("step %s is %s: %s", step.ID, step.State, step.Text)
				}
			}
			back := x.undo(s)
			rehearse.Contains(t, "undo's notes", rehearse.Notes(back), "Safety copies of earlier operations", "cairn-before-"+s.ID())
			rehearse.Want(t, x.Run(back), operation.StepDone)
			if g := x.pve.Guest(c.vmid); g.Content[c.disk] != "new" || g.Config[c.key] != c.now || !g.Running {
				t.Errorf("after the undo: %+v", g)
			}
			for _, call := range x.changes() {
				if !strings.HasPrefix(call, "cairn@pve!act ") {
					t.Errorf("it did not act with the acting token: %s", call)
				}
			}
			if n := x.count("/rollback"); n != 2 {
				t.Errorf("%d rollbacks, want 2", n)
			}
		})
	}
}

func TestTheTrailAndTheMeasurements(t *testing.T) {
	x := newSite(t)
	p := x.rollback("web", "before")
	if p.Estimate.Basis() != "assumed" || p.Estimate.Median <= 0 {
		t.Errorf("the first estimate is %+v", p.Estimate)
	}
	s := x.Run(p)
	trail, err := x.Past.Trail(t.Context(), 10)
	if err != nil || len(trail) != 2 {
		t.Fatalf("trail %+v, %v", trail, err)
	}
	for i, result := range []string{"done", "started"} {
		e := trail[i]
		if e.Result != result || e.Who != "ana" || e.Origin != "192.0.2.7" || e.Why != "a bad upgrade" || e.What != "rollback" || e.Target != "guest:home/101" || e.Operation != s.ID() || e.At.IsZero() {
			t.Errorf("line %d of the trail: %+v", i, e)
		}
	}
	steps, err := x.Past.Steps(t.Context(), "", 100)
	if err != nil || len(steps) != 4 {
		t.Fatalf("measured %+v, %v", steps, err)
	}
	x.steps.Past = step.Measured(func() []history.Measurement { return steps })
	again := x.rollback("web", "later")
	if again.Estimate.Basis() != "measured" || again.Estimate.Median >= p.Estimate.Median {
		t.Errorf("the second estimate is %+v", again.Estimate)
	}
}

func TestNewerSnapshotsAreNamedAndNothingIsStopped(t *testing.T) {
	for name, storage := range map[string]string{"files": "tank", "chained": "chain"} {
		t.Run(name, func(t *testing.T) {
			x := newSite(t)
			p := x.rollback(name, "before")
			rehearse.Contains(t, "blockers", rehearse.Blockers(p), "snapshot later: storage "+storage+" rolls back to the newest snapshot only")
			rehearse.Contains(t, "notes", rehearse.Notes(p), "On "+storage+" other snapshots of the disks may exist that Proxmox VE does not show")
			if _, err := x.Store.Create(p, operation.Actor{}, time.Now()); err == nil {
				t.Error("a blocked plan became an operation")
			}
			if len(x.changes()) != 0 || !x.pve.Guest(x.guest(name).VMID).Running {
				t.Errorf("something was done: %v", x.changes())
			}
			// to the newest it goes, with a protected backup as safety copy
			newest := x.rollback(name, "later")
			if got := kinds(newest); got != "backup rollback start check-rollback" {
				t.Fatalf("the steps are %s, blockers %s", got, rehearse.Blockers(newest))
			}
			rehearse.Contains(t, "show", newest.Steps[0].Show, "remove=0", "protected=1")
			s := x.Run(newest)
			rehearse.Want(t, s, operation.StepDone)
			kept, err := x.pbs.List(pve.Place{Datastore: "usb"})
			if err != nil || len(kept) != 1 || !kept[0].Protected || !strings.Contains(kept[0].Notes, s.ID()) {
				t.Errorf("the safety copy is %+v, %v", kept, err)
			}
			if g := x.pve.Guest(x.guest(name).VMID); g.Content["scsi0"] != "newer" {
				t.Errorf("after it: %+v", g)
			}
			undo, err := x.Undo(t.Context(), s) // from the safety backup, beside
			if err != nil || undo.Operation != "restore" {
				t.Fatalf("the undo is %q, %v", undo.Summary, err)
			}
			rehearse.Contains(t, "undo", undo.Steps[0].Show, "archive=pbs-usb:backup/vm/")
		})
	}
}

func TestAHiddenSnapshotFailsInTheTaskAlone(t *testing.T) {
	x := newSite(t)
	x.pve.AddHiddenSnapshot(103, "autosnap_1")
	s := x.Run(x.rollback("files", "later"))
	rehearse.Want(t, s, operation.StepFailed)
	rehearse.Contains(t, "text", s.Text, "can't rollback, 'later' is not most recent snapshot on 'tank:vm-103-disk-0'")
	if g := x.pve.Guest(103); !g.Running || g.Content["scsi0"] != "new" {
		t.Errorf("the guest was touched: %+v", g)
	}
}

func revoke(role ...string) func(*pve.World) {
	return func(w *pve.World) {
		w.Roles["Less"] = role
		w.ACL[2].Role = "Less"
	}
}

func storage(id string, edit func(*pve.Storage)) func(*pve.World) {
	return func(w *pve.World) {
		for i := range w.Storages {
			if w.Storages[i].ID == id {
				edit(&w.Storages[i])
			}
		}
	}
}

func TestBlockers(t *testing.T) {
	without := func(id string) func(*pve.World) { return storage(id, func(s *pve.Storage) { s.Disable = true }) }
	for name, c := range map[string]struct {
		guest, snapshot string
		world           func(*pve.World)
		before          func(*site)
		want            []string
	}{
		"a lock":               {"web", "before", nil, func(x *site) { x.pve.SetLock(101, "backup") }, []string{"it is locked (backup)", "qm unlock 101 on node pve1"}},
		"a container's lock":   {"dns", "before", nil, func(x *site) { x.pve.SetLock(102, "rollback") }, []string{"it is locked (rollback)", "pct unlock 102"}},
		"an incomplete one":    {"half", "later", nil, nil, []string{"snapshot later: it is incomplete (snapstate delete)"}},
		"no such snapshot":     {"web", "nope", nil, nil, []string{"no such snapshot", "before, later"}},
		"a template":           {"golden", "before", nil, nil, []string{"it is a template"}},
		"HA":                   {"web", "before", func(w *pve.World) { w.HA = map[string]string{"vm:101": "started"} }, nil, []string{"the HA manager keeps it started", "ha-manager set vm:101"}},
		"a disk since":         {"grown", "before", nil, nil, []string{"disk scsi1: thin:vm-109-disk-1 was added after the snapshot"}},
		"a node down":          {"101", "before", func(w *pve.World) { w.Nodes[0], w.Nodes[1] = w.Nodes[1], w.Nodes[0]; w.Nodes[1].Offline = true }, nil, []string{"its node pve1 is offline"}},
		"no right to snapshot": {"web", "before", revoke("VM.Audit", "VM.PowerMgmt", "Datastore.Audit"), nil, []string{"lacks VM.Snapshot.Rollback on /vms/101", "lacks VM.Snapshot on /vms/101", "lacks VM.Backup on /vms/101"}},
		"no right to start":    {"web", "before", revoke("VM.Audit", "VM.Snapshot", "Datastore.Audit"), nil, []string{"lacks VM.PowerMgmt on /vms/101"}},
		"full data, no PBS": {"web", "before", func(w *pve.World) {
			storage("thin", func(s *pve.Storage) { s.Base = 95 << 30 })(w)
			without("pbs-usb")(w)
		}, nil, []string{"safety copy: no snapshot can be made (thin pool thin is 9", "(limit 90 %)", "no active PBS storage", "--without-safety-copy"}},
		"full metadata, PBS denied": {"web", "before", func(w *pve.World) {
			storage("thin", func(s *pve.Storage) { s.Meta = 900 << 20 })(w)
			revoke("VM.Audit", "VM.Snapshot", "VM.PowerMgmt", "VM.Backup", "Datastore.Audit")(w)
		}, nil, []string{"the metadata of thin pool thin is 90 % full (limit 80 %)", "lacks Datastore.AllocateSpace on /storage/pbs-usb"}},
	} {
		t.Run(name, func(t *testing.T) {
			var edits []func(*pve.World)
			if c.world != nil {
				edits = append(edits, c.world)
			}
			x := newSite(t, edits...)
			if c.before != nil {
				c.before(x)
			}
			p := x.rollback(c.guest, c.snapshot)
			rehearse.Contains(t, "blockers", rehearse.Blockers(p), c.want...)
			for _, b := range p.Blockers {
				if b.Subject == "" || b.Why == "" || b.Hint == "" {
					t.Errorf("a blocker without subject, reason or hint: %+v", b)
				}
			}
			if len(x.changes()) != 0 {
				t.Errorf("something was done: %v", x.changes())
			}
		})
	}
}

func TestAGuestUnderBackupIsBlocked(t *testing.T) {
	x := newSite(t)
	hold := x.pve.HoldTask("vzdump", "101", "data")
	defer hold.Release()
	id := x.Create(x.backup("web", true))
	ended := make(chan error, 1)
	go func() { ended <- x.Worker().Work(t.Context(), id) }()
	<-hold.Reached()
	rehearse.Contains(t, "blockers", rehearse.Blockers(x.rollback("web", "before")), "a task works on it: vzdump")
	hold.Release()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	rehearse.Want(t, x.Status(id), operation.StepDone)
}

// backup plans a backup of a guest; full makes its thin pool full first, so that
// it goes to PBS.
func (x *site) backup(name string, full bool) plan.Plan {
	x.T.Helper()
	if full {
		x.pve.EditStorage("thin", func(s *pve.Storage) { s.Base = 95 << 30 })
	}
	p, err := x.Backup(x.T.Context(), x.guest(name))
	if err != nil {
		x.T.Fatal(err)
	}
	return p
}

func TestAFullPoolIsBackedUpInstead(t *testing.T) {
	for name, edit := range map[string]func(*pve.Storage){
		"data": func(s *pve.Storage) { s.Base = 95 << 30 }, "metadata": func(s *pve.Storage) { s.Meta = 900 << 20 },
	} {
		t.Run(name, func(t *testing.T) {
			x := newSite(t, storage("thin", edit))
			p := x.rollback("web", "before")
			if kinds(p) != "backup rollback start check-rollback" {
				t.Fatalf("the steps are %s: %s", kinds(p), rehearse.Blockers(p))
			}
			rehearse.Contains(t, "notes", rehearse.Notes(p), "storage pbs-usb has 1", "takes at most 4.0 GiB")
			rehearse.Want(t, x.Run(p), operation.StepDone)
			if kept, _ := x.pbs.List(pve.Place{Datastore: "usb"}); len(kept) != 1 || !kept[0].Protected {
				t.Errorf("the safety copy is %+v", kept)
			}
		})
	}
}

func TestWithoutASafetyCopyThereIsAReason(t *testing.T) {
	x := newSite(t, storage("thin", func(s *pve.Storage) { s.Base = 95 << 30 }), storage("pbs-usb", func(s *pve.Storage) { s.Disable = true }))
	p := x.rollback("web", "before", func(r *RollbackRequest) { r.Unsafe, r.Why = true, "the disk is full" })
	if kinds(p) != "rollback start check-rollback" || p.WayBack != "" {
		t.Fatalf("the steps are %s, way back %q", kinds(p), p.WayBack)
	}
	rehearse.Contains(t, "notes", rehearse.Notes(p), "No safety copy is made, because: the disk is full")
	s := x.Run(p)
	rehearse.Want(t, s, operation.StepDone)
	if _, err := x.Undo(t.Context(), s); err == nil || !strings.Contains(err.Error(), "cannot be undone") {
		t.Errorf("the undo says %v", err)
	}
}

func TestMemoryAndRest(t *testing.T) {
	x := newSite(t)
	for _, c := range []struct {
		guest, steps, note string
		vmid               int
		leave, runs        bool
	}{
		{"ram", "snapshot rollback check-rollback", "goes on running from that moment", 105, false, true},
		{"ram", "snapshot rollback check-rollback", "cannot be left stopped", 105, true, true},
		{"parked", "snapshot rollback check-rollback", "stays stopped", 106, false, false},
		{"web", "snapshot rollback check-rollback", "stays stopped", 101, true, false},
	} {
		p := x.rollback(c.guest, "before", func(r *RollbackRequest) { r.LeaveStill = c.leave })
		if kinds(p) != c.steps {
			t.Errorf("%s: the steps are %s", c.guest, kinds(p))
		}
		rehearse.Contains(t, c.guest, rehearse.Notes(p), c.note)
		s := x.Run(p)
		rehearse.Want(t, s, operation.StepDone)
		if last := s.Steps[len(s.Steps)-1]; last.State != operation.StepDone {
			t.Errorf("%s: the check says %s: %s", c.guest, last.State, last.Text)
		}
		if g := x.pve.Guest(c.vmid); g.Running != c.runs || g.Content["scsi0"] != "old" {
			t.Errorf("%s: %+v", c.guest, g)
		}
	}
}

func TestFailingTasks(t *testing.T) {
	for name, c := range map[string]struct {
		fail  func(*site)
		state operation.State
		text  []string
		disk  string
	}{
		"the start fails": {func(x *site) { x.pve.FailTask("qmstart", "101", "begin", "start failed: no memory", 1) }, operation.StepFailed, []string{"start failed: no memory"}, "old"},
		"the safety copy": {func(x *site) { x.pve.FailTask("qmsnapshot", "101", "data", "lvcreate failed", 1) }, operation.StepFailed, []string{"safety copy", "lvcreate failed"}, "new"},
		"a lock is left": {func(x *site) { x.pve.FailTask("qmrollback", "101", "data", "lvremove failed", 1) }, operation.StepFailed,
			[]string{"lvremove failed", "left locked (rollback)", "qm unlock 101 on node pve1"}, "new"},
		"data is lost": {func(x *site) { _ = x.pve.LoseSnapshotData(101, "before") }, operation.StepFailed, []string{"left locked"}, "new"},
		"no quorum":    {func(x *site) { x.pve.Quorum(false) }, operation.StepFailed, []string{"Permission denied"}, "new"},
		"warnings":     {func(x *site) { x.pve.WarnTask("qmrollback", "101", "commit", "something is odd", 2) }, operation.StepDone, nil, "old"},
	} {
		t.Run(name, func(t *testing.T) {
			x := newSite(t)
			p := x.rollback("web", "before")
			c.fail(x)
			s := x.Run(p)
			rehearse.Want(t, s, c.state)
			rehearse.Contains(t, "text", s.Text, c.text...)
			if g := x.pve.Guest(101); g.Content["scsi0"] != c.disk {
				t.Errorf("the disk holds %q", g.Content["scsi0"])
			}
			if name == "warnings" && (s.Steps[1].State != operation.StepWarned || s.Steps[1].Text != "WARNINGS: 1") {
				t.Errorf("the step is %+v", s.Steps[1])
			}
			if x.count("/rollback") > 1 {
				t.Errorf("rolled back twice: %v", x.changes())
			}
		})
	}
}

func TestAChangedTargetIsRefused(t *testing.T) {
	for name, change := range map[string]func(*site){
		"its configuration": func(x *site) { x.pve.EditGuest(101, func(g *pve.Guest) { g.Config["memory"] = "2048" }) },
		"it was stopped":    func(x *site) { x.pve.EditGuest(101, func(g *pve.Guest) { g.Running = false }) },
		"its name":          func(x *site) { x.pve.EditGuest(101, func(g *pve.Guest) { g.Config["name"] = "other" }) },
		"it was locked":     func(x *site) { x.pve.SetLock(101, "migrate") },
	} {
		t.Run(name, func(t *testing.T) {
			x := newSite(t)
			id := x.Create(x.rollback("web", "before"))
			change(x)
			if err := x.Worker().Work(t.Context(), id); !errors.Is(err, operation.ErrRefused) {
				t.Errorf("it says %v", err)
			}
			rehearse.Want(t, x.Status(id), operation.WasRefused)
			if len(x.changes()) != 0 {
				t.Errorf("something was done: %v", x.changes())
			}
		})
	}
}

// TestTheGuestIsReadAgainRightBeforeTheCall: between the safety copy and the
// rollback the VMID becomes another guest's.
func TestTheGuestIsReadAgainRightBeforeTheCall(t *testing.T) {
	x := newSite(t)
	id := x.Create(x.rollback("web", "before"))
	hold := x.pve.HoldTask("qmsnapshot", "101", "commit")
	ended := make(chan error, 1)
	go func() { ended <- x.Worker().Work(t.Context(), id) }()
	<-hold.Reached()
	x.pve.EditGuest(101, func(g *pve.Guest) { g.Config["name"] = "other" })
	hold.Release()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	s := x.Status(id)
	rehearse.Want(t, s, operation.StepFailed)
	rehearse.Contains(t, "text", s.Text, `guest 101 is called "other" now, not "web"`, "nothing was done")
	if x.count("/rollback") != 0 {
		t.Errorf("it was rolled back: %v", x.changes())
	}
}

func TestWhatTheTokenMayNotSeeIsSaid(t *testing.T) {
	x := newSite(t, func(w *pve.World) {
		w.Roles["Blind"] = []string{"VM.Audit", "Datastore.Audit"}
		w.ACL[1].Role = "Blind"
	})
	p := x.rollback("web", "before")
	rehearse.Contains(t, "notes", rehearse.Notes(p), "lacks Sys.Audit on /nodes/pve1: tasks of others", "metadata of thin pool thin is could not be read")
	if p.Blocked() {
		t.Errorf("blocked: %s", rehearse.Blockers(p))
	}
}

func TestTheSameStateHasTheSameHash(t *testing.T) {
	x := newSite(t)
	hash := func() string {
		h, err := x.rollback("web", "before").Hash()
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	first := hash()
	if second := hash(); second != first {
		t.Errorf("%s, then %s", first, second)
	}
	x.pve.EditGuest(101, func(g *pve.Guest) { g.Config["memory"] = "2048" })
	if third := hash(); third == first {
		t.Error("the hash did not change with the guest")
	}
}
