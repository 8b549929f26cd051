package checks

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"cairn/internal/backup"
	"cairn/pbs"
	"cairn/proxmox"
)

// judgeHeld tells of the servers that take nothing away by themselves because an
// incident holds them: nobody must forget that, and least of all once it is closed.
func (l *lab) judgeHeld() []Problem {
	var out []Problem
	for _, server := range heldServers(l.facts.Past.Held) {
		var says, again []string
		var since time.Time
		var incident int64
		for _, h := range l.facts.Past.Held {
			if h.Server != server {
				continue
			}
			says = append(says, h.Says)
			if since.IsZero() || h.Since.Before(since) {
				since, incident = h.Since, h.Incident
			}
			if l.runsAgain(h) {
				again = append(again, h.Says)
			}
		}
		text := fmt.Sprintf("Held on %s since %s for incident %d, so that nothing is taken away there: %s", server, since.In(l.home).Format("2006-01-02 15:04"), incident, listed(says))
		hint := "When all is validated: cairn incident release"
		if hold := l.facts.Past.Hold; hold == nil || hold.Incident != incident {
			text += fmt.Sprintf("; incident %d is closed", incident)
			hint = "Give it back as it was: cairn incident release"
		}
		if len(again) > 0 {
			text += "; and yet it goes on by itself: " + listed(again)
			hint = "Somebody switched it on again. Hold it anew: cairn incident hold; or let all go: cairn incident release"
		}
		out = append(out, found(backup.Warning, "held", server, text, hint, append(says, again...)...))
	}
	return out
}

func heldServers(all []HeldSetting) []string {
	var servers []string
	for _, h := range all {
		if !slices.Contains(servers, h.Server) {
			servers = append(servers, h.Server)
		}
	}
	slices.Sort(servers)
	return servers
}

// held says whether a setting of a server is held.
func (l *lab) held(server, kind string) bool {
	return slices.ContainsFunc(l.facts.Past.Held, func(h HeldSetting) bool { return h.Server == server && h.Kind == kind })
}

// runsAgain says whether the latest survey, taken since, saw a held setting go on.
func (l *lab) runsAgain(h HeldSetting) bool {
	system, name, _ := strings.Cut(h.Server, ".")
	switch system {
	case "pbs":
		seen := l.facts.PBS[name]
		if !seen.At.After(h.Since) || seen.Err != nil {
			return false
		}
		jobs := seen.Value.Jobs
		if seen.Value.GC != nil {
			jobs = append(slices.Clone(jobs), *seen.Value.GC)
		}
		return slices.ContainsFunc(jobs, func(j pbs.Job) bool { return string(j.Kind) == h.Kind && j.ID == h.ID && j.Standing().Runs() })
	case "proxmox":
		seen := l.facts.Proxmox[name]
		return seen.At.After(h.Since) && seen.Err == nil &&
			slices.ContainsFunc(seen.Value.Jobs, func(j proxmox.BackupJob) bool { return j.ID == h.ID && j.Prunes() })
	}
	return false
}

// whileHeld leaves out that garbage was not collected for long where that is held: the
// hold itself is said.
func (l *lab) whileHeld(s *source, problems []Problem) []Problem {
	if !l.held(s.name, string(pbs.GCJob)) {
		return problems
	}
	return slices.DeleteFunc(problems, func(p Problem) bool { return p.Code == "gc-old" || p.Code == "gc-never" })
}
