package checks

import (
	"errors"
	"testing"
	"time"

	"cairn/internal/backup"
	"cairn/pbs"
	"cairn/proxmox"
)

// twoClusters have a guest 101 each; a writes to namespace na, b to nb.
func twoClusters(na, nb string) (Policy, Facts) {
	p, f := home()
	cfg := p.PBS["nas"]
	cfg.ProxmoxStorages = []string{"home/pbs-usb", "spare/pbs-usb"}
	p.PBS["nas"] = cfg
	p.Proxmox["spare"] = proxmox.Config{}
	f.Proxmox["home"], f.Proxmox["spare"] = read(cluster("home", na)), read(cluster("spare", nb))
	for _, name := range []string{"home", "spare"} {
		edit(f.Proxmox, name, func(v *proxmox.Facts) { v.Guests = v.Guests[:1] })
	}
	return p, f
}

func in(namespace string, all []pbs.Snapshot) []pbs.Snapshot {
	for i := range all {
		all[i].Namespace = namespace
	}
	return all
}

func TestTwoClustersWithTheSameVMID(t *testing.T) {
	p, f := twoClusters("a", "b")
	edit(f.PBS, "nas", func(v *pbs.Facts) {
		v.Snapshots = append(in("a", nightly("101", 5)), in("b", nightly("101", 8)[3:])...)
	})
	r := Judge(p, f, now)
	want(t, r, backup.Critical, "stale", "web01 (spare/101)")
	if a := assetOf(t, r, "guest:home/101"); a.Status >= backup.Unknown || a.RPO == nil || *a.RPO > 19*time.Hour {
		t.Errorf("home's guest is fresh: %+v", a)
	}
	if a := assetOf(t, r, "guest:spare/101"); a.Status != backup.Critical || *a.RPO < 3*backup.Day {
		t.Errorf("spare's is not: %+v", a)
	}
	edit(f.PBS, "nas", func(v *pbs.Facts) { v.Snapshots = in("a", nightly("101", 5)) })
	want(t, Judge(p, f, now), backup.Critical, "no-copy", "web01 (spare/101)")
}

func TestTwoClustersInOneNamespaceAreAmbiguous(t *testing.T) {
	p, f := twoClusters("", "")
	edit(f.PBS, "nas", func(v *pbs.Facts) { v.Snapshots = nightly("101", 5) })
	r := Judge(p, f, now)
	want(t, r, backup.Unknown, "ambiguous", "home and spare", "same namespace")
	for _, id := range []string{"guest:home/101", "guest:spare/101"} {
		if a := assetOf(t, r, id); a.Status < backup.Unknown || a.Proven || a.RPO != nil {
			t.Errorf("never green: %+v", a)
		}
	}
	never(t, r, "no-backup")
}

func TestAttributionWithoutStorages(t *testing.T) {
	p, f := home()
	edit(f.Proxmox, "home", func(v *proxmox.Facts) { v.Storages = nil })
	if a := assetOf(t, Judge(p, f, now), "guest:home/101"); a.RPO == nil {
		t.Error("there is only one cluster: they are its guests")
	}
	p, f = twoClusters("a", "b")
	edit(f.Proxmox, "home", func(v *proxmox.Facts) { v.Storages = nil })
	edit(f.PBS, "nas", func(v *pbs.Facts) { v.Snapshots = append(in("a", nightly("101", 5)), in("b", nightly("101", 5))...) })
	r := Judge(p, f, now)
	if a := assetOf(t, r, "guest:home/101"); a.Status < backup.Unknown {
		t.Errorf("whose they are is not known: %+v", a)
	}
	if a := assetOf(t, r, "guest:spare/101"); a.RPO == nil {
		t.Errorf("spare's are known: %+v", a)
	}
	f.Proxmox["home"] = backup.Observed[proxmox.Facts]{Err: errors.New("refused"), Tried: now}
	r = Judge(p, f, now)
	if s := sourceOf(t, r, "pbs.nas"); s.Status != backup.Unknown {
		t.Errorf("got %+v", s)
	}
}

func TestNamespacesOfNobody(t *testing.T) {
	p, f := home()
	edit(f.PBS, "nas", func(v *pbs.Facts) { v.Snapshots = append(v.Snapshots, in("old", nightly("101", 3))...) })
	r := Judge(p, f, now)
	want(t, r, backup.Warning, "unattributed", `"old"`, "3 backup snapshots")
}

func TestGuestsThatRaiseNoAlarm(t *testing.T) {
	p, f := home()
	edit(f.Proxmox, "home", func(v *proxmox.Facts) {
		v.Guests = append(v.Guests,
			proxmox.Guest{VMID: 900, Name: "tmpl", Kind: proxmox.QEMU, Template: true},
			proxmox.Guest{VMID: 901, Name: "ignored", Kind: proxmox.QEMU},
			proxmox.Guest{VMID: 902, Name: "excluded", Kind: proxmox.LXC},
			proxmox.Guest{VMID: 903, Name: "asleep", Kind: proxmox.LXC, Tags: []string{"Parked"}})
		v.Jobs[0].Exclude = []int{902}
	})
	p.Guests["home/901"] = proxmox.GuestConfig{Ignore: true}
	edit(f.PBS, "nas", func(v *pbs.Facts) { v.Snapshots = append(v.Snapshots, nightly("555", 30)[20:]...) })
	r := Judge(p, f, now)
	for code := range codes(r) {
		if code != "offsite-unproven" {
			t.Errorf("%s:\n%s", code, text(r))
		}
	}
	for id, word := range map[string]string{"900": "template", "901": "ignored", "902": "excluded", "903": "parked", "555": "deleted"} {
		if a := assetOf(t, r, "guest:home/"+id); !a.Parked || a.Word != word || a.Status != backup.OK {
			t.Errorf("%s: %+v", word, a)
		}
	}
	// A token that may not see guests makes none of them deleted.
	edit(f.Proxmox, "home", func(v *proxmox.Facts) {
		v.Guests, v.Hidden = nil, []proxmox.Hidden{{What: "guests", Path: "/vms", Privilege: "VM.Audit"}}
	})
	r = Judge(p, f, now)
	want(t, r, backup.Unknown, "hidden", "VM.Audit on /vms")
	if a := assetOf(t, r, "guest:home/555"); a.Parked {
		t.Errorf("got %+v", a)
	}
}

func TestGuestsWithoutAJob(t *testing.T) {
	p, f := home()
	edit(f.Proxmox, "home", func(v *proxmox.Facts) {
		v.Jobs = []proxmox.BackupJob{
			{ID: "on", Enabled: true, VMIDs: []int{101}, Storage: "pbs-usb"},
			{ID: "off", VMIDs: []int{102, 103}, Storage: "pbs-usb"},
			{ID: "elsewhere", Enabled: true, VMIDs: []int{104}, Storage: "nfs"},
			{ID: "node", Enabled: true, All: true, Node: "pve9", Storage: "pbs-usb"}}
		v.Guests = append(v.Guests, proxmox.Guest{VMID: 103, Name: "wiki", Node: "pve1", Kind: proxmox.QEMU}, proxmox.Guest{VMID: 104, Name: "nfs", Node: "pve1", Kind: proxmox.QEMU},
			proxmox.Guest{VMID: 105, Name: "new", Node: "pve1", Kind: proxmox.QEMU})
		v.NotBackedUp = []int{105} // as PVE sees it: a disabled job is a job
	})
	r := Judge(p, f, now)
	want(t, r, backup.Critical, "no-backup", "2 guests", "wiki (103)", "new (105)", "job off, which is disabled")
	want(t, r, backup.Warning, "no-job", "mail (102)", "job off, which is disabled")
	want(t, r, backup.Warning, "unwatched", "nfs (104)")
	if a := assetOf(t, r, "guest:home/105"); a.Status != backup.Critical || a.Word != "NO COPY" {
		t.Errorf("got %+v", a)
	}
	edit(f.Proxmox, "home", func(v *proxmox.Facts) {
		v.Jobs = []proxmox.BackupJob{{ID: "pool", Enabled: true, Pool: "prod", Storage: "pbs-usb"}}
	})
	r = Judge(p, f, now)
	want(t, r, backup.Critical, "no-backup", "1 guest ", "new (105)")
	want(t, r, backup.Critical, "no-copy", "wiki (103)")
}

func TestAnUnreadNamespaceHidesNoGuest(t *testing.T) {
	p, f := home()
	edit(f.PBS, "nas", func(v *pbs.Facts) {
		v.Snapshots, v.Unread = nightly("101", 5), []string{"lab"}
		v.Incomplete = []pbs.Incompletion{{Subject: "backup snapshots in namespace lab", Err: "timed out"}}
	})
	r := Judge(p, f, now)
	want(t, r, backup.Unknown, "unsure", "mail (102)", "timed out")
	never(t, r, "no-copy")
	if a := assetOf(t, r, "guest:home/102"); a.Status != backup.Unknown {
		t.Errorf("got %+v", a)
	}
}

func TestAnEarlierGuestOfAnotherKind(t *testing.T) {
	p, f := home()
	edit(f.Proxmox, "home", func(v *proxmox.Facts) { v.Guests[0].Kind = proxmox.LXC })
	want(t, Judge(p, f, now), backup.Critical, "no-copy", "web01 (101)")
}
