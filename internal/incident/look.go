package incident

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"cairn/checks"
	"cairn/internal/backup"
	"cairn/pbs"
	"cairn/proxmox"
)

// Seen is what a look at something found.
type Seen int

// What a look can find. The zero value claims nothing.
const (
	NotKnown Seen = iota // it was not asked yet, or the answer is old
	Answers
	Silent // it was asked and did not answer, or is not there
)

func (s Seen) String() string {
	return [...]string{"not known", "yes", "NO"}[s]
}

// Look is one thing that was looked up instead of asked.
type Look struct {
	Subject string // for a person: "hypervisor pve1", "disk usb"
	Seen    Seen
	Text    string // what was seen: "answers, 12 guests", "not mounted"
}

// Found is what was looked up in a lab.
type Found struct {
	Hypervisors []Look
	Disks       []Look
	BackupHost  []Look // the Proxmox Backup Servers
	OffSite     []Look
	Databases   []Look
	Signs       []string // what looks like somebody's work: copies that shrank, snapshots that vanished
	Standbys    []string // that may have copied a mistake
	Jobs        []string // of others, that prune, collect or sync copies on their own
	Open        bool     // an incident is open already
}

// All lists what was looked up, in the order of the questions.
func (f Found) All() []Look {
	return slices.Concat(f.Hypervisors, f.Disks, f.BackupHost, f.Databases, f.OffSite)
}

// LookUp finds out what answers, from what is known now.
func LookUp(facts checks.Facts, r checks.Report, now time.Time) Found {
	f := Found{Open: facts.Past.Hold != nil && facts.Past.Hold.Incident != 0}
	for _, name := range sortedKeys(facts.Proxmox) {
		f.Hypervisors = append(f.Hypervisors, lookNodes(name, facts.Proxmox[name], now)...)
		for _, j := range facts.Proxmox[name].Value.Jobs {
			if j.Prunes() && j.Retention != "" {
				f.Jobs = append(f.Jobs, fmt.Sprintf("backup job %s of %s, which then removes all but %s", j.ID, name, j.Retention))
			}
		}
	}
	for _, d := range r.Disks {
		f.Disks = append(f.Disks, lookDisk(d, facts, now))
	}
	for _, name := range sortedKeys(facts.PBS) {
		seen := facts.PBS[name]
		f.BackupHost = append(f.BackupHost, looked("PBS "+name, seen.At, seen.Err, now))
		f.Jobs = append(f.Jobs, tidying(name, seen.Value)...)
	}
	for _, name := range sortedKeys(facts.Restic) {
		if seen := facts.Restic[name]; offSite(r, "restic."+name) {
			f.OffSite = append(f.OffSite, looked("off-site restic "+name, seen.At, seen.Err, now))
		}
	}
	for _, name := range sortedKeys(facts.Postgres) {
		seen := facts.Postgres[name].Value
		f.Databases = append(f.Databases, looked("PostgreSQL "+name, seen.Server.At, seen.Server.Err, now))
		for range seen.Standbys {
			f.Standbys = append(f.Standbys, "the standby of "+name)
		}
	}
	for _, problem := range r.Problems {
		if slices.Contains(suspicious, problem.Code) {
			f.Signs = append(f.Signs, strings.TrimSuffix(problem.Summary, "."))
		}
	}
	return f
}

// tidying names the jobs of a PBS that take copies away on their own.
func tidying(name string, f pbs.Facts) []string {
	var out []string
	jobs := f.Jobs
	if f.GC != nil {
		jobs = append(slices.Clone(jobs), *f.GC)
	}
	for _, j := range jobs {
		if j.Kind != pbs.VerifyJob && (j.Schedule != "" || j.OnMount) && !j.Disabled {
			out = append(out, strings.TrimSpace(string(j.Kind)+" "+j.ID)+" of PBS "+name)
		}
	}
	return out
}

func offSite(r checks.Report, source string) bool {
	for _, t := range r.Tiers {
		if t.Tier == backup.OffSite && slices.ContainsFunc(t.Sources, func(s checks.Source) bool { return s.Name == source }) {
			return true
		}
	}
	return false
}

// lookNodes tells of each node of a cluster that answers, else of the cluster.
func lookNodes(name string, seen backup.Observed[proxmox.Facts], now time.Time) []Look {
	whole := looked("Proxmox "+name, seen.At, seen.Err, now)
	if whole.Seen != Answers || len(seen.Value.Nodes) == 0 {
		return []Look{whole}
	}
	var out []Look
	for _, n := range seen.Value.Nodes {
		one := Look{Subject: "hypervisor " + n.Name, Seen: Answers, Text: "online"}
		if !n.Online {
			one.Seen, one.Text = Silent, "its cluster says that it is offline"
		}
		out = append(out, one)
	}
	return out
}

// suspicious are the codes of problems that an attack may cause.
var suspicious = []string{"shrunk"}

// old is from when on what was seen no longer tells how things stand: a look is
// taken each quarter of an hour at least.
const old = 30 * time.Minute

// looked says what the latest look at a system found.
func looked(subject string, at time.Time, err error, now time.Time) Look {
	look := Look{Subject: subject}
	switch {
	case err != nil:
		look.Seen, look.Text = Silent, "does not answer: "+err.Error()
		if !at.IsZero() {
			look.Text = fmt.Sprintf("answered last %s ago; now: %s", backup.Age(now.Sub(at)), err.Error())
		}
	case at.IsZero():
		look.Text = "not asked yet"
	case now.Sub(at) > old:
		look.Text = "answered " + backup.Age(now.Sub(at)) + " ago"
	default:
		look.Seen, look.Text = Answers, "answers"
	}
	return look
}

func lookDisk(d checks.Disk, facts checks.Facts, now time.Time) Look {
	seen := facts.Disks[d.Name]
	look := Look{Subject: "disk " + d.Name}
	switch {
	case seen.At.IsZero() && seen.Err == nil:
		look.Text = "not asked yet"
	case seen.Err != nil:
		look.Text = seen.Err.Error()
	case !d.Present:
		look.Seen, look.Text = Silent, "it is not there"
	case !d.Writable:
		look.Seen, look.Text = Silent, "it is there, and cannot be written"
	case now.Sub(seen.At) > old:
		look.Text = "looked at " + backup.Age(now.Sub(seen.At)) + " ago"
	default:
		look.Seen, look.Text = Answers, "there, writable"
	}
	return look
}

// silent names what of looks did not answer.
func silent(looks []Look) []string {
	var out []string
	for _, l := range looks {
		if l.Seen == Silent {
			out = append(out, l.Subject)
		}
	}
	return out
}

func sure(looks []Look) bool {
	return !slices.ContainsFunc(looks, func(l Look) bool { return l.Seen != Answers })
}

func sortedKeys[T any](m map[string]T) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
