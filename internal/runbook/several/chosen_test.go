package several

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"cairn/internal/lab/pve"
	"cairn/internal/operation"
	"cairn/internal/plan"
	"cairn/internal/runbook/guest"
	"cairn/internal/runbook/rehearse"
	"cairn/internal/testkit"
)

// Several guests by one operation: by priority, as many at once as is said. What
// fails is named, holds none of the others up, and is planned again alone.
func TestSeveralGuestsByOneOperation(t *testing.T) {
	x := newSite(t)
	p := x.plan(0, time.Time{}, "home/101", "home/102")
	if p.Blocked() || len(p.Parts) != 2 || p.Parts[0].Confirm != "dns" || p.Target != "proxmox.home" || p.Summary != "Restore 2 guests, each beside what is there: dns, web" {
		t.Fatalf("%+v", p)
	}
	both, one := x.plan(0, time.Time{}, "home/101", "home/102"), x.plan(1, time.Time{}, "home/101", "home/102")
	if longer := p.Parts[0].Estimate.Median + p.Parts[1].Estimate.Median; one.Estimate.Median != longer || both.Estimate.Median >= longer {
		t.Errorf("one by one %v, both at once %v, of %v", one.Estimate, both.Estimate, longer)
	}
	if a, b := hashOf(t, p), hashOf(t, one); a != hashOf(t, both) || a == b {
		t.Errorf("hashes %s, %s", a, b)
	}
	x.pve.FailTask("qmrestore", "", "data", "command failed: exit code 255", 1)
	s := x.Run(p)
	rehearse.Want(t, s, operation.StepFailed)
	rehearse.Contains(t, "text", s.Text, "1 of 2 guests did not come back: web: operation ", "exit code 255")
	all, err := x.Store.List()
	if err != nil {
		t.Fatal(err)
	}
	child := partsOf(all, s.ID())["guest:home/102"]
	if got := x.pve.Guest(100).Config["hostname"]; got != "dns-restore-"+child.ID() || x.most != 2 {
		t.Errorf("dns is %q, restored by %s; %d ran at once", got, child.ID(), x.most)
	}
	rest, err := x.RestoreRest(t.Context(), s)
	if err != nil || rest.Target != "guest:home/101" || len(rest.Parts) != 0 {
		t.Fatalf("%+v, %v", rest, err)
	}
	rehearse.Want(t, x.Run(rest), operation.StepDone)
	if _, err := x.RestoreRest(t.Context(), s); err == nil || !strings.Contains(err.Error(), "is back") {
		t.Errorf("all are back, and it says %v", err)
	}
}

func hashOf(t *testing.T, p plan.Plan) string {
	t.Helper()
	hash, err := p.Hash()
	if err != nil {
		t.Fatal(err)
	}
	return hash
}

// A blocker of one names it, and blocks all before the first begins; a time is that
// of all.
func TestABlockerOfOneOfSeveral(t *testing.T) {
	x := newSite(t)
	p := x.plan(0, time.Time{}, "home/101", "home/103")
	if !p.Blocked() {
		t.Fatalf("%+v", p)
	}
	rehearse.Contains(t, "blockers", rehearse.Blockers(p), "files (home/103): no backup of it can be restored")
	if p = x.plan(0, taken.Add(-time.Hour), "home/101", "home/102"); len(p.Blockers) != 2 {
		t.Fatalf("%+v", p.Blockers)
	}
}

// Who cancels the whole cancels what runs, and what was not begun stays so.
func TestSeveralGuestsCancelled(t *testing.T) {
	x := newSite(t)
	p := x.plan(1, time.Time{}, "home/101", "home/102")
	id := x.Create(p)
	hold := x.pve.HoldTask("vzrestore", "100", "data")
	x.running.Go(func() {
		<-hold.Reached()
		_ = x.Store.Cancel(id, operation.Actor{Who: "ana"}, time.Now())
	})
	if err := x.Worker().Work(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	x.running.Wait()
	rehearse.Want(t, x.Status(id), operation.Cancelled)
	all, err := x.Store.List()
	if err != nil {
		t.Fatal(err)
	}
	begun := partsOf(all, id)
	if first := begun["guest:home/102"]; len(begun) != 1 || first.State != operation.Cancelled {
		t.Errorf("begun: %+v", begun)
	}
}

// A cancel that comes while one is being started stops that one and those before it.
func TestSeveralGuestsCancelledAtAStart(t *testing.T) {
	x := newSite(t)
	p := x.plan(2, time.Time{}, "home/101", "home/102")
	id := x.Create(p)
	first, second := x.pve.HoldTask("vzrestore", "100", "data"), x.pve.HoldTask("qmrestore", "", "data")
	x.unheard = func(ctx context.Context, p plan.Plan) error {
		if p.Target != "guest:home/101" {
			return nil
		}
		<-first.Reached()
		rehearse.Must(t, x.Store.Cancel(id, operation.Actor{Who: "ana"}, time.Now()))
		<-ctx.Done()
		return ctx.Err()
	}
	defer second.Release()
	rehearse.Must(t, x.Worker().Work(t.Context(), id))
	x.running.Wait()
	s := x.Status(id)
	rehearse.Want(t, s, operation.Cancelled)
	rehearse.Contains(t, "the step", s.Steps[0].Text, "asked to stop too: dns, web")
	all, err := x.Store.List()
	rehearse.Must(t, err)
	for target, child := range partsOf(all, id) {
		if child.Cancel == nil || child.State != operation.Cancelled {
			t.Errorf("%s is %s: %s", target, child.State, child.Text)
		}
	}
}

// parts is a Starter of operations of which only the states are known.
type parts struct {
	Starter
	states  map[string]operation.State
	stopped []string
}

func (p *parts) Operation(id string) (operation.Status, error) {
	state, known := p.states[id]
	if !known {
		return operation.Status{}, errors.New("there is no such operation")
	}
	return operation.Status{State: state}, nil
}

func (p *parts) Cancel(id string) error {
	p.stopped = append(p.stopped, id)
	return nil
}

// Whoever cancels the whole ends as cancelled, not as lost, and so does all that it
// began and that may still run.
func TestWhatACancelledOneBeganIsStopped(t *testing.T) {
	begun := children{all: []*child{{name: "dns", id: "1"}, {name: "web", id: "2"}, {name: "mail"}, {name: "files", id: "3"}}}
	lost := fmt.Errorf("%w: the line is cut", operation.ErrLost)
	p := &parts{states: map[string]operation.State{"1": operation.StepDone, "2": operation.Running}}
	begun.starter = p
	if err := begun.stop(t.Context(), lost); !errors.Is(err, operation.ErrLost) || len(p.stopped) > 0 {
		t.Errorf("nobody cancelled: %v, stopped %v", err, p.stopped)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(operation.ErrCancelled)
	err := begun.stop(ctx, lost)
	if errors.Is(err, operation.ErrLost) || !errors.Is(err, operation.ErrCancelled) || !slices.Equal(p.stopped, []string{"2", "3"}) {
		t.Errorf("cancelled: %v, stopped %v", err, p.stopped)
	}
	rehearse.Contains(t, "the reason", err.Error(), "asked to stop too: web, files")
}

// Guests that are gone come back together under their own VMIDs.
func TestSeveralGuestsAsTheyWere(t *testing.T) {
	x := newSite(t)
	wishes := []guest.Restore{x.gone(102), x.gone(101)}
	p, err := x.Restore(t.Context(), wishes, 2)
	rehearse.Must(t, err)
	rehearse.Contains(t, "summary", p.Summary, "Restore 2 guests, as they were: dns, web")
	if p.Blocked() || p.Loss != "what each wrote since its backup, as the list says" {
		t.Fatalf("%+v", p)
	}
	s := x.Run(p)
	x.running.Wait()
	rehearse.Want(t, s, operation.StepDone)
	for vmid, name := range map[int]string{101: "web", 102: "dns"} {
		config := x.pve.Guest(vmid).Config
		if got := config["name"] + config["hostname"]; got != name {
			t.Errorf("%d is %q", vmid, got)
		}
	}
}

// gone removes a guest, as nobody wanted, and wishes it back as it was.
func (x *site) gone(vmid int) guest.Restore {
	x.T.Helper()
	g, err := x.guests.FindLost(x.T.Context(), fmt.Sprintf("home/%d", vmid))
	rehearse.Must(x.T, err)
	path := fmt.Sprintf("/nodes/%s/%s/%d", g.Node, g.Kind, vmid)
	for _, call := range [][2]string{{"POST", path + "/status/stop"}, {"DELETE", path}} {
		_, err := x.pve.Root(call[0], call[1], nil)
		rehearse.Must(x.T, err)
		testkit.Until(x.T, time.Minute, "the task has ended", x.pve.Idle)
	}
	return guest.Restore{Guest: g, Again: true}
}

// Several guests at once: by priority, with VMIDs of their own, and room for all.
func TestSeveralGuests(t *testing.T) {
	x := newSite(t)
	plans, err := x.each(t.Context(), x.inOrder(x.wishes(time.Time{}, "web", "dns")))
	if err != nil || len(plans) != 2 || plans[0].Target != "guest:home/102" || plans[0].Blocked() || plans[1].Blocked() {
		t.Fatalf("%+v, %v", plans, err)
	}
	for _, p := range plans {
		rehearse.Want(t, x.Run(p), operation.StepDone)
	}
	ct, vm := x.pve.Guest(100), x.pve.Guest(104)
	if !strings.HasPrefix(ct.Config["hostname"], "dns-restore-") || !strings.HasPrefix(vm.Config["name"], "web-restore-") {
		t.Errorf("restored %+v, %+v", ct, vm)
	}
	tight := newSite(t)
	free := int64(7 << 30) // room for one of 4 GiB below 90 %, not for two
	c, err := tight.guests.Cluster("home")
	if err != nil {
		t.Fatal(err)
	}
	seen, err := c.NodeStorages(t.Context(), "pve1")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range seen {
		if s.Name == "thin" {
			tight.pve.EditStorage("thin", func(p *pve.Storage) { p.Base += s.Available - s.Total/10 - free })
		}
	}
	if plans, err = tight.each(t.Context(), tight.wishes(time.Time{}, "web", "dns")); err != nil || !plans[0].Blocked() || !plans[1].Blocked() {
		t.Fatalf("%+v, %v", plans, err)
	}
	rehearse.Contains(t, "blockers", rehearse.Blockers(plans[1]), "for all of them together it has room for 7.0 GiB below 90 %, and the restored disks take up to 8.0 GiB")
}
