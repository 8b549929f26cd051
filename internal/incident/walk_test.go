package incident

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"cairn/pbs"
)

// labs are what can be found: everything answers, nothing does, nothing is known.
func labs() map[string]Found {
	with := func(s Seen) Found {
		one := []Look{{Subject: "x", Seen: s, Text: "text"}}
		return Found{Hypervisors: one, Disks: one, BackupHost: one, OffSite: one, Databases: one, Standbys: []string{"a standby of erp"}}
	}
	mixed := with(Answers)
	mixed.Hypervisors = []Look{{Subject: "hypervisor pve1", Seen: Silent}, {Subject: "hypervisor pve2", Seen: Answers}}
	return map[string]Found{"all answers": with(Answers), "nothing answers": with(Silent), "nothing is known": with(NotKnown), "one node is silent": mixed, "an empty lab": {}}
}

// paths walks every path of answers through a lab.
func paths(t *testing.T, f Found, said Said, asked int, end func(Said, int, Advice)) {
	q, a := Next(f, said)
	if (q == nil) == (a == nil) {
		t.Fatalf("after %v: question %v and advice %v", said, q, a)
	}
	if a != nil {
		end(said, asked, *a)
		return
	}
	if q.Ask == "" || q.Why == "" || len(q.Choices) < 3 || q.Choices[len(q.Choices)-1].Value != Unsure {
		t.Fatalf("a bad question: %+v", q)
	}
	values := map[string]bool{}
	for _, c := range q.Choices {
		if c.Title == "" || values[c.Value] {
			t.Fatalf("a bad choice of %s: %+v", q.Topic, c)
		}
		values[c.Value] = true
		next := maps.Clone(said)
		next[q.Topic] = c.Value
		paths(t, f, next, asked+1, end)
	}
}

// TestEveryPathEnds in at most seven questions, in a scenario with a reason and the
// next best; every scenario is reached; what makes things worse comes first.
func TestEveryPathEnds(t *testing.T) {
	const most = 7
	all := []string{"config-mistake", "guest-loss", "file-loss", "database-mistake", "database-loss", "hypervisor-loss", "usb-loss", "backup-host-loss", "site-loss", "ransomware"}
	reached := map[string]int{}
	count := 0
	for name, f := range labs() {
		paths(t, f, Said{}, 0, func(said Said, asked int, a Advice) {
			count++
			reached[a.Scenario]++
			where := fmt.Sprintf("%s, %v", name, said)
			if asked > most {
				t.Errorf("%s: %d questions", where, asked)
			}
			if !slices.Contains(all, a.Scenario) || a.Why == "" || len(a.Next) < 2 || len(a.First) == 0 {
				t.Fatalf("%s: advice %+v", where, a)
			}
			seen := map[string]bool{a.Scenario: true}
			for _, n := range a.Next {
				if !slices.Contains(all, n.Scenario) || n.Why == "" || seen[n.Scenario] {
					t.Errorf("%s: next best %+v", where, n)
				}
				seen[n.Scenario] = true
			}
			first := strings.Join(a.First, " ")
			if !strings.Contains(first, "forgets, prunes and copies nothing") {
				t.Errorf("%s: the hold is not said: %s", where, first)
			}
			if isolate := strings.Contains(a.First[0], "Isolate"); isolate != (a.Scenario == "ransomware") {
				t.Errorf("%s: %s, and first of all: %s", where, a.Scenario, a.First[0])
			}
			if said[Worse] == Yes && !strings.Contains(a.First[0], "Isolate") && !strings.HasPrefix(a.First[0], "Stop what does it") {
				t.Errorf("%s: it gets worse, and first of all: %s", where, a.First[0])
			}
			if database := strings.HasPrefix(a.Scenario, "database"); database && len(f.Standbys) > 0 && !strings.Contains(first, "Do not promote") {
				t.Errorf("%s: nobody says to leave the standby alone", where)
			}
		})
	}
	for _, name := range all {
		if reached[name] == 0 {
			t.Errorf("no path leads to %s", name)
		}
	}
	t.Logf("%d paths: %v", count, reached)
}

// TestTheWalk: what a person would expect of the common cases.
func TestTheWalk(t *testing.T) {
	up, down := labs()["all answers"], labs()["nothing answers"]
	for _, c := range []struct {
		name  string
		found Found
		said  Said
		want  string
	}{
		{"an update went wrong an hour ago", up, Said{Worse: No, Signs: No, Since: Hour, About: OneGuest, Guest: Mistake}, "config-mistake"},
		{"an update went wrong, nobody knows when", up, Said{Worse: No, Signs: No, Since: Unsure, About: OneGuest, Guest: Mistake}, "guest-loss"},
		{"older than any snapshot should be", up, Said{Worse: No, Signs: No, Since: Longer, About: OneGuest, Guest: Mistake}, "guest-loss"},
		{"a guest is gone", up, Said{Worse: No, Signs: No, Since: Hour, About: OneGuest, Guest: Lost}, "guest-loss"},
		{"many guests", up, Said{Worse: No, Signs: No, Since: Hour, About: ManyGuests}, "guest-loss"},
		{"files", up, Said{Worse: No, Signs: No, Since: Hour, About: Files}, "file-loss"},
		{"a DELETE without WHERE", up, Said{Worse: No, Signs: No, Since: Hour, About: OneDatabase, Database: Mistake}, "database-mistake"},
		{"the server's disk died", up, Said{Worse: No, Signs: No, Since: Hour, About: OneDatabase, Database: Lost}, "database-loss"},
		{"nobody knows about the database", up, Said{Worse: No, Signs: No, Since: Hour, About: OneDatabase, Database: Unsure}, "database-mistake"},
		{"nobody knows about the database, and its server is silent", down, Said{Worse: No, Signs: No, Since: Hour, Gone: Nothing, About: OneDatabase, Database: Unsure}, "database-loss"},
		{"renamed files", up, Said{Worse: Unsure, Signs: Yes, Since: Day}, "ransomware"},
		{"renamed files, and nothing answers", down, Said{Worse: Unsure, Signs: Yes, Since: Day}, "ransomware"},
		{"worse, and nobody knows why", up, Said{Worse: Yes, Signs: Unsure, Since: Unsure}, "ransomware"},
		{"worse, and it is a program", up, Said{Worse: Yes, Signs: No, Since: Hour, About: OneDatabase, Database: Mistake}, "database-mistake"},
		{"the house burnt", down, Said{Worse: No, Signs: No, Since: Hour, Gone: Site}, "site-loss"},
		{"the server died", down, Said{Worse: No, Signs: No, Since: Hour, Gone: Hypervisor}, "hypervisor-loss"},
		{"the disk died", down, Said{Worse: No, Signs: No, Since: Hour, Gone: TheDisk}, "usb-loss"},
		{"the backup host died", down, Said{Worse: No, Signs: No, Since: Hour, Gone: BackupHost}, "backup-host-loss"},
		{"nothing is known at all", down, Said{Worse: Unsure, Signs: Unsure, Since: Unsure, Gone: Unsure, About: Unsure}, "guest-loss"},
	} {
		q, a := Next(c.found, c.said)
		if a == nil {
			t.Errorf("%s: it still asks %s", c.name, q.Topic)
		} else if a.Scenario != c.want {
			t.Errorf("%s: %s, want %s", c.name, a.Scenario, c.want)
		}
	}
}

// TestBefore: what is restored must be from before a mistake, and be the newest of
// what was lost.
func TestBefore(t *testing.T) {
	for _, c := range []struct {
		said Said
		want time.Duration
	}{
		{Said{Since: Hour, Guest: Mistake}, time.Hour}, {Said{Since: Day, Guest: Lost}, 0}, {Said{Since: Days, Signs: Yes}, 7 * 24 * time.Hour},
		{Said{Since: Longer}, 30 * 24 * time.Hour}, {Said{Since: Unsure}, 0}, {Said{Since: Day, Database: Lost}, 0}, {Said{Since: Day, Gone: Site}, 0}, {Said{Since: Day, Gone: Nothing}, 24 * time.Hour},
	} {
		if got := Before(c.said); got != c.want {
			t.Errorf("%v: %s, want %s", c.said, got, c.want)
		}
	}
}

// TestThePrecautionsNameWhatGoesOn by itself, and do not ask twice for what is done.
func TestThePrecautionsNameWhatGoesOn(t *testing.T) {
	f := labs()["all answers"]
	f.Open, f.Jobs = true, tidying("nas", pbs.Facts{Jobs: []pbs.Job{{Kind: pbs.PruneJob, ID: "daily", Schedule: "02:00"}, {Kind: pbs.VerifyJob, ID: "v", Schedule: "03:00"},
		{Kind: pbs.SyncJob, ID: "off", Schedule: "04:00", Disabled: true}}, GC: &pbs.Job{Kind: pbs.GCJob, Schedule: "05:00"}})
	_, a := Next(f, Said{Worse: No, Signs: No, Since: Hour, About: Files})
	text := strings.Join(a.First, " ")
	if !strings.Contains(text, "The incident is open") || !strings.Contains(text, "prune daily of PBS nas, gc of PBS nas. Stop") || !strings.Contains(text, "cairn incident hold") {
		t.Errorf("first: %s", text)
	}
}

// TestWhatAnswersIsNotAsked: only where something is silent, or not known, a
// person is asked what is gone.
func TestWhatAnswersIsNotAsked(t *testing.T) {
	said := Said{Worse: No, Signs: No, Since: Hour}
	for name, want := range map[string]Topic{"all answers": About, "nothing answers": Gone, "nothing is known": Gone, "one node is silent": Gone, "an empty lab": About} {
		q, _ := Next(labs()[name], said)
		if q == nil || q.Topic != want {
			t.Errorf("%s: it asks %+v, want %s", name, q, want)
		}
	}
	q, _ := Next(labs()["one node is silent"], said)
	if text := fmt.Sprint(q.Choices); !strings.Contains(text, "no answer from hypervisor pve1") || len(q.Seen) != 4 {
		t.Errorf("what was looked up is not shown: %+v", q)
	}
}
