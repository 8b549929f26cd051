package checks

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"cairn/internal/backup"
)

// Judge turns the facts that were known at now into a report, by policy.
func Judge(p Policy, f Facts, now time.Time) Report {
	l := survey(p, f, now)
	report := Report{At: now}
	var problems []Problem
	bySource := map[string][]Problem{}
	for _, s := range l.sources {
		view, wrong := l.judgeSource(s)
		bySource[s.name] = wrong
		problems = append(problems, wrong...)
		report.addSource(s.tier, view)
	}
	assets, wrong := l.judgeAssets()
	problems = append(problems, wrong...)
	problems = append(problems, l.judgeTargets(assets)...)
	composites, wrong := l.judgeComposites(assets)
	problems = append(problems, wrong...)
	report.Assets = append(composites, assets...)
	disks, wrong := l.viewDisks()
	report.Disks, problems = disks, append(problems, wrong...)
	problems = append(problems, l.judgeAwayDirs()...)
	problems = append(problems, l.judgeKeys()...)
	problems = append(problems, l.judgeNeeds()...)
	report.Scenarios = l.judgeScenarios(assets)
	report.Others = l.judgeOthers(assets)
	l.settleGoals(report.Scenarios)
	l.settleGoals(report.Others)
	if hold := f.Past.Hold; hold != nil {
		problems = append(problems, l.judgeHold(*hold))
	}
	problems = append(problems, judgeHistory(f.Past)...)
	problems = append(problems, l.judgeHeld()...)
	report.Problems = settle(problems, f.Past, now)
	report.Status = worstOf(report.Problems)
	report.freeze(l)
	return report
}

// judgeHold says that copies are held, by an open incident or by somebody.
func (l *lab) judgeHold(h Hold) Problem {
	since, by, why := h.Since.In(l.home).Format("2006-01-02 15:04"), either(h.By, "somebody"), either(h.Why, "no reason given")
	if h.Incident != 0 {
		return found(backup.Warning, "incident", fmt.Sprintf("incident %d", h.Incident),
			fmt.Sprintf("Incident %d is open since %s (%s: %s): nothing is forgotten, pruned or copied on", h.Incident, since, by, why),
			"The way back: cairn restore. When all is validated: cairn incident close")
	}
	return found(backup.Warning, "hold", "incident", fmt.Sprintf("All copies are held since %s (%s: %s): nothing is forgotten or pruned", since, by, why), "When it is over: cairn hold off")
}

// judgeHistory says that judgement lacks its memory: a copy that was found damaged,
// or torn, may look well; or that it learns nothing more.
func judgeHistory(p Past) []Problem {
	const hint = "Make state_dir a directory that this user can write to, on a disk with room; until then "
	switch {
	case p.Unread != "":
		return []Problem{found(backup.Warning, "history", "cairn", fmt.Sprintf("No history is kept: %s. Whether copies are held, and which were found torn or damaged, is not known", sentence(p.Unread)), hint+"nothing is forgotten")}
	case p.Unwritten != "":
		return []Problem{found(backup.Warning, "history", "cairn", fmt.Sprintf("What is found is not kept: %s", sentence(p.Unwritten)), hint+"no operation can begin")}
	}
	return nil
}

// judgeSource judges one source. What explains much silences the rest: a source
// that does not answer, or whose disk is away, has one problem and no more.
func (l *lab) judgeSource(s *source) (Source, []Problem) {
	view := s.view()
	var out []Problem
	switch {
	case s.away != "" && s.reach.current || s.disk != "" && l.disks[s.disk].gone != "":
		out = l.judgeAway(s, &view)
	case !s.reach.current:
		out = judgeReach(s, l.now)
		l.settleUnknown(s)
		view.Status, view.Word = backup.Unknown, "unknown"
		out = append(out, l.judgePostgresLive(s)...)
	default:
		out = judgeFresh(s, l.now)
		out = append(out, l.judgeEmpty(s)...)
		out = append(out, judgeUnscheduled(s, l.now)...)
		retention, wrong := l.judgeRetention(s)
		view.Retention, out = retention, append(out, wrong...)
		out = append(out, l.judgeSizes(s)...)
		out = append(out, l.judgeConsistency(s)...)
		out = append(out, l.judgeKind(s)...)
		s.summarise(&view, l.now)
	}
	for _, p := range out {
		view.Status = max(view.Status, p.Status)
	}
	if view.Word == "ok" {
		view.Word = s.word(view)
	}
	view.Note = s.note(out, view, l.now)
	if from, to, ok := l.window(backup.AssetID{Kind: backup.Cluster, Scope: strings.TrimPrefix(s.name, "postgres.")}); ok && len(out) == 0 && view.Word == "ok" && s.kind == "postgres" {
		view.Note = fmt.Sprintf("PITR %s back, WAL %s", backup.Age(max(0, l.now.Sub(from))), backup.Age(max(0, l.now.Sub(to))))
	}
	return view, out
}

func (l *lab) judgeKind(s *source) []Problem {
	switch s.kind {
	case "proxmox":
		if s.tier == backup.LocalRollback {
			return l.judgeProxmox(s)
		}
	case "pbs":
		return l.judgePBS(s)
	case "restic":
		return l.judgeRestic(s)
	case "postgres":
		return l.judgePostgres(s)
	case "pgbackrest", "barman", "wal-g":
		return l.judgeTool(s)
	}
	return nil
}

// judgePostgresLive judges the server where its directories could not be read.
func (l *lab) judgePostgresLive(s *source) []Problem {
	name, ok := strings.CutPrefix(s.name, "postgres.")
	if !ok {
		return nil
	}
	seen := l.facts.Postgres[name]
	if !observed(seen, l.now).current || !observed(seen.Value.Server, l.now).current {
		return nil
	}
	return judgeServer(s, l.policy.Postgres[name], seen.Value, l.now)
}

// judgeAway judges a source whose copies are out of reach although nothing is
// broken: its disk tells the problem, or the datastore is not mounted.
func (l *lab) judgeAway(s *source, view *Source) []Problem {
	l.settleUnknown(s)
	view.Status, view.Word = backup.Unknown, "absent"
	if d, ok := l.disks[s.disk]; ok && d.gone != "" {
		if d.tolerated {
			view.Status = backup.Warning
		}
		if view.Error == "" {
			view.Error = d.gone
		}
		return l.judgePostgresLive(s) // an archiver without its disk fills the server's own
	}
	return []Problem{found(backup.Unknown, "not-mounted", s.name, fmt.Sprintf("%s: %s (%s)", s.title, s.away, s.reach.seen(l.now)),
		"If it is a removable datastore, plug it in and mount it: proxmox-backup-manager datastore mount NAME; else end its maintenance")}
}

// settleUnknown leaves no group of a source that cannot be read looking well.
func (l *lab) settleUnknown(s *source) {
	for _, g := range s.groups {
		g.fresh = freshness{status: backup.Unknown, word: "unknown"}
		if n := g.newest(); n != nil {
			g.fresh.newest = n.Taken
		}
	}
	s.running = nil
}

// view is what is shown of a source before it is judged.
func (s *source) view() Source {
	v := Source{Name: s.name, Kind: s.kind, Title: s.title, Reachable: s.reach.current, Surveyed: s.reach.at, Word: "ok"}
	if !s.reach.current {
		v.Error = s.reach.why
	}
	ids := map[string]bool{}
	for _, g := range s.groups {
		newest := g.newest()
		for i := range g.copies {
			if g.copies[i].Usable() {
				ids[g.copies[i].ID] = true
			}
		}
		if newest == nil {
			continue
		}
		v.Newest = laterOf(v.Newest, newest.Taken)
		if g.expected && g.parked == "" && (v.Stalest.IsZero() || newest.Taken.Before(v.Stalest)) {
			v.Stalest = newest.Taken
		}
	}
	v.Copies = len(ids)
	if v.Stalest.IsZero() && s.tier != backup.LocalRollback {
		v.Stalest = v.Newest
	}
	if s.last != nil {
		v.LastRun = &Run{Started: s.last.Started, Status: s.last.Status, Text: s.last.Text}
		if s.last.Ended.After(s.last.Started) {
			v.LastRun.Duration = s.last.Ended.Sub(s.last.Started)
		}
	}
	for _, g := range s.groups {
		if g.expected && g.schedule.every > 0 && (v.Every == 0 || g.schedule.every < v.Every) {
			v.Every = g.schedule.every
		}
	}
	return v
}

// summarise takes the source's due time and running state from its groups.
func (s *source) summarise(v *Source, now time.Time) {
	for _, g := range s.groups {
		if due := g.fresh.due; g.parked == "" && !due.IsZero() && (v.Due.IsZero() || due.Before(v.Due)) {
			v.Due, v.Every, v.Stalest = due, g.schedule.every, g.fresh.newest
		}
	}
	v.Running = s.running != nil && !slices.ContainsFunc(s.groups, func(g *group) bool { return g.schedule.every > 0 && stuck(g.schedule, s.running, now) })
}

// word is the one word beside a source.
func (s *source) word(v Source) string {
	worst, word := backup.OK, ""
	for _, g := range s.groups {
		if g.parked == "" && g.fresh.status > worst {
			worst, word = g.fresh.status, g.fresh.word
		}
	}
	switch {
	case v.Status == backup.Unknown:
		return "unknown"
	case word == "none":
		return "NO COPY"
	case word != "" && word != "running" && worst == v.Status:
		return word
	case v.Running && v.Status == backup.OK:
		return "running"
	}
	return v.Status.String()
}

// note is the most telling remark on a source: its worst problem, else what runs
// next, else how many assets it covers.
func (s *source) note(problems []Problem, v Source, now time.Time) string {
	worst := -1
	for i, p := range problems {
		if worst < 0 || p.Status > problems[worst].Status {
			worst = i
		}
	}
	if worst >= 0 {
		return noteOf(problems[worst], s)
	}
	if v.Word == "absent" {
		return v.Error
	}
	if !s.next.IsZero() && s.next.After(now) {
		return "next in " + backup.Age(s.next.Sub(now))
	}
	held, all := 0, 0
	for _, g := range s.groups {
		if g.parked == "" {
			all++
			if g.newest() != nil {
				held++
			}
		}
	}
	if all == 0 {
		return ""
	}
	if s.tier == backup.LocalRollback {
		return fmt.Sprintf("%d of %d have snapshots", held, all)
	}
	return fmt.Sprintf("%d of %s", held, counted(all, s.noun))
}

// notes are problems in two or three words.
var notes = map[string]string{
	"never-verified": "never verified", "verify-old": "verified too long ago", "verify-failed": "failed verification",
	"retention": "retention has gaps", "shrunk": "suspiciously small", "stale-lock": "stale lock", "crash-consistent": "crash-consistent",
	"stale": "", "late": "", "no-copy": "without a copy", "hidden": "rows may be hidden", "clock": "clock is off",
	"no-backup": "without a backup", "no-job": "in no job", "orphan": "unfinished upload", "snapshot-old": "old snapshots",
	"run-failed": "last run failed", "archiver-failing": "archiver fails", "gc-never": "no garbage collection", "no-globals": "no globals",
	"leftover": "left by restores",
}

// overdue says by how much the stalest copy is over its schedule, or what made
// it so.
func (s *source) overdue() string {
	if s.last != nil && s.last.Status >= backup.Critical {
		return "last run failed"
	}
	var over time.Duration
	for _, g := range s.groups {
		if g.parked == "" {
			over = max(over, g.fresh.over)
		}
	}
	return backup.Age(over) + " over"
}

func noteOf(p Problem, s *source) string {
	if p.Code == "unreachable" || p.Code == "not-read" {
		return s.reach.why
	}
	text, ok := notes[p.Code]
	if !ok {
		return p.Summary
	}
	n := 0
	for i := range p.Fingerprint {
		if p.Fingerprint[i] == '|' {
			n++
		}
	}
	switch p.Code {
	case "stale", "late":
		return s.overdue()
	case "never-verified", "verify-failed", "no-copy", "no-backup", "no-job", "crash-consistent":
		return fmt.Sprintf("%d %s", n, text)
	}
	return text
}

func (r *Report) addSource(tier backup.Tier, view Source) {
	for i := range r.Tiers {
		if r.Tiers[i].Tier == tier {
			r.Tiers[i].Sources = append(r.Tiers[i].Sources, view)
			r.Tiers[i].Status = max(r.Tiers[i].Status, view.Status)
			return
		}
	}
	r.Tiers = append(r.Tiers, Tier{Tier: tier, Name: tier.String(), Status: view.Status, Sources: []Source{view}})
	slices.SortFunc(r.Tiers, func(a, b Tier) int { return int(a.Tier - b.Tier) })
}

// viewDisks lists the disks, and what each takes with it when it is away.
func (l *lab) viewDisks() ([]Disk, []Problem) {
	var views []Disk
	var problems []Problem
	for _, name := range sortedKeys(l.disks) {
		d := l.disks[name]
		views = append(views, d.view)
		if d.gone != "" && len(d.problems) > 0 {
			var with []string
			for _, s := range l.sources {
				if s.disk == name {
					with = append(with, s.title)
				}
			}
			if len(with) > 0 {
				d.problems[0].Summary += "; with it: " + listed(with)
			}
		}
		problems = append(problems, d.problems...)
	}
	return views, problems
}

// freeze says on which sources nothing may be forgotten, and why: good copies
// must not age out while the source is bad or nobody knows.
func (r *Report) freeze(l *lab) {
	shrunken := map[string]bool{}
	for _, p := range r.Problems {
		if p.Code == "shrunk" && !p.Acknowledged {
			shrunken[p.Subject] = true
		}
	}
	for i := range r.Tiers {
		for j := range r.Tiers[i].Sources {
			s := &r.Tiers[i].Sources[j]
			switch {
			case l.facts.Past.Hold != nil:
				s.Frozen = "all copies are held"
				if l.facts.Past.Hold.Incident != 0 {
					s.Frozen = fmt.Sprintf("incident %d is open", l.facts.Past.Hold.Incident)
				}
			case l.facts.Past.Unread != "":
				s.Frozen = "whether copies are held is not known"
			case shrunken[s.Name]:
				s.Frozen = "its newest copy is suspiciously small"
			case s.Status == backup.Unknown:
				s.Frozen = "its state is not known"
			}
		}
	}
}
