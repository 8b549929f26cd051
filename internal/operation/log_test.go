package operation

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"cairn/internal/plan"
)

// logged is a store with an operation whose step has a log.
func logged(t *testing.T) (*Store, string, *progressFile) {
	t.Helper()
	s, err := OpenStore(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	id, err := s.Create(plan.Plan{Operation: "backup", Target: "restic.usb", Steps: []plan.Step{{ID: "1", Kind: "x"}}}, Actor{Who: "ana"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return s, id, &progressFile{path: s.file(id, "progress.json"), logPath: s.file(id, "task.log"), now: time.Now}
}

func TestTheLogKeepsEveryLine(t *testing.T) {
	s, id, f := logged(t)
	if lines, next, _, err := s.Log(id, 0); err != nil || len(lines) != 0 || next != 0 {
		t.Fatalf("before any line: %v %d %v", lines, next, err)
	}
	for i := range 100 {
		f.put(Progress{Step: "1", Lines: []string{fmt.Sprintf("line %d", i)}})
		f.put(Progress{Step: "1", Lines: []string{"42 %"}, Passing: true})
	}
	lines, next, _, err := s.Log(id, 0)
	if err != nil || len(lines) != 100 || lines[99].Text != "line 99" || lines[0].Step != "1" || lines[0].At.IsZero() {
		t.Fatalf("%d lines, %v", len(lines), err)
	}
	f.put(Progress{Step: "2", Lines: []string{"two\nin one\ttab"}})
	lines, _, again, err := s.Log(id, next)
	if err != nil || again || len(lines) != 1 || lines[0].Text != "two in one\ttab" || lines[0].Step != "2" {
		t.Fatalf("%+v, %v", lines, err)
	}
	if _, _, _, err := s.Log("20260101-1", 0); err == nil {
		t.Error("an operation that is not there has a log")
	}
}

func TestALongLogLosesItsOldestHalfOnly(t *testing.T) {
	s, id, f := logged(t)
	long := strings.Repeat("x", 1<<20)
	for i := range 6 {
		f.put(Progress{Step: "1", Lines: []string{fmt.Sprint(i, long)}})
	}
	lines, next, _, err := s.Log(id, 0)
	if err != nil || len(lines) != 6 {
		t.Fatalf("%d lines, %v", len(lines), err)
	}
	if next > 3<<20 {
		t.Errorf("the log in use has %d bytes", next)
	}
	if _, _, again, _ := s.Log(id, 1<<30); !again {
		t.Error("a reader that is ahead of the log is not told to begin again")
	}
}

func TestAHalfWrittenLineWaits(t *testing.T) {
	s, id, f := logged(t)
	if err := os.WriteFile(f.logPath, []byte("2026-11-21T20:14:30Z\t1\twhole\nforeign words\n2026-11-21T20"), 0o600); err != nil {
		t.Fatal(err)
	}
	lines, next, _, err := s.Log(id, 0)
	if err != nil || len(lines) != 2 || lines[1].Text != "foreign words" || next != 43 {
		t.Errorf("%+v, next %d, %v", lines, next, err)
	}
}
