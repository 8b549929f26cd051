package checks

import (
	"errors"
	"strings"
	"testing"
	"time"

	"cairn/internal/backup"
	"cairn/pbs"
	"cairn/restic"
)

func TestWhatRestoresNeedIsWatched(t *testing.T) {
	now := time.Date(2026, 11, 21, 21, 0, 0, 0, time.UTC)
	usb := restic.Config{Repository: "/mnt/usb/restic", Paths: []string{"/etc", "/srv"}, Every: backup.Duration(24 * time.Hour)}
	held := restic.Facts{Name: "usb", Snapshots: []restic.Snapshot{{ID: "aa", Time: now.Add(-time.Hour), Paths: []string{"/etc", "/srv"}}}}
	host := pbs.Facts{Name: "nas", Snapshots: []pbs.Snapshot{{Type: "host", ID: "pve1", Time: now.Add(-time.Hour), Files: []pbs.File{{Name: "etc-pve.pxar.didx"}}}}}
	need := func(dir string) Need {
		return Need{Subject: "proxmox.home", What: "/etc/pve of cluster home", Without: "nobody knows the keys", Dir: dir, Hint: "Copy it"}
	}
	for name, c := range map[string]struct {
		need   Need
		restic backup.Observed[restic.Facts]
		pbs    map[string]backup.Observed[pbs.Facts]
		status backup.Status
		says   string
	}{
		"held":            {need: need("/etc/pve"), restic: backup.Observed[restic.Facts]{Value: held, At: now}},
		"the path itself": {need: need("/srv/"), restic: backup.Observed[restic.Facts]{Value: held, At: now}},
		"nobody said":     {need: need(""), restic: backup.Observed[restic.Facts]{Value: held, At: now}, status: backup.Warning, says: "No copy of /etc/pve of cluster home is known: after a loss nobody knows the keys"},
		"a host's backup": {need: need(""), pbs: map[string]backup.Observed[pbs.Facts]{"nas": {Value: host, At: now}}},
		"an old answer":   {need: need(""), pbs: map[string]backup.Observed[pbs.Facts]{"nas": {Value: host, At: now.Add(-24 * time.Hour), Err: errors.New("no answer")}}, status: backup.Warning, says: "No copy"},
		"outside of all":  {need: need("/root/pve"), restic: backup.Observed[restic.Facts]{Value: held, At: now}, status: backup.Warning, says: "lies below no path of a restic entry"},
		"a name's start":  {need: need("/srvother"), restic: backup.Observed[restic.Facts]{Value: held, At: now}, status: backup.Warning, says: "lies below no path"},
		"no snapshot":     {need: need("/etc/pve"), restic: backup.Observed[restic.Facts]{Value: restic.Facts{Name: "usb"}, At: now}, status: backup.Warning, says: "No snapshot holds"},
		"does not answer": {need: need("/etc/pve"), restic: backup.Observed[restic.Facts]{Err: errors.New("repository is locked")}, status: backup.Unknown, says: "is not known: restic usb: "},
		"had it, is mute": {need: need("/etc/pve"), restic: backup.Observed[restic.Facts]{Value: held, At: now.Add(-time.Hour), Err: errors.New("no answer")}, status: backup.Unknown, says: "is not known"},
	} {
		t.Run(name, func(t *testing.T) {
			p := Policy{Restic: map[string]restic.Config{"usb": usb}, PBS: map[string]pbs.Config{"nas": {URL: "https://nas:8007"}}, Needs: []Need{c.need}}
			l := survey(p, Facts{Restic: map[string]backup.Observed[restic.Facts]{"usb": c.restic}, PBS: c.pbs}, now)
			got := l.judgeNeeds()
			if c.says == "" {
				if len(got) != 0 {
					t.Errorf("%+v", got)
				}
				return
			}
			if len(got) != 1 || got[0].Status != c.status || !strings.Contains(got[0].Summary, c.says) || got[0].Hint == "" {
				t.Errorf("%+v, want %s: %s", got, c.status, c.says)
			}
		})
	}
}
