package proxmox

import (
	"encoding/json"
	"testing"
)

// A job shows its retention as an object, a storage as a text; both read alike, and
// what is not understood is not taken for none: it could not be set again.
func TestRetentions(t *testing.T) {
	for raw, want := range map[string]string{
		`{"keep-last":"3","keep-daily":"7"}`: "keep-daily=7,keep-last=3",
		`{"keep-last":3,"keep-daily":7}`:     "keep-daily=7,keep-last=3",
		`"keep-last=3,keep-daily=7"`:         "keep-daily=7,keep-last=3",
		`{"keep-all":1}`:                     KeepAll,
		`"keep-all=1"`:                       KeepAll,
		`null`:                               "",
		`""`:                                 "",
		`{}`:                                 "",
		`[3]`:                                UnreadRetention,
		`7`:                                  UnreadRetention,
	} {
		var row struct {
			R retention `json:"prune-backups"`
		}
		if err := json.Unmarshal([]byte(`{"prune-backups":`+raw+`}`), &row); err != nil || string(row.R) != want {
			t.Errorf("%s is %q, want %q (%v)", raw, row.R, want, err)
		}
	}
	off := flag(false)
	jobs := newJobs(rows[wireJob]{all: []wireJob{{ID: "a"}, {ID: "b", Retention: KeepAll}, {ID: "c", Remove: &off}, {ID: "d", Retention: "keep-last=1"}, {ID: "e", Enabled: &off}}})
	for i, want := range []bool{true, false, false, true, false} {
		if jobs[i].Prunes() != want {
			t.Errorf("%+v", jobs[i])
		}
	}
}

func FuzzRetention(f *testing.F) {
	for _, seed := range []string{`{"keep-last":"3"}`, `"keep-last=3"`, `null`, `[]`, `{"keep-last":{}}`, `7`, `"`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var r retention
		if json.Unmarshal([]byte(text), &r) == nil && r != UnreadRetention {
			again := retention("")
			if quoted, err := json.Marshal(string(r)); err != nil || json.Unmarshal(quoted, &again) != nil || again != r {
				t.Errorf("%q is read as %q, and that as %q", text, r, again)
			}
		}
	})
}
