package e2e

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// report is the documented JSON of check, as a script would read it.
type report struct {
	Status    string
	Problems  []problem
	Tiers     []struct{ Sources []source }
	Assets    []asset
	Disks     []disk
	Scenarios []struct {
		Name, Target string
		Ready        bool
	}
	Warnings []string
}

type problem struct {
	ID, Code, Subject, Status, Summary, Hint string
	Acknowledged                             bool
}

type source struct {
	Name, Status, Note string
	Reachable          bool
	Error              *string
	Surveyed           *time.Time `json:"surveyed_at"`
	Newest             *time.Time
	Age                *int64 `json:"age_seconds"`
	Copies             int
}

type asset struct {
	ID, Name, Kind, Status string
	Copies, Media          int
	OffSite                bool
	Held                   []struct {
		Tier               int
		Source, ID, Status string
		Taken              *time.Time `json:"taken_at"`
	} `json:"copies_held"`
}

type disk struct {
	Name, Status, Mount string
	Present, Writable   bool
}

// check surveys once and reads the JSON.
func check(t *testing.T, config string, args ...string) (report, result) {
	t.Helper()
	r := try(t, append([]string{"check", "--config", config, "--format", "json"}, args...)...)
	var rep report
	if err := json.Unmarshal([]byte(r.out), &rep); err != nil {
		t.Fatalf("exit %d: %v\n%s%s", r.code, err, r.out, r.err)
	}
	if want := map[string]int{"ok": 0, "warning": 1, "critical": 2, "unknown": 3}[rep.Status]; r.code != want {
		t.Errorf("status %s with exit code %d", rep.Status, r.code)
	}
	return rep, r
}

func (r report) source(t *testing.T, name string) source {
	t.Helper()
	for _, tier := range r.Tiers {
		for _, s := range tier.Sources {
			if s.Name == name {
				return s
			}
		}
	}
	t.Fatalf("the report has no source %s", name)
	return source{}
}

func (r report) asset(t *testing.T, id string) asset {
	t.Helper()
	for _, a := range r.Assets {
		if a.ID == id {
			return a
		}
	}
	t.Fatalf("the report has no asset %s", id)
	return asset{}
}

// about are the problems of a subject.
func (r report) about(subject string) []problem {
	var found []problem
	for _, p := range r.Problems {
		if p.Subject == subject {
			found = append(found, p)
		}
	}
	return found
}

func (r report) tell() string {
	var b strings.Builder
	for _, p := range r.Problems {
		b.WriteString(p.Status + " " + p.ID + ": " + p.Summary + " -> " + p.Hint + "\n")
	}
	return b.String()
}
