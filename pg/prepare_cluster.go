package pg

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"cairn/internal/backup"
	"cairn/internal/plan"
)

// ClusterReady is what a plan to restore a whole server rests on.
type ClusterReady struct {
	Taken       []string        // databases whose names are taken in the server that is restored into
	Roles       []string        // that are missing there
	Tablespaces []string        // that are missing there
	Lacks       []*plan.Blocker // of each part: the right to give it to its owners; nil: it is there
	Preflight
}

// PrepareCluster looks whether dumps of several databases can be restored into
// this server now.
func (c *Client) PrepareCluster(ctx context.Context, parts []Part, globals string) (ClusterReady, error) {
	var out ClusterReady
	var err error
	if out.Server, err = c.server.readServer(ctx, c.now); err != nil {
		var why *Error
		if !errors.As(err, &why) {
			return out, err
		}
		out.block("server", why.Why, "start it, or make a new and empty one, and name it: --into \"host=… port=… user=… dbname=postgres\"")
		return out, nil
	}
	var need int64
	missing := map[string]bool{}
	for _, p := range parts {
		ready, err := c.PrepareRestore(ctx, p.Request)
		if err != nil {
			return out, err
		}
		need += ready.Manifest.Database.Bytes
		out.Lacks = append(out.Lacks, ready.Lacks)
		for _, b := range ready.Blockers {
			if !slices.Contains(out.Blockers, b) {
				out.Blockers = append(out.Blockers, b)
			}
		}
		for _, note := range ready.Notes {
			if !slices.Contains(out.Notes, note) {
				out.Notes = append(out.Notes, note)
			}
		}
		for _, role := range ready.Missing {
			missing[role] = true
		}
		if slices.ContainsFunc(out.Server.Databases, func(d Database) bool { return d.Name == p.Request.Database }) {
			out.Taken = append(out.Taken, p.Request.Database)
		}
	}
	out.Roles = sortedKeys(missing)
	if globals == "" {
		out.Notes = append(out.Notes, "There is no dump of the globals: roles, their passwords and memberships do not come back.")
	} else if g, err := readGlobals(ctx, globals); err != nil {
		return out, err
	} else if out.Tablespaces, err = c.missingTablespaces(ctx, g.tablespaces); err != nil {
		return out, err
	}
	if len(out.Tablespaces) > 0 {
		out.Notes = append(out.Notes, fmt.Sprintf("The server has no tablespaces %s: all goes to the default one. Make their directories and CREATE TABLESPACE first if they matter.", few(out.Tablespaces)))
	}
	if free, err := freeBytes(out.Server.DataDirectory); err == nil && free < need+need/5 {
		out.block(out.Server.DataDirectory, fmt.Sprintf("%s are free, and all databases together take about %s", backup.SizeText(free), backup.SizeText(need+need/5)), "make room on the server's disk first, or restore fewer")
	}
	return out, nil
}

// Globals is where the newest globals that accept takes are: with a dump of ours,
// or in a file of others; empty where there are none.
func (f Facts) Globals(accept func(Dump) bool) string {
	for _, d := range f.Dumps.Value {
		if accept(d) && d.State == backup.Complete && !d.Encrypted && (d.Ours || d.Globals || d.Cluster) {
			return d.Path
		}
	}
	return ""
}
