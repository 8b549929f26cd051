package disk

import "time"

// Facts is what one look at a medium found.
type Facts struct {
	Name         string // configured name
	Mount        string
	Mounted      bool     // the mount point is really a mount
	Below        string   // where the mount point lies when nothing is mounted there: "a directory on / (/dev/vda1)"
	Stray        bool     // and files lie in it: something wrote there while the disk was away
	Attached     []string // configured names of the disks that are plugged in but not mounted there; only looked up when none is
	Device       string   // "/dev/sdb1"
	FSType       string
	UUID         string // of the file system that is mounted; empty: not known
	Unit         string // configured name of the disk that is mounted; empty: none that is known
	Foreign      bool   // something is mounted there, but none of the configured disks
	Unidentified string // why it is not known which disk is mounted; empty: it is known, or none is configured
	Serial       string // of the disk, and of its USB bridge; empty: not known
	DeviceGone   bool   // mounted, but the device has left the system
	Writable     bool   // a file was written, synced to the disk and removed
	ReadOnly     string // why it is not writable, in words with the value seen
	Unprobed     string // why that could not be tried, such as no permission; neither Writable nor ReadOnly then
	Total        int64  // bytes
	Used         int64
	Available    int64 // to us, without root's reserve
	Inodes       int64
	InodesFree   int64
	ErrorsCount  int64    // ext4's errors_count; -1: not ext4, or not readable
	Kernel       []string // kernel log lines of the last 24 h that mean trouble for this file system or its disk, oldest first
	KernelErr    string   // why the kernel log could not be read; empty: it was
	Smart        Health
}

// Present says whether one of the configured disks is mounted and reachable.
func (f Facts) Present() bool { return f.Mounted && !f.Foreign && !f.DeviceGone }

// UsedRatio is used / (used + available), 0..1, as df counts.
func (f Facts) UsedRatio() float64 {
	if f.Used+f.Available <= 0 {
		return 0
	}
	return float64(f.Used) / float64(f.Used+f.Available)
}

// Health is what SMART says.
type Health struct {
	At          time.Time // when it was read; zero: never
	Err         string    // why there is no data; empty: there is
	Standby     bool      // the disk sleeps and was not woken
	Model       string
	Serial      string
	Passed      *bool   // overall verdict; nil: it gives none
	Temperature int     // °C; 0: not known
	Wear        float64 // share of the rated endurance that is used, 0..; -1: not known
	PowerOn     time.Duration
	Counters    map[string]Counter // those that matter, by name: "Reallocated_Sector_Ct", "media_errors"
	Findings    []Finding

	tried time.Time // when the disk was asked last, answered or not
}

// Counter is an error counter and when it last rose.
type Counter struct {
	Value  int64
	Before int64     // its value before it last rose
	Rose   time.Time // when that was noticed; zero: it never was
}

// Finding is one value of SMART that has crossed a limit, or moved.
type Finding struct {
	Name     string // "Reallocated_Sector_Ct"
	Value    int64
	Limit    string // in words, such as "0" or "threshold 10"
	Critical bool
	Text     string // one sentence
}
