package pbs

import (
	"slices"
	"time"

	"cairn/internal/backup"
)

// Group names the backup group within its datastore: "vm/101", or
// "lab/vm/101" in namespace lab.
func (s Snapshot) Group() string {
	if s.Namespace == "" {
		return s.Type + "/" + s.ID
	}
	return s.Namespace + "/" + s.Type + "/" + s.ID
}

// Key names the backup snapshot within its datastore, as PBS does:
// "lab/vm/101/2026-01-02T03:04:05Z".
func (s Snapshot) Key() string { return s.Group() + "/" + s.Time.UTC().Format(time.RFC3339) }

// Verified says whether its last verification found every byte good. A copy
// that was synced carries the verification of its source.
func (s Snapshot) Verified() bool { return !s.InFlight && !s.Unreadable && s.Verify.State == "ok" }

// Encrypted says whether any of its archives is encrypted, so that a restore
// needs the key of Fingerprint. A backup that was only signed names a key too, and
// is restored without it.
func (s Snapshot) Encrypted() bool {
	told := false
	for _, f := range s.Files {
		if f.Crypt == "encrypt" {
			return true
		}
		told = told || f.Crypt != "" && f.Name != indexName
	}
	return s.Fingerprint != "" && !told
}

// longUpload is the age at which an upload is taken for abandoned when the
// token may not see whether its task still runs.
const longUpload = 24 * time.Hour

// State says whether s can be restored from, and why not. An upload without a
// running task was abandoned: it does not stay "in flight" for good.
func (f Facts) State(s Snapshot) (state backup.State, why string) {
	switch {
	case s.Unreadable:
		return backup.Damaged, "PBS cannot read its index: no archive of it can be restored"
	case !s.InFlight && s.Verify.State == "failed":
		return backup.Damaged, "its verification failed: chunks are missing or corrupt"
	case !s.InFlight:
		return backup.Complete, ""
	case f.uploading(s):
		return backup.InFlight, ""
	}
	return backup.Torn, "its upload ended without an index: it was cut off, and PBS will remove it"
}

func (f Facts) uploading(s Snapshot) bool {
	if !f.TasksComplete {
		return f.ServerTime.IsZero() || f.ServerTime.Sub(s.Time) < longUpload
	}
	return slices.ContainsFunc(f.Runs, func(r backup.Run) bool {
		switch {
		case !r.Running():
			return false
		case r.Job == "sync": // its snapshots bear the times of their source
			return true
		}
		// PBS leaves the namespace out of a backup task's id
		return r.Job == "backup" && (r.Subject == s.Group() || r.Subject == s.Type+"/"+s.ID) && r.Started.Sub(s.Time).Abs() < time.Hour
	})
}

// SnapshotsKnown says whether Snapshots is the whole truth: the datastore is
// there and every namespace that should be read was read. Where it is false, a
// missing backup snapshot proves nothing.
func (f Facts) SnapshotsKnown() bool { return f.Mounted() && len(f.Unread) == 0 }
