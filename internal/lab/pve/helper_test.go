package pve

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"cairn/internal/testkit"
)

// lab is a server with a client for tests.
type lab struct {
	*Server
	t      *testing.T
	client *http.Client
}

type result struct {
	status int
	reason string
	body   string
	data   any
}

func startLab(t *testing.T, w World) *lab {
	t.Helper()
	s, err := Start(w)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(s.CertPEM())
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		s.Stop()
	})
	return &lab{s, t, &http.Client{Transport: transport, Timeout: 10 * time.Second}}
}

// as calls the API with a token "user@realm!name" whose secret is "secret".
func (l *lab) as(token, method, path string, params ...string) result {
	l.t.Helper()
	form := url.Values{}
	for _, p := range params {
		name, value, _ := strings.Cut(p, "=")
		form.Add(name, value)
	}
	var body io.Reader
	if method == "GET" || method == "DELETE" {
		if len(form) > 0 {
			path += "?" + form.Encode()
		}
	} else {
		body = strings.NewReader(form.Encode())
	}
	req, err := http.NewRequest(method, l.URL()+"/api2/json"+path, body)
	if err != nil {
		l.t.Fatal(err)
	}
	req.Header.Set("Authorization", "PVEAPIToken="+token+"=secret")
	if body != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	resp, err := l.client.Do(req)
	if err != nil {
		return result{reason: err.Error()}
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return result{status: resp.StatusCode, reason: err.Error()}
	}
	_, reason, _ := strings.Cut(resp.Status, " ")
	r := result{status: resp.StatusCode, reason: reason, body: string(text)}
	var v struct{ Data any }
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if d.Decode(&v) == nil {
		r.data = v.Data
	}
	return r
}

const root = "root@pam!lab"

func (l *lab) call(method, path string, params ...string) result {
	l.t.Helper()
	return l.as(root, method, path, params...)
}

// data is the answer to a call that must succeed.
func (l *lab) data(method, path string, params ...string) any {
	l.t.Helper()
	r := l.call(method, path, params...)
	if r.status != 200 {
		l.t.Fatalf("%s %s %v: %d %s", method, path, params, r.status, r.reason)
	}
	return r.data
}

// run starts a task and waits for its end.
func (l *lab) run(method, path string, params ...string) TaskInfo {
	l.t.Helper()
	upid, _ := l.data(method, path, params...).(string)
	return l.ended(upid)
}

func (l *lab) ended(upid string) TaskInfo {
	l.t.Helper()
	var found TaskInfo
	testkit.Until(l.t, time.Minute, "the task ends: "+upid, func() bool {
		for _, t := range l.Tasks() {
			if t.UPID == upid {
				found = t
			}
		}
		return found.UPID != "" && !found.Running
	})
	return found
}

func (l *lab) must(method, path string, params ...string) TaskInfo {
	l.t.Helper()
	t := l.run(method, path, params...)
	if t.Exit != "OK" {
		l.t.Fatalf("%s %s %v: %s\n%s", method, path, params, t.Exit, strings.Join(t.Log, "\n"))
	}
	return t
}

func (l *lab) config(kind Kind, vmid int) map[string]any {
	l.t.Helper()
	c, _ := l.data("GET", "/nodes/pve1/"+string(kind)+"/"+itoa(vmid)+"/config").(map[string]any)
	return c
}

func expect(t *testing.T, r result, status int, reason string) {
	t.Helper()
	if r.status != status || r.reason != reason {
		t.Errorf("answered %d %s, want %d %s", r.status, r.reason, status, reason)
	}
}

func expectExit(t *testing.T, info TaskInfo, exit string) {
	t.Helper()
	if info.Exit != exit {
		t.Errorf("%s ended %q, want %q", info.Type, info.Exit, exit)
	}
}

var fixedNow = time.Date(2026, 11, 21, 21, 17, 47, 0, time.UTC)

// homeWorld is a small home lab of all kinds of storage.
func homeWorld() World {
	backups := NewMemoryStore(1 << 40)
	backups.Put(Place{Datastore: "usb"}, Stored{BackupID: BackupID{QEMU, 300, fixedNow.Add(-24 * time.Hour)}, Size: 2 << 30, Notes: "shop01", VerifyState: "ok", VerifyUPID: "UPID:x"},
		Image{Kind: QEMU, VMID: 300, Config: map[string]string{"name": "shop01", "memory": "64", "scsi0": "thin:vm-300-disk-0,size=2G"}, Disks: map[string]Volume{"scsi0": {2 << 30, "from pbs"}}})
	shop := map[string]string{"name": "shop01", "memory": "64", "kvm": "0", "cores": "1", "net0": "virtio=BC:24:11:AA:BB:01,bridge=vmbr0", "onboot": "1",
		"scsi0": "vmstore:300/vm-300-disk-0.qcow2,size=1G", "scsi1": "vmstore:300/vm-300-disk-1.qcow2,size=1G", "boot": "order=scsi0", "tags": "prod;shop",
		"smbios1": "uuid=161a2d93-5885-4cae-ba5d-862f85e455f7", "vmgenid": "e646460b-d981-4eb4-9f4b-f2a434890ce6", "description": "Shop", "parent": "before"}
	return World{
		Cluster: "home",
		Nodes: []Node{{Name: "pve1", Disks: []Disk{{Dev: "/dev/sda", Model: "SSD", Serial: "S1", Type: "ssd", Size: 1 << 40, Health: "PASSED", Wearout: 97, Used: "LVM"},
			{Dev: "/dev/sdb", Model: "USB", Serial: "S2", Type: "usb", Size: 1 << 40, Wearout: -1}}}, {Name: "pve2"}},
		Users: []User{{ID: "root@pam", Tokens: []Token{{Name: "lab", Secret: "secret"}}},
			{ID: "audit@pve", Tokens: []Token{{Name: "t", Secret: "secret"}}},
			{ID: "oper@pve", Tokens: []Token{{Name: "t", Secret: "secret"}, {Name: "sep", Secret: "secret", Privsep: true}}},
			{ID: "bkp@pve", Tokens: []Token{{Name: "t", Secret: "secret"}}}},
		Roles: map[string][]string{"Oper": {"VM.Allocate", "VM.Audit", "VM.Backup", "Datastore.Audit", "Datastore.AllocateSpace"},
			"Bkp": {"VM.Backup"}, "Space": {"Datastore.AllocateSpace"}},
		ACL: []ACL{{Path: "/", Who: "audit@pve", Role: "PVEAuditor"}, {Path: "/", Who: "oper@pve", Role: "Oper"},
			{Path: "/vms/300", Who: "bkp@pve", Role: "Bkp"}, {Path: "/storage/vmstore", Who: "bkp@pve", Role: "Space"}},
		Pools: map[string][]int{"prod": {300}},
		Storages: []Storage{
			{ID: "local", Type: "dir", Path: "/var/lib/vz", Content: []string{"iso", "vztmpl", "backup"}},
			{ID: "vmstore", Type: "dir", Path: "/srv/vmstore", Content: []string{"images", "rootdir", "backup"}},
			{ID: "keep1", Type: "dir", Path: "/srv/keep1", Content: []string{"backup"}, Prune: "keep-last=1"},
			{ID: "thin", Type: "lvmthin", VGName: "pve", Pool: "data"},
			{ID: "tank", Type: "zfspool", Pool: "tank"},
			{ID: "chain", Type: "dir", Path: "/srv/chain", Content: []string{"images"}, VolumeChain: true},
			{ID: "tiny", Type: "dir", Path: "/mnt/tiny", Content: []string{"images", "rootdir", "backup"}, Total: 200 << 20, IsMountpoint: true},
			{ID: "pbs-usb", Type: "pbs", Server: "127.0.0.1", Datastore: "usb", Store: backups},
		},
		Guests: []Guest{
			{VMID: 100, Config: map[string]string{"name": "thin01", "memory": "512", "scsi0": "thin:vm-100-disk-0,size=8G", "boot": "order=scsi0", "agent": "1"}, Content: map[string]string{"scsi0": "v1"}, Running: true},
			{VMID: 101, Kind: LXC, Config: map[string]string{"hostname": "ct01", "memory": "512", "swap": "0", "cores": "1", "unprivileged": "1", "rootfs": "tank:subvol-101-disk-0,size=8G"}, Content: map[string]string{"rootfs": "v1"}, Running: true},
			{VMID: 102, Config: map[string]string{"name": "zfs01", "memory": "512", "scsi0": "tank:vm-102-disk-0,size=8G", "boot": "order=scsi0"}, Content: map[string]string{"scsi0": "v1"}, Running: true},
			{VMID: 103, Config: map[string]string{"name": "chain01", "memory": "512", "scsi0": "chain:103/vm-103-disk-0.qcow2,size=8G"}, Content: map[string]string{"scsi0": "v1"}},
			{VMID: 200, Node: "pve2", Config: map[string]string{"name": "far", "memory": "512"}},
			{VMID: 300, Config: shop, Content: map[string]string{"scsi0": "data", "scsi1": "pattern"}, Snapshots: []Snapshot{{Name: "before", Time: fixedNow.Add(-time.Hour), Description: "old"}}},
			{VMID: 350, Kind: LXC, Config: map[string]string{"hostname": "shopct", "memory": "128", "cores": "1", "unprivileged": "1", "rootfs": "vmstore:350/vm-350-disk-0.raw,size=512M",
				"net0": "name=eth0,bridge=vmbr0,hwaddr=BC:24:11:AA:CC:01,ip=dhcp,type=veth"}, Content: map[string]string{"rootfs": "ct data"}},
		},
		Jobs: []Job{{"id": "nightly", "schedule": "21:00", "storage": "pbs-usb", "vmid": "100,101", "mode": "snapshot", "enabled": "1", "prune-backups": "keep-daily=7,keep-last=3"},
			{"id": "all", "schedule": "sun 01:00", "storage": "local", "all": "1", "exclude": "102", "enabled": "0"}},
		HA:  map[string]string{"vm:102": "started"},
		Now: func() time.Time { return fixedNow },
		Archives: []Archive{
			{Storage: "vmstore", Time: fixedNow, Size: 300006061, Notes: "shop01", Image: Image{Kind: QEMU, VMID: 300, Config: without(shop, "parent"),
				Disks: map[string]Volume{"scsi0": {1 << 30, "archived data"}, "scsi1": {1 << 30, "archived pattern"}}}},
			{Storage: "vmstore", Time: fixedNow.Add(-time.Hour), Size: 1000, Image: Image{Kind: QEMU, VMID: 300, Damage: "short vma extent (738816 < 3801600)", Config: without(shop, "parent"),
				Disks: map[string]Volume{"scsi0": {1 << 30, "half"}, "scsi1": {1 << 30, "half"}}}},
			{Storage: "vmstore", Time: fixedNow, Size: 157327360, Image: Image{Kind: LXC, VMID: 350, Config: map[string]string{"hostname": "shopct", "memory": "128", "cores": "1", "unprivileged": "1",
				"rootfs": "vmstore:350/vm-350-disk-0.raw,size=512M", "net0": "name=eth0,bridge=vmbr0,hwaddr=BC:24:11:AA:CC:01,ip=dhcp,type=veth"}, Disks: map[string]Volume{"rootfs": {512 << 20, "archived ct"}}}},
		},
		Pace: Pace{Lock: 200 * time.Millisecond},
	}
}

func without(config map[string]string, key string) map[string]string {
	c := map[string]string{}
	for k, v := range config {
		if k != key {
			c[k] = v
		}
	}
	return c
}

const (
	archive300 = "vmstore:backup/vzdump-qemu-300-2026_11_21-21_17_47.vma.zst"
	damaged300 = "vmstore:backup/vzdump-qemu-300-2026_11_21-20_17_47.vma.zst"
	archive350 = "vmstore:backup/vzdump-lxc-350-2026_11_21-21_17_47.tar.zst"
	pbs300     = "pbs-usb:backup/vm/300/2026-11-20T21:17:47Z"
)
