package guest

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

// patiently does a read again while the server or node does not answer, up to
// outage; then the operation stops where it is and can be resumed.
func patiently(ctx context.Context, task *operation.Task, read func() error) error {
	end := time.Now().Add(outage)
	for {
		err := read()
		if err == nil || !proxmox.IsUnreachable(err) && !proxmox.IsNodeDown(err) {
			return err
		}
		if time.Now().After(end) {
			return fmt.Errorf("%w: %w", operation.ErrLost, err)
		}
		task.Progress(operation.Progress{Lines: []string{"waiting: " + err.Error()}})
		if err := step.Pause(ctx, step.Again); err != nil {
			return err
		}
	}
}
