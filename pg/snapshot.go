package pg

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// snapshot is a transaction that holds one state of a database, which pg_dump
// and our own counts share.
type snapshot struct {
	conn *pgx.Conn
	tx   pgx.Tx
	id   string
}

// hold begins the transaction. It fails where row security would cut rows off:
// row_security is off, as pg_dump has it.
func (s *session) hold(ctx context.Context, database string) (*snapshot, error) {
	conn, err := s.connect(ctx, database)
	if err != nil {
		return nil, err
	}
	snap := &snapshot{conn: conn}
	snap.tx, err = conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err == nil {
		_, err = snap.tx.Exec(ctx, "SET LOCAL search_path = pg_catalog; SET LOCAL row_security = off; SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0; SET LOCAL lock_timeout = '60s'; SET LOCAL max_parallel_workers_per_gather = 0", pgx.QueryExecModeSimpleProtocol)
	}
	if err == nil {
		_, err = snap.tx.Exec(ctx, noTransactionTimeout, true)
	}
	if err == nil {
		err = snap.tx.QueryRow(ctx, "SELECT pg_export_snapshot()").Scan(&snap.id)
	}
	if err != nil {
		why := explain(targetOf(s.source, conn.Config()), s.scrub, err)
		shut(ctx, conn)
		return nil, why
	}
	return snap, nil
}

// noTransactionTimeout switches a limit off that a role may have since PostgreSQL
// 17, and that would end a dump of many hours; $1: for this transaction alone.
const noTransactionTimeout = `SELECT set_config(name, '0', $1) FROM pg_catalog.pg_settings WHERE name = 'transaction_timeout'`

func (n *snapshot) close(ctx context.Context) { shut(ctx, n.conn) }

// describe reads what the manifest tells of the database besides its rows.
func (n *snapshot) describe(ctx context.Context, m *DumpManifest) error {
	var lsn string
	if err := n.tx.QueryRow(ctx, `SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END::text, current_setting('server_version'), clock_timestamp()`).
		Scan(nullText{&lsn}, &m.Server, &m.Started); err != nil {
		return err
	}
	m.LSN = lsn
	m.Server, _, _ = strings.Cut(m.Server, " ")
	m.Started = m.Started.UTC()
	for _, part := range []func(context.Context, *DumpManifest) error{n.database, n.settings, n.grants, n.roles, n.extensions, n.sequences, n.tables} {
		if err := part(ctx, m); err != nil {
			return err
		}
	}
	if len(m.Excluded) == 0 { // else what belongs to the tables that are left out would be missed
		var err error
		if m.Kinds, err = kinds(ctx, n.tx); err != nil {
			return err
		}
	}
	return n.tx.QueryRow(ctx, `SELECT count(*) FROM pg_catalog.pg_largeobject_metadata`).Scan(&m.Objects)
}

// querier is a connection or a transaction.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// kinds counts what a database has besides rows: of users, not of extensions.
func kinds(ctx context.Context, q querier) (map[string]int64, error) {
	const mine = ` n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' `
	const free = ` AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend x WHERE x.objid = o.oid AND x.deptype = 'e') `
	found, err := q.Query(ctx, `
		SELECT CASE o.relkind WHEN 'i' THEN 'indexes' WHEN 'I' THEN 'indexes' WHEN 'v' THEN 'views' WHEN 'm' THEN 'materialized views' WHEN 'S' THEN 'sequences'
		       WHEN 'f' THEN 'foreign tables' WHEN 'c' THEN 'types' ELSE 'tables' END, count(*)
		FROM pg_catalog.pg_class o JOIN pg_catalog.pg_namespace n ON n.oid = o.relnamespace WHERE o.relkind <> 't' AND `+mine+free+` GROUP BY 1
		UNION ALL SELECT 'constraints', count(*) FROM pg_catalog.pg_constraint o JOIN pg_catalog.pg_namespace n ON n.oid = o.connamespace WHERE o.contype <> 'n' AND `+mine+free+`
		UNION ALL SELECT 'functions', count(*) FROM pg_catalog.pg_proc o JOIN pg_catalog.pg_namespace n ON n.oid = o.pronamespace WHERE `+mine+free+`
		UNION ALL SELECT 'triggers', count(*) FROM pg_catalog.pg_trigger o JOIN pg_catalog.pg_class c ON c.oid = o.tgrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE NOT o.tgisinternal AND `+mine+free+`
		UNION ALL SELECT 'policies', count(*) FROM pg_catalog.pg_policy o
		UNION ALL SELECT 'schemas', count(*) FROM pg_catalog.pg_namespace n JOIN pg_catalog.pg_namespace o ON o.oid = n.oid WHERE `+mine+free)
	if err != nil {
		return nil, err
	}
	all := map[string]int64{}
	var kind string
	var count int64
	_, err = pgx.ForEachRow(found, []any{&kind, &count}, func() error { all[kind] = count; return nil })
	return all, err
}

// locale is what to select for the provider, its locale and its rules, as the
// server's version keeps them.
func (n *snapshot) locale(ctx context.Context) (columns string, err error) {
	var num int
	if err := n.tx.QueryRow(ctx, `SELECT current_setting('server_version_num')::int`).Scan(&num); err != nil {
		return "", err
	}
	const provider = "CASE datlocprovider WHEN 'i' THEN 'icu' WHEN 'b' THEN 'builtin' ELSE 'libc' END, "
	switch {
	case num >= 170000:
		return provider + "datlocale, daticurules", nil
	case num >= 160000:
		return provider + "daticulocale, daticurules", nil
	case num >= 150000:
		return provider + "daticulocale, ''", nil
	}
	return "'', '', ''", nil
}

func (n *snapshot) database(ctx context.Context, m *DumpManifest) error {
	locale, err := n.locale(ctx)
	if err != nil {
		return err
	}
	d := &m.Database
	return n.tx.QueryRow(ctx, `
		SELECT d.datname::text, pg_database_size(d.oid), pg_get_userbyid(d.datdba)::text, pg_encoding_to_char(d.encoding)::text, d.datcollate::text, d.datctype::text,
		       `+locale+`, t.spcname::text, d.datconnlimit, shobj_description(d.oid, 'pg_database'), d.datacl IS NULL
		FROM pg_database d JOIN pg_tablespace t ON t.oid = d.dattablespace WHERE d.datname = current_database()`).
		Scan(&d.Name, &d.Bytes, &d.Owner, &d.Encoding, &d.Collate, &d.CType, &d.Provider, nullText{&d.ICULocale}, nullText{&d.ICURules}, &d.Tablespace, &d.Limit, nullText{&d.Comment}, &d.Defaults)
}

func (n *snapshot) settings(ctx context.Context, m *DumpManifest) (err error) {
	m.Database.Settings, err = rows(ctx, n.tx, `
		SELECT coalesce(r.rolname::text, ''), split_part(c, '=', 1), substr(c, strpos(c, '=') + 1)
		FROM pg_db_role_setting s LEFT JOIN pg_roles r ON r.oid = s.setrole, unnest(s.setconfig) c
		WHERE s.setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database()) ORDER BY 1, 2`,
		func(row pgx.Rows, s *Setting) error { return row.Scan(&s.Role, &s.Name, &s.Value) })
	return err
}

func (n *snapshot) grants(ctx context.Context, m *DumpManifest) (err error) {
	m.Database.Grants, err = rows(ctx, n.tx, `
		SELECT coalesce(r.rolname::text, ''), a.privilege_type, a.is_grantable
		FROM pg_database d, aclexplode(d.datacl) a LEFT JOIN pg_roles r ON r.oid = a.grantee
		WHERE d.datname = current_database() AND a.grantee <> d.datdba ORDER BY 1, 2`,
		func(row pgx.Rows, g *Grant) error { return row.Scan(&g.Role, &g.Privilege, &g.Grantable) })
	return err
}

// roles are those on which anything in the database, or the database itself, depends.
func (n *snapshot) roles(ctx context.Context, m *DumpManifest) (err error) {
	m.Roles, err = rows(ctx, n.tx, `
		SELECT DISTINCT r.rolname::text FROM pg_roles r WHERE r.rolname !~ '^pg_' AND (
		  r.oid IN (SELECT s.refobjid FROM pg_shdepend s WHERE s.refclassid = 'pg_authid'::regclass AND (
		            s.dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
		            OR s.dbid = 0 AND s.classid = 'pg_database'::regclass AND s.objid = (SELECT oid FROM pg_database WHERE datname = current_database())))
		  OR r.oid = (SELECT datdba FROM pg_database WHERE datname = current_database())
		  OR r.oid IN (SELECT setrole FROM pg_db_role_setting WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database()))
		  OR r.oid IN (SELECT c.relowner FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema')) ORDER BY 1`,
		func(row pgx.Rows, r *string) error { return row.Scan(r) })
	return err
}

func (n *snapshot) extensions(ctx context.Context, m *DumpManifest) (err error) {
	m.Extensions, err = rows(ctx, n.tx, `SELECT extname::text, extversion FROM pg_extension ORDER BY 1`,
		func(row pgx.Rows, e *Extension) error { return row.Scan(&e.Name, &e.Version) })
	return err
}

// ours leaves out what belongs to the system and to extensions.
const ours = ` n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
	AND NOT EXISTS (SELECT FROM pg_depend x WHERE x.classid = 'pg_class'::regclass AND x.objid = c.oid AND x.deptype = 'e') `

func (n *snapshot) sequences(ctx context.Context, m *DumpManifest) error {
	names, err := rows(ctx, n.tx, `SELECT n.nspname::text, c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.relkind = 'S' AND `+ours+` ORDER BY 1, 2`,
		func(row pgx.Rows, s *DumpedSequence) error { return row.Scan(&s.Schema, &s.Name) })
	if err != nil {
		return err
	}
	// A sequence is not under the snapshot's rules: it is read as it stands now, as
	// pg_dump does a moment later. All in one query.
	for batch := range slices.Chunk(names, perQuery) {
		parts := make([]string, len(batch))
		for i, s := range batch {
			parts[i] = fmt.Sprintf("SELECT %d, last_value, is_called FROM %s", i, qualified(s.Schema, s.Name))
		}
		found, err := n.tx.Query(ctx, strings.Join(parts, " UNION ALL "))
		if err != nil {
			return err
		}
		var i int
		var last int64
		var called bool
		if _, err := pgx.ForEachRow(found, []any{&i, &last, &called}, func() error {
			batch[i].Last, batch[i].Called = last, called
			return nil
		}); err != nil {
			return err
		}
	}
	m.Sequences = names
	return nil
}

// perQuery is how many relations one query asks at once: few enough for the
// server's locks, enough to spare round trips.
const perQuery = 100

// tables lists the tables whose rows pg_dump copies, not counted yet, and refuses
// where row security cuts some of them.
func (n *snapshot) tables(ctx context.Context, m *DumpManifest) error {
	var cut []string
	found, err := rows(ctx, n.tx, `SELECT n.nspname::text, c.relname::text, pg_table_size(c.oid), row_security_active(c.oid)
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND `+ours+` ORDER BY 1, 2`,
		func(row pgx.Rows, t *DumpedTable) error {
			var active bool
			t.Rows = -1
			err := row.Scan(&t.Schema, &t.Name, &t.Bytes, &active)
			if active {
				cut = append(cut, qualified(t.Schema, t.Name))
			}
			return err
		})
	if err != nil {
		return err
	}
	if len(cut) > 0 {
		return &Error{Kind: Privilege, Why: fmt.Sprintf("row security hides rows of %d tables from the role that dumps (%s)", len(cut), strings.Join(cut[:min(3, len(cut))], ", ")),
			Hint: "ALTER ROLE … BYPASSRLS, or dump as the tables' owner", Err: errRowSecurity}
	}
	m.Tables = found
	return nil
}

var errRowSecurity = errors.New("row security is active")

// count counts the rows of tables exactly, smaller ones first.
func (n *snapshot) count(ctx context.Context, tables []*DumpedTable) error {
	for batch := range slices.Chunk(tables, perQuery) {
		parts := make([]string, len(batch))
		for i, t := range batch {
			parts[i] = fmt.Sprintf("SELECT %d, count(*) FROM ONLY %s", i, qualified(t.Schema, t.Name))
		}
		found, err := n.tx.Query(ctx, strings.Join(parts, " UNION ALL "))
		if err != nil {
			return err
		}
		var i int
		var count int64
		if _, err := pgx.ForEachRow(found, []any{&i, &count}, func() error {
			batch[i].Rows = count
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}

func qualified(schema, name string) string { return pgx.Identifier{schema, name}.Sanitize() }
