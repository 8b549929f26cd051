package proxmox

import (
	"context"
	"slices"
)

// overview reads what the cluster as a whole answers: its list of guests, nodes
// and storages, without which there is no survey, and all that takes one call.
func (s *survey) overview(ctx context.Context) error {
	var found rows[resource]
	var failed error
	calls := []func(context.Context){
		func(ctx context.Context) {
			failed = s.get(context.WithValue(ctx, answeredKey{}, &s.answered), "/cluster/resources", &found)
		},
		s.readTasks, s.readJobs, s.readNotBackedUp,
	}
	if s.full {
		calls = append(calls, s.readVersion, s.readPermissions, s.readStorageConfig)
	}
	s.each(ctx, calls)
	if failed == nil && s.answered.server == "" {
		failed = s.unanswered // it was left because the calls beside it were not answered
		if failed == nil {
			failed = ctx.Err()
		}
	}
	if failed != nil {
		return failed
	}
	s.resources = sortResources(found)
	s.memory.storages.mute = s.resources.mute
	s.note("guests, nodes and storages", oddRows(s.resources.bad))
	for server, err := range s.api.wire.servers.distrusted() {
		s.note(server, err)
	}
	return nil
}

func (s *survey) readTasks(ctx context.Context) {
	var found rows[wireTask]
	err := s.get(ctx, "/cluster/tasks", &found)
	if err != nil {
		s.note("recent tasks", err)
		return
	}
	s.note("recent tasks", nil)
	s.mu.Lock()
	defer s.mu.Unlock()
	tasks := listed(found)
	s.gone = s.memory.gaps(tasks)
	s.touched, s.rewritten = s.memory.learn(tasks)
	clear(s.memory.listed)
	for _, t := range tasks {
		s.memory.listed[t.UPID] = true
	}
}

// gaps are the nodes of which tasks may have been missed: a node tells the
// cluster of its newest 25 only, so none known among them, or a running one that
// vanished, means that others went by.
func (m *memory) gaps(tasks []Task) map[string]bool {
	gaps, known, present := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, t := range tasks {
		_, seen := m.tasks[t.UPID]
		known[t.Node] = known[t.Node] || seen
		present[t.UPID] = true
	}
	for node, seen := range known {
		gaps[node] = !seen
	}
	for upid, t := range m.tasks {
		if t.Running && !present[upid] {
			gaps[t.Node] = true
		}
	}
	return gaps
}

func (s *survey) readJobs(ctx context.Context) {
	var found rows[wireJob]
	err := s.get(ctx, "/cluster/backup", &found)
	if err != nil {
		s.note("backup jobs", err)
		return
	}
	s.note("backup jobs", oddRows(found.bad))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.memory.jobs = newJobs(found)
}

func (s *survey) readNotBackedUp(ctx context.Context) {
	var found rows[struct {
		VMID number `json:"vmid"`
	}]
	err := s.get(ctx, "/cluster/backup-info/not-backed-up", &found)
	if err != nil {
		s.note("guests in no backup job", err)
		return
	}
	s.note("guests in no backup job", nil)
	var ids []int
	for _, row := range found.all {
		if row.VMID > 0 {
			ids = append(ids, int(row.VMID))
		}
	}
	slices.Sort(ids)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.memory.loose = ids
}

func (s *survey) readVersion(ctx context.Context) {
	var found struct {
		Version text `json:"version"`
	}
	err := s.get(ctx, "/version", &found)
	if err != nil {
		s.note("version", err)
		return
	}
	s.note("version", nil)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.memory.version = string(found.Version)
}

func (s *survey) readPermissions(ctx context.Context) {
	var found permissions
	err := s.get(ctx, "/access/permissions", &found)
	if err != nil {
		s.note("the token's privileges", err)
		return
	}
	s.note("the token's privileges", nil)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.memory.permissions = found
}

func (s *survey) readStorageConfig(ctx context.Context) {
	var found rows[storageConfig]
	err := s.get(ctx, "/storage", &found)
	if err != nil {
		s.note("definitions of the storages", err)
		return
	}
	s.note("definitions of the storages", oddRows(found.bad))
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.memory.storages.configs)
	for _, row := range found.all {
		s.memory.storages.configs[string(row.Storage)] = row
	}
}
