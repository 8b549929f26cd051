package pg

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"cairn/internal/backup"
	"cairn/internal/command"
)

// RestoreRequest says what is restored from where into which new database.
type RestoreRequest struct {
	Dump   string   // directory of a dump of ours
	Into   string   // the new database; it must carry the operation's id
	Schema string   // only this one; empty: all
	Table  []string // only the rows of these, SCHEMA.NAME or NAME, without their indexes; empty: all
}

// Whole says whether the request is for all of the dump.
func (r RestoreRequest) Whole() bool { return r.Schema == "" && len(r.Table) == 0 }

// longestIdentifier is PostgreSQL's NAMEDATALEN less one, in bytes; a build may
// have more, none has less.
const longestIdentifier = 63

// longestID is room for the id of any operation.
const longestID = 15

func sideName(database, word, operation string) string {
	room := longestIdentifier - len(word) - longestID
	for len(database) > room {
		database = strings.ToValidUTF8(database[:room], "") // not in the middle of a character
	}
	return database + word + operation
}

// BesideName is the database that an operation restores into, cut to what
// PostgreSQL allows; operation may be the placeholder of a plan.
func BesideName(database, operation string) string {
	return sideName(database, "_restore_", operation)
}

// BeforeName is what the live database is called after the swap.
func BeforeName(database, operation string) string { return sideName(database, "_before_", operation) }

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
// globals of the dump have them. Roles that are there stay as they are.
func (c *Client) CreateRoles(ctx context.Context, dump string) ([]string, error) {
	m, err := ReadDumpManifest(dump)
	if err != nil {
		return nil, err
	}
	missing, err := c.MissingRoles(ctx, m)
	if err != nil || len(missing) == 0 {
		return nil, err
	}
	text, err := readLimited(filepath.Join(dump, globalsFile), longestDumpManifest)
	if err != nil {
		return nil, fmt.Errorf("reading the globals: %w", err)
	}
	conn, err := c.server.connect(ctx, "")
	if err != nil {
		return nil, err
	}
	defer shut(ctx, conn)
	statements := roleStatements(string(text), missing)
	if len(statements) == 0 {
		return nil, fmt.Errorf("the globals of the dump do not create the missing roles %s: create them by hand", few(missing))
	}
	tx, err := conn.Begin(ctx)
	if err != nil {
		return nil, explain(targetOf(c.server.source, conn.Config()), c.server.scrub, err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }() // after a commit it does nothing
	for _, s := range statements {
		if _, err := tx.Exec(ctx, s, pgx.QueryExecModeSimpleProtocol); err != nil {
			// The statement may hold the verifier of a password: it is not cited.
			return nil, fmt.Errorf("creating the missing roles: %w", explain(targetOf(c.server.source, conn.Config()), c.server.scrub, err))
		}
	}
	return missing, tx.Commit(ctx)
}

// roleStatements picks from the globals what creates the given roles, gives them
// their attributes and settings, and makes them members of others. pg_dumpall
// writes each on a line.
func roleStatements(globals string, roles []string) []string {
	var all []string
	for line := range strings.SplitSeq(globals, "\n") {
		for _, role := range roles {
			names := []string{role, quote(role)}
			if slices.ContainsFunc(names, func(name string) bool {
				return line == "CREATE ROLE "+name+";" || strings.HasPrefix(line, "ALTER ROLE "+name+" WITH ") || strings.HasPrefix(line, "ALTER ROLE "+name+" SET ")
			}) {
				all = append(all, line)
			}
		}
	}
	return all
}

// Restore makes the new database and brings the dump into it. What an earlier try
// of the same operation left is dropped first. The text tells of errors that
// pg_restore passed over: whether they matter is for Validate to say.
func (c *Client) Restore(ctx context.Context, r RestoreRequest, w Work) (DumpManifest, string, error) {
	m, err := ReadDumpManifest(r.Dump)
	if err != nil {
		return m, "", err
	}
	if w.Operation == "" || !strings.HasSuffix(r.Into, w.Operation) {
		return m, "", fmt.Errorf("%q does not carry the operation's id: nothing was touched", r.Into)
	}
	if err := c.createBeside(ctx, m, r.Into); err != nil {
		return m, "", err
	}
	said, err := c.load(ctx, m, r, w)
	if err == nil {
		err = c.dressUp(ctx, m, r.Into)
	}
	if err != nil {
		// It carries our id and nobody uses it: what is half there only fills the disk.
		cleaning := context.WithoutCancel(ctx)
		if left := c.DropBeside(cleaning, r.Into, w.Operation); left != nil {
			err = fmt.Errorf("%w; the half of it that is there could not be dropped (%w): DROP DATABASE %s", err, left, quote(r.Into))
		}
		return m, said, fmt.Errorf("restoring %q beside, the live databases are as they were: %w", m.Database.Name, err)
	}
	return m, said, nil
}

// createBeside creates the empty database as the dumped one was.
func (c *Client) createBeside(ctx context.Context, m DumpManifest, into string) error {
	conn, err := c.server.connect(ctx, "")
	if err != nil {
		return err
	}
	defer shut(ctx, conn)
	d := m.Database
	sql := fmt.Sprintf("CREATE DATABASE %s WITH TEMPLATE template0 ENCODING %s LC_COLLATE %s LC_CTYPE %s", quote(into), literal(d.Encoding), literal(d.Collate), literal(d.CType))
	if d.Provider == "icu" {
		sql += " LOCALE_PROVIDER icu ICU_LOCALE " + literal(d.ICULocale)
	}
	var hasSpace, hasOwner bool
	err = conn.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_tablespace WHERE spcname = $1), EXISTS (SELECT FROM pg_roles WHERE rolname = $2)`, d.Tablespace, d.Owner).Scan(&hasSpace, &hasOwner)
	if hasSpace && d.Tablespace != "" && d.Tablespace != "pg_default" {
		sql += " TABLESPACE " + quote(d.Tablespace)
	}
	if hasOwner {
		sql += " OWNER " + quote(d.Owner)
	}
	for _, s := range []string{"DROP DATABASE IF EXISTS " + quote(into), sql} {
		if err == nil {
			_, err = conn.Exec(ctx, s, pgx.QueryExecModeSimpleProtocol)
		}
	}
	if err != nil {
		return fmt.Errorf("creating the database beside: %w", explain(targetOf(c.server.source, conn.Config()), c.server.scrub, err))
	}
	return nil
}

// literal quotes a string for SQL.
func literal(text string) string {
	quoted := "'" + strings.ReplaceAll(text, "'", "''") + "'"
	if strings.Contains(text, `\`) {
		return " E" + strings.ReplaceAll(quoted, `\`, `\\`)
	}
	return quoted
}

// load runs pg_restore and watches it.
func (c *Client) load(ctx context.Context, m DumpManifest, r RestoreRequest, w Work) (string, error) {
	conn, err := c.server.connect(ctx, "")
	if err != nil {
		return "", err
	}
	var num int
	err = conn.QueryRow(ctx, `SELECT current_setting('server_version_num')::int / 10000`).Scan(&num)
	shut(ctx, conn)
	if err != nil {
		return "", explain(targetOf(c.server.source, conn.Config()), c.server.scrub, err)
	}
	path, err := c.toolPath(ctx, "pg_restore", max(num, majorOf(m.Tool)), false)
	if err != nil {
		return "", err
	}
	tables := slices.DeleteFunc(slices.Clone(m.Tables), func(t DumpedTable) bool { return !r.takes(t) })
	track := newTracker(tables, func(t DumpedTable) int64 { return t.Rows }, "rows", w)
	limited, stop := context.WithCancel(ctx)
	defer stop()
	watched := c.watchCopies(limited, r.Into, w.application(), track)
	defer func() { stop(); <-watched }()
	var complaints []string
	for _, args := range r.passes() {
		said, err := c.pgRestore(limited, path, m, r, args, track, w)
		complaints = append(complaints, said...)
		if err != nil {
			return strings.Join(complaints, "; "), err
		}
	}
	return strings.Join(complaints, "; "), nil
}

// takes says whether the rows of a table are asked for.
func (r RestoreRequest) takes(t DumpedTable) bool {
	if r.Schema != "" && t.Schema != r.Schema {
		return false
	}
	return len(r.Table) == 0 || slices.Contains(r.Table, t.Name) || slices.Contains(r.Table, t.Schema+"."+t.Name)
}

// passes are the runs of pg_restore: one for all; for a part all definitions
// first, since a table may need types and functions from anywhere.
func (r RestoreRequest) passes() [][]string {
	if r.Whole() {
		return [][]string{nil}
	}
	var part []string
	if r.Schema != "" {
		part = append(part, "--schema="+r.Schema)
	}
	for _, t := range r.Table {
		if schema, name, ok := strings.Cut(t, "."); ok && r.Schema == "" {
			part = append(part, "--schema="+schema, "--table="+name)
		} else {
			part = append(part, "--table="+strings.TrimPrefix(t, r.Schema+"."))
		}
	}
	all := [][]string{{"--section=pre-data"}, append([]string{"--section=data"}, part...)}
	if len(r.Table) == 0 {
		all = append(all, append([]string{"--section=post-data"}, part...))
	}
	return all
}

const mostComplaints = 5

func (c *Client) pgRestore(ctx context.Context, path string, m DumpManifest, r RestoreRequest, args []string, track *tracker, w Work) ([]string, error) {
	a, err := c.server.access(ctx, r.Into, w.application())
	if err != nil {
		return nil, err
	}
	defer a.close()
	from := filepath.Join(r.Dump, dumpDirectory)
	if m.Format == "custom" {
		from = filepath.Join(r.Dump, dumpFile)
	}
	var complaints []string
	full := false
	spec := a.spec(w, append(append([]string{path, "--no-password", "--verbose", "--jobs=" + strconv.Itoa(c.jobs()), "--dbname=" + a.conninfo}, args...), from)...)
	spec.Stderr = func(line []byte) {
		text := string(line)
		if strings.Contains(text, "error:") && len(complaints) < mostComplaints {
			complaints = append(complaints, c.server.scrub(text))
		}
		full = full || strings.Contains(text, "No space left")
		track.line(line)
	}
	result, err := command.Run(ctx, spec)
	var exit *command.ExitError
	switch {
	case full:
		return complaints, errors.New("the server's disk is full: make room, then try again")
	case err == nil:
		return complaints, nil
	case errors.As(err, &exit) && exit.Code == 1 && strings.Contains(exit.Stderr, "errors ignored on restore"):
		return complaints, nil // it went on to the end
	}
	return complaints, c.server.toolError("pg_restore", result, err)
}

// dressUp gives the new database what pg_restore leaves to --create: settings,
// grants, comment and limit.
func (c *Client) dressUp(ctx context.Context, m DumpManifest, into string) error {
	conn, err := c.server.connect(ctx, "")
	if err != nil {
		return err
	}
	defer shut(ctx, conn)
	for _, s := range dressing(m.Database, into) {
		if _, err := conn.Exec(ctx, s, pgx.QueryExecModeSimpleProtocol); err != nil {
			return fmt.Errorf("bringing back its settings and grants: %w", explain(targetOf(c.server.source, conn.Config()), c.server.scrub, err))
		}
	}
	return nil
}

func dressing(d DumpedDatabase, into string) []string {
	name := quote(into)
	var all []string
	if !d.Defaults {
		all = append(all, "REVOKE ALL ON DATABASE "+name+" FROM PUBLIC")
	}
	for _, g := range d.Grants {
		to, option := "PUBLIC", ""
		if g.Role != "" {
			to = quote(g.Role)
		}
		if g.Grantable {
			option = " WITH GRANT OPTION"
		}
		all = append(all, "GRANT "+g.Privilege+" ON DATABASE "+name+" TO "+to+option)
	}
	for _, s := range d.Settings {
		begin := "ALTER DATABASE " + name
		if s.Role != "" {
			begin = "ALTER ROLE " + quote(s.Role) + " IN DATABASE " + name
		}
		all = append(all, begin+" SET "+settingName(s.Name)+" TO "+settingValue(s.Name, s.Value))
	}
	if d.Comment != "" {
		all = append(all, "COMMENT ON DATABASE "+name+" IS "+literal(d.Comment))
	}
	if d.Limit != -1 {
		all = append(all, "ALTER DATABASE "+name+" CONNECTION LIMIT "+strconv.Itoa(d.Limit))
	}
	return all
}

// settingName quotes the parts of "plugin.setting".
func settingName(name string) string { return pgx.Identifier(strings.Split(name, ".")).Sanitize() }

// listSettings hold a list of names, which are quoted one by one.
var listSettings = []string{"search_path", "temp_tablespaces", "local_preload_libraries", "session_preload_libraries", "shared_preload_libraries", "unix_socket_directories"}

func settingValue(name, value string) string {
	if !slices.Contains(listSettings, strings.ToLower(name)) {
		return literal(value)
	}
	var names []string
	for _, one := range splitList(value) {
		names = append(names, literal(one))
	}
	if len(names) == 0 {
		return "''"
	}
	return strings.Join(names, ", ")
}

// splitList takes `"$user", public` apart.
func splitList(value string) []string {
	var all []string
	var one strings.Builder
	quoted, was := false, false
	end := func() {
		if one.Len() > 0 || was {
			all = append(all, one.String())
		}
		one.Reset()
		was = false
	}
	for i := 0; i < len(value); i++ {
		switch ch := value[i]; {
		case ch == '"' && quoted && i+1 < len(value) && value[i+1] == '"':
			one.WriteByte('"')
			i++
		case ch == '"':
			quoted, was = !quoted, true
		case ch == ',' && !quoted:
			end()
		case ch == ' ' && !quoted:
		default:
			one.WriteByte(ch)
		}
	}
	end()
	return all
}

// DropBeside drops a database that an operation made beside the live ones. It
// refuses every name that does not carry the operation's id.
func (c *Client) DropBeside(ctx context.Context, name, operation string) error {
	if operation == "" || !strings.HasSuffix(name, "_restore_"+operation) {
		return fmt.Errorf("%q was not made by operation %s: it is not dropped", name, operation)
	}
	conn, err := c.server.connect(ctx, "")
	if err != nil {
		return err
	}
	defer shut(ctx, conn)
	force := ""
	var num int
	if err = conn.QueryRow(ctx, `SELECT current_setting('server_version_num')::int`).Scan(&num); err == nil && num >= 130000 {
		force = " WITH (FORCE)"
	}
	if err == nil {
		_, err = conn.Exec(ctx, "DROP DATABASE IF EXISTS "+quote(name)+force, pgx.QueryExecModeSimpleProtocol)
	}
	if err != nil {
		return explain(targetOf(c.server.source, conn.Config()), c.server.scrub, err)
	}
	return nil
}

// PickDump chooses the newest whole dump of ours of a database that accept takes.
func (f Facts) PickDump(database string, accept func(Dump) bool) (Dump, error) {
	torn := 0
	for _, d := range f.Dumps.Value {
		if d.Database != database || !d.Ours || !accept(d) {
			continue
		}
		if d.State == backup.Complete {
			return d, nil
		}
		torn++
	}
	if f.Dumps.Err != nil {
		return Dump{}, f.Dumps.Err
	}
	return Dump{}, fmt.Errorf("there is no whole dump of %q of ours to restore from (%d are torn or damaged): cairn copies lists what there is", database, torn)
}

// OpenDump takes the dump in a directory that a person names.
func OpenDump(dir string) (Dump, error) {
	if _, err := os.Stat(dir); err != nil {
		return Dump{}, fmt.Errorf("there is no dump: %w", err)
	}
	c := probeOurs(filepath.Clean(dir))
	d := Dump{Path: filepath.Clean(dir), Ours: true, State: c.state, Why: c.why, Database: c.database, Taken: c.created}
	if c.state != backup.Complete {
		return d, fmt.Errorf("the dump %s cannot be restored from: %s", dir, c.why)
	}
	d.Rows, d.Size = c.ours.Rows, c.ours.Bytes
	return d, nil
}
