package pvestep

import (
	"context"
	"fmt"
	"time"

	"cairn/internal/operation"
	"cairn/internal/runbook/step"
	"cairn/proxmox"
)

// outage is how long a read is tried again while nobody answers it.
const outage = time.Minute

// Patiently does a read again while the server or node does not answer, up to
// outage; then the operation stops where it is and can be resumed.
func Patiently[T any](ctx context.Context, task *operation.Task, read func(context.Context) (T, error)) (T, error) {
	end := time.Now().Add(outage)
	for {
		found, err := read(ctx)
		if err == nil || !proxmox.IsUnreachable(err) && !proxmox.IsNodeDown(err) {
			return found, err
		}
		if time.Now().After(end) {
			return found, fmt.Errorf("%w: %w", operation.ErrLost, err)
		}
		task.Progress(operation.Progress{Lines: []string{"waiting: " + err.Error()}})
		if err := step.Pause(ctx, step.Again); err != nil {
			return found, err
		}
	}
}
