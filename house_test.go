package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// allowed is who may import whom, within the module. A package that is missing
// here may be imported by nobody but main.
var allowed = map[string][]string{
	"internal/backup":     {},
	"internal/plan":       {},
	"internal/secret":     {},
	"internal/command":    {},
	"internal/background": {},
	"internal/testkit":    {},
	"internal/estimate":   {},

	"proxmox":       leaves,
	"pbs":           leaves,
	"pbs/datastore": {},
	"restic":        leaves,
	"pg":            leaves,
	"internal/disk": leaves,

	"checks":          slices.Concat(leaves, systems, []string{"internal/estimate"}),
	"internal/config": slices.Concat(leaves, systems),

	"internal/history":   {"internal/backup", "internal/plan", "internal/estimate"},
	"internal/offsite":   slices.Concat(leaves, systems, []string{"checks", "internal/history"}),
	"internal/watch":     slices.Concat(leaves, systems, []string{"checks", "internal/config", "internal/history", "internal/estimate", "internal/offsite"}),
	"internal/incident":  slices.Concat(leaves, systems, []string{"checks", "internal/history", "internal/operation"}),
	"internal/operation": {"internal/backup", "internal/plan", "internal/secret", "internal/command", "internal/history"},

	"internal/runbook":            slices.Concat(rooms, acting, []string{"checks", "internal/config", "internal/secret", "internal/runbook/byhand", "internal/runbook/eject", "internal/runbook/hold", "internal/runbook/hostloss", "internal/runbook/several", "internal/runbook/step", "pbs", "pg", "proxmox", "restic"}),
	"internal/runbook/guest":      slices.Concat(acting, []string{"checks", "internal/disk", "internal/secret", "internal/runbook/pvestep", "internal/runbook/step", "pbs", "proxmox"}),
	"internal/runbook/several":    slices.Concat(acting, []string{"internal/runbook/guest", "internal/runbook/step", "proxmox"}),
	"internal/runbook/hostloss":   slices.Concat(acting, []string{"internal/config", "internal/runbook/byhand", "internal/runbook/guest", "internal/runbook/pvestep", "internal/runbook/several", "internal/runbook/step", "pbs", "proxmox"}),
	"internal/runbook/database":   slices.Concat(acting, []string{"checks", "internal/disk", "internal/offsite", "internal/secret", "internal/runbook/step", "pg"}),
	"internal/runbook/repository": slices.Concat(acting, []string{"checks", "internal/disk", "internal/offsite", "internal/secret", "internal/runbook/step", "pbs", "restic"}),
	"internal/runbook/hold":       slices.Concat(acting, []string{"internal/secret", "internal/runbook/step", "pbs", "proxmox", "restic"}),
	"internal/runbook/eject":      slices.Concat(acting, []string{"internal/disk", "internal/runbook/step", "pbs"}),
	"internal/runbook/siteloss":   slices.Concat(acting, systems, []string{"internal/offsite", "internal/runbook/byhand", "internal/runbook/eject", "internal/runbook/repository", "internal/runbook/step"}),
	"internal/runbook/step":       acting,
	"internal/runbook/pvestep":    slices.Concat(acting, []string{"internal/runbook/step", "proxmox"}),
	"internal/runbook/byhand":     {"checks", "internal/backup", "internal/config", "internal/disk", "pbs", "proxmox"},
	"internal/runbook/paper":      slices.Concat(systems, []string{"checks", "internal/backup", "internal/config", "internal/secret", "internal/runbook/byhand"}),
	"internal/runbook/rehearse":   acting, // for tests

	"internal/desk": slices.Concat(leaves, systems, rooms, []string{"internal/config", "internal/history", "internal/incident", "internal/operation", "internal/runbook"}),

	"tui":          slices.Concat(leaves, systems, rooms, above, []string{"internal/background", "tui/cells"}),
	"tui/cells":    {},
	"internal/cli": slices.Concat(leaves, systems, rooms, above, []string{"internal/lab", "internal/runbook/paper", "internal/runbook/pvestep"}),
	"internal/vt":  {}, // a terminal for tests
	"internal/e2e": {}, // tests alone

	"internal/lab":     {"internal/command", "internal/lab/pve", "internal/lab/pbs"},
	"internal/lab/pve": {"internal/command"},
	"internal/lab/pbs": {"internal/command"},
}

var (
	leaves  = []string{"internal/backup", "internal/plan", "internal/secret", "internal/command"}
	systems = []string{"proxmox", "pbs", "pbs/datastore", "restic", "pg", "internal/disk"}
	acting  = []string{"internal/backup", "internal/plan", "internal/estimate", "internal/history", "internal/operation"}
	rooms   = []string{"internal/runbook/database", "internal/runbook/guest", "internal/runbook/repository", "internal/runbook/siteloss"} // of which a person asks something
	above   = []string{"checks", "internal/config", "internal/estimate", "internal/history", "internal/watch", "internal/incident", "internal/operation", "internal/runbook", "internal/desk"}
)

func TestWhoMayImportWhom(t *testing.T) {
	for _, p := range packages(t) {
		name := strings.TrimPrefix(p.ImportPath, "cairn/")
		if p.ImportPath == "cairn" {
			continue // main wires everything
		}
		may, known := allowed[name]
		if !known {
			t.Errorf("package %s has no place in the house: say in this test who it may import", name)
		}
		for _, i := range p.Imports {
			if other, ours := strings.CutPrefix(i, "cairn/"); ours && !slices.Contains(may, other) {
				t.Errorf("%s imports %s: it may import %v", name, other, may)
			}
		}
	}
}

// TestOnlyOnePackageStartsProcesses: child processes start in internal/command.
// Looking a program up is no start; packages that only tests import may start one.
func TestOnlyOnePackageStartsProcesses(t *testing.T) {
	starts := regexp.MustCompile(`\b(exec\.Command|exec\.Cmd\b|os\.StartProcess|syscall\.(ForkExec|StartProcess|Exec))`)
	for _, p := range packages(t) {
		if slices.Contains([]string{"cairn/internal/command", "cairn/internal/testkit", "cairn/internal/vt"}, p.ImportPath) {
			continue
		}
		for _, name := range p.GoFiles {
			text, err := os.ReadFile(filepath.Join(p.Dir, name))
			if err != nil {
				t.Fatal(err)
			}
			if found := starts.Find(text); found != nil {
				t.Errorf("%s/%s uses %s", p.ImportPath, name, found)
			}
		}
	}
}

type goPackage struct {
	ImportPath string
	Dir        string
	GoFiles    []string
	Imports    []string
}

func packages(t *testing.T) []goPackage {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Dir,GoFiles,Imports", "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	var all []goPackage
	for d := json.NewDecoder(bytes.NewReader(out)); d.More(); {
		var p goPackage
		if err := d.Decode(&p); err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	return all
}

var (
	room  = regexp.MustCompile("`([a-z0-9…/]+)/`")
	place = regexp.MustCompile("`([a-z_]+\\.(?:go|sh))`")
)

// TestArchitectureTellsWhereEverythingIs: each room and file of the table in
// docs/architecture.md is there, and each package is in a room.
func TestArchitectureTellsWhereEverythingIs(t *testing.T) {
	text, err := os.ReadFile("docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	told := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(line, "|")
		if len(cells) != 5 {
			continue
		}
		var dirs []string
		for _, found := range room.FindAllStringSubmatch(cells[1], -1) {
			dir := strings.Replace(found[1], "…", "internal", 1)
			if info, err := os.Stat(dir); dir != "testdata" && (err != nil || !info.IsDir()) {
				t.Errorf("there is no directory %s: %v", dir, err)
			}
			dirs, told[dir] = append(dirs, dir), true
		}
		for _, found := range place.FindAllStringSubmatch(cells[3], -1) {
			for _, dir := range dirs {
				if _, err := os.Stat(filepath.Join(dir, found[1])); err != nil {
					t.Error(err)
				}
			}
		}
	}
	for name := range allowed {
		for dir := name; !told[dir]; dir = filepath.Dir(dir) {
			if dir == "." {
				t.Errorf("docs/architecture.md does not tell what %s is for", name)
				break
			}
		}
	}
}
