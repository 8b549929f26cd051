package backup

import (
	"encoding/json"
	"errors"
	"math"
	"testing"
	"time"
)

func TestDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"24h": 24 * time.Hour, "14d": 14 * Day, "1w": Week, "1w2d12h": 9*Day + 12*time.Hour, "90m": 90 * time.Minute, "0d": 0,
	} {
		got, err := ParseDuration(text)
		if err != nil || got.Std() != want {
			t.Errorf("ParseDuration(%q) = %v, %v, want %v", text, got.Std(), err, want)
		}
	}
	for _, text := range []string{"", "14", "d", "-1d", "1d-2h", "1.5d", "tomorrow", "99999999w", "1d 2h"} {
		if got, err := ParseDuration(text); err == nil {
			t.Errorf("ParseDuration(%q) = %v, want an error", text, got)
		}
	}
}

func FuzzParseDuration(f *testing.F) {
	for _, seed := range []string{"24h", "1w2d", "65535w65535w", "1d1d"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if d, err := ParseDuration(text); err == nil && d < 0 {
			t.Errorf("%q gives a negative span %d", text, d)
		}
	})
}

func TestAge(t *testing.T) {
	for want, d := range map[string]time.Duration{
		"0s": 0, "59s": 59 * time.Second, "40m": 40*time.Minute + 30*time.Second, "3h": 3 * time.Hour, "3h 12m": 3*time.Hour + 12*time.Minute,
		"25h": 25*time.Hour + time.Minute, "2d": 2 * Day, "9d 2h": 9*Day + 2*time.Hour, "120d": 120*Day + time.Hour, "-5m": -5 * time.Minute,
		"-106751d": math.MinInt64,
	} {
		if got := Age(d); got != want {
			t.Errorf("Age(%v) = %q, want %q", d, got, want)
		}
	}
}

func TestAssetID(t *testing.T) {
	for _, text := range []string{"guest:home/101", "postgres.erp/open prod", "postgres.erp", "path:/srv/a b", "host:pve1", "asset.erp"} {
		id, err := ParseAssetID(text)
		if err != nil || id.String() != text {
			t.Errorf("ParseAssetID(%q) = %v, %v", text, id, err)
		}
	}
	for _, text := range []string{"", "101", "guest:101", "guest:/1", "path:srv", "asset.", "postgres.", "postgres./x", "postgres.x/"} {
		if id, err := ParseAssetID(text); err == nil {
			t.Errorf("ParseAssetID(%q) = %v, want an error", text, id)
		}
	}
	if (AssetID{Guest, "home", "101"}) == (AssetID{Guest, "spare", "101"}) {
		t.Error("the same VMID in two clusters is one asset")
	}
}

func TestWorst(t *testing.T) {
	if got := Worst(OK, Unknown, Warning); got != Unknown {
		t.Errorf("unknown is worse than a warning, got %v", got)
	}
	if got := Worst(Unknown, Critical); got != Critical {
		t.Errorf("got %v", got)
	}
	if got := Worst(); got != OK {
		t.Errorf("got %v", got)
	}
}

func TestObservedKeepsTheFormerValue(t *testing.T) {
	first, later := time.Unix(1000, 0).UTC(), time.Unix(2000, 0).UTC()
	o := Observed[int]{}.Next(7, nil, first)
	o = o.Next(0, errors.New("refused"), later)
	if o.Value != 7 || !o.At.Equal(first) || o.Current() || !o.Known() || !o.Tried.Equal(later) {
		t.Fatalf("got %+v", o)
	}
	text, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	var back Observed[int]
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	if back.Value != 7 || back.Err == nil || back.Err.Error() != "refused" || !back.At.Equal(first) {
		t.Errorf("got %+v from %s", back, text)
	}
}

func TestBestProof(t *testing.T) {
	taken, later := time.Unix(1000, 0), time.Unix(2000, 0)
	c := Copy{Taken: taken}
	if got := c.Best(); got != (Proven{Exists, taken}) {
		t.Errorf("got %v", got)
	}
	c.Proofs = []Proven{{EveryByteRead, taken}, {MetadataRead, later}, {EveryByteRead, later}}
	if got := c.Best(); got != (Proven{EveryByteRead, later}) {
		t.Errorf("got %v", got)
	}
}

func TestProofReadsWhatItWrites(t *testing.T) {
	for p := Exists; p <= ContentChecked; p++ {
		text, err := json.Marshal(Proven{Level: p})
		var back Proven
		if err != nil || json.Unmarshal(text, &back) != nil || back.Level != p {
			t.Errorf("%s: %s, %v", p, text, back)
		}
	}
	if err := json.Unmarshal([]byte(`{"Level":"sworn"}`), &Proven{}); err == nil {
		t.Error("an unknown level was taken")
	}
}
