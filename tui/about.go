package tui

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"cairn/checks"
	"cairn/internal/backup"
)

func sorted[T any](m map[string]T) []string { return slices.Sorted(maps.Keys(m)) }

// aboutRow is the sheet of whatever a row stands for; nil: there is none.
func aboutRow(m *Model, id string) *sheet {
	kind, name, _ := strings.Cut(id, ":")
	switch kind {
	case "source":
		return aboutSource(m, name)
	case "disk":
		return aboutDisk(m, name)
	case "asset":
		return aboutAsset(m, name)
	case "problem":
		return aboutProblem(m, name)
	case "scenario":
		return aboutScenario(m, id)
	case "operation":
		return aboutOperation(m, name)
	}
	return nil
}

// aboutSource tells of a source: how it is judged, then what its system says.
func aboutSource(m *Model, name string) *sheet {
	kind, short, _ := strings.Cut(name, ".")
	return aboutSourceWith(m, name, func() []section {
		switch kind {
		case "proxmox":
			return m.proxmoxSections(short)
		case "pbs":
			return m.pbsSections(short)
		case "restic":
			return m.resticSections(short)
		case "postgres":
			return m.postgresSections(short)
		}
		return nil
	})
}

// aboutSourceWith tells of a source, with what its system says.
func aboutSourceWith(m *Model, name string, says func() []section) *sheet {
	s := &sheet{name: name, source: name}
	if source := findSource(m.state.Report, name); source != nil {
		s.name = or(source.Title, name)
		s.add(m.judged(source), m.workOn(name), m.problemsOf(name))
	} else if _, known := m.state.Surveys[name]; known {
		s.add(m.polled(name))
	} else {
		return nil
	}
	s.add(says()...)
	s.sections = slices.DeleteFunc(s.sections, section.isEmpty)
	return s
}

func (s section) isEmpty() bool {
	return len(s.text) == 0 && len(s.facts) == 0 && len(s.cols) == 0
}

func findSource(r checks.Report, name string) *checks.Source {
	for _, t := range r.Tiers {
		for i := range t.Sources {
			if t.Sources[i].Name == name {
				return &t.Sources[i]
			}
		}
	}
	return nil
}

// judged is the verdict on a source, and what it rests on.
func (m *Model) judged(s *checks.Source) section {
	var out section
	status := say(toneOf(s.Status), or(s.Word, statusWord(s.Status)))
	if s.Note != "" {
		status = status.add(span{"  " + s.Note, plain})
	}
	out.fact("status", status)
	if s.Error != "" {
		out.fact("not read", say(doubt, s.Error))
	}
	out.word("facts read", m.ago(s.Surveyed))
	out.word("newest copy", m.ago(s.Newest))
	if !s.Stalest.IsZero() && !s.Stalest.Equal(s.Newest) {
		out.word("stalest asset", m.ago(s.Stalest))
	}
	if !s.Due.IsZero() {
		out.word("due", fmt.Sprintf("%s, every %s", m.ago(s.Due), every(s.Every)))
	}
	out.word("copies", fmt.Sprint(s.Copies))
	for _, r := range s.Retention {
		tone, text := plain, fmt.Sprintf("%d of %d %s", r.Kept, r.Wanted, r.Unit)
		if r.Kept < r.Wanted {
			tone = caution
		}
		if len(r.Gaps) > 0 {
			text += ", missing " + strings.Join(r.Gaps, ", ")
		}
		out.fact("kept", say(tone, text))
	}
	if run := s.LastRun; run != nil {
		text := m.ago(run.Started)
		if run.Duration > 0 {
			text += ", took " + backup.Age(run.Duration)
		}
		if run.Text != "" {
			text += ": " + run.Text
		}
		out.fact("last run", say(toneOf(run.Status), statusWord(run.Status)).add(span{"  " + text, plain}))
	}
	out.facts = append(out.facts, m.polled(s.Name).facts...)
	return out
}

// rowOf is the row that tells of a problem's subject.
func rowOf(m *Model, subject string) string {
	if name, ok := strings.CutPrefix(subject, "disk."); ok {
		name, _, _ = strings.Cut(name, "/")
		return "disk:" + name
	}
	if findSource(m.state.Report, subject) != nil {
		return "source:" + subject
	}
	return "asset:" + subject
}

// polled tells how the asking of a source stands.
func (m *Model) polled(name string) section {
	var out section
	survey, ok := m.state.Surveys[name]
	switch {
	case !ok:
	case survey.Running:
		out.word("asked", "now, since "+m.clock(survey.Began))
	case !survey.Next.IsZero():
		out.word("asked again", m.clock(survey.Next))
	}
	if survey.Failed > 1 {
		out.fact("failed", say(doubt, fmt.Sprintf("%d attempts in a row", survey.Failed)))
	}
	return out
}

// problemsOf lists the problems about a subject.
func (m *Model) problemsOf(subject string) section {
	out := section{}
	for _, p := range m.state.Report.Problems {
		if p.Subject != subject && !strings.HasPrefix(p.Subject, subject+"/") {
			continue
		}
		out.title = "PROBLEMS"
		out.sentence(toneOf(p.Status), statusWord(p.Status)+": "+p.Summary)
		if p.Hint != "" {
			out.sentence(plain, "→ "+p.Hint)
		}
	}
	return out
}

func aboutProblem(m *Model, id string) *sheet {
	for _, p := range m.state.Report.Problems {
		if p.ID != id {
			continue
		}
		out := section{}
		out.sentence(plain, p.Summary)
		if p.Hint != "" {
			out.sentence(strong, p.Hint)
		}
		facts := section{title: "ABOUT IT"}
		facts.fact("status", say(toneOf(p.Status), statusWord(p.Status)))
		if p.Acknowledged {
			facts.word("acknowledged", "yes: it counts no more until it worsens")
		}
		facts.word("subject", p.Subject)
		facts.opens(rowOf(m, p.Subject))
		facts.word("since", m.ago(p.Since))
		facts.word("id", p.ID)
		if !p.Acknowledged {
			facts.word("acknowledge", "A, or: cairn ack "+p.ID)
		}
		s := &sheet{name: p.Subject, source: sourceOf(m, p.Subject)}
		s.add(out, facts)
		return s
	}
	return nil
}

func sourceOf(m *Model, subject string) string {
	if _, polled := m.state.Surveys[subject]; polled {
		return subject
	}
	return ""
}

// foretold says how good the estimates of steps have been.
func (m *Model) foretold() string {
	s := m.state.Facts.Past.Score
	if s.Runs == 0 {
		return "no estimate was put to the test yet"
	}
	return fmt.Sprintf("estimates of %s were off by %.0f %% in the middle; %.0f %% kept within their p90", count(s.Runs, "step", "steps"), 100*s.Error, 100*s.Covered)
}

func aboutScenario(m *Model, id string) *sheet {
	for _, sc := range m.state.Report.Scenarios {
		if scenarioID(sc) != id {
			continue
		}
		row := scenarioRow(sc)
		out := section{}
		out.fact("you lose", row[1])
		out.fact("back in", row[2])
		out.word("how", or(sc.Method, "no way is known"))
		out.word("known from", or(row[4].text(), "-"))
		out.word("so far", m.foretold())
		out.word("to go", wayOf(sc))
		out.word("subject", sc.Subject)
		out.opens(rowOf(m, sc.Subject))
		ready := section{title: "IN THE WAY"}
		for _, b := range sc.Blockers {
			ready.sentence(alarm, b)
		}
		if len(sc.Blockers) == 0 {
			ready.sentence(good, "nothing that is known of")
		}
		s := &sheet{name: or(sc.Target, sc.Name)}
		s.add(out, ready)
		return s
	}
	return nil
}

// wayOf is what leads back.
func wayOf(sc checks.Scenario) string {
	name := sc.Name
	if guest, ok := strings.CutPrefix(sc.Subject, "guest:"); ok && name == "guest-loss" {
		name += " " + guest
	}
	if s, ok := scenarioNamed(sc.Name); ok && s.Plan != nil {
		return "R here, or cairn restore " + name + " (--plan shows it and changes nothing)"
	}
	return "cairn runbook prints it, step by step"
}

func aboutAsset(m *Model, id string) *sheet {
	for _, a := range m.state.Report.Assets {
		if a.ID.String() != id {
			continue
		}
		out := section{}
		out.fact("status", verdict(a).add(span{"  " + a.Detail, plain}))
		out.word("id", id)
		out.word("live", or(a.Live, "not known"))
		out.word("3-2-1", fmt.Sprintf("%s on %s, off-site: %s", count(a.Copies, "independent copy", "independent copies"), count(a.Media, "medium", "media"), yesNo(a.OffSite)))
		if a.RPO != nil {
			out.word("you would lose", long(*a.RPO))
		} else {
			out.fact("you would lose", say(doubt, "all, or not known"))
		}
		s := &sheet{name: or(a.Name, id)}
		s.add(out, m.problemsOf(id), m.heldSection(a))
		s.sections = slices.DeleteFunc(s.sections, section.isEmpty)
		return s
	}
	return nil
}

func (m *Model) heldSection(a checks.Asset) section {
	out := section{title: "BEST COPY IN EACH SOURCE", none: "no copy",
		cols: []column{{title: "SOURCE", grows: true}, {title: "AGE"}, {title: "PROVEN", grows: true}, {title: "COPIES", right: true, drop: 1}, {title: "WHERE", grows: true, drop: 2}, {title: "", drop: 3}}}
	held := slices.Clone(a.Held)
	slices.SortStableFunc(held, func(x, y checks.Held) int { return cmp.Compare(x.Tier, y.Tier) })
	for _, h := range held {
		proof := h.Proof.String()
		if h.Proof > backup.Exists && !h.ProvedAt.IsZero() {
			proof += ", " + m.age(h.ProvedAt) + " ago"
		}
		if h.How != "" {
			proof += ", " + h.How
		}
		if h.Taken.IsZero() {
			proof = or(h.Word, "none")
		}
		out.row(h.Source, words(h.Source), say(toneOf(h.Status), m.age(h.Taken)), words(proof), words(fmt.Sprint(h.Count)),
			words(strings.Trim(h.Medium+" at "+h.Site, " ")), words(h.ID))
		out.opens("source:" + h.Source)
	}
	return out
}
