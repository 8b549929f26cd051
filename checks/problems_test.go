package checks

import (
	"errors"
	"strings"
	"testing"
	"time"

	"cairn/internal/backup"
	"cairn/pbs"
)

var errTest = errors.New("restic.cloud: the server does not answer; is the line up?")

func TestAcknowledgementsEndWhenAProblemWorsens(t *testing.T) {
	for name, c := range map[string]struct {
		acked, now string
		holds      bool
	}{
		"the same":       {"warning|a|b", "warning|a|b", true},
		"one fewer":      {"warning|a|b", "warning|a", true},
		"one more":       {"warning|a|b", "warning|a|b|c", false},
		"another one":    {"warning|a", "warning|b", false},
		"worse":          {"warning|a", "critical|a", false},
		"better":         {"critical|a", "warning|a", true},
		"a number grows": {"warning|errors=2", "warning|errors=3", false},
		"a number falls": {"warning|errors=2", "warning|errors=1", true},
		"nonsense":       {"x", "warning|a", false},
		"empty":          {"", "warning|a", false},
	} {
		if got := covers(c.acked, c.now); got != c.holds {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestAcknowledged(t *testing.T) {
	p, f := home()
	unverify := func(ids ...string) {
		edit(f.PBS, "nas", func(v *pbs.Facts) {
			v.Snapshots = append(nightly("101", 5), nightly("102", 5)...)
			for i := range v.Snapshots {
				for _, id := range ids {
					if v.Snapshots[i].ID == id {
						v.Snapshots[i].Verify = pbs.Verification{}
					}
				}
			}
		})
	}
	unverify("101")
	r := Judge(p, f, now)
	first := want(t, r, backup.Warning, "never-verified", "1 guest on PBS nas was never verified: web01 (101)")
	if first.Acknowledged || !first.Since.Equal(now) || first.ID != "never-verified:pbs.nas" {
		t.Errorf("got %+v", first)
	}
	f.Past.Acks = map[string]string{first.ID: first.Fingerprint, "offsite-unproven:3-2-1": codes(r)["offsite-unproven"].Fingerprint}
	f.Past.Since = map[string]time.Time{first.ID: now.Add(-time.Hour)}
	r = Judge(p, f, now)
	if got := codes(r)["never-verified"]; !got.Acknowledged || !got.Since.Equal(now.Add(-time.Hour)) {
		t.Errorf("got %+v", got)
	}
	if r.Status != backup.OK {
		t.Errorf("what is acknowledged does not count: %s", r.Status)
	}
	unverify("101", "102")
	if got := codes(Judge(p, f, now))["never-verified"]; got.Acknowledged {
		t.Errorf("it worsened: %+v", got)
	}
}

func TestProblemsAreSorted(t *testing.T) {
	got := settle([]Problem{
		found(backup.Warning, "w", "b", "", ""), found(backup.Critical, "c", "z", "", ""), found(backup.Unknown, "u", "a", "", ""),
		found(backup.Critical, "acked", "a", "", ""), found(backup.Warning, "w", "b", "doubled", ""), found(backup.Warning, "w", "a", "", ""),
	}, Past{Acks: map[string]string{"acked:a": "critical"}, Since: map[string]time.Time{"c:z": now.Add(time.Hour)}}, now)
	var order []string
	for _, p := range got {
		order = append(order, p.ID)
	}
	if s := strings.Join(order, " "); s != "c:z u:a w:a w:b acked:a" {
		t.Errorf("got %s", s)
	}
	if !got[0].Since.Equal(now) {
		t.Error("a problem that began in the future begins now")
	}
}

func TestLists(t *testing.T) {
	if got := listed([]string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"}); got != "a, b, c and 7 more" {
		t.Errorf("got %q", got)
	}
	if got := listed([]string{"a", "b", "c", "d"}); got != "a, b, c, d" {
		t.Errorf("got %q", got)
	}
	if got := counted(2, "copy"); got != "2 copies" {
		t.Errorf("got %q", got)
	}
	if got := size(1536); got != "1.5 KiB" {
		t.Errorf("got %q", got)
	}
}

func TestHoldIsShownAndFreezes(t *testing.T) {
	p, f := home()
	f.Past.Hold = &Hold{Since: now.Add(-time.Hour), By: "ana", Why: "ransomware"}
	r := Judge(p, f, now)
	want(t, r, backup.Warning, "hold", "ana", "ransomware", "2026-11-21 19:14")
	if s := sourceOf(t, r, "restic.usb"); s.Frozen != "all copies are held" {
		t.Errorf("got %+v", s)
	}
	forgetful := f
	forgetful.Past = Past{Unread: "it is of a newer cairn"}
	r = Judge(p, forgetful, now)
	want(t, r, backup.Warning, "history", "it is of a newer cairn", "not known")
	if s := sourceOf(t, r, "restic.usb"); s.Frozen == "" {
		t.Errorf("got %+v", s)
	}
	forgetful.Past = Past{Unwritten: "database or disk is full (13)"}
	want(t, Judge(p, forgetful, now), backup.Warning, "history", "is not kept", "disk is full")
	f.Past.Hold.Incident = 3
	r = Judge(p, f, now)
	want(t, r, backup.Warning, "incident", "Incident 3", "ana", "ransomware", "2026-11-21 19:14")
	if s := sourceOf(t, r, "restic.usb"); s.Frozen != "incident 3 is open" {
		t.Errorf("got %+v", s)
	}
}
