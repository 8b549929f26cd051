package step

import (
	"context"

	"cairn/internal/operation"
	"cairn/internal/plan"
)

// Repeatable carries out a step that may be done any number of times with the same
// end: it looks first, or sets what is to be set. What became of it after a crash is
// so no question: it is done again.
func Repeatable[A any](do func(ctx context.Context, a A, task *operation.Task) (operation.Result, error)) operation.Executor {
	return repeatable[A](do)
}

type repeatable[A any] func(ctx context.Context, a A, task *operation.Task) (operation.Result, error)

// Run does it, with the arguments that the plan has.
func (do repeatable[A]) Run(ctx context.Context, s plan.Step, task *operation.Task) (operation.Result, error) {
	a, err := Args[A](s)
	if err != nil {
		return operation.Result{}, err
	}
	return do(ctx, a, task)
}

// Find has it done again.
func (repeatable[A]) Find(context.Context, plan.Step, operation.Intent, *operation.Task) (operation.Outcome, error) {
	return operation.Outcome{State: operation.NotDone}, nil
}
