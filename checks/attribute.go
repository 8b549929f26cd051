package checks

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"cairn/internal/backup"
	"cairn/pbs"
	"cairn/proxmox"
)

// owner is the cluster whose guests a namespace's backups are of.
type owner struct {
	cluster string
	rivals  []string // several clusters write there: none can be told
	why     string   // why there is no cluster
}

// owners finds the owner of each namespace of a datastore. A VMID alone says
// nothing: the clusters' own storages tell which of them writes where.
func (l *lab) owners(name string, cfg pbs.Config, datastore string) func(namespace string) owner {
	if len(l.policy.Proxmox) == 0 {
		// Nothing tells of clusters: each namespace stands for one of its own.
		return func(namespace string) owner {
			return owner{cluster: strings.TrimSuffix("pbs."+name+"."+strings.ReplaceAll(namespace, "/", "."), ".")}
		}
	}
	writers := map[string][]string{}
	var clusters, unread []string
	for _, ref := range cfg.ProxmoxStorages {
		cluster, storage, _ := strings.Cut(ref, "/")
		if !slices.Contains(clusters, cluster) {
			clusters = append(clusters, cluster)
		}
		namespaces := l.namespacesOf(cluster, storage, datastore)
		if len(namespaces) == 0 && !slices.Contains(unread, cluster) {
			unread = append(unread, cluster)
		}
		for _, ns := range namespaces {
			if !slices.Contains(writers[ns], cluster) {
				writers[ns] = append(writers[ns], cluster)
			}
		}
	}
	if len(cfg.ProxmoxStorages) == 0 {
		clusters = sortedKeys(l.policy.Proxmox)
		unread = clusters
	}
	return func(namespace string) owner {
		here := writers[namespace]
		switch {
		case len(here) == 1 && len(unread) == 0, len(here) == 1 && len(clusters) == 1:
			return owner{cluster: here[0]}
		case len(here) > 1:
			return owner{rivals: here, why: fmt.Sprintf("clusters %s write to the same namespace", strings.Join(here, " and "))}
		case len(here) == 1:
			return owner{cluster: here[0]}
		case len(clusters) == 1 && len(unread) == 1:
			return owner{cluster: clusters[0]}
		case len(unread) > 0:
			return owner{rivals: unread, why: fmt.Sprintf("the storages of %s that use it could not be read", strings.Join(unread, " and "))}
		}
		return owner{why: "no storage of proxmox_storages uses it"}
	}
}

// namespacesOf returns the namespaces that a cluster's PBS storage writes to:
// one, unless its nodes differ; none when it cannot be read.
func (l *lab) namespacesOf(cluster, storage, datastore string) []string {
	var out []string
	for _, s := range l.facts.Proxmox[cluster].Value.Storages {
		if s.Type != "pbs" || s.Name != storage || s.Datastore != "" && datastore != "" && s.Datastore != datastore {
			continue
		}
		if !slices.Contains(out, s.Namespace) {
			out = append(out, s.Namespace)
		}
	}
	return out
}

// pbsSource gathers a datastore's backup snapshots by the guests that they are of.
func (l *lab) pbsSource(name string) *source {
	cfg, seen := l.policy.PBS[name], l.facts.PBS[name]
	f := seen.Value
	s := &source{name: "pbs." + name, kind: "pbs", title: "PBS " + name, noun: "guest", reach: observed(seen, l.now)}
	l.place(s, cfg.Disk, cfg.Site, cfg.Path, cfg.URL)
	if s.disk == "" && s.tier == backup.DurableLocal && l.besideProxmox(cfg) {
		s.medium = backup.LiveMedium
	}
	s.again = l.backupHint(cfg)
	s.away = l.pbsAway(s, f)
	s.blind = hiddenRows(f)
	datastore := cfg.Datastore
	if datastore == "" {
		datastore = f.Datastore
	}
	usual := l.facts.Past.Durations[s.name]
	if usual <= 0 {
		usual = l.usualVzdump(cfg)
	}
	plan := scheduled(cfg.Every.Std(), cfg.Grace.Std(), usual, cfg.Keep)
	if slices.ContainsFunc(f.Jobs, pulls) {
		plan.lag = l.syncLag(name)
	}
	l.addBackups(s, f, l.owners(name, cfg, datastore))
	l.expectGuests(s, cfg)
	for _, g := range s.groups {
		g.schedule = plan
	}
	s.running, s.last = l.pbsRuns(s, cfg, f, plan)
	s.next = l.nextVzdump(cfg)
	return s
}

// addBackups sorts backup snapshots into groups.
func (l *lab) addBackups(s *source, f pbs.Facts, whose func(string) owner) {
	owners := map[string]owner{}
	carried := carriesVerification(&f)
	counts := map[backup.AssetID]int{}
	strangers := map[string]int{}
	for i := range f.Snapshots {
		b := &f.Snapshots[i]
		o, ok := owners[b.Namespace]
		if !ok {
			o = whose(b.Namespace)
			owners[b.Namespace] = o
		}
		for _, id := range l.withHeirs(assetsOf(b, o), b.Time) {
			counts[id]++
		}
		if b.Type != "host" && o.cluster == "" && len(o.rivals) == 0 {
			strangers[b.Namespace]++
		}
	}
	for i := range f.Snapshots {
		b := &f.Snapshots[i]
		o := owners[b.Namespace]
		for _, id := range l.withHeirs(assetsOf(b, o), b.Time) {
			g := s.of(id)
			if g.copies == nil {
				g.copies = make([]backup.Copy, 0, counts[id])
				l.describe(g, b, o)
			}
			if kind := l.guests[id]; kind != nil && !sameKind(b.Type, string(kind.Kind)) {
				continue // an earlier guest of another kind had this VMID
			}
			g.copies = append(g.copies, pbsCopy(s, id, &f, b, carried(b.Namespace)))
		}
	}
	for _, ns := range sortedKeys(strangers) {
		s.extra = append(s.extra, found(backup.Warning, "unattributed", s.name+"/"+ns,
			fmt.Sprintf("%s in namespace %q of %s belong to no known cluster: %s", counted(strangers[ns], "backup snapshot"), ns, s.title, owners[ns].why),
			fmt.Sprintf("Add the Proxmox storage that uses this namespace to proxmox_storages of [%s], or leave the namespace out of its namespaces", s.name)))
	}
}

// assetsOf names the assets that a backup snapshot may be of: one, or with
// rival clusters one in each.
func assetsOf(b *pbs.Snapshot, o owner) []backup.AssetID {
	if b.Type == "host" {
		return []backup.AssetID{{Kind: backup.Host, Name: b.ID}}
	}
	if o.cluster != "" {
		return []backup.AssetID{{Kind: backup.Guest, Scope: o.cluster, Name: b.ID}}
	}
	var ids []backup.AssetID
	for _, cluster := range o.rivals {
		ids = append(ids, backup.AssetID{Kind: backup.Guest, Scope: cluster, Name: b.ID})
	}
	return ids
}

func (l *lab) describe(g *group, b *pbs.Snapshot, o owner) {
	g.label = l.labelOf(g.asset)
	switch {
	case b.Type == "host":
		g.expected = true
	case len(o.rivals) > 0:
		g.doubt = o.why
	}
}

func sameKind(backupType, guestKind string) bool {
	return guestKind == "" || (backupType == "vm") == (guestKind == "qemu")
}

// carriesVerification finds the namespaces that a sync fills and that are never
// verified where they are: a synced copy carries the state of its source, which
// proves nothing of the bytes here.
func carriesVerification(f *pbs.Facts) func(namespace string) bool {
	verifies := slices.ContainsFunc(f.Jobs, func(j pbs.Job) bool { return j.Kind == pbs.VerifyJob && !j.Disabled }) ||
		slices.ContainsFunc(f.Runs, func(r backup.Run) bool { return r.Job == "verify" })
	var filled []string
	for _, j := range f.Jobs {
		if pulls(j) {
			filled = append(filled, j.Namespace)
		}
	}
	return func(namespace string) bool {
		return !verifies && slices.ContainsFunc(filled, func(ns string) bool {
			return ns == "" || ns == namespace || strings.HasPrefix(namespace, ns+"/")
		})
	}
}

// pbsCopy writes a backup snapshot as a copy.
func pbsCopy(s *source, id backup.AssetID, f *pbs.Facts, b *pbs.Snapshot, carried bool) backup.Copy {
	c := backup.Copy{Asset: id, Tier: s.tier, Source: s.name, ID: b.Key(), Kind: "backup",
		Medium: s.medium, Site: s.site, Taken: b.Time, Size: b.Size, Encrypted: b.Encrypted(), Protected: b.Protected,
		State: backup.Complete, Safety: strings.HasPrefix(b.Comment, backup.SafetyComment)}
	switch {
	case b.InFlight || b.Unreadable || b.Verify.State == "failed":
		c.State, c.Why = f.State(*b)
	case b.Verified() && !carried:
		at := b.Verify.At
		if at.IsZero() {
			at = b.Time // it was verified later than it was made; how much is not known
		}
		c.Proofs = []backup.Proven{{Level: backup.EveryByteRead, At: at}}
	}
	return c
}

// pulls says whether a job fills its datastore with copies of other backups.
func pulls(j pbs.Job) bool {
	return j.Kind == pbs.SyncJob && j.Direction != "push" && !j.Disabled
}

// syncLag is how old a backup may be when it is synced on: it keeps its time.
func (l *lab) syncLag(name string) time.Duration {
	var lag time.Duration
	for other, cfg := range l.policy.PBS {
		if other != name {
			from := scheduled(cfg.Every.Std(), cfg.Grace.Std(), 0, backup.Keep{})
			lag = max(lag, from.every+from.grace)
		}
	}
	return lag
}

// expectGuests says which guests the source should hold: those that a job of
// their cluster writes there, and those it has copies of, as long as they live.
func (l *lab) expectGuests(s *source, cfg pbs.Config) {
	for _, id := range l.guestIDs() {
		g := l.guests[id]
		if g.parked == "" && slices.ContainsFunc(g.coverage.jobs, func(j proxmox.BackupJob) bool { return slices.Contains(cfg.ProxmoxStorages, g.cluster+"/"+j.Storage) }) {
			group := s.of(id)
			group.expected, group.label = group.doubt == "", l.label(g)
		}
	}
	for _, group := range s.groups {
		if group.asset.Kind != backup.Guest || group.doubt != "" {
			continue
		}
		g, lives := l.guests[group.asset]
		switch {
		case lives:
			group.expected, group.parked = g.parked == "", g.parked
		case l.guestListKnown(group.asset.Scope):
			group.parked = "deleted"
		default:
			group.expected, group.mayBeGone = true, true
		}
	}
}

func (l *lab) guestIDs() []backup.AssetID {
	ids := make([]backup.AssetID, 0, len(l.guests))
	for id := range l.guests {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, compareIDs)
	return ids
}

// guestListKnown says whether a guest that is not listed is really gone.
func (l *lab) guestListKnown(cluster string) bool {
	seen, ok := l.facts.Proxmox[cluster]
	return ok && seen.Known() && hiddenGuests(seen.Value) == ""
}
