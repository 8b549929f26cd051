package proxmox

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"cairn/internal/backup"
	"cairn/internal/lab/pve"
)

// The recorded facts on restores are tested by their numbers: here what the client
// itself must know (1, 2, 4 to 8, 10 to 16, 18 to 27, 29, 31), in
// internal/runbook what a plan makes of them (3, 9, 14, 17, 19, 25, 30). That the lab's
// server behaves so is tested in internal/lab/pve. Fact 28 is about clones, which
// nothing here makes.

const archived = "local:backup/vzdump-qemu-101-2026_11_19-03_00_00.vma.zst"

var (
	archivedAt = time.Date(2026, 11, 19, 3, 0, 0, 0, time.UTC)
	vmImage    = pve.Image{Kind: pve.QEMU, VMID: 101, Config: map[string]string{"name": "web", "memory": "512", "onboot": "1", "net0": "virtio=BC:24:11:00:01:01,bridge=vmbr0",
		"scsi0": "thin:vm-101-disk-0,size=4G", "scsi1": "thin:vm-101-disk-1,size=1G,backup=0"}, Disks: map[string]pve.Volume{"scsi0": {Size: 4 << 30, Content: "archived"}}}
	ctImage = pve.Image{Kind: pve.LXC, VMID: 103, Config: map[string]string{"hostname": "ct", "memory": "512", "unprivileged": "1", "rootfs": "thin:vm-103-disk-0,size=4G"},
		Disks: map[string]pve.Volume{"rootfs": {Size: 4 << 30, Content: "archived"}}}
)

// restoreLab is a lab with archives of files, whose client acts with all rights.
func restoreLab(t *testing.T, edit ...func(*pve.World)) (*pve.Server, *Client) {
	t.Helper()
	broken := vmImage
	broken.Damage = "unexpected end"
	w := pve.World{
		Cluster: "home", Nodes: []pve.Node{{Name: "pve1"}},
		Users: []pve.User{{ID: "cairn@pve", Tokens: []pve.Token{{Name: "read", Secret: "s3cret-read"}, {Name: "act", Secret: "s3cret-act", Privsep: true}}}},
		ACL:   []pve.ACL{{Path: "/", Who: "cairn@pve", Role: "Administrator"}, {Path: "/", Who: "cairn@pve!act", Role: "Administrator"}},
		Storages: []pve.Storage{{ID: "local", Type: "dir", Content: []string{"backup", "iso"}},
			{ID: "thin", Type: "lvmthin", Content: []string{"images", "rootdir"}, VGName: "pve", Pool: "data", MetaTotal: 1 << 30, Meta: 1 << 28},
			{ID: "pbs", Type: "pbs", Content: []string{"backup"}, Server: "nas", Datastore: "usb", Store: pve.NewMemoryStore(1 << 40)}},
		Guests: []pve.Guest{{VMID: 101, Kind: pve.QEMU, Node: "pve1", Config: map[string]string{"name": "web", "memory": "512", "agent": "1", "net0": "virtio=BC:24:11:00:01:01,bridge=vmbr0", "scsi0": "thin:vm-101-disk-0,size=4G"},
			Content: map[string]string{"scsi0": "new"}, Snapshots: []pve.Snapshot{{Name: "before", Time: archivedAt}}},
			{VMID: 103, Kind: pve.LXC, Node: "pve1", Config: map[string]string{"hostname": "ct", "memory": "512", "rootfs": "thin:vm-103-disk-0,size=4G"}}},
		Archives: []pve.Archive{{Storage: "local", Time: archivedAt, Size: 1 << 30, Notes: "web\nsecond line", Image: vmImage}, {Storage: "local", Time: archivedAt.Add(time.Hour), Size: 1 << 30, Image: broken},
			{Storage: "local", Time: archivedAt, Size: 1 << 30, Image: ctImage}},
		Pace: pve.Pace{Lock: 10 * time.Millisecond},
	}
	for _, e := range edit {
		e(&w)
	}
	s, err := pve.Start(w)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s, labClient(t, s, "cairn@pve!read")
}

// to is a restoration beside the original.
func to(vmid int) Restoration {
	return Restoration{Volume: archived, Kind: QEMU, Node: "pve1", VMID: vmid, Name: fmt.Sprintf("web-%d", vmid), Storage: "thin"}
}

func TestRestorePoints(t *testing.T) {
	_, c := restoreLab(t, func(w *pve.World) {
		store := w.Storages[2].Store.(*pve.MemoryStore)
		at := pve.BackupID{Kind: pve.QEMU, VMID: 101, Time: archivedAt.Add(48 * time.Hour)}
		store.Put(pve.Place{Datastore: "usb"}, pve.Stored{BackupID: at, Size: 4 << 30, VerifyState: "ok", Protected: true, Encrypted: "aa:bb"}, vmImage)
		at.Time = at.Time.Add(time.Hour)
		store.Put(pve.Place{Datastore: "usb"}, pve.Stored{BackupID: at, InFlight: true}, vmImage)
	})
	points, missing, err := c.RestorePoints(t.Context(), 101)
	if err != nil || len(missing) != 0 || len(points) != 4 {
		t.Fatalf("%d points, %v, %v", len(points), missing, err)
	}
	if p := points[0]; !p.InFlight || p.Usable() {
		t.Errorf("an upload that runs: %+v", p)
	}
	if p := points[1]; p.Verified != "ok" || !p.Protected || p.Key != "aa:bb" || !p.PBS || p.Size != 4<<30 || p.Kind != QEMU || !p.Usable() {
		t.Errorf("a verified one: %+v", p)
	}
	if p := points[3]; p.Volume != archived || p.PBS || p.Notes != "web" || p.Verified != "" || p.Storage != "local" || p.Node != "pve1" || !p.Taken.Equal(archivedAt) {
		t.Errorf("a file: %+v", p)
	}
	all, _, err := c.RestorePoints(t.Context(), 0)
	if err != nil || !slices.ContainsFunc(all, func(p RestorePoint) bool { return p.VMID == 103 && p.Kind == LXC }) {
		t.Errorf("of all guests: %+v, %v", all, err)
	}
	config, err := c.ArchiveConfig(t.Context(), points[3])
	if err != nil || config["name"] != "web" || config["scsi0"] != "thin:vm-101-disk-0,size=4G" || len(config.Cards()) != 1 || config.Bridges()[0] != "vmbr0" {
		t.Errorf("the configuration inside: %v, %v", config, err)
	}
}

// Facts 1 and 2: only the task tells that a VM's restore runs; everything else is
// kept off by a file lock, and says so in the task, or at once.
func TestFacts1And2ARestoreThatRuns(t *testing.T) {
	s, c := restoreLab(t)
	ctx := t.Context()
	hold := s.HoldTask("qmrestore", "310", "data")
	upid, err := c.Restore(ctx, to(310))
	if err != nil {
		t.Fatal(err)
	}
	<-hold.Reached()
	g, config, err := c.Current(ctx, 310)
	if err != nil || g.Lock != "" || g.Running || g.Name != "VM 310" || !config.Husk() {
		t.Errorf("while it runs: %+v, %v, %v", g, config, err)
	}
	f, err := c.RestoreFacts(ctx, RestoreQuery{Guest: 101, Volume: archived, Node: "pve1", VMID: 310, Storage: "thin"})
	if err != nil {
		t.Fatal(err)
	}
	blockers, _ := RestoreBlockers(f)
	if text := fmt.Sprint(blockers); !strings.Contains(text, "a task works on it: qmrestore") || !strings.Contains(text, "VMID 310") {
		t.Errorf("the preflight does not see it: %s", text)
	}
	start, err := c.Start(ctx, 310)
	if task, _ := follow(t, c, start, err); !strings.Contains(task.Exit, "can't lock file") {
		t.Errorf("a start meanwhile: %q", task.Exit)
	}
	if err := c.SetConfig(ctx, 310, Settings{Set: map[string]string{"name": "x"}}, ""); err == nil || !strings.Contains(err.Error(), "can't lock file") {
		t.Errorf("a change meanwhile: %v", err)
	}
	hold.Release()
	if task, _ := follow(t, c, upid, nil); task.Status() != backup.OK {
		t.Errorf("it ended with %q", task.Exit)
	}
}

// Facts 4, 5, 13, 15, 16, 18, 20: what is refused at once, by PVE or already here.
func TestFacts4To20Refusals(t *testing.T) {
	s, c := restoreLab(t)
	ctx := t.Context()
	for name, x := range map[string]struct {
		edit func(*Restoration)
		want string
		sent bool
	}{
		"the VMID exists":            {func(r *Restoration) { r.VMID = 101 }, "already exists", true},
		"no such archive":            {func(r *Restoration) { r.Volume = "local:backup/vzdump-qemu-101-2020_01_01-03_00_00.vma.zst" }, "does not exist", true},
		"16: an empty archive":       {func(r *Restoration) { r.Volume = "" }, "no backup's volume id", false},
		"15: a CT without a storage": {func(r *Restoration) { r.Kind, r.Storage = LXC, "" }, "needs its target storage", false},
		"20: a negative bandwidth":   {func(r *Restoration) { r.Bandwidth = -1 }, "is none", false},
		"a name that is none":        {func(r *Restoration) { r.Name = "-x_" }, "use letters, digits and -", false},
		"18: a container's VMID":     {func(r *Restoration) { r.VMID, r.InPlace = 103, true }, "File exists", true},
	} {
		s.ResetRequests()
		r := to(310)
		x.edit(&r)
		if _, err := c.Restore(ctx, r); err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s: %v", name, err)
		}
		if sent := len(s.Requests()) > 0; sent != x.sent {
			t.Errorf("%s: sent %t", name, sent)
		}
	}
	// 4: only the task tells that the storage takes no images, or is not there
	for _, storage := range []string{"local", "nosuch"} {
		r := to(310)
		r.Storage = storage
		upid, err := c.Restore(ctx, r)
		if storage == "nosuch" && err != nil {
			continue // an administrator's right on what is not there
		}
		if task, _ := follow(t, c, upid, err); task.Status() != backup.Critical {
			t.Errorf("storage %s: %q", storage, task.Exit)
		}
		upid, err = c.Destroy(ctx, 310, "-none") // 10: the empty VM that is left
		if task, _ := follow(t, c, upid, err); task.Status() != backup.OK {
			t.Errorf("clearing up after %s: %q", storage, task.Exit)
		}
	}
	// 5: of a container the storage is checked at once
	r := Restoration{Volume: strings.Replace(strings.Replace(archived, "qemu-101", "lxc-103", 1), "vma", "tar", 1), Kind: LXC, Node: "pve1", VMID: 310, Name: "x", Storage: "nosuch"}
	if _, err := c.Restore(ctx, r); err == nil {
		t.Error("a container's restore to no storage was accepted")
	}
	// 13: a lock that was left behind is no token's to take
	s.SetLock(101, "create")
	if err := c.SetConfig(ctx, 101, Settings{Delete: []string{"lock"}}, ""); err == nil || !strings.Contains(err.Error(), "only root can set 'lock'") {
		t.Errorf("deleting a lock: %v", err)
	}
	if g, _, err := c.Current(ctx, 101); err != nil || !strings.Contains(LockHint(g), "qm unlock 101 on node pve1") {
		t.Errorf("%+v, %v", g, err)
	}
}

// Facts 6, 7, 10: force destroys first, its log says the same as ever, and only the
// configuration tells what is left.
func TestFacts6And7ForceDestroysFirst(t *testing.T) {
	s, c := restoreLab(t)
	r := to(101)
	r.InPlace, r.Volume = true, strings.Replace(archived, "03_00_00", "04_00_00", 1)
	upid, err := c.Restore(t.Context(), r)
	task, lines := follow(t, c, upid, err)
	if task.Status() != backup.Critical || !strings.Contains(strings.Join(lines, "\n"), "state is NOT cleaned up") {
		t.Errorf("it ended with %q", task.Exit)
	}
	g, config, err := c.Current(t.Context(), 101)
	if err != nil || !config.Husk() || len(g.Disks) != 0 || len(s.Guest(101).Snapshots) != 0 {
		t.Errorf("left: %+v, %v, %v", g, config, err)
	}
	// a refusal before the data says the same line, and leaves the guest as it is
	r.Volume, r.Storage = archived, "local"
	upid, err = c.Restore(t.Context(), r)
	if task, _ := follow(t, c, upid, err); task.Status() != backup.Critical {
		t.Errorf("it ended with %q", task.Exit)
	}
}

// Fact 8: a container's restore over itself that fails leaves nothing at all.
func TestFact8AContainerVanishes(t *testing.T) {
	s, c := restoreLab(t)
	s.FailTask("vzrestore", "103", "data", "exit code 2", 1)
	r := Restoration{Volume: strings.Replace(strings.Replace(archived, "qemu-101", "lxc-103", 1), "vma", "tar", 1), Kind: LXC, Node: "pve1", VMID: 103, Storage: "thin", InPlace: true}
	upid, err := c.Restore(t.Context(), r)
	if task, _ := follow(t, c, upid, err); task.Status() != backup.Critical {
		t.Errorf("it ended with %q", task.Exit)
	}
	if _, _, err := c.Current(t.Context(), 103); !errors.Is(err, ErrNoGuest) {
		t.Errorf("it is %v", err)
	}
}

// Facts 11 and 29: a stopped task says how, and destroying takes the rights along.
func TestFacts11And29StopAndDestroy(t *testing.T) {
	s, c := restoreLab(t)
	ctx := t.Context()
	hold := s.HoldTask("qmrestore", "310", "data")
	upid, err := c.Restore(ctx, to(310))
	if err != nil {
		t.Fatal(err)
	}
	<-hold.Reached()
	if err := c.StopTask(ctx, upid); err != nil {
		t.Fatal(err)
	}
	if task, _ := follow(t, c, upid, nil); !strings.Contains(task.Exit, "interrupted by signal") || task.Status() != backup.Critical {
		t.Errorf("it ended with %q", task.Exit)
	}
	s.Grant(pve.ACL{Path: "/vms/310", Who: "cairn@pve!act", Role: "Administrator"})
	upid, err = c.Destroy(ctx, 310, "-restore-1")
	if task, _ := follow(t, c, upid, err); task.Status() != backup.OK || len(s.Volumes(310)) != 0 {
		t.Errorf("%q, left %v", task.Exit, s.Volumes(310))
	}
}

// Only what bears the mark, or is empty, is removed; never what runs.
func TestDestroyRefusesWhatIsNotOurs(t *testing.T) {
	s, c := restoreLab(t)
	ctx := t.Context()
	for _, mark := range []string{"-restore-1", ""} {
		if _, err := c.Destroy(ctx, 101, mark); !errors.Is(err, ErrNotOurs) {
			t.Errorf("mark %q: %v", mark, err)
		}
	}
	s.EditGuest(101, func(g *pve.Guest) { g.Config["name"], g.Running = "web-restore-1", true })
	if _, err := c.Destroy(ctx, 101, "-restore-1"); !errors.Is(err, ErrNotOurs) {
		t.Errorf("a running one: %v", err)
	}
	if !s.Guest(101).Exists {
		t.Error("it is gone")
	}
	s.EditGuest(101, func(g *pve.Guest) { g.Running = false })
	upid, err := c.Destroy(ctx, 101, "-restore-1")
	if task, _ := follow(t, c, upid, err); task.Status() != backup.OK || s.Guest(101).Exists {
		t.Errorf("ours: %q", task.Exit)
	}
}

// Fact 12: a killed worker says "unexpected status"; what it leaves is cleared up.
func TestFact12AKilledWorker(t *testing.T) {
	s, c := restoreLab(t)
	hold := s.HoldTask("qmrestore", "310", "data")
	upid, err := c.Restore(t.Context(), to(310))
	if err != nil {
		t.Fatal(err)
	}
	<-hold.Reached()
	s.CutTask(upid)
	if task, _ := follow(t, c, upid, nil); task.Exit != "unexpected status" || task.Status() != backup.Critical {
		t.Errorf("it ended with %q, %s", task.Exit, task.Status())
	}
	hold.Release()
	upid, err = c.Destroy(t.Context(), 310, "-x")
	if task, _ := follow(t, c, upid, err); task.Status() != backup.OK || len(s.Volumes(310)) != 0 {
		t.Errorf("%q, left %v", task.Exit, s.Volumes(310))
	}
}

// Facts 21, 27, 31: which rights are asked for, and what the agent says.
func TestFacts27And31TheAgent(t *testing.T) {
	for version, privilege := range map[string]string{"8.4.21": "VM.Monitor", "9.1.6": "VM.GuestAgent.Audit"} {
		s, c := restoreLab(t, func(w *pve.World) {
			w.Version = version
			w.Roles = map[string][]string{"Few": {"VM.Audit"}}
		})
		ctx := t.Context()
		if err := c.Ping(ctx, 101); err == nil || NoAgent(err) || !strings.Contains(err.Error(), "is not running") {
			t.Errorf("%s, stopped: %v", version, err)
		}
		s.EditGuest(101, func(g *pve.Guest) { g.Running = true })
		if err := c.Ping(ctx, 101); err != nil {
			t.Errorf("%s: %v", version, err)
		}
		s.EditGuest(101, func(g *pve.Guest) { g.NoAgent = true })
		if err := c.Ping(ctx, 101); err == nil || NoAgent(err) {
			t.Errorf("%s, an agent that may still come: %v", version, err)
		}
		s.EditGuest(101, func(g *pve.Guest) { delete(g.Config, "agent") })
		if err := c.Ping(ctx, 101); !NoAgent(err) {
			t.Errorf("%s, none configured: %v", version, err)
		}
		s.Revoke("/", "cairn@pve!act")
		s.Grant(pve.ACL{Path: "/", Who: "cairn@pve!act", Role: "Few"})
		if err := c.Ping(ctx, 101); !NoAgent(err) || !strings.Contains(err.Error(), privilege) {
			t.Errorf("%s, no right: %v", version, err)
		}
	}
}

// Facts 22 and 23: a card is given whole.
func TestFact22NetworkCards(t *testing.T) {
	s, c := restoreLab(t)
	ctx := t.Context()
	if err := c.SetConfig(ctx, 101, Settings{Set: map[string]string{"net0": "link_down=1"}}, ""); err == nil {
		t.Error("link_down alone was taken")
	}
	card := s.Guest(101).Config["net0"]
	if err := c.SetConfig(ctx, 101, Settings{Set: map[string]string{"net0": WithLink(card, true)}}, ""); err != nil {
		t.Fatal(err)
	}
	if now := s.Guest(101).Config["net0"]; MAC(now) != MAC(card) || !LinkDown(now) {
		t.Errorf("net0 is %s", now)
	}
	if err := c.SetConfig(ctx, 101, Settings{Set: map[string]string{"name": "x"}}, "0000000000000000000000000000000000000000"); err == nil || !strings.Contains(err.Error(), "checksum mismatch") {
		t.Errorf("a change against another digest: %v", err)
	}
	for card, want := range map[string]string{
		"virtio=BC:24:11:00:01:01,bridge=vmbr0":                 "virtio=AA:BB:CC:DD:EE:0F,bridge=vmbr0",
		"model=e1000,macaddr=BC:24:11:00:01:01,bridge=vmbr0":    "model=e1000,macaddr=AA:BB:CC:DD:EE:0F,bridge=vmbr0",
		"name=eth0,bridge=vmbr0,hwaddr=BC:24:11:00:01:01,tag=7": "name=eth0,bridge=vmbr0,hwaddr=AA:BB:CC:DD:EE:0F,tag=7",
		"virtio,bridge=vmbr0":                                   "virtio,bridge=vmbr0",
	} {
		if got := WithMAC(card, "AA:BB:CC:DD:EE:0F"); got != want {
			t.Errorf("%s becomes %s", card, got)
		}
	}
}

// Fact 24: which guests a job takes when one takes another's place.
func TestFact24JobsTakeTheWholeList(t *testing.T) {
	for name, x := range map[string]struct {
		job  BackupJob
		kept bool
		want JobGuests
		same bool
	}{
		"named":                     {BackupJob{VMIDs: []int{100, 101, 102}}, true, JobGuests{VMIDs: []int{100, 310, 102}}, false},
		"both named":                {BackupJob{VMIDs: []int{310, 101}}, true, JobGuests{VMIDs: []int{310}}, false},
		"another's":                 {BackupJob{VMIDs: []int{100}}, true, JobGuests{VMIDs: []int{100}}, true},
		"all, the original is kept": {BackupJob{All: true, Exclude: []int{900}}, true, JobGuests{All: true, Exclude: []int{900, 101}}, false},
		"all, the original is gone": {BackupJob{All: true}, false, JobGuests{All: true}, true},
		"all, the new one left out": {BackupJob{All: true, Exclude: []int{310}}, false, JobGuests{All: true, Exclude: []int{}}, false},
		"left out on purpose":       {BackupJob{All: true, Exclude: []int{101}}, true, JobGuests{All: true, Exclude: []int{101, 310}}, false},
		"a pool":                    {BackupJob{Pool: "prod"}, true, JobGuests{}, true},
	} {
		if got, changed := x.job.Instead(101, 101, x.kept); changed || !slices.Equal(got.VMIDs, x.job.VMIDs) {
			t.Errorf("%s: a guest in its own stead: %+v", name, got)
		}
		got, changed := x.job.Instead(101, 310, x.kept)
		if changed == x.same || got.All != x.want.All || !slices.Equal(got.VMIDs, x.want.VMIDs) || !slices.Equal(got.Exclude, x.want.Exclude) {
			t.Errorf("%s: %+v, changed %t", name, got, changed)
		}
	}
}

// Fact 26: VM.Backup and AllocateSpace protect a backup, and end that again.
func TestFact26Protect(t *testing.T) {
	_, c := restoreLab(t, func(w *pve.World) {
		w.Roles = map[string][]string{"Few": {"VM.Audit", "VM.Backup", "Datastore.AllocateSpace"}}
		w.ACL[1].Role = "Few"
	})
	p := RestorePoint{Volume: archived, Storage: "local", Node: "pve1"}
	for _, want := range []bool{true, true, false} {
		if err := c.Protect(t.Context(), p, want); err != nil {
			t.Fatal(err)
		}
		points, _, err := c.RestorePoints(t.Context(), 101)
		if err != nil || points[len(points)-1].Protected != want {
			t.Errorf("protected %+v, %v", points, err)
		}
	}
}

func TestNames(t *testing.T) {
	for original, want := range map[string]string{
		"web": "web-restore-{id}", "web.example.org": "web.example.org-restore-{id}", "": "guest101-restore-{id}", "bad_name": "guest101-restore-{id}",
		strings.Repeat("a", 60): strings.Repeat("a", 40) + "-restore-{id}",
	} {
		got := NameFor(original, 101, "-restore-{id}")
		if got != want || CheckGuestName(strings.ReplaceAll(got, "{id}", "20261121-99999")) != nil {
			t.Errorf("%q becomes %q, want %q", original, got, want)
		}
	}
}

func FuzzArchiveConfig(f *testing.F) {
	for _, seed := range []string{"", "name: web\nscsi0: thin:vm-101-disk-0,size=4G\n\n[before]\nname: old\n", "#comment\nnet0: virtio=BC:24:11:00:01:01,bridge=vmbr0\r\n", "net99999999999999999999: x\nnet-1: y", "a:b", "\xff: \xfe", "lxc.mount.entry: /srv srv none bind 0 0\nlxc.mount.entry = /a b\nlxc.mount.entry:\n"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c := parseArchiveConfig(text)
		for _, key := range c.Cards() {
			card := WithLink(WithMAC(c[key], "AA:BB:CC:DD:EE:0F"), true)
			if !LinkDown(card) || LinkDown(WithLink(card, false)) {
				t.Errorf("%q: link of %q", c[key], card)
			}
		}
		_, _, _ = c.Bridges(), c.addresses(), c.Disks(LXC)
		_, _ = c.hostMounts(), c.NotSet(c, "1")
		out, in := Exchange(QEMU, c, c, "a", "b")
		for _, set := range []Settings{out, in} {
			if back := c.Was(set); !c.Holds(back) {
				t.Errorf("%q: what was is not what it is: %v", text, back)
			}
		}
	})
}

// Fact 23: a running VM refuses another MAC, and yet the value is saved as pending: what
// GET config shows is not what runs.
func TestFact23ARefusedMACIsSavedAllTheSame(t *testing.T) {
	_, c := restoreLab(t, func(w *pve.World) {
		w.Guests[0].Running, w.Guests[0].NoOS, w.Guests[0].Config["kvm"] = true, true, "0"
	})
	const other = "virtio=BC:24:11:00:09:09,bridge=vmbr0"
	err := c.SetConfig(t.Context(), 101, Settings{Set: map[string]string{"net0": other}}, "")
	if err == nil || !strings.Contains(err.Error(), "hotplug problem") {
		t.Errorf("it says %v", err)
	}
	if _, config, err := c.Current(t.Context(), 101); err != nil || config["net0"] != other {
		t.Errorf("the configuration shows %v, %v", config["net0"], err)
	}
	if err := c.SetConfig(t.Context(), 101, Settings{Set: map[string]string{"net0": WithLink("virtio=BC:24:11:00:01:01,bridge=vmbr0", true)}}, ""); err != nil {
		t.Errorf("a link goes down while it runs: %v", err)
	}
}

// Fact 25: a plain backup evicts the older one on a storage that keeps one; a safety
// backup evicts none, and passes at the limit.
func TestFact25ASafetyBackupEvictsNothing(t *testing.T) {
	var later atomic.Int64 // seconds: a backup is named after its second
	s, c := restoreLab(t, func(w *pve.World) {
		w.Storages = append(w.Storages, pve.Storage{ID: "keep1", Type: "dir", Content: []string{"backup"}, Prune: "keep-last=1"})
		w.Now = func() time.Time { return time.Now().Add(time.Duration(later.Load()) * time.Second) }
	})
	count := func() (n, protected int) {
		points, _, err := c.RestorePoints(t.Context(), 101)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range points {
			if p.Storage == "keep1" {
				n++
				if p.Protected {
					protected++
				}
			}
		}
		return n, protected
	}
	plain := func() {
		later.Add(2)
		upid, err := s.Root("POST", "/nodes/pve1/vzdump", map[string]string{"vmid": "101", "storage": "keep1"})
		if task, _ := follow(t, c, fmt.Sprint(upid), err); task.Status() != backup.OK {
			t.Fatal(task.Exit)
		}
	}
	plain()
	later.Add(2)
	upid, err := c.Vzdump(t.Context(), 101, SafetyBackup{Storage: "keep1", Notes: "before"})
	if task, _ := follow(t, c, upid, err); task.Status() != backup.OK {
		t.Errorf("at the limit it ends with %q", task.Exit)
	}
	if n, protected := count(); n != 2 || protected != 1 {
		t.Errorf("%d are there, %d protected", n, protected)
	}
	plain() // it evicts the plain one, and neither counts nor touches the protected one
	if n, protected := count(); n != 2 || protected != 1 {
		t.Errorf("after another plain one %d are there, %d protected", n, protected)
	}
}
