package pg

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"cairn/internal/command"
)

// Base takes a base backup of the whole server into a new directory below
// base.dir, NAME-TIME, with the WAL that it needs, every tablespace and the
// configuration files that lie elsewhere, and has pg_verifybackup read all of
// it. The directory is there only when all of that went well.
func (c *Client) Base(ctx context.Context, w Work) (BaseManifest, string, error) {
	if c.cfg.Base == nil {
		return BaseManifest{}, "", fmt.Errorf("postgres.%s has no base: name its directory in the configuration", c.name)
	}
	dir, name := c.cfg.Base.Dir, fileName(c.name)
	if err := sweep(dir, name); err != nil {
		return BaseManifest{}, "", err
	}
	part := filepath.Join(dir, "."+name+"-"+c.now().UTC().Format(stampLayout)+unfinishedEnd)
	if err := os.Mkdir(part, 0o700); err != nil {
		return BaseManifest{}, "", fmt.Errorf("making room for the base backup: %w", err)
	}
	b := &basing{client: c, work: w, part: part}
	final, err := b.run(ctx)
	if err != nil {
		return b.manifest, "", errors.Join(fmt.Errorf("base backup of postgres.%s: %w", c.name, err), os.RemoveAll(part))
	}
	return b.manifest, final, nil
}

// manifestSince is the version since which base backups have a manifest.
const manifestSince = 13

// basing is one base backup under way.
type basing struct {
	client   *Client
	work     Work
	part     string
	manifest BaseManifest
}

func (b *basing) run(ctx context.Context) (string, error) {
	c, m := b.client, &b.manifest
	began := c.now()
	conn, err := c.server.connect(ctx, "")
	if err != nil {
		return "", err
	}
	defer shut(ctx, conn)
	if err := b.describe(ctx, conn); err != nil {
		return "", explain(targetOf(c.server.source, conn.Config()), c.server.scrub, err)
	}
	if err := m.write(b.part); err != nil {
		return "", err
	}
	if err := b.copy(ctx, conn); err != nil {
		return "", err
	}
	m.Stopped = c.now().UTC()
	if err := b.relink(); err != nil {
		return "", err
	}
	b.work.say("reading every byte back")
	if _, err := c.verifyBase(ctx, b.part, filepath.Join(b.part, baseData), majorOf(m.Server), b.work); err != nil {
		return "", err
	}
	if majorOf(m.Server) >= manifestSince {
		m.Verified = c.now().UTC()
	}
	m.Bytes, _ = measure(b.part)
	m.Finished = c.now().UTC()
	m.Seconds = m.Finished.Sub(began).Seconds()
	if err := m.write(b.part); err != nil {
		return "", err
	}
	return appear(b.part, c.cfg.Base.Dir, fileName(c.name), m.Started)
}

func (b *basing) describe(ctx context.Context, conn *pgx.Conn) error {
	m := &b.manifest
	*m = BaseManifest{Version: 1, Source: "postgres." + b.client.name, Operation: b.work.Operation}
	if err := conn.QueryRow(ctx, `SELECT current_setting('server_version'), clock_timestamp()`).Scan(&m.Server, &m.Started); err != nil {
		return err
	}
	m.Server, _, _ = strings.Cut(m.Server, " ")
	m.Started = m.Started.UTC()
	// Where the role may not read these, the base backup is as good without.
	_ = conn.QueryRow(ctx, `SELECT system_identifier FROM pg_control_system()`).Scan(&m.SystemID)
	_ = conn.QueryRow(ctx, `SELECT setting FROM pg_settings WHERE name = 'data_directory'`).Scan(&m.DataDirectory)
	found, err := conn.Query(ctx, `SELECT oid, spcname::text, pg_tablespace_location(oid) FROM pg_tablespace WHERE pg_tablespace_location(oid) <> '' ORDER BY 1`)
	if err != nil {
		return err
	}
	var t BaseTablespace
	if _, err := pgx.ForEachRow(found, []any{&t.OID, &t.Name, &t.Location}, func() error {
		m.Tablespaces = append(m.Tablespaces, t)
		return nil
	}); err != nil {
		return err
	}
	return b.config(ctx, conn)
}

// config keeps the configuration files that lie outside of the data directory,
// where pg_basebackup does not look. They are read through the server, which
// may be another host, else from this one.
func (b *basing) config(ctx context.Context, conn *pgx.Conn) error {
	m := &b.manifest
	found, err := conn.Query(ctx, `SELECT setting FROM pg_settings WHERE name IN ('config_file', 'hba_file', 'ident_file') AND setting <> ''`)
	if err != nil {
		return err
	}
	paths, err := pgx.CollectRows(found, pgx.RowTo[string])
	if err != nil {
		return err
	}
	if found, err = conn.Query(ctx, `SELECT DISTINCT sourcefile FROM pg_file_settings WHERE sourcefile IS NOT NULL`); err == nil {
		if more, err := pgx.CollectRows(found, pgx.RowTo[string]); err == nil { // only a superuser is told
			paths = append(paths, more...)
		}
	}
	seen := map[string]bool{}
	for _, path := range paths {
		path = filepath.Clean(path)
		inside := m.DataDirectory != "" && strings.HasPrefix(path, filepath.Clean(m.DataDirectory)+"/")
		if inside || seen[path] || !filepath.IsAbs(path) {
			continue
		}
		seen[path] = true
		var text []byte
		if err := conn.QueryRow(ctx, `SELECT pg_read_binary_file($1)`, path).Scan(&text); err != nil {
			if text, err = os.ReadFile(path); err != nil {
				m.ConfigMissing = append(m.ConfigMissing, path)
				continue
			}
		}
		to := filepath.Join(b.part, baseConfig, path)
		if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
			return fmt.Errorf("keeping %s: %w", path, err)
		}
		if err := writeFile(to, text, 0o600); err != nil {
			return fmt.Errorf("keeping %s: %w", path, err)
		}
		m.Config = append(m.Config, path)
	}
	return nil
}

// copy runs pg_basebackup and asks the server meanwhile how far it is.
func (b *basing) copy(ctx context.Context, conn *pgx.Conn) error {
	c, m := b.client, &b.manifest
	path, err := c.toolPath(ctx, "pg_basebackup", majorOf(m.Server), false)
	if err != nil {
		return err
	}
	a, err := c.server.access(ctx, conn.Config().Database, b.work.application())
	if err != nil {
		return err
	}
	defer a.close()
	argv := []string{path, "--pgdata=" + filepath.Join(b.part, baseData), "--wal-method=stream", "--checkpoint=fast", "--no-password", "--verbose",
		"--label=" + b.work.application(), "--dbname=" + a.conninfo}
	if majorOf(m.Server) >= manifestSince {
		argv = append(argv, "--manifest-checksums=SHA256")
	}
	for _, t := range m.Tablespaces {
		to := filepath.Join(b.part, baseTablespaces, fmt.Sprint(t.OID))
		if err := os.MkdirAll(to, 0o700); err != nil {
			return fmt.Errorf("making room for tablespace %s: %w", t.Name, err)
		}
		argv = append(argv, "--tablespace-mapping="+escapeEquals(t.Location)+"="+escapeEquals(to))
	}
	limited, stop := context.WithCancel(ctx)
	watched := async(func() { b.watch(limited, conn) })
	result, err := command.Run(ctx, a.spec(b.work, argv...))
	stop()
	<-watched
	if err != nil {
		return c.server.toolError("pg_basebackup", result, err)
	}
	return nil
}

// escapeEquals writes a path as --tablespace-mapping wants it.
func escapeEquals(path string) string { return strings.ReplaceAll(path, "=", `\=`) }

// watch reports the progress of the base backup with our label, until ctx ends.
// Before version 13 the server does not tell.
func (b *basing) watch(ctx context.Context, conn *pgx.Conn) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	phase := ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		var now string
		var total, streamed int64
		err := conn.QueryRow(ctx, `SELECT p.phase, coalesce(p.backup_total, 0), p.backup_streamed FROM pg_stat_progress_basebackup p
			JOIN pg_stat_activity a ON a.pid = p.pid WHERE a.application_name = $1`, b.work.application()).Scan(&now, &total, &streamed)
		if errors.Is(err, pgx.ErrNoRows) {
			continue
		}
		if err != nil {
			return
		}
		p := Progress{Done: streamed, Total: max(total, streamed), Unit: "bytes"}
		if now != phase {
			phase, p.Line = now, now
		}
		b.work.tell(p)
	}
}

// relink makes the links to the tablespaces relative, so that the base backup
// can be renamed, moved and copied.
func (b *basing) relink() error {
	for _, t := range b.manifest.Tablespaces {
		link := filepath.Join(b.part, baseData, "pg_tblspc", fmt.Sprint(t.OID))
		if err := os.Remove(link); err != nil {
			return fmt.Errorf("tablespace %s is not where it should be in the base backup: %w", t.Name, err)
		}
		if err := os.Symlink(filepath.Join("..", "..", baseTablespaces, fmt.Sprint(t.OID)), link); err != nil {
			return fmt.Errorf("pointing to tablespace %s: %w", t.Name, err)
		}
	}
	return nil
}

// readByUs says who read a base backup that pg_verifybackup did not.
const readByUs = "cairn, against backup_manifest,"

// verifyBase has pg_verifybackup read every byte of the base backup at path, whose
// data directory is data, and says who read it. The WAL in it is read too where the
// tools of that very version are here; where there is none that reads it, we do so
// ourselves. The error is a *Damage where it is not good.
func (c *Client) verifyBase(ctx context.Context, path, data string, major int, w Work) (by string, err error) {
	by = "pg_verifybackup"
	if major < manifestSince {
		return by, nil // there is nothing to verify it against
	}
	argv := []string{"", "--quiet", "--exit-on-error"}
	tool, err := c.toolPath(ctx, "pg_verifybackup", major, true)
	if err != nil {
		argv = append(argv, "--no-parse-wal")
		tool, err = c.toolPath(ctx, "pg_verifybackup", major, false)
	}
	if err != nil || len(argv) > 3 && !verifiesOtherVersions(major) {
		return readByUs, verifyFiles(ctx, path, data, w)
	}
	argv[0] = tool
	return by, c.readBy(ctx, path, access{}.spec(w, append(argv, data)...))
}
