package pve

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"cairn/internal/testkit"
)

const (
	qemuPath = "/nodes/pve1/qemu"
	lxcPath  = "/nodes/pve1/lxc"
)

func TestRestoreToNewVMID(t *testing.T) {
	l := startLab(t, homeWorld())
	info := l.must("POST", qemuPath, "vmid=310", "archive="+archive300, "storage=vmstore", "unique=1", "onboot=0", "name=copy")
	g := l.Guest(310)
	if g.Content["scsi0"] != "archived data" || g.Content["scsi1"] != "archived pattern" {
		t.Errorf("contents %v", g.Content)
	}
	c := l.config(QEMU, 310)
	if c["name"] != "copy" || fmt.Sprint(c["onboot"]) != "0" || c["tags"] != "prod;shop" || c["parent"] != nil {
		t.Errorf("config %v", c)
	}
	old := l.config(QEMU, 300)
	for _, key := range []string{"net0", "smbios1", "vmgenid", "digest", "scsi0"} {
		if c[key] == old[key] {
			t.Errorf("unique=1 leaves %s as in the original", key)
		}
	}
	if len(info.Log) < 65 {
		t.Errorf("a log of %d lines", len(info.Log))
	}
	page, _ := l.data("GET", "/nodes/pve1/tasks/"+info.UPID+"/log").([]any)
	if len(page) != 50 {
		t.Errorf("the default page of a log has %d lines", len(page))
	}
	l.must("POST", qemuPath, "vmid=311", "archive="+archive300)
	plain := l.config(QEMU, 311)
	if plain["net0"] != old["net0"] || plain["smbios1"] != old["smbios1"] || plain["vmgenid"] == old["vmgenid"] {
		t.Errorf("without unique: %v", plain)
	}
}

func TestRestoreShowsNoLockAndHoldsTheLockFile(t *testing.T) {
	l := startLab(t, homeWorld())
	hold := l.HoldTask("qmrestore", "310", "data")
	upid := l.data("POST", qemuPath, "vmid=310", "archive="+archive300, "storage=vmstore").(string)
	<-hold.Reached()
	if c := l.config(QEMU, 310); len(c) != 2 || c["memory"] != "128" {
		t.Errorf("while it runs the config is %v", c)
	}
	row, _ := l.data("GET", qemuPath+"/310/status/current").(map[string]any)
	if row["name"] != "VM 310" || row["lock"] != nil || row["status"] != "stopped" {
		t.Errorf("status %v", row)
	}
	text := "can't lock file '/var/lock/qemu-server/lock-310.conf' - got timeout"
	expectExit(t, l.run("POST", qemuPath+"/310/status/start"), text)
	expectExit(t, l.run("DELETE", qemuPath+"/310"), text)
	expect(t, l.call("PUT", qemuPath+"/310/config", "name=y"), 500, text)
	expect(t, l.call("POST", qemuPath, "vmid=310", "archive="+archive300, "force=1"), 500, "unable to restore VM 310 - "+text)
	// A queued start fires when the restore ends in time.
	l.SetPace(Pace{Lock: 10 * time.Second})
	start := l.data("POST", qemuPath+"/310/status/start").(string)
	testkit.Until(t, time.Minute, "the start waits for the lock", func() bool {
		return slices.ContainsFunc(l.Tasks(), func(task TaskInfo) bool { return task.UPID == start && len(task.Log) > 0 })
	})
	hold.Release()
	expectExit(t, l.ended(upid), "OK")
	info := l.ended(start)
	expectExit(t, info, "OK")
	if len(info.Log) < 2 || info.Log[0] != "trying to acquire lock..." || info.Log[1] != " OK" || !l.Guest(310).Running {
		t.Errorf("queued start: %q", info.Log)
	}
}

func TestForceDestroysFirst(t *testing.T) {
	l := startLab(t, homeWorld())
	info := l.run("POST", qemuPath, "vmid=300", "archive="+damaged300, "storage=vmstore", "force=1")
	if !strings.HasSuffix(info.Exit, "failed: exit code 133") {
		t.Errorf("exit %q", info.Exit)
	}
	if last := info.Log[len(info.Log)-2]; last != "error before or during data restore, some or all disks were not completely restored. VM 300 state is NOT cleaned up." {
		t.Errorf("log says %q", last)
	}
	g := l.Guest(300)
	if len(g.Config) != 1 || g.Config["memory"] != "128" || len(g.Snapshots) != 0 || len(l.Volumes(300)) != 0 {
		t.Errorf("left: %+v, volumes %v", g, l.Volumes(300))
	}
	l.must("POST", qemuPath, "vmid=300", "archive="+archive300, "storage=vmstore", "force=1")
	if g := l.Guest(300); g.Content["scsi0"] != "archived data" {
		t.Errorf("mended: %+v", g)
	}
}

func TestRefusalsBeforeTheDataLeaveTheVMIntact(t *testing.T) {
	l := startLab(t, homeWorld())
	before := l.Guest(300)
	for _, c := range []struct{ extra, exit string }{
		{"storage=local", "failed: Content type 'images' is not available on storage 'local'"},
		{"storage=nosuch", "failed: storage 'nosuch' does not exist"},
		{"live-restore=1", "live-restore is only compatible with backup images from a Proxmox Backup Server"},
	} {
		if info := l.run("POST", qemuPath, "vmid=300", "archive="+archive300, "force=1", c.extra); !strings.HasSuffix(info.Exit, c.exit) {
			t.Errorf("%s: %s", c.extra, info.Exit)
		}
	}
	l.data("PUT", qemuPath+"/300/config", "protection=1")
	expectExit(t, l.run("POST", qemuPath, "vmid=300", "archive="+archive300, "force=1"), "unable to restore VM 300 - - protection mode enabled")
	expect(t, l.call("DELETE", qemuPath+"/300"), 500, "can't remove VM 300 - protection mode enabled")
	l.data("PUT", qemuPath+"/300/config", "delete=protection")
	l.must("POST", qemuPath+"/300/status/start")
	expectExit(t, l.run("POST", qemuPath, "vmid=300", "archive="+archive300, "force=1"), "unable to restore VM 300 - vm is running")
	expect(t, l.call("DELETE", qemuPath+"/300"), 500, "VM 300 is running - destroy failed")
	l.must("POST", qemuPath+"/300/status/stop")
	after := l.Guest(300)
	if fmt.Sprint(before.Config) != fmt.Sprint(after.Config) || fmt.Sprint(before.Content) != fmt.Sprint(after.Content) || !slices.Equal(before.Snapshots, after.Snapshots) {
		t.Errorf("before %+v\nafter %+v", before, after)
	}
	// An unmounted target is only found when the old VM is gone.
	l.EditStorage("tiny", func(s *Storage) { s.Unmounted = true })
	if info := l.run("POST", qemuPath, "vmid=300", "archive="+archive300, "force=1", "storage=tiny"); !strings.Contains(info.Exit, "unable to activate storage 'tiny'") {
		t.Error(info.Exit)
	}
	if g := l.Guest(300); g.Config["memory"] != "128" || len(g.Config) != 1 {
		t.Errorf("left %+v", g)
	}
}

func TestFailedRestoreToNewVMIDLeavesAnEmptyVM(t *testing.T) {
	l := startLab(t, homeWorld())
	info := l.run("POST", qemuPath, "vmid=330", "archive="+archive300, "storage=tiny")
	if !strings.HasSuffix(info.Exit, "exit code 133") || !slices.Contains(info.Log, "vma: restore failed - blk_pwrite to  failed (-28)") {
		t.Errorf("a full storage: %s", info.Exit)
	}
	if g := l.Guest(330); !g.Exists || len(g.Config) != 1 || len(l.Volumes(330)) != 0 {
		t.Errorf("left %+v", g)
	}
	expect(t, l.call("POST", qemuPath, "vmid=330", "archive="+archive300), 500, "unable to restore VM 330 - VM 330 already exists on node 'pve1'")
	l.must("DELETE", qemuPath+"/330")
	expectExit(t, l.run("POST", qemuPath, "vmid=331", "archive="+archive350), "ERROR: file '/srv/vmstore/dump/vzdump-lxc-350-2026_11_21-21_17_47.tar.zst' does not look like a QemuServer vzdump backup")
	if g := l.Guest(331); !g.Exists || len(g.Config) != 0 {
		t.Errorf("left %+v", g)
	}
	if c := l.config(QEMU, 331); c["digest"] != "da39a3ee5e6b4b0d3255bfef95601890afd80709" {
		t.Errorf("config %v", c)
	}
}

func TestRestoreStoppedAndKilled(t *testing.T) {
	l := startLab(t, homeWorld())
	hold := l.HoldTask("qmrestore", "", "data")
	upid := l.data("POST", qemuPath, "vmid=330", "archive="+archive300, "storage=vmstore", "bwlimit=4096").(string)
	<-hold.Reached()
	l.data("DELETE", "/nodes/pve1/tasks/"+upid)
	info := l.ended(upid)
	if !strings.HasPrefix(info.Exit, "command 'set -o pipefail && cstream -t 4194304 -- /srv/vmstore/dump/") || !strings.HasSuffix(info.Exit, "failed: interrupted by signal") {
		t.Errorf("exit %q", info.Exit)
	}
	if len(l.Volumes(330)) != 0 || len(l.Guest(330).Config) != 1 {
		t.Errorf("left %v", l.Guest(330))
	}
	upid = l.data("POST", qemuPath, "vmid=331", "archive="+archive300, "storage=vmstore").(string)
	testkit.Until(t, time.Minute, "the disks are there", func() bool { return len(l.Volumes(331)) == 2 })
	l.CutTask(upid)
	info = l.ended(upid)
	expectExit(t, info, "unexpected status")
	if strings.HasPrefix(info.Log[len(info.Log)-1], "TASK") {
		t.Error("a killed worker writes no last line")
	}
	if g := l.Guest(331); len(l.Volumes(331)) != 2 || g.Config["memory"] != "128" || g.Config["lock"] != "" {
		t.Errorf("left %+v %v", g, l.Volumes(331))
	}
	l.must("DELETE", qemuPath+"/331", "purge=1")
	if len(l.Volumes(331)) != 2 {
		t.Error("disks in no configuration stay")
	}
	l.must("POST", qemuPath, "vmid=331", "name=reaper")
	l.must("DELETE", qemuPath+"/331", "purge=1", "destroy-unreferenced-disks=1")
	if len(l.Volumes(331)) != 0 {
		t.Error("destroy-unreferenced-disks=1 takes them")
	}
	hold.Release()
}

func TestSynchronousRefusalsOfAVMRestore(t *testing.T) {
	l := startLab(t, homeWorld())
	l.SetLock(100, "backup")
	for _, c := range []struct {
		params []string
		status int
		reason string
	}{
		{[]string{"vmid=300", "archive=" + archive300}, 500, "unable to restore VM 300 - VM 300 already exists on node 'pve1'"},
		{[]string{"vmid=100", "archive=" + archive300, "force=1"}, 500, "unable to restore VM 100 - VM is locked (backup)"},
		{[]string{"vmid=101", "archive=" + archive300, "force=1"}, 500, "unable to restore VM 101 - close (rename) atomic file '/etc/pve/nodes/pve1/qemu-server/101.conf' failed: File exists"},
		{[]string{"vmid=320", "archive=vmstore:backup/vzdump-qemu-300-2020_01_01-00_00_00.vma.zst"}, 500, "volume 'vmstore:backup/vzdump-qemu-300-2020_01_01-00_00_00.vma.zst' does not exist"},
		{[]string{"vmid=320", "archive=nosuch:backup/x.vma"}, 500, "storage 'nosuch' does not exist"},
		{[]string{"vmid=320", "archive=vmstore:300/vm-300-disk-0.qcow2"}, 500, "unable to use volume vmstore:300/vm-300-disk-0.qcow2 - content type needs to be 'backup'"},
		{[]string{"vmid=320", "archive=/tmp/x.vma"}, 500, "Only root can pass arbitrary filesystem paths. at /usr/share/perl5/PVE/Storage.pm line 581."},
		{[]string{"vmid=320", "archive=" + archive300, "bwlimit=1.5"}, 400, "Parameter verification failed."},
		{[]string{"vmid=320", "archive=" + archive300, "scsi0=vmstore:1"}, 400, "Parameter verification failed."},
		{[]string{"vmid=320", "archive=" + archive300, "pool=nosuch"}, 403, "Permission check failed (pool 'nosuch' does not exist)"},
		{[]string{"vmid=320", "force=1"}, 400, "Parameter verification failed."},
	} {
		expect(t, l.call("POST", qemuPath, c.params...), c.status, c.reason)
	}
	info := l.must("POST", qemuPath, "vmid=320", "archive=")
	if info.Type != "qmcreate" {
		t.Errorf("archive= makes a %s", info.Type)
	}
	// A left-over lock cannot be taken off with a token.
	expect(t, l.call("DELETE", qemuPath+"/100", "skiplock=1"), 400, "Parameter verification failed.")
	expect(t, l.call("PUT", qemuPath+"/100/config", "delete=lock"), 500, "only root can set 'lock' config")
}

func TestExtraDisksSurviveAForcedRestore(t *testing.T) {
	l := startLab(t, homeWorld())
	l.data("PUT", qemuPath+"/300/config", "scsi2=vmstore:1")
	l.must("POST", qemuPath, "vmid=300", "archive="+archive300, "storage=vmstore", "force=1")
	if id := l.Guest(300).Config["unused0"]; !strings.HasPrefix(id, "vmstore:300/vm-300-disk-2") {
		t.Errorf("unused0 is %q", id)
	}
	// A container's go without a word.
	l.data("PUT", lxcPath+"/350/config", "mp0=vmstore:1,mp=/data")
	l.must("POST", lxcPath, "vmid=350", "ostemplate="+archive350, "restore=1", "storage=vmstore", "force=1")
	if v := l.Volumes(350); len(v) != 1 {
		t.Errorf("left %v", v)
	}
}

func TestContainerRestore(t *testing.T) {
	l := startLab(t, homeWorld())
	hold := l.HoldTask("vzrestore", "361", "data")
	upid := l.data("POST", lxcPath, "vmid=361", "ostemplate="+archive350, "restore=1", "storage=vmstore", "unique=1").(string)
	<-hold.Reached()
	if c := l.config(LXC, 361); c["lock"] != "create" || len(c) != 2 || c["digest"] != "a7e9f8c42935261b36fcd1d7d6cd8cd41648da49" {
		t.Errorf("while it runs the config is %v", c)
	}
	expect(t, l.call("DELETE", lxcPath+"/361"), 500, "CT is locked (create)")
	hold.Release()
	expectExit(t, l.ended(upid), "OK")
	if g := l.Guest(361); g.Content["rootfs"] != "archived ct" || strings.Contains(g.Config["net0"], "BC:24:11:AA:CC:01") || g.Config["unprivileged"] != "1" {
		t.Errorf("restored %+v", g)
	}
	expect(t, l.call("POST", lxcPath, "vmid=361", "ostemplate="+archive350, "restore=1", "storage=vmstore"), 500, "CT 361 already exists on node 'pve1'")
	expect(t, l.call("POST", lxcPath, "vmid=352", "ostemplate="+archive350, "restore=1"), 400, "Parameter verification failed.")
	expect(t, l.call("POST", lxcPath, "vmid=352", "ostemplate="+archive350, "restore=1", "storage=nosuch"), 500, "storage 'nosuch' does not exist")
	expectExit(t, l.run("POST", lxcPath, "vmid=352", "ostemplate="+archive300, "restore=1", "storage=vmstore"), "unable to restore CT 352 - ERROR: archive contains no configuration file")
	expectExit(t, l.run("POST", lxcPath, "vmid=361", "ostemplate=vmstore:backup/vzdump-lxc-350-2020_01_01-00_00_00.tar.zst", "restore=1", "storage=vmstore", "force=1"),
		"unable to restore CT 361 - volume 'vmstore:backup/vzdump-lxc-350-2020_01_01-00_00_00.tar.zst' does not exist")
	if g := l.Guest(361); g.Content["rootfs"] != "archived ct" {
		t.Errorf("a missing archive leaves the container: %+v", g)
	}
	l.data("PUT", lxcPath+"/361/config", "protection=1")
	expect(t, l.call("POST", lxcPath, "vmid=361", "ostemplate="+archive350, "restore=1", "storage=vmstore", "force=1"), 500, "unable to restore CT 361 - protection mode enabled")
	l.data("PUT", lxcPath+"/361/config", "delete=protection")
	l.must("POST", lxcPath, "vmid=353", "ostemplate="+archive350, "restore=1", "storage=vmstore", "unprivileged=0")
	if g := l.Guest(353); g.Config["unprivileged"] != "" {
		t.Errorf("unprivileged=0: %v", g.Config)
	}
	// Stopped over an old one: nothing is left.
	hold = l.HoldTask("vzrestore", "361", "data")
	upid = l.data("POST", lxcPath, "vmid=361", "ostemplate="+archive350, "restore=1", "storage=vmstore", "force=1").(string)
	<-hold.Reached()
	l.data("DELETE", "/nodes/pve1/tasks/"+upid)
	if info := l.ended(upid); !strings.HasSuffix(info.Exit, "failed: received interrupt") {
		t.Error(info.Exit)
	}
	if l.Guest(361).Exists || len(l.Volumes(361)) != 0 {
		t.Errorf("left %+v %v", l.Guest(361), l.Volumes(361))
	}
	hold.Release()
}

func TestRestoreFromPBS(t *testing.T) {
	l := startLab(t, homeWorld())
	info := l.must("POST", qemuPath, "vmid=310", "archive="+pbs300, "storage=thin")
	if g := l.Guest(310); g.Content["scsi0"] != "from pbs" || !strings.HasPrefix(g.Config["scsi0"], "thin:vm-310-disk-0") {
		t.Errorf("restored %+v\n%s", g, strings.Join(info.Log, "\n"))
	}
	if err := l.Write(100, "scsi0", "v7"); err != nil {
		t.Fatal(err)
	}
	info = l.must("POST", "/nodes/pve1/vzdump", "vmid=100", "storage=pbs-usb", "remove=0", "protected=1", "notes-template={{guestname}} {{vmid}}")
	if !slices.Contains(info.Log, "INFO: issuing guest-agent 'fs-freeze' command") {
		t.Errorf("no freeze in %q", info.Log)
	}
	rows, _ := l.data("GET", "/nodes/pve1/storage/pbs-usb/content", "content=backup", "vmid=100").([]any)
	if len(rows) != 1 {
		t.Fatalf("%d backups", len(rows))
	}
	row := rows[0].(map[string]any)
	if row["notes"] != "thin01 100" || fmt.Sprint(row["protected"]) != "1" || row["format"] != "pbs-vm" {
		t.Errorf("row %v", row)
	}
	l.must("POST", qemuPath, "vmid=312", "archive="+row["volid"].(string), "storage=thin", "start=1")
	if l.Guest(312).Content["scsi0"] != "v7" {
		t.Error("the content did not come back")
	}
	info = l.run("DELETE", "/nodes/pve1/storage/pbs-usb/content/"+row["volid"].(string))
	if !strings.HasPrefix(info.Exit, "cannot remove protected volume") {
		t.Error(info.Exit)
	}
}

func TestPrivilegesOfARestore(t *testing.T) {
	l := startLab(t, homeWorld())
	expect(t, l.as("audit@pve!t", "POST", qemuPath, "vmid=328", "archive="+archive300, "storage=vmstore"), 403, "Permission check failed (/storage/vmstore, Datastore.AllocateSpace)")
	expect(t, l.as("audit@pve!t", "POST", qemuPath, "vmid=328", "archive="+archive300), 403, "Permission check failed")
	expect(t, l.as("bkp@pve!t", "POST", qemuPath, "vmid=328", "archive="+archive300, "storage=vmstore"), 403, "Permission check failed")
	expect(t, l.as("bkp@pve!t", "POST", qemuPath, "vmid=300", "archive="+archive300, "storage=vmstore", "force=1", "name=x"), 403, "Permission check failed (/vms/300, VM.Config.Options)")
	// The bridge's right is only asked for in the task, and the empty VM stays.
	r := l.as("oper@pve!t", "POST", qemuPath, "vmid=328", "archive="+archive300, "storage=vmstore")
	expectExit(t, l.ended(r.data.(string)), "403 Permission check failed (/sdn/zones/localnetwork/vmbr0, SDN.Use)")
	if !l.Guest(328).Exists {
		t.Error("the empty VM is gone")
	}
	l.Grant(ACL{Path: "/sdn/zones/localnetwork", Who: "bkp@pve", Role: "PVESDNUser"})
	r = l.as("bkp@pve!t", "POST", qemuPath, "vmid=300", "archive="+archive300, "storage=vmstore", "force=1", "start=1")
	expectExit(t, l.ended(r.data.(string)), "OK")
	testkit.Until(t, time.Minute, "start=1 needs no VM.PowerMgmt", func() bool { return l.Guest(300).Running })
}

func TestDestroyDropsACLAndPurgesJobs(t *testing.T) {
	l := startLab(t, homeWorld())
	l.must("POST", qemuPath+"/100/status/stop")
	l.must("DELETE", qemuPath+"/100")
	job, _ := l.data("GET", "/cluster/backup/nightly").(map[string]any)
	if job["vmid"] != "100,101" {
		t.Errorf("without purge the job keeps %v", job["vmid"])
	}
	l.must("POST", qemuPath+"/102/status/stop")
	expect(t, l.call("DELETE", qemuPath+"/102"), 500, "unable to remove VM 102 - used in HA resources and purge parameter not set.")
	l.must("DELETE", qemuPath+"/102", "purge=1")
	if rows, _ := l.data("GET", "/cluster/ha/resources").([]any); len(rows) != 0 {
		t.Errorf("HA still has %v", rows)
	}
	l.must("DELETE", qemuPath+"/300", "purge=1")
	expect(t, l.as("bkp@pve!t", "DELETE", qemuPath+"/300"), 403, "Permission check failed (/vms/300, VM.Allocate)")
	l.must("POST", qemuPath, "vmid=300", "name=again")
	if r := l.as("bkp@pve!t", "POST", "/nodes/pve1/vzdump", "vmid=300", "storage=vmstore"); r.status != 403 {
		t.Errorf("the access entry came back with the VMID: %d", r.status)
	}
}
