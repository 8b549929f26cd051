package runbook

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"cairn/internal/backup"
	"cairn/internal/plan"
	"cairn/internal/runbook/guest"
	"cairn/internal/runbook/repository"
	"cairn/internal/runbook/several"
	"cairn/proxmox"
)

// CompositeRestore is what a person wants back of an asset of several members.
type CompositeRestore struct {
	Name  string
	At    time.Time // no point after this; zero: the newest that fit together
	Apart bool      // also where their points lie further apart than the asset allows

	Parallel int // how many are restored at once; 0: as many as an SSD behind USB bears
}

// memberPoint is one member's point of a set that fits together.
type memberPoint struct {
	member backup.AssetID
	Point
}

// RestoreComposite plans to bring an asset's members back beside what is there, by one
// operation that starts one for each, from points that lie no further apart than its skew.
// Where no such points are there it is refused, with those that come nearest.
func (l *Lab) RestoreComposite(ctx context.Context, r CompositeRestore) (plan.Plan, error) {
	name := strings.TrimPrefix(r.Name, "asset.")
	cfg, ok := l.config.Assets[name]
	if !ok || len(cfg.Members) == 0 {
		return plan.Plan{}, fmt.Errorf("there is no asset %q with members: there are %s", name, strings.Join(slices.Sorted(maps.Keys(l.config.Assets)), ", "))
	}
	var members [][]memberPoint
	for _, m := range cfg.Members {
		points, err := l.pointsOf(ctx, m)
		if err != nil {
			return plan.Plan{}, fmt.Errorf("asset %s: what %s can go back to: %w", name, m, err)
		}
		members = append(members, points)
	}
	set, fits := chooseSet(members, cfg.Skew.Std(), r.At)
	switch {
	case set == nil:
		return plan.Plan{}, fmt.Errorf("asset %s: %s", name, whoHasNone(cfg.Members, members, r.At))
	case !fits && !r.Apart:
		return plan.Plan{}, fmt.Errorf("asset %s: no points of its members lie within %s of each other; the nearest lie %s apart: %s. --apart takes those all the same",
			name, backup.Age(cfg.Skew.Std()), backup.Age(apart(set)), listSet(set))
	}
	x := several.Parts{What: "members of asset " + name, Where: "each beside what is there", Again: "cairn restore asset " + name + " plans all of them again", Parallel: r.Parallel}
	for _, one := range set {
		p, err := l.planMember(ctx, one)
		if err != nil {
			return plan.Plan{}, fmt.Errorf("asset %s: %s: %w", name, one.member, err)
		}
		p.Notes = append([]string{fmt.Sprintf("A part of asset %s, whose points lie %s apart (limit %s): %s.", name, backup.Age(apart(set)), limitWord(cfg.Skew.Std()), listSet(set))}, p.Notes...)
		x.Plans, x.Names = append(x.Plans, p), append(x.Names, p.Confirm)
	}
	p := l.Several.PlanParts(x)
	p.Target = "asset." + name
	p.Loss = "nothing now; once each takes its original's place, what that wrote since its point, as the list says"
	p.Notes = append(p.Notes, "What is there is not touched. Once all are good, the operation of each swaps it in (n).")
	return p, nil
}

func limitWord(d time.Duration) string {
	if d == 0 {
		return "none"
	}
	return backup.Age(d)
}

// pointsOf are what a member can go back to, newest first, usable ones only.
func (l *Lab) pointsOf(ctx context.Context, m backup.AssetID) (out []memberPoint, err error) {
	scenario, target := "", ""
	switch m.Kind {
	case backup.Guest:
		scenario, target = "guest-loss", m.Scope+"/"+m.Name
	case backup.Database:
		scenario, target = "database-mistake", m.Scope+"/"+m.Name
	case backup.Path:
		scenario, target = "file-loss", m.Name
	default:
		return nil, fmt.Errorf("a member of the kind %s cannot be restored together with others", m.Kind)
	}
	all, _, err := l.Points(ctx, scenario, target)
	for _, p := range all {
		if p.Unusable == "" && !p.Taken.IsZero() {
			out = append(out, memberPoint{member: m, Point: p})
		}
	}
	return out, err
}

// chooseSet chooses from copies of one moment each; where these do not fit, members
// whose WAL reaches any moment are recovered to that of the others.
func chooseSet(members [][]memberPoint, skew time.Duration, at time.Time) (set []memberPoint, fits bool) {
	var fixed, bound [][]memberPoint // all members' copies; and those of members that have nothing else
	for _, points := range members {
		copies := slices.DeleteFunc(slices.Clone(points), func(p memberPoint) bool { return p.ID == ToTheEnd })
		fixed = append(fixed, copies)
		if len(copies) == len(points) {
			bound = append(bound, copies)
		}
	}
	if set, fits = fitting(fixed, skew, at); fits || len(bound) == 0 || len(bound) == len(members) {
		return set, fits
	}
	others, ok := fitting(bound, skew, at)
	if !ok {
		return set, false
	}
	moment := slices.MaxFunc(others, func(a, b memberPoint) int { return a.Taken.Compare(b.Taken) }).Taken
	set = nil
	for i, points := range members {
		if len(fixed[i]) == len(points) {
			set, others = append(set, others[0]), others[1:]
			continue
		}
		one := points[slices.IndexFunc(points, func(p memberPoint) bool { return p.ID == ToTheEnd })]
		one.Taken = moment
		set = append(set, one)
	}
	return set, true
}

// fitting chooses a point of each member: the newest ones that lie within skew of
// each other and not after at. Where none do, those that lie nearest, with false; nil:
// a member has no point at all.
func fitting(members [][]memberPoint, skew time.Duration, at time.Time) (set []memberPoint, fits bool) {
	var anchors []time.Time
	for _, points := range members {
		for _, p := range points {
			if at.IsZero() || !p.Taken.After(at) {
				anchors = append(anchors, p.Taken)
			}
		}
	}
	slices.SortFunc(anchors, func(a, b time.Time) int { return b.Compare(a) })
	var nearest []memberPoint
	for _, newest := range anchors {
		one := upTo(members, newest)
		if one == nil {
			continue
		}
		if skew == 0 || apart(one) <= skew {
			return one, true
		}
		if nearest == nil || apart(one) < apart(nearest) {
			nearest = one
		}
	}
	return nearest, false
}

// upTo is each member's newest point not after t; nil: one has none.
func upTo(members [][]memberPoint, t time.Time) []memberPoint {
	var set []memberPoint
	for _, points := range members {
		best := -1
		for i, p := range points {
			if !p.Taken.After(t) && (best < 0 || p.Taken.After(points[best].Taken)) {
				best = i
			}
		}
		if best < 0 {
			return nil
		}
		set = append(set, points[best])
	}
	return set
}

// apart is the time between the oldest and the newest point of a set.
func apart(set []memberPoint) time.Duration {
	if len(set) == 0 {
		return 0
	}
	byTime := func(a, b memberPoint) int { return a.Taken.Compare(b.Taken) }
	return slices.MaxFunc(set, byTime).Taken.Sub(slices.MinFunc(set, byTime).Taken)
}

func listSet(set []memberPoint) string {
	var parts []string
	for _, p := range set {
		parts = append(parts, fmt.Sprintf("%s of %s", p.member, p.Taken.UTC().Format("2006-01-02 15:04:05 UTC")))
	}
	return strings.Join(parts, ", ")
}

func whoHasNone(members []backup.AssetID, points [][]memberPoint, at time.Time) string {
	before := ""
	if !at.IsZero() {
		before = " from before " + at.UTC().Format("2006-01-02 15:04 UTC")
	}
	for i, all := range points {
		if upTo([][]memberPoint{all}, lastOf(at)) == nil {
			return fmt.Sprintf("%s has no copy%s that can be restored", members[i], before)
		}
	}
	return "its members have no copies" + before + " that can be restored"
}

func lastOf(at time.Time) time.Time {
	if at.IsZero() {
		return time.Unix(1<<40, 0)
	}
	return at
}

// planMember plans to bring one member back, beside what is there.
func (l *Lab) planMember(ctx context.Context, m memberPoint) (plan.Plan, error) {
	switch m.member.Kind {
	case backup.Guest:
		g, err := l.Guests.FindLost(ctx, m.member.Scope+"/"+m.member.Name)
		if err != nil {
			return plan.Plan{}, err
		}
		return l.Guests.Restore(ctx, guest.Restore{Guest: guest.Guest{Cluster: g.Cluster, Guest: proxmox.Guest{VMID: g.VMID, Kind: g.Kind, Name: g.Name, Node: g.Node}}, Volume: m.ID})
	case backup.Database:
		w := Wish{Target: m.member.Scope + "/" + m.member.Name, Point: m.ID}
		if m.ID == ToTheEnd {
			w.Options = map[string]string{"at": m.Taken.Format(time.RFC3339)}
		}
		return l.planDatabase(ctx, w, false)
	}
	return l.Repositories.Restore(ctx, repository.FileRestore{Paths: []string{m.member.Name}, From: m.Source, At: m.Taken})
}
