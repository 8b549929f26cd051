package pve

import (
	"strings"
)

// route is one method of the API.
type route struct {
	method, path string
	perm         string // "/vms/{vmid} VM.Audit|VM.Backup"; empty: the handler looks
	flags        string // "forward": the privileged daemon; "local": on whatever node
	params       string
	handler      func(*Server, *call) (any, error)

	parts []string
	list  []param
}

// table is the API; it is built once and never changed.
var table = buildTable()

func buildTable() []*route {
	var all []*route
	for _, group := range [][]route{accessRoutes, clusterRoutes, haRoutes, nodeRoutes, guestRoutes(), firewallRoutes(), storageRoutes, storageRoutesWriting} {
		for _, r := range group {
			r.parts = strings.Split(r.path, "/")
			r.list = parseParams(r.params)
			all = append(all, &r)
		}
	}
	return all
}

var accessRoutes = []route{
	{method: "GET", path: "/version", handler: (*Server).getVersion},
	{method: "GET", path: "/access/permissions", params: "path? userid?", handler: (*Server).permissions},
	{method: "POST", path: "/access/ticket", params: "username password realm? otp? new-format? path? privs? tfa-challenge?", handler: (*Server).ticket},
	{method: "GET", path: "/access/users", flags: "forward", params: "enabled?:bool full?:bool", handler: (*Server).listUsers},
	{method: "GET", path: "/access/users/{userid}/token", params: "userid", handler: (*Server).listTokens},
	{method: "GET", path: "/access/acl", handler: (*Server).listACL},
	{method: "GET", path: "/pools", params: "poolid? type?:enum=qemu|lxc|storage", handler: (*Server).listPools},
	{method: "POST", path: "/pools", perm: "/pool Pool.Allocate", flags: "forward", params: "poolid comment?", handler: (*Server).createPool},
	{method: "PUT", path: "/pools/{poolid}", perm: "/pool/{poolid} Pool.Allocate", flags: "forward", params: "poolid comment? vms?:vmids storage? delete?:bool allow-move?:bool", handler: (*Server).updatePool},
}

// match finds the route of a path; the last name of a content path may hold
// slashes.
func match(method, path string) (*route, map[string]string) {
	parts := strings.Split(path, "/")
	for _, r := range table {
		if r.method != method {
			continue
		}
		have := parts
		n := len(r.parts)
		if n > 0 && r.parts[n-1] == "{volume}" && len(parts) > n {
			have = append(append([]string{}, parts[:n-1]...), strings.Join(parts[n-1:], "/"))
		}
		if names, ok := bind(r.parts, have); ok {
			return r, names
		}
	}
	return nil, nil
}

func bind(want, have []string) (map[string]string, bool) {
	if len(want) != len(have) {
		return nil, false
	}
	names := map[string]string{}
	for i, w := range want {
		if strings.HasPrefix(w, "{") {
			if have[i] == "" || strings.ContainsAny(have[i], " \t\n") {
				return nil, false
			}
			names[strings.Trim(w, "{}")] = have[i]
		} else if w != have[i] {
			return nil, false
		}
	}
	return names, true
}

// dispatch carries a call out; forward tells that the privileged daemon did.
func (s *Server) dispatch(c *call) (data any, forward bool, err error) {
	r, names := match(c.method, c.path)
	if r == nil {
		return nil, false, notImplemented(c.method, c.path)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, value := range names {
		c.params[name] = value
	}
	if r.perm != "" {
		path, privs, _ := strings.Cut(r.perm, " ")
		for name, value := range names {
			path = strings.ReplaceAll(path, "{"+name+"}", value)
		}
		if err := s.need(c.who, path, strings.Split(privs, "|")...); err != nil {
			return nil, false, err
		}
	}
	if name, ok := names["node"]; ok && r.flags != "local" {
		if err := s.reach(name); err != nil {
			return nil, false, err
		}
	}
	if err := c.verify(r.list); err != nil {
		return nil, false, err
	}
	data, err = r.handler(s, c)
	return data, r.flags == "forward", err
}

// reach is the proxying to another node: it fails as the real one does.
func (s *Server) reach(name string) error {
	n := s.node(name)
	if n == nil {
		if name == "localhost" {
			return nil
		}
		return fail("hostname lookup '%s' failed - failed to get address info for: %s: Name or service not known", name, name)
	}
	if n.down != nil {
		return n.down
	}
	return nil
}
