package checks

import (
	"testing"
	"time"

	"cairn/internal/backup"
)

// What lies on the backup host itself is lost with it, up to its newest copy;
// what nobody could read of it is not "nothing".
func TestTheBackupHostLosesItsOwnPaths(t *testing.T) {
	l := &lab{now: now}
	at := func(kind backup.AssetKind, age time.Duration) Asset {
		return Asset{ID: backup.AssetID{Kind: kind, Name: "/" + age.String()}, RPO: &age}
	}
	unread := at(backup.Path, 0)
	unread.RPO = nil
	for name, c := range map[string]struct {
		assets []Asset
		want   time.Duration // -1: not known
	}{
		"no paths":        {[]Asset{at(backup.Guest, 9*time.Hour)}, 0},
		"the oldest path": {[]Asset{at(backup.Path, time.Hour), at(backup.Path, 5*time.Hour), at(backup.Guest, 9*time.Hour)}, 5 * time.Hour},
		"one is unread":   {[]Asset{unread, at(backup.Path, time.Hour)}, -1},
	} {
		got := l.hostLoss(c.assets).RPO
		if c.want < 0 && got != nil || c.want >= 0 && (got == nil || *got != c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
