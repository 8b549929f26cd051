package lab

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"cairn/internal/lab/pve"
)

const (
	readToken = "read"
	actToken  = "act"
	storage   = "pbs-usb"
)

// pveWorld is the cluster: two nodes, a thin pool and a ZFS pool, the guests,
// and the nightly job that saves them to the backup server.
func (l *Lab) pveWorld() pve.World {
	h := l.home
	w := pve.World{
		Cluster: "home",
		Nodes:   []pve.Node{{Name: "pve1", Memory: 32 << 30}, {Name: "pve2", Memory: 32 << 30}},
		Now:     l.clock.now,
		Users: []pve.User{{ID: "cairn@pve", Tokens: []pve.Token{
			{Name: readToken, Secret: l.secret("pve-read"), Privsep: true},
			{Name: actToken, Secret: l.secret("pve-act"), Privsep: true},
		}}},
		Roles: map[string][]string{
			// To see backups of a storage takes more than an auditor has.
			"CairnRead": {"VM.Audit", "VM.Backup", "Datastore.Audit", "Datastore.AllocateSpace", "Sys.Audit"},
		},
		ACL: []pve.ACL{
			{Path: "/", Who: "cairn@pve", Role: "Administrator"},
			{Path: "/", Who: "cairn@pve!" + readToken, Role: "CairnRead"},
			{Path: "/", Who: "cairn@pve!" + actToken, Role: "Administrator"},
		},
		Storages: []pve.Storage{
			{ID: "local", Type: "dir", Path: "/var/lib/vz", Content: []string{"iso", "vztmpl", "backup"}, Total: 100 * gib, Base: 21 * gib},
			{ID: "local-lvm", Type: "lvmthin", Nodes: []string{"pve1"}, VGName: "pve", Pool: "data", Total: 400 * gib, Base: 120 * gib, MetaTotal: 4 * gib, Meta: gib},
			{ID: "local-zfs", Type: "zfspool", Nodes: []string{"pve2"}, Pool: "rpool/data", Total: 800 * gib, Base: 240 * gib},
			{ID: storage, Type: "pbs", Shared: true, Server: "127.0.0.1", Datastore: datastore, Namespace: namespace,
				Username: "backup@pbs!pve", Fingerprint: l.PBS.Fingerprint(), Store: l.store},
		},
		Backups: l.behind,
		Jobs: []pve.Job{{
			"id": "backup-nightly", "enabled": "1", "all": "1", "exclude": "110,900", "schedule": h.runStart(0).UTC().Format("15:04"),
			"storage": storage, "mode": "snapshot", "notes-template": "{{guestname}}", "comment": "every guest, every night",
		}},
		Pace: pve.Pace{Step: 20 * time.Millisecond},
	}
	for _, g := range h.guests {
		w.Guests = append(w.Guests, h.pveGuest(g))
	}
	return w
}

func (h home) pveGuest(g guest) pve.Guest {
	made := pve.Guest{
		VMID: g.vmid, Kind: g.kind, Node: g.node, Config: g.config(), Running: !g.parked,
		Content: map[string]string{g.diskKey(): g.content(h.now)},
	}
	if !g.parked {
		made.Started = h.now.Add(-time.Duration(g.vmid%20+2) * day)
	}
	for _, s := range g.snapshots {
		at := h.now.Add(-s.ago)
		made.Snapshots = append(made.Snapshots, pve.Snapshot{
			Name: s.name, Parent: s.parent, Description: s.why, Time: at, RAM: s.ram,
			Content: map[string]string{g.diskKey(): g.content(at)},
		})
	}
	return made
}

// history adds the nightly runs of the last two weeks to the tasks.
func (h home) history(server *pve.Server) {
	for nights := 14; nights >= 0; nights-- {
		for _, node := range []string{"pve1", "pve2"} {
			parts := h.run(node, nights)
			last := parts[len(parts)-1]
			server.TaskHistory(pve.TaskInfo{
				Node: node, Type: "vzdump", User: "root@pam", Start: h.runStart(nights), End: last.start.Add(last.took),
				Exit: "OK", Log: vzdumpLog(parts),
			})
		}
	}
}

// vzdumpLog is the log of a run over several guests, as PVE writes it.
func vzdumpLog(parts []part) []string {
	var ids, log []string
	for _, p := range parts {
		ids = append(ids, strconv.Itoa(p.vmid))
	}
	say := func(format string, args ...any) { log = append(log, "INFO: "+fmt.Sprintf(format, args...)) }
	say("starting new backup job: vzdump %s --mode snapshot --storage %s --notes-template '{{guestname}}'", strings.Join(ids, " "), storage)
	for _, p := range parts {
		p.log(say)
	}
	say("Backup job finished successfully")
	return append(log, "TASK OK")
}

// log is what one guest adds to the log of a run.
func (p part) log(say func(string, ...any)) {
	const stamp = "2006-01-02 15:04:05"
	say("Starting Backup of VM %d (%s)", p.vmid, p.kind)
	say("Backup started at %s", p.start.UTC().Format(stamp))
	say("status = running")
	archive := fmt.Sprintf("ct/%d/%s", p.vmid, p.start.UTC().Format(time.RFC3339))
	if p.kind == pve.LXC {
		say("CT Name: %s", p.name)
		say("including mount point rootfs ('/') in backup")
		say("backup mode: snapshot")
		say("ionice priority: 7")
		say("create storage snapshot 'vzdump'")
		say("creating Proxmox Backup Server archive '%s'", archive)
		say("Duration: %.2fs", p.took.Seconds())
		say("cleanup temporary 'vzdump' snapshot")
	} else {
		say("VM Name: %s", p.name)
		say("include disk 'scsi0' '%s' %dG", p.volume(), p.size/gib)
		say("backup mode: snapshot")
		say("ionice priority: 7")
		say("creating Proxmox Backup Server archive '%s'", strings.Replace(archive, "ct/", "vm/", 1))
		if p.agent {
			say("issuing guest-agent 'fs-freeze' command")
			say("issuing guest-agent 'fs-thaw' command")
		}
		say("started backup task '2f0c1c2e-0000-4000-8000-%012d'", p.vmid)
		say("resuming VM again")
		say("scsi0: dirty-bitmap status: OK (284.0 MiB of %d.0 GiB dirty)", p.size/gib)
		say("100%% (284.0 MiB of 284.0 MiB) in %ds, read: 24.0 MiB/s, write: 23.0 MiB/s", int(p.took.Seconds())-2)
		say("transferred 284.00 MiB in %d seconds", int(p.took.Seconds())-2)
	}
	say("adding notes to backup")
	say("Finished Backup of VM %d (00:00:%02d)", p.vmid, int(p.took.Seconds()))
	say("Backup finished at %s", p.start.Add(p.took).UTC().Format(stamp))
}
