package paper

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"cairn/internal/runbook/byhand"
	"cairn/proxmox"
)

func versionWord(v string) string {
	if v == "" {
		return ""
	}
	return " (it was " + v + ")"
}

// backupStorages are the PBS storages of a cluster, each once.
func (w *paperWriter) backupStorages(cluster string) (found []proxmox.Storage) {
	for _, s := range w.f.Proxmox[cluster].Value.Storages {
		if s.Type == "pbs" && !slices.ContainsFunc(found, func(o proxmox.Storage) bool { return o.Name == s.Name }) {
			found = append(found, s)
		}
	}
	return found
}

// restoreCommand brings one guest back from its newest backup, where one is known.
func restoreCommand(g lostGuest, storages []proxmox.Storage) string {
	kind, tool := "vm", "qmrestore %s %d"
	if g.Kind == proxmox.LXC {
		kind, tool = "ct", "pct restore %[2]d %[1]s"
	}
	if g.held == nil || len(storages) == 0 {
		return fmt.Sprintf("# %s (%d): no backup is known", g.Name, g.VMID)
	}
	volume := fmt.Sprintf("%s:backup/%s/%d/%s", storages[0].Name, kind, g.made(), g.held.Taken.UTC().Format("2006-01-02T15:04:05Z"))
	text := fmt.Sprintf(tool, byhand.Quoted(volume), g.VMID)
	for _, d := range g.Disks {
		if d.Storage != "" && (d.Key == "rootfs" || g.Kind == proxmox.QEMU) {
			return text + " --storage " + byhand.Quoted(d.Storage)
		}
	}
	return text
}

// smaller are the scenarios that cairn walks back by itself.
func (w *paperWriter) smaller() {
	b := Block{Title: "Less than that", Level: 2, Text: []string{"While the backup host stands, cairn does it; every command shows its plan with --plan and destroys nothing without being told the name."}}
	for i, g := range w.order() {
		if i == 0 {
			b.Commands = append(b.Commands, "cairn snapshot list "+byhand.Quoted(g.Name), "cairn restore guest-loss "+byhand.Quoted(g.Name)+" --points")
		}
		b.Commands = append(b.Commands, "cairn restore guest-loss "+byhand.Quoted(g.Name)+" --plan")
	}
	for _, name := range slices.Sorted(maps.Keys(w.c.Postgres)) {
		if d := w.c.Postgres[name].Dump; d != nil {
			for _, database := range d.Databases {
				b.Text = append(b.Text, fmt.Sprintf("Dumps of %s of %s lie in %s; the newest: %s.", database, name, filepath.Clean(d.Dir), w.newestOf("postgres."+name+"/"+database)))
			}
		}
	}
	w.add(b)
}

func (w *paperWriter) newestOf(asset string) string {
	var newest time.Time
	id := ""
	for _, a := range w.r.Assets {
		for _, h := range a.Held {
			if a.ID.String() == asset && strings.HasPrefix(h.Source, "postgres.") && h.Taken.After(newest) {
				newest, id = h.Taken, h.ID
			}
		}
	}
	if id == "" {
		return "none is known"
	}
	return id + " of " + w.stamp(newest)
}
