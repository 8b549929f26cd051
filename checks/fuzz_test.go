package checks

import (
	"errors"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"cairn/internal/backup"
	"cairn/internal/disk"
	"cairn/internal/secret"
	"cairn/pbs"
	"cairn/pg"
	"cairn/proxmox"
	"cairn/restic"
)

// chaos fills any value with what a lab might, and might not, hold: zero values,
// extremes, times of another century, ids that meet by accident.
type chaos struct{ *rand.Rand }

var words = []string{"", "home", "spare", "usb", "a", "b", "101", "102", "vm", "ct", "host", "pbs", "home/pbs-usb", "pbs-usb", "spare/x", "/mnt/usb",
	"/mnt/usb/pbs", "/srv", "/", "..", "ok", "failed", "OK", "WARNINGS: 1", "unknown", "notmounted", "offline", "read-only: x", "backup", "snapshot", "prepare",
	"lvmthin", "openprod", "verify", "running", "s3.example.net", "%d %s", "ä\x00\xff", strings.Repeat("x", 300)}

func (c chaos) time() time.Time {
	switch c.IntN(8) {
	case 0:
		return time.Time{}
	case 1:
		return time.Unix(c.Int64N(1<<40)-1<<39, 0)
	case 2:
		return now.Add(time.Duration(c.Int64N(int64(400 * backup.Day))))
	}
	return now.Add(-time.Duration(c.Int64N(int64(40 * backup.Day))))
}

func (c chaos) fill(v reflect.Value, depth int) {
	switch v.Interface().(type) {
	case time.Time:
		v.Set(reflect.ValueOf(c.time()))
		return
	case backup.AssetID:
		kinds := []backup.AssetKind{backup.Guest, backup.Database, backup.Cluster, backup.Path, backup.Host, backup.Composite, ""}
		v.Set(reflect.ValueOf(backup.AssetID{Kind: kinds[c.IntN(len(kinds))], Scope: words[c.IntN(4)], Name: words[c.IntN(len(words))]}))
		return
	case secret.Source, *time.Location:
		return
	}
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(c.IntN(2) == 0)
	case reflect.Int, reflect.Int64, reflect.Int32:
		v.SetInt(c.integer(v.Type() == reflect.TypeFor[backup.Status]()))
	case reflect.Uint32, reflect.Uint64:
		v.SetUint(uint64(c.IntN(9)))
	case reflect.Float64:
		v.SetFloat([]float64{0, -1, 0.5, 0.9, 1e300, math.Inf(1), math.NaN()}[c.IntN(7)])
	case reflect.String:
		v.SetString(words[c.IntN(len(words))])
	case reflect.Pointer:
		if c.IntN(2) == 0 && depth < 7 {
			v.Set(reflect.New(v.Type().Elem()))
			c.fill(v.Elem(), depth+1)
		}
	case reflect.Slice:
		for range c.IntN(5) {
			e := reflect.New(v.Type().Elem()).Elem()
			c.fill(e, depth+1)
			v.Set(reflect.Append(v, e))
		}
	case reflect.Map:
		if c.IntN(5) == 0 {
			return
		}
		v.Set(reflect.MakeMap(v.Type()))
		for range c.IntN(4) {
			k, e := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			c.fill(k, depth+1)
			c.fill(e, depth+1)
			v.SetMapIndex(k, e)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Field(i).CanSet() && c.IntN(6) > 0 {
				c.fill(v.Field(i), depth+1)
			}
		}
	case reflect.Interface:
		if v.Type() == reflect.TypeFor[error]() && c.IntN(3) == 0 {
			v.Set(reflect.ValueOf(errors.New(words[c.IntN(len(words))])))
		}
	}
}

func (c chaos) integer(status bool) int64 {
	if status {
		return int64(c.IntN(4))
	}
	return []int64{0, 1, -1, 101, 102, 5, 1 << 40, math.MaxInt64, math.MinInt64, int64(time.Hour), int64(backup.Day), -int64(time.Hour)}[c.IntN(12)]
}

// lab mixes a well lab with chaos, so that both its ends are met.
func (c chaos) lab() (Policy, Facts) {
	p, f := home()
	if c.IntN(2) == 0 {
		c.fill(reflect.ValueOf(&p).Elem(), 0)
	}
	if c.IntN(4) > 0 {
		c.fill(reflect.ValueOf(&f).Elem(), 0)
	}
	return p, f
}

// laws hold for every report.
func laws(t *testing.T, p Policy, f Facts, r Report) {
	if !survey(p, f, r.At).partial { // else what was not asked says nothing
		told(t, r)
	}
	t.Helper()
	worst := backup.OK
	ids := map[string]bool{}
	for _, one := range r.Problems {
		if one.ID == "" || one.Summary == "" || one.Hint == "" || one.Status == backup.OK || one.Fingerprint == "" || one.Since.IsZero() || one.Since.After(r.At) {
			t.Errorf("not a whole problem: %+v", one)
		}
		if ids[one.ID] {
			t.Errorf("%s twice", one.ID)
		}
		ids[one.ID] = true
		if !one.Acknowledged {
			worst = max(worst, one.Status)
		}
	}
	if r.Status != worst {
		t.Errorf("the report is %s, its worst problem %s", r.Status, worst)
	}
	for _, tier := range r.Tiers {
		for _, s := range tier.Sources {
			if unread(f, s.Name) && s.Status == backup.OK {
				t.Errorf("unknown is never ok: %+v", s)
			}
			if s.Status > backup.OK && s.Word == "ok" {
				t.Errorf("%s is %s and says ok", s.Name, s.Status)
			}
		}
	}
	for _, a := range r.Assets {
		if a.Proven && (a.Status != backup.OK && a.Word != "LATE" || a.Status > backup.Warning || !a.OffSite || a.Copies < 3) {
			t.Errorf("proven without proof: %+v", a)
		}
		if a.RPO != nil && *a.RPO < 0 {
			t.Errorf("a loss of %s", *a.RPO)
		}
	}
	for _, d := range r.Disks {
		if o := f.Disks[d.Name]; !o.Current() && d.Status == backup.OK {
			t.Errorf("unknown is never ok: %+v", d)
		}
	}
	for _, s := range r.Scenarios {
		if s.RTO < 0 || s.RTOP90 < s.RTO || s.Ready != (len(s.Blockers) == 0) {
			t.Errorf("got %+v", s)
		}
	}
}

// told: an asset that is badly off has a problem that says so, somewhere.
func told(t *testing.T, r Report) {
	t.Helper()
	if len(r.Problems) > 0 {
		return
	}
	for _, a := range r.Assets {
		if !a.Parked && a.Status > backup.OK && a.ID.Kind != backup.Composite {
			t.Errorf("%s is %s (%s), and there is no problem", a.ID, a.Status, a.Word)
		}
	}
}

func unread(f Facts, source string) bool {
	kind, name, _ := strings.Cut(source, ".")
	switch kind {
	case "proxmox", "vzdump":
		return !f.Proxmox[name].Current()
	case "pbs":
		return !f.PBS[name].Current()
	case "restic":
		return !f.Restic[name].Current()
	}
	return !f.Postgres[name].Current()
}

func TestJudgeHoldsItsLawsWhateverItIsGiven(t *testing.T) {
	for seed := range uint64(1500) {
		p, f := chaos{rand.New(rand.NewPCG(seed, 1))}.lab()
		laws(t, p, f, Judge(p, f, now))
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func FuzzJudge(f *testing.F) {
	for seed := range uint64(20) {
		f.Add(seed, int64(0))
	}
	f.Fuzz(func(t *testing.T, seed uint64, shift int64) {
		p, facts := chaos{rand.New(rand.NewPCG(seed, 2))}.lab()
		at := now.Add(time.Duration(shift))
		laws(t, p, facts, Judge(p, facts, at))
	})
}

func TestZeroValues(t *testing.T) {
	r := Judge(Policy{}, Facts{}, time.Time{})
	if r.Status != backup.OK || len(r.Problems) != 0 || len(r.Tiers) != 0 {
		t.Errorf("got %+v", r)
	}
	p, _ := home()
	f := Facts{
		Proxmox: map[string]backup.Observed[proxmox.Facts]{"home": {}}, PBS: map[string]backup.Observed[pbs.Facts]{"nas": {}},
		Restic: map[string]backup.Observed[restic.Facts]{"usb": {}, "cloud": {}}, Postgres: map[string]backup.Observed[pg.Facts]{"erp": {}},
		Disks: map[string]backup.Observed[disk.Facts]{"usb": {}},
	}
	r = Judge(p, f, now)
	laws(t, p, f, r)
	if len(r.Problems) != 6 {
		t.Errorf("six that were not read are six problems:\n%s", text(r))
	}
}

// Whatever was read before, a source whose latest attempt failed is not ok.
func TestErrorsAreNeverOK(t *testing.T) {
	for seed := range uint64(300) {
		c := chaos{rand.New(rand.NewPCG(seed, 3))}
		p, f := home()
		fail(c, f.Proxmox)
		fail(c, f.PBS)
		fail(c, f.Restic)
		fail(c, f.Postgres)
		fail(c, f.Disks)
		laws(t, p, f, Judge(p, f, now))
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func fail[T any](c chaos, m map[string]backup.Observed[T]) {
	for name, o := range m {
		if c.IntN(2) == 0 {
			o.Err, o.Tried = errTest, now
			m[name] = o
		}
	}
}

// The same facts give the same report, in whatever order maps are walked.
func TestJudgeIsStable(t *testing.T) {
	for seed := range uint64(100) {
		p, f := chaos{rand.New(rand.NewPCG(seed, 4))}.lab()
		first := text(Judge(p, f, now))
		for range 3 {
			if again := text(Judge(p, f, now)); again != first {
				t.Fatalf("seed %d:\n%s\nand\n%s", seed, first, again)
			}
		}
	}
}

// Judging changes nothing of what it is given: a State that was published is
// read by others at the same time.
func TestJudgeLeavesItsInputAlone(t *testing.T) {
	p, f := home()
	f.Past.Proofs = map[string][]backup.Proven{CopyKey("restic.cloud", f.Restic["cloud"].Value.Snapshots[0].ID): {{Level: backup.Restored, At: now}}}
	wantP, wantF := home()
	Judge(p, f, now)
	f.Past = Past{}
	if !reflect.DeepEqual(p, wantP) || !reflect.DeepEqual(f, wantF) {
		t.Error("the input was changed")
	}
}
