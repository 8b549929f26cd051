package proxmox

import (
	"context"
	"encoding/json"
	"net/url"
	"strings"
)

// permissions are a token's effective privileges: path → privilege → whether it
// goes on to the paths below.
type permissions map[string]map[string]bool

// UnmarshalJSON reads the answer of /access/permissions.
func (p *permissions) UnmarshalJSON(raw []byte) error {
	paths, err := object[json.RawMessage](raw)
	if err != nil {
		return err
	}
	*p = permissions{}
	for path, each := range paths {
		privileges, err := object[flag](each)
		if err != nil {
			continue // no privilege is read from what makes no sense
		}
		(*p)[path] = map[string]bool{}
		for privilege, propagates := range privileges {
			(*p)[path][privilege] = bool(propagates)
		}
	}
	return nil
}

// has says whether the token has the privilege on path: by the entry of the path
// itself, else by what the nearest entry above hands down.
func (p permissions) has(path, privilege string) bool {
	if privileges, known := p[path]; known {
		_, granted := privileges[privilege]
		return granted
	}
	for path != "/" && path != "" {
		path = path[:max(strings.LastIndexByte(path, '/'), 0)]
		if path == "" {
			path = "/"
		}
		if privileges, known := p[path]; known {
			return privileges[privilege]
		}
	}
	return false
}

// Privileges returns what the acting token may do on path, such as "/vms/100".
func (c *Client) Privileges(ctx context.Context, path string) (map[string]bool, error) {
	var p permissions
	if err := c.acting.get(ctx, "/access/permissions?path="+url.QueryEscape(path), &p); err != nil {
		return nil, err
	}
	granted := map[string]bool{}
	for privilege := range p[path] {
		granted[privilege] = true
	}
	return granted, nil
}

// hides lists what the token's privileges keep from a survey. PVE answers 200
// and leaves rows out where one is missing, so nothing else would tell.
func (p permissions) hides(storages []Storage) []Hidden {
	var hidden []Hidden
	for _, need := range []Hidden{
		{"guests that the token was given no right on", "/vms", "VM.Audit"},
		{"storages that the token was given no right on", "/storage", "Datastore.Audit"},
		{"tasks of others, and with them most backup runs", "/nodes", "Sys.Audit"},
	} {
		if !p.has(need.Path, need.Privilege) {
			hidden = append(hidden, need)
		}
	}
	seen := map[string]bool{}
	for _, s := range storages {
		if s.archives() && s.Enabled && !seen[s.Name] {
			seen[s.Name] = true
			if path, privilege := p.lacksForBackups(s.Name); privilege != "" {
				hidden = append(hidden, Hidden{"backups on storage " + s.Name, path, privilege})
			}
		}
	}
	return hidden
}

// lacksForBackups names the privilege that is missing for seeing the backups on
// a storage: Datastore.Allocate, or Datastore.AllocateSpace with VM.Backup.
func (p permissions) lacksForBackups(storage string) (path, privilege string) {
	path = "/storage/" + storage
	switch {
	case p.has(path, "Datastore.Allocate"):
		return "", ""
	case !p.has(path, "Datastore.AllocateSpace"):
		return path, "Datastore.Allocate"
	case !p.has("/vms", "VM.Backup"):
		return "/vms", "VM.Backup"
	}
	return "", ""
}
