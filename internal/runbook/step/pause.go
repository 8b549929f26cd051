package step

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Again is the time between two tries of what nobody answers.
const Again = 2 * time.Second

// Pause waits, and fails when the context ends first, with why.
func Pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

// Stopped makes an error of a step that a person cancelled say so; one that was
// cancelled ends with an error in any case.
func Stopped(ctx context.Context, err error) error {
	cause := context.Cause(ctx)
	switch {
	case cause == nil || errors.Is(err, cause):
		return err
	case err == nil:
		return cause
	}
	return fmt.Errorf("%w: %w", cause, err)
}
