package pg

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"cairn/internal/command"
	"cairn/internal/plan"
)

// rightLine is a statement of a dump that says whose something is, or who may use it.
var rightLine = regexp.MustCompile(`^(?:ALTER .+ OWNER TO .+|GRANT .+ TO .+|REVOKE .+ FROM .+|ALTER DEFAULT PRIVILEGES .+);$`)

// LostRights tells which owners and grants of a dump the database that was
// restored from it lacks, each as the statement that would bring it back. The
// names of the roles that should own something are beside them.
func (c *Client) LostRights(ctx context.Context, r RestoreRequest, w Work) (lost, owners []string, err error) {
	m, err := c.describe(ctx, r.Dump, r.Database)
	if err != nil || !r.Whole() {
		return nil, nil, err
	}
	then, err := c.dumpedRights(ctx, m, r)
	if err != nil {
		return nil, nil, fmt.Errorf("reading owners and grants of the dump: %w", err)
	}
	now, err := c.rightsOf(ctx, r.Into, w)
	if err != nil {
		return nil, nil, fmt.Errorf("reading owners and grants of %q: %w", r.Into, err)
	}
	lost = lostRights(then.Rights, now.Rights, majorOf(m.Server) == majorOf(now.Version))
	conn, err := c.server.connect(ctx, "")
	if err != nil {
		return lost, nil, err
	}
	defer shut(ctx, conn)
	owner, err := ownerOfDump(ctx, conn, m)
	is := ""
	if err == nil {
		err = conn.QueryRow(ctx, `SELECT pg_get_userbyid(datdba)::text FROM pg_database WHERE datname = $1`, r.Into).Scan(&is)
	}
	if err != nil {
		return lost, nil, explain(targetOf(c.server.source, conn.Config()), c.server.scrub, err)
	}
	if owner != "" && owner != is {
		lost = append(lost, "ALTER DATABASE "+quote(r.Into)+" OWNER TO "+quote(owner)+";")
	}
	for _, s := range lost {
		if found := ownerLine.FindStringSubmatch(s); found != nil && !slices.Contains(owners, unquoted(found[1])) {
			owners = append(owners, unquoted(found[1]))
		}
	}
	return lost, owners, nil
}

// lostRights are those of then that are not in now. Versions of pg_dump name the
// kind of what is owned in different ways (ALTER TABLE of a view, since 17 ALTER
// VIEW), and versions of the server have other grants: then these are not compared.
func lostRights(then, now []string, sameVersion bool) []string {
	key := func(s string) string {
		what, owner, ok := strings.Cut(strings.TrimPrefix(s, "ALTER "), " OWNER TO ")
		switch {
		case !ok && sameVersion:
			return s
		case !ok:
			return ""
		}
		for { // TABLE, MATERIALIZED VIEW: words of the kind
			word, rest, more := strings.Cut(what, " ")
			if !more || strings.ToUpper(word) != word || strings.HasPrefix(word, `"`) {
				return what + " " + owner
			}
			what = rest
		}
	}
	have := map[string]bool{"": true}
	for _, s := range now {
		have[key(s)] = true
	}
	var lost []string
	for _, s := range then {
		if !have[key(s)] && !slices.Contains(lost, s) {
			lost = append(lost, s)
		}
	}
	return lost
}

// dumpedRights reads what a dump says of owners and grants.
func (c *Client) dumpedRights(ctx context.Context, m DumpManifest, r RestoreRequest) (scriptFacts, error) {
	switch {
	case m.foreign != nil && m.foreign.format != "plain":
		return m.foreign.script, nil
	case m.foreign != nil:
		want := ""
		if m.foreign.cluster {
			want = r.Database
		}
		from, err := m.foreign.open(ctx)
		if err != nil {
			return scriptFacts{}, err
		}
		defer from.Close()
		return readScript(&boundReader{ctx, from}, want, io.Discard, false)
	}
	path, err := c.toolPath(ctx, "pg_restore", majorOf(m.Tool), false)
	if err != nil {
		return scriptFacts{}, err
	}
	return c.readSchema(ctx, "pg_restore", command.Spec{Argv: []string{path, "--schema-only", "--file=-", m.archive(r.Dump)}, Dir: "/"})
}

// rightsOf reads owners and grants of a database, as a dump would have them.
func (c *Client) rightsOf(ctx context.Context, database string, w Work) (scriptFacts, error) {
	server, err := c.server.readServer(ctx, c.now)
	if err != nil {
		return scriptFacts{}, err
	}
	path, err := c.toolPath(ctx, "pg_dump", majorOf(server.Version), false)
	if err != nil {
		return scriptFacts{}, err
	}
	a, err := c.server.access(ctx, database, w.application())
	if err != nil {
		return scriptFacts{}, err
	}
	defer a.close()
	return c.readSchema(ctx, "pg_dump", a.spec(w, path, "--no-password", "--schema-only", "--dbname="+a.conninfo))
}

// readSchema runs a program that writes definitions as SQL, and reads them.
func (c *Client) readSchema(ctx context.Context, program string, spec command.Spec) (facts scriptFacts, err error) {
	r, w := io.Pipe()
	var told error
	done := async(func() {
		facts, told = readScript(r, "", io.Discard, false)
		_ = r.CloseWithError(told) // it always returns nil
	})
	spec.Raw = w
	result, err := command.Run(ctx, spec)
	_ = w.Close() // it always returns nil
	<-done
	if err != nil {
		return facts, c.server.toolError(program, result, err)
	}
	return facts, told
}

// archive is what pg_restore reads of a dump of ours in dir.
func (m DumpManifest) archive(dir string) string {
	if m.Format == "custom" {
		return filepath.Join(dir, dumpFile)
	}
	return filepath.Join(dir, dumpDirectory)
}

// ownerOfDump is whose the database is: as the dump says, else as the live one has it.
func ownerOfDump(ctx context.Context, conn *pgx.Conn, m DumpManifest) (owner string, err error) {
	if m.foreign == nil {
		return m.Database.Owner, nil
	}
	for _, s := range m.foreign.script.Statements {
		if found := ownerLine.FindStringSubmatch(s); found != nil && strings.HasPrefix(s, "ALTER DATABASE ") {
			return unquoted(found[1]), nil
		}
	}
	err = conn.QueryRow(ctx, `SELECT pg_get_userbyid(datdba)::text FROM pg_database WHERE datname = $1`, m.Database.Name).Scan(&owner)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", nil
	}
	return owner, err
}

// owners are the roles that own something in a dump, as far as it tells, and that a
// server of a major version would have to give it to.
func (c *Client) owners(m DumpManifest, dump string, major int) ([]string, error) {
	if m.foreign != nil {
		return withPublic(m.foreign.script.Owners, m.foreign.script.Public, major), nil
	}
	path := m.archive(dump)
	if m.Format != "custom" {
		path = filepath.Join(path, "toc.dat")
	}
	t, err := openTOC(path, c.zone)
	if err != nil {
		return nil, fmt.Errorf("reading whose things are in the dump: %w", err)
	}
	return withPublic(t.owners, t.public, major), nil
}

// withPublic adds whose the schema public is. Before version 15 every new database
// has it as it is dumped, the first superuser's; since then it is pg_database_owner's,
// which whoever makes a database is in it.
func withPublic(owners []string, public string, major int) []string {
	if public == "" || major < 15 || public == "pg_database_owner" || slices.Contains(owners, public) {
		return owners
	}
	return append(slices.Clone(owners), public)
}

// unowned finds the roles to which the acting one cannot give what it restores: it
// would be its own then, and they could not use it. Nil: there are none.
// Giving away takes both SET ROLE and, for what follows on the same object, the
// inherited rights of the role.
func unowned(ctx context.Context, conn *pgx.Conn, owners []string) (*plan.Blocker, error) {
	found, err := conn.Query(ctx, `SELECT o::text, current_user::text FROM unnest($1::text[]) o LEFT JOIN pg_roles r ON r.rolname = o
		WHERE NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
		  AND (r.oid IS NULL OR NOT pg_has_role(r.oid, 'USAGE') OR NOT pg_has_role(r.oid, CASE WHEN current_setting('server_version_num')::int >= 160000 THEN 'SET' ELSE 'MEMBER' END)) ORDER BY 1`, owners)
	if err != nil {
		return nil, err
	}
	var name, role string
	var names, quoted []string
	if _, err := pgx.ForEachRow(found, []any{&name, &role}, func() error {
		names, quoted = append(names, name), append(quoted, quote(name))
		return nil
	}); err != nil || len(names) == 0 {
		return nil, err
	}
	return &plan.Blocker{Subject: "role " + role, Why: fmt.Sprintf("it is no superuser and no member of %s: what these own in the dump would become %s's, and they could not use it", few(names), role),
		Hint: fmt.Sprintf("GRANT %s TO %s, or restore as a superuser", strings.Join(quoted, ", "), quote(role))}, nil
}

// MayOwn looks whether the acting role can give what is in a live database to
// those who own it there; nil: it can, or there is no such database.
func (c *Client) MayOwn(ctx context.Context, database string) (*plan.Blocker, error) {
	conn, err := c.server.connect(ctx, "")
	if err != nil {
		return nil, err
	}
	defer shut(ctx, conn)
	var owners []string
	found, err := conn.Query(ctx, `SELECT DISTINCT r.rolname::text FROM pg_database d JOIN pg_roles r ON r.oid = d.datdba OR EXISTS (SELECT FROM pg_shdepend s
		WHERE s.dbid = d.oid AND s.deptype = 'o' AND s.refclassid = 'pg_authid'::regclass AND s.refobjid = r.oid) WHERE d.datname = $1`, database)
	if err == nil {
		owners, err = pgx.CollectRows(found, pgx.RowTo[string])
	}
	var lacks *plan.Blocker
	if err == nil {
		lacks, err = unowned(ctx, conn, owners)
	}
	if err != nil {
		return nil, explain(targetOf(c.server.source, conn.Config()), c.server.scrub, err)
	}
	return lacks, nil
}
