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

	"cairn/internal/history"
	"cairn/internal/operation"
	"cairn/internal/plan"
	"cairn/internal/runbook/step"
)

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
