package step

import (
	"context"
	"fmt"

	"cairn/internal/operation"
	"cairn/internal/plan"
)

// KindPerson is a step that a person does, with commands that are typed. Whether
// it was done is looked at, not believed.
const KindPerson = "person.do"

// PersonArgs say how the step is looked at.
type PersonArgs struct {
	Check  string   `json:"check"` // which look: a key of Person
	Name   string   `json:"name"`  // of the table in the configuration that it is about
	Node   string   `json:"node,omitempty"`
	Guests []int    `json:"guests,omitempty"`
	Needs  []string `json:"needs,omitempty"` // storages that must be there
	Newest int64    `json:"newest,omitempty"`
	Keys   []string `json:"keys,omitempty"` // fingerprints of those that open the backups
}

// Person asks a person, and ends the worker until they say that it is done. It
// consists of the looks, each of which says what there is once the step was done, or
// fails with what is still missing.
type Person map[string]func(context.Context, PersonArgs) (string, error)

// Run looks whether it was done.
func (x Person) Run(ctx context.Context, s plan.Step, _ *operation.Task) (operation.Result, error) {
	text, err := x.look(ctx, s)
	if err != nil && ctx.Err() == nil {
		return operation.Result{}, fmt.Errorf("%w: %s; not yet: %w", operation.ErrAsked, s.Title, err)
	}
	return operation.Result{Text: text}, err
}

// Find has it looked at once more.
func (x Person) Find(context.Context, plan.Step, operation.Intent, *operation.Task) (operation.Outcome, error) {
	return operation.Outcome{State: operation.NotDone}, nil // Run looks first
}

func (x Person) look(ctx context.Context, s plan.Step) (string, error) {
	a, err := Args[PersonArgs](s)
	if err != nil {
		return "", err
	}
	look := x[a.Check]
	if look == nil {
		return "", fmt.Errorf("this cairn does not know how to look at %q", a.Check)
	}
	return look(ctx, a)
}

// AddPerson adds a step that a person does by typing commands.
func AddPerson(to *plan.Plan, title, show string, commands []string, args PersonArgs, takes plan.Estimate) {
	Add(to, KindPerson, title, show, args, takes).Commands = commands
}
