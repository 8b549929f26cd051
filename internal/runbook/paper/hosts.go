package paper

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"cairn/internal/runbook/byhand"
	"cairn/proxmox"
)

// hostLoss is a new PBS over the datastore that is left.
func (w *paperWriter) hostLoss() {
	h := byhand.Commands{Config: w.c}
	b := Block{Title: "The backup host is gone (backup-host-loss)", Level: 2, Text: []string{
		w.expected("backup-host-loss"),
		"On a new host with Debian, as root, in one shell (bash). Give it the name and address of the old one: Proxmox VE does not let a storage's server be changed, and removing the storage removes its encryption key with it. The disk holds the datastore: it is taken over as it is, and never created anew over it."}}
	for _, name := range slices.Sorted(maps.Keys(w.c.PBS)) {
		c := w.c.PBS[name]
		if c.Path == "" {
			b.Text = append(b.Text, fmt.Sprintf("Where datastore %s of %s lies on its host is not configured (path).", c.Datastore, c.URL))
			continue
		}
		b.Commands = append(b.Commands, h.BackupServer(name, w.f.PBS[name].Value)...)
		b.Commands = append(b.Commands, w.expectAll(name)...)
	}
	b.Text = append(b.Text, "Then install cairn, put its configuration and its secrets back, and let it look: cairn check; cairn restore backup-host-loss --plan. Where users were made anew, their tokens' secrets are new ones, too.")
	w.add(b)
}

// expectAll leads the storages of all clusters to the new server's certificate.
func (w *paperWriter) expectAll(name string) (all []string) {
	for _, cluster := range slices.Sorted(maps.Keys(w.f.Proxmox)) {
		known := w.f.Proxmox[cluster].Value
		for _, s := range (byhand.Commands{Config: w.c}).Storages(cluster, known) {
			if s.PBS != name || len(known.Nodes) == 0 {
				continue
			}
			all = append(all, byhand.ExpectCertificate(w.address(cluster, known), s.Name))
		}
	}
	return all
}

// address is where a cluster answers, for a person's shell.
func (w *paperWriter) address(cluster string, known proxmox.Facts) string {
	for _, u := range w.c.Proxmox[cluster].URLs {
		if host := byhand.HostOf(u); host != "" {
			return host
		}
	}
	return known.Nodes[0].Name
}

// hypervisorLoss is a new Proxmox VE with the storage of the backups, and its
// guests one after the other, each started in its turn.
func (w *paperWriter) hypervisorLoss() {
	h := byhand.Commands{Config: w.c}
	for _, cluster := range slices.Sorted(maps.Keys(w.f.Proxmox)) {
		known := w.f.Proxmox[cluster].Value
		b := Block{Title: "A hypervisor is gone (hypervisor-loss): cluster " + cluster, Level: 2, Text: []string{
			w.expected("hypervisor-loss"),
			"Install Proxmox VE of the same major version" + versionWord(known.Version) + " under the old name, and make the storages that the guests need, under their old names. While the backup host stands, cairn does the rest: cairn restore hypervisor-loss " + cluster + ". By hand, as root on the node, in one shell (bash): what it was configured with, then guest by guest.",
			"Where the backups are encrypted, pvesm status must show their storage with its key before the first restore. A node of a cluster that lives is first taken out of it, from a node that is left: where half of the nodes or more are gone, pvecm expected N (how many are left) first, since without a quorum nothing can be written; ha-manager remove of what it ran; of guests on shared or replicated storage mv /etc/pve/nodes/NAME/qemu-server/VMID.conf (of containers lxc/) to the directory of a node that is left, which is all that they need; then pvecm delnode NAME, and its directory below /etc/pve/nodes is moved away."}}
		b.Commands = h.Hypervisor(cluster, "", known, byhand.Commands{Config: w.c}.Storages(cluster, known))
		storages := w.backupStorages(cluster)
		for _, g := range w.order() {
			if g.cluster != cluster {
				continue
			}
			b.Commands = append(b.Commands, restoreCommand(g, storages))
			if g.held != nil {
				b.Commands = append(b.Commands, tagLineage(g)...)
			}
			if g.OnBoot && g.held != nil {
				b.Commands = append(b.Commands, startCommand(g.Guest))
			}
		}
		w.add(b)
	}
}

func startCommand(g proxmox.Guest) string {
	return strings.Join([]string{toolOf(g), "start", fmt.Sprint(g.VMID)}, " ")
}

func toolOf(g proxmox.Guest) string {
	if g.Kind == proxmox.LXC {
		return "pct"
	}
	return "qm"
}

// tagLineage writes down again whose place a guest took: its backup may be from before
// that, and without the tag the older backups are not counted as its own. The tags
// that came back with it stay; Proxmox VE drops those that are there twice.
func tagLineage(g lostGuest) []string {
	tags := g.LineageTags()
	if len(tags) == 0 {
		return nil
	}
	return []string{fmt.Sprintf(`%[1]s set %[2]d --tags "$(%[1]s config %[2]d | sed -n 's/^tags: //p');%[3]s"   # whose place it took`, toolOf(g.Guest), g.VMID, strings.Join(tags, ";"))}
}
