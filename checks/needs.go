package checks

import (
	"fmt"
	"path/filepath"
	"strings"

	"cairn/internal/backup"
)

// Need is a configuration that a restore needs and that no guest's backup holds:
// /etc/pve with its keys, /etc/proxmox-backup, cairn's own.
type Need struct {
	Subject string // "proxmox.home", "pbs.nas", "cairn"
	What    string // "/etc/pve of cluster home"
	Without string // what a restore lacks without it
	Dir     string // where it, or a copy of it, lies on this host; empty: nobody said
	Hint    string // what to do where nobody said
}

// judgeNeeds looks that a repository holds each configuration that restores need. A
// backup of a host on a PBS that is called after it will do for a cluster's.
func (l *lab) judgeNeeds() (problems []Problem) {
	for _, n := range l.policy.Needs {
		if n.Dir == "" {
			if !l.hostBackup(n) {
				problems = append(problems, found(backup.Warning, "config-copy", n.Subject, fmt.Sprintf("No copy of %s is known: after a loss %s", n.What, n.Without), either(n.Hint, "Name the directory of a copy as config_copy")))
			}
			continue
		}
		held, unknown, anywhere := l.heldBelow(filepath.Clean(n.Dir))
		switch {
		case held || l.hostBackup(n):
		case unknown != "":
			problems = append(problems, found(backup.Unknown, "config-copy", n.Subject, fmt.Sprintf("Whether a copy of %s (%s) exists is not known: %s", n.What, n.Dir, unknown), "Make the repository answer"))
		case !anywhere:
			problems = append(problems, found(backup.Warning, "config-copy", n.Subject, fmt.Sprintf("%s (%s) lies below no path of a restic entry: after a loss %s", n.What, n.Dir, n.Without),
				"Add it to the paths of a [restic.NAME]; or config_copy = \"none\", where it is kept by other means"))
		default:
			problems = append(problems, found(backup.Warning, "config-copy", n.Subject, fmt.Sprintf("No snapshot holds %s (%s) yet: after a loss %s", n.What, n.Dir, n.Without), "Run the backup: cairn backup NAME"))
		}
	}
	return problems
}

// heldBelow says whether a usable copy of a path holds dir; why it is not known; and
// whether any entry should hold it at all.
func (l *lab) heldBelow(dir string) (held bool, unknown string, anywhere bool) {
	for _, s := range l.sources {
		if s.kind != "restic" {
			continue
		}
		for _, g := range s.groups {
			if g.asset.Kind != backup.Path || g.asset.Name != dir && !strings.HasPrefix(dir, strings.TrimSuffix(g.asset.Name, "/")+"/") {
				continue
			}
			anywhere = true
			if !s.reach.current {
				unknown = s.title + ": " + s.reach.why
			} else if g.newest() != nil {
				held = true
			}
		}
	}
	return held, unknown, anywhere
}

// hostBackup says whether a PBS holds a host's backup of /etc/pve: an archive that is
// named after it, as proxmox-backup-client is told to ("etc-pve.pxar:/etc/pve").
func (l *lab) hostBackup(n Need) bool {
	if !strings.HasPrefix(n.Subject, "proxmox.") {
		return false
	}
	for name, seen := range l.facts.PBS {
		if !observed(seen, l.now).current || l.policy.PBS[name].URL == "" {
			continue
		}
		for _, s := range seen.Value.Snapshots {
			if s.Type != "host" || s.InFlight || s.Unreadable || s.Verify.State == "failed" {
				continue
			}
			for _, f := range s.Files {
				if strings.Contains(f.Name, "pve") {
					return true
				}
			}
		}
	}
	return false
}
