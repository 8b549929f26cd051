package pg

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sys/unix"

	"cairn/internal/backup"
	"cairn/internal/plan"
)

// Preflight is what a plan that makes copies rests on: a fresh look at the
// server and the directories, and what stands in the way.
type Preflight struct {
	Server   Server
	Names    []string         // the databases to dump
	Expected map[string]int64 // bytes that a dump of each is likely to take; "" for a base backup
	Blockers []plan.Blocker
	Unable   map[string][]plan.Blocker // what stands in the way of one database alone
	Notes    []string
}

// Able are the databases that nothing stands in the way of.
func (p Preflight) Able() []string {
	return slices.DeleteFunc(slices.Clone(p.Names), func(name string) bool { return len(p.Unable[name]) > 0 })
}

// PrepareDump looks whether databases can be dumped now. None: those of the
// configuration, else all that take connections.
func (c *Client) PrepareDump(ctx context.Context, only []string) (Preflight, error) {
	p := Preflight{Expected: map[string]int64{}, Unable: map[string][]plan.Blocker{}}
	if c.cfg.Dump == nil {
		return p, fmt.Errorf("postgres.%s has no dump: name its directory in the configuration", c.name)
	}
	var err error
	if p.Server, err = c.server.readServer(ctx, c.now); err != nil {
		return p, err
	}
	p.choose(only, c.cfg.Dump.Databases)
	for _, program := range []string{"pg_dump", "pg_dumpall"} {
		c.needTool(ctx, &p, program, false)
	}
	got := c.look(p.Names, p.Server.SegmentBytes)
	var need int64
	for _, name := range p.Names {
		n := expectedDump(got.dumps.Value, name, p.Server.Size(name))
		p.Expected[name] = n
		if len(p.Unable[name]) == 0 {
			need += n
			p.Unable[name] = c.mayDump(ctx, name)
		}
	}
	p.room(c.cfg.Dump.Dir, need)
	if !c.readsPasswords(ctx) {
		p.Notes = append(p.Notes, fmt.Sprintf("The globals come without the roles' passwords, which role %s may not read: a superuser or a member of pg_read_all_data may.", p.Server.Role))
	}
	return p, nil
}

// readsPasswords says whether the role may read the verifiers of passwords; that
// it cannot be asked says nothing.
func (c *Client) readsPasswords(ctx context.Context) bool {
	conn, err := c.server.connect(ctx, "")
	if err != nil {
		return true
	}
	defer shut(ctx, conn)
	may := true
	_ = conn.QueryRow(ctx, `SELECT has_table_privilege('pg_catalog.pg_authid', 'SELECT')`).Scan(&may) // not asked: true
	return may
}

// wantedSenders is what a base backup with streamed WAL takes.
const wantedSenders = 2

// PrepareBase looks whether a base backup can be taken now.
func (c *Client) PrepareBase(ctx context.Context) (Preflight, error) {
	p := Preflight{Expected: map[string]int64{}}
	if c.cfg.Base == nil {
		return p, fmt.Errorf("postgres.%s has no base: name its directory in the configuration", c.name)
	}
	var err error
	if p.Server, err = c.server.readServer(ctx, c.now); err != nil {
		return p, err
	}
	c.needTool(ctx, &p, "pg_basebackup", false)
	for _, d := range p.Server.Databases {
		p.Expected[""] += max(0, d.Bytes)
	}
	p.Expected[""] += 2 * max(p.Server.SegmentBytes, usualSegment)
	p.room(c.cfg.Base.Dir, p.Expected[""])
	conn, err := c.server.connect(ctx, "")
	if err != nil {
		return p, err
	}
	defer shut(ctx, conn)
	var may bool
	var senders, used int
	if err := conn.QueryRow(ctx, `SELECT rolsuper OR rolreplication, current_setting('max_wal_senders')::int, (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'walsender')
		FROM pg_roles WHERE rolname = current_user`).Scan(&may, &senders, &used); err != nil {
		return p, explain(targetOf(c.server.source, conn.Config()), c.server.scrub, err)
	}
	if !may {
		p.block("role "+p.Server.Role, "it has no right to replicate, which a base backup needs", "ALTER ROLE "+quote(p.Server.Role)+" REPLICATION, and a line for replication in pg_hba.conf")
	}
	if senders-used < wantedSenders {
		p.block("server", fmt.Sprintf("%d of its %d WAL senders are taken, and a base backup needs %d", used, senders, wantedSenders), "raise max_wal_senders, or end one that nobody needs")
	}
	return p, nil
}

func (p *Preflight) block(subject, why, hint string) {
	p.Blockers = append(p.Blockers, plan.Blocker{Subject: subject, Why: why, Hint: hint})
}

func (p *Preflight) choose(only, configured []string) {
	p.Names = only
	if len(only) == 0 {
		p.Names = configured
	}
	if len(p.Names) == 0 {
		for _, d := range p.Server.Databases {
			if d.AllowConn && !d.Template {
				p.Names = append(p.Names, d.Name)
			}
		}
	}
	for _, name := range p.Names {
		if !slices.ContainsFunc(p.Server.Databases, func(d Database) bool { return d.Name == name }) && len(p.Server.Databases) > 0 {
			p.Unable[name] = []plan.Blocker{{Subject: fmt.Sprintf("database %q", name), Why: "the server has none of that name", Hint: "correct dump.databases, or create it"}}
		}
	}
}

// Size is pg_database_size of a database; 0 where it is not known.
func (s Server) Size(database string) int64 {
	for _, d := range s.Databases {
		if d.Name == database {
			return max(0, d.Bytes)
		}
	}
	return 0
}

// expectedDump is the size of the newest whole dump and a fifth more; without
// one, all bytes of the database.
func expectedDump(dumps []Dump, name string, live int64) int64 {
	for _, d := range dumps {
		if d.Database == name && d.State == backup.Complete {
			return d.Size + d.Size/5
		}
	}
	return live
}

// look scans the directories anew.
func (c *Client) look(known []string, segment int64) found {
	c.survey.Lock()
	defer c.survey.Unlock()
	return c.scan(found{}, append(c.known(Server{}), known...), segment)
}

func (c *Client) needTool(ctx context.Context, p *Preflight, program string, exact bool) {
	if _, err := c.toolPath(ctx, program, majorOf(p.Server.Version), exact); err != nil {
		p.block(program, err.Error(), "install the client programs of the server's version")
	}
}

// room looks whether dir is there, can be written, and has room for need bytes.
func (p *Preflight) room(dir string, need int64) {
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		p.block(dir, "it is no directory, or cannot be reached", "plug its disk in and mount it, or create the directory")
		return
	}
	if err := unix.Access(dir, unix.W_OK); err != nil {
		p.block(dir, "it cannot be written: "+err.Error(), "see that its disk is mounted for writing and that the directory is ours")
		return
	}
	free, err := freeBytes(dir)
	if err != nil {
		p.block(dir, err.Error(), "see that its disk answers")
		return
	}
	if free < need {
		p.block(dir, fmt.Sprintf("%s are free, and %s are likely to be needed", backup.SizeText(free), backup.SizeText(need)), "make room first: cairn forget shows what the retention no longer holds")
	}
}

func freeBytes(dir string) (int64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, fmt.Errorf("how much room %s has is not known: %w", dir, err)
	}
	return int64(s.Bavail) * s.Bsize, nil
}

// mayDump tells what keeps the role from dumping one database in full.
func (c *Client) mayDump(ctx context.Context, database string) []plan.Blocker {
	subject := fmt.Sprintf("database %q", database)
	conn, err := c.server.connect(ctx, database)
	if err != nil {
		var why *Error
		if errors.As(err, &why) {
			return []plan.Blocker{{Subject: subject, Why: why.Why, Hint: why.Hint}}
		}
		return []plan.Blocker{{Subject: subject, Why: err.Error(), Hint: "see that it takes connections"}}
	}
	defer shut(ctx, conn)
	var role string
	var cut, unread []string
	found, err := conn.Query(ctx, `SELECT current_user::text, quote_ident(n.nspname) || '.' || quote_ident(c.relname), row_security_active(c.oid),
		has_schema_privilege(n.oid, 'USAGE') AND CASE c.relkind WHEN 'S' THEN has_sequence_privilege(c.oid, 'SELECT') ELSE has_table_privilege(c.oid, 'SELECT') END
		FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
		WHERE c.relkind IN ('r', 'p', 'S') AND c.relpersistence <> 't' AND `+ours)
	if err == nil {
		var name string
		var active, readable bool
		_, err = pgx.ForEachRow(found, []any{&role, &name, &active, &readable}, func() error {
			if active {
				cut = append(cut, name)
			}
			if !readable {
				unread = append(unread, name)
			}
			return nil
		})
	}
	if err != nil {
		return []plan.Blocker{{Subject: subject, Why: explain(targetOf(c.server.source, conn.Config()), c.server.scrub, err).Why, Hint: "see that the role may read it"}}
	}
	var all []plan.Blocker
	if len(cut) > 0 {
		all = append(all, plan.Blocker{Subject: subject, Why: fmt.Sprintf("row security hides rows of %d tables from role %s (%s)", len(cut), role, few(cut)),
			Hint: "ALTER ROLE " + quote(role) + " BYPASSRLS"})
	}
	if len(unread) > 0 {
		all = append(all, plan.Blocker{Subject: subject, Why: fmt.Sprintf("role %s may not read %d tables and sequences (%s)", role, len(unread), few(unread)),
			Hint: "GRANT pg_read_all_data TO " + quote(role)})
	}
	return all
}

func few(names []string) string {
	const shown = 3
	text := strings.Join(names[:min(shown, len(names))], ", ")
	if more := len(names) - shown; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// Fingerprint names the state of the server that a plan was made for: which
// server it is, and its databases. With a database it is that one's own: that it
// is the same one under the name.
func (c *Client) Fingerprint(ctx context.Context, database string) (string, error) {
	conn, err := c.server.connect(ctx, "")
	if err != nil {
		return "", err
	}
	defer shut(ctx, conn)
	var parts []string
	found, err := conn.Query(ctx, `SELECT current_setting('server_version_num') || ' ' || oid::text || ' ' || datname FROM pg_database
		WHERE ($1 = '' AND NOT datistemplate) OR datname = $1 ORDER BY oid`, database)
	if err == nil {
		parts, err = pgx.CollectRows(found, pgx.RowTo[string])
	}
	if err != nil {
		return "", explain(targetOf(c.server.source, conn.Config()), c.server.scrub, err)
	}
	var id int64
	_ = conn.QueryRow(ctx, `SELECT system_identifier FROM pg_control_system()`).Scan(&id) // not permitted: 0, then as now
	sum := sha256.Sum256(fmt.Appendf(nil, "%d\n%s", id, strings.Join(parts, "\n")))
	return hex.EncodeToString(sum[:8]), nil
}

// FindMade looks for a dump or base backup that operation id made: a step that
// was interrupted has done it when it is there under its own name.
func (c *Client) FindMade(database, operation string) (path string, size int64, err error) {
	dir, manifest := "", ""
	if database == "" && c.cfg.Base != nil {
		dir, manifest = c.cfg.Base.Dir, baseManifestName
	} else if c.cfg.Dump != nil {
		dir, manifest = c.cfg.Dump.Dir, dumpManifestName
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", 0, fmt.Errorf("looking for what was made: %w", err)
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if _, err := os.Stat(filepath.Join(path, manifest)); err != nil || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		if database == "" {
			if m, err := ReadBaseManifest(path); err == nil && m.Operation == operation && !m.Finished.IsZero() {
				return path, m.Bytes, nil
			}
		} else if m, err := ReadDumpManifest(path); err == nil && m.Operation == operation && m.Database.Name == database && !m.Finished.IsZero() {
			return path, m.Bytes, nil
		}
	}
	return "", 0, nil
}
