package pbs

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"cairn/internal/backup"
)

// Protect protects a backup snapshot from pruning, or ends that. It needs
// Datastore.Modify, or Datastore.Backup and the group's ownership.
func (c *Client) Protect(ctx context.Context, ns, kind, id string, at time.Time, protect bool) error {
	what := "protecting "
	if !protect {
		what = "no longer protecting "
	}
	form := url.Values{
		"backup-type": {kind}, "backup-id": {id}, "backup-time": {strconv.FormatInt(at.Unix(), 10)},
		"protected": {strconv.FormatBool(protect)},
	}
	if ns != "" {
		form.Set("ns", ns)
	}
	s := Snapshot{Namespace: ns, Type: kind, ID: id, Time: at}
	return c.do(ctx, request{
		what: what + s.Key() + " in datastore " + c.cfg.Datastore, method: http.MethodPut,
		path: c.storePath("protected"), query: form, act: true,
	}, ignore)
}

// Mount mounts the datastore's removable disk and returns the task's UPID. It
// needs Datastore.Modify, and Sys.Modify on /system/disks.
func (c *Client) Mount(ctx context.Context) (upid string, err error) {
	return c.startTask(ctx, "mounting datastore "+c.cfg.Datastore, "mount")
}

// Unmount unmounts the datastore's removable disk once its tasks have ended,
// and returns the task's UPID. It needs what Mount needs.
func (c *Client) Unmount(ctx context.Context) (upid string, err error) {
	return c.startTask(ctx, "unmounting datastore "+c.cfg.Datastore, "unmount")
}

func (c *Client) startTask(ctx context.Context, what, action string) (string, error) {
	upid, err := value[text](ctx, c, request{what: what, method: http.MethodPost, path: c.storePath(action), act: true})
	if err != nil {
		return "", err
	}
	if _, err := ParseUPID(string(upid)); err != nil {
		return "", fmt.Errorf("%s: %w", what, err)
	}
	return string(upid), nil
}

// Task reads how a task stands.
func (c *Client) Task(ctx context.Context, upid string) (backup.Run, error) {
	task, err := ParseUPID(upid)
	if err != nil {
		return backup.Run{}, err
	}
	type status struct {
		Status text `json:"status"` // running, stopped
		Exit   text `json:"exitstatus"`
	}
	s, err := value[status](ctx, c, request{what: "reading task " + task.Type, path: taskPath(upid, "status"), act: c.cfg.Act != nil})
	if err != nil {
		return backup.Run{}, err
	}
	run := backup.Run{
		Source: "pbs." + c.name, Job: jobWord(task.Type), Subject: taskSubject(task.Type, task.ID),
		Started: task.Started, ID: upid, Text: string(s.Exit), Status: taskStatus(string(s.Exit)),
	}
	if s.Status != "stopped" {
		run.Status, run.Text = backup.Unknown, runningText
		return run, nil
	}
	run.Ended = c.now().UTC() // PBS gives no end here; Follow asks each second
	return run, nil
}

func taskPath(upid, part string) string {
	return "/nodes/localhost/tasks/" + url.PathEscape(upid) + "/" + part
}

// TaskLog reads a task's log from line start on, counted from 0.
func (c *Client) TaskLog(ctx context.Context, upid string, start int) ([]string, error) {
	if _, err := ParseUPID(upid); err != nil {
		return nil, err
	}
	type line struct {
		Text text `json:"t"`
	}
	found, _, err := rows[line](ctx, c, request{
		what: "reading a task's log", path: taskPath(upid, "log"), act: c.cfg.Act != nil,
		query: url.Values{"start": {strconv.Itoa(start)}, "limit": {strconv.Itoa(logLines)}},
	})
	lines := make([]string, len(found))
	for i, l := range found {
		lines[i] = c.scrub(string(l.Text))
	}
	return lines, err
}

// How often Follow asks, how rarely when the server is silent, and how many
// lines of a log it asks for at a time.
const (
	followEvery  = time.Second
	followSlower = 30 * time.Second
	logLines     = 1000
)

// Follow calls line with every line of a task's log as it comes, and returns
// how the task ended. It has no time limit of its own: a server that cannot be
// reached is asked again, more slowly, until ctx ends. An answer that refuses
// ends it.
func (c *Client) Follow(ctx context.Context, upid string, line func(string)) (backup.Run, error) {
	if _, err := ParseUPID(upid); err != nil {
		return backup.Run{}, err
	}
	wait, next := c.pace, 0
	for {
		run, err := c.Task(ctx, upid)
		if err == nil {
			next, err = c.drain(ctx, upid, next, line)
		}
		switch {
		case ctx.Err() != nil:
			return run, fmt.Errorf("following a task of pbs.%s: %w", c.name, context.Cause(ctx))
		case err == nil && !run.Running():
			return run, nil
		case err == nil:
			wait = c.pace
		case silent(err):
			wait = min(2*wait, followSlower)
		default:
			return run, err
		}
		if err := pause(ctx, wait); err != nil {
			return run, fmt.Errorf("following a task of pbs.%s: %w", c.name, err)
		}
	}
}

// drain passes on what the log holds from line next on.
func (c *Client) drain(ctx context.Context, upid string, next int, line func(string)) (int, error) {
	for {
		lines, err := c.TaskLog(ctx, upid, next)
		for _, l := range lines {
			line(l)
		}
		next += len(lines)
		if err != nil || len(lines) < logLines {
			return next, err
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// ignore reads an answer that says nothing.
func ignore(_ http.Header, r io.Reader) error {
	_, err := io.Copy(io.Discard, r)
	return err
}
