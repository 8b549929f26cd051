package pve

import (
	"slices"
	"sort"
	"strings"
)

// caller is who makes a call: a user, or a token of it.
type caller struct {
	user  string // root@pam
	token string // name; empty: a ticket
}

func (c caller) id() string {
	if c.token == "" {
		return c.user
	}
	return c.user + "!" + c.token
}

var auditPrivileges = []string{"Datastore.Audit", "Mapping.Audit", "Pool.Audit", "SDN.Audit", "Sys.Audit", "VM.Audit"}

var vmPrivileges = []string{
	"VM.Audit", "VM.Backup", "VM.Clone", "VM.Config.CDROM", "VM.Config.CPU", "VM.Config.Cloudinit", "VM.Config.Disk",
	"VM.Config.HWType", "VM.Config.Memory", "VM.Config.Network", "VM.Config.Options", "VM.Console", "VM.Migrate",
	"VM.PowerMgmt", "VM.Snapshot", "VM.Snapshot.Rollback", "VM.Allocate",
}

var otherPrivileges = []string{
	"Datastore.Allocate", "Datastore.AllocateSpace", "Datastore.AllocateTemplate", "Group.Allocate", "Mapping.Modify",
	"Mapping.Use", "Permissions.Modify", "Pool.Allocate", "Realm.Allocate", "Realm.AllocateUser", "SDN.Allocate",
	"SDN.Use", "Sys.AccessNetwork", "Sys.Console", "Sys.Incoming", "Sys.Modify", "Sys.PowerMgmt", "Sys.Syslog", "User.Modify",
}

// agentPrivileges replaced VM.Monitor in 9.0.
var agentPrivileges = []string{
	"VM.GuestAgent.Audit", "VM.GuestAgent.FileRead", "VM.GuestAgent.FileSystemMgmt", "VM.GuestAgent.FileWrite",
	"VM.GuestAgent.Unrestricted", "VM.Replicate",
}

func union(lists ...[]string) []string {
	var all []string
	for _, l := range lists {
		for _, p := range l {
			if !slices.Contains(all, p) {
				all = append(all, p)
			}
		}
	}
	return all
}

// builtinRoles are PVE's own roles that matter here.
func builtinRoles(major int) map[string][]string {
	monitor := []string{"VM.Monitor"}
	if major >= 9 {
		monitor = agentPrivileges
	}
	vmAdmin := union(vmPrivileges, monitor)
	return map[string][]string{
		"Administrator":     union(auditPrivileges, vmAdmin, otherPrivileges),
		"PVEAuditor":        auditPrivileges,
		"PVEVMAdmin":        vmAdmin,
		"PVEVMUser":         {"VM.Audit", "VM.Backup", "VM.Config.CDROM", "VM.Config.Cloudinit", "VM.Console", "VM.PowerMgmt"},
		"PVEDatastoreAdmin": {"Datastore.Allocate", "Datastore.AllocateSpace", "Datastore.AllocateTemplate", "Datastore.Audit"},
		"PVEDatastoreUser":  {"Datastore.AllocateSpace", "Datastore.Audit"},
		"PVESDNUser":        {"SDN.Audit", "SDN.Use"},
		"PVEPoolUser":       {"Pool.Audit"},
		"NoAccess":          {},
	}
}

// privileges is the set that c has on path, each with 1 where it also holds
// below the path. A privilege-separated token has what both it and its user
// have.
func (s *Server) privileges(c caller, path string) map[string]int {
	user := s.granted(c.user, path)
	if c.token == "" || !s.tokenOf(c).Privsep {
		return user
	}
	both := map[string]int{}
	for p, propagate := range s.granted(c.id(), path) {
		if _, ok := user[p]; ok {
			both[p] = propagate
		}
	}
	return both
}

// granted follows the path down: an entry on a deeper level replaces what came
// from above, and a pool grants on its members.
func (s *Server) granted(who, path string) map[string]int {
	if who == "root@pam" {
		return s.all // shared: nobody changes it
	}
	set := map[string]int{}
	for _, level := range levels(path) {
		here := map[string]int{}
		found := false
		for _, a := range s.acl {
			if a.Who != who || cleanPath(a.Path) != level || (a.NoPropagate && level != path) {
				continue
			}
			found = true
			propagate := 1
			if a.NoPropagate {
				propagate = 0
			}
			for p, v := range s.role(a.Role, propagate) {
				here[p] = v
			}
		}
		if found {
			set = here
		}
	}
	if vmid, ok := strings.CutPrefix(path, "/vms/"); ok {
		if pool := s.poolOf(number(vmid)); pool != "" {
			for p, v := range s.granted(who, "/pool/"+pool) {
				set[p] = v
			}
		}
	}
	return set
}

func (s *Server) role(name string, propagate int) map[string]int {
	set := map[string]int{}
	for _, p := range s.roles[name] {
		set[p] = propagate
	}
	return set
}

func cleanPath(p string) string {
	if p = strings.TrimRight(p, "/"); p == "" {
		return "/"
	}
	return p
}

func levels(path string) []string {
	all := []string{"/"}
	for i := 1; i < len(path); i++ {
		if path[i] == '/' {
			all = append(all, path[:i])
		}
	}
	if path != "/" {
		all = append(all, path)
	}
	return all
}

func (s *Server) tokenOf(c caller) Token {
	for _, u := range s.users {
		for _, t := range u.Tokens {
			if u.ID == c.user && t.Name == c.token {
				return t
			}
		}
	}
	return Token{Privsep: true}
}

// may tells whether c has one of the privileges on path.
func (s *Server) may(c caller, path string, privs ...string) bool {
	have := s.privileges(c, path)
	for _, p := range privs {
		if _, ok := have[p]; ok {
			return true
		}
	}
	return false
}

// need is denied unless c has one of the privileges on path.
func (s *Server) need(c caller, path string, privs ...string) error {
	if s.may(c, path, privs...) {
		return nil
	}
	return denied(path, privs...)
}

// permissions is GET /access/permissions.
func (s *Server) permissions(c *call) (any, error) {
	who := c.who
	paths := []string{"/", "/access", "/access/groups", "/nodes", "/pool", "/sdn", "/storage", "/vms"}
	if p := c.get("path"); p != "" {
		paths = []string{p}
	} else {
		for _, a := range s.acl {
			paths = append(paths, cleanPath(a.Path))
		}
		for pool := range s.pools {
			paths = append(paths, "/pool/"+pool)
		}
	}
	sort.Strings(paths)
	all := object{}
	for _, p := range slices.Compact(paths) {
		set := object{}
		for name, v := range s.privileges(who, p) {
			set[name] = v
		}
		if len(set) > 0 {
			all[p] = set
		}
	}
	return all, nil
}

func (s *Server) listUsers(c *call) (any, error) {
	list := rowsOf(len(s.users))
	for _, u := range s.users {
		_, realm, _ := strings.Cut(u.ID, "@")
		if c.who.user != u.ID && !s.may(c.who, "/access/groups", "User.Modify", "Sys.Audit") {
			continue
		}
		row := object{"userid": u.ID, "enable": 1, "expire": 0, "realm-type": realm}
		if u.Comment != "" {
			row["comment"], row["email"] = u.Comment, ""
		}
		list = append(list, row)
	}
	return shuffled(list), nil
}

func (s *Server) listTokens(c *call) (any, error) {
	list := rowsOf(4)
	for _, u := range s.users {
		for _, t := range u.Tokens {
			if u.ID == c.get("userid") {
				list = append(list, object{"tokenid": t.Name, "expire": t.Expire, "privsep": flag(t.Privsep)})
			}
		}
	}
	return shuffled(list), nil
}

func (s *Server) listACL(c *call) (any, error) {
	list := rowsOf(len(s.acl))
	if !s.may(c.who, "/access", "Sys.Audit", "Permissions.Modify") {
		return list, nil
	}
	for _, a := range s.acl {
		kind := "user"
		if strings.Contains(a.Who, "!") {
			kind = "token"
		}
		list = append(list, object{"path": a.Path, "ugid": a.Who, "roleid": a.Role, "type": kind, "propagate": flag(!a.NoPropagate)})
	}
	return shuffled(list), nil
}

// ticket is POST /access/ticket.
func (s *Server) ticket(c *call) (any, error) {
	for _, u := range s.users {
		if u.ID == c.get("username") && u.Password != "" && u.Password == c.get("password") {
			return object{"username": u.ID, "ticket": "PVE:" + u.ID + ":" + s.secret(), "CSRFPreventionToken": s.secret()}, nil
		}
	}
	return nil, &failure{status: 401, text: "authentication failure\n"}
}

func flag(b bool) int {
	if b {
		return 1
	}
	return 0
}
