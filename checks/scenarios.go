package checks

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"cairn/internal/backup"
	"cairn/internal/estimate"
)

// judgeScenarios says what would be lost and how long the way back takes, if
// the worst guest, a hypervisor, a disk, this host or the site failed now.
func (l *lab) judgeScenarios(assets []Asset) []Scenario {
	var out []Scenario
	if g, ok := l.worstGuest(assets); ok {
		out = append(out, l.guestLoss(g))
	}
	out = append(out, l.hypervisorLoss(assets)...)
	out = append(out, l.diskLoss()...)
	if len(l.policy.PBS)+len(l.policy.Restic)+len(l.policy.Postgres) > 0 {
		out = append(out, l.hostLoss(l.lossesWithout(assets, thisHost)))
		out = append(out, l.siteLoss(assets))
	}
	return l.unread(out)
}

// unread takes back what scenarios say while a system was never read: that there
// is no way back, or that nothing is lost, is not known then.
func (l *lab) unread(all []Scenario) []Scenario {
	var titles []string
	for _, s := range l.sources {
		if !s.reach.known {
			titles = append(titles, s.title)
		}
	}
	if len(titles) == 0 {
		return all
	}
	for i, s := range all {
		if s.Ready && s.RPO != nil && *s.RPO > 0 {
			continue // what was read is a way back already
		}
		all[i].Unread, all[i].RPO, all[i].Ready = listed(titles), nil, false
		all[i].Blockers = []string{"not known before it was read: " + listed(titles)}
	}
	return all
}

// worstGuest is the guest to worry about first: of the highest priority that is
// given, the one that would lose most.
func (l *lab) worstGuest(assets []Asset) (Asset, bool) {
	var guests []Asset
	for _, a := range assets {
		if _, ok := l.guests[a.ID]; ok && !a.Parked {
			guests = append(guests, a)
		}
	}
	if len(guests) == 0 {
		return Asset{}, false
	}
	slices.SortStableFunc(guests, func(a, b Asset) int {
		return cmp.Or(cmp.Compare(l.priority(a.ID), l.priority(b.ID)), cmp.Compare(lossOf(b), lossOf(a)), cmp.Compare(l.guestBytes(b.ID), l.guestBytes(a.ID)))
	})
	return guests[0], true
}

func (l *lab) priority(id backup.AssetID) int {
	if p := l.guests[id].policy.Priority; p > 0 {
		return p
	}
	return 1 << 30
}

// lossOf orders by loss; everything is more than any age.
func lossOf(a Asset) time.Duration {
	if a.RPO == nil {
		return 1<<63 - 1
	}
	return *a.RPO
}

func scenario(name, target, subject, method string, w way, rpo *time.Duration, blockers []string) Scenario {
	return Scenario{Name: name, Target: target, Subject: subject, Method: method, Ready: len(blockers) == 0, Blockers: blockers,
		RPO: rpo, RTO: w.Median, RTOP90: w.P90, Basis: w.basis(), Runs: w.runs}
}

// guestLoss is the scenario of one guest: its restore from its newest backup.
func (l *lab) guestLoss(a Asset) Scenario {
	target := fmt.Sprintf("%s (%s)", a.Name, a.Detail)
	return scenario("guest-loss", target, a.ID.String(), "PBS restore", l.guestTime(a.ID), a.RPO, l.guestBlockers(a))
}

// guestBlockers says what stands in the way of a guest's restore.
func (l *lab) guestBlockers(a Asset) []string {
	var out []string
	if a.RPO == nil {
		out = append(out, "no copy of "+a.Name+" can be restored from now")
	}
	for _, h := range a.Held {
		s := l.named(h.Source)
		if s == nil || s.kind != "pbs" {
			continue
		}
		switch {
		case s.away != "":
			out = append(out, s.title+": "+s.away)
		case !s.reach.current:
			out = append(out, s.title+": "+s.reach.why)
		}
	}
	if a.RPO != nil { // another copy serves
		out = nil
	}
	if seen, ok := l.facts.Proxmox[a.ID.Scope]; ok {
		if r := observed(seen, l.now); !r.current {
			out = append(out, "Proxmox "+a.ID.Scope+": "+r.why)
		}
		out = append(out, l.storageBlockers(a.ID.Scope)...)
	}
	return out
}

// storageBlockers tells when none of the storages that restores read from is active.
func (l *lab) storageBlockers(cluster string) []string {
	var inactive []string
	for i := range l.facts.Proxmox[cluster].Value.Storages {
		st := &l.facts.Proxmox[cluster].Value.Storages[i]
		if st.Type != "pbs" || !l.restoresFrom(cluster, st.Name) {
			continue
		}
		if st.Active && st.Enabled {
			return nil
		}
		if !slices.Contains(inactive, st.Name) {
			inactive = append(inactive, st.Name)
		}
	}
	if len(inactive) == 0 {
		return nil
	}
	return []string{fmt.Sprintf("Proxmox %s cannot reach storage %s", cluster, listed(inactive))}
}

func (l *lab) named(name string) *source {
	for _, s := range l.sources {
		if s.name == name {
			return s
		}
	}
	return nil
}

// hypervisorLoss is a scenario for each node that holds guests: a new Proxmox
// VE, then its guests one after the other.
func (l *lab) hypervisorLoss(assets []Asset) []Scenario {
	type place struct{ cluster, node string }
	byNode := map[place][]Asset{}
	var order []place
	for _, a := range l.lossesWithout(assets, backup.LiveMedium) { // archives beside the guests go with them
		g, ok := l.guests[a.ID]
		if !ok || a.Parked {
			continue
		}
		p := place{g.cluster, g.Node}
		if len(byNode[p]) == 0 {
			order = append(order, p)
		}
		byNode[p] = append(byNode[p], a)
	}
	slices.SortFunc(order, func(a, b place) int {
		return cmp.Or(strings.Compare(a.cluster, b.cluster), strings.Compare(a.node, b.node))
	})
	var out []Scenario
	for _, p := range order {
		guests := byNode[p]
		total := cold(assumedInstall)
		for _, a := range guests {
			total = total.then(l.guestTime(a.ID))
		}
		rpo, lost := worstLoss(guests)
		var blockers []string
		if len(lost) > 0 {
			blockers = append(blockers, fmt.Sprintf("%s cannot be restored: %s", counted(len(lost), "guest"), listed(lost)))
		}
		out = append(out, scenario("hypervisor-loss", either(p.node, p.cluster), "proxmox."+p.cluster,
			"PBS, "+counted(len(guests), "guest"), total, rpo, blockers))
	}
	return out
}

// lossesWithout are the assets with what would be lost of each together with a
// medium that holds copies of them.
func (l *lab) lossesWithout(assets []Asset, medium string) []Asset {
	out := slices.Clone(assets)
	for i := range out {
		if a := &out[i]; slices.ContainsFunc(a.Held, func(h Held) bool { return h.Medium == medium && h.Tier >= backup.DurableLocal }) {
			a.RPO = l.rpo(a.ID, slices.DeleteFunc(l.holdingsOf(a.ID), func(h holding) bool { return h.Medium == medium }))
		}
	}
	return out
}

// worstLoss is the greatest age among assets that can be restored, and which
// cannot.
func worstLoss(assets []Asset) (*time.Duration, []string) {
	var worst *time.Duration
	var lost []string
	for _, a := range assets {
		switch {
		case a.RPO == nil:
			lost = append(lost, a.Name)
		case worst == nil || *a.RPO > *worst:
			worst = a.RPO
		}
	}
	return worst, lost
}

// diskLoss is the loss of a medium that only holds copies: the live data
// stands, so nothing is lost; a new disk is seeded.
func (l *lab) diskLoss() []Scenario {
	var out []Scenario
	for _, name := range sortedKeys(l.disks) {
		bytes := l.facts.Disks[name].Value.Used
		w := cold(assumedDisk).then(l.step("restic.restore", "disk."+name, bytes, estimate.Guess{Fixed: assumedFixed, Rate: assumedDiskRate}))
		none := time.Duration(0)
		out = append(out, scenario("usb-loss", "disk "+name, "disk."+name, "new disk, seed", w, &none, nil))
	}
	return out
}

// hostLoss is the loss of the backup host: its disk goes to a new one, and what
// lies on the host itself is as old as its newest copy elsewhere, which the
// assets' RPO must say.
func (l *lab) hostLoss(assets []Asset) Scenario {
	var paths []Asset
	for _, a := range assets {
		if !a.Parked && a.ID.Kind == backup.Path {
			paths = append(paths, a)
		}
	}
	none := time.Duration(0)
	loss, lost := worstLoss(paths)
	var blockers []string
	switch {
	case len(lost) > 0:
		loss, blockers = nil, []string{fmt.Sprintf("%s cannot be restored from elsewhere: %s", counted(len(lost), "path"), listed(lost))}
	case loss == nil:
		loss = &none
	}
	return scenario("backup-host-loss", "this host", "host", "new host, same disk", cold(assumedHost), loss, blockers)
}

// siteLoss is the loss of everything at home: what is off-site comes back over
// the line, by priority. Its loss is that of the oldest off-site copy.
func (l *lab) siteLoss(assets []Asset) Scenario {
	w := cold(assumedInstall).then(cold(assumedHost))
	var worst *time.Duration
	var none, unproven []string
	var bytes int64
	for _, a := range assets {
		if a.Parked || a.ID.Kind == backup.Composite {
			continue
		}
		taken, proven := offSitePoint(a)
		switch {
		case taken.IsZero():
			none = append(none, a.Name)
			continue
		case !proven:
			unproven = append(unproven, a.Name)
		}
		if age := max(0, l.now.Sub(taken)); worst == nil || age > *worst {
			worst = &age
		}
		if a.ID.Kind == backup.Guest {
			bytes += l.guestBytes(a.ID)
		} else {
			bytes += l.assetBytes(a.ID)
		}
	}
	w = w.then(l.step("offsite.fetch", backup.HomeSite, bytes, estimate.Guess{Rate: assumedWANRate}))
	var blockers []string
	if len(none) > 0 {
		blockers = append(blockers, fmt.Sprintf("%s %s no off-site copy: %s", counted(len(none), "asset"), verb(len(none), "has", "have"), listed(none)))
	}
	if len(unproven) > 0 {
		blockers = append(blockers, fmt.Sprintf("%s not proven complete off-site: %s", counted(len(unproven), "asset"), listed(unproven)))
	}
	for _, s := range l.sources {
		if s.tier == backup.OffSite && !s.reach.current {
			blockers = append(blockers, s.title+": "+s.reach.why)
		}
	}
	return scenario("site-loss", "the site", backup.HomeSite, "from off-site", w, worst, blockers)
}

// offSitePoint is the newest off-site copy of an asset.
func offSitePoint(a Asset) (taken time.Time, proven bool) {
	for _, h := range a.Held {
		if h.Site == "" || h.Site == backup.HomeSite || h.Taken.IsZero() || h.Word == "broken" {
			continue
		}
		sure := h.Word != "in snap"
		if taken.IsZero() || sure && !proven || sure == proven && h.Taken.After(taken) {
			taken, proven = h.Taken, sure
		}
	}
	return taken, proven
}

func (l *lab) assetBytes(id backup.AssetID) int64 {
	for _, s := range l.sources {
		if g, ok := s.index[id]; ok {
			if c := g.newest(); c != nil && c.Size > 0 {
				return c.Size
			}
		}
	}
	return 0
}
