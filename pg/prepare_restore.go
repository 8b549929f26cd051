package pg

import (
	"context"
	"fmt"
	"os"
	"slices"

	"github.com/jackc/pgx/v5"

	"cairn/internal/backup"
	"cairn/internal/plan"
)

// RestoreReady is what a plan of a restore rests on.
type RestoreReady struct {
	Manifest DumpManifest
	Missing  []string      // roles that the server lacks
	Lacks    *plan.Blocker // the right to give what is restored to its owners; nil: it is there
	Preflight
}

// PrepareRestore looks whether a dump can be restored into a new database now.
func (c *Client) PrepareRestore(ctx context.Context, r RestoreRequest) (RestoreReady, error) {
	out := RestoreReady{}
	var err error
	if out.Manifest, err = c.describe(ctx, r.Dump, r.Database); err != nil {
		return out, err
	}
	m := out.Manifest
	if out.Server, err = c.server.readServer(ctx, c.now); err != nil {
		return out, err
	}
	if out.Server.InRecovery {
		out.block("server", "it is a standby: nothing can be restored into it", "restore into the primary, or promote it first")
	}
	if have := majorOf(out.Server.Version); have < majorOf(m.Server) {
		out.Notes = append(out.Notes, fmt.Sprintf("The dump is of PostgreSQL %s and the server of %s: something newer may not be understood.", m.Server, out.Server.Version))
	}
	major := max(majorOf(out.Server.Version), majorOf(m.Tool))
	if _, err := c.toolPath(ctx, "pg_restore", major, false); err != nil {
		out.block("pg_restore", err.Error(), "install the client programs of that version")
	}
	if out.Missing, err = c.MissingRoles(ctx, m); err != nil {
		return out, err
	}
	if !r.Whole() && m.Format == "plain" {
		out.Notes = append(out.Notes, "Plain SQL is restored as a whole: what was asked for is in it.")
	}
	if m.NoManifest() {
		out.Notes = append(out.Notes, "The dump has no manifest of ours: "+m.comparable()+".")
	}
	if len(out.Missing) > 0 && r.globals(m) == "" {
		out.Notes = append(out.Notes, fmt.Sprintf("The roles %s are missing, and the dump does not create them: what they own will be %s's; create them first, or name their dump with --globals.", few(out.Missing), out.Server.Role))
		out.Missing = nil
	}
	conn, err := c.server.connect(ctx, "")
	if err != nil {
		return out, err
	}
	defer shut(ctx, conn)
	err = out.rights(ctx, conn)
	if err == nil && r.Whole() {
		out.Lacks, err = c.lacks(ctx, conn, m, r.Dump, majorOf(out.Server.Version))
	}
	if err != nil {
		return out, explain(targetOf(c.server.source, conn.Config()), c.server.scrub, err)
	}
	// The server may be another host: then its disk cannot be seen from here.
	if info, err := os.Stat(out.Server.DataDirectory); err == nil && info.IsDir() {
		if free, err := freeBytes(out.Server.DataDirectory); err == nil && free < m.Database.Bytes+m.Database.Bytes/5 {
			out.block(out.Server.DataDirectory, fmt.Sprintf("%s are free, and the database beside takes about %s", backup.SizeText(free), backup.SizeText(m.Database.Bytes+m.Database.Bytes/5)), "make room on the server's disk first")
		}
	} else {
		out.Notes = append(out.Notes, "How much room the server's disk has cannot be seen from here: about "+backup.SizeText(m.Database.Bytes)+" are needed.")
	}
	return out, nil
}

// rights looks whether the role may create databases and roles, and whether the
// extensions can be had.
func (r *RestoreReady) rights(ctx context.Context, conn *pgx.Conn) error {
	var super, createDB, createRole bool
	if err := conn.QueryRow(ctx, `SELECT rolsuper, rolcreatedb, rolcreaterole FROM pg_roles WHERE rolname = current_user`).Scan(&super, &createDB, &createRole); err != nil {
		return err
	}
	role := quote(r.Server.Role)
	switch {
	case !super && !createDB:
		r.block("role "+r.Server.Role, "it may create no database", "ALTER ROLE "+role+" CREATEDB, or restore as a superuser")
	case !super && len(r.Missing) > 0 && !createRole:
		r.block("role "+r.Server.Role, "the dump needs roles that are missing ("+few(r.Missing)+") and it may create none", "create them, or restore as a superuser")
	}
	found, err := conn.Query(ctx, `SELECT e FROM unnest($1::text[]) e WHERE NOT EXISTS (SELECT FROM pg_available_extensions WHERE name = e)`, extensionNames(r.Manifest))
	if err != nil {
		return err
	}
	missing, err := pgx.CollectRows(found, pgx.RowTo[string])
	if err != nil {
		return err
	}
	if len(missing) > 0 {
		r.block("extensions", "the dump needs "+few(missing)+", which the server does not have", "install their packages on the server")
	}
	return nil
}

// lacks looks whether the role may give what is restored to those who own it in the dump.
func (c *Client) lacks(ctx context.Context, conn *pgx.Conn, m DumpManifest, dump string, major int) (*plan.Blocker, error) {
	owners, err := c.owners(m, dump, major)
	if err != nil {
		return nil, err
	}
	owner, err := ownerOfDump(ctx, conn, m)
	if err != nil {
		return nil, err
	}
	if owner != "" && !slices.Contains(owners, owner) {
		owners = append(slices.Clone(owners), owner)
	}
	return unowned(ctx, conn, owners)
}

func extensionNames(m DumpManifest) []string {
	names := []string{}
	for _, e := range m.Extensions {
		names = append(names, e.Name)
	}
	return names
}

// comparable says what a restore of a dump without a manifest can be compared with.
func (m DumpManifest) comparable() string {
	if m.Counted() {
		return "what is restored can only be compared with the rows that it holds itself, not with what the database had"
	}
	return "rows cannot be compared, only that its tables are there"
}
