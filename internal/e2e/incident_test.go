package e2e

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"cairn/internal/testkit"
	"cairn/internal/vt"
)

// A guest is ruined, and somebody walks back in the console: the incident, the
// questions, the point, the restore, the swap with the name typed, the close, and
// a record with the times. The first console is killed in between.
func TestAGuestIsLostAndAPersonWalksBack(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	_, taken := b.newestPoint("web01")
	if err := b.lab.PVE.Write(100, "scsi0", "ruined"); err != nil {
		t.Fatal(err)
	}
	first := b.sit(80, 24)
	first.See("R restore")
	first.Send("R")
	first.See("Is data still changing for the worse right now?")
	first.See("hypervisor pve1")
	first.Send("i")
	first.See("What happened: _")
	first.Quiet(still)
	first.Send("web01 is ruined")
	first.See("web01 is ruined_")
	first.Send("\r")
	first.See("incident 1 is open since")
	first.See("INCIDENT")
	first.Signal(syscall.SIGKILL)
	first.End()

	// it is open for everybody, and holds what takes copies away
	if out := b.try("check", "--format", "json").out; !strings.Contains(out, "Incident 1 is open since") || !strings.Contains(out, "web01 is ruined") {
		t.Errorf("a check says nothing of it:\n%s", out)
	}
	if r := b.must(65, "snapshot", "delete", "web01", "clean", "--yes", "web01"); !strings.Contains(r.err, "incident 1 is open since") {
		t.Errorf("a snapshot may go: %s", r.err)
	}

	s := b.sit(80, 24)
	s.See("INCIDENT")
	s.Send("R")
	s.See("Incident 1: web01 is ruined")
	s.Send("\r")
	for _, answer := range []struct{ ask, key string }{{"for the worse right now?", "1"}, {"unknown logins", "1"}, {"Since when?", "1"}, {"What is wrong?", "1"}, {"What happened to the guest?", "2"}} {
		s.See(answer.ask)
		s.Send(answer.key)
	}
	s.See(">1 guest-loss")
	s.See("The incident is open")
	s.Send("\r")
	s.See("WHICH ONE")
	s.Send("/web01\r")
	s.See(">web01")
	s.Send("\r")
	s.See("which point?")
	s.See("verified")
	s.Send("g")
	s.Send("\r")
	s.See("enter shows the plan")
	s.Quiet(still)
	s.Send("\r")
	s.See("[ Go ahead ]")
	s.Quiet(still)
	s.Send("\x1b[C\r")
	s.See("n next: swap it into the original's place")
	if g := b.lab.PVE.Guest(111); hash(g.Content["scsi0"]) != hash("web01, as of "+taken) {
		t.Errorf("restored %q, want what the backup of %s holds", g.Content["scsi0"], taken)
	}
	s.Send("n")
	agree(s)
	s.Until("have it in its place", func(screen string) bool {
		return strings.Contains(screen, "done  took") || strings.Contains(screen, "done with warnings  took")
	})
	if g := b.lab.PVE.Guest(111); g.Config["name"] != "web01" || !g.Running {
		t.Errorf("in its place: %+v", g)
	}

	s.Send(":incident\r")
	s.See("Incident 1: web01 is ruined")
	s.Send("v")
	s.See("[ Not yet ]")
	s.Quiet(still)
	s.Send("\x1b[C\r")
	s.See("all was back at")
	s.Send("c")
	s.See("really lost")
	s.Quiet(still)
	s.Send("what was written since the backup")
	s.Send("\r")
	s.See("retention applies again")
	s.Quiet(still)
	s.Send("G")
	s.See("WHAT DIFFERED FROM THE PLAN")
	s.Send("g")
	for _, want := range []string{"T0", "validated", "operations ran", "people took", "what was written since the backup"} {
		s.See(want)
	}
	s.Until("hold nothing any more", func(screen string) bool { return !strings.Contains(screen, "INCIDENT") })
	s.Send("q")
	if code := s.End(); code != 0 || !s.PutBack() {
		t.Errorf("exit %d, terminal put back: %v", code, s.PutBack())
	}
	b.recorded(taken)
}

// recorded holds the record of the first incident.
func (b *bench) recorded(taken string) {
	b.t.Helper()
	var out struct {
		Incident struct {
			What, Scenario, Loss string
			Open                 bool
			T0                   time.Time `json:"t0"`
			Validated            time.Time `json:"validated_at"`
			Announced            string    `json:"announced_loss"`
			Since                time.Time `json:"announced_since"`
			Lost                 float64   `json:"announced_loss_seconds"`
			Wall                 float64   `json:"wall_seconds"`
			Machine              float64   `json:"operations_seconds"`
			Human                float64   `json:"human_seconds"`
			Operations           []struct {
				State          string
				Started, Ended time.Time
			}
		}
	}
	if err := json.Unmarshal([]byte(b.must(0, "incident", "show", "1", "--format", "json").out), &out); err != nil {
		b.t.Fatal(err)
	}
	i := out.Incident
	if i.Open || i.Scenario != "guest-loss" || !strings.Contains(i.Announced, "everything the guest wrote") || i.Loss != "what was written since the backup" {
		b.t.Errorf("the record: %+v", i)
	}
	if at, err := time.Parse(time.RFC3339, taken); err != nil || !i.Since.Equal(at) || math.Abs(i.Lost-i.T0.Sub(at).Seconds()) > 1 {
		b.t.Errorf("announced: %.0f s since %s; the backup was made at %s, the incident began at %s", i.Lost, i.Since, taken, i.T0)
	}
	if wall := i.Validated.Sub(i.T0).Seconds(); wall <= 0 || i.Wall < wall-1 || i.Wall > wall+1 || i.Machine <= 0 || i.Human <= 0 || i.Machine+i.Human < i.Wall-0.01 || i.Machine+i.Human > i.Wall+0.01 {
		b.t.Errorf("the times: %+v", i)
	}
	if len(i.Operations) != 2 || i.Operations[0].Started.Before(i.T0) || !i.Operations[1].Ended.After(i.Operations[0].Ended) {
		b.t.Errorf("its operations: %+v", i.Operations)
	}
}

// cairn restore alone asks in a terminal what happened, and names the way back
// with its command.
func TestWhatHappenedOnTheCommandLine(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	s := vt.Start(t, b.command("restore"), 100, 60)
	for _, answer := range []struct{ ask, say string }{{"for the worse right now?", "1\r"}, {"unknown logins", "9\r"}, {"is none of the answers", "1\r"}, {"Since when?", "b\r"}, {"unknown logins", "2\r"}, {"Since when?", "5\r"}} {
		s.See(answer.ask)
		s.See("q leaves: ")
		s.Quiet(still)
		s.Send(answer.say)
	}
	s.See("THE WAY BACK THAT FITS")
	s.See("ransomware")
	s.See("cairn restore ransomware --plan")
	if code := s.End(); code != 0 {
		t.Errorf("exit %d", code)
	}
	b.must(64, "incident", "show")
}

// While an incident is open, a backup is still made; nothing is forgotten, pruned
// or copied on, and each refusal names the incident. Afterwards all of it goes on.
func TestAnIncidentHoldsRealRepositories(t *testing.T) {
	t.Parallel()
	r := newRestic(t)
	cloud := filepath.Join(filepath.Dir(r.repo), "cloud")
	testkit.ResticRepository(t, cloud)
	text, err := os.ReadFile(r.config)
	if err != nil {
		t.Fatal(err)
	}
	password := filepath.Join(filepath.Dir(r.config), "password")
	write(t, r.config, string(text)+fmt.Sprintf("keep = { last = 1 }\n[restic.cloud]\nrepository = %q\npassword = { file = %q }\nbinary = %q\nsite = \"elsewhere\"\ncopy_from = \"usb\"\nevery = \"7d\"\n",
		cloud, password, testkit.Tool(t, "restic-0.19", "restic")))
	r.must(0, "backup", "usb")
	r.must(0, "incident", "open", "odd", "files")
	r.must(0, "backup", "usb") // a copy more takes nothing away
	if n := r.snapshots(); n != 2 {
		t.Errorf("%d snapshots: the retention of 1 was applied", n)
	}
	if refused := r.must(65, "backup", "cloud"); !strings.Contains(refused.err, "incident 1 is open since") || !strings.Contains(refused.err, "odd files") {
		t.Errorf("a copy: %s", refused.err)
	}
	r.must(0, "restore", "file-loss", filepath.Join(filepath.Dir(r.repo), "srv", "file"))
	r.must(0, "incident", "close", "--loss", "nothing")
	r.must(0, "backup", "usb")
	r.must(0, "backup", "cloud")
	if n := r.snapshots(); n != 1 {
		t.Errorf("%d snapshots: the retention of 1 does not apply again", n)
	}
}
