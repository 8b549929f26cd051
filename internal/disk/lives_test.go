package disk

import (
	"slices"
	"strings"
	"testing"
)

const (
	uuidOld = "016e49e7-4d28-4831-88b2-187a740303f2"
	uuidNow = "3dec1166-d7b1-4177-8e8e-35191a31f349"
)

// what returns the short names of the troubles found: the part after " #".
func tags(found []string) string {
	var out []string
	for _, line := range found {
		_, tag, _ := strings.Cut(line, " #")
		out = append(out, tag)
	}
	return strings.Join(out, " ")
}

func TestTroubleBelongsToAFileSystem(t *testing.T) {
	loop1 := device{name: "loop1", disk: "loop1", names: []string{"loop1"}}
	usbNow := device{name: "sdd1", disk: "sdd", names: []string{"sdd1", "sdd"}, usb: "2-3", scsi: "8:0:0:0"}
	for _, x := range []struct {
		name string
		d    device
		uuid string
		log  string
		want string
	}{
		{"a loop device that another file system had before", loop1, uuidNow, `
			loop1: detected capacity change from 0 to 1048576
			EXT4-fs (loop1): mounted filesystem ` + uuidOld + ` r/w with ordered data mode. Quota mode: none.
			EXT4-fs error (device loop1): trigger_test_error:127: comm go #other
			EXT4-fs (loop1): Remounting filesystem read-only #other
			I/O error, dev loop1, sector 1 #otherdevice
			EXT4-fs (loop1): unmounting filesystem ` + uuidOld + `.
			loop1: detected capacity change from 0 to 1048576
			EXT4-fs (loop1): mounted filesystem ` + strings.ToUpper(uuidNow) + ` r/w with ordered data mode. Quota mode: none.
			I/O error, dev loop1, sector 2 #a
			EXT4-fs (loop1): Remounting filesystem read-only #b`, "a b"},
		{"the same, attached with no line", loop1, uuidNow, `
			EXT4-fs (loop1): mounted filesystem ` + uuidOld + ` r/w with ordered data mode.
			EXT4-fs (loop1): Remounting filesystem read-only #other
			Buffer I/O error on dev loop1, logical block 1 #other
			EXT4-fs (loop1): mounted filesystem ` + uuidNow + ` r/w with ordered data mode.
			Buffer I/O error on dev loop1, logical block 2 #a`, "a"},
		{"nothing has happened since it was mounted", loop1, uuidNow, `
			EXT4-fs (loop1): Remounting filesystem read-only #other
			loop1: detected capacity change from 0 to 1048576
			EXT4-fs (loop1): mounted filesystem ` + uuidNow + ` r/w with ordered data mode.`, ""},
		{"its own trouble from before it was mounted again", loop1, uuidNow, `
			EXT4-fs (loop0): mounted filesystem ` + uuidNow + ` r/w with ordered data mode.
			EXT4-fs (loop0): Remounting filesystem read-only #a
			EXT4-fs (loop0): unmounting filesystem ` + uuidNow + `.
			loop0: detected capacity change from 0 to 1048576
			EXT4-fs (loop0): mounted filesystem ` + uuidOld + ` r/w with ordered data mode.
			EXT4-fs (loop0): Remounting filesystem read-only #other
			loop1: detected capacity change from 0 to 1048576
			EXT4-fs (loop1): mounted filesystem ` + uuidNow + ` r/w with ordered data mode.`, "a"},
		{"the log begins after the mount", loop1, uuidNow, `
			EXT4-fs (loop1): Remounting filesystem read-only #a`, "a"},
		{"only the unmount tells whose it was", loop1, uuidNow, `
			EXT4-fs (loop1): Remounting filesystem read-only #other
			EXT4-fs (loop1): unmounting filesystem ` + uuidOld + `.
			EXT4-fs (loop1): mounted filesystem ` + uuidNow + ` r/w with ordered data mode.`, ""},
		{"a USB disk that came back under another letter and port", usbNow, uuidNow, `
			usb 2-1: new SuperSpeed USB device number 2 using xhci_hcd
			scsi host0: usb-storage 2-1:1.0
			scsi 0:0:0:0: Direct-Access     QEMU     QEMU HARDDISK    2.5+ PQ: 0 ANSI: 5
			sd 0:0:0:0: [sdb] 1048576 512-byte logical blocks: (537 MB/512 MiB)
			sd 0:0:0:0: [sdb] Attached SCSI disk
			EXT4-fs (sdb1): mounted filesystem ` + uuidNow + ` r/w with ordered data mode.
			usb 2-1: USB disconnect, device number 2 #a
			I/O error, dev sdb, sector 0 #b
			EXT4-fs (sdb1): Remounting filesystem read-only #c
			usb 2-3: new SuperSpeed USB device number 4 using xhci_hcd
			scsi host8: usb-storage 2-3:1.0
			scsi 8:0:0:0: Direct-Access     QEMU     QEMU HARDDISK    2.5+ PQ: 0 ANSI: 5
			sd 8:0:0:0: [sdd] Attached SCSI disk
			EXT4-fs (sdd1): mounted filesystem ` + uuidNow + ` r/w with ordered data mode.
			sd 8:0:0:0: [sdd] Synchronize Cache(10) failed #d`, "a b c d"},
		{"a letter and a port that another USB disk had before", usbNow, uuidNow, `
			usb 2-3: new SuperSpeed USB device number 2 using xhci_hcd
			scsi host0: usb-storage 2-3:1.0
			scsi 0:0:0:0: Direct-Access     QEMU     QEMU HARDDISK    2.5+ PQ: 0 ANSI: 5
			sd 0:0:0:0: [sdd] Attached SCSI disk
			EXT4-fs (sdd1): mounted filesystem ` + uuidOld + ` r/w with ordered data mode.
			usb 2-3: USB disconnect, device number 2 #other
			I/O error, dev sdd, sector 0 #other
			Aborting journal on device sdd1-8. #other
			EXT4-fs (sdd1): Remounting filesystem read-only #other
			usb 2-3: new SuperSpeed USB device number 4 using xhci_hcd
			scsi host8: usb-storage 2-3:1.0
			scsi 8:0:0:0: Direct-Access     QEMU     QEMU HARDDISK    2.5+ PQ: 0 ANSI: 5
			sd 8:0:0:0: [sdd] Attached SCSI disk
			usb 2-3: reset SuperSpeed USB device number 4 using xhci_hcd #a
			EXT4-fs (sdd1): mounted filesystem with ordered data mode. Quota mode: none.
			I/O error, dev sdd, sector 1 #b
			EXT4-fs error (device sdd1): #c`, "a b c"},
		{"a kernel that names no UUID, mounted twice on the same disk", usbNow, uuidNow, `
			scsi 8:0:0:0: Direct-Access     QEMU     QEMU HARDDISK    2.5+ PQ: 0 ANSI: 5
			sd 8:0:0:0: [sdd] Attached SCSI disk
			EXT4-fs (sdd1): mounted filesystem with ordered data mode. Quota mode: none.
			EXT4-fs (sdd1): Remounting filesystem read-only #a
			EXT4-fs (sdd1): unmounting filesystem.
			EXT4-fs (sdd1): mounted filesystem with ordered data mode. Quota mode: none.`, "a"},
		{"another partition of the same disk", usbNow, uuidNow, `
			EXT4-fs (sdd2): mounted filesystem ` + uuidOld + ` r/w with ordered data mode.
			EXT4-fs (sdd1): mounted filesystem ` + uuidNow + ` r/w with ordered data mode.
			EXT4-fs (sdd2): Remounting filesystem read-only #other
			I/O error, dev sdd, sector 1 #a`, "a"},
		{"XFS and btrfs", device{names: []string{"sdd1", "sdd"}}, uuidNow, `
			XFS (sdd1): Mounting V5 Filesystem ` + uuidOld + `
			XFS (sdd1): Corruption of in-memory data #other
			XFS (sdd1): Unmounting Filesystem ` + uuidOld + `
			BTRFS info (device sdd1): first mount of filesystem ` + uuidNow + `
			BTRFS error (device sdd1): #a`, "a"},
		{"an encrypted disk", device{name: "dm-0", names: []string{"dm-0", "sdd1", "sdd"}}, uuidNow, `
			EXT4-fs (dm-0): mounted filesystem with ordered data mode. Quota mode: none.
			EXT4-fs (dm-0): Remounting filesystem read-only #other
			I/O error, dev sdd, sector 1 #a
			EXT4-fs (dm-0): mounted filesystem with ordered data mode. Quota mode: none.
			EXT4-fs error (device dm-0): #b`, "a b"},
	} {
		t.Run(x.name, func(t *testing.T) {
			var log []record
			for line := range strings.Lines(x.log) {
				log = append(log, record{text: strings.TrimSpace(line)})
			}
			if got := tags(troubles(log, x.d, x.uuid)); got != x.want {
				t.Errorf("got %q, want %q", got, x.want)
			}
		})
	}
}

func TestOldRecordsTellNamesButNoTrouble(t *testing.T) {
	log := []record{
		{text: "EXT4-fs (loop1): mounted filesystem " + uuidNow + " r/w", old: true},
		{text: "EXT4-fs (loop1): Remounting filesystem read-only", old: true},
		{text: "EXT4-fs (loop1): mounted filesystem " + uuidOld + " r/w", old: true},
		{text: "EXT4-fs error (device loop1): of the other"},
	}
	if got := troubles(log, device{names: []string{"loop1"}}, uuidNow); len(got) != 0 {
		t.Errorf("got %q", got)
	}
	if got := troubles(log, device{names: []string{"loop1"}}, uuidOld); len(got) != 1 {
		t.Errorf("got %q", got)
	}
}

func TestTroubleOfARecordedReplug(t *testing.T) {
	now := device{name: "sdd", disk: "sdd", names: []string{"sdd"}, usb: "2-3", scsi: "8:0:0:0"}
	log := slices.Concat(records(recorded(t, "dmesg_usb_attach.txt")), records(recorded(t, "dmesg_usb_unplug.txt")), records(recorded(t, "dmesg_usb_replug.txt")))
	if got := troubles(log, now, uuidNow); len(got) != 0 {
		t.Errorf("the trouble of the unplugged disk, whose UUID no line tells: %q", got)
	}
	log = append(log, record{text: "EXT4-fs (sdb): unmounting filesystem " + uuidNow + "."})
	if got := troubles(log, now, uuidNow); len(got) < 5 || !strings.Contains(got[0], "USB disconnect") {
		t.Errorf("it was this very disk: %q", got)
	}
}
