package pbs

import (
	"sort"
	"strings"
	"time"
)

// Begin adds a running task to the log and returns it.
func (w *World) Begin(kind, id, store, user string) *Task {
	t := &Task{Type: kind, ID: id, Store: store, User: user, PID: 0x2a1, PStart: 0x1f40, Start: w.now().Unix()}
	t.UPID = UPID(w.node(), t, len(w.Tasks)+1)
	w.Tasks = append([]*Task{t}, w.Tasks...)
	t.Say(w.now(), "starting new %s", kind)
	return t
}

// Past adds a task that has ended to the log and returns it.
func (w *World) Past(kind, id, store, user string, start, end time.Time, status string) *Task {
	t := &Task{Type: kind, ID: id, Store: store, User: user, PID: 0x2a1, PStart: 0x1f40, Start: start.Unix()}
	t.UPID = UPID(w.node(), t, len(w.Tasks)+1)
	w.Tasks = append(w.Tasks, t)
	t.Say(start, "starting new %s", kind)
	t.Finish(end, status)
	return t
}

// Finish ends a task with "OK", "WARNINGS: n", or an error's text.
func (t *Task) Finish(at time.Time, status string) {
	t.End, t.Status = max(at.Unix(), t.Start), status
	last := "TASK " + status
	if status != "OK" && !strings.HasPrefix(status, "WARNINGS") {
		last = "TASK ERROR: " + status
	}
	t.Say(at, "%s", last)
}

// run starts a task over the API; when it has run its time, work is done and
// says how it ended. The answer is the UPID.
func (c *call) run(kind, id, store string, work func(*World, *Task) string) (any, error) {
	t := c.Begin(kind, id, store, c.auth)
	c.server.due = append(c.server.due, effect{c.now().Add(c.TaskTime), func(w *World) {
		if t.End == 0 {
			t.Finish(w.now(), work(w, t))
		}
	}})
	return t.UPID, nil
}

// seesTask says whether the caller sees a task: its own, or all with Sys.Audit.
func (c *call) seesTask(t *Task) bool {
	return c.owns(t.User) || c.may("/system/tasks", "Sys.Audit")
}

func listTasks(c *call) (any, error) {
	start, err := c.number("start", 0, 0)
	if err != nil {
		return nil, err
	}
	limit, err := c.number("limit", 50, 0)
	if err != nil {
		return nil, err
	}
	since, err := c.number("since", 0, 0)
	if err != nil {
		return nil, err
	}
	until, err := c.number("until", 1<<62, 0)
	if err != nil {
		return nil, err
	}
	matching := []object{}
	for _, t := range newestFirst(c.Tasks) {
		// A run that began before since is dropped, even when it ended after.
		if t.Start >= since && t.Start <= until && c.seesTask(t) && c.wants(t) {
			matching = append(matching, t.row())
		}
	}
	rows := matching[min(int(start), len(matching)):]
	if limit > 0 {
		rows = rows[:min(int(limit), len(rows))]
	}
	return page{len(matching), rows}, nil
}

// wants applies the filters of the task list.
func (c *call) wants(t *Task) bool {
	state := t.state()
	states := c.r.Form["statusfilter"]
	switch {
	case c.truth("running") && state != "",
		c.truth("errors") && state != "error",
		len(states) > 0 && !contains(states, state),
		!strings.Contains(t.Type, c.params["typefilter"]),
		!strings.Contains(t.User, c.params["userfilter"]),
		c.params["store"] != "" && t.Store != c.params["store"]:
		return false
	}
	return true
}

// state sorts the free text of the status: empty while the task runs.
func (t *Task) state() string {
	switch {
	case t.End == 0:
		return ""
	case t.Status == "OK":
		return "ok"
	case strings.HasPrefix(t.Status, "WARNINGS: "):
		return "warning"
	case t.Status == "unknown":
		return "unknown"
	}
	return "error"
}

// newestFirst puts what runs first, then by start.
func newestFirst(tasks []*Task) []*Task {
	sorted := append([]*Task(nil), tasks...)
	sort.SliceStable(sorted, func(i, j int) bool {
		a, b := sorted[i], sorted[j]
		if (a.End == 0) != (b.End == 0) {
			return a.End == 0
		}
		return a.Start > b.Start
	})
	return sorted
}

func (t *Task) row() object {
	row := object{
		"upid": t.UPID, "node": "localhost", "pid": t.PID, "pstart": t.PStart, "starttime": t.Start,
		"worker_type": t.Type, "worker_id": textOrNull(t.ID), "user": t.User,
	}
	if t.End != 0 {
		row["endtime"], row["status"] = t.End, t.Status
	}
	return row
}

func (c *call) task() (*Task, error) {
	for _, t := range c.Tasks {
		if t.UPID == c.r.PathValue("upid") {
			if !c.seesTask(t) {
				return nil, refuse(403, "permission check failed - missing Sys.Audit on /system/tasks")
			}
			return t, nil
		}
	}
	return nil, bad("no such task '%s'", c.r.PathValue("upid"))
}

func taskStatus(c *call) (any, error) {
	t, err := c.task()
	if err != nil {
		return nil, err
	}
	user, token, isToken := strings.Cut(t.User, "!")
	row := object{
		"upid": t.UPID, "node": "localhost", "pid": t.PID, "pstart": t.PStart, "starttime": t.Start,
		"type": t.Type, "id": textOrNull(t.ID), "user": user, "status": "running",
	}
	if isToken {
		row["tokenid"] = token
	}
	if t.End != 0 {
		row["status"], row["exitstatus"] = "stopped", t.Status
	}
	return row, nil
}

func taskLog(c *call) (any, error) {
	t, err := c.task()
	if err != nil {
		return nil, err
	}
	start, err := c.number("start", 0, 0)
	if err != nil {
		return nil, err
	}
	limit, err := c.number("limit", 50, 0)
	if err != nil {
		return nil, err
	}
	rows := []object{}
	for i, line := range t.Log {
		if int64(i) >= start && (limit == 0 || int64(len(rows)) < limit) {
			rows = append(rows, object{"n": i + 1, "t": line})
		}
	}
	return page{len(t.Log), rows}, nil
}

// stopTask aborts a task: its own, or with Sys.Modify.
func stopTask(c *call) (any, error) {
	t, err := c.task()
	if err != nil {
		return nil, err
	}
	if !c.owns(t.User) && !c.may("/system/tasks", "Sys.Modify") {
		return nil, refuse(403, "permission check failed - missing Sys.Modify on /system/tasks")
	}
	if t.End == 0 {
		t.Finish(c.now(), "task aborted")
	}
	return nil, nil
}
