package guest

import (
	"testing"
	"time"

	"cairn/internal/history"
)

// A restore point is off-site where its whole content was found there, and only then.
func TestWhichRestorePointsAreOffSite(t *testing.T) {
	x := restoring(t)
	x.Keep(x.Past)
	older, newer := "vm/101/"+taken.UTC().Format(time.RFC3339), "vm/101/"+taken.Add(24*time.Hour).UTC().Format(time.RFC3339)
	err := x.Past.RecordCompared(t.Context(),
		history.Compared{Repository: "restic.cloud", Snapshot: "aa", Source: "pbs.nas", Copy: older, Complete: true, At: taken},
		history.Compared{Repository: "restic.cloud", Snapshot: "aa", Source: "pbs.nas", Copy: newer, Missing: "3 chunks", At: taken},
		history.Compared{Repository: "restic.cloud", Snapshot: "aa", Source: "pbs.other", Copy: newer, Complete: true, At: taken})
	if err != nil {
		t.Fatal(err)
	}
	points, _, err := x.Points(t.Context(), x.guest("web"))
	if err != nil || len(points) != 2 {
		t.Fatal(points, err)
	}
	for _, how := range []string{"written", "found by its datastore"} {
		in, err := x.OffSite(t.Context(), "home", points)
		if err != nil || len(in) != 1 || in[points[1].Volume][0] != "restic.cloud" {
			t.Errorf("%s: %v, %v", how, in, err)
		}
		cfg := x.config.PBS["nas"]
		cfg.ProxmoxStorages, cfg.Datastore = nil, "usb"
		x.config.PBS["nas"] = cfg
	}
}

// A storage that no table names is found by its server or its datastore: what is
// measured, and the disk that is looked at, are those of that backup server.
func TestTheOwnerOfAStorageIsFound(t *testing.T) {
	x := restoring(t)
	cfg := x.config.PBS["nas"]
	cfg.ProxmoxStorages, cfg.Datastore = nil, "usb"
	x.config.PBS["nas"] = cfg
	c, err := x.Cluster("home")
	if err != nil {
		t.Fatal(err)
	}
	storages, err := c.NodeStorages(t.Context(), "pve1")
	if err != nil {
		t.Fatal(err)
	}
	if m := x.medium("home", storages, "pbs-usb"); m != "pbs.nas" {
		t.Errorf("the medium is %s", m)
	}
	cfg.Datastore = "another"
	x.config.PBS["nas"] = cfg
	if m := x.medium("home", storages, "pbs-usb"); m != "proxmox.home/pbs-usb" {
		t.Errorf("the medium of a storage of nobody is %s", m)
	}
}
