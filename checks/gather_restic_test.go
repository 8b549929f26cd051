package checks

import (
	"testing"

	"cairn/internal/backup"
	"cairn/restic"
)

// TestTornSnapshot: what was read of a datastore while PBS wrote to it is no copy,
// there and where it was copied to; what else the snapshot holds is.
func TestTornSnapshot(t *testing.T) {
	p, f := home()
	usb, cloud := f.Restic["usb"].Value, f.Restic["cloud"].Value
	newest := usb.Snapshots[len(usb.Snapshots)-1]
	for _, name := range []string{"usb", "cloud"} { // a copy keeps the tags
		edit(f.Restic, name, func(v *restic.Facts) {
			v.Snapshots[len(v.Snapshots)-1].Tags = []string{"daily", restic.OperationTag + "20261121-1"}
		})
	}
	f.Past.Torn = map[string]string{restic.OperationTag + "20261121-1": "PBS wrote while it was read"}
	torn, whole := 0, 0
	for _, c := range Copies(p, f, now) {
		ours := c.ID == newest.ID || c.ID == cloud.Snapshots[len(cloud.Snapshots)-1].ID
		if c.State == backup.Torn && ours && c.Why != "" && c.Asset.Name == p.PBS["nas"].Path {
			torn++
		} else if c.State == backup.Torn {
			t.Errorf("torn: %+v", c)
		} else if ours {
			whole++
		}
	}
	if torn != 2 || whole == 0 {
		t.Errorf("%d torn, %d whole", torn, whole)
	}
}
