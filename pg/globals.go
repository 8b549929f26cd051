package pg

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// MissingRoles returns the roles that a dump needs and the server has not.
func (c *Client) MissingRoles(ctx context.Context, m DumpManifest) ([]string, error) {
	conn, err := c.server.connect(ctx, "")
	if err != nil {
		return nil, err
	}
	defer shut(ctx, conn)
	found, err := conn.Query(ctx, `SELECT r FROM unnest($1::text[]) r WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = r) ORDER BY 1`, m.Roles)
	var missing []string
	if err == nil {
		missing, err = pgx.CollectRows(found, pgx.RowTo[string])
	}
	if err != nil {
		return nil, explain(targetOf(c.server.source, conn.Config()), c.server.scrub, err)
	}
	return missing, nil
}

// CreateRoles creates the roles that a dump needs and the server has not, as the
// globals that belong to it have them. Roles that are there stay as they are.
func (c *Client) CreateRoles(ctx context.Context, r RestoreRequest) ([]string, error) {
	m, err := c.describe(ctx, r.Dump, r.Database)
	if err != nil {
		return nil, err
	}
	missing, err := c.MissingRoles(ctx, m)
	if err != nil || len(missing) == 0 || r.globals(m) == "" {
		return nil, err
	}
	g, err := readGlobals(ctx, r.globals(m))
	if err != nil {
		return nil, err
	}
	more, err := c.MissingRoles(ctx, DumpManifest{Roles: g.withGroups(missing)})
	if err != nil {
		return nil, err
	}
	made := slices.DeleteFunc(more, func(role string) bool { return !slices.Contains(g.roles, role) })
	if len(made) == 0 {
		return nil, fmt.Errorf("the globals of the dump do not create the missing roles %s: create them by hand", few(missing))
	}
	return made, c.createRoles(ctx, g, made)
}

// CreateAllRoles creates every role of the globals at path that the server has
// not, with its attributes, settings and memberships, and returns the tablespaces
// that it lacks: their directories are for a person to make.
func (c *Client) CreateAllRoles(ctx context.Context, path string) (made, spaces []string, err error) {
	g, err := readGlobals(ctx, path)
	if err != nil {
		return nil, nil, err
	}
	if made, err = c.MissingRoles(ctx, DumpManifest{Roles: g.roles}); err == nil && len(made) > 0 {
		err = c.createRoles(ctx, g, made)
	}
	if err != nil {
		return nil, nil, err
	}
	spaces, err = c.missingTablespaces(ctx, g.tablespaces)
	return made, spaces, err
}

// createRoles creates roles that the server has not. Memberships in others that it
// has not either (one of those that a newer version comes with) are left out.
func (c *Client) createRoles(ctx context.Context, g globals, roles []string) error {
	absent, err := c.MissingRoles(ctx, DumpManifest{Roles: g.withGroups(roles)})
	if err != nil {
		return err
	}
	absent = slices.DeleteFunc(absent, func(role string) bool { return slices.Contains(g.roles, role) })
	conn, err := c.server.connect(ctx, "")
	if err != nil {
		return err
	}
	defer shut(ctx, conn)
	tx, err := conn.Begin(ctx)
	if err != nil {
		return explain(targetOf(c.server.source, conn.Config()), c.server.scrub, err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }() // after a commit it does nothing
	for _, s := range g.statements(roles, absent, majorOf(conn.PgConn().ParameterStatus("server_version"))) {
		if _, err := tx.Exec(ctx, s, pgx.QueryExecModeSimpleProtocol); err != nil {
			// The statement may hold the verifier of a password: it is not cited.
			return fmt.Errorf("creating the missing roles: %w", explain(targetOf(c.server.source, conn.Config()), c.server.scrub, err))
		}
	}
	return tx.Commit(ctx)
}

func (c *Client) missingTablespaces(ctx context.Context, names []string) ([]string, error) {
	if len(names) == 0 {
		return nil, nil
	}
	conn, err := c.server.connect(ctx, "")
	if err != nil {
		return nil, err
	}
	defer shut(ctx, conn)
	found, err := conn.Query(ctx, `SELECT t FROM unnest($1::text[]) t WHERE NOT EXISTS (SELECT FROM pg_tablespace WHERE spcname = t) ORDER BY 1`, names)
	var missing []string
	if err == nil {
		missing, err = pgx.CollectRows(found, pgx.RowTo[string])
	}
	if err != nil {
		return nil, explain(targetOf(c.server.source, conn.Config()), c.server.scrub, err)
	}
	return missing, nil
}

// globals is where the roles of a dump are: beside it, in it, or in a file that
// was named; empty where there is none.
func (r RestoreRequest) globals(m DumpManifest) string {
	switch {
	case r.Globals != "":
		return r.Globals
	case m.foreign == nil:
		return r.Dump
	case m.foreign.cluster:
		return r.Dump
	}
	return ""
}

// globals are the statements of pg_dumpall --globals-only, or of the begin of a
// dump of pg_dumpall: it writes each on a line.
type globals struct {
	lines       []string
	roles       []string
	tablespaces []string
}

var (
	createRole  = regexp.MustCompile(`^CREATE ROLE ("(?:[^"]|"")*"|[^ ;]+);$`)
	alterRole   = regexp.MustCompile(`^ALTER ROLE ("(?:[^"]|"")*"|[^ ;]+) (?:WITH|SET) .*;$`)
	grantRole   = regexp.MustCompile(`^(GRANT ("(?:[^"]|"")*"|[^ ;]+) TO ("(?:[^"]|"")*"|[^ ;]+)( WITH [A-Z ,]*?)?)(?: GRANTED BY .*)?;$`)
	createSpace = regexp.MustCompile(`^CREATE TABLESPACE ("(?:[^"]|"")*"|[^ ;]+) OWNER `)
)

// readGlobals reads them from a dump of ours, or from a file.
func readGlobals(ctx context.Context, path string) (globals, error) {
	var g globals
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		path = filepath.Join(path, globalsFile)
	}
	r, err := openPacked(ctx, path, parseDumpName(filepath.Base(path), time.UTC).Packed)
	if err != nil {
		return g, fmt.Errorf("reading the globals: %w", err)
	}
	defer r.Close()
	lines := bufio.NewScanner(io.LimitReader(&boundReader{ctx, r}, longestDumpManifest))
	lines.Buffer(nil, longestStatement)
	for lines.Scan() {
		line := lines.Text()
		if strings.HasPrefix(line, `\connect `) {
			break // the databases begin
		}
		g.take(line)
	}
	if err := lines.Err(); err != nil {
		return g, fmt.Errorf("reading the globals of %s: %w", path, err)
	}
	return g, nil
}

func (g *globals) take(line string) {
	if m := createRole.FindStringSubmatch(line); m != nil {
		g.roles = append(g.roles, unquoted(m[1]))
	}
	if m := createSpace.FindStringSubmatch(line); m != nil {
		g.tablespaces = append(g.tablespaces, unquoted(m[1]))
	}
	g.lines = append(g.lines, line)
}

// withGroups adds the roles that those are members of, and so on.
func (g *globals) withGroups(roles []string) []string {
	all := slices.Clone(roles)
	for i := 0; i < len(all); i++ { // it grows
		for _, line := range g.lines {
			if m := grantRole.FindStringSubmatch(line); m != nil && unquoted(m[3]) == all[i] && !slices.Contains(all, unquoted(m[2])) {
				all = append(all, unquoted(m[2]))
			}
		}
	}
	return all
}

// memberOptions are those of a membership that servers before 16 do not know.
var memberOptions = regexp.MustCompile(`(?:, | WITH )?(?:INHERIT|SET) (?:TRUE|FALSE|OPTION)`)

// statements creates the given roles, gives them their attributes and settings,
// and makes them members of others but those that are absent, last, as a server of
// a major version knows memberships. Who granted one is left out: that one may be
// nobody here.
func (g *globals) statements(roles, absent []string, major int) []string {
	var all, members []string
	for _, line := range g.lines {
		if m := grantRole.FindStringSubmatch(line); m != nil && slices.Contains(roles, unquoted(m[3])) {
			if major < 16 {
				m[1] = strings.TrimSuffix(m[1], m[4]) + memberOptions.ReplaceAllString(m[4], "")
			}
			if !slices.Contains(absent, unquoted(m[2])) {
				members = append(members, m[1])
			}
			continue
		}
		for _, form := range []*regexp.Regexp{createRole, alterRole} {
			if m := form.FindStringSubmatch(line); m != nil && slices.Contains(roles, unquoted(m[1])) {
				all = append(all, line)
			}
		}
	}
	return append(all, members...)
}
