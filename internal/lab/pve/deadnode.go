package pve

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Replica is a copy of a guest's disks on another node, as a replication job left it.
type Replica struct {
	Guest    int
	Target   string
	Schedule string
	Content  map[string]string // by the key of the disk
}

// Replicate adds a replication job, with what it copied last.
func (s *Server) Replicate(r Replica) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.replicas = append(s.replicas, r)
}

func (s *Server) listReplication(c *call) (any, error) {
	rows := rowsOf(len(s.replicas))
	for _, r := range s.replicas {
		if s.may(c.who, "/vms/"+itoa(r.Guest), "VM.Audit") {
			rows = append(rows, object{"id": fmt.Sprintf("%d-0", r.Guest), "guest": r.Guest, "jobnum": 0, "target": r.Target, "type": "local", "schedule": r.Schedule})
		}
	}
	return rows, nil
}

// DelNode takes a node out of the cluster, as pvecm delnode does on another one: what
// lies below its directory in /etc/pve stays.
func (s *Server) DelNode(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.node(name)
	switch {
	case !s.quorum:
		return fail("cluster not ready - no quorum?")
	case n == nil || n.bare:
		return fail("Node/IP: %s is not a known host of the cluster.", name)
	case n.down == nil:
		return fail("the lab takes no node out that answers")
	}
	n.bare = true
	return nil
}

// Confs are the guests' configurations, as paths below /etc/pve.
func (s *Server) Confs() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []string
	for _, g := range s.guests {
		all = append(all, confFile(g.node, g.kind, g.vmid))
	}
	slices.Sort(all)
	return all
}

// AdoptConfs takes the guests' configurations for what they are, wherever somebody
// moved them: a guest without one is none any more, and the disks that it had on a node
// that is gone went with it. One whose disks were replicated to its new node has there
// what was copied last. A node that was taken out and has no directory is forgotten.
func (s *Server) AdoptConfs(paths []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	nodes, at := map[string]bool{}, map[int]string{}
	for _, path := range paths {
		parts := strings.Split(path, "/") // nodes/NAME/qemu-server/100.conf
		if len(parts) != 4 || parts[0] != "nodes" {
			continue
		}
		nodes[parts[1]] = true
		at[number(strings.TrimSuffix(parts[3], ".conf"))] = parts[1]
	}
	for id, g := range maps.Clone(s.guests) {
		node, there := at[id]
		if !there {
			for _, key := range liveDisks(g.config) {
				delete(s.volumes, volumeOf(key, g.config[key]))
			}
			delete(s.guests, id)
			continue
		}
		if node == g.node {
			continue
		}
		g.node, g.running = node, false
		for _, r := range s.replicas {
			for key, content := range r.Content {
				if v := s.volumes[volumeOf(key, g.config[key])]; r.Guest == id && r.Target == node && v != nil {
					v.content = content
				}
			}
		}
	}
	s.nodes = slices.DeleteFunc(s.nodes, func(n *node) bool { return n.bare && !nodes[n.Name] })
}
