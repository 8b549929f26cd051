package runbook

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"cairn/internal/operation"
	"cairn/internal/plan"
)

// kindPerson is a step that a person does, with commands that are typed. Whether
// it was done is looked at, not believed.
const kindPerson = "person.do"

// personArgs say how the step is looked at.
type personArgs struct {
	Check  string   `json:"check"` // which look: see looks
	Name   string   `json:"name"`  // of the table in the configuration that it is about
	Node   string   `json:"node,omitempty"`
	Guests []int    `json:"guests,omitempty"`
	Needs  []string `json:"needs,omitempty"` // storages that must be there
	Newest int64    `json:"newest,omitempty"`
	Keys   []string `json:"keys,omitempty"` // fingerprints of those that open the backups
}

// personStep asks a person, and ends the worker until they say that it is done.
type personStep struct{ lab *Lab }

func (x *personStep) Run(ctx context.Context, s plan.Step, _ *operation.Task) (operation.Result, error) {
	text, err := x.look(ctx, s)
	if err != nil && ctx.Err() == nil {
		return operation.Result{}, fmt.Errorf("%w: %s; not yet: %w", operation.ErrAsked, s.Title, err)
	}
	return operation.Result{Text: text}, err
}

func (x *personStep) Find(context.Context, plan.Step, operation.Intent, *operation.Task) (operation.Outcome, error) {
	return operation.Outcome{State: operation.NotDone}, nil // Run looks first
}

// look says what there is once the step was done, or what is still missing.
func (x *personStep) look(ctx context.Context, s plan.Step) (string, error) {
	var a personArgs
	if err := json.Unmarshal(s.Args, &a); err != nil {
		return "", fmt.Errorf("reading what step %s is to do: %w", s.ID, err)
	}
	switch a.Check {
	case "hypervisor":
		return x.lab.newHypervisor(ctx, a)
	case "backup-host":
		return x.lab.newBackupHost(ctx, a)
	case "disk":
		f, err := x.lab.newDiskThere(ctx, a.Name)
		return fmt.Sprintf("%s is UUID %s", f.Mount, f.UUID), err
	}
	return "", fmt.Errorf("this cairn does not know how to look at %q", a.Check)
}

// addAny adds a step of any arguments.
func (l *Lab) addAny(p *plan.Plan, kind, title, show string, commands []string, args any, estimate plan.Estimate) {
	text, err := json.Marshal(args)
	if err != nil { // a struct of plain fields: it cannot fail
		panic(err)
	}
	_, short, _ := strings.Cut(kind, ".")
	p.Steps = append(p.Steps, plan.Step{ID: fmt.Sprintf("%d-%s", len(p.Steps)+1, short), Kind: kind, Title: title, Show: show, Commands: commands, Args: text, Estimate: estimate})
}
