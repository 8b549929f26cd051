package runbook

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"cairn/internal/backup"
	"cairn/internal/operation"
	"cairn/internal/plan"
	"cairn/internal/runbook/guest"
	"cairn/internal/runbook/several"
	"cairn/proxmox"
)

func configMistake() Scenario {
	return Scenario{
		Name: "config-mistake", What: "A change to a guest went wrong, at a known time", Method: "roll back to a snapshot", Asks: AtGuest,
		Points: snapshotPoints,
		Plan: func(ctx context.Context, l *Lab, w Wish) (plan.Plan, error) {
			g, err := l.Guests.Find(ctx, w.Target)
			if err != nil {
				return plan.Plan{}, err
			}
			if w.Point == "" {
				all, _, err := snapshotPoints(ctx, l, w.Target)
				if err != nil {
					return plan.Plan{}, err
				}
				if len(all) == 0 {
					return plan.Plan{}, fmt.Errorf("%s has no snapshot: cairn restore guest-loss %s brings it back from a backup", guest.Describe(g), w.Target)
				}
				w.Point = cmp.Or(PointToBegin(all), all[0].ID)
			}
			return l.Guests.Rollback(ctx, guest.RollbackRequest{Guest: g, Snapshot: w.Point})
		},
	}
}

func snapshotPoints(ctx context.Context, l *Lab, target string) ([]Point, []string, error) {
	g, err := l.Guests.Find(ctx, target)
	if err != nil {
		return nil, nil, err
	}
	tree, _, err := l.Guests.Snapshots(ctx, g)
	if err != nil {
		return nil, nil, err
	}
	var out []Point
	for _, s := range tree.Snapshots {
		p := Point{ID: s.Name, Taken: s.Taken, Source: "snapshot " + s.Name, Proven: "on the guest's own disks", Note: s.Description, Safety: strings.HasPrefix(s.Name, backup.SafetySnapshot)}
		if s.State != "" {
			p.Unusable = "incomplete (" + s.State + ")"
		}
		out = append(out, p)
	}
	slices.Reverse(out)
	slices.SortStableFunc(out, func(a, b Point) int { return b.Taken.Compare(a.Taken) })
	return out, nil, nil
}

func guestLoss() Scenario {
	return Scenario{
		Name: "guest-loss", What: "A guest is gone or ruined", Method: "restore its backup beside it, then swap", Asks: AtGuest,
		Points: backupPoints, Several: true,
		Options: []Option{
			{Name: "where", Title: "Where to", Unasked: ofSeveral, Choices: []Choice{{"beside", "beside it, under a new VMID: nothing is touched"}, {"in-place", "over it: the guest must be stopped, its disks and snapshots go"}}},
			{Name: "storage", Title: "Storage", Hint: "empty: where the disks were"},
			{Name: "node", Title: "Node", Hint: "empty: the guest's own"},
			{Name: "start", Title: "First start", Choices: []Choice{{"yes", "start it, unplugged, and look for signs of life"}, {"no", "leave it stopped"}}},
			{Name: "space", Title: "Space", Choices: []Choice{{"full", "room for the disks' full size"}, {"mostly-empty", "the disks are mostly empty: a thin storage may be smaller"}}},
			{Name: "parallel", Title: "At once", Unasked: ofOne, Hint: fmt.Sprintf("how many are restored at once; empty: %d, which an SSD behind USB bears", several.Bears)},
		},
		Plan: func(ctx context.Context, l *Lab, w Wish) (plan.Plan, error) {
			if len(w.Targets) > 0 {
				return l.planTogether(ctx, w)
			}
			g, err := l.Guests.FindLost(ctx, w.Target)
			if err != nil {
				return plan.Plan{}, err
			}
			r := guest.Restore{Guest: g, InPlace: w.Options["where"] == "in-place", Storage: w.Options["storage"], Node: w.Options["node"],
				LeaveOff: w.Options["start"] == "no", Roomy: w.Options["space"] == "mostly-empty"}
			if w.Point == "" {
				return l.Guests.Restore(ctx, r)
			}
			points, _, err := l.Guests.Points(ctx, g)
			if err != nil {
				return plan.Plan{}, err
			}
			for _, p := range points {
				if p.Volume == w.Point {
					r.From, r.At = p.Storage, p.Taken
					return l.Guests.Restore(ctx, r)
				}
			}
			return plan.Plan{}, fmt.Errorf("there is no backup %s any more: choose another", w.Point)
		},
		Next: &Next{Title: "swap it into the original's place", Plan: func(ctx context.Context, l *Lab, s operation.Status) (plan.Plan, error) {
			if len(s.Record.Plan.Parts) > 0 {
				return l.Several.RestoreRest(ctx, s)
			}
			return l.Guests.Swap(ctx, s)
		}},
	}
}

func ofSeveral(w Wish) bool { return len(w.Targets) > 0 }
func ofOne(w Wish) bool     { return len(w.Targets) == 0 }

func backupPoints(ctx context.Context, l *Lab, target string) ([]Point, []string, error) {
	g, err := l.Guests.FindLost(ctx, target)
	if err != nil {
		return nil, nil, err
	}
	points, missing, err := l.Guests.Points(ctx, g)
	if err != nil {
		return nil, nil, err
	}
	var unread []string
	offSite, err := l.Guests.OffSite(ctx, g.Cluster, points)
	if err != nil {
		unread = append(unread, "which of them are off-site: "+err.Error())
	}
	var out []Point
	for _, p := range points {
		one := l.backupPoint(g.Cluster, p)
		one.OffSite = len(offSite[p.Volume]) > 0
		if p.VMID != g.VMID {
			one.Note = strings.TrimSpace(fmt.Sprintf("made as VMID %d; %s", p.VMID, one.Note))
		}
		out = append(out, one)
	}
	for _, m := range missing {
		unread = append(unread, m.Subject+": "+m.Err)
	}
	return out, unread, nil
}

func (l *Lab) backupPoint(cluster string, p proxmox.RestorePoint) Point {
	out := Point{ID: p.Volume, Taken: p.Taken, Source: p.Storage, Size: p.Size, Protected: p.Protected, Encrypted: p.Encrypted, Key: p.Key, Note: p.Notes}
	switch p.Verified {
	case "ok":
		out.Proven = "verified"
	case "":
		out.Proven = "never verified"
	default:
		out.Proven, out.Unusable = "DAMAGED", "its verification "+p.Verified
	}
	if p.InFlight {
		out.Unusable = "its upload has not ended"
	}
	if p.Taken.After(l.now().Add(time.Minute)) {
		out.Note = "its time lies in the future: a clock was wrong"
	}
	return out
}

// planTogether plans to bring the guests of a wish back.
func (l *Lab) planTogether(ctx context.Context, w Wish) (plan.Plan, error) {
	parallel, err := atOnce(w)
	if err != nil {
		return plan.Plan{}, err
	}
	var all []guest.Restore
	for _, name := range w.Targets {
		g, err := l.Guests.FindLost(ctx, name)
		if err != nil {
			return plan.Plan{}, err
		}
		all = append(all, guest.Restore{Guest: g, At: w.Before, Storage: w.Options["storage"], Node: w.Options["node"], LeaveOff: w.Options["start"] == "no", Roomy: w.Options["space"] == "mostly-empty"})
	}
	return l.Several.Restore(ctx, all, parallel)
}
