package tui

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"cairn/internal/config"
	"cairn/internal/desk"
	"cairn/internal/history"
	"cairn/internal/incident"
	"cairn/internal/operation"
	"cairn/internal/plan"
	"cairn/internal/runbook"
)

// IncidentDesk is what the pages of incidents and restores act through.
type IncidentDesk interface {
	OpenedIncident(ctx context.Context) (*history.Incident, error)
	Incidents(ctx context.Context, limit int) ([]history.Incident, error)
	OpenIncident(ctx context.Context, what string) (history.Incident, error)
	ValidateIncident(ctx context.Context, at time.Time) (history.Incident, error)
	CloseIncident(ctx context.Context, c desk.Closing) (history.Incident, error)
	Contacts() []config.Contact
	Points(ctx context.Context, scenario, target string) ([]runbook.Point, []string, error)
	PlanScenario(ctx context.Context, scenario string, w runbook.Wish) (plan.Plan, error)
	PlanNext(ctx context.Context, id string) (plan.Plan, error)
}

// openIncident is the incident that is open, with what its operations tell so far;
// not ok: none is, or nobody can tell.
func (m *Model) openIncident() (history.Incident, bool) {
	if m.operations.incident == nil {
		return history.Incident{}, false
	}
	return incident.Sum(*m.operations.incident, m.operations.all, m.now), true
}

// incidentWord stands in the head of every page while an incident is open.
func (m *Model) incidentWord() string {
	var since time.Time
	switch hold := m.state.Facts.Past.Hold; {
	case m.operations.incident != nil:
		since = m.operations.incident.Opened
	case !m.operations.read && hold != nil && hold.Incident != 0:
		since = hold.Since
	default:
		return ""
	}
	gone := max(0, m.now.Sub(since))
	if m.w < 100 {
		return "INCIDENT " + lasted(gone)
	}
	return "INCIDENT since " + m.clock(since) + ", " + lasted(gone)
}

// lasted is for how long something goes on.
func lasted(d time.Duration) string {
	if d < time.Minute {
		return "under 1m"
	}
	return brief(d)
}

// onHold says that copies are held without an incident. That of an incident which
// was closed since the last survey counts no more.
func (m *Model) onHold() bool {
	hold := m.state.Facts.Past.Hold
	return hold != nil && (hold.Incident == 0 || !m.operations.read)
}

// restoreKey leads to the way back, from every page.
func (m *Model) restoreKey() binding {
	b := binding{keys: []string{"R"}, help: "something has failed: what happened, and the way back", do: func(m *Model) tea.Cmd {
		if _, open := m.openIncident(); open {
			return m.open(newIncidentPage())
		}
		return m.open(newWalk())
	}}
	if len(m.stack) == 1 {
		b.label = "restore"
	}
	return b
}

// incidentKey opens an incident, or the page of the one that is open.
func (m *Model) incidentKey() binding {
	if _, open := m.openIncident(); open {
		return binding{keys: []string{"i"}, label: "incident", help: "the open incident", do: func(m *Model) tea.Cmd { return m.open(newIncidentPage()) }}
	}
	return binding{keys: []string{"i"}, label: "open incident", help: "stamp the time, and keep every copy until it is closed", grade: reversible, why: m.deskless(),
		do: func(m *Model) tea.Cmd { return m.open(newOpening(m)) }}
}

// incidentPage is the open incident: what was done so far, and what is next.
type incidentPage struct {
	list  list
	doing question
	last  *history.Incident // what was last known of it
}

func newIncidentPage() *incidentPage { return &incidentPage{} }

func (p *incidentPage) id() string    { return "incident" }
func (p *incidentPage) title() string { return "incident" }

const (
	walkRow      = "walk"
	scenariosRow = "scenarios"
)

func (p *incidentPage) rows(m *Model, w int) []item {
	items := []item{
		{id: walkRow, lines: []line{words("What happened?  some questions, then the way back that fits")}},
		{id: scenariosRow, lines: []line{words("All scenarios  with what each would cost now")}},
	}
	ops := p.operations(m)
	if len(ops) == 0 {
		return append(items, item{lines: []line{nil, say(faint, "Nothing was started in it yet.")}})
	}
	cells := make([][]line, len(ops))
	for i, s := range ops {
		cells[i] = []line{say(stateTone(s.Outcome()), stateWord(s)), words(s.Record.Plan.Summary), words(m.clock(began(s))), words(took(s))}
	}
	head, body := table([]column{{title: "STATE"}, {title: "DONE SO FAR", grows: true}, {title: "STARTED", drop: 1}, {title: "TOOK", right: true}}, cells, w)
	items = append(items, item{lines: []line{nil, head}})
	for i, s := range ops {
		lines := []line{body[i]}
		if title, ok := m.nextOf(s); ok {
			lines = append(lines, line{{"  next, n: ", strong}, {title, plain}})
		}
		items = append(items, item{id: "operation:" + s.ID(), lines: lines})
	}
	return items
}

// toNext is the operation whose next step n plans: the chosen one, else the latest
// that has one.
func (p *incidentPage) toNext(m *Model) operation.Status {
	if s, ok := m.operations.find(strings.TrimPrefix(p.list.chosen, "operation:")); ok {
		return s
	}
	for _, s := range slices.Backward(p.operations(m)) {
		if _, ok := m.nextOf(s); ok {
			return s
		}
	}
	return operation.Status{}
}

func (p *incidentPage) operations(m *Model) []operation.Status {
	if m.operations.incident == nil {
		return nil
	}
	return incident.Of(m.operations.incident.ID, m.operations.all)
}

// nextOf names what follows an operation that ended well; not ok: nothing does, or
// it was done since.
func (m *Model) nextOf(s operation.Status) (string, bool) {
	one, ok := scenarioNamed(s.Record.Plan.Scenario)
	if ok && len(s.Record.Plan.Parts) > 0 {
		return m.restOf(s)
	}
	if !ok || one.Next == nil || !well(s) {
		return "", false
	}
	for _, later := range m.operations.all {
		if p := later.Record.Plan; p.Operation == "swap" && p.Target == s.Record.Plan.Target && later.Record.At.After(s.Record.At) && well(later) {
			return "", false
		}
	}
	return one.Next.Title, true
}

// restOf names what of several did not come back, nor by a later operation.
func (m *Model) restOf(s operation.Status) (string, bool) {
	if s.Open() {
		return "", false
	}
	var rest []string
	for _, part := range s.Record.Plan.Parts {
		back := slices.ContainsFunc(m.operations.all, func(o operation.Status) bool {
			p := o.Record.Plan
			return p.Target == part.Target && p.Operation == part.Operation && well(o) && (p.PartOf == s.ID() || o.Record.At.After(s.Record.At))
		})
		if !back {
			rest = append(rest, part.Confirm)
		}
	}
	if len(rest) > 2 {
		rest = []string{count(len(rest), "guest", "guests")}
	}
	return "plan " + strings.Join(rest, ", ") + " again", len(rest) > 0
}

func well(s operation.Status) bool {
	return s.State == operation.StepDone || s.State == operation.StepWarned
}

// nextKey plans what follows an operation: the swap after a restore beside.
func (m *Model) nextKey(s operation.Status) binding {
	b := binding{keys: []string{"n"}, help: "what follows it, such as the swap into the original's place", grade: destructive, why: m.deskless()}
	title, ok := m.nextOf(s)
	if !ok {
		b.why = or(b.why, "nothing follows it")
		return b
	}
	b.label, b.help = "next: "+title, title
	id := s.ID()
	b.do = func(m *Model) tea.Cmd {
		return m.open(newReview("after "+id, len(m.stack), func(ctx context.Context, d Desk) (plan.Plan, error) { return d.PlanNext(ctx, id) }))
	}
	return b
}

func (p *incidentPage) keys(m *Model) []binding {
	i, open := m.openIncident()
	why := m.deskless()
	if why == "" && !open {
		why = "no incident is open"
	}
	next := m.nextKey(p.toNext(m))
	validated := binding{keys: []string{"v"}, label: "all is back", help: "stamp that somebody saw that all is back", grade: reversible, why: why, do: p.validate}
	if !i.Validated.IsZero() {
		validated.label, validated.why = "", or(why, "it was validated at "+m.clock(i.Validated))
	}
	keys := []binding{
		{keys: []string{"enter"}, label: "open", help: "open the chosen row", do: p.openRow},
		next, m.serversKey(), validated,
		{keys: []string{"c"}, label: "close", help: "end the incident and its hold, with a short record", grade: reversible, why: why, do: func(m *Model) tea.Cmd { return m.open(newClosing(m)) }},
		{keys: []string{"esc", "backspace"}, label: "back", help: "back; the incident stays open", do: func(m *Model) tea.Cmd { m.back(); return nil }},
	}
	return append(keys, p.list.moves(func(*Model) tea.Cmd { return nil })...)
}

func (p *incidentPage) openRow(m *Model) tea.Cmd {
	switch row := p.list.chosen; row {
	case walkRow:
		return m.open(newWalk())
	case scenariosRow:
		return m.open(scenariosScreen(m))
	default:
		return openRow(row)(m)
	}
}

func (p *incidentPage) validate(m *Model) tea.Cmd {
	return m.open(newDialog(m.o.Now(), "all is back", "Not yet", "I have seen it", []line{say(strong, "Is all back, and did you look?"),
		words("The time from the beginning to now is kept as what it took, with the time that people took apart."), nil,
		words("The hold goes on until the incident is closed.")}, func(m *Model) tea.Cmd {
		return p.act(m, "validated", func(ctx context.Context, d Desk) error { _, err := d.ValidateIncident(ctx, time.Time{}); return err })
	}))
}

func (p *incidentPage) act(m *Model, done string, do func(context.Context, Desk) error) tea.Cmd {
	return ask(m, &p.doing, readLimit, func(ctx context.Context, d Desk) (struct{}, error) { return struct{}{}, do(ctx, d) }, func(_ struct{}, err error) tea.Cmd {
		m.note = done
		if err != nil {
			m.note = reason(err)
		}
		return m.lookAround()
	})
}

func (p *incidentPage) view(m *Model, w, h int) []line {
	i, open := m.openIncident()
	if !open {
		if p.last == nil {
			return []line{nil, words(" No incident is open. R leads to the way back, :incidents shows those before.")}
		}
		i = *p.last
	}
	p.last = &i
	out := p.head(m, i, open, w)
	p.list.set(p.rows(m, w-1))
	return append(out, p.list.framed(w, h-len(out))...)
}

func (p *incidentPage) head(m *Model, i history.Incident, open bool, w int) []line {
	out := []line{cut(say(strong, fmt.Sprintf(" Incident %d: %s", i.ID, i.What)), w)}
	if !open {
		return append(out, say(good, " It was closed."), nil)
	}
	out = append(out, cut(words(fmt.Sprintf(" T0 %s by %s, %s ago", m.clock(i.Opened), or(i.Who, "nobody known"), long(max(0, m.now.Sub(i.Opened))))).
		add(span{"   nothing is forgotten, pruned or copied", caution}), w), cut(m.serversLine(), w))
	if i.Announced != "" {
		for j, row := range wrap(i.Announced, max(w-18, 1)) {
			out = append(out, words(pad1(map[bool]string{true: " announced loss:"}[j == 0], 17)+row))
		}
	}
	if !i.Validated.IsZero() {
		out = append(out, cut(say(good, " all was back at "+m.clock(i.Validated)+": c closes it"), w))
	}
	for _, text := range i.Told {
		out = append(out, cut(words(" "+text), w))
	}
	if m.desk != nil {
		for _, c := range m.desk.Contacts() {
			out = append(out, cut(words(" call "+c.Name+" ("+or(c.For, "everything")+"): ").add(span{c.Reach, strong}), w))
		}
	}
	return append(out, nil)
}
