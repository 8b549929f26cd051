package pve

import (
	"fmt"
	"maps"
	"time"
)

// NodeDown makes the calls for a node end with 595 and an empty body, or lets
// it answer again. Calls that the first node answers by itself go on.
func (s *Server) NodeDown(name string, down bool) {
	text := ""
	if down {
		text = "No route to host"
	}
	s.NodeFails(name, 595, text)
}

// NodeFails makes the calls for a node end with a status of 595 to 599 and its
// reason; an empty reason lets the node answer.
func (s *Server) NodeFails(name string, status int, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.node(name)
	if n == nil {
		return
	}
	if n.down = nil; reason != "" {
		n.down = &failure{status: status, text: reason}
	}
}

// AddStray makes a node known by name alone, as a directory that is left in
// /etc/pve: it is no member, and its calls end as given.
func (s *Server) AddStray(name string, status int, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nodes = append(s.nodes, &node{Node: Node{Name: name}, booted: s.now(), bare: true, down: &failure{status: status, text: reason}})
}

// Quorum takes the cluster's quorum away, or gives it back: without it nothing
// is written and no guest starts.
func (s *Server) Quorum(yes bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.quorum = yes
}

// SetPace changes how long things take.
func (s *Server) SetPace(p Pace) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.Lock == 0 {
		p.Lock = 10 * time.Second
	}
	s.pace = p
}

// SetLock sets or clears a guest's lock behind the API's back, as qm set --lock
// and qm unlock do.
func (s *Server) SetLock(vmid int, lock string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.guests[vmid]
	if g == nil {
		return
	}
	if delete(g.config, "lock"); lock != "" {
		g.config["lock"] = lock
	}
}

// Grant adds to the access list; Revoke takes a user's or token's entries away.
func (s *Server) Grant(a ACL) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.acl = append(s.acl, a)
}

// Revoke takes every entry of a user or token on a path away.
func (s *Server) Revoke(path, who string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var kept []ACL
	for _, a := range s.acl {
		if a.Who != who || cleanPath(a.Path) != cleanPath(path) {
			kept = append(kept, a)
		}
	}
	s.acl = kept
}

// AddGuest adds a guest while the server runs.
func (s *Server) AddGuest(g Guest) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.addGuest(g); err != nil {
		return fmt.Errorf("guest %d: %w", g.VMID, err)
	}
	return nil
}

// EditStorage changes a storage while the server runs: unmount it, fill it.
func (s *Server) EditStorage(id string, edit func(*Storage)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if st := s.storage(id); st != nil {
		edit(&st.Storage)
	}
}

// EditGuest changes a guest's configuration behind the API's back, and what its
// inside does.
func (s *Server) EditGuest(vmid int, edit func(*Guest)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.guests[vmid]
	if g == nil {
		return
	}
	view := Guest{VMID: g.vmid, Kind: g.kind, Node: g.node, Config: g.config, Running: g.running, NoOS: g.noOS, NoAgent: g.noAgent, Warn: g.warn}
	edit(&view)
	g.config, g.running, g.noOS, g.noAgent, g.warn = view.Config, view.Running, view.NoOS, view.NoAgent, view.Warn
}

// Write changes what is on a disk of a guest, as the guest itself would.
func (s *Server) Write(vmid int, disk, content string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.guests[vmid]
	if g == nil || s.volumes[volumeOf(disk, g.config[disk])] == nil {
		return fmt.Errorf("guest %d has no disk %s", vmid, disk)
	}
	s.volumes[volumeOf(disk, g.config[disk])].content = content
	return nil
}

// GuestState is a guest as a test sees it, past the API.
type GuestState struct {
	Exists    bool
	Kind      Kind
	Node      string
	Running   bool
	Config    map[string]string
	Content   map[string]string // by configuration key
	Snapshots []string          // in the order they were made
}

// Guest tells what a guest is now, with what is on its disks.
func (s *Server) Guest(vmid int) GuestState {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.guests[vmid]
	if g == nil {
		return GuestState{}
	}
	state := GuestState{Exists: true, Kind: g.kind, Node: g.node, Running: g.running, Config: maps.Clone(g.config), Content: map[string]string{}}
	for _, key := range disksOf(g.config) {
		if v := s.volumes[volumeOf(key, g.config[key])]; v != nil {
			state.Content[key] = v.content
		}
	}
	for _, x := range g.snaps {
		state.Snapshots = append(state.Snapshots, x.name)
	}
	return state
}

// Volumes are the ids of all volumes of a guest that exist, in a configuration
// or not.
func (s *Server) Volumes(vmid int) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []string
	for id, v := range s.volumes {
		if v.vmid == vmid {
			all = append(all, id)
		}
	}
	return all
}

// Idle tells whether no task runs.
func (s *Server) Idle() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.tasks {
		if t.running {
			return false
		}
	}
	return true
}

// Root makes a call as root does on the node itself, with no token: what qm, pct
// and pvesm do. A task's answer is its UPID.
func (s *Server) Root(method, path string, params map[string]string) (any, error) {
	c := &call{who: caller{user: "root@pam"}, method: method, path: path, params: map[string]string{}, given: map[string]bool{}, dup: map[string]bool{}}
	for name, value := range params {
		c.params[name], c.given[name] = value, true
	}
	data, _, err := s.dispatch(c)
	return data, err
}
