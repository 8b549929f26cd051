package proxmox

import (
	"strings"
	"testing"
)

// TestMissingOn: what is there is told by the name alone, what is not is missing only
// where the token would see it.
func TestMissingOn(t *testing.T) {
	const content, onStorage, onGuest = "GET /nodes/b/storage/zfs/content?vmid=100", "GET /access/permissions?path=%2Fstorage%2Fzfs", "GET /access/permissions?path=%2Fvms%2F100"
	f := newFake(t)
	c := newTestClient(t, config(f))
	f.set(content, `[{"volid":"zfs:vm-100-disk-0","vmid":"100"}]`)
	f.set(onStorage, `{"/storage/zfs":{"Datastore.Audit":1}}`)
	f.set(onGuest, `{"/vms/100":{"VM.Config.Disk":1}}`)
	disks := []Disk{{Key: "scsi0", Storage: "zfs", Volume: "zfs:base-900-disk-0/vm-100-disk-0"}, {Key: "scsi1", Storage: "zfs", Volume: "zfs:vm-100-disk-1"}}
	missing, err := c.MissingOn(t.Context(), "b", 100, disks)
	if err != nil || len(missing) != 1 || missing[0].Key != "scsi1" {
		t.Errorf("%+v, %v", missing, err)
	}
	if missing, err = c.MissingOn(t.Context(), "b", 100, disks[:1]); err != nil || len(missing) != 0 {
		t.Errorf("%+v, %v", missing, err)
	}
	f.set(onGuest, `{"/vms/100":{"VM.Audit":1}}`)
	if _, err = c.MissingOn(t.Context(), "b", 100, disks); err == nil || !strings.Contains(err.Error(), "lacks Datastore.Audit on /storage/zfs, or VM.Config.Disk on /vms/100") {
		t.Errorf("what may be hidden: %v", err)
	}
	f.set(onStorage, `{"/storage/zfs":{"Datastore.Allocate":1}}`)
	if missing, err = c.MissingOn(t.Context(), "b", 100, disks); err != nil || len(missing) != 1 {
		t.Errorf("%+v, %v", missing, err)
	}
	for _, answer := range []string{`[null,{"volid":"zfs:vm-100-disk-0"},7]`, `{}`, `"x"`} {
		f.set(content, answer)
		if missing, err = c.MissingOn(t.Context(), "b", 100, disks); err == nil {
			t.Errorf("%s: %+v is missing for certain", answer, missing)
		}
	}
	f.fail(content, "500 storage 'zfs' is not available on node 'b'")
	if _, err = c.MissingOn(t.Context(), "b", 100, disks); err == nil || !strings.Contains(err.Error(), "not available on node") {
		t.Errorf("%v", err)
	}
}
