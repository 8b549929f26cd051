package proxmox

import (
	"context"
	"errors"
)

// readLogs reads the logs of vzdump tasks that tell more than their lists: of
// those that run, and once of each that ended.
func (s *survey) readLogs(ctx context.Context) {
	var calls []func(context.Context)
	for _, t := range s.memory.worthReading(s.resources.online) {
		calls = append(calls, func(ctx context.Context) { s.readLog(ctx, t) })
	}
	s.each(ctx, calls)
}

func (s *survey) readLog(ctx context.Context, t Task) {
	if s.silent(t.Node) != nil {
		return
	}
	lines, err := s.api.taskLog(ctx, t.UPID, 0)
	s.count(ctx, t.Node, err)
	if ctx.Err() != nil {
		return
	}
	subject := "log of task " + t.UPID
	if IsDenied(err) {
		subject = "logs of the backups of node " + t.Node
	}
	if errors.Is(err, errNoLog) {
		s.note(subject, nil) // nodes throw old logs away; their lists still say how the tasks ended
	} else {
		s.note(subject, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		if IsDenied(err) || errors.Is(err, errNoLog) {
			s.memory.unreadable[t.UPID] = true
		}
		return
	}
	l := parseVzdumpLog(lines)
	l.growing = t.Running
	s.memory.logs[t.UPID] = &l
}

// worthReading are the vzdump tasks of online nodes whose log is not known yet.
// Of a guest's own tasks the newest few tell enough.
func (m *memory) worthReading(online func(node string) bool) []Task {
	const perGuest, perNode = 3, 40
	var chosen []Task
	guests, nodes := map[int]int{}, map[string]int{}
	for _, t := range m.backupTasks() {
		vmid := t.VMID()
		if guests[vmid]++; vmid > 0 && guests[vmid] > perGuest {
			continue
		}
		if nodes[t.Node]++; vmid == 0 && nodes[t.Node] > perNode {
			continue
		}
		l := m.logs[t.UPID]
		if !online(t.Node) || m.unreadable[t.UPID] && !t.Running || l != nil && !l.growing {
			continue
		}
		chosen = append(chosen, t)
	}
	return chosen
}

// backupTasks are the vzdump tasks that are remembered, newest first.
func (m *memory) backupTasks() []Task {
	var tasks []Task
	for _, t := range m.tasks {
		if t.Type == "vzdump" {
			tasks = append(tasks, t)
		}
	}
	newestFirst(tasks)
	return tasks
}
