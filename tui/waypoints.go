package tui

import (
	"context"
	"slices"
	"strings"

	tea "github.com/charmbracelet/bubbletea"

	"cairn/internal/runbook"
)

// wayPointsPage lists what can be gone back to: its age is what is lost.
type wayPointsPage struct {
	flow *flow

	asking question
	read   bool
	points []runbook.Point
	unread []string
	err    error
	list   list
	below  aside // the point that the detail is of
}

func newWayPoints(f *flow) *wayPointsPage { return &wayPointsPage{flow: f} }

func (p *wayPointsPage) id() string {
	return "points of " + p.flow.scenario.Name + " " + p.flow.wish.Target
}
func (p *wayPointsPage) title() string { return or(p.flow.name, p.flow.scenario.Name) }
func (p *wayPointsPage) left()         { p.asking.end() }

// start reads the points anew. What was read before stays in sight.
func (p *wayPointsPage) start(m *Model) tea.Cmd {
	type found struct {
		points []runbook.Point
		unread []string
	}
	name, target := p.flow.scenario.Name, p.flow.wish.Target
	return ask(m, &p.asking, readLimit, func(ctx context.Context, d Desk) (found, error) {
		points, unread, err := d.Points(ctx, name, target)
		return found{points, unread}, err
	}, func(f found, err error) tea.Cmd {
		if p.err = err; err != nil {
			return nil
		}
		p.read, p.points, p.unread = true, f.points, f.unread
		if p.list.chosen == "" {
			p.list.chosen = p.best(m)
		}
		p.list.set(p.rows(m, m.w-1))
		p.below.id = p.list.chosen
		return nil
	})
}

func (p *wayPointsPage) receive(m *Model, msg tea.Msg) tea.Cmd {
	switch msg := msg.(type) {
	case minuteMsg, stateMsg:
		p.list.set(p.rows(m, m.w-1))
	case restMsg:
		if msg.of == &p.below && msg.turn == p.below.turn {
			p.below.id = p.list.chosen
		}
	}
	return nil
}

// best is the point to begin with: from before the harm where its age is known,
// the newest that is verified, else the newest that can be used.
func (p *wayPointsPage) best(m *Model) string {
	verified, before := "", []runbook.Point{}
	for _, one := range p.points {
		if one.Unusable != "" || p.after(m, one) {
			continue
		}
		before = append(before, one)
		if verified == "" && one.Proven == "verified" {
			verified = one.ID
		}
	}
	return or(verified, runbook.PointToBegin(before))
}

// after says whether a point may hold the harm already.
func (p *wayPointsPage) after(m *Model, one runbook.Point) bool {
	return p.flow.since > 0 && m.now.Sub(one.Taken) < p.flow.since && one.ID != runbook.ToTheEnd
}

func (p *wayPointsPage) rows(m *Model, w int) []item {
	cols := []column{{title: "YOU LOSE"}, {title: "TAKEN"}, {title: "PROVEN"}, {title: "SIZE", right: true, drop: 3}, {title: "KEPT", drop: 5}, {title: "KEY", drop: 6}, {title: "OFF-SITE", drop: 4}, {title: "WHERE", grows: true, drop: 1}}
	cells := make([][]line, len(p.points))
	for i, one := range p.points {
		cells[i] = p.cells(m, one)
	}
	head, body := table(cols, cells, w)
	items := []item{{lines: []line{head}}}
	for i, one := range p.points {
		items = append(items, item{id: one.ID, lines: []line{body[i]}})
	}
	return items
}

func (p *wayPointsPage) cells(m *Model, one runbook.Point) []line {
	if one.ID == runbook.ToTheEnd {
		return []line{say(good, "you choose"), words("any moment"), words("by its WAL"), nil, nil, nil, nil, words(one.Source)}
	}
	lose := words("-")
	if !one.Taken.IsZero() {
		lose = words(lost(m.now.Sub(one.Taken)))
	}
	if p.after(m, one) {
		lose = say(caution, lose.text()+" ?")
	}
	return []line{lose, words(m.clock(one.Taken)), provenLine(one), words(sizeWord(one)), words(map[bool]string{true: "protected", false: "-"}[one.Protected]),
		words(keyWord(one)), words(map[bool]string{true: "yes", false: "-"}[one.OffSite]), words(one.Source)}
}

func provenLine(one runbook.Point) line {
	switch {
	case one.Unusable != "":
		return say(alarm, "CANNOT BE USED")
	case one.Proven == "verified":
		return say(good, one.Proven)
	}
	return words(one.Proven)
}

func sizeWord(one runbook.Point) string {
	if one.Size <= 0 {
		return "-"
	}
	return size(one.Size)
}

func keyWord(one runbook.Point) string {
	switch {
	case !one.Encrypted:
		return "none"
	case one.Key == "":
		return "not known"
	}
	if r := []rune(one.Key); len(r) > 16 {
		return string(r[:15]) + "…"
	}
	return one.Key
}

// about is everything about the point on which the cursor rests.
func (p *wayPointsPage) about(m *Model) *sheet {
	out := &sheet{name: "This point"}
	one, ok := p.find(or(p.below.id, p.list.chosen))
	if !ok {
		return out
	}
	facts := section{}
	if one.Unusable != "" {
		facts.fact("cannot be used", say(alarm, one.Unusable))
	}
	if one.Safety {
		facts.fact("careful", say(caution, "cairn made it before it changed the guest: it holds what was to be undone"))
	}
	if p.after(m, one) {
		facts.fact("careful", say(caution, "it is younger than the harm may be: it may hold it already"))
	}
	if one.ID != runbook.ToTheEnd {
		facts.word("you lose", "what was written since "+m.ago(one.Taken))
	} else {
		facts.word("you lose", "what was written since the moment that you type next")
	}
	if text := m.reach(one); text != "" {
		facts.word("reaches", text)
	}
	facts.fact("proven", provenLine(one))
	key := "not encrypted"
	if one.Encrypted {
		key = or(one.Key, "encrypted; which key opens it is not known")
	}
	facts.word("key", key)
	facts.word("lies at", one.Source+map[bool]string{true: ", off-site", false: ", at home"}[one.OffSite])
	if one.Size > 0 {
		facts.word("size", size(one.Size))
	}
	if one.Protected {
		facts.word("kept", "protected: nothing prunes it")
	}
	if one.Note != "" {
		facts.word("note", one.Note)
	}
	facts.word("id", one.ID)
	out.add(facts)
	return out
}

// reach is from when to when a point leads back to any moment, with its zone;
// empty: it does not, or nobody knows.
func (m *Model) reach(one runbook.Point) string {
	if one.From.IsZero() || one.To.IsZero() {
		return ""
	}
	const layout = "2006-01-02 15:04:05"
	return "from " + one.From.In(m.o.Location).Format(layout) + " to " + one.To.In(m.o.Location).Format(layout+" MST")
}

func (p *wayPointsPage) chosen() (runbook.Point, bool) { return p.find(p.list.chosen) }

func (p *wayPointsPage) find(id string) (runbook.Point, bool) {
	for _, one := range p.points {
		if one.ID == id {
			return one, true
		}
	}
	return runbook.Point{}, false
}

func (p *wayPointsPage) keys(m *Model) []binding {
	one, ok := p.chosen()
	why := m.deskless()
	switch {
	case why != "":
	case !p.read:
		why = "what can be gone back to is not read yet"
	case !ok:
		why = "there is no point to take"
	case one.Unusable != "":
		why = "it cannot be used: " + one.Unusable
	}
	keys := []binding{
		{keys: []string{"enter"}, label: "take this point", help: "go on with the chosen point; nothing is touched yet", why: why, do: func(m *Model) tea.Cmd {
			p.flow.wish.Point, p.flow.point, p.flow.wish.Options = one.ID, one, map[string]string{}
			return p.flow.options(m)
		}},
		p.insideKey(m, one),
		{keys: []string{"r"}, label: "read again", help: "read the points again", why: m.deskless(), do: p.start},
		{keys: []string{"esc", "backspace"}, label: "back", help: "back", do: func(m *Model) tea.Cmd { m.back(); return nil }},
	}
	return append(keys, p.list.moves(func(*Model) tea.Cmd {
		p.below.id = or(p.below.id, p.list.chosen)
		return p.below.moved()
	})...)
}

// insideKey opens the files of a repository's snapshot, to take only some of them.
func (p *wayPointsPage) insideKey(m *Model, one runbook.Point) binding {
	b := binding{keys: []string{"f"}, help: "look into it, and bring back single files", why: m.deskless(), do: func(m *Model) tea.Cmd { return openFiles(m, one.ID) }}
	if repo, id, ok := strings.Cut(one.ID, "/"); ok {
		if _, ok = snapshotOf(m, repo, id); ok {
			b.label = "files in it"
			return b
		}
	}
	b.why = or(b.why, "only snapshots of a restic repository can be looked into here")
	return b
}

func (p *wayPointsPage) view(m *Model, w, h int) []line {
	head := []line{say(strong, " "+p.flow.called()+": which point?")}
	switch {
	case p.err != nil:
		for _, row := range wrap(reason(p.err), w-2) {
			head = append(head, say(alarm, " "+row))
		}
		if !p.read {
			return append(head, words(" r tries again."))
		}
	case !p.read:
		return append(head, nil, words(" Reading what there is …"))
	}
	if slices.ContainsFunc(p.points, func(one runbook.Point) bool { return p.after(m, one) }) {
		head = append(head, cut(say(caution, " ? younger than what you said: it may hold the harm already"), w))
	}
	for _, text := range p.unread {
		head = append(head, cut(say(doubt, " not known: "+text), w))
	}
	if len(p.points) == 0 {
		return append(head, nil, say(alarm, " There is nothing to go back to."))
	}
	p.list.set(p.rows(m, w-1))
	about := p.about(m).lines(w-2, 0)[1:]
	room := h - len(head) - 1
	shown := min(len(about), max(room-len(p.list.items), room/2))
	out := append(head, p.list.framed(w, room-shown)...)
	for len(out) < h-shown-1 {
		out = append(out, nil)
	}
	out = append(out, rule(w))
	for _, l := range about[:shown] {
		out = append(out, words(" ").join(l))
	}
	return out
}
