package pve

import (
	"regexp"
	"slices"
	"sort"
	"strings"
	"time"
)

// row is a task in a list. Only finished ones have the token apart.
func (t *task) row() object {
	row := object{"upid": t.upid, "node": t.node, "type": t.typ, "id": t.id, "pid": t.pid, "pstart": t.pstart, "starttime": t.start.Unix()}
	if t.running {
		row["user"], row["status"], row["saved"] = t.who.id(), "RUNNING", "0"
		return row
	}
	row["user"], row["status"], row["endtime"] = t.who.user, t.exit, t.end.Unix()
	if t.who.token != "" {
		row["tokenid"] = t.who.token
	}
	return row
}

// owns tells whether a task is the caller's: a user's own and its tokens', a
// token's own only.
func (t *task) owned(who caller) bool {
	return t.who == who || (who.token == "" && t.who.user == who.user)
}

func (s *Server) listTasks(c *call) (any, error) {
	node := s.nodeOf(c)
	all := s.may(c.who, "/nodes/"+node, "Sys.Audit")
	var found []*task
	for i := len(s.tasks) - 1; i >= 0; i-- {
		if t := s.tasks[i]; t.node == node && (all || t.owned(c.who)) && s.wanted(c, t) {
			found = append(found, t)
		}
	}
	sort.SliceStable(found, func(i, j int) bool { return found[i].before(found[j]) })
	limit, start := 50, number(c.get("start"))
	if c.has("limit") {
		limit = number(c.get("limit"))
	}
	rows := rowsOf(limit)
	for i := start; i < len(found) && i < start+limit; i++ {
		rows = append(rows, found[i].row())
	}
	if len(found) == 0 {
		return total{rows, -1}, nil
	}
	return total{rows, len(found)}, nil
}

// before is the order of a node's list: what runs, then what ended last.
func (t *task) before(u *task) bool {
	switch {
	case t.running != u.running:
		return t.running
	case t.end.Equal(u.end):
		return t.order > u.order
	}
	return t.end.After(u.end)
}

func (s *Server) wanted(c *call, t *task) bool {
	switch c.get("source") {
	case "active":
		if !t.running {
			return false
		}
	case "all":
	default:
		if t.running {
			return false
		}
	}
	status := "error"
	switch {
	case t.running || t.exit == "unexpected status":
		status = "unknown"
	case t.exit == "OK":
		status = "ok"
	case strings.HasPrefix(t.exit, "WARNINGS: "):
		status = "warning"
	}
	since, until := number(c.get("since")), number(c.get("until"))
	switch {
	case c.flag("errors") && status == "ok":
	case c.has("vmid") && t.id != c.get("vmid"):
	case c.has("typefilter") && t.typ != c.get("typefilter"):
	case c.has("userfilter") && !strings.Contains(t.who.id(), c.get("userfilter")):
	case c.has("statusfilter") && !slices.Contains(splitList(c.get("statusfilter")), status):
	case since > 0 && t.start.Unix() < int64(since):
	case until > 0 && t.start.Unix() > int64(until):
	default:
		return true
	}
	return false
}

// clusterTasks is what every node tells the others: its running tasks and the
// last 25.
func (s *Server) clusterTasks(c *call) (any, error) {
	rows := rowsOf(25)
	var found []*task
	for i := len(s.tasks) - 1; i >= 0; i-- {
		t := s.tasks[i]
		if n := s.node(t.node); n == nil || n.down != nil || !(t.owned(c.who) || s.may(c.who, "/nodes/"+t.node, "Sys.Audit")) {
			continue
		}
		found = append(found, t)
	}
	sort.SliceStable(found, func(i, j int) bool { return found[i].running && !found[j].running })
	for _, t := range found[:min(25, len(found))] {
		row := object{"upid": t.upid, "node": t.node, "type": t.typ, "id": t.id, "user": t.who.user, "starttime": t.start.Unix()}
		if t.who.token != "" {
			row["tokenid"] = t.who.token
		}
		if t.running {
			row["pid"] = t.pid
		} else {
			row["endtime"], row["status"], row["saved"] = t.end.Unix(), t.exit, "1"
		}
		rows = append(rows, row)
	}
	return rows, nil
}

var upidForm = regexp.MustCompile(`^UPID:([A-Za-z0-9-]+):([0-9A-F]{8}):([0-9A-F]{8,9}):([0-9A-F]{8}):([^:\s]+):([^:\s]*):([^:\s]+):$`)

// parseUPID refuses what is no UPID. PVE takes one without the last colon, too.
func parseUPID(text string) (node, user string, err error) {
	m := upidForm.FindStringSubmatch(strings.TrimSuffix(text, ":") + ":")
	if m == nil {
		return "", "", invalid("upid", "unable to parse worker upid")
	}
	return m[1], m[7], nil
}

// own finds a task that the caller may see; without the privilege it must be
// its own, known or not.
func (s *Server) own(c *call, priv string) (*task, error) {
	_, user, err := parseUPID(c.get("upid"))
	if err != nil {
		return nil, err
	}
	name, token, _ := strings.Cut(user, "!")
	if named := (&task{who: caller{name, token}}); !named.owned(c.who) {
		if err := s.need(c.who, "/nodes/"+s.nodeOf(c), priv); err != nil {
			return nil, err
		}
	}
	t := s.task(c.get("upid"))
	if t != nil && t.node != s.nodeOf(c) {
		t = nil
	}
	return t, nil
}

func (s *Server) taskIndex(c *call) (any, error) {
	return []object{{"name": "log"}, {"name": "status"}}, nil
}

func (s *Server) taskStatus(c *call) (any, error) {
	t, err := s.own(c, "Sys.Audit")
	if err != nil {
		return nil, err
	}
	if t == nil {
		return nil, invalid("upid", "no such task")
	}
	row := object{"upid": t.upid, "node": t.node, "type": t.typ, "id": t.id, "pid": t.pid, "pstart": t.pstart,
		"starttime": t.start.Unix(), "user": t.who.user, "status": "running"}
	if t.who.token != "" {
		row["tokenid"] = t.who.token
	}
	if !t.running {
		row["status"], row["exitstatus"] = "stopped", t.exit
	}
	return row, nil
}

func (s *Server) taskLog(c *call) (any, error) {
	t, err := s.own(c, "Sys.Audit")
	if err != nil {
		return nil, err
	}
	if t == nil {
		line := object{"n": 1, "t": "unable to open file - No such file or directory"}
		if s.major() >= 9 {
			return total{[]object{line}, 1}, nil
		}
		return total{line, 1}, nil
	}
	if c.flag("download") {
		name := "task-" + t.node + "-" + t.typ + "-" + t.start.UTC().Format("2006-01-02T15:04:05Z") + ".log"
		c.text = &answer{status: 200, reason: "OK", body: []byte(strings.Join(t.log, "\n") + "\n"),
			header: map[string]string{"Content-Type": "text/plain", "Content-Disposition": `attachment; filename="` + name + `"`}}
		return nil, nil
	}
	lines := t.log
	if len(lines) == 0 {
		lines = []string{"no content"}
	}
	limit, start := 50, number(c.get("start"))
	if c.has("limit") {
		limit = number(c.get("limit"))
	}
	if limit == 0 {
		limit = len(lines)
	}
	rows := rowsOf(limit)
	for i := start; i < len(lines) && i < start+limit; i++ {
		rows = append(rows, object{"n": i + 1, "t": lines[i]})
	}
	return total{rows, len(lines)}, nil
}

func (s *Server) stopTask(c *call) (any, error) {
	t, err := s.own(c, "Sys.Modify")
	if err != nil || t == nil || !t.running {
		return nil, err
	}
	t.once.Do(func() { close(t.stop) })
	// The worker ends at its next breath; PVE answers when it has.
	for t.running {
		s.mu.Unlock()
		alive := pause(time.Millisecond, s.done)
		s.mu.Lock()
		if !alive {
			break
		}
	}
	return nil, nil
}
