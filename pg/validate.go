package pg

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Validate compares a restored database with the manifest of its dump: every
// table with its exact rows, sequences, large objects, how many there are of all
// else; and that constraints and indexes are valid. It runs ANALYZE last, which
// a restored database needs before it is fast. The findings say what differs;
// none means that all is as it was.
func (c *Client) Validate(ctx context.Context, r RestoreRequest, w Work) (DumpManifest, []string, error) {
	m, err := c.describe(ctx, r.Dump, r.Database)
	if err == nil && m.NoManifest() {
		err = m.foreign.count(ctx, &m, r.Database)
	}
	if err != nil {
		return m, nil, err
	}
	conn, err := c.server.connect(ctx, r.Into)
	if err != nil {
		return m, nil, err
	}
	defer shut(ctx, conn)
	v := &validation{conn: conn, manifest: m, request: r, work: w}
	for _, part := range []func(context.Context) error{v.tables, v.sequences, v.kinds, v.validity, v.analyze} {
		if err := part(ctx); err != nil {
			return m, v.findings, fmt.Errorf("comparing %q with its dump: %w", r.Into, explain(targetOf(c.server.source, conn.Config()), c.server.scrub, err))
		}
	}
	return v.manifest, v.findings, nil
}

type validation struct {
	conn     *pgx.Conn
	manifest DumpManifest
	request  RestoreRequest
	work     Work
	findings []string
}

func (v *validation) find(format string, args ...any) {
	v.findings = append(v.findings, fmt.Sprintf(format, args...))
}

func (v *validation) tables(ctx context.Context) error {
	if _, err := v.conn.Exec(ctx, "SET row_security = off; SET search_path = pg_catalog; SET statement_timeout = 0", pgx.QueryExecModeSimpleProtocol); err != nil {
		return err
	}
	if _, err := v.conn.Exec(ctx, noTransactionTimeout, false); err != nil {
		return err
	}
	found, err := v.conn.Query(ctx, `SELECT n.nspname::text, c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'r' AND `+ours)
	if err != nil {
		return err
	}
	there := map[string]bool{}
	var schema, name string
	if _, err := pgx.ForEachRow(found, []any{&schema, &name}, func() error { there[qualified(schema, name)] = true; return nil }); err != nil {
		return err
	}
	if v.manifest.NoManifest() && len(v.manifest.Tables) == 0 { // rows as INSERT: it does not tell of its tables
		for _, name := range sortedKeys(there) {
			schema, table := splitQualified(name)
			v.manifest.Tables = append(v.manifest.Tables, DumpedTable{Schema: schema, Name: table, Rows: -1})
		}
	}
	var wanted []DumpedTable
	for _, t := range v.manifest.Tables {
		switch {
		case !v.request.takes(t):
		case !there[qualified(t.Schema, t.Name)]:
			v.find("table %s is missing", qualified(t.Schema, t.Name))
		default:
			wanted = append(wanted, t)
		}
	}
	if len(wanted) == 0 && !v.request.Whole() {
		v.find("the dump has no table that was asked for")
	}
	return v.count(ctx, wanted)
}

func (v *validation) count(ctx context.Context, wanted []DumpedTable) error {
	tx, err := v.conn.Begin(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }() // it changed nothing
	n := &snapshot{conn: v.conn, tx: tx}
	got := slices.Clone(wanted)
	v.work.say("counting the rows of %d tables", len(got))
	for i := 0; i < len(got); i += perQuery {
		var batch []*DumpedTable
		for j := i; j < min(i+perQuery, len(got)); j++ {
			batch = append(batch, &got[j])
		}
		if err := n.count(ctx, batch); err != nil {
			return err
		}
		v.work.tell(Progress{Done: int64(min(i+perQuery, len(got))), Total: int64(len(got)), Unit: "tables"})
	}
	for i, t := range got {
		if wanted[i].Rows >= 0 && t.Rows != wanted[i].Rows {
			v.find("table %s has %d rows, and had %d in the dump", qualified(t.Schema, t.Name), t.Rows, wanted[i].Rows)
		}
	}
	return nil
}

func (v *validation) sequences(ctx context.Context) error {
	if !v.request.Whole() || v.manifest.NoManifest() {
		return nil
	}
	tx, err := v.conn.Begin(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }() // it changed nothing
	var now DumpManifest
	if err := (&snapshot{conn: v.conn, tx: tx}).sequences(ctx, &now); err != nil {
		return err
	}
	at := map[string]DumpedSequence{}
	for _, s := range now.Sequences {
		at[qualified(s.Schema, s.Name)] = s
	}
	for _, s := range v.manifest.Sequences {
		name := qualified(s.Schema, s.Name)
		got, ok := at[name]
		switch {
		case !ok:
			v.find("sequence %s is missing", name)
		case before(got, s):
			// pg_dump reads a sequence a moment after us: further is right, behind hands numbers out twice.
			v.find("sequence %s stands at %d, and stood at %d in the dump", name, got.Last, s.Last)
		}
	}
	var objects int64
	if err := tx.QueryRow(ctx, `SELECT count(*) FROM pg_catalog.pg_largeobject_metadata`).Scan(&objects); err != nil {
		return err
	}
	if objects != v.manifest.Objects {
		v.find("there are %d large objects, and were %d in the dump", objects, v.manifest.Objects)
	}
	return nil
}

// before says whether a sequence stands before another; one that counts down is
// only compared for being the same.
func before(got, then DumpedSequence) bool {
	if then.Last < 0 || got.Last < 0 {
		return got.Last > then.Last && then.Last < 0 && got.Last < 0
	}
	return got.Last < then.Last || got.Last == then.Last && then.Called && !got.Called
}

func (v *validation) kinds(ctx context.Context) error {
	if !v.request.Whole() || len(v.manifest.Kinds) == 0 {
		return nil
	}
	now, err := kinds(ctx, v.conn)
	if err != nil {
		return err
	}
	for _, kind := range slices.Sorted(maps.Keys(v.manifest.Kinds)) {
		if then := v.manifest.Kinds[kind]; now[kind] != then {
			v.find("there are %d %s, and were %d in the dump", now[kind], kind, then)
		}
	}
	return nil
}

func (v *validation) validity(ctx context.Context) error {
	found, err := v.conn.Query(ctx, `
		SELECT 'index ' || quote_ident(n.nspname) || '.' || quote_ident(c.relname) || ' is not valid' FROM pg_catalog.pg_index i
		  JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
		  WHERE NOT (i.indisvalid AND i.indisready) AND NOT (c.relkind = 'I')`)
	if err != nil {
		return err
	}
	invalid, err := pgx.CollectRows(found, pgx.RowTo[string])
	v.findings = append(v.findings, invalid...)
	return err
}

func (v *validation) analyze(ctx context.Context) error {
	v.work.say("ANALYZE")
	_, err := v.conn.Exec(ctx, "ANALYZE", pgx.QueryExecModeSimpleProtocol)
	return err
}

// ListFindings writes the first of many findings.
func ListFindings(findings []string) string {
	const shown = 5
	text := strings.Join(findings[:min(shown, len(findings))], "; ")
	if more := len(findings) - shown; more > 0 {
		text += fmt.Sprintf("; and %d more", more)
	}
	return text
}
