package pg

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"cairn/internal/backup"
	"cairn/internal/command"
)

// RestoreRequest says what is restored from where into which new database.
type RestoreRequest struct {
	Dump     string   // of ours, or any other that pg_dump or pg_dumpall made
	Database string   // which one of a dump of pg_dumpall
	Into     string   // the new database; it must carry the operation's id
	Schema   string   // only this one; empty: all
	Table    []string // only the rows of these, SCHEMA.NAME or NAME, without their indexes; empty: all
	Globals  string   // file or dump with the roles; empty: those of the dump, where it has any
	Jobs     int      // of pg_restore; 0: as configured
	Flat     bool     // into the default tablespace: the server lacks some of those that the dump knows
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

// leftover is a name that BesideName or BeforeName made.
var leftover = regexp.MustCompile(`_(restore|before)_[0-9]{8}-[0-9]+$`)

// IsLeftover says whether a database is what a restore of ours left beside a live
// one: what was restored and never swapped in, or what was live before a swap.
func IsLeftover(database string) bool { return leftover.MatchString(database) }

// DropText is the statement that drops a database.
func DropText(database string) string { return "DROP DATABASE " + quote(database) }

// IsBefore says whether a database is what was live before a swap.
func IsBefore(database string) bool {
	found := leftover.FindStringSubmatch(database)
	return found != nil && found[1] == "before"
}

// Restore makes the new database and brings the dump into it. What an earlier try
// of the same operation left is dropped first. The text tells of errors that
// pg_restore passed over: whether they matter is for Validate to say.
func (c *Client) Restore(ctx context.Context, r RestoreRequest, w Work) (DumpManifest, string, error) {
	m, err := c.describe(ctx, r.Dump, r.Database)
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
		var more []string
		more, err = c.dressUp(ctx, m, r.Into)
		said = strings.Join(append(more, nonEmpty(said)...), "; ")
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

// createBeside creates the empty database as the dumped one was. It belongs to its
// owner before anything comes into it: only then may that one own tables of the
// schema public. Where that is not permitted, comparing the rights tells.
func (c *Client) createBeside(ctx context.Context, m DumpManifest, into string) error {
	conn, err := c.server.connect(ctx, "")
	if err != nil {
		return err
	}
	defer shut(ctx, conn)
	if m.foreign != nil {
		err = c.createForeign(ctx, conn, m.foreign, into)
	} else {
		err = c.createOurs(ctx, conn, m.Database, into)
	}
	if err != nil {
		return err
	}
	owner, err := ownerOfDump(ctx, conn, m)
	if err == nil && owner != "" {
		if _, err := conn.Exec(ctx, "ALTER DATABASE "+quote(into)+" OWNER TO "+quote(owner), pgx.QueryExecModeSimpleProtocol); conn.IsClosed() {
			return err
		}
	}
	return err
}

func (c *Client) createOurs(ctx context.Context, conn *pgx.Conn, d DumpedDatabase, into string) error {
	sql := fmt.Sprintf("CREATE DATABASE %s WITH TEMPLATE template0 ENCODING %s LC_COLLATE %s LC_CTYPE %s", quote(into), literal(d.Encoding), literal(d.Collate), literal(d.CType))
	if d.Provider == "icu" {
		sql += " LOCALE_PROVIDER icu ICU_LOCALE " + literal(d.ICULocale)
	}
	var hasSpace bool
	err := conn.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_tablespace WHERE spcname = $1)`, d.Tablespace).Scan(&hasSpace)
	if hasSpace && d.Tablespace != "" && d.Tablespace != "pg_default" {
		sql += " TABLESPACE " + quote(d.Tablespace)
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
	if m.foreign != nil && m.foreign.format == "plain" {
		said, err := c.loadScript(ctx, m, r, w)
		return strings.Join(said, "; "), err
	}
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
	spec := a.spec(w, append([]string{path, "--no-password", "--verbose", "--dbname=" + a.conninfo}, args...)...)
	if r.Flat {
		spec.Argv = append(spec.Argv, "--no-tablespaces")
	}
	closeInput, err := m.feed(ctx, r, c.restoreJobs(), &spec)
	if err != nil {
		return nil, err
	}
	said := &complaints{scrub: c.server.scrub}
	spec.Stderr = func(line []byte) { said.line(line); track.line(line) }
	result, err := command.Run(ctx, spec)
	err = errors.Join(err, closeInput())
	var exit *command.ExitError
	switch {
	case said.full:
		return said.all(), errors.New("the server's disk is full: make room, then try again")
	case err == nil:
		return said.all(), nil
	case errors.As(err, &exit) && exit.Code == 1 && strings.Contains(exit.Stderr, "errors ignored on restore"):
		return said.all(), nil // it went on to the end
	}
	return said.all(), c.server.toolError("pg_restore", result, err)
}

// feed has pg_restore read the archive. One that is compressed as a whole, or in
// tar format, is read by one job.
func (m DumpManifest) feed(ctx context.Context, r RestoreRequest, jobs int, spec *command.Spec) (func() error, error) {
	if r.Jobs > 0 {
		jobs = r.Jobs
	}
	parallel := "--jobs=" + strconv.Itoa(jobs)
	switch {
	case m.foreign == nil && m.Format == "custom":
		spec.Argv = append(spec.Argv, parallel, filepath.Join(r.Dump, dumpFile))
	case m.foreign == nil:
		spec.Argv = append(spec.Argv, parallel, filepath.Join(r.Dump, dumpDirectory))
	case m.foreign.packed == "" && m.foreign.format != "tar":
		spec.Argv = append(spec.Argv, parallel, r.Dump)
	default:
		return m.foreign.feed(ctx, spec)
	}
	return func() error { return nil }, nil
}

// dressUp gives the new database what pg_restore leaves to --create: settings,
// grants, comment and limit. What of it a dump without our manifest asks for in
// vain is returned.
func (c *Client) dressUp(ctx context.Context, m DumpManifest, into string) (said []string, err error) {
	conn, err := c.server.connect(ctx, "")
	if err != nil {
		return nil, err
	}
	defer shut(ctx, conn)
	all := dressing(m.Database, into)
	if m.foreign != nil {
		all = m.foreign.dressing(into)
	}
	for _, s := range all {
		_, err := conn.Exec(ctx, s, pgx.QueryExecModeSimpleProtocol)
		if err == nil {
			continue
		}
		why := explain(targetOf(c.server.source, conn.Config()), c.server.scrub, err)
		if m.foreign == nil || conn.IsClosed() {
			return said, fmt.Errorf("bringing back its settings and grants: %w", why)
		}
		said = append(said, fmt.Sprintf("%s: %v", s, why))
	}
	return said, nil
}

// createForeign creates the empty database as the dump says that it was, else as
// the server makes them.
func (c *Client) createForeign(ctx context.Context, conn *pgx.Conn, f *foreignDump, into string) error {
	create := f.createStatement(into, majorOf(conn.PgConn().ParameterStatus("server_version")))
	if create == "" {
		create = "CREATE DATABASE " + quote(into) + " WITH TEMPLATE template0"
	}
	for _, s := range []string{"DROP DATABASE IF EXISTS " + quote(into), create} {
		if _, err := conn.Exec(ctx, s, pgx.QueryExecModeSimpleProtocol); err != nil {
			return fmt.Errorf("creating the database beside: %w", explain(targetOf(c.server.source, conn.Config()), c.server.scrub, err))
		}
	}
	return nil
}

func nonEmpty(text string) []string {
	if text == "" {
		return nil
	}
	return []string{text}
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

// PickDump chooses the newest whole dump of a database that accept takes: of ours
// where there is one, since only that can be compared; else of others. newer is a
// newer one without a manifest, if there is one.
func (f Facts) PickDump(database string, accept func(Dump) bool) (picked Dump, newer string, err error) {
	torn := 0
	var other Dump
	for _, d := range f.Dumps.Value {
		if d.Database != database && !d.Cluster || d.Globals || !accept(d) {
			continue
		}
		whole := d.State == backup.Complete && !d.Encrypted
		switch {
		case whole && d.Ours:
			return d, other.Path, nil
		case whole && other.Path == "":
			other = d
		case !whole:
			torn++
		}
	}
	if other.Path != "" {
		return other, "", nil
	}
	if f.Dumps.Err != nil {
		return Dump{}, "", f.Dumps.Err
	}
	return Dump{}, "", fmt.Errorf("there is no whole dump of %q to restore from (%d are torn, damaged or encrypted): cairn copies lists what there is", database, torn)
}

// OpenDump takes the dump that a person names: a directory of ours, or what
// pg_dump or pg_dumpall wrote. database is what is wanted of it.
func (c *Client) OpenDump(ctx context.Context, path, database string) (Dump, error) {
	path = filepath.Clean(path)
	if _, err := os.Stat(path); err != nil {
		return Dump{}, fmt.Errorf("there is no dump: %w", err)
	}
	if !IsOurs(path) {
		m, err := c.describe(ctx, path, database)
		return Dump{Path: path, Format: m.Format, Database: m.Database.Name, Taken: m.Started, Size: m.Bytes, Rows: -1, State: backup.Complete}, err
	}
	p := probeOurs(path)
	d := Dump{Path: path, Ours: true, State: p.state, Why: p.why, Database: p.database, Taken: p.created}
	if p.state != backup.Complete {
		return d, fmt.Errorf("the dump %s cannot be restored from: %s", path, p.why)
	}
	d.Rows, d.Size = p.ours.Rows, p.ours.Bytes
	return d, nil
}
