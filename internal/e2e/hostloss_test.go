package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"cairn/internal/backup"
	"cairn/internal/lab"
	"cairn/internal/lab/pbs"
	"cairn/internal/lab/pve"
	"cairn/internal/testkit"
)

// hash is what content is compared by.
func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// onDisk is a bench whose datastore lies on a disk of this host.
func onDisk(t *testing.T, edits ...string) *bench {
	t.Helper()
	l := start(t, lab.Servers|lab.Datastore|lab.USB)
	l.PVE.SetPace(pve.Pace{Lock: time.Second})
	path := config(t, l, edits...)
	b := &bench{t: t, lab: l, config: path, state: filepath.Join(filepath.Dir(path), "state"), program: cairn}
	must(t, os.MkdirAll(b.state, 0o750))
	t.Cleanup(b.endWorkers)
	return b
}

// backedUp are the guests that come back, with the disk that tells what they are.
var backedUp = map[int]string{100: "scsi0", 101: "scsi0", 102: "scsi0", 103: "scsi0", 104: "scsi0", 105: "rootfs", 106: "rootfs", 107: "rootfs", 108: "scsi0", 109: "scsi0"}

// promised are the hashes of what the newest backup of each guest holds, as cairn
// lists the backups, and how old each is.
func (b *bench) promised() (hashes map[int]string, ages map[int]time.Time) {
	b.t.Helper()
	hashes, ages = map[int]string{}, map[int]time.Time{}
	for vmid := range backedUp {
		name := b.lab.PVE.Guest(vmid).Config["name"]
		if name == "" {
			name = b.lab.PVE.Guest(vmid).Config["hostname"]
		}
		_, taken := b.newestPoint(fmt.Sprintf("home/%d", vmid))
		at, err := time.Parse(time.RFC3339, taken)
		must(b.t, err)
		hashes[vmid], ages[vmid] = hash(name+", as of "+at.UTC().Format(time.RFC3339)), at
	}
	return hashes, ages
}

// cameBack compares every guest's content with what was promised.
func (b *bench) cameBack(want map[int]string) {
	b.t.Helper()
	for vmid, disk := range backedUp {
		g := b.lab.PVE.Guest(vmid)
		if !g.Exists || hash(g.Content[disk]) != want[vmid] {
			b.t.Errorf("guest %d: %q (exists %v), hash %s, want %s", vmid, g.Content[disk], g.Exists, hash(g.Content[disk]), want[vmid])
		}
	}
}

// From the loss of the whole cluster to every guest back as its newest backup has
// it, in the order of priority, and in tomorrow's backup.
func TestHypervisorLossToItsEnd(t *testing.T) {
	t.Parallel()
	b := onDisk(t)
	want, ages := b.promised()
	b.must(1, "check")
	must(t, b.lab.PVE.Write(100, "scsi0", "what came after the backup")) // it will be lost, as announced
	etc := b.lab.PVE.Etc()
	b.lab.LosePVE()

	oldest := slices.MinFunc(slices.Collect(maps.Values(ages)), time.Time.Compare)
	most := func() string { return "at the most the " + backup.Age(time.Since(oldest)) + " of " }
	before := most()
	plan := b.must(0, "restore", "hypervisor-loss", "--plan").out
	if !strings.Contains(plan, before) && !strings.Contains(plan, most()) { // a minute may have passed
		t.Errorf("the plan lacks %q:\n%s", most(), plan)
	}
	for _, part := range []string{"scp -r root@127.0.0.1:" + b.lab.Dir() + "/host/etc/pve/. /root/etc-pve/",
		"1. erp-app (101)", "2. web01 (100)", "POST /nodes/{node}/{qemu,lxc} for 10 guests, 2 at once"} {
		if !strings.Contains(plan, part) {
			t.Errorf("the plan lacks %q:\n%s", part, plan)
		}
	}
	r := b.must(75, "restore", "hypervisor-loss", "home", "--parallel", "4")
	id := idIn(t, r.err)
	if s := b.show(id); s.State != "waits for you" || !strings.Contains(s.Text, "install Proxmox VE") {
		t.Fatalf("it is %+v", s)
	}
	// The terminal may be gone for days. "done" is looked at, not believed.
	if r := b.must(75, "operation", "done", id); !strings.Contains(r.err, "not yet") {
		t.Errorf("it says %s", r.err)
	}
	must(t, b.lab.NewPVE(nil))
	text, err := os.ReadFile(b.config)
	must(t, err)
	b.reconfigure(string(text), "urls = [", fmt.Sprintf("urls = [%q] #", b.lab.PVE.URL()), "fingerprints = [", fmt.Sprintf("fingerprints = [%q] #", b.lab.PVE.Fingerprint()))
	if r := b.must(75, "operation", "done", id); !strings.Contains(r.err, "not yet") { // nobody knows the tokens there
		t.Errorf("it says %s", r.err)
	}
	b.lab.PVE.Adopt(etc)
	b.lab.PVE.SetPace(pve.Pace{Lock: time.Second})
	b.killedAmidRestores(id)
	b.must(0, "operation", "resume", id)
	b.want(id, "done")
	b.cameBack(want)
	g := b.lab.PVE.Guest(100)
	if !g.Running || g.Config["name"] != "web01" || !strings.Contains(g.Config["net0"], "BC:24:11:00:00:64") || strings.Contains(g.Config["net0"], "link_down") {
		t.Errorf("web01 is not what it was: %+v", g)
	}
	b.inOrder()
	if j := b.lab.PVE.Job("backup-nightly"); j["all"] != "1" || j["enabled"] != "1" {
		t.Errorf("the nightly job is %v", j)
	}
}

// killedAmidRestores says that the person is done, and kills the worker once it has
// begun to restore guests: their own operations go on.
func (b *bench) killedAmidRestores(id string) {
	b.t.Helper()
	done := b.command("operation", "done", id)
	must(b.t, done.Start())
	defer func() { _ = done.Wait() }() // it watches until the operation ends, or stops
	testkit.Until(b.t, limit, "guests are being restored", func() bool {
		n := 0
		for _, r := range b.changes() {
			if r.Method == "POST" && (strings.HasSuffix(r.Path, "/qemu") || strings.HasSuffix(r.Path, "/lxc")) {
				n++
			}
		}
		return n >= 3
	})
	must(b.t, syscall.Kill(b.worker(id), syscall.SIGKILL))
	testkit.Until(b.t, limit, "the operation is interrupted", func() bool { return b.show(id).State == "interrupted" })
}

// reconfigure writes the bench's configuration anew, as a person edits it.
func (b *bench) reconfigure(text string, edits ...string) {
	b.t.Helper()
	for i := 0; i < len(edits); i += 2 {
		if !strings.Contains(text, edits[i]) {
			b.t.Fatalf("the configuration has no %q", edits[i])
		}
		text = strings.Replace(text, edits[i], edits[i+1], 1)
	}
	write(b.t, b.config, text)
}

// inOrder fails the test unless the guest of priority 1 was restored first, then
// that of priority 2, and both were started before all others.
func (b *bench) inOrder() {
	b.t.Helper()
	var restores, starts []string
	for _, r := range b.changes() {
		switch {
		case r.Method == "POST" && (strings.HasSuffix(r.Path, "/qemu") || strings.HasSuffix(r.Path, "/lxc")):
			restores = append(restores, r.Path)
		case strings.HasSuffix(r.Path, "/status/start"):
			starts = append(starts, r.Path)
		}
	}
	if len(restores) != len(backedUp) || len(starts) < 2 || !strings.Contains(starts[0], "/qemu/101/") || !strings.Contains(starts[1], "/qemu/100/") {
		b.t.Errorf("restores %d, starts %v", len(restores), starts)
	}
}

// hypervisor-loss by paper alone: the printed commands, on a new node, with the
// backup host left. Every guest is what its backup was.
func TestHypervisorLossFromPaper(t *testing.T) {
	t.Parallel()
	b := onDisk(t)
	want, _ := b.promised()
	_, err := b.lab.PVE.Root("PUT", "/nodes/pve1/qemu/100/config", map[string]string{"tags": "web;cairn-replaces-90-20260102-0304"})
	must(t, err)
	paper := b.must(0, "runbook").out
	b.lab.LosePVE()
	must(t, b.lab.NewPVE(nil))
	b.lab.PVE.SetPace(pve.Pace{Lock: time.Second})
	h := newHalf(t, b)
	out := h.run(section(t, paper, "A hypervisor is gone (hypervisor-loss): cluster home"), "")
	b.cameBack(want)
	if g := b.lab.PVE.Guest(101); !g.Running || g.Config["name"] != "erp-app" {
		t.Errorf("erp-app: %+v\n%s", g, out)
	}
	if !strings.HasPrefix(h.called[1], "qmrestore pbs-usb:backup/vm/101/") {
		t.Errorf("the guest of priority 1 is not the first: %v", h.called)
	}
	if tags := b.lab.PVE.Guest(100).Config["tags"]; tags != "cairn-replaces-90-20260102-0304;web" && tags != "web;cairn-replaces-90-20260102-0304" {
		t.Errorf("whose place web01 took is not written down again: %q", tags)
	}
	if b.lab.PVE.Job("backup-nightly") == nil {
		t.Error("its backup jobs are not back")
	}
}

// backup-host-loss as an operation: a new server with a certificate of its own over
// the disk that is left; jobs, storages and backups are what they were.
func TestBackupHostLossToItsEnd(t *testing.T) {
	t.Parallel()
	b := onDisk(t)
	want, _ := b.promised()
	b.must(1, "check")
	var jobs int
	b.lab.PBS.Change(func(w *pbs.World) { jobs = len(w.Jobs) })
	b.lab.LosePBS()
	plan := b.must(0, "restore", "backup-host-loss", "--plan").out
	for _, part := range []string{"no copy that is on the disk: ", "the newest of ", "proxmox-backup-manager datastore create usb " + b.lab.Dir() + "/usb/pbs --reuse-datastore true"} {
		if !strings.Contains(plan, part) {
			t.Errorf("the plan lacks %q:\n%s", part, plan)
		}
	}
	id := idIn(t, b.must(75, "restore", "backup-host-loss").err)

	etc := b.lab.PBS.Etc() // users and tokens as the disk's copy holds them
	must(t, b.lab.NewPBS(false))
	for _, name := range []string{"proxy.pem", "proxy.key", "prune.cfg", "verification.cfg", "datastore.cfg"} {
		delete(etc, name)
	}
	must(t, b.lab.PBS.Adopt(etc))
	text, err := os.ReadFile(b.config)
	must(t, err)
	at := strings.Index(string(text), "[pbs.nas]")
	head, tail := string(text[:at]), string(text[at:])
	b.reconfigure(head + strings.Replace(strings.Replace(tail, "url = ", fmt.Sprintf("url = %q #", b.lab.PBS.URL()), 1), "fingerprint = ", fmt.Sprintf("fingerprint = %q #", b.lab.PBS.Fingerprint()), 1))
	if r := b.must(75, "operation", "done", id); !strings.Contains(r.err, "no datastore of that name") {
		t.Errorf("it says %s", r.err)
	}
	empty := &pbs.Datastore{Name: "usb", Mount: pbs.Mounted, Total: 1 << 40}
	b.lab.PBS.Change(func(w *pbs.World) { w.Datastores = []*pbs.Datastore{empty} })
	if r := b.must(75, "operation", "done", id); !strings.Contains(r.err, "--reuse-datastore true") { // made anew, it is empty
		t.Errorf("it says %s", r.err)
	}
	taken, err := pbs.Reuse("usb", b.lab.Dir()+"/usb/pbs")
	must(t, err)
	taken.Mount, taken.Total, taken.Used = pbs.Mounted, 1<<40, 1<<38
	b.lab.PBS.Change(func(w *pbs.World) { w.Datastores = []*pbs.Datastore{taken} })
	b.must(0, "operation", "done", id)
	b.want(id, "done")
	b.lab.PBS.Change(func(w *pbs.World) {
		if len(w.Jobs) != jobs || w.Store("usb").GC.Schedule == "" {
			t.Errorf("%d jobs, %d were there; GC %q", len(w.Jobs), jobs, w.Store("usb").GC.Schedule)
		}
	})
	b.restoresFrom(want)
}

// restoresFrom restores one guest beside, and compares it.
func (b *bench) restoresFrom(want map[int]string) {
	b.t.Helper()
	b.must(0, "restore", "guest-loss", "web01", "--vmid", "333")
	if g := b.lab.PVE.Guest(333); hash(g.Content["scsi0"]) != want[100] {
		b.t.Errorf("restored %q", g.Content["scsi0"])
	}
}

// backup-host-loss by paper alone: what the server was configured with comes from
// the repository on the disk, the datastore is taken over as it lies there, and the
// cluster reads its backups again.
func TestBackupHostLossFromPaper(t *testing.T) {
	t.Parallel()
	l := start(t, lab.Servers|lab.Datastore|lab.USB|lab.Restic)
	l.PVE.SetPace(pve.Pace{Lock: time.Second})
	path := config(t, l)
	b := &bench{t: t, lab: l, config: path, state: filepath.Join(filepath.Dir(path), "state"), program: cairn}
	t.Cleanup(b.endWorkers)
	want, _ := b.promised()
	paper := b.must(0, "runbook").out
	l.LosePBS()
	must(t, l.NewPBS(true))
	h := newHalf(t, b)
	key, err := os.ReadFile(filepath.Join(l.Dir(), "secrets", "restic"))
	must(t, err)
	h.run(section(t, paper, "The backup host is gone (backup-host-loss)"), strings.TrimSpace(string(key))+"\n")
	l.PBS.Change(func(w *pbs.World) {
		if len(w.Jobs) != 2 || len(w.Tokens) != 2 || w.Store("usb") == nil || w.Store("usb").GC.Schedule == "" {
			t.Errorf("jobs %v, tokens %d, datastore %v", w.Jobs, len(w.Tokens), w.Store("usb") != nil)
		}
	})
	b.restoresFrom(want)
}

// One node of a cluster of two is lost: the one that is left has no quorum. Its place
// is made free by the printed commands; then one guest is started from its replica, and
// the others come back from their backups under their own VMIDs, on the node that is
// left; what was highly available is so again.
func TestOneNodeOfACluster(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	want, ages := b.promised()
	b.lab.PVE.Replicate(pve.Replica{Guest: 102, Target: "pve1", Schedule: "*/30", Content: map[string]string{"scsi0": "files, as replicated"}})
	for sid, state := range map[string]string{"vm:103": "started", "vm:100": "started"} {
		_, err := b.lab.PVE.Root("POST", "/cluster/ha/resources", map[string]string{"sid": sid, "state": state})
		must(t, err)
	}
	b.must(1, "check")
	if r := b.must(65, "restore", "hypervisor-loss", "home/pve2"); !strings.Contains(r.err, "no guest of it is missing") {
		t.Errorf("while it lives: %s", r.err)
	}
	untouched := b.lab.PVE.Guest(100)
	b.lab.PVE.NodeDown("pve2", true)
	b.lab.PVE.Quorum(false)

	loss := []string{"restore", "hypervisor-loss", "home/pve2", "--onto", "pve1"}
	if r := b.must(65, append(loss, "--plan")...); !strings.Contains(r.out, "node pve1 has it not, and the disks of ") || !strings.Contains(r.out, "--storage: local, local-lvm") && !strings.Contains(r.out, "--storage: local-lvm") {
		t.Errorf("local-zfs was there only: %s%s", r.out, r.err)
	}
	b.lab.PVE.EditStorage("local-zfs", func(s *pve.Storage) { s.Nodes = nil }) // a replica lies on a storage that both have
	loss = append(loss, "--storage", "local-lvm")
	plan := b.must(0, append(loss, "--plan")...).out
	for _, part := range []string{"ssh root@pve1 pvecm expected 1", "ssh root@pve1 ha-manager remove vm:103", "ssh root@pve1 mv /etc/pve/nodes/pve2/qemu-server/102.conf /etc/pve/nodes/pve1/qemu-server/",
		"ssh root@pve1 pvecm delnode pve2", "for 4 guests", "files (102) needs no restore", "what files (102) wrote since its last replication (*/30)", "proxy (106)"} {
		if !strings.Contains(plan, part) {
			t.Errorf("the plan lacks %q:\n%s", part, plan)
		}
	}
	if strings.Contains(plan, "web01") || strings.Contains(plan, "scp ") || strings.Contains(plan, "pvecm add") || strings.Contains(plan, "vm:100") {
		t.Errorf("the plan is about more than the node:\n%s", plan)
	}
	since, _ := b.announced(loss[1:]...)
	for _, vmid := range []int{103, 106, 107, 108} {
		if ages[vmid].Before(since) {
			t.Errorf("guest %d comes back as of %s, announced was %s", vmid, ages[vmid], since)
		}
	}
	id := idIn(t, b.must(75, loss...).err)
	if r := b.must(75, "operation", "done", id); !strings.Contains(r.err, "is still listed on node pve2, which is offline") {
		t.Errorf("it says %s", r.err)
	}

	h := newHalf(t, b)
	for _, path := range b.lab.PVE.Confs() {
		must(t, os.MkdirAll(filepath.Join(h.dir, "etc", "pve", filepath.Dir(path)), 0o755))
		write(t, filepath.Join(h.dir, "etc", "pve", path), "")
	}
	must(t, os.MkdirAll(filepath.Join(h.dir, "etc", "pve", "nodes", "pve1", "qemu-server"), 0o755))
	typed := personCommands(t, b.must(0, append(loss, "--plan", "--format", "json")...))
	if typed[0] != "ssh root@pve1 pvecm expected 1" {
		t.Errorf("without a quorum nothing else can be typed first: %q", typed)
	}
	if err := b.lab.PVE.DelNode("pve2"); err == nil {
		t.Error("the lab takes a node out without a quorum")
	}
	h.run(strings.Join(typed, "\n"), "")
	var left []string
	for path := range h.files("etc", "pve") {
		left = append(left, path)
	}
	b.lab.PVE.AdoptConfs(left)
	b.must(0, "operation", "done", id)
	b.want(id, "done")

	for vmid, disk := range map[int]string{103: "scsi0", 106: "rootfs", 107: "rootfs", 108: "scsi0"} {
		g := b.lab.PVE.Guest(vmid)
		if !g.Exists || g.Node != "pve1" || !g.Running || hash(g.Content[disk]) != want[vmid] {
			t.Errorf("guest %d: on %s, runs %v, %q", vmid, g.Node, g.Running, g.Content[disk])
		}
	}
	if g := b.lab.PVE.Guest(102); !g.Running || g.Node != "pve1" || hash(g.Content["scsi0"]) != hash("files, as replicated") {
		t.Errorf("the replicated one: %+v", g)
	}
	if g := b.lab.PVE.Guest(100); !g.Running || hash(g.Content["scsi0"]) != hash(untouched.Content["scsi0"]) {
		t.Errorf("a guest of the node that lives: %+v", g)
	}
	if ha := b.lab.PVE.HA(); ha["vm:103"] != "started" || ha["vm:100"] != "started" || len(ha) != 2 {
		t.Errorf("highly available are %v", ha)
	}
}
