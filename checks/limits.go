package checks

import "time"

// The limits of judgement that no table of the configuration sets, each with
// its reason. Those that the configuration sets are in Policy.
const (
	// clockTolerance: two machines that keep time by NTP differ by far less;
	// more makes every age doubtful, and a time further ahead is no age at all.
	clockTolerance = 2 * time.Minute

	// factsMaxAge: every system is asked at least each half hour. Facts older
	// than this say how it stood, not how it stands.
	factsMaxAge = 2 * time.Hour

	// graceShare of a schedule is its grace: 25 h for a daily one.
	graceShare = 24

	// stuckFactor: a run that takes this many times its usual duration, and the
	// grace on top, hangs. Real runs vary by up to 2.3 times.
	stuckFactor = 3

	// stuckUnknown holds where the usual duration is not known.
	stuckUnknown = 24 * time.Hour

	// orphanAfter: an upload that no task list explains is not taken for a run
	// that is under way for longer.
	orphanAfter = 24 * time.Hour

	// neverVerifiedAfter: verify jobs run at night or at the week's end; a copy
	// younger than this may simply await its turn.
	neverVerifiedAfter = 48 * time.Hour

	// gcMaxAge: pruned data is freed by garbage collection alone; two weekly
	// runs missed is one too many.
	gcMaxAge = 14 * 24 * time.Hour

	// shrunkShare of the median of the last shrunkOf copies, and less, is
	// suspicious; fewer than shrunkLeast predecessors say nothing.
	shrunkShare = 0.5
	shrunkOf    = 5
	shrunkLeast = 3

	// fillWarning and fillCritical hold for file systems, inodes, thin pools
	// and their metadata unless the disk's table says otherwise. A thin pool
	// that is full stops every guest on it.
	fillWarning  = 0.80
	fillCritical = 0.90

	// fullSoon: the time to order a disk and copy onto it.
	fullSoon = 14 * 24 * time.Hour

	// forecastWindow spans several prune and collection cycles; a shorter span
	// than forecastSpan takes a single nightly write for a trend.
	forecastWindow = 30 * 24 * time.Hour
	forecastSpan   = 7 * 24 * time.Hour
	forecastPair   = 24 * time.Hour           // points closer than this show the daily rhythm only
	forecastFlat   = 0.002                    // growth below this share of the disk over the window is none
	forecastMax    = 5 * 365 * 24 * time.Hour // beyond this a date means nothing
	forecastPoints = 120                      // pairs grow with the square of this
	turnsWithout   = 7 * 24 * time.Hour       // absence of a disk that takes turns and has no absent_ok of its own

	// wearWarning and wearCritical are shares of the rated endurance.
	wearWarning  = 0.80
	wearCritical = 1.00

	// hotWarning and hotCritical in °C: consumer SSDs throttle at about 70.
	hotWarning  = 60
	hotCritical = 70

	// matchWindow: a guest's backup snapshot carries the time at which its part
	// of the vzdump task began, give or take what PVE needs to start it.
	matchWindow = 5 * time.Minute

	// walGapDefault is the limit for a WAL segment that waits where no max_gap is set.
	walGapDefault = 15 * time.Minute

	// slotRetained: WAL that a slot which nobody reads holds back.
	slotRetained = 4 << 30

	// standbyLag in bytes and time; time counts only while something is left to replay.
	standbyLag      = 15 * time.Minute
	standbyLagBytes = 1 << 30

	// namesShown of a list; the rest is counted.
	namesShown = 3
)

// Cold defaults of the times to restore, used until a run was measured and
// marked "assumed". Measured rates of untested restores are halved: 80 to
// 140 MB/s becomes 55.
const (
	assumedDiskRate = 55e6             // bytes/s, physical restore from a local disk
	assumedWANRate  = 5e6              // bytes/s, a home line of 40 Mbit/s
	assumedFixed    = 60 * time.Second // locate, start the task, start the guest, check it
	assumedRollback = 40 * time.Second // stop, roll back, start, check
	assumedInstall  = 90 * time.Minute // a new Proxmox VE, its network, storages and keys
	assumedHost     = 2 * time.Hour    // a new backup host, its tokens and jobs
	assumedDisk     = 24 * time.Hour   // to get a new disk
	assumedP90      = 2.5              // under five samples
)
