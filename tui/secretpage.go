package tui

import (
	"context"
	"errors"
	"fmt"

	tea "github.com/charmbracelet/bubbletea"

	"cairn/internal/secret"
)

// Person is who sits at the console, as what opens the desk sees them.
type Person interface {
	// Ask has a secret typed, without showing it. It waits.
	Ask(ctx context.Context, purpose string) (secret.Secret, error)
	// Say shows a sentence until the next key.
	Say(text string)
}

// person reaches the user from beside the screen.
type person struct {
	ctx   context.Context
	inbox chan tea.Msg
}

type (
	noticeMsg string
	// secretMsg wants a secret typed; exactly one answer may be given.
	secretMsg struct {
		ctx     context.Context
		purpose string
		answer  chan<- typedSecret
	}
	typedSecret struct {
		value secret.Secret
		err   error
	}
	// inboxMsg carries a message of another part of the program.
	inboxMsg struct{ msg tea.Msg }
)

var errNotTyped = errors.New("it was not typed")

func (p *person) Ask(ctx context.Context, purpose string) (secret.Secret, error) {
	answer := make(chan typedSecret, 1)
	select {
	case p.inbox <- secretMsg{ctx, purpose, answer}:
	case <-ctx.Done():
		return secret.Secret{}, fmt.Errorf("asking for %s: %w", purpose, ctx.Err())
	}
	select {
	case a := <-answer:
		return a.value, a.err
	case <-ctx.Done():
		return secret.Secret{}, fmt.Errorf("asking for %s: %w", purpose, ctx.Err())
	}
}

func (p *person) Say(text string) {
	select {
	case p.inbox <- noticeMsg(text):
	case <-p.ctx.Done():
	}
}

// hear waits for what other parts of the program have for the user.
func (p *person) hear() tea.Msg {
	select {
	case <-p.ctx.Done():
		return nil
	case msg := <-p.inbox:
		return inboxMsg{msg}
	}
}

// takeInbox shows what came.
func (m *Model) takeInbox(msg tea.Msg) {
	switch msg := msg.(type) {
	case noticeMsg:
		m.note = string(msg)
	case secretMsg:
		m.secrets++
		m.open(&secretPage{number: m.secrets, wanted: msg, typedIn: field{masked: true}, grace: grace{last: m.o.Now()}})
	}
}

// secretPage takes a secret that is never shown. Unlike a confirmation it may be
// pasted, as password managers do.
type secretPage struct {
	number  int
	wanted  secretMsg
	typedIn field
	grace   grace
}

func (p *secretPage) id() string    { return fmt.Sprintf("secret %d", p.number) }
func (p *secretPage) title() string { return "a secret" }
func (p *secretPage) typing() bool  { return true }

// left tells whoever waits that nothing comes.
func (p *secretPage) left() { p.give(typedSecret{err: errNotTyped}) }

func (p *secretPage) give(a typedSecret) {
	if p.wanted.answer != nil {
		p.wanted.answer <- a // it has room for one, and gets only one
	}
	p.wanted.answer, p.typedIn = nil, field{masked: true}
}

func (p *secretPage) keys(*Model) []binding {
	return []binding{
		{keys: []string{"enter"}, label: "done", help: "use what was typed", do: func(m *Model) tea.Cmd {
			if p.typedIn.text() == "" {
				m.note = "nothing was typed yet"
				return nil
			}
			p.give(typedSecret{value: secret.New(p.typedIn.text())})
			m.back()
			return nil
		}},
		{keys: []string{"esc"}, label: "leave", help: "type nothing: what needs it does not begin", do: func(m *Model) tea.Cmd { m.back(); return nil }},
	}
}

func (p *secretPage) typed(m *Model, key tea.KeyMsg) (tea.Cmd, bool) {
	if key.Type == tea.KeyEscape {
		return nil, false
	}
	if p.grace.drops(m.o.Now()) {
		return nil, true
	}
	return nil, p.typedIn.press(key)
}

func (p *secretPage) view(_ *Model, w, _ int) []line {
	out := []line{nil}
	for _, row := range wrap("Type "+p.wanted.purpose+". It is not shown, is kept in memory alone, and goes to the worker only.", w-4) {
		out = append(out, words("  "+row))
	}
	if p.wanted.ctx.Err() != nil {
		return append(out, nil, say(doubt, "  Nobody waits for it any more: esc leaves."))
	}
	return append(out, nil, words("  ").join(p.typedIn.line(true, w-4)))
}
