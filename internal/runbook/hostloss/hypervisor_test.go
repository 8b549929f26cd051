package hostloss

import (
	"testing"
	"time"

	"cairn/internal/runbook/byhand"
	"cairn/internal/runbook/several"
	"cairn/pbs"
)

// TestAKeyIsAskedForWhatIsEncrypted: a backup that is only signed names its key, and is
// restored without it.
func TestAKeyIsAskedForWhatIsEncrypted(t *testing.T) {
	const key = "ab:cd:ef"
	for name, c := range map[string]struct {
		crypt       string
		fingerprint string
		want        string
	}{"signed": {"sign-only", key, ""}, "encrypted": {"encrypt", key, key}, "plain": {"none", "", ""}, "not told": {"", key, key}} {
		newest := map[int]several.Lost{}
		seen := pbs.Facts{Snapshots: []pbs.Snapshot{{Type: "vm", ID: "101", Time: time.Unix(1e9, 0), Fingerprint: c.fingerprint, Files: []pbs.File{{Name: "drive-scsi0.img.fidx", Crypt: c.crypt}}}}}
		(&Runbook{}).newestBackups(byhand.Storage{Name: "usb"}, seen, false, newest)
		if got, found := newest[101]; !found || got.Key != c.want {
			t.Errorf("%s: the key %q of %+v, want %q", name, got.Key, got, c.want)
		}
	}
}
