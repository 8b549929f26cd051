package disk

import (
	"context"
	"errors"
)

// guard lets one look at a device run at a time. A disk that no longer answers
// can hold up any call to it for ever, and no signal ends that: so each look
// runs beside the survey and is waited for only as long as the survey lasts.
type guard chan struct{}

func newGuard() guard { return make(guard, 1) }

var errStuck = errors.New("the disk has not answered since the last look")

// start runs f and returns how to wait for it. A look that was given up on goes
// on until the device answers; no other is started meanwhile.
func start[T any](ctx context.Context, g guard, f func() (T, error)) (wait func() (T, error)) {
	type answer struct {
		value T
		err   error
	}
	select {
	case g <- struct{}{}:
	default:
		return func() (T, error) { return *new(T), errStuck }
	}
	answers := make(chan answer, 1)
	go func() {
		value, err := f()
		<-g
		answers <- answer{value, err}
	}()
	return func() (T, error) {
		select {
		case a := <-answers:
			return a.value, a.err
		case <-ctx.Done():
			return *new(T), context.Cause(ctx)
		}
	}
}
