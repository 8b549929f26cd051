package e2e

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"cairn/internal/lab/pbs"
)

// byThemselves is what the lab's servers are configured to take away by themselves.
func (b *bench) byThemselves() string {
	var text []string
	b.lab.PBS.Change(func(w *pbs.World) {
		for _, j := range w.Jobs {
			text = append(text, fmt.Sprintf("%s %s %q disabled=%t %v", j.Kind, j.ID, j.Schedule, j.Disable, j.Keep))
		}
		text = append(text, "gc "+w.Datastores[0].GC.Schedule)
	})
	return strings.Join(append(text, "backup-nightly "+b.lab.PVE.Job("backup-nightly")["prune-backups"]), "\n")
}

// The servers are held by a worker that is killed in the middle, wherever that is, and
// released by one that is: at the end all is exactly as it was, and meanwhile a check
// says what is held, since when and for which incident.
func TestTheServersAreHeldWhateverIsKilled(t *testing.T) {
	t.Parallel()
	b := newBench(t).withFaults()
	before := b.byThemselves()
	if out := b.must(0, "incident", "open", "odd", "files").out; !strings.Contains(out, "First: cairn incident hold") {
		t.Errorf("it offers nothing: %s", out)
	}
	plan := b.must(0, "incident", "hold", "--plan").out
	for _, part := range []string{"PUT /config/prune/p-nightly disable=true", "PUT /config/datastore/usb delete=gc-schedule", "PUT /cluster/backup/backup-nightly prune-backups=keep-all=1"} {
		if !strings.Contains(plan, part) {
			t.Errorf("the plan lacks %q:\n%s", part, plan)
		}
	}
	held := ""
	const holdLines, releaseLines = 1 + 2*5 + 1, 1 + 2*3 + 1
	// before anything was asked of a server, between a call and its outcome, between two
	for i, n := range []int{2, 5, 8} {
		b.killedAt(n, holdLines, "incident", "hold")
		now := b.byThemselves()
		if held == "" {
			held = now
		}
		if now != held || now == before || strings.Contains(now, "disabled=false [") {
			t.Fatalf("killed after line %d, it is held as\n%s\nbefore\n%s", n, now, before)
		}
		b.killedAt(2*i+2, releaseLines, "incident", "release")
		if now := b.byThemselves(); now != before {
			t.Fatalf("killed after line %d, it is released as\n%s\nbefore\n%s", 2*i+2, now, before)
		}
	}

	b.must(0, "incident", "hold")
	check := b.try("check", "--format", "json").out
	for _, part := range []string{"Held on pbs.nas since ", " for incident 1, so that nothing is taken away there", "garbage collection of usb", "Held on proxmox.home since ", "cairn incident release"} {
		if !strings.Contains(check, part) {
			t.Errorf("the check lacks %q", part)
		}
	}
	if closed := b.must(0, "incident", "close", "--loss", "nothing"); !strings.Contains(closed.err, "The servers are still held") || !strings.Contains(closed.err, "cairn incident release") {
		t.Errorf("the close: %s", closed.err)
	}
	if check := b.try("check", "--format", "json").out; !strings.Contains(check, "incident 1 is closed") {
		t.Errorf("the check forgets what is held once the incident is closed:\n%s", check)
	}
	b.must(0, "incident", "release")
	if check := b.try("check", "--format", "json").out; strings.Contains(check, "Held on") || b.byThemselves() != before {
		t.Errorf("released:\n%s\nbefore:\n%s", b.byThemselves(), before)
	}
	b.must(65, "incident", "hold") // none is open
}

// killedAt runs cairn so that its worker dies after line n of its journal, of as many,
// and resumes what is left of it.
func (b *bench) killedAt(n, of int, args ...string) {
	b.t.Helper()
	write(b.t, filepath.Join(b.state, "die-after"), strconv.Itoa(n))
	r := b.try(args...)
	id := idIn(b.t, r.err)
	if n < of {
		if s := b.show(id); s.State != "interrupted" || r.code != 75 {
			b.t.Fatalf("%v, killed after line %d: exit code %d, it is %q:\n%s%s", args, n, r.code, s.State, r.err, b.journal(id))
		}
		b.must(0, "operation", "resume", id)
	}
	b.want(id, "done")
}
