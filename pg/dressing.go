package pg

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// dressUp gives the new database what pg_restore leaves to --create: settings,
// grants, comment and limit. What of it a dump without our manifest asks for in
// vain is returned, and settings that the server does not know.
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
		var server *pgconn.PgError
		newer := errors.As(err, &server) && server.Code == "42704" && strings.Contains(s, " SET ") // a setting that this server does not have
		if m.foreign == nil && !newer || conn.IsClosed() {
			return said, fmt.Errorf("bringing back its settings and grants: %w", why)
		}
		said = append(said, fmt.Sprintf("%s: %v", s, why))
	}
	return said, nil
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

// dressing is what the dump says of the database itself, for another name.
func (f *foreignDump) dressing(into string) []string {
	var all []string
	for _, s := range f.script.Statements {
		at, _, ok := statementDatabase(s)
		if !ok || strings.HasPrefix(s, "CREATE ") || strings.HasPrefix(s, "DROP ") {
			continue
		}
		all = append(all, s[:at[0]]+quote(into)+s[at[1]:])
	}
	return all
}
