package pbs

import (
	"context"
	"time"

	"cairn/internal/backup"
)

// Tasks reads the tasks on the datastore: those of the last two weeks and all
// that run, newest first. It spares what else a survey reads, for somebody who
// waits. Their times are by our clock. complete says that none was cut off or kept
// from us: a token without Sys.Audit is shown its own tasks, as if there were no others.
func (c *Client) Tasks(ctx context.Context) (runs []backup.Run, complete bool, err error) {
	p, serverTime, skew, err := c.permissions(ctx)
	if err != nil {
		return nil, false, err
	}
	if runs, complete, err = c.tasks(ctx, serverTime); err != nil {
		return nil, false, err
	}
	for i := range runs {
		if r := &runs[i]; skew.Abs() > time.Second { // less is how exact the server tells its time
			r.Started = r.Started.Add(-skew)
			if !r.Running() {
				r.Ended = r.Ended.Add(-skew)
			}
		}
	}
	all, _ := p.on("/system/tasks", sysAudit)
	return runs, complete && all, nil
}
