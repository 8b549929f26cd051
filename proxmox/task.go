package proxmox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"cairn/internal/backup"
)

// Task is a task of a node, as its lists and its status say.
type Task struct {
	UPID    string
	Node    string
	Type    string
	ID      string // as the UPID has it
	User    string
	Started time.Time
	Ended   time.Time // zero while it runs, and from Task, which is not told
	Running bool
	Exit    string // "OK", "WARNINGS: n" or the error; empty while it runs
}

// VMID is the guest that the task is about, 0 where it names none.
func (t Task) VMID() int { return leadingVMID(t.ID) }

// Status judges the exit text; Unknown while the task runs.
func (t Task) Status() backup.Status {
	if t.Running {
		return backup.Unknown
	}
	return ExitStatus(t.Exit)
}

// wireTask is a row of a task list, or the answer of a task's status.
type wireTask struct {
	UPID       text   `json:"upid"`
	Node       text   `json:"node"`
	Type       text   `json:"type"`
	ID         text   `json:"id"`
	User       text   `json:"user"`
	TokenID    text   `json:"tokenid"`
	Start      number `json:"starttime"`
	End        number `json:"endtime"`
	Status     text   `json:"status"`     // exit text; RUNNING or none; of a status: running, stopped
	ExitStatus text   `json:"exitstatus"` // of a status only
}

// listed reads a row of a list: a running task has no end, and says RUNNING or
// nothing.
func (w wireTask) listed() (Task, bool) {
	id, err := ParseUPID(string(w.UPID))
	if err != nil {
		return Task{}, false
	}
	t := Task{UPID: string(w.UPID), Node: id.Node, Type: id.Type, ID: id.ID, User: id.User,
		Started: id.Started, Ended: w.End.when(), Exit: printable(string(w.Status))}
	if w.End <= 0 && (w.Status == "" || strings.EqualFold(string(w.Status), "running")) {
		t.Running, t.Exit = true, ""
	}
	return t, true
}

// taskList reads a list of tasks, newest first.
func (a *api) taskList(ctx context.Context, path string) ([]Task, error) {
	var found rows[wireTask]
	if err := a.get(ctx, path, &found); err != nil {
		return nil, err
	}
	return listed(found), nil
}

func listed(found rows[wireTask]) []Task {
	var tasks []Task
	for _, row := range found.all {
		if t, ok := row.listed(); ok {
			tasks = append(tasks, t)
		}
	}
	newestFirst(tasks)
	return tasks
}

func newestFirst(tasks []Task) {
	slices.SortStableFunc(tasks, func(a, b Task) int {
		if c := b.Started.Compare(a.Started); c != 0 {
			return c
		}
		return strings.Compare(b.UPID, a.UPID)
	})
}

// task reads one task's state.
func (a *api) task(ctx context.Context, upid string) (Task, error) {
	id, err := ParseUPID(upid)
	if err != nil {
		return Task{}, err
	}
	var w wireTask
	if err := a.get(ctx, taskPath(id.Node, upid)+"/status", &w); err != nil {
		return Task{}, fmt.Errorf("reading the state of task %s: %w", upid, err)
	}
	t := Task{UPID: upid, Node: id.Node, Type: id.Type, ID: id.ID, User: id.User, Started: id.Started,
		Running: w.Status != "stopped"}
	if w.Status != "running" && w.Status != "stopped" {
		return Task{}, fmt.Errorf("reading the state of task %s: %q is no state", upid, w.Status)
	}
	if !t.Running {
		t.Exit = printable(string(w.ExitStatus))
	}
	return t, nil
}

// logPage is how many lines are asked for at once; PVE's default is 50.
const logPage = 2000

// errNoLog says that the node keeps no log of the task.
var errNoLog = errors.New("the node has no log of it")

// emptyLog is the line that PVE puts in an empty log.
const emptyLog = "no content"

// taskLog reads a task's log from line from (counted from 0) to its present end.
func (a *api) taskLog(ctx context.Context, upid string, from int) ([]string, error) {
	id, err := ParseUPID(upid)
	if err != nil {
		return nil, err
	}
	var lines []string
	for {
		var raw json.RawMessage
		query := url.Values{"start": {fmt.Sprint(from + len(lines))}, "limit": {fmt.Sprint(logPage)}}
		if err := a.get(ctx, taskPath(id.Node, upid)+"/log?"+query.Encode(), &raw); err != nil {
			return lines, fmt.Errorf("reading the log of task %s: %w", upid, err)
		}
		page, err := parseLog(raw)
		if err != nil {
			return lines, fmt.Errorf("reading the log of task %s: %w", upid, err)
		}
		lines = append(lines, page...)
		if len(page) < logPage {
			break
		}
	}
	if from == 0 && len(lines) == 1 && lines[0] == emptyLog {
		return nil, nil
	}
	return lines, nil
}

// parseLog reads lines in the order of their numbers. Of an unknown task PVE 8
// sends one line as an object, PVE 9 as a list.
func parseLog(raw json.RawMessage) ([]string, error) {
	type line struct {
		N number `json:"n"`
		T text   `json:"t"`
	}
	var found rows[line]
	if err := json.Unmarshal(raw, &found); err != nil {
		var one line
		if json.Unmarshal(raw, &one) != nil || one.T == "" {
			return nil, fmt.Errorf("the log is no list of lines: %w", err)
		}
		return nil, fmt.Errorf("%w: %s", errNoLog, printable(string(one.T)))
	}
	slices.SortStableFunc(found.all, func(a, b line) int { return int(a.N - b.N) })
	var lines []string
	for _, l := range found.all {
		lines = append(lines, printable(string(l.T)))
	}
	if len(lines) == 1 && strings.HasPrefix(lines[0], "unable to open file - ") {
		return nil, fmt.Errorf("%w: %s", errNoLog, lines[0])
	}
	return lines, nil
}

func taskPath(node, upid string) string {
	return "/nodes/" + url.PathEscape(node) + "/tasks/" + url.PathEscape(upid)
}
