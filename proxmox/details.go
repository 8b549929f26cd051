package proxmox

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
)

// details reads what changed of guests, storages and nodes.
func (s *survey) details(ctx context.Context) {
	var calls []func(context.Context)
	present := map[string]bool{}
	for _, n := range s.resources.nodes {
		present[n.Name] = true
		calls = append(calls, s.nodeCalls(n)...)
	}
	s.memory.storages.keep(present)
	calls = append(calls, s.guestCalls()...)
	s.each(ctx, calls)
	if s.full || s.rewritten { // after the definitions, which say what holds archives
		s.each(ctx, s.archiveCalls())
	}
	if ctx.Err() == nil {
		s.note("the rest of the cluster", s.lost())
	}
}

// nodeCalls reads a node's own view: its storages, thin pools, and the tasks
// that the cluster's list no longer shows.
func (s *survey) nodeCalls(n Node) []func(context.Context) {
	if !n.Online {
		s.note("node "+n.Name, errors.New("it is offline: what is shown of its guests is from before, or only their names"))
		return nil
	}
	s.note("node "+n.Name, nil)
	if s.resources.mute[n.Name] {
		s.note("node "+n.Name, errors.New("it is there, but tells the cluster nothing of its guests and storages; see systemctl status pvestatd there: a storage that hangs holds it up"))
	}
	var calls []func(context.Context)
	if s.full || s.gone[n.Name] {
		calls = append(calls, s.taskCalls(n.Name)...)
	}
	if s.full {
		calls = append(calls, func(ctx context.Context) { s.readNodeStorages(ctx, n.Name) })
		if slices.ContainsFunc(s.resources.storages, func(r resource) bool {
			return string(r.Node) == n.Name && r.Plugin == "lvmthin"
		}) {
			calls = append(calls, func(ctx context.Context) { s.readPools(ctx, n.Name) })
		}
	}
	return calls
}

// taskCalls reads the node's archive of tasks: its backups, which the other
// tasks of a busy node would push out of a common list, and the newest of all.
func (s *survey) taskCalls(node string) []func(context.Context) {
	since := fmt.Sprint(s.serverTime().Add(-remembered).Unix())
	var calls []func(context.Context)
	for subject, query := range map[string]url.Values{
		"backup tasks of node " + node: {"source": {"all"}, "limit": {"500"}, "since": {since}, "typefilter": {"vzdump"}},
		"tasks of node " + node:        {"source": {"all"}, "limit": {"200"}, "since": {since}},
	} {
		calls = append(calls, func(ctx context.Context) {
			var found rows[wireTask]
			err := s.get(ctx, "/nodes/"+url.PathEscape(node)+"/tasks?"+query.Encode(), &found)
			s.note(subject, err)
			if err != nil {
				return
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			touched, rewritten := s.memory.learn(listed(found))
			s.rewritten = s.rewritten || rewritten
			for vmid := range touched {
				if g := s.memory.guests[vmid]; g != nil && !s.full {
					g.stale = true // it is read in the next survey
				}
			}
		})
	}
	return calls
}

func (s *survey) readNodeStorages(ctx context.Context, node string) {
	var found rows[nodeStorage]
	if err := s.get(ctx, "/nodes/"+url.PathEscape(node)+"/storage", &found); err != nil {
		s.note("storages of node "+node, err)
		return
	}
	s.note("storages of node "+node, nil)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.memory.storages.nodes[node] = found.all
}

func (s *survey) readPools(ctx context.Context, node string) {
	var found rows[thinPool]
	if err := s.get(ctx, "/nodes/"+url.PathEscape(node)+"/disks/lvmthin", &found); err != nil {
		s.note("metadata of thin pools on node "+node, err)
		return
	}
	s.note("metadata of thin pools on node "+node, nil)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.memory.storages.pools[node] = found.all
}

// guestCalls reads the guests that a task touched, whose row changed, that could
// not be read the last time, or all.
func (s *survey) guestCalls() []func(context.Context) {
	var calls []func(context.Context)
	for _, row := range s.resources.guests {
		g := s.memory.guests[int(row.VMID)]
		if g == nil {
			g = &guestMemory{stale: true}
			s.memory.guests[int(row.VMID)] = g
		}
		if s.full || s.touched[int(row.VMID)] || g.trace != row.trace() {
			g.stale = true
		}
		if g.stale && s.resources.online(string(row.Node)) {
			calls = append(calls, func(ctx context.Context) { s.readGuest(ctx, row, g) })
		}
	}
	return calls
}

// readGuest reads a guest's configuration and snapshots, one call after the
// other: the other workers fill the time.
func (s *survey) readGuest(ctx context.Context, row resource, g *guestMemory) {
	config, tree, err := s.api.guestDetails(ctx, guestPath(GuestKind(row.Type), string(row.Node), int(row.VMID)), s.get)
	if ctx.Err() != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if g.err = err; err != nil {
		g.stale = !IsDenied(err) // a right that was granted since shows when all is read again
		return
	}
	g.config, g.tree, g.read, g.trace = config, tree, s.now, row.trace()
	g.stale = config["lock"] != string(row.Lock) // it changed between the two calls
}

// guestDetails reads a guest's configuration and snapshots.
func (a *api) guestDetails(ctx context.Context, path string, get func(context.Context, string, any) error) (Configuration, Tree, error) {
	var config Configuration
	if err := get(ctx, path+"/config", &config); err != nil {
		return nil, Tree{}, err
	}
	var found rows[wireSnapshot]
	if err := get(ctx, path+"/snapshot", &found); err != nil {
		return nil, Tree{}, err
	}
	if found.bad > 0 {
		return nil, Tree{}, fmt.Errorf("reading %s/snapshot: %d rows made no sense", path, found.bad)
	}
	return config, newTree(found), nil
}

func guestPath(kind GuestKind, node string, vmid int) string {
	return fmt.Sprintf("/nodes/%s/%s/%d", url.PathEscape(node), kind, vmid)
}

// archiveCalls reads the vzdump archives of each storage that holds some and is
// no PBS; a shared one through one node.
func (s *survey) archiveCalls() []func(context.Context) {
	var calls []func(context.Context)
	shared := map[string]bool{}
	present := map[string]bool{}
	for _, st := range s.memory.storages.storages(s.resources.storages) {
		present[archivesOn(st)] = true
		if !st.archives() || !st.Enabled || shared[archivesOn(st)] || !s.resources.online(st.Node) {
			continue
		}
		if !st.Active {
			s.note(archivesOn(st), errors.New("the storage is not active: is its medium attached and mounted?"))
			continue
		}
		shared[archivesOn(st)] = true
		calls = append(calls, func(ctx context.Context) { s.readArchives(ctx, st) })
	}
	for place := range s.memory.archives {
		if !present[place] {
			delete(s.memory.archives, place)
			delete(s.memory.notes, place)
		}
	}
	return calls
}

func (s *survey) readArchives(ctx context.Context, st Storage) {
	var found rows[archive]
	path := "/nodes/" + url.PathEscape(st.Node) + "/storage/" + url.PathEscape(st.Name) + "/content?content=backup"
	if err := s.get(ctx, path, &found); err != nil {
		s.note(archivesOn(st), err)
		return
	}
	s.note(archivesOn(st), oddRows(found.bad))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.memory.archives[archivesOn(st)] = archives{st.Name, found.all}
}

// archivesOn names the place: a storage that is not shared is one a node.
func archivesOn(st Storage) string {
	if st.Shared {
		return "backups on storage " + st.Name
	}
	return "backups on storage " + st.Name + " of node " + st.Node
}
