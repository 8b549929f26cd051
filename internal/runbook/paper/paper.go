// Package paper prints the runbook: what to do when only paper and the off-site copy
// are left.
package paper

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"cairn/checks"
	"cairn/internal/backup"
	"cairn/internal/config"
	"cairn/internal/secret"
	"cairn/proxmox"
)

// Runbook is a printable runbook: what to do with this very lab when everything is
// gone but paper and the off-site copy. It holds no secret: where each is kept.
type Runbook []Block

// Block is a heading with what stands below it, in this order.
type Block struct {
	Title    string
	Level    int // 1: the title
	Text     []string
	Table    [][]string // its first row is the head
	Commands []string   // to be run one after the other, as printed
}

// New writes the runbook from the configuration and the last survey. It reads
// nothing by itself.
func New(c *config.Config, f checks.Facts, r checks.Report, now time.Time) Runbook {
	w := paperWriter{c: c, f: f, r: r, now: now}
	w.head()
	w.contacts()
	w.sources()
	w.copies()
	w.keys()
	w.scenarios()
	w.guests()
	w.siteLoss()
	w.hostLoss()
	w.hypervisorLoss()
	w.usbLoss()
	w.smaller()
	return w.paper
}

type paperWriter struct {
	c     *config.Config
	f     checks.Facts
	r     checks.Report
	now   time.Time
	paper Runbook
}

func (w *paperWriter) add(b Block) { w.paper = append(w.paper, b) }

func (w *paperWriter) head() {
	title := w.c.Title
	if title == "" {
		title = "home lab"
	}
	w.add(Block{Title: "Runbook of " + title, Level: 1, Text: []string{
		"Written " + w.stamp(w.now) + ". What is older than a month should be printed anew: cairn runbook.",
		"First: stop what makes it worse. While data is still being changed or encrypted, unplug the network of what does it; let nothing prune, forget or synchronise (cairn hold on). A standby that copied the mistake is no way back.",
		"Then find the scenario below. Take the times as they are meant: the median of measured runs, or an assumption where it says so.",
	}})
}

// stamp is a time with its zone: paper is read elsewhere.
func (w *paperWriter) stamp(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	home := w.c.Home
	if home == nil {
		home = time.UTC
	}
	return t.In(home).Format("2006-01-02 15:04 MST")
}

func (w *paperWriter) contacts() {
	b := Block{Title: "Whom to call", Level: 2, Table: [][]string{{"who", "for", "reach"}}}
	for _, c := range w.c.Runbook.Contacts {
		b.Table = append(b.Table, []string{c.Name, c.For, c.Reach})
	}
	if len(b.Table) == 1 {
		b.Table, b.Text = nil, []string{"Nobody is named: add contacts to [runbook] of the configuration."}
	}
	w.add(b)
}

// sources is where each copy is, how old, and how far it is proven.
func (w *paperWriter) sources() {
	b := Block{Title: "Where the copies are", Level: 2, Table: [][]string{{"source", "tier", "where", "newest", "oldest of the newest", "copies", "status"}}}
	for _, t := range w.r.Tiers {
		for _, s := range t.Sources {
			b.Table = append(b.Table, []string{s.Name, fmt.Sprintf("%d %s", t.Tier, t.Name), w.where(s.Name), w.stamp(s.Newest), w.stamp(s.Stalest), strconv.Itoa(s.Copies), s.Word})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(w.c.Disks)) {
		var ids []string
		for _, u := range w.c.Disks[name].Disks {
			ids = append(ids, strings.TrimSpace(u.Name+" UUID "+u.UUID+" "+u.Serial))
		}
		b.Text = append(b.Text, fmt.Sprintf("Disk %s is mounted on %s: %s.", name, w.c.Disks[name].Mount, strings.Join(ids, "; ")))
	}
	w.add(b)
}

// copies is each copy that counts, with its date and how far it is proven.
func (w *paperWriter) copies() {
	b := Block{Title: "Every copy, its date and its proof", Level: 2, Table: [][]string{{"what", "newest whole copy in", "made", "proof", "proved", "lacks"}}}
	for _, a := range w.r.Assets {
		for _, h := range a.Held {
			if a.Parked || h.Taken.IsZero() {
				continue
			}
			name := a.ID.String()
			if a.Name != "" && !strings.HasSuffix(name, a.Name) {
				name = a.Name + " (" + name + ")"
			}
			proved := ""
			if !h.ProvedAt.IsZero() {
				proved = w.stamp(h.ProvedAt)
			}
			b.Table = append(b.Table, []string{name, h.Source, w.stamp(h.Taken), h.Proof.String(), proved, h.Missing})
		}
	}
	if len(b.Table) == 1 {
		b.Table, b.Text = nil, []string{"None is known."}
	}
	w.add(b)
}

func (w *paperWriter) where(source string) string {
	table, name, _ := strings.Cut(source, ".")
	switch table {
	case "proxmox":
		return strings.Join(w.c.Proxmox[name].URLs, ", ")
	case "pbs":
		p := w.c.PBS[name]
		return strings.TrimSpace(fmt.Sprintf("%s datastore %s %s", p.URL, p.Datastore, p.Path))
	case "restic":
		return w.c.Restic[name].Where()
	case "postgres":
		var dirs []string
		if p := w.c.Postgres[name]; p.Dump != nil {
			dirs = append(dirs, p.Dump.Dir)
		}
		if p := w.c.Postgres[name]; p.Base != nil {
			dirs = append(dirs, p.Base.Dir)
		}
		if p := w.c.Postgres[name]; p.WAL != nil {
			dirs = append(dirs, p.WAL.Dir)
		}
		return strings.Join(dirs, ", ")
	}
	return ""
}

// keys is which key opens what and where it is kept. A key that lies only inside
// what it opens is no key.
func (w *paperWriter) keys() {
	b := Block{Title: "Keys", Level: 2, Table: [][]string{{"opens", "on the backup host it is read from", "kept apart, at"}}}
	row := func(source, read string) {
		kept := w.c.Runbook.Keys[source]
		if kept == "" {
			kept = "NOT WRITTEN DOWN: add it to [runbook.keys]"
		}
		b.Table = append(b.Table, []string{source, read, kept})
	}
	for _, name := range slices.Sorted(maps.Keys(w.c.Restic)) {
		row("restic."+name, place(w.c.Restic[name].Password))
	}
	for _, name := range slices.Sorted(maps.Keys(w.c.PBS)) {
		read := place(w.c.PBS[name].TokenSecret)
		for _, s := range w.c.PBS[name].ProxmoxStorages {
			_, storage, _ := strings.Cut(s, "/")
			read += "; encryption key on the nodes: /etc/pve/priv/storage/" + storage + ".enc"
		}
		row("pbs."+name, read)
	}
	for _, name := range slices.Sorted(maps.Keys(w.c.Postgres)) {
		row("postgres."+name, place(w.c.Postgres[name].Password))
	}
	b.Text = []string{"The keys themselves are not printed here, and must not be."}
	for _, p := range w.r.Problems {
		if p.Code == "key-inside" {
			b.Text = append(b.Text, "WARNING: "+p.Summary+". "+p.Hint+".")
		}
	}
	w.add(b)
}

func place(s secret.Source) string {
	switch {
	case s.File != "":
		return "file " + s.File
	case s.Credential != "":
		return "systemd credential " + s.Credential
	case len(s.Command) > 0:
		return "command " + s.Command[0]
	case s.Env != "":
		return "variable " + s.Env
	case s.Ask:
		return "a person types it"
	}
	return "none"
}

func (w *paperWriter) scenarios() {
	b := Block{Title: "If this fails", Level: 2, Table: [][]string{{"what", "way back", "would lose", "takes", "p90", "basis", "stands in the way"}}}
	for _, s := range w.r.Scenarios {
		loss := "everything, or not known"
		if s.RPO != nil {
			loss = backup.Age(*s.RPO)
		}
		basis := s.Basis
		if s.Runs > 0 {
			basis += fmt.Sprintf(", %d runs", s.Runs)
		}
		b.Table = append(b.Table, []string{s.Name + ": " + s.Target, s.Method, loss, backup.Age(s.RTO), backup.Age(s.RTOP90), basis, strings.Join(s.Blockers, "; ")})
	}
	w.add(b)
}

// lostGuest is a guest in the order of its restore.
type lostGuest struct {
	proxmox.Guest
	cluster  string
	priority int
	held     *checks.Held // its newest backup
	away     *checks.Held // its off-site copy; nil: none is known
}

// made is the VMID that its newest backup was made as: until a guest that took
// another's place is backed up itself, that of the other.
func (g lostGuest) made() int {
	if g.held != nil {
		if id, err := strconv.Atoi(path.Base(path.Dir(g.held.ID))); err == nil && id > 0 {
			return id
		}
	}
	return g.VMID
}

// order are the guests by priority, then by VMID.
func (w *paperWriter) order() (all []lostGuest) {
	held, away := map[string]*checks.Held{}, map[string]*checks.Held{}
	parked := map[string]bool{}
	for _, a := range w.r.Assets {
		parked[a.ID.String()] = a.Parked
		for _, h := range a.Held {
			if strings.HasPrefix(h.Source, "pbs.") && !h.Taken.IsZero() && (held[a.ID.String()] == nil || h.Taken.After(held[a.ID.String()].Taken)) {
				held[a.ID.String()] = &h
			}
			if h.Tier == backup.OffSite && !h.Taken.IsZero() && (away[a.ID.String()] == nil || h.Taken.After(away[a.ID.String()].Taken)) {
				away[a.ID.String()] = &h
			}
		}
	}
	for cluster, seen := range w.f.Proxmox {
		for _, g := range seen.Value.Guests {
			id := proxmox.Asset(cluster, g.VMID).String()
			if parked[id] {
				continue
			}
			priority := w.c.Guests[fmt.Sprintf("%s/%d", cluster, g.VMID)].Order()
			all = append(all, lostGuest{g, cluster, priority, held[id], away[id]})
		}
	}
	slices.SortFunc(all, func(a, b lostGuest) int {
		return cmp.Or(cmp.Compare(a.priority, b.priority), cmp.Compare(a.cluster, b.cluster), cmp.Compare(a.VMID, b.VMID))
	})
	return all
}

func (w *paperWriter) guests() {
	b := Block{Title: "Guests, in the order to restore them", Level: 2, Table: [][]string{{"guest", "VMID", "node", "newest backup", "proof", "proved", "off-site as of"}}}
	for _, g := range w.order() {
		row := []string{g.Name, fmt.Sprintf("%s/%d", g.cluster, g.VMID), g.Node, "none", "", "", w.offSite(g)}
		if g.held != nil {
			row[3], row[4], row[5] = w.stamp(g.held.Taken), g.held.Proof.String(), w.stamp(g.held.ProvedAt)
			if g.made() != g.VMID {
				row[3] += fmt.Sprintf(", made as VMID %d", g.made())
			}
		}
		b.Table = append(b.Table, row)
	}
	w.add(b)
}

// offSite says of when a guest's off-site copy is.
func (w *paperWriter) offSite(g lostGuest) string {
	switch {
	case g.away == nil:
		return "NONE"
	case g.away.Missing != "":
		return w.stamp(g.away.Taken) + ", NOT WHOLE: " + g.away.Missing
	case g.away.Proof < backup.MetadataRead:
		return w.stamp(g.away.Taken) + ", not proven"
	}
	return w.stamp(g.away.Taken) + ", proven"
}
