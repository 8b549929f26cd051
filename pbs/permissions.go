package pbs

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

// The privileges that a survey needs.
const (
	datastoreAudit = "Datastore.Audit"
	remoteAudit    = "Remote.Audit"
	sysAudit       = "Sys.Audit"
)

// permissions are the effective privileges of a token: those of the token and
// of its user both. By path, then by privilege, whether it propagates.
type permissions map[string]map[string]flag

// on returns whether privilege holds on path, and whether below it too. PBS
// lists the paths that carry an entry; the others inherit what propagates.
func (p permissions) on(path, privilege string) (here, below bool) {
	for at := path; ; {
		if listed, ok := p[at]; ok {
			propagates, has := listed[privilege]
			return has && (at == path || bool(propagates)), has && bool(propagates)
		}
		if at == "/" {
			return false, false
		}
		at = at[:strings.LastIndexByte(at, '/')]
		if at == "" {
			at = "/"
		}
	}
}

// within says whether privilege holds on any path below path.
func (p permissions) within(path, privilege string) bool {
	for at, listed := range p {
		if _, has := listed[privilege]; has && strings.HasPrefix(at, path+"/") {
			return true
		}
	}
	return false
}

// permissions reads what the token may see, and the server's clock on the way.
func (c *Client) permissions(ctx context.Context) (p permissions, serverTime time.Time, skew time.Duration, err error) {
	asked := c.now()
	err = c.do(ctx, request{what: "reading the permissions of token " + c.cfg.TokenID, path: "/access/permissions"},
		func(h http.Header, r io.Reader) (err error) {
			if at, err := http.ParseTime(h.Get("Date")); err == nil {
				middle := asked.Add(c.now().Sub(asked) / 2)
				serverTime, skew = at.UTC(), at.Sub(middle).Truncate(time.Second)
			}
			p, err = decodeValue[permissions](r)
			return err
		})
	return p, serverTime, skew, err
}

// missing says exactly which privilege is missing on which path, for whom.
func (c *Client) missing(privilege, path string) error {
	user, _, _ := strings.Cut(c.cfg.TokenID, "!")
	return &Error{
		Call: c.call(request{what: "surveying datastore " + c.cfg.Datastore}),
		Text: fmt.Sprintf("%s on %s is missing, and without it PBS answers with empty lists", privilege, path),
		Hint: fmt.Sprintf("give it to both the user and the token: `proxmox-backup-manager acl update %s DatastoreAudit --auth-id '%s'`, and the same with --auth-id '%s'",
			path, user, c.cfg.TokenID),
	}
}

// hidden lists what the privileges keep from a survey of the datastore.
func (c *Client) hidden(p permissions) []Hidden {
	var all []Hidden
	store := "/datastore/" + c.cfg.Datastore
	here, below := p.on(store, datastoreAudit)
	if !here {
		all = append(all, Hidden{"the datastore's root namespace, its usage, jobs and garbage collection", store, datastoreAudit})
	}
	if here && !below {
		all = append(all, Hidden{"the namespaces of the datastore", store, datastoreAudit + " (propagated)"})
	}
	if remote, _ := p.on("/remote", remoteAudit); !remote {
		all = append(all, Hidden{"the sync jobs", "/remote", remoteAudit})
	}
	if tasks, _ := p.on("/system/tasks", sysAudit); !tasks {
		all = append(all, Hidden{"the tasks of others", "/system/tasks", sysAudit})
	}
	return all
}

// names lists the datastores of rows, sorted, for an error.
func names(stores map[string]store) string {
	if len(stores) == 0 {
		return "none"
	}
	return strings.Join(slices.Sorted(maps.Keys(stores)), ", ")
}
