package guest

import (
	"context"
	"regexp"
	"strings"
	"testing"
	"time"

	"cairn/internal/lab/pve"
	"cairn/internal/operation"
	"cairn/internal/runbook/rehearse"
	"cairn/internal/testkit"
)

var rollbackCall = regexp.MustCompile(`^POST .*/snapshot/before/rollback`)

// TestAnAnswerThatNeverCame: the call may have been carried out or not; it is
// looked for, and never made a second time.
func TestAnAnswerThatNeverCame(t *testing.T) {
	for name, c := range map[string]struct {
		fault pve.Fault
		state operation.State
		disk  string
		text  string
	}{
		"carried out, the answer cut off":  {pve.Fault{CutAfter: 3}, operation.StepDone, "old", ""},
		"carried out, the answer nonsense": {pve.Fault{Malformed: true}, operation.StepDone, "old", ""},
		"not carried out, a proxy gave up": {pve.Fault{Status: 596, Reason: "Connection timed out"}, operation.StepFailed, "new", "was not carried out"},
		"refused":                          {pve.Fault{Status: 403, Reason: "Permission check failed (/vms/101, VM.Snapshot)"}, operation.StepFailed, "new", "VM.Snapshot"},
	} {
		t.Run(name, func(t *testing.T) {
			x := newSite(t)
			c.fault.Match, c.fault.Times = rollbackCall, 1
			p := x.rollback("web", "before")
			x.pve.Fault(c.fault)
			s := x.Run(p)
			rehearse.Want(t, s, c.state)
			rehearse.Contains(t, "text", s.Text, c.text)
			if g := x.pve.Guest(101); g.Content["scsi0"] != c.disk {
				t.Errorf("the disk holds %q", g.Content["scsi0"])
			}
			if n := x.count("/rollback"); n != 1 {
				t.Errorf("%d rollbacks were sent", n)
			}
		})
	}
}

// TestStoppedInTheMiddle: a worker that is asked to end (SIGTERM) leaves an
// operation that goes on where it was.
func TestStoppedInTheMiddle(t *testing.T) {
	for _, at := range []string{"qmsnapshot", "qmrollback", "qmstart"} {
		t.Run(at, func(t *testing.T) {
			x := newSite(t)
			id := x.Create(x.rollback("web", "before"))
			hold := x.pve.HoldTask(at, "101", "begin")
			ctx, stop := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- x.Worker().Work(ctx, id) }()
			<-hold.Reached()
			stop()
			if err := <-ended; err == nil || !strings.Contains(err.Error(), "can be resumed") {
				t.Errorf("it says %v", err)
			}
			rehearse.Want(t, x.Status(id), operation.Interrupted)
			hold.Release()
			if err := x.Worker().Work(t.Context(), id); err != nil {
				t.Fatal(err)
			}
			rehearse.Want(t, x.Status(id), operation.StepDone)
			if x.count("/rollback") != 1 || x.count("/status/start") != 1 || x.count("POST /nodes/pve1/qemu/101/snapshot") != 2 {
				t.Errorf("something was done twice: %v", x.changes())
			}
		})
	}
}

// TestATokenThatIsRefusedMeanwhile ends no operation: its task goes on.
func TestATokenThatIsRefusedMeanwhile(t *testing.T) {
	x := newSite(t)
	id := x.Create(x.rollback("web", "before"))
	hold := x.pve.HoldTask("qmrollback", "101", "data")
	ended := make(chan error, 1)
	go func() { ended <- x.Worker().Work(t.Context(), id) }()
	<-hold.Reached()
	clear := x.pve.Fault(pve.Fault{Match: regexp.MustCompile(`^GET .*/tasks/.*/status`), Status: 401, Reason: "No ticket"})
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "can be resumed") {
		t.Errorf("it says %v", err)
	}
	rehearse.Want(t, x.Status(id), operation.Interrupted)
	clear()
	hold.Release()
	if err := x.Worker().Work(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	rehearse.Want(t, x.Status(id), operation.StepDone)
	if x.count("/rollback") != 1 {
		t.Errorf("rolled back twice: %v", x.changes())
	}
}

// TestCancel: a step that can be stopped is, its task with it; the rollback is
// brought to its end, and what comes after it is not begun.
func TestCancel(t *testing.T) {
	for _, c := range []struct{ at, disk string }{{"qmsnapshot", "new"}, {"qmrollback", "old"}} {
		t.Run(c.at, func(t *testing.T) {
			x := newSite(t)
			id := x.Create(x.rollback("web", "before"))
			hold := x.pve.HoldTask(c.at, "101", "data")
			ended := make(chan error, 1)
			go func() { ended <- x.Worker().Work(t.Context(), id) }()
			<-hold.Reached()
			if err := x.Store.Cancel(id, operation.Actor{Who: "bob"}, time.Now()); err != nil {
				t.Fatal(err)
			}
			if c.at == "qmrollback" {
				hold.Release()
			}
			if err := <-ended; err != nil {
				t.Fatal(err)
			}
			rehearse.Want(t, x.Status(id), operation.Cancelled)
			if g := x.pve.Guest(101); g.Content["scsi0"] != c.disk || g.Config["lock"] != "" {
				t.Errorf("the guest is %+v", g)
			}
			if x.count("/status/start") != 0 {
				t.Error("it was started after the cancel")
			}
			p, err := x.Undo(t.Context(), x.Status(id))
			if c.at == "qmsnapshot" {
				if err == nil || !x.pve.Guest(101).Running {
					t.Errorf("an undo of nothing: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			rehearse.Want(t, x.Run(p), operation.StepDone)
			if g := x.pve.Guest(101); !g.Running || g.Content["scsi0"] != "new" {
				t.Errorf("the undo of a rollback whose guest ran leaves %+v", g)
			}
		})
	}
}

// TestTwoTasksSince: what cannot be told apart needs a person.
func TestTwoTasksSince(t *testing.T) {
	x := newSite(t)
	p := x.rollback("web", "before")
	step := p.Steps[1]
	for range 2 {
		x.pve.TaskHistory(pve.TaskInfo{Node: "pve1", Type: "qmrollback", ID: "101", User: "cairn@pve!act", Start: time.Now(), End: time.Now(), Exit: "OK"})
	}
	out, err := x.Executors()[step.Kind].Find(t.Context(), step, operation.Intent{Remote: "after:pve1:", At: time.Now()}, nil)
	if err != nil || out.State != operation.Unknown || !strings.Contains(out.Text, "2 tasks") {
		t.Errorf("found %+v, %v", out, err)
	}
	out, err = x.Executors()[step.Kind].Find(t.Context(), step, operation.Intent{Remote: "after:pve2:", At: time.Now()}, nil)
	if err != nil || out.State != operation.Unknown || !strings.Contains(out.Text, "moved from node pve2 to pve1") {
		t.Errorf("of a guest that moved: %+v, %v", out, err)
	}
	if out, err = x.Executors()[step.Kind].Find(t.Context(), step, operation.Intent{At: time.Now()}, nil); err != nil || out.State != operation.NotDone {
		t.Errorf("without a baseline: %+v, %v", out, err)
	}
}

// TestACallInTheQueue: the call of a dead worker is carried out after the resume
// has begun to look for it.
func TestACallInTheQueue(t *testing.T) {
	x := newSite(t)
	id := x.Create(x.rollback("web", "before"))
	release := x.pve.Fault(pve.Fault{Match: rollbackCall, Hang: true})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- x.Worker().Work(ctx, id) }()
	testkit.Until(t, time.Minute, "the rollback is about to be sent", func() bool { return strings.HasPrefix(x.Status(id).Steps[1].Remote, "after:") })
	testkit.Until(t, time.Minute, "it is sent", func() bool { return x.pve.Waiting() > 0 })
	stop()
	if err := <-ended; err == nil {
		t.Fatal("it ended well")
	}
	x.settle = 10 * time.Second
	x.pve.ResetRequests()
	go func() { ended <- x.Worker().Work(t.Context(), id) }()
	testkit.Until(t, time.Minute, "the resume looks for it", func() bool {
		n := 0
		for _, r := range x.pve.Requests() {
			if strings.Contains(r.Path, "typefilter=qmrollback") {
				n++
			}
		}
		return n > 1
	})
	release()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	rehearse.Want(t, x.Status(id), operation.StepDone)
	if n := x.count("/rollback"); n != 1 {
		t.Errorf("rolled back %d times: %v", n, x.changes())
	}
}

// TestAnOutageRightAfterTheCall: the answer is lost with the connection, and the
// server stays away for a moment.
func TestAnOutageRightAfterTheCall(t *testing.T) {
	x := newSite(t)
	p := x.rollback("web", "before")
	x.pve.Fault(pve.Fault{Match: rollbackCall, Times: 1, CutAfter: 3})
	hold := x.pve.HoldTask("qmrollback", "101", "begin")
	id := x.Create(p)
	ended := make(chan error, 1)
	go func() { ended <- x.Worker().Work(t.Context(), id) }()
	<-hold.Reached()
	if err := x.pve.Refuse(true); err != nil {
		t.Fatal(err)
	}
	testkit.Until(t, time.Minute, "it says that it waits", func() bool {
		s := x.Status(id)
		return s.Progress != nil && strings.Contains(strings.Join(s.Progress.Lines, " "), "waiting: ")
	})
	if err := x.pve.Refuse(false); err != nil {
		t.Fatal(err)
	}
	hold.Release()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	rehearse.Want(t, x.Status(id), operation.StepDone)
	if n := x.count("/rollback"); n != 1 {
		t.Errorf("%d rollbacks were sent", n)
	}
}
