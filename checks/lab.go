package checks

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"cairn/internal/backup"
	"cairn/proxmox"
)

// lab is what one judgement works on: its input, and what every subject needs
// to know about it.
type lab struct {
	policy  Policy
	facts   Facts
	now     time.Time
	home    *time.Location
	guests  map[backup.AssetID]*guest
	heirs   map[backup.AssetID][]heir // that took a guest's place
	disks   map[string]medium         // judged first: a disk that is gone explains much
	sources []*source                 // in the order to show
	proofs  map[backup.AssetID][]OffSiteProof
	partial bool // some configured system was not asked
}

// survey gathers the copies of every source; it judges only the disks.
func survey(p Policy, f Facts, now time.Time) *lab {
	l := &lab{policy: p, facts: f, now: now, home: p.Home}
	if l.home == nil {
		l.home = time.UTC
	}
	l.partial = lacks(p.Proxmox, f.Proxmox) || lacks(p.PBS, f.PBS) || lacks(p.Restic, f.Restic) ||
		lacks(p.Postgres, f.Postgres) || lacks(p.Disks, f.Disks)
	l.findStorages()
	l.guests = l.readGuests()
	l.heirs = l.readHeirs()
	l.readProofs()
	l.disks = l.readDisks()
	for _, name := range names(p.Proxmox, f.Proxmox) {
		l.sources = append(l.sources, l.snapshotSource(name))
		if archives := l.archiveSource(name); archives != nil {
			l.sources = append(l.sources, archives)
		}
	}
	for _, name := range names(p.PBS, f.PBS) {
		l.sources = append(l.sources, l.pbsSource(name))
	}
	for _, name := range names(p.Restic, f.Restic) {
		l.sources = append(l.sources, l.resticSource(name))
	}
	for _, name := range names(p.Postgres, f.Postgres) {
		l.sources = append(l.sources, l.postgresSource(name))
		for _, t := range toolsOf(p.Postgres[name]) {
			l.sources = append(l.sources, l.toolSource(name, t))
		}
	}
	for _, s := range l.sources {
		s.arrange()
		if s.last != nil {
			s.last.Started = s.last.Started.In(l.home) // as it is written
		}
		l.matchRuns(s)
	}
	slices.SortStableFunc(l.sources, func(a, b *source) int { return int(a.tier - b.tier) })
	return l
}

// names are the configured names that were asked, sorted.
func names[C, F any](configured map[string]C, asked map[string]F) []string {
	var out []string
	for name := range configured {
		if _, ok := asked[name]; ok {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

func lacks[C, F any](configured map[string]C, asked map[string]F) bool {
	for name := range configured {
		if _, ok := asked[name]; !ok {
			return true
		}
	}
	return false
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// guest is a guest of a cluster, with what its backup jobs say of it.
type guest struct {
	proxmox.Guest
	id       backup.AssetID
	cluster  string
	policy   proxmox.GuestConfig
	parked   string // why no alarm is raised for it; empty: it is protected
	current  bool   // its cluster answered this time
	coverage coverage
}

// label names a guest for a person; its cluster is said where there are several.
func (l *lab) label(g *guest) string {
	number := strconv.Itoa(g.VMID)
	if len(l.policy.Proxmox) > 1 {
		number = g.cluster + "/" + number
	}
	if g.Name == "" {
		return "guest " + number
	}
	return g.Name + " (" + number + ")"
}

// labelOf names any asset for a person.
func (l *lab) labelOf(id backup.AssetID) string {
	switch id.Kind {
	case backup.Guest:
		if g, ok := l.guests[id]; ok {
			return l.label(g)
		}
		if len(l.policy.Proxmox) > 1 {
			return "guest " + id.Scope + "/" + id.Name
		}
		return "guest " + id.Name
	case backup.Database:
		return id.Name + " on " + id.Scope
	case backup.Cluster:
		return "server " + id.Scope
	case backup.Path, backup.Composite:
		return id.Name
	}
	return id.String()
}

// guestID is the identity of a guest: cluster and VMID, never the VMID alone.
func guestID(cluster string, vmid int) backup.AssetID {
	return backup.AssetID{Kind: backup.Guest, Scope: cluster, Name: strconv.Itoa(vmid)}
}

// parkedTags are the tags by which an admin says that a guest needs no copy.
var parkedTags = []string{"parked", "nobackup", "no-backup"}

func (l *lab) readGuests() map[backup.AssetID]*guest {
	guests := map[backup.AssetID]*guest{}
	for _, cluster := range names(l.policy.Proxmox, l.facts.Proxmox) {
		seen := l.facts.Proxmox[cluster]
		for _, one := range seen.Value.Guests {
			g := &guest{Guest: one, id: guestID(cluster, one.VMID), cluster: cluster, current: seen.Current()}
			g.policy = l.policy.Guests[cluster+"/"+strconv.Itoa(one.VMID)]
			g.coverage = covered(one, seen.Value)
			g.parked = parkedWhy(g)
			guests[g.id] = g
		}
	}
	return guests
}

// restoredCopy is the name that a guest has which a restore of ours put beside the
// original, until it takes the original's place.
var restoredCopy = regexp.MustCompile(`-restore-\d{8}-\d+$`)

// replacedOne is the name of an original that was kept when a restored guest took
// its place: it is out of the backup jobs.
var replacedOne = regexp.MustCompile(`-replaced-\d{8}-\d+$`)

func parkedWhy(g *guest) string {
	switch {
	case g.Template:
		return "template"
	case g.policy.Ignore:
		return "ignored"
	case restoredCopy.MatchString(g.Name):
		return "restored copy"
	case replacedOne.MatchString(g.Name):
		return "replaced"
	case slices.ContainsFunc(g.Tags, func(tag string) bool { return slices.Contains(parkedTags, strings.ToLower(tag)) }):
		return "parked"
	case g.coverage.excluded && !g.coverage.enabled():
		return "excluded"
	}
	return ""
}

// coverage is what the cluster's backup jobs say of one guest.
type coverage struct {
	jobs     []proxmox.BackupJob // enabled ones that back it up
	disabled []string            // ids of disabled ones that would
	excluded bool                // a job names it as an exception
	unclear  bool                // whether a job's pool holds it is not known
}

func (c coverage) enabled() bool { return len(c.jobs) > 0 }

// covered finds the jobs of a guest. PVE's own list of guests without a job
// takes disabled jobs for jobs, so the jobs themselves are looked at; only where no
// guest's pool is told are a pool's members taken from that list.
func covered(g proxmox.Guest, f proxmox.Facts) coverage {
	var c coverage
	var pools []proxmox.BackupJob
	told := slices.ContainsFunc(f.Guests, func(g proxmox.Guest) bool { return g.Pool != "" })
	for _, job := range f.Jobs {
		if job.Node != "" && job.Node != g.Node {
			continue
		}
		in := slices.Contains(job.VMIDs, g.VMID)
		switch {
		case slices.Contains(job.Exclude, g.VMID):
			c.excluded, in = true, false
		case job.All:
			in = true
		case job.Pool != "" && told:
			in = job.Pool == g.Pool // a job takes none of the pools within its own
		case job.Pool != "":
			pools = append(pools, job)
			continue
		}
		switch {
		case in && job.Enabled:
			c.jobs = append(c.jobs, job)
		case in:
			c.disabled = append(c.disabled, job.ID)
		}
	}
	if len(c.jobs) == 0 && len(c.disabled) == 0 && len(pools) > 0 && !slices.Contains(f.NotBackedUp, g.VMID) {
		for _, job := range pools {
			if job.Enabled {
				c.jobs = append(c.jobs, job)
			} else {
				c.disabled = append(c.disabled, job.ID)
			}
		}
		c.unclear = len(pools) > 1
	}
	return c
}
