package proxmox

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"cairn/internal/backup"
)

// A directory of backups as people keep it: files that vzdump named, that somebody
// renamed to keep them, and that are no backups at all.
func TestArchivesThatPeopleRenamed(t *testing.T) {
	const changed = 1795200000 // when each file was last changed
	file := time.Unix(changed, 0)
	for name, x := range map[string]struct {
		kind    string
		taken   time.Time // zero: it is no copy
		safety  bool
		undated bool
		guest   GuestKind
	}{
		"vzdump-qemu-101-2026_11_20-20_00_00.vma.zst":     {"qemu", file, false, false, QEMU},
		"vzdump-lxc-101-2026_11_20-20_00_00.tar.zst":      {"lxc", file, false, false, LXC},
		"vzdump-openvz-101-2015_03_01-02_00_01.tgz":       {"openvz", file, false, false, LXC},
		"vzdump-qemu-101-2026_11_20-20_00_00.tar":         {"qemu", file, false, false, QEMU},
		"vzdump-qemu-101-2024_01_02-03_04_05-keep.vma.gz": {"qemu", time.Date(2024, 1, 2, 3, 4, 5, 0, time.Local), true, false, QEMU},
		"vzdump-qemu-101-before-upgrade.vma.zst":          {"qemu", file, true, true, QEMU},
		"vzdump-qemu-101-2099_99_99-03_04_05-odd.vma.zst": {"qemu", file, true, false, QEMU},
		"nextcloud-101-data.tar.gz":                       {"unknown", time.Time{}, false, false, ""},
		"vzdump-lxc-101-2026_11_20-20_00_01.tar.zst":      {"", file, false, false, LXC}, // before PVE 6.4 it had no subtype
	} {
		var row archiveRow
		text := `{"volid":"nas:backup/` + name + `","vmid":101,"ctime":1795200000,"size":5000,"content":"backup","notes":"web"`
		if x.kind != "" {
			text += `,"subtype":"` + x.kind + `"`
		}
		if err := json.Unmarshal([]byte(text+"}"), &row); err != nil {
			t.Fatal(err)
		}
		m := memory{archives: map[string]archives{"nas": {"nas", []archive{row.archive}}}}
		copies := m.archiveCopies("home", nil)
		if x.taken.IsZero() {
			if len(copies) != 0 || !row.foreign() {
				t.Errorf("%s is no backup of a guest: %+v", name, copies)
			}
			continue
		}
		if len(copies) != 1 || !copies[0].Taken.Equal(x.taken) || copies[0].Safety != x.safety || !copies[0].Usable() {
			t.Errorf("%s: %+v", name, copies)
		}
		p := row.point(resource{Storage: "nas", Plugin: "dir"})
		if !p.Taken.Equal(x.taken) || p.Undated != x.undated || p.Kind != x.guest || strings.Contains(p.Notes, "last changed") != x.undated || !strings.HasSuffix(p.Notes, "web") || !p.Usable() {
			t.Errorf("%s: %+v", name, p)
		}
	}
	for volume, want := range map[string]bool{"pbs:backup/vm/101/2026-11-20T20:00:00Z": false, "custom:backup/101-full-1": false, "usb:backup/vzdump-qemu-101-x.vma": true} {
		if got := (archive{Volume: text(volume)}).renamed(); got != want {
			t.Errorf("%s is renamed: %t", volume, got)
		}
	}
}

// cairn's own safety copy on a storage that is no PBS tells nothing of the schedule.
func TestSafetyCopyInAFile(t *testing.T) {
	row := archive{Volume: "nas:backup/vzdump-qemu-101-2026_11_20-20_00_00.vma.zst", VMID: 101, Time: 1795200000, Notes: text(backup.SafetyComment + "20261120-1, before web was restored over")}
	m := memory{archives: map[string]archives{"nas": {"nas", []archive{row}}}}
	if copies := m.archiveCopies("home", nil); len(copies) != 1 || !copies[0].Safety {
		t.Errorf("got %+v", copies)
	}
}

func TestRenamedBackupsComeLast(t *testing.T) {
	f := newFake(t)
	smallCluster(f)
	f.set("GET /nodes/pve1/storage/local/content?content=backup&vmid=101", `[
		{"volid":"local:backup/vzdump-qemu-101-golden.vma.zst","vmid":101,"ctime":1795300000,"size":1,"content":"backup","subtype":"qemu"},
		{"volid":"local:backup/vzdump-qemu-101-2026_11_20-20_00_00.vma.zst","vmid":101,"ctime":1795200000,"size":1,"content":"backup","subtype":"qemu"},
		{"volid":"local:backup/music-101-flac.tar","vmid":101,"ctime":1795300001,"size":1,"content":"backup","subtype":"unknown"}]`)
	points, _, err := newTestClient(t, config(f)).RestorePoints(t.Context(), 101)
	if err != nil || len(points) != 2 || points[0].Undated || !points[1].Undated {
		t.Errorf("%+v, %v: the one whose time is known comes first, and a tar of somebody's is none", points, err)
	}
}
