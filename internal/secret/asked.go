package secret

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync"
)

// Asked remembers what a person typed, in memory alone, so that it can be handed
// on to a process that has nobody to ask, and not our environment either. It may be used by several goroutines.
type Asked struct {
	// Prompt asks a person; nil: what was handed on is all there is.
	Prompt func(ctx context.Context, purpose string) (Secret, error)

	mu    sync.Mutex
	typed map[string]Secret // by purpose; what was carried, by the variable
}

// Format keeps fmt from writing what was typed.
func (a *Asked) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "secret.Asked") }

// Ask is a Reader's Ask. It asks anew each time, because a Reader's user asks
// again only when the last answer was refused.
func (a *Asked) Ask(ctx context.Context, purpose string) (Secret, error) {
	if a.Prompt == nil {
		if s := a.known(purpose); !s.Empty() {
			return s, nil
		}
		return Secret{}, ErrAsk
	}
	s, err := a.Prompt(ctx, purpose)
	if err != nil {
		return Secret{}, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.typed == nil {
		a.typed = map[string]Secret{}
	}
	a.typed[purpose] = s
	return s, nil
}

func (a *Asked) known(purpose string) Secret {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.typed[purpose]
}

// variable marks what was carried of an environment, among what was typed.
const variable = "$"

// Carry adds the values of variables, to be handed on too.
func (a *Asked) Carry(names []string, getenv func(string) string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, name := range names {
		if value := getenv(name); value != "" {
			if a.typed == nil {
				a.typed = map[string]Secret{}
			}
			a.typed[variable+name] = New(value)
		}
	}
}

// Carried are the values that Carry added, by the names of their variables.
func (a *Asked) Carried() map[string]Secret {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := map[string]Secret{}
	for name, value := range a.typed {
		if name, ok := strings.CutPrefix(name, variable); ok {
			out[name] = value
		}
	}
	return out
}

// Pack writes what was typed and carried, to be put where only the other process
// reads it; nil when there is nothing.
func (a *Asked) Pack() ([]byte, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.typed) == 0 {
		return nil, nil
	}
	plain := map[string]string{}
	for purpose, s := range a.typed {
		plain[purpose] = s.Reveal()
	}
	return json.Marshal(plain)
}

// Unpack reads what Pack wrote. The error holds no secret.
func Unpack(text []byte) (*Asked, error) {
	var plain map[string]string
	if json.Unmarshal(text, &plain) != nil {
		return nil, fmt.Errorf("what was handed on is no list of secrets")
	}
	a := &Asked{typed: map[string]Secret{}}
	for purpose, value := range plain {
		a.typed[purpose] = New(value)
	}
	return a, nil
}
