package runbook

import (
	"context"
	"fmt"
	"time"

	"cairn/internal/operation"
	"cairn/proxmox"
)

const (
	outage = time.Minute     // how long a read is tried again while nobody answers it
	again  = 2 * time.Second // between two tries
)

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
		if err := pause(ctx, again); err != nil {
			return err
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
