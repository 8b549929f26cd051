package disk

import "testing"

// Lines that kernels write when a disk, its cable or its file system dies, and lines
// that look alike.
func TestLinesOfDyingDisks(t *testing.T) {
	usb := device{name: "sdb1", disk: "sdb", names: []string{"sdb1", "sdb"}, usb: "2-1.4", scsi: "6:0:0:0"}
	ssd := device{name: "nvme1n1p1", disk: "nvme1n1", names: []string{"nvme1n1p1", "nvme1n1", "nvme1"}}
	for line, x := range map[string]struct {
		d    device
		want bool
	}{
		"sd 6:0:0:0: [sdb] tag#5 uas_eh_abort_handler 0 uas-tag 3 inflight: CMD OUT":                             {usb, true},
		"sd 6:0:0:0: Device offlined - not ready after error recovery":                                           {usb, true},
		"usb 2-1.4: reset SuperSpeed Plus Gen 2x1 USB device number 3 using xhci-hcd":                            {usb, true},
		"blk_update_request: critical medium error, dev sdb, sector 51816 op 0x0:(READ) flags 0x80700":           {usb, true},
		"timeout error, dev sdb, sector 2048 op 0x1:(WRITE) flags 0x0 phys_seg 1 prio class 0":                   {usb, true},
		"recoverable transport error, dev sdb, sector 2048 op 0x1:(WRITE)":                                       {usb, true},
		"Buffer I/O error on dev sdb1, logical block 7, lost async page write":                                   {usb, true},
		"JBD2: Detected IO errors while flushing file data on sdb1-8":                                            {usb, true},
		"EXT4-fs (sdb1): This should not happen!! Data will be lost":                                             {usb, true},
		"EXT4-fs warning (device sdb1): ext4_end_bio:343: I/O error 10 writing to inode 12":                      {usb, true},
		"BTRFS warning (device sdb1): csum failed root 5 ino 257 off 0 csum 0x8941f998 expected csum 0x00000000": {usb, true},
		"BTRFS warning (device sdb1): checksum error at logical 1103101952 on dev /dev/sdb1, physical 1":         {usb, true},
		"BTRFS: error (device sdb1: state EA) in btrfs_commit_transaction:2494: errno=-5 IO failure":             {usb, true},
		"BTRFS info (device sdb1: state E): forced readonly":                                                     {usb, true},
		"FAT-fs (sdb1): FAT read failed (blocknr 3213)":                                                          {usb, true},
		"exFAT-fs (sdb1): error, invalid access to FAT (entry 0x6c6f6f70)":                                       {usb, true},
		"exFAT-fs (sdb1): Filesystem has been set read-only":                                                     {usb, true},
		"nvme nvme1: I/O 12 QID 3 timeout, aborting":                                                             {ssd, true},
		"nvme nvme1: controller is down; will reset: CSTS=0xffffffff, PCI_STATUS=0x10":                           {ssd, true},
		// another disk's
		"nvme nvme10: I/O 12 QID 3 timeout, aborting":                  {ssd, false},
		"JBD2: Detected IO errors while flushing file data on sdb12-8": {usb, false},
		"BTRFS warning (device sdc1): csum failed root 5 ino 257":      {usb, false},
		"timeout error, dev sda, sector 2048 op 0x1:(WRITE)":           {usb, false},
		"usb 2-1: reset high-speed USB device number 2 using xhci_hcd": {usb, false},
		// no trouble
		"sd 6:0:0:0: [sdb] Attached SCSI disk":                                                     {usb, false},
		"BTRFS info (device sdb1): using crc32c (crc32c-intel) checksum algorithm":                 {usb, false},
		"BTRFS info (device sdb1): first mount of filesystem 3dec1166-d7b1-4177-8e8e-35191a31f349": {usb, false},
		"FAT-fs (sdb1): utf8 is not a recommended IO charset for FAT filesystems":                  {usb, false},
		"nvme nvme1: 8/0/0 default/read/poll queues":                                               {ssd, false},
	} {
		if got := len(troubles([]record{{text: line}}, x.d, "")) > 0; got != x.want {
			t.Errorf("%q is trouble: %t, want %t", line, got, x.want)
		}
	}
	for name, want := range map[string]bool{"nvme0": true, "nvme12": true, "nvme": false, "nvme0n1": false, "nvme-subsys0": false} {
		if isController(name) != want {
			t.Errorf("%q is a controller: %t", name, !want)
		}
	}
}
