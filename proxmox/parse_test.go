package proxmox

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestParseUPID(t *testing.T) {
	u, err := ParseUPID("UPID:pve1:00004AA8:0004F732:6B01FF53:qmcreate:100:root@pam!full:")
	if err != nil || u.Node != "pve1" || u.Type != "qmcreate" || u.VMID() != 100 || u.User != "root@pam!full" || u.Started.Unix() != 0x6B01FF53 {
		t.Errorf("%+v, %v", u, err)
	}
	for id, want := range map[string]int{"": 0, "100@vmstore": 100, "pool-1": 0, "101": 101, "99999999999999999999": 0, "12x": 0} {
		if u, err := ParseUPID("UPID:n:0:0:6B01FF53:vzdump:" + id + ":root@pam:"); err != nil || u.VMID() != want {
			t.Errorf("%q is %d, %v", id, u.VMID(), err)
		}
	}
	for _, bad := range []string{"", "UPID:", "UPID:n:0:0:zz:t:1:u:", "UPID::0:0:1:t:1:u:", "upid:n:0:0:1:t:1:u:", "UPID:n:0:0:1:t:1:u", "UPID:n/../x:0:0:1:t:1:u:", "UPID:n:0:0:1:t:1:u/x:"} {
		if u, err := ParseUPID(bad); err == nil {
			t.Errorf("%q became %+v", bad, u)
		}
	}
}

func TestParseDenied(t *testing.T) {
	for reason, want := range map[string][2]string{
		"Permission check failed (/vms/100, VM.Audit)":                                        {"/vms/100", "VM.Audit"},
		"Permission check failed (/, Sys.Audit)":                                              {"/", "Sys.Audit"},
		"Permission check failed (/storage/vmstore, Datastore.Audit|Datastore.AllocateSpace)": {"/storage/vmstore", "Datastore.Audit|Datastore.AllocateSpace"},
		"Permission check failed (user != root@pam)":                                          {"", ""},
		"Permission check failed":                                                             {"", ""},
		"":                                                                                    {"", ""},
	} {
		if object, privilege := parseDenied(reason); object != want[0] || privilege != want[1] {
			t.Errorf("%q is %q %q", reason, object, privilege)
		}
	}
}

func TestLooseValues(t *testing.T) {
	for in, want := range map[string]number{`1`: 1, `"1"`: 1, `1.9`: 1, `"2e3"`: 2000, `true`: 1, `null`: 0, `""`: 0, `"N/A"`: 0, `{}`: 0, `[1]`: 0, `1e400`: 0, `9223372036854775807`: 9223372036854775807, `-5`: -5} {
		var n number
		if err := json.Unmarshal([]byte(in), &n); err != nil || n != want {
			t.Errorf("number %s is %d, %v", in, n, err)
		}
	}
	for in, want := range map[string]flag{`1`: true, `"1"`: true, `true`: true, `"on"`: true, `0`: false, `"0"`: false, `false`: false, `null`: false, `""`: false, `2`: false} {
		var b flag
		if err := json.Unmarshal([]byte(in), &b); err != nil || b != want {
			t.Errorf("flag %s is %v, %v", in, b, err)
		}
	}
	for in, want := range map[string]text{`"a"`: "a", `12`: "12", `true`: "true", `null`: "", `{}`: "", `"\u00e9"`: "é"} {
		var s text
		if err := json.Unmarshal([]byte(in), &s); err != nil || s != want {
			t.Errorf("text %s is %q, %v", in, s, err)
		}
	}
	for _, in := range []string{`null`, `{}`, `1`, `"x"`} {
		var r rows[resource]
		if err := json.Unmarshal([]byte(in), &r); err == nil {
			t.Errorf("%s became an empty list", in)
		}
	}
	var r rows[resource]
	if err := json.Unmarshal([]byte(`[{"vmid":1},null,2,[],{"vmid":{}}]`), &r); err != nil || len(r.all) != 2 || r.bad != 3 {
		t.Errorf("%+v, %v", r, err)
	}
	if !number(253402300800).when().IsZero() || !number(-1).when().IsZero() || number(4000000000).when().Year() != 2096 {
		t.Error("times that JSON cannot write are unknown, those to come are kept")
	}
}

func TestDisks(t *testing.T) {
	vm := Configuration{
		"scsi0": "local-lvm:vm-100-disk-0,backup=0,iothread=1,size=32G", "scsi10": "tank:vm-100-disk-2,size=1T",
		"scsi2": "vmstore:100/vm-100-disk-0.qcow2,aio=threads,size=512M", "ide2": "local:iso/debian.iso,media=cdrom,size=600M",
		"ide3": "none,media=cdrom", "sata1": "/dev/disk/by-id/ata-X,size=2T,backup=1", "virtio0": "file=nfs:100/vm-100-disk-1.raw,size=10G",
		"unused0": "local-lvm:vm-100-disk-9", "scsihw": "virtio-scsi-single", "efidisk0": "local-lvm:vm-100-disk-3,efitype=4m,size=4M", "net0": "virtio=AA",
		"ide0": "local-lvm:vm-100-cloudinit,media=cdrom", "boot": "order=scsi0", "tpmstate0": "local-lvm:vm-100-disk-4,size=4M,version=v2.0",
	}
	var got []string
	for _, d := range vm.Disks(QEMU) {
		got = append(got, fmt.Sprint(d.Key, " ", d.Storage, " ", d.Volume, " ", d.Size>>20, " ", d.NoBackup, " ", d.Format))
	}
	want := []string{
		"efidisk0 local-lvm local-lvm:vm-100-disk-3 4 false ", "sata1  /dev/disk/by-id/ata-X 2097152 false ", "scsi0 local-lvm local-lvm:vm-100-disk-0 32768 true ",
		"scsi2 vmstore vmstore:100/vm-100-disk-0.qcow2 512 false qcow2", "scsi10 tank tank:vm-100-disk-2 1048576 false ", "tpmstate0 local-lvm local-lvm:vm-100-disk-4 4 false ",
		"unused0 local-lvm local-lvm:vm-100-disk-9 0 true ", "virtio0 nfs nfs:100/vm-100-disk-1.raw 10240 false raw"}
	if !slices.Equal(got, want) {
		t.Errorf("the VM's disks are\n%s", strings.Join(got, "\n"))
	}
	ct := Configuration{"rootfs": "tank:subvol-101-disk-0,size=8G", "mp0": "tank:subvol-101-disk-1,mp=/data,backup=1,size=1G", "mp1": "tank:subvol-101-disk-2,mp=/cache,size=1G",
		"mp2": "/srv/media,mp=/media,backup=1", "mp10": "volume=vmstore:101/vm-101-disk-3.raw,mp=/x", "memory": "512"}
	got = nil
	for _, d := range ct.Disks(LXC) {
		got = append(got, fmt.Sprint(d.Key, " ", d.Storage, " ", d.NoBackup, " ", d.Format))
	}
	if want := []string{"mp0 tank false ", "mp1 tank true ", "mp2  true ", "mp10 vmstore true raw", "rootfs tank false "}; !slices.Equal(got, want) {
		t.Errorf("the container's disks are %q", got)
	}
	for value, left := range map[string]bool{"tank:vm-1-disk-0,replicate=0,size=1G": true, "tank:vm-1-disk-0,replicate=1": false, "tank:vm-1-disk-0,size=1G": false, "tank:vm-1-disk-0,replicate=off": true} {
		if d := (Configuration{"scsi0": value}).Disks(QEMU); len(d) != 1 || d[0].NoReplica != left {
			t.Errorf("%s: %+v", value, d)
		}
		if d := (Configuration{"mp0": value + ",mp=/x"}).Disks(LXC); len(d) != 1 || d[0].NoReplica != left {
			t.Errorf("mp0 %s: %+v", value, d)
		}
	}
	for agent, on := range map[string]bool{"1": true, "0": false, "": false, "enabled=1": true, "enabled=0,fstrim_cloned_disks=1": false, "1,freeze-fs-on-backup=0": true} {
		if (Configuration{"agent": agent}).agent() != on {
			t.Errorf("agent %q is not %v", agent, on)
		}
	}
}

func FuzzParseUPID(f *testing.F) {
	for _, s := range []string{"UPID:pve1:00004AA8:0004F732:6B01FF53:qmcreate:100:root@pam!full:", "UPID:::::::::", "UPID:n:0:0:FFFFFFFFFF:t:1@s:u:u:", "\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		u, err := ParseUPID(s)
		if err == nil && (u.Node == "" || u.Type == "" || strings.ContainsAny(u.Node, "/? ") || u.VMID() < 0) {
			t.Errorf("%q became %+v", s, u)
		}
		if path := taskPath(u.Node, s); err == nil && strings.Count(path, "/") != 4 {
			t.Errorf("%q leads to %s", s, path)
		}
	})
}

func FuzzVzdumpLog(f *testing.F) {
	f.Add("INFO: starting new backup job: vzdump 1 2 --storage x\nINFO: Starting Backup of VM 1 (qemu)\nINFO: Backup started at 2026-11-21 20:33:40\nERROR: Backup of VM 1 failed - x\nINFO: Failed at 2026-11-21 20:33:41", int64(60))
	f.Add("INFO: Starting Backup of VM 1 (qemu)\nINFO: Finished Backup of VM 1 (99999:99999:99999)\nWARN: x", int64(-5))
	f.Add("INFO: Backup started at 9999-12-31 23:59:59\nINFO: Starting Backup of VM -1\nERROR: Backup of VM  failed - ", int64(0))
	f.Fuzz(func(t *testing.T, s string, seconds int64) {
		l := parseVzdumpLog(strings.Split(s, "\n"))
		start := time.Unix(1795200000, 0)
		task := Task{Node: "n", Started: start, Ended: number(1795200000 + seconds%1e6).when(), Exit: "job errors"}
		for _, b := range guestBackups(task, &l) {
			if b.VMID <= 0 {
				t.Errorf("a backup of guest %d", b.VMID)
			}
		}
		spans := place(l.Parts, task.Started, task.Ended)
		for i, sp := range spans {
			if sp.start.Before(start) {
				t.Errorf("part %d begins %s before its task", i, start.Sub(sp.start))
			}
		}
	})
}

func FuzzDisk(f *testing.F) {
	for _, s := range []string{"a:b,size=8G", "none,media=cdrom", ",", "=", "file=x:y,file=z", "/dev/x,size=-1G", "a:b,size=1e300T", "volume=a:b", ":,backup=0"} {
		f.Add("scsi0", s)
		f.Add("mp0", s)
		f.Add("unused99999999999999999999", s)
	}
	f.Fuzz(func(t *testing.T, key, value string) {
		for _, kind := range []GuestKind{QEMU, LXC} {
			for _, d := range (Configuration{key: value, "scsi1": value, "rootfs": value}).Disks(kind) {
				if d.Size < 0 || d.Volume == "" {
					t.Errorf("%q %q became %+v", key, value, d)
				}
			}
		}
		Diff(Configuration{key: value}, Configuration{value: key})
	})
}

func FuzzStatusError(f *testing.F) {
	f.Add(403, "403 Permission check failed (/vms/100, VM.Audit)", `{"message":"x\ny","errors":{"a":1}}`)
	f.Add(500, "500", "")
	f.Add(595, "595 \x1b[2J", "null")
	f.Add(400, "400 Parameter verification failed.", `{"errors":[]}`)
	f.Fuzz(func(t *testing.T, status int, line, body string) {
		e := newStatusError("GET", "/x", status, line, []byte(body))
		if strings.ContainsAny(e.Reason, "\n\r\x1b\x00") || (e.Privilege == "") != (e.Object == "") {
			t.Errorf("%q became %+v", line, e)
		}
		_ = e.Error()
	})
}

func FuzzResources(f *testing.F) {
	f.Add([]byte(`[{"type":"qemu","vmid":"100","node":"pve1","status":"running","template":"0","tags":"a;b"},{"type":"node","node":"pve1","status":"online"},{"type":"storage","storage":"s","node":"pve1","status":"available","disk":"9e99"}]`))
	f.Add([]byte(`[null,1,{"type":["x"],"vmid":-1},{"type":"lxc","vmid":1e99,"node":{}}]`))
	f.Add([]byte(`[{"name":"current"},{"name":"a","parent":"a","snaptime":"x"},{"name":"a","parent":"b"}]`))
	f.Add([]byte(`{"/":{"VM.Audit":"1"},"x":[]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var found rows[resource]
		if json.Unmarshal(raw, &found) == nil {
			all := sortResources(found)
			for _, g := range all.guests {
				if g.facts().VMID <= 0 || g.facts().Node == "" {
					t.Errorf("a guest %+v", g)
				}
			}
			newMemory().storages.storages(all.storages)
		}
		var snapshots rows[wireSnapshot]
		if json.Unmarshal(raw, &snapshots) == nil {
			tree := newTree(snapshots)
			tree.Walk()
			tree.Newer("a")
		}
		var p permissions
		if json.Unmarshal(raw, &p) == nil {
			p.has("/vms/100", "VM.Audit")
		}
		var jobs rows[wireJob]
		if json.Unmarshal(raw, &jobs) == nil {
			newJobs(jobs)
		}
		var tasks rows[wireTask]
		if json.Unmarshal(raw, &tasks) == nil {
			listed(tasks)
		}
		parseLog(raw)
	})
}

// PVE calls a guest unknown whose node is off, or does not tell.
func TestGuestOfWhichNothingIsKnown(t *testing.T) {
	for status, want := range map[string][2]bool{"running": {true, false}, "stopped": {false, false}, "unknown": {false, true}} {
		g := resource{Type: "qemu", VMID: 7, Node: "a", Status: text(status)}.facts()
		if g.Running != want[0] || g.Unsure != want[1] {
			t.Errorf("%s: %+v", status, g)
		}
	}
}

func TestRunningTaskOfAnyCase(t *testing.T) {
	for status, want := range map[text]bool{"": true, "RUNNING": true, "running": true, "OK": false, "unexpected status": false} {
		task, ok := wireTask{UPID: "UPID:pve1:0000A1B2:0F3C2A11:6ABA2CB6:qmstart:101:root@pam:", Status: status}.listed()
		if !ok || task.Running != want {
			t.Errorf("%q: %+v", status, task)
		}
	}
}

func TestSnapshotOfABackupIsNoCopy(t *testing.T) {
	guests := []Guest{{VMID: 200, Kind: LXC, Snapshots: []Snapshot{{Name: "vzdump", Description: "vzdump backup snapshot\n", Taken: time.Unix(9, 0)}, {Name: "vzdump", Description: "mine"}}}}
	if copies := snapshotCopies("lab", guests); len(copies) != 1 || !copies[0].Taken.IsZero() {
		t.Errorf("got %+v", copies)
	}
}
