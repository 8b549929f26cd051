package desk

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"cairn/internal/command"
	"cairn/internal/config"
	"cairn/internal/history"
	"cairn/internal/incident"
	"cairn/internal/plan"
)

// ErrNoHistory says that incidents cannot be kept.
var ErrNoHistory = errors.New("no history is kept, so no incident can be opened: restores work all the same; make state_dir writable")

// Contacts are whom the configuration names for the day on which it burns.
func (d *Desk) Contacts() []config.Contact { return d.o.Config.Runbook.Contacts }

// OpenedIncident returns the open incident as it was opened, which is cheap to ask;
// nil where none is open.
func (d *Desk) OpenedIncident(ctx context.Context) (*history.Incident, error) {
	if d.o.History == nil {
		return nil, nil
	}
	return d.o.History.Incident(ctx)
}

// Incident returns the open incident with what its operations tell so far; nil
// where none is open.
func (d *Desk) Incident(ctx context.Context) (*history.Incident, error) {
	if d.o.History == nil {
		return nil, nil
	}
	i, err := d.o.History.Incident(ctx)
	if err != nil || i == nil {
		return nil, err
	}
	all, err := d.store.List()
	if err != nil {
		return nil, err
	}
	out := incident.Sum(*i, all, d.o.Now())
	return &out, nil
}

// Incidents returns the latest incidents, newest first, an open one with what its
// operations tell so far.
func (d *Desk) Incidents(ctx context.Context, limit int) ([]history.Incident, error) {
	if d.o.History == nil {
		return nil, ErrNoHistory
	}
	all, err := d.o.History.Incidents(ctx, limit)
	if err != nil || len(all) == 0 || !all[0].Open() {
		return all, err
	}
	open, err := d.Incident(ctx)
	if err == nil && open != nil {
		all[0] = *open
	}
	return all, err
}

// OpenIncident stamps T0: from now on nothing is forgotten, pruned or copied, and
// what is started belongs to it. Then it tells whom the configuration names; what
// came of that is in Told, and stops nothing. The error is a *history.OpenError
// where one is open already.
func (d *Desk) OpenIncident(ctx context.Context, what string) (history.Incident, error) {
	if err := d.mayRecord(); err != nil {
		return history.Incident{}, err
	}
	if what = strings.TrimSpace(what); what == "" {
		return history.Incident{}, errors.New("say in a few words what happened: it is what others read")
	}
	i, err := d.o.History.OpenIncident(ctx, history.Incident{What: what, Opened: d.o.Now().UTC(), Who: d.o.By.Who, Origin: d.o.By.From})
	if err != nil {
		return i, err
	}
	d.auditIncident(ctx, i, "incident open", what)
	told := d.tell(ctx, fmt.Sprintf("cairn: incident %d is open since %s\n\n%s\n\nOpened by %s from %s. Nothing is forgotten, pruned or copied until it is closed.\n",
		i.ID, i.Opened.Local().Format("2006-01-02 15:04"), i.What, i.Who, i.Origin))
	if told == "" {
		return i, nil
	}
	return d.o.History.ChangeIncident(ctx, func(i *history.Incident) error { i.Told = append(i.Told, told); return nil })
}

// ValidateIncident stamps that somebody saw that all is back; zero at means now.
func (d *Desk) ValidateIncident(ctx context.Context, at time.Time) (history.Incident, error) {
	if err := d.mayRecord(); err != nil {
		return history.Incident{}, err
	}
	now := d.o.Now().UTC()
	if at.IsZero() {
		at = now
	}
	i, err := d.o.History.ChangeIncident(ctx, func(i *history.Incident) error {
		if at.Before(i.Opened) || at.After(now) {
			return fmt.Errorf("%s is not between the opening of the incident (%s) and now", at.Local().Format("2006-01-02 15:04"), i.Opened.Local().Format("2006-01-02 15:04"))
		}
		i.Validated = at.UTC()
		return nil
	})
	if err == nil {
		d.auditIncident(ctx, i, "incident validated", "")
	}
	return i, err
}

// Closing is what a person says of an incident that is over.
type Closing struct {
	Loss     string // what was really lost
	Differed string // from the plan; empty: nothing besides what the operations tell
	// NotBack says that it is closed though it was never validated: such as a false alarm.
	NotBack bool
}

// CloseIncident ends the incident, and with it the hold, and returns its record.
func (d *Desk) CloseIncident(ctx context.Context, c Closing) (history.Incident, error) {
	if err := d.mayRecord(); err != nil {
		return history.Incident{}, err
	}
	if strings.TrimSpace(c.Loss) == "" {
		return history.Incident{}, errors.New("say what was really lost, if only: nothing")
	}
	all, err := d.store.List()
	if err != nil {
		return history.Incident{}, err
	}
	now := d.o.Now().UTC()
	i, err := d.o.History.ChangeIncident(ctx, func(i *history.Incident) error {
		for _, s := range incident.Of(i.ID, all) {
			if s.Ongoing() {
				return fmt.Errorf("operation %s of it is still open (%s): wait for its end, cancel it, or look at it: cairn operation show %s", s.ID(), s.State, s.ID())
			}
		}
		if i.Validated.IsZero() && !c.NotBack {
			i.Validated = now
		}
		i.Loss, i.Closed, i.ClosedBy = strings.TrimSpace(c.Loss), now, d.o.By.Who
		if text := strings.TrimSpace(c.Differed); text != "" {
			i.Differed = append(i.Differed, text)
		}
		*i = incident.Sum(*i, all, now)
		if i.Validated.IsZero() {
			i.Wall, i.Human = 0, 0 // it was never measured to its end
		}
		return nil
	})
	if err != nil {
		return i, err
	}
	d.auditIncident(ctx, i, "incident close", c.Loss)
	d.tell(ctx, fmt.Sprintf("cairn: incident %d is closed\n\n%s\n\nLost: %s. Retention applies again.\n", i.ID, i.What, i.Loss))
	return i, nil
}

// HoldServers plans that the servers, or those that are named, take nothing away by
// themselves while the incident is open.
func (d *Desk) HoldServers(ctx context.Context, only []string) (plan.Plan, error) {
	return d.free(d.lab.ServerJobs.Hold(ctx, only))
}

// ReleaseServers plans to make what is held on the servers as it was.
func (d *Desk) ReleaseServers(ctx context.Context, only []string) (plan.Plan, error) {
	return d.free(d.lab.ServerJobs.Release(ctx, only))
}

// HeldOnServers lists what is held on the servers.
func (d *Desk) HeldOnServers(ctx context.Context) ([]history.Held, error) {
	return d.lab.ServerJobs.Held(ctx)
}

// mayRecord says why incidents cannot be written; nil: they can.
func (d *Desk) mayRecord() error {
	switch {
	case d.o.Config.ReadOnly:
		return ErrReadOnly
	case d.o.History == nil:
		return ErrNoHistory
	}
	return nil
}

// toldWithin is how long the configured program may take.
const toldWithin = 20 * time.Second

// tell gives text to the configured program; what it returns says what came of
// that, and is empty where none is configured.
func (d *Desk) tell(ctx context.Context, text string) string {
	argv := d.o.Config.Runbook.Notify
	if len(argv) == 0 {
		return ""
	}
	ctx, stop := context.WithTimeout(ctx, toldWithin)
	defer stop()
	if _, err := command.Run(ctx, command.Spec{Argv: argv, Stdin: strings.NewReader(text)}); err != nil {
		return fmt.Sprintf("NOT told by %s: %v", argv[0], err)
	}
	return "told by " + argv[0]
}

// auditIncident leaves a line in the trail. One that cannot be written stops nothing.
func (d *Desk) auditIncident(ctx context.Context, i history.Incident, what, why string) {
	_ = d.o.History.Audit(ctx, history.Entry{At: d.o.Now(), Who: d.o.By.Who, Origin: d.o.By.From, Why: why, What: what, Target: fmt.Sprintf("incident %d", i.ID), Result: "done"})
}

// belong ties what is started to the open incident, which keeps the loss that the
// first way back announced, and that of its swap. That it cannot be read stops no
// restore.
func (d *Desk) belong(ctx context.Context, p plan.Plan) int64 {
	if d.o.History == nil {
		return 0
	}
	now, err := d.o.History.Incident(ctx)
	if err != nil || now == nil {
		return 0
	}
	first, swap := p.Scenario != "" && now.Scenario == "", p.Operation == "swap" && now.Scenario != ""
	if first || swap {
		_, _ = d.o.History.ChangeIncident(ctx, func(i *history.Incident) error { // the operation's own record says it too
			if first {
				i.Scenario, i.Announced, i.Since = p.Scenario, p.Loss, p.LosesSince
			} else {
				i.Announced += "; of the swap: " + p.Loss
			}
			return nil
		})
	}
	return now.ID
}

// unheld adds a blocker to a plan that must wait for the end of an incident.
func (d *Desk) unheld(ctx context.Context) func(plan.Plan, error) (plan.Plan, error) {
	return func(p plan.Plan, err error) (plan.Plan, error) {
		if err != nil {
			return p, err
		}
		frozen, err := d.lab.Frozen(ctx, p)
		if frozen != nil {
			p.Blockers = append(p.Blockers, *frozen)
		}
		return p, err
	}
}
