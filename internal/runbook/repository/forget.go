package repository

import (
	"context"
	"slices"
	"strings"

	"cairn/checks"
	"cairn/internal/backup"
	"cairn/restic"
)

// Refusal begins the text of a run that a repository refused to do.
const Refusal = "append-only: "

// doomed are the snapshots that the retention will not hold once the new ones are
// there; none where forgetting is frozen, which is noted.
func (d *draft) doomed(ctx context.Context) []string {
	if d.cfg.Keep == (backup.Keep{}) {
		d.note("No retention is configured (keep): nothing is forgotten.")
		return nil
	}
	if why := d.room.frozen(ctx, d.Name, d.facts); why != "" {
		d.note("Forgetting is frozen: %s.", why)
		return nil
	}
	if d.facts.Keeps != "" {
		d.note("What keeps it: %s.", d.facts.Keeps)
	}
	if d.facts.Keeps != "" && d.cfg.Dir() != "" {
		d.note("Nothing is forgotten or pruned from here.")
		return nil
	}
	for _, r := range d.runs {
		if r.Job == "forget" && strings.HasPrefix(r.Text, Refusal) && d.room.now().Sub(r.Started) < refusedFor {
			d.note("It is append-only or immutable, as it turned out on %s: nothing is forgotten or pruned from here.", r.Started.Local().Format("2006-01-02"))
			return nil
		}
	}
	coming := slices.Clone(d.facts.Snapshots)
	if d.cfg.CopyFrom != "" {
		newest, _ := d.newest(ctx) // an error is a blocker already
		for _, s := range newest {
			if _, there := d.facts.CopyOf(s.ID); !there {
				coming = append(coming, s)
			}
		}
	} else {
		host, _ := d.client.Host() // as above
		coming = append(coming, restic.Snapshot{ID: "to be made", Time: d.room.now(), Hostname: host, Tags: d.client.Tags()})
	}
	there := map[string]bool{}
	for _, s := range d.facts.Snapshots {
		there[s.ID] = true
	}
	return slices.DeleteFunc(restic.Forget(coming, d.cfg.Keep).Remove(), func(id string) bool { return !there[id] })
}

func short(ids []string) []string {
	out := make([]string, len(ids))
	for i, id := range ids {
		out[i] = id[:min(8, len(id))]
	}
	return out
}

// frozen says why nothing may be forgotten in a repository now; empty where it
// may. It is judged as on the board.
func (b *Runbook) frozen(ctx context.Context, name string, facts restic.Facts) string {
	now := b.now()
	past := checks.Past{}
	if b.history == nil {
		return "no history is kept, so whether copies are held is not known"
	}
	hold, err := b.history.HeldBy(ctx)
	if err != nil {
		return "whether an incident is open is not known: " + err.Error()
	}
	if hold != nil {
		return hold.String()
	}
	if past.Acks, err = b.history.Acknowledgements(ctx); err != nil {
		return "what was acknowledged is not known: " + err.Error()
	}
	cfg := b.config.Restic[name]
	cfg.Disk, cfg.CopyFrom = "", "" // only this repository is judged
	const compared = 8
	facts.Snapshots = slices.Clone(facts.Snapshots)
	b.knownSizes(ctx, facts.Snapshots)
	if err := b.restic[name].Sizes(ctx, facts.Snapshots, compared); err != nil {
		return "whether its newest copy is suspiciously small is not known: " + err.Error()
	}
	report := checks.Judge(checks.Policy{Restic: map[string]restic.Config{name: cfg}, Home: b.config.Home},
		checks.Facts{Restic: map[string]backup.Observed[restic.Facts]{name: {Value: facts, At: now, Tried: now}}, Past: past}, now)
	for _, p := range report.Problems {
		if p.Code == "shrunk" && !p.Acknowledged {
			return strings.TrimSuffix(p.Summary, ".") + "; if that is right: cairn ack " + p.ID
		}
	}
	if len(facts.Incomplete) > 0 {
		return "not all of it could be read: " + facts.Incomplete[0].Err
	}
	return ""
}

// knownSizes fills in the sizes of snapshots that cairn made with a restic before
// 0.17, which keeps none: what the run measured. Without a history none is known.
func (b *Runbook) knownSizes(ctx context.Context, snapshots []restic.Snapshot) {
	if b.history == nil || !slices.ContainsFunc(snapshots, func(s restic.Snapshot) bool { return s.Summary == nil }) {
		return
	}
	const enough = 2000
	measured, err := b.history.Steps(ctx, kindResticBackup, enough)
	if err != nil {
		return
	}
	sizes := map[string]int64{}
	for _, m := range measured {
		if m.OK {
			sizes[restic.OperationTag+m.Operation] = m.Bytes
		}
	}
	for i := range snapshots {
		for _, tag := range snapshots[i].Tags {
			if size, known := sizes[tag]; known && snapshots[i].Summary == nil {
				snapshots[i].Summary = &restic.Summary{Bytes: size}
			}
		}
	}
}

// freed notes what a prune would free once these snapshots are gone.
func (d *draft) freed(ctx context.Context, doomed []string) {
	n, err := d.client.Prunable(ctx, restic.How{Patience: d.room.patience}, doomed)
	if err != nil {
		d.note("What a prune would free is not known: %v.", err)
		return
	}
	d.note("A prune then frees %s, as restic's dry run says.", backup.SizeText(n))
}
