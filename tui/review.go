package tui

import (
	"context"
	"fmt"
	"strings"

	tea "github.com/charmbracelet/bubbletea"

	"cairn/internal/backup"
	"cairn/internal/plan"
)

// review shows a plan before anything is touched. One that destroys something
// goes ahead once its target's own name was typed and ctrl+g pressed; any other
// by a dialog with Cancel focused. Keys in flight, Enter and a paste never do.
type review struct {
	name  string
	under int // how high the stack is when the operation takes this page's place
	build func(context.Context, Desk) (plan.Plan, error)
	offer func(context.Context, Desk) (plan.Plan, error) // plans what a blocked plan may offer; nil: nothing

	asking   question
	starting question
	plan     *plan.Plan
	err      error // why there is no plan
	refused  error // why it was not started

	target field // the target's name, typed
	why    field
	asks   buttons
	onWhy  bool // the reason is typed, not the name
	grace  grace

	top, height, total int // of the plan's window
	pinned             int // how many of its first lines stay in sight: what it costs
	notesFrom, notes   int // the line on which its notes begin, and how many lines they take
	backFrom           int // the line on which its way back begins
}

func newReview(name string, under int, build func(context.Context, Desk) (plan.Plan, error)) *review {
	return &review{name: name, under: under, build: build, asks: buttons{stay: "Cancel", act: "Go ahead"}}
}

// offering says how what a blocked plan may offer is planned.
func (r *review) offering(build func(context.Context, Desk) (plan.Plan, error)) *review {
	r.offer = build
	return r
}

// offers says whether there is another plan to look at instead of the blocked one.
func (r *review) offers() bool {
	return r.offer != nil && r.plan != nil && r.plan.Offered() == plan.OfferInit
}

// accept looks at the plan that is offered, in this page's place.
func (r *review) accept(m *Model) tea.Cmd {
	other := newReview("make "+r.plan.Target, r.under, r.offer)
	m.back()
	return m.open(other)
}

func (r *review) id() string    { return fmt.Sprintf("review %p", r) } // two are never the same page
func (r *review) title() string { return r.name }

// left ends the planning. A start that was asked for goes on.
func (r *review) left() { r.asking.end() }

// start makes the plan, from fresh reads.
func (r *review) start(m *Model) tea.Cmd {
	if r.plan != nil || r.asking.busy {
		return nil
	}
	return r.again(m)
}

func (r *review) again(m *Model) tea.Cmd {
	r.plan, r.err, r.refused, r.top = nil, nil, nil, 0
	r.target, r.asks.acts, r.onWhy = field{}, false, false
	return ask(m, &r.asking, readLimit, r.build, func(p plan.Plan, err error) tea.Cmd {
		r.grace = grace{last: m.o.Now()}
		if r.err = err; err == nil {
			r.plan = &p
		}
		return nil
	})
}

// confirm is the name that is typed.
func confirm(p *plan.Plan) string {
	if p.Confirm != "" {
		return p.Confirm
	}
	return p.Target[strings.LastIndex(p.Target, "/")+1:]
}

// destroys says whether the target's name is wanted: copies go, or something
// else that cannot be had back.
func destroys(p *plan.Plan) bool {
	if p.Loses {
		return true
	}
	for _, s := range p.Steps {
		if s.Irreversible {
			return true
		}
	}
	return false
}

// waits says whether the plan waits for its confirmation.
func (r *review) waits() bool {
	return r.plan != nil && !r.plan.Blocked() && r.refused == nil && !r.starting.busy
}

// typing: while it plans and starts, letters are those of the page before.
func (r *review) typing() bool { return r.waits() || r.asking.busy || r.starting.busy }

func (r *review) keys(m *Model) []binding {
	leave := binding{keys: []string{"esc"}, label: "leave", help: "leave; nothing is touched", do: func(m *Model) tea.Cmd { m.back(); return nil }}
	keys := []binding{}
	if r.waits() {
		if destroys(r.plan) {
			keys = append(keys, binding{keys: []string{"ctrl+g"}, label: "go", help: "carry it out, once the name is typed", grade: destructive, do: r.agree})
		} else {
			turn := func(*Model) tea.Cmd { r.asks.acts = !r.asks.acts; return nil }
			keys = append(keys,
				binding{keys: []string{"right", "left"}, label: "choose", help: "the other answer", do: turn},
				binding{keys: []string{"enter"}, label: "answer", help: "give the chosen answer", grade: reversible, do: r.answer})
		}
		keys = append(keys, binding{keys: []string{"tab"}, label: "why", help: "type the reason, for the audit trail; back with tab", do: func(*Model) tea.Cmd { r.onWhy = !r.onWhy; return nil }})
	} else if !r.asking.busy && !r.starting.busy {
		keys = append(keys, binding{keys: []string{"r"}, label: "plan again", help: "make the plan anew", do: r.again})
		if r.offers() {
			keys = append(keys, binding{keys: []string{"I"}, label: "make it", help: "see the plan that makes the repository first; nothing is touched yet", grade: reversible, do: r.accept})
		}
	}
	keys = append(keys, leave)
	scroll := func(by func() int) func(*Model) tea.Cmd {
		return func(*Model) tea.Cmd { r.top = max(0, min(r.top+by(), r.total-r.height)); return nil }
	}
	label := ""
	if r.total > r.height {
		label = "more"
	}
	return append(keys,
		binding{keys: []string{"pgdown"}, label: label, help: "a page on", do: scroll(func() int { return max(r.height-1, 1) })},
		binding{keys: []string{"pgup"}, help: "a page back", do: scroll(func() int { return -max(r.height-1, 1) })},
		binding{keys: []string{"down"}, help: "a line on", do: scroll(func() int { return 1 })},
		binding{keys: []string{"up"}, help: "a line back", do: scroll(func() int { return -1 })})
}

// typed takes what is typed into the two lines, and drops what came too early.
func (r *review) typed(m *Model, key tea.KeyMsg) (tea.Cmd, bool) {
	letter := key.Type == tea.KeyRunes || key.Type == tea.KeySpace
	switch {
	case r.asking.busy || r.starting.busy, r.err != nil && letter && r.grace.drops(m.o.Now()):
		return nil, letter
	case !r.waits() || key.Type == tea.KeyEscape:
		return nil, false
	}
	if key.Paste {
		m.note = "a paste is not taken here: type it"
		return nil, true
	}
	if r.grace.drops(m.o.Now()) {
		return nil, true
	}
	name := destroys(r.plan)
	if key.Type == tea.KeyEnter && (name || r.onWhy) {
		m.note = "enter goes nowhere here: " + map[bool]string{true: "ctrl+g does", false: "tab leads back to the answers"}[name]
		return nil, true
	}
	switch {
	case r.onWhy:
		return nil, r.why.press(key)
	case name:
		return nil, r.target.press(key)
	}
	return nil, false
}

// agree is ctrl+g: it goes on only where the whole name was typed.
func (r *review) agree(m *Model) tea.Cmd {
	want := confirm(r.plan)
	if r.target.text() != want {
		m.note = fmt.Sprintf("Nothing was touched: %q is not %q", r.target.text(), want)
		if r.target.text() == "" {
			m.note = "Nothing was touched: type the name first"
		}
		return nil
	}
	return r.carryOut(m)
}

func (r *review) answer(m *Model) tea.Cmd {
	if !r.asks.acts {
		m.back()
		return nil
	}
	return r.carryOut(m)
}

// carryOut starts the operation. It reads the target again before it begins, so
// one that has changed is refused.
func (r *review) carryOut(m *Model) tea.Cmd {
	p, why := *r.plan, strings.TrimSpace(r.why.text())
	return ask(m, &r.starting, startLimit, func(ctx context.Context, d Desk) (string, error) { return d.Start(ctx, p, why) },
		func(id string, err error) tea.Cmd {
			if id != "" {
				m.operations.begun(id)
			}
			look := m.lookAround()
			if err != nil {
				r.refused = err
				return look
			}
			if m.top() != screen(r) { // its person has left: it runs all the same
				m.note = "operation " + id + " has started"
				return look
			}
			m.leave(r.under)
			return tea.Batch(look, m.open(newOperation(id)))
		})
}

func (r *review) view(m *Model, w, h int) []line {
	foot := r.foot(m, w)
	body := r.body(m, w-1)
	r.notesFrom = len(body) - r.notes
	r.total, r.height = len(body), max(h-len(foot)-1, 1)
	r.top = max(0, min(r.top, r.total-r.height))
	pinned := min(r.pinned, r.height/2, len(body))
	seen := append(body[:pinned:pinned], body[r.top+pinned:min(r.top+r.height, len(body))]...)
	var out []line
	for _, l := range seen {
		out = append(out, words(" ").join(l))
	}
	for len(out) < r.height {
		out = append(out, nil)
	}
	return append(append(out, r.ruler(w)), foot...)
}

// ruler parts the plan from what is typed, and says what is out of sight.
func (r *review) ruler(w int) line {
	below := r.total - r.top - r.height
	switch {
	case below > 0:
		text := count(below, "more line", "more lines")
		switch end := r.top + r.height; {
		case end < r.backFrom:
			text += ", with steps and the way back"
		case end < r.notesFrom:
			text += ", with the way back"
		case end < r.total && r.notes > 0:
			text += ", notes"
		}
		text += ": pgdn "
		return ends(rule(w-1-len(text)), say(caution, text), w)
	case r.top > 0:
		return ends(rule(w-22), say(faint, "more above: pgup "), w)
	}
	return rule(w)
}

// foot is the confirmation, always two lines.
func (r *review) foot(m *Model, w int) []line {
	switch {
	case r.asking.busy:
		return []line{words(" Planning: everything is read anew; nothing is touched."), nil}
	case r.starting.busy:
		return []line{say(strong, " Starting: the worker reads the target again before it begins …"), nil}
	case r.err != nil:
		return []line{say(alarm, " There is no plan. Nothing was touched."), nil}
	case r.plan == nil:
		return []line{words(" " + m.deskless()), nil}
	case r.refused != nil:
		return []line{say(alarm, " Not started. r makes a new plan."), nil}
	case r.offers():
		return []line{say(alarm, " There is no repository. Nothing was touched."), words(" Mounted, and spelt right? Then I shows the plan that makes it; r plans again.")}
	case r.plan.Blocked():
		return []line{say(alarm, " Blocked: "+count(len(r.plan.Blockers), "blocker", "blockers")+". Nothing was touched, and nothing can be. r plans again."), nil}
	}
	why := words(" Why, for the audit trail (tab): ")
	why = why.join(r.why.line(r.onWhy, w-why.width()-1))
	if !destroys(r.plan) {
		return []line{r.asks.line(!r.onWhy), why}
	}
	what := " Type " + confirm(r.plan) + ", then ctrl+g to go: "
	if id, err := backup.ParseAssetID(r.plan.Target); err == nil && id.Kind == backup.Guest {
		what = " Type the guest's name, " + confirm(r.plan) + ", then ctrl+g to go: "
	}
	typed := words(what)
	return []line{typed.join(r.target.line(!r.onWhy, w-typed.width()-1)), why}
}
