package pg

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"github.com/jackc/pgx/v5"
)

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

// IsBefore says whether a database is what was live before a swap.
func IsBefore(database string) bool {
	found := leftover.FindStringSubmatch(database)
	return found != nil && found[1] == "before"
}

// DropText is the statement that drops a database.
func DropText(database string) string { return "DROP DATABASE " + quote(database) }

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
	sql := "CREATE DATABASE " + quote(into) + " WITH TEMPLATE template0" + localeOptions(d, majorOf(conn.PgConn().ParameterStatus("server_version")))
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

// localeOptions make a database sort as the dumped one did, as far as a server of a
// major version can. The provider is always named: template0 may have another.
func localeOptions(d DumpedDatabase, major int) string {
	text := " ENCODING " + literal(d.Encoding) + " LC_COLLATE " + literal(d.Collate) + " LC_CTYPE " + literal(d.CType)
	switch {
	case major < 15: // it has libc only
	case d.Provider == "icu":
		text += " LOCALE_PROVIDER icu ICU_LOCALE " + literal(d.ICULocale)
		if d.ICURules != "" && major >= 16 {
			text += " ICU_RULES " + literal(d.ICURules)
		}
	case d.Provider == "builtin" && major >= 17:
		text += " LOCALE_PROVIDER builtin BUILTIN_LOCALE " + literal(d.ICULocale)
	default:
		text += " LOCALE_PROVIDER libc"
	}
	return text
}

// literal quotes a string for SQL.
func literal(text string) string {
	quoted := "'" + strings.ReplaceAll(text, "'", "''") + "'"
	if strings.Contains(text, `\`) {
		return " E" + strings.ReplaceAll(quoted, `\`, `\\`)
	}
	return quoted
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

var createOptions = regexp.MustCompile(`(?s)^CREATE DATABASE .*? WITH TEMPLATE = template0(.*?)(?: TABLESPACE = (?:"[^"]+"|\S+))?;$`)

// newerOptions are those that pg_dump writes and servers before a major version do
// not know: these then make the database as libc has it.
var newerOptions = []struct {
	since  int
	option *regexp.Regexp
}{
	{17, regexp.MustCompile(` LOCALE_PROVIDER = builtin\b| BUILTIN_LOCALE = '(?:[^']|'')*'`)},
	{16, regexp.MustCompile(` ICU_RULES = '(?:[^']|'')*'`)},
	{15, regexp.MustCompile(` LOCALE_PROVIDER = \w+| ICU_LOCALE = '(?:[^']|'')*'`)},
}

// localeOption is of 13 and later.
var localeOption = regexp.MustCompile(` LOCALE = ('(?:[^']|'')*')`)

// createStatement is the statement that made the database, for another name and a
// server of a major version; empty where the dump does not tell.
func (f *foreignDump) createStatement(into string, major int) string {
	for _, s := range f.script.Statements {
		if m := createOptions.FindStringSubmatch(s); m != nil {
			for _, n := range newerOptions {
				if major < n.since {
					m[1] = n.option.ReplaceAllString(m[1], "")
				}
			}
			if major < 13 {
				m[1] = localeOption.ReplaceAllString(m[1], " LC_COLLATE = $1 LC_CTYPE = $1")
			}
			return "CREATE DATABASE " + quote(into) + " WITH TEMPLATE = template0" + m[1]
		}
	}
	return ""
}
