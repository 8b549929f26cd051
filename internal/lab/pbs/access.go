package pbs

import (
	"net/http"
	"strings"
)

// roles are the privileges of the built-in roles that the lab needs.
var roles = map[string][]string{
	"NoAccess":               {},
	"DatastoreAudit":         {"Datastore.Audit"},
	"DatastoreReader":        {"Datastore.Audit", "Datastore.Read"},
	"DatastoreBackup":        {"Datastore.Backup"},
	"DatastorePowerUser":     {"Datastore.Backup", "Datastore.Prune"},
	"DatastoreAdmin":         {"Datastore.Audit", "Datastore.Backup", "Datastore.Modify", "Datastore.Prune", "Datastore.Read", "Datastore.Verify"},
	"RemoteAudit":            {"Remote.Audit"},
	"RemoteSyncOperator":     {"Remote.Audit", "Remote.Read"},
	"RemoteAdmin":            {"Remote.Audit", "Remote.Modify", "Remote.Read"},
	"RemoteSyncPushOperator": {"Remote.Audit", "Remote.DatastoreBackup"},
	"Audit":                  {"Datastore.Audit", "Permissions.Modify", "Remote.Audit", "Sys.Audit"},
	"Admin": {"Datastore.Allocate", "Datastore.Audit", "Datastore.Backup", "Datastore.Modify", "Datastore.Prune", "Datastore.Read",
		"Datastore.Verify", "Permissions.Modify", "Realm.Allocate", "Remote.Audit", "Remote.DatastoreBackup", "Remote.Modify", "Remote.Read",
		"Sys.Audit", "Sys.Console", "Sys.Modify", "Sys.PowerManagement"},
}

// authenticate returns the token that an Authorization header names.
func (w *World) authenticate(header string) (string, error) {
	rest, ok := strings.CutPrefix(header, "PBSAPIToken=")
	if !ok {
		if rest, ok = strings.CutPrefix(header, "PBSAPIToken "); !ok {
			return "", refuse(http.StatusUnauthorized, "authentication failed - no authentication credentials provided.")
		}
	}
	id, secret, ok := strings.Cut(rest, ":")
	for _, t := range w.Tokens {
		if ok && t.ID == id && t.Secret == secret {
			return id, nil
		}
	}
	return "", refuse(http.StatusUnauthorized, "authentication failed")
}

// privileges returns what auth may do on path, each with whether it counts
// below path too: for a token the intersection with its user.
func (w *World) privileges(auth, path string) map[string]bool {
	user, _, isToken := strings.Cut(auth, "!")
	var of map[string]bool
	if user == "root@pam" {
		of = collect([]Grant{{Path: "/", Role: "Admin"}}, path)
	}
	for _, u := range w.Users {
		if u.ID == user && of == nil {
			of = collect(u.ACL, path)
		}
	}
	if !isToken {
		return of
	}
	both := map[string]bool{}
	for _, t := range w.Tokens {
		if t.ID != auth {
			continue
		}
		for p, below := range collect(t.ACL, path) {
			if userBelow, has := of[p]; has {
				both[p] = below && userBelow
			}
		}
	}
	return both
}

// collect walks from the root to path; the grants of a deeper level replace
// those that come from above.
func collect(acl []Grant, path string) map[string]bool {
	privileges := map[string]bool{}
	parts := split(path)
	for depth := 0; depth <= len(parts); depth++ {
		here := "/" + strings.Join(parts[:depth], "/")
		leaf := depth == len(parts)
		var found map[string]bool
		for _, g := range acl {
			if strings.TrimRight("/"+strings.Trim(g.Path, "/"), "/") != strings.TrimRight(here, "/") || g.NoPropagate && !leaf {
				continue
			}
			if found == nil {
				found = map[string]bool{}
			}
			for _, p := range roles[g.Role] {
				found[p] = found[p] || !g.NoPropagate
			}
		}
		if found != nil {
			privileges = found
		}
	}
	return privileges
}

func split(path string) []string {
	return strings.FieldsFunc(path, func(r rune) bool { return r == '/' })
}

// may says whether the caller has one of the privileges on path.
func (c *call) may(path string, any ...string) bool {
	have := c.privileges(c.auth, path)
	for _, p := range any {
		if _, ok := have[p]; ok {
			return true
		}
	}
	return false
}

// storePath is the path of a datastore or namespace in the access control list.
func storePath(store, ns string) string {
	if ns == "" {
		return "/datastore/" + store
	}
	return "/datastore/" + store + "/" + ns
}

// maySomewhere says whether the caller has one of the privileges on the store
// or on a namespace of it.
func (c *call) maySomewhere(d *Datastore, any ...string) bool {
	if c.may(storePath(d.Name, ""), any...) {
		return true
	}
	for _, ns := range d.Namespaces {
		if c.may(storePath(d.Name, ns), any...) {
			return true
		}
	}
	return false
}

// permissions lists the caller's privileges on every path that some list names.
func permissions(c *call) (any, error) {
	all := map[string]map[string]bool{}
	paths := map[string]bool{}
	if only, ok := c.params["path"]; ok {
		paths["/"+strings.Join(split(only), "/")] = true
	} else {
		c.everyPath(paths)
	}
	for path := range paths {
		if have := c.privileges(c.auth, path); len(have) > 0 {
			all[path] = have
		}
	}
	return all, nil
}

// everyPath adds the paths that grants name, and those above them.
func (w *World) everyPath(paths map[string]bool) {
	add := func(acl []Grant) {
		for _, g := range acl {
			parts := split(g.Path)
			for depth := 0; depth <= len(parts); depth++ {
				paths["/"+strings.Join(parts[:depth], "/")] = true
			}
		}
	}
	for _, u := range w.Users {
		add(u.ACL)
	}
	for _, t := range w.Tokens {
		add(t.ACL)
	}
}
