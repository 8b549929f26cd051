package pbs

import (
	"context"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"cairn/internal/backup"
)

// How far back tasks are read, and how many at most.
const (
	taskWindow = 14 * 24 * time.Hour
	taskRows   = 5000
)

// runningText is the Text of a run that has not ended.
const runningText = "running"

// taskStatus judges the free text that PBS gives a task or a job at its end.
// Only OK is good, and only "WARNINGS: n" is done with warnings: everything
// else is the error itself, whatever its words.
func taskStatus(state string) backup.Status {
	state = strings.TrimSpace(state)
	switch {
	case state == "OK":
		return backup.OK
	case strings.HasPrefix(state, "WARNINGS:"):
		return backup.Warning
	case state == "" || state == "unknown":
		return backup.Unknown
	}
	return backup.Critical
}

type taskRow struct {
	UPID    text   `json:"upid"`
	Type    text   `json:"worker_type"`
	ID      text   `json:"worker_id"`
	Started number `json:"starttime"`
	Ended   number `json:"endtime"`
	Status  text   `json:"status"`
}

// run makes a Run of a row. A task that ended has an endtime and a status; one
// that runs has neither.
func (r taskRow) run(source string) backup.Run {
	kind, id := string(r.Type), string(r.ID)
	run := backup.Run{Source: source, ID: string(r.UPID), Started: r.Started.time(), Ended: r.Ended.time()}
	if task, err := ParseUPID(run.ID); err == nil {
		if kind == "" {
			kind, id = task.Type, task.ID
		}
		if run.Started.IsZero() {
			run.Started = task.Started
		}
	}
	run.Job, run.Subject = jobWord(kind), taskSubject(kind, id)
	run.Text, run.Status = string(r.Status), taskStatus(string(r.Status))
	switch {
	case run.Text == "" && run.Ended.IsZero():
		run.Text = runningText
	case run.Ended.IsZero():
		run.Ended = run.Started // it ended, PBS does not say when
	}
	return run
}

// jobWord is the word of backup.Run.Job for a type of worker.
func jobWord(kind string) string {
	switch {
	case kind == "garbage_collection":
		return "gc"
	case strings.HasPrefix(kind, "verif"):
		return "verify"
	case strings.HasPrefix(kind, "prune"):
		return "prune"
	case strings.HasPrefix(kind, "sync"), kind == "pull", kind == "push":
		return "sync"
	case kind == "mount-device":
		return "mount"
	case kind == "unmount-device":
		return "unmount"
	}
	return kind
}

// taskStore returns the datastore that a task works on, or "". A sync job's id
// is remote:remote-store:store:namespace:job, the others start with the store.
func taskStore(kind, id string) string {
	part := strings.Split(id, ":")
	if kind == "syncjob" && len(part) >= 5 {
		return part[2]
	}
	return part[0]
}

// taskSubject is what a task works on below its datastore: the group as
// Snapshot.Group writes it, or a job's id, or nothing.
func taskSubject(kind, id string) string {
	part := strings.Split(id, ":")
	switch {
	case kind == "syncjob":
		return part[len(part)-1]
	case len(part) == 3 && part[1] != "":
		space, ok := strings.CutPrefix(part[1], "ns/")
		if ok { // as the directories are named: ns/lab/ns/nodes
			space = strings.ReplaceAll(space, "/ns/", "/")
		}
		return space + "/" + part[2]
	case len(part) >= 2:
		return part[len(part)-1]
	}
	return ""
}

// tasks reads the tasks on the datastore: those of the last two weeks and all
// that run, newest first. complete says that nothing was cut off or left out.
func (c *Client) tasks(ctx context.Context, serverTime time.Time) (runs []backup.Run, complete bool, err error) {
	if serverTime.IsZero() {
		serverTime = c.now()
	}
	since := strconv.FormatInt(serverTime.Add(-taskWindow).Unix(), 10)
	recent, odd, err := c.taskList(ctx, url.Values{"since": {since}, "limit": {strconv.Itoa(taskRows)}})
	if err != nil {
		return nil, false, err
	}
	// since drops what started earlier, also when it still runs
	running, oddRunning, err := c.taskList(ctx, url.Values{"running": {"1"}, "limit": {strconv.Itoa(taskRows)}})
	if err != nil {
		return nil, false, err
	}
	seen := map[text]bool{}
	for _, row := range slices.Concat(recent, running) {
		kind, id := string(row.Type), string(row.ID)
		if kind == "" {
			task, _ := ParseUPID(string(row.UPID))
			kind, id = task.Type, task.ID
		}
		if seen[row.UPID] || taskStore(kind, id) != c.cfg.Datastore {
			continue
		}
		seen[row.UPID] = true
		runs = append(runs, row.run("pbs."+c.name))
	}
	slices.SortStableFunc(runs, func(a, b backup.Run) int { return b.Started.Compare(a.Started) })
	complete = odd+oddRunning == 0 && len(recent) < taskRows && len(running) < taskRows
	return runs, complete, nil
}

func (c *Client) taskList(ctx context.Context, query url.Values) ([]taskRow, int, error) {
	return rows[taskRow](ctx, c, request{what: "reading the tasks", path: "/nodes/localhost/tasks", query: query})
}
