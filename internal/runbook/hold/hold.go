package hold

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"cairn/internal/backup"
	"cairn/internal/history"
	"cairn/internal/operation"
	"cairn/internal/plan"
	"cairn/internal/runbook/step"
)

// The kinds of step that hold what servers take away by themselves, give it back, and
// look that it is so.
const (
	kindHoldServer    = "server.hold"
	kindReleaseServer = "server.release"
	kindLookServer    = "server.look"
)

// Target is what both operations lock: there is one of them at a time.
const Target = "servers"

// heldArgs are the arguments of these steps. They stand in the journal's plan before
// anything is changed, so that a crash in the middle loses nothing of what was.
type heldArgs struct {
	Server   string `json:"server"`
	Kind     string `json:"kind,omitempty"` // of a look: empty
	ID       string `json:"id,omitempty"`
	Was      string `json:"was,omitempty"`
	Held     string `json:"held,omitempty"`
	Says     string `json:"says,omitempty"`
	Incident int64  `json:"incident,omitempty"`
}

func (a heldArgs) entry() history.Held {
	return history.Held{Server: a.Server, Kind: a.Kind, ID: a.ID, Was: a.Was, Held: a.Held, Says: a.Says, Incident: a.Incident}
}

// Hold plans that the configured servers, or those that are named, take no copy
// away by themselves while the incident is open.
func (b *Runbook) Hold(ctx context.Context, only []string) (plan.Plan, error) {
	p := plan.Plan{Operation: "hold", Target: Target, Confirm: Target, Created: b.now(), Loss: "nothing: no copy is touched",
		Summary: "Hold what the servers prune, collect and sync by themselves", WayBack: "cairn incident release"}
	chosen, err := chooseServers(only, b.holdable())
	if err != nil {
		return p, err
	}
	if b.history == nil {
		p.Blockers = append(p.Blockers, plan.Blocker{Subject: "history", Why: "no history is kept, so nothing would remind anybody of what is held", Hint: "make state_dir writable"})
		return p, nil
	}
	i, err := b.history.Incident(ctx)
	if err != nil {
		return p, err
	}
	if i == nil {
		p.Blockers = append(p.Blockers, plan.Blocker{Subject: "incident", Why: "none is open, and what is held is held for one", Hint: "cairn incident open WHAT"})
		return p, nil
	}
	p.Summary = fmt.Sprintf("Hold what the servers prune, collect and sync by themselves, for incident %d", i.ID)
	for _, server := range chosen {
		b.addHolds(ctx, &p, server, i.ID)
	}
	for _, name := range b.ownTimers() {
		p.Notes = append(p.Notes, fmt.Sprintf("%s is run by another tool, which cairn does not hold: stop its timer.", name))
	}
	if len(p.Steps) == 0 && len(p.Blockers) == 0 {
		p.Blockers = append(p.Blockers, plan.Blocker{Subject: Target, Why: "there is nothing to hold: no server takes copies away by itself" + heldAlready(ctx, b.history), Hint: "go on: cairn restore"})
	}
	p.Fingerprint = b.state(ctx, p)
	p.Estimate = step.Total(p.Steps)
	return p, nil
}

func heldAlready(ctx context.Context, h *history.Store) string {
	if all, err := h.Held(ctx); err == nil && len(all) > 0 {
		return fmt.Sprintf(" (%d settings are held already)", len(all))
	}
	return ""
}

// chooseServers are those of all that are meant by their names, such as nas or pbs.nas.
func chooseServers(only, all []string) ([]string, error) {
	if len(only) == 0 {
		return all, nil
	}
	var chosen []string
	for _, name := range only {
		var fits []string
		for _, server := range all {
			if _, short, _ := strings.Cut(server, "."); server == name || short == name {
				fits = append(fits, server)
			}
		}
		if len(fits) != 1 {
			return nil, fmt.Errorf("%q names %d of the servers: say which of %s", name, len(fits), strings.Join(all, ", "))
		}
		chosen = append(chosen, fits[0])
	}
	return chosen, nil
}

// ownTimers are the restic entries that another tool runs.
func (b *Runbook) ownTimers() []string {
	var all []string
	for name, r := range b.config.Restic {
		if r.RunBy != nil {
			all = append(all, fmt.Sprintf("restic.%s (%s)", name, r.RunBy.Unit))
		}
	}
	slices.Sort(all)
	return all
}

// addHolds adds a step for each setting of a server, and a look at it. A server that
// does not answer may be what has failed: it holds up none of the others.
func (b *Runbook) addHolds(ctx context.Context, p *plan.Plan, server string, incident int64) {
	k, err := b.keeper(server)
	if err != nil {
		p.Blockers = append(p.Blockers, notRead(server, err))
		return
	}
	found, notes, lacks, err := k.settings(ctx)
	if err != nil && unreachable(err) {
		p.Notes = append(p.Notes, fmt.Sprintf("%s does not answer, and nothing of it can be held: %v. Once it answers: cairn incident hold %s", server, err, server))
		return
	}
	if err != nil {
		unread := notRead(server, err)
		unread.Hint = "mend that, or hold the others alone, by their names: cairn incident hold NAME…"
		p.Blockers = append(p.Blockers, unread)
		return
	}
	for _, n := range notes {
		p.Notes = append(p.Notes, server+": "+n)
	}
	for _, lacking := range lacks {
		why := "the acting token lacks " + lacking.why + ", so this cannot be held: " + lacking.setting
		if !strings.Contains(lacking.why, " on /") {
			why = lacking.setting + ": " + lacking.why
		}
		p.Blockers = append(p.Blockers, plan.Blocker{Subject: server, Why: why, Hint: lacking.hint})
	}
	for _, s := range found {
		a := heldArgs{server, s.Kind, s.ID, s.Was, s.Held, s.Says, incident}
		b.steps.Add(p, kindHoldServer, "hold "+s.Says+" of "+server, s.Show, a, 0)
	}
	if len(found) > 0 {
		b.steps.Add(p, kindLookServer, "look that "+server+" takes nothing away by itself any more", "GET, as above", heldArgs{Server: server}, 0)
	}
}

// Held lists what is held.
func (b *Runbook) Held(ctx context.Context) ([]history.Held, error) {
	if b.history == nil {
		return nil, nil
	}
	return b.history.Held(ctx)
}

// Release plans to make what is held as it was, on all servers or on those that
// are named: one that left the configuration while it was held is known too.
func (b *Runbook) Release(ctx context.Context, only []string) (plan.Plan, error) {
	all, err := b.Held(ctx)
	if err != nil {
		return plan.Plan{}, err
	}
	known := b.holdable()
	for _, h := range all {
		if !slices.Contains(known, h.Server) {
			known = append(known, h.Server)
		}
	}
	chosen, err := chooseServers(only, known)
	if err != nil {
		return plan.Plan{}, err
	}
	if len(only) > 0 {
		all = slices.DeleteFunc(all, func(h history.Held) bool { return !slices.Contains(chosen, h.Server) })
	}
	return b.release(ctx, all)
}

// Undo plans to take one operation back that held something, from its own plan: that
// is there even where the history is not. What another one held anew since is left to
// that one, which knows what it was last. ours is false where it held nothing.
func (b *Runbook) Undo(ctx context.Context, s operation.Status) (p plan.Plan, ours bool, err error) {
	if s.Record.Plan.Operation == "release" {
		return p, true, fmt.Errorf("operation %s is not undone: to hold the servers again: cairn incident hold", s.ID())
	}
	if s.Record.Plan.Operation != "hold" {
		return p, false, nil
	}
	if s.Open() && s.State != operation.NeedsYou {
		return p, true, fmt.Errorf("operation %s has not ended (%s): cancel or resume it first; what it holds already: cairn incident release", s.ID(), s.State)
	}
	held, err := b.Held(ctx)
	if err != nil {
		return p, true, err
	}
	var all []history.Held
	var anew []string
	for i, one := range s.Record.Plan.Steps {
		var a heldArgs
		if one.Kind != kindHoldServer || s.Steps[i].State == operation.Waiting || json.Unmarshal(one.Args, &a) != nil {
			continue
		}
		if at := slices.IndexFunc(held, func(h history.Held) bool { return h.Server == a.Server && h.Kind == a.Kind && h.ID == a.ID }); at >= 0 && held[at].Operation != s.ID() {
			anew = append(anew, fmt.Sprintf("%s of %s (operation %s)", a.Says, a.Server, held[at].Operation))
			continue
		}
		all = append(all, a.entry())
	}
	if len(all) == 0 && len(anew) > 0 {
		return p, true, fmt.Errorf("all that operation %s held was held anew since: %s; to let it go: cairn incident release", s.ID(), strings.Join(anew, ", "))
	}
	p, err = b.release(ctx, all)
	for _, one := range anew {
		p.Notes = append(p.Notes, "Held anew since, so that it stays held: "+one+".")
	}
	return p, true, err
}

func (b *Runbook) release(ctx context.Context, all []history.Held) (plan.Plan, error) {
	p := plan.Plan{Operation: "release", Target: Target, Confirm: Target, Created: b.now(), Loses: true, WayBack: "cairn incident hold, while an incident is open",
		Summary: "Let the servers prune, collect and sync by themselves again", Loss: "what the retention of the servers no longer holds, as it is configured there"}
	if len(all) == 0 {
		p.Blockers = append(p.Blockers, plan.Blocker{Subject: Target, Why: "nothing is held on any server", Hint: "nothing is to be done"})
		return p, nil
	}
	for _, h := range all {
		if err := b.addRelease(ctx, &p, h); err != nil {
			return p, err
		}
	}
	p.Notes = append(p.Notes, "A prune job whose time has come meanwhile may run within a minute of its release.")
	if b.history != nil {
		if i, err := b.history.Incident(ctx); err == nil && i != nil {
			p.Notes = append(p.Notes, fmt.Sprintf("Incident %d is still open: good copies may age out while their source is bad.", i.ID))
		}
	}
	p.Fingerprint = b.state(ctx, p)
	p.Estimate = step.Total(p.Steps)
	return p, nil
}

// addRelease adds the step for one setting, and says where it is not as it was left.
func (b *Runbook) addRelease(ctx context.Context, p *plan.Plan, h history.Held) error {
	title, show := "make as it was: "+h.Says+" of "+h.Server, showRelease(h.Server, h.ID, h.Was)
	now, err := b.readSetting(ctx, h.Server, h.Kind, h.ID)
	switch {
	case errors.Is(err, errUnconfigured): // nothing can be asked of it, and that must not keep all others held
		p.Notes = append(p.Notes, fmt.Sprintf("%v, so %s stays as it is there and is only forgotten here: set by hand what it was, %s.", err, h.Says, show))
		title, show = "forget that it is held: "+h.Says+" of "+h.Server, "nothing is asked of "+h.Server
	case errors.Is(err, errGone):
		p.Notes = append(p.Notes, fmt.Sprintf("%s of %s is there no more: nothing is set.", h.Says, h.Server))
	case err != nil && ctx.Err() == nil:
		p.Blockers = append(p.Blockers, plan.Blocker{Subject: h.Server, Why: err.Error(), Hint: "once it answers, or the others alone: cairn incident release NAME…"})
		return nil
	case err != nil:
		return err
	case now == h.Was:
		p.Notes = append(p.Notes, fmt.Sprintf("%s of %s is as it was already.", h.Says, h.Server))
	case now != h.Held:
		p.Notes = append(p.Notes, fmt.Sprintf("%s of %s was changed by somebody while it was held: it is left as it is now.", h.Says, h.Server))
	}
	a := heldArgs{h.Server, h.Kind, h.ID, h.Was, h.Held, h.Says, h.Incident}
	b.steps.Add(p, kindReleaseServer, title, show, a, 0)
	return nil
}

// readSetting reads how a setting of a server stands now.
func (b *Runbook) readSetting(ctx context.Context, server, kind, id string) (string, error) {
	k, err := b.keeper(server)
	if err != nil {
		return "", err
	}
	return k.read(ctx, kind, id)
}

// state names how the settings of a plan stand now.
func (b *Runbook) state(ctx context.Context, p plan.Plan) string {
	var text strings.Builder
	for _, s := range p.Steps {
		var a heldArgs
		if s.Kind == kindLookServer || json.Unmarshal(s.Args, &a) != nil {
			continue
		}
		now, err := b.readSetting(ctx, a.Server, a.Kind, a.ID)
		if err != nil {
			now = "unread"
		}
		if errors.Is(err, errGone) {
			now = "gone"
		}
		fmt.Fprintf(&text, "%s %s %s %s\n", a.Server, a.Kind, a.ID, now)
	}
	sum := sha256.Sum256([]byte(text.String()))
	return hex.EncodeToString(sum[:8])
}

// Executors are those of every kind of step that holds or releases a setting.
func (b *Runbook) Executors() map[string]operation.Executor {
	return map[string]operation.Executor{
		kindHoldServer:    b.withKeeper(b.holdServer, nil),
		kindReleaseServer: b.withKeeper(b.releaseServer, b.forget),
		kindLookServer:    b.withKeeper(b.lookAtServer, nil),
	}
}

// withKeeper is a step that looks before it does anything, so it may be done any
// number of times. unconfigured is done instead where the server is configured no
// more; nil: that fails.
func (b *Runbook) withKeeper(do func(ctx context.Context, k keeper, a heldArgs, of string) (operation.Result, error), unconfigured func(ctx context.Context, a heldArgs, err error) (operation.Result, error)) operation.Executor {
	return step.Repeatable(func(ctx context.Context, a heldArgs, task *operation.Task) (operation.Result, error) {
		k, err := b.keeper(a.Server)
		switch {
		case errors.Is(err, errUnconfigured) && unconfigured != nil:
			return unconfigured(ctx, a, err)
		case err != nil:
			return operation.Result{}, err
		}
		return do(ctx, k, a, task.Operation)
	})
}

// holdServer notes what a setting was before it changes it, and looks afterwards.
func (b *Runbook) holdServer(ctx context.Context, k keeper, a heldArgs, of string) (r operation.Result, err error) {
	now, err := k.read(ctx, a.Kind, a.ID)
	switch {
	case errors.Is(err, errGone):
		return operation.Result{Status: backup.Warning, Text: "it is there no more: nothing is to be held"}, nil
	case err != nil:
		return r, err
	case now != a.Was && now != a.Held:
		return r, fmt.Errorf("%s of %s was changed since the plan was made, and nothing was done to it: look at a new plan", a.Says, a.Server)
	}
	entry := a.entry()
	entry.Since, entry.Operation = b.now(), of
	if b.history == nil {
		return r, errors.New("no history is kept: nothing would remind anybody of what is held")
	}
	if now == a.Was { // it is not held: what was noted of an earlier hold is no more what it was
		if err := b.history.Release(ctx, entry); err != nil {
			return r, err
		}
	}
	if err := b.history.Hold(ctx, entry); err != nil {
		return r, err
	}
	if now == a.Was {
		if err := b.change(ctx, k, a, a.Was, a.Held); err != nil {
			return r, err
		}
	}
	return operation.Result{Text: "it is held, and was: " + a.Says}, nil
}

// change makes a setting to, and looks that it is so.
func (b *Runbook) change(ctx context.Context, k keeper, a heldArgs, from, to string) error {
	failed := k.write(ctx, a.Kind, a.ID, from, to)
	now, err := k.read(ctx, a.Kind, a.ID)
	switch {
	case err != nil:
		return errors.Join(failed, err)
	case now == to: // the answer may have been lost on the way
		return nil
	case failed != nil && now == from && b.history != nil && to == a.Held:
		return errors.Join(failed, b.history.Release(ctx, a.entry())) // it was refused: nothing is held
	case failed != nil:
		return failed
	}
	return fmt.Errorf("%s of %s is not as was asked for, though nothing was refused", a.Says, a.Server)
}

// releaseServer makes a setting what it was. One that somebody changed while it was
// held is theirs now.
func (b *Runbook) releaseServer(ctx context.Context, k keeper, a heldArgs, _ string) (r operation.Result, err error) {
	now, err := k.read(ctx, a.Kind, a.ID)
	switch {
	case errors.Is(err, errGone):
		r.Status, r.Text = backup.Warning, "it is there no more: nothing was set"
	case err != nil:
		return r, err
	case now == a.Was:
		r.Text = "it is as it was"
	case now != a.Held:
		r.Status, r.Text = backup.Warning, fmt.Sprintf("somebody changed it while it was held: it is left as it is (%s); it was %s", now, a.Was)
	default:
		if err := b.change(ctx, k, a, a.Held, a.Was); err != nil {
			return r, err
		}
		r.Text = "it is as it was"
	}
	if b.history != nil {
		err = b.history.Release(ctx, a.entry())
	}
	return r, err
}

// forget ends that a setting is held of a server that cannot be asked any more: why.
func (b *Runbook) forget(ctx context.Context, a heldArgs, why error) (r operation.Result, err error) {
	if b.history != nil {
		err = b.history.Release(ctx, a.entry())
	}
	return operation.Result{Status: backup.Warning, Text: fmt.Sprintf("%v: nothing was set; by hand: %s", why, showRelease(a.Server, a.ID, a.Was))}, err
}

// lookAtServer says what a server takes away by itself all the same.
func (b *Runbook) lookAtServer(ctx context.Context, k keeper, _ heldArgs, _ string) (r operation.Result, err error) {
	left, _, lacks, err := k.settings(ctx)
	if err != nil {
		return r, err
	}
	var says []string
	for _, s := range left {
		says = append(says, s.Says)
	}
	for _, s := range lacks {
		if !slices.Contains(says, s.setting) {
			says = append(says, s.setting)
		}
	}
	if len(says) > 0 {
		return operation.Result{Status: backup.Warning, Text: "it still goes on by itself: " + strings.Join(says, ", ") + "; cairn incident hold takes up what is new"}, nil
	}
	return operation.Result{Text: "nothing prunes, collects or syncs there by itself"}, nil
}
