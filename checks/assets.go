package checks

import (
	"fmt"
	"slices"
	"strings"

	"cairn/internal/backup"
)

// judgeAssets builds the matrix and tells of assets that lack independent copies.
func (l *lab) judgeAssets() ([]Asset, []Problem) {
	var assets []Asset
	lack := map[string][]Asset{}
	for _, id := range l.assetIDs() {
		holdings := l.holdingsOf(id)
		a := l.asset(id, holdings)
		assets = append(assets, a)
		if a.Parked || l.partial {
			continue
		}
		switch {
		case a.Copies <= 1 && slices.ContainsFunc(holdings, func(h holding) bool { return h.counts && h.Tier >= backup.DurableLocal }):
			lack["one-medium"] = append(lack["one-medium"], a)
		case a.Copies <= 1 && !slices.ContainsFunc(holdings, func(h holding) bool { return h.carried || h.Status == backup.Unknown }):
			// no copy at all: told where it should be
		case slices.ContainsFunc(holdings, func(h holding) bool { return h.altered }):
			lack["offsite-altered"] = append(lack["offsite-altered"], a)
		case slices.ContainsFunc(holdings, func(h holding) bool { return h.broken != "" }):
			lack["offsite-broken"] = append(lack["offsite-broken"], a)
		case a.OffSite && a.Copies < 3 && !slices.ContainsFunc(holdings, func(h holding) bool { return h.Status == backup.Unknown }):
			lack["few-copies"] = append(lack["few-copies"], a)
		case a.OffSite || l.offSiteUnknown():
		case slices.ContainsFunc(holdings, func(h holding) bool { return h.carried && h.Site != backup.HomeSite }):
			lack["offsite-unproven"] = append(lack["offsite-unproven"], a)
		default:
			lack["no-offsite"] = append(lack["no-offsite"], a)
		}
	}
	var out []Problem
	for _, code := range sortedKeys(lack) {
		out = append(out, l.lacking(code, lack[code]))
	}
	return assets, out
}

// offSiteUnknown says whether some off-site source cannot be read now: what it
// holds is not known, which is not the same as nothing.
func (l *lab) offSiteUnknown() bool {
	return slices.ContainsFunc(l.sources, func(s *source) bool { return s.tier == backup.OffSite && !s.usableNow() })
}

func (l *lab) lacking(code string, all []Asset) Problem {
	labels, grade := make([]string, len(all)), make([]string, len(all))
	for i, a := range all {
		labels[i], grade[i] = either(a.Name, a.ID.String()), a.ID.String()
	}
	who := counted(len(all), "asset")
	switch code {
	case "offsite-altered":
		return found(backup.Warning, code, "3-2-1", fmt.Sprintf("The off-site copy of %s holds another content than the one here: %s", listed(labels), l.missingOf(all[0].ID)),
			"One of the two was changed or damaged. Verify the one here (cairn verify), read the one there (cairn prove --read), then back up again what is whole", grade...)
	case "offsite-broken":
		return found(backup.Warning, code, "3-2-1", fmt.Sprintf("The off-site copy of %s is not complete: %s", listed(labels), l.missingOf(all[0].ID)),
			"Copy again once no backup and no garbage collection runs on the datastore: cairn backup NAME of the off-site entry", grade...)
	case "offsite-unproven":
		return found(backup.Warning, code, "3-2-1", fmt.Sprintf("%s %s off-site only as part of a datastore or directory, not proven to be complete there: %s", who, verb(len(all), "is", "are"), listed(labels)),
			"A path in a listing proves nothing. Compare the content: cairn prove (the console does so hourly); what was made since that snapshot, such as all copies of a new guest, is proven with the next upload", grade...)
	case "one-medium":
		return found(backup.Warning, code, "3-2-1", fmt.Sprintf("%s %s no copy on a medium other than that of the live data, so that both are lost together: %s", who, verb(len(all), "has", "have"), listed(labels)),
			"Back it up to another machine or disk. Where it is one already, name it: disk = \"NAME\" in the table of the [pbs] or [restic]", grade...)
	case "few-copies":
		return found(backup.Warning, code, "3-2-1", fmt.Sprintf("%s %s fewer than 3 independent copies (copies on one medium count once): %s", who, verb(len(all), "has", "have"), listed(labels)),
			"Add a copy on another medium: a [pbs], [restic] or [postgres] entry on another disk", grade...)
	}
	hint := "Add it to what an off-site entry holds (a [restic.NAME] or [pbs.NAME] whose site is not home)"
	remote := slices.IndexFunc(l.sources, func(s *source) bool {
		return s.kind == "restic" && s.tier != backup.OffSite && inCloud(l.policy.Restic[strings.TrimPrefix(s.name, "restic.")].Repository)
	})
	switch {
	case slices.ContainsFunc(l.sources, func(s *source) bool { return s.tier == backup.OffSite }):
	case remote >= 0:
		hint = "If " + l.sources[remote].title + " is not at home, say so: site = \"NAME\" in [" + l.sources[remote].name + "]"
	default:
		hint = "No off-site entry is configured: add a [restic.NAME] or [pbs.NAME] whose site is not home"
	}
	return found(backup.Warning, "no-offsite", "3-2-1", fmt.Sprintf("%s %s no off-site copy: %s", who, verb(len(all), "has", "have"), listed(labels)), hint, grade...)
}

func (l *lab) missingOf(id backup.AssetID) string {
	for _, h := range l.holdingsOf(id) {
		if h.broken != "" {
			return sentence(h.broken)
		}
	}
	return "parts are missing"
}

// assetIDs are all assets, in the order to show: guests, databases, servers,
// paths, hosts. What only carries copies of others is none.
func (l *lab) assetIDs() []backup.AssetID {
	ids := map[backup.AssetID]bool{}
	for id := range l.guests {
		ids[id] = true
	}
	for _, s := range l.sources {
		for _, g := range s.groups {
			if !g.carrier {
				ids[g.asset] = true
			}
		}
	}
	out := make([]backup.AssetID, 0, len(ids))
	for id := range ids {
		out = append(out, id)
	}
	slices.SortFunc(out, compareIDs)
	return out
}

// asset judges one asset's copies: the live one counts, copies on one medium
// count once.
func (l *lab) asset(id backup.AssetID, holdings []holding) Asset {
	a := Asset{ID: id, Name: l.labelShort(id), Detail: l.detail(id), Live: l.live(id), Word: "ok"}
	media := map[string]bool{}
	parked := l.parkedAsset(id)
	if parked != "deleted" {
		media[l.liveMedium(id)] = true
	}
	for _, h := range holdings {
		a.Held = append(a.Held, h.Held)
		if h.counts {
			medium := h.Medium
			if h.Tier == backup.LocalRollback {
				medium = l.liveMedium(id)
			}
			media[medium] = true
		}
		a.OffSite = a.OffSite || h.offsite
	}
	a.Copies, a.Media = len(media), len(media)
	a.RPO = l.rpo(id, holdings)
	if parked != "" {
		a.Parked, a.Word = true, parked
		return a
	}
	a.Status, a.Word = l.verdict(a, holdings)
	a.Proven = a.Copies >= 3 && a.Media >= 2 && a.OffSite && (a.Status == backup.OK || a.Status == backup.Warning && a.Word == late)
	return a
}

// late is the word for an asset one of whose copies is not current, while a
// current one is elsewhere: it lacks no copy.
const late = "LATE"

// verdict is an asset's status and word, the worst first.
func (l *lab) verdict(a Asset, holdings []holding) (backup.Status, string) {
	worst, unknown, copies, fresh := backup.OK, false, false, false
	for _, h := range holdings {
		fresh = fresh || h.durable && h.Status == backup.OK
		copies = copies || !h.Taken.IsZero()
		unknown = unknown || h.Status == backup.Unknown
		if h.Status != backup.Unknown {
			worst = max(worst, h.Status)
		}
	}
	durable := slices.ContainsFunc(holdings, func(h holding) bool { return h.counts && h.Tier >= backup.DurableLocal })
	_, certain := l.mayHold(a.ID)
	switch {
	case !durable && (unknown || !certain || l.mayHaveArchives(a.ID)):
		return backup.Unknown, "unknown"
	case !durable && !copies:
		return backup.Critical, "NO COPY"
	case !durable:
		return backup.Critical, "NO DURABLE COPY"
	case worst == backup.Critical && !fresh:
		return worst, "STALE"
	case unknown || !certain:
		return backup.Unknown, "unknown"
	case worst == backup.Warning && slices.ContainsFunc(holdings, func(h holding) bool { return h.Word == "absent" }):
		return worst, "DISK AWAY"
	case worst >= backup.Warning: // a current copy is elsewhere: not all is lost
		return backup.Warning, late
	case l.partial:
		return backup.OK, "ok"
	case !a.OffSite && l.offSiteUnknown():
		return backup.Unknown, "unknown"
	case !a.OffSite:
		return backup.Warning, "NO OFF-SITE"
	case a.Copies < 3:
		return backup.Warning, fmt.Sprintf("%d COPIES", a.Copies)
	}
	return backup.OK, "ok"
}

// mayHold says whether every source that may hold an asset could be read.
func (l *lab) mayHold(id backup.AssetID) (sources, bool) {
	if id.Kind == backup.Guest {
		return l.durableSources(id.Scope)
	}
	return nil, true
}

// mayHaveArchives says whether archives of a guest may lie where the token sees
// none of them.
func (l *lab) mayHaveArchives(id backup.AssetID) bool {
	return id.Kind == backup.Guest && len(hiddenArchives(l.facts.Proxmox[id.Scope].Value)) > 0
}

// parkedAsset is why an asset raises no alarm; empty: it does.
func (l *lab) parkedAsset(id backup.AssetID) string {
	if g, ok := l.guests[id]; ok {
		return g.parked
	}
	for _, s := range l.sources {
		if g, ok := s.index[id]; ok && g.parked != "" {
			return g.parked
		}
	}
	return ""
}

func (l *lab) labelShort(id backup.AssetID) string {
	if g, ok := l.guests[id]; ok && g.Name != "" {
		return g.Name
	}
	switch id.Kind {
	case backup.Guest:
		return "guest " + id.Name
	case backup.Database, backup.Path, backup.Host, backup.Composite:
		return id.Name
	}
	return id.Scope
}

func (l *lab) detail(id backup.AssetID) string {
	switch id.Kind {
	case backup.Guest:
		kind := "guest"
		if g, ok := l.guests[id]; ok {
			kind = map[string]string{"qemu": "VM", "lxc": "CT"}[string(g.Kind)]
		}
		number := id.Name
		if len(l.policy.Proxmox) > 1 {
			number = id.Scope + "/" + id.Name
		}
		return strings.TrimSpace(kind + " " + number)
	case backup.Database:
		return "on " + id.Scope
	case backup.Cluster:
		return "base backup"
	}
	return string(id.Kind)
}

// live is how the live copy stands.
func (l *lab) live(id backup.AssetID) string {
	switch id.Kind {
	case backup.Guest:
		g, ok := l.guests[id]
		switch {
		case !ok && l.guestListKnown(id.Scope):
			return "gone"
		case !ok, !g.current, g.Unsure:
			return "?"
		case g.Running:
			return "run"
		}
		return "stop"
	case backup.Database, backup.Cluster:
		if observed(l.facts.Postgres[id.Scope].Value.Server, l.now).current {
			return "up"
		}
		return "?"
	}
	return "-"
}
