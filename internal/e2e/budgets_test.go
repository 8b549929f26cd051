//go:build bench

package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"text/tabwriter"
	"time"

	"cairn/internal/lab/pbs"
	"cairn/internal/lab/pve"
	"cairn/internal/testkit"
	"cairn/internal/vt"
)

// figure is one line of the table: what was measured against its budget.
type figure struct {
	name             string
	measured, budget float64 // the budget is the most that is allowed
	unit             string
}

// TestBudgets measures what docs/performance.md promises and prints one table.
// make bench runs it, on a machine that does nothing else.
func TestBudgets(t *testing.T) {
	var all []figure
	add := func(name string, measured, budget float64, unit string) {
		all = append(all, figure{name, measured, budget, unit})
	}
	cluster := benchmark(t, "./proxmox", "BenchmarkFirstSurvey200Guests")
	add("PVE, 200 guests, 4,000 snapshots, 20 ms an answer: first survey", cluster["×bound"], 2, "× calls × 20 ms / 16")
	add("PVE, the same unchanged: survey", benchmark(t, "./proxmox", "BenchmarkUnchangedSurvey200Guests")["calls/op"], 4, "calls")
	cpu, memory := crowd(t)
	add("PBS, 20,000 backup snapshots in 10 namespaces: whole check, CPU", cpu.Seconds()*1000, 1000, "ms")
	add("PBS, the same: whole check, most memory", memory, 100, "MiB")
	add("restic, local and unchanged: refresh", benchmark(t, "./restic", "BenchmarkRefreshUnchanged")["processes/op"], 0, "processes")
	all = append(all, besideRestic(t)...)
	all = append(all, console(t)...)
	all = append(all, version(t)...)
	all = append(all, postgres(t)...)

	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "\nWHAT\tMEASURED\tBUDGET\tUNIT\t\n")
	for _, f := range all {
		ok := "ok"
		if f.measured > f.budget {
			ok = "OVER"
			t.Errorf("%s: %.4g, budget %.4g %s", f.name, f.measured, f.budget, f.unit)
		}
		fmt.Fprintf(w, "%s\t%.4g\t%.4g\t%s\t%s\n", f.name, f.measured, f.budget, f.unit, ok)
	}
	must(t, w.Flush())
	load, _ := os.ReadFile("/proc/loadavg")
	fmt.Printf("\nload of this machine: %s\n", load)
}

// benchmark runs one benchmark of a package and reads its metrics.
func benchmark(t *testing.T, dir, name string) map[string]float64 {
	t.Helper()
	c := exec.CommandContext(t.Context(), "go", "test", "-run", "^$", "-bench", "^"+name+"$", "-benchmem", dir)
	c.Dir = testkit.Root(t)
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
	metrics := map[string]float64{}
	for _, line := range strings.Split(string(out), "\n") {
		f := strings.Fields(line)
		if len(f) < 4 || !strings.HasPrefix(f[0], name) {
			continue
		}
		for i := 2; i+1 < len(f); i += 2 {
			v, err := strconv.ParseFloat(f[i], 64)
			must(t, err)
			metrics[f[i+1]] = v
		}
	}
	if len(metrics) == 0 {
		t.Fatalf("%s measured nothing:\n%s", name, out)
	}
	return metrics
}

// crowd runs cairn check on a PBS with 20,000 backup snapshots of 40 guests: what
// the process takes in all, from its start, with TLS, history and output.
func crowd(t *testing.T) (cpu time.Duration, mebibytes float64) {
	t.Helper()
	server, err := pbs.Start(pbs.World{
		Users:      []pbs.User{{ID: "cairn@pbs", ACL: []pbs.Grant{{Path: "/", Role: "Admin"}}}},
		Tokens:     []pbs.Token{{ID: "cairn@pbs!read", Secret: "s", ACL: []pbs.Grant{{Path: "/", Role: "Admin"}}}},
		Datastores: []*pbs.Datastore{pbs.Crowd("usb", 20000, 10, time.Now())},
	})
	must(t, err)
	defer server.Stop()
	w := pve.World{
		Nodes: []pve.Node{{Name: "pve1"}}, Users: []pve.User{{ID: "cairn@pve", Tokens: []pve.Token{{Name: "read", Secret: "s"}}}},
		ACL:      []pve.ACL{{Path: "/", Who: "cairn@pve", Role: "Administrator"}},
		Storages: []pve.Storage{{ID: "local", Type: "dir", Content: []string{"images"}}},
	}
	var storages []string
	for i := range 10 {
		id := fmt.Sprintf("nas%d", i)
		w.Storages = append(w.Storages, pve.Storage{ID: id, Type: "pbs", Shared: true, Server: "127.0.0.1", Datastore: "usb", Namespace: fmt.Sprintf("ns%d", i), Username: "backup@pbs", Fingerprint: server.Fingerprint()})
		storages = append(storages, strconv.Quote("home/"+id))
	}
	for i := range 40 {
		w.Guests = append(w.Guests, pve.Guest{VMID: 100 + i, Kind: pve.QEMU, Node: "pve1", Config: map[string]string{"name": fmt.Sprintf("vm%d", i), "memory": "512"}})
	}
	cluster, err := pve.Start(w)
	must(t, err)
	defer cluster.Stop()
	dir := t.TempDir()
	secret := write(t, filepath.Join(dir, "secret"), "s")
	path := write(t, filepath.Join(dir, "config.toml"), fmt.Sprintf("state_dir = %q\n[proxmox.home]\nurls = [%q]\nfingerprints = [%q]\ntoken_id = \"cairn@pve!read\"\ntoken_secret = { file = %q }\n"+
		"[pbs.nas]\nurl = %q\nfingerprint = %q\ntoken_id = \"cairn@pbs!read\"\ntoken_secret = { file = %q }\ndatastore = \"usb\"\nnamespaces = [\"\", \"**\"]\nproxmox_storages = [%s]\nevery = \"24h\"\nkeep = { daily = 5 }\n",
		filepath.Join(dir, "state"), cluster.URL(), cluster.Fingerprint(), secret, server.URL(), server.Fingerprint(), secret, strings.Join(storages, ", ")))
	c := command(t, "check", "--config", path, "--format", "json")
	var out bytes.Buffer
	c.Stdout = &out
	_ = c.Run()
	if n := strings.Count(out.String(), `"source": "pbs.nas"`); n != 40 || !strings.Contains(out.String(), `"copies": 20000`) {
		t.Fatalf("the check has %d guests with backups:\n%.3000s", n, out.String())
	}
	use := c.ProcessState.SysUsage().(*syscall.Rusage)
	return c.ProcessState.UserTime() + c.ProcessState.SystemTime(), float64(use.Maxrss) / 1024
}

// console measures the real console in a terminal of 120x40 that answers nothing.
func console(t *testing.T) []figure {
	t.Helper()
	first := time.Hour
	for range 5 { // the best of five: what else the machine does is not the console's
		s := vt.Start(t, command(t, "--config", config(t, hanging(t))), 120, 40)
		s.See("1 Proxmox home")
		first = min(first, s.FirstText())
		s.Send("q")
		s.End()
	}
	s := vt.Start(t, command(t, "--config", config(t, whole(t))), 120, 40)
	s.Until("be read", func(screen string) bool {
		return strings.Contains(rowOf(screen, "3 restic cloud"), "STALE") && !strings.Contains(screen, "not read")
	})
	// Ages change with the minute, and once in half a minute a server is asked:
	// ten seconds that begin right after a refresh have neither.
	testkit.Until(t, time.Minute, "the clock is far from the full minute", func() bool { sec := time.Now().Second(); return sec > 1 && sec < 40 })
	s.Send("r")
	began := time.Now()
	before := len(s.Quiet(2 * time.Second))
	for time.Since(began) < 14*time.Second {
		time.Sleep(100 * time.Millisecond)
	}
	idle := len(s.Raw()) - before
	s.Send("k") // takes away what r said
	most := 0
	for range 8 {
		before := len(s.Quiet(time.Second)) // the detail beside the list has followed
		s.Send("j")
		testkit.Until(t, time.Minute, "the key is answered", func() bool { return len(s.Raw()) > before })
		most = max(most, len(s.Raw())-before)
	}
	resident := rss(t, s.Pid())
	s.Send("q")
	s.End()
	return []figure{
		{"console: first text while no server answers", float64(first.Microseconds()) / 1000, 60, "ms"},
		{"console: idle for 10 s", float64(idle), 0, "bytes"},
		{"console: a cursor key at 120x40, the most of 8", float64(most), 200, "bytes"},
		{"console: resident memory, the whole lab on screen", resident, 40, "MiB"},
	}
}

func rss(t *testing.T, pid int) float64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	must(t, err)
	for _, line := range strings.Split(string(text), "\n") {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "VmRSS:" {
			kib, err := strconv.Atoi(f[1])
			must(t, err)
			return float64(kib) / 1024
		}
	}
	t.Fatal("no VmRSS")
	return 0
}

// version measures cairn version in a terminal that answers nothing.
func version(t *testing.T) []figure {
	t.Helper()
	took, escapes := time.Hour, 0
	for range 10 {
		c := command(t, "version")
		began := time.Now()
		s := vt.Start(t, c, 80, 24)
		s.End()
		took = min(took, time.Since(began))
		escapes += bytes.Count(s.Raw(), []byte("\x1b"))
	}
	return []figure{
		{"cairn version", float64(took.Microseconds()) / 1000, 20, "ms"},
		{"cairn version, escape sequences", float64(escapes), 0, ""},
	}
}
