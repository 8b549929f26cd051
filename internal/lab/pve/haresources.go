package pve

import "strings"

var haRoutes = []route{
	{method: "POST", path: "/cluster/ha/resources", perm: "/ Sys.Console", flags: "forward", params: "sid state?:enum=started|stopped|enabled|disabled|ignored group? comment? max_restart?:int>=0 max_relocate?:int>=0 type?:enum=ct|vm", handler: (*Server).addHA},
	{method: "DELETE", path: "/cluster/ha/resources/{sid}", perm: "/ Sys.Console", flags: "forward", params: "sid purge?:bool", handler: (*Server).removeHA},
}

// addHA puts a guest under high availability.
func (s *Server) addHA(c *call) (any, error) {
	sid := c.get("sid")
	kind, vmid, _ := strings.Cut(sid, ":")
	g := s.guests[number(vmid)]
	switch {
	case kind != "vm" && kind != "ct":
		return nil, invalid("sid", "value does not match the regex pattern")
	case g == nil:
		return nil, fail("resource '%s' does not exist", sid)
	case s.ha[sid] != "":
		return nil, fail("resource ID '%s' already defined", sid)
	}
	if s.ha[sid] = c.get("state"); s.ha[sid] == "" {
		s.ha[sid] = "started"
	}
	return nil, nil
}

func (s *Server) removeHA(c *call) (any, error) {
	sid := c.get("sid")
	if s.ha[sid] == "" {
		return nil, fail("cannot delete service '%s', not HA managed!", sid)
	}
	delete(s.ha, sid)
	return nil, nil
}

// HA is the requested state of each service, such as "vm:100": "started".
func (s *Server) HA() map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := map[string]string{}
	for sid, state := range s.ha {
		all[sid] = state
	}
	return all
}

// Job is a backup job's properties, past the API; nil: there is none.
func (s *Server) Job(id string) Job {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, j := range s.jobs {
		if j["id"] == id {
			out := Job{}
			for key, value := range j {
				out[key] = value
			}
			return out
		}
	}
	return nil
}
