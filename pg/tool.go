package pg

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"cairn/internal/command"
)

// Work is what an operation gives to what it has done here.
type Work struct {
	Operation string         // its id, which effects carry in their names; empty: none
	Lock      *os.File       // children inherit it, so that the target stays locked as long as one lives; nil: none
	Report    func(Progress) // called from several goroutines, never from two at once
}

// Progress is how far a piece of work is.
type Progress struct {
	Done, Total int64  // in Unit; a Total of 0 is not known
	Unit        string // "bytes", "rows", "segments"
	Line        string // what is being done; empty: the same as before
}

func (w Work) tell(p Progress) {
	if w.Report != nil {
		w.Report(p)
	}
}

// say reports a line alone.
func (w Work) say(format string, args ...any) { w.tell(Progress{Line: fmt.Sprintf(format, args...)}) }

// toolPlaces are where distributions keep the programs of each major version.
var toolPlaces = []string{"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/usr/lib/postgresql*/bin", "/opt/homebrew/opt/postgresql@*/bin"}

// toolPath finds a program of PostgreSQL that is not older than a server's major
// version: pg_dump refuses a newer server. The nearest version wins, be it where
// distributions keep them or in PATH; exact asks for that very one, as a server
// that is to read a data directory must be.
func (c *Client) toolPath(ctx context.Context, program string, major int, exact bool) (string, error) {
	best, bestMajor := placedTool(program, major, exact)
	if best != "" && (bestMajor == major || major == 0) {
		return best, nil
	}
	result, err := command.Run(ctx, command.Spec{Argv: []string{program, "--version"}})
	have := majorOf(toolVersion(string(result.Stdout)))
	switch fits := have >= major && (!exact || have == major); {
	case err == nil && fits && (best == "" || have < bestMajor):
		return program, nil
	case best != "":
		return best, nil
	case err != nil:
		return "", fmt.Errorf("%s for PostgreSQL %d is needed: install postgresql-client-%d (for a recovery postgresql-%d): %w", program, major, major, major, err)
	}
	return "", fmt.Errorf("%s is of version %d, and of %d is needed: install postgresql-client-%d (for a recovery postgresql-%d)", program, have, major, major, major)
}

// placedTool looks for a program where distributions keep the versions apart.
func placedTool(program string, major int, exact bool) (best string, bestMajor int) {
	for _, place := range toolPlaces {
		dirs, _ := filepath.Glob(place) // the patterns are ours
		for _, dir := range dirs {
			found := majorOfDir(dir)
			path := filepath.Join(dir, program)
			if _, err := os.Stat(path); err != nil || found < major || exact && found != major {
				continue
			}
			if best == "" || found < bestMajor {
				best, bestMajor = path, found
			}
		}
	}
	return best, bestMajor
}

// newestTool is the newest of a program where distributions keep several; empty:
// there is none.
func newestTool(program string) string {
	best, bestMajor := "", 0
	for _, place := range toolPlaces {
		dirs, _ := filepath.Glob(place) // the patterns are ours
		for _, dir := range dirs {
			path := filepath.Join(dir, program)
			if _, err := os.Stat(path); err == nil && majorOfDir(dir) > bestMajor {
				best, bestMajor = path, majorOfDir(dir)
			}
		}
	}
	return best
}

var dirVersion = regexp.MustCompile(`(\d+)[^/]*(/bin)?$`)

func majorOfDir(dir string) int {
	m := dirVersion.FindStringSubmatch(dir)
	if m == nil {
		return 0
	}
	n, _ := strconv.Atoi(m[1]) // the pattern made sure
	return n
}

// majorOf is the major version of "15.18", "17beta1"; 0 where there is none.
func majorOf(version string) int {
	digits := version
	for i, r := range version {
		if r < '0' || r > '9' {
			digits = version[:i]
			break
		}
	}
	n, _ := strconv.Atoi(digits) // not a number: 0
	return n
}

// access is how a child reaches the server: a connection string without a
// password, and what hands the password over.
type access struct {
	conninfo string
	env      []string
	files    []*os.File
}

func (a access) close() {
	for _, f := range a.files {
		_ = f.Close() // a file in memory
	}
}

// spec makes the Spec of a program that connects. The lock comes after the
// password's file, so that Descriptor(0) stays right.
func (a access) spec(w Work, argv ...string) command.Spec {
	files := slices.Clone(a.files)
	if w.Lock != nil {
		files = append(files, w.Lock)
	}
	return command.Spec{Argv: argv, Env: a.env, ExtraFiles: files, Dir: "/", Grace: 20 * time.Second}
}

// access prepares the way of a child to one database of the server. The password
// is in a file in memory, which libpq opens as often as it connects.
func (s *session) access(ctx context.Context, database, application string) (access, error) {
	cfg, err := s.config(ctx)
	if err != nil {
		return access{}, err
	}
	a := access{}
	if a.conninfo, err = conninfo(s.dsn, database, application); err != nil {
		return a, &Error{Source: s.source, Kind: Failed, Why: "its dsn " + err.Error(), Hint: `write it as "host=… port=… user=… dbname=…"`, Err: err}
	}
	for _, name := range []string{"PGHOST", "PGPORT", "PGUSER", "PGSSLMODE", "PGSSLROOTCERT", "PGSSLCERT", "PGSSLKEY", "PGSERVICE", "PGSERVICEFILE"} {
		if v := os.Getenv(name); v != "" {
			a.env = append(a.env, name+"="+v)
		}
	}
	if cfg.Password == "" {
		return a, nil
	}
	escape := strings.NewReplacer(`\`, `\\`, `:`, `\:`)
	f, err := command.SecretFile([]byte("*:*:*:*:" + escape.Replace(cfg.Password) + "\n"))
	if err != nil {
		return a, fmt.Errorf("handing over the password of %s: %w", s.source, err)
	}
	a.files = append(a.files, f)
	a.env = append(a.env, "PGPASSFILE="+command.Descriptor(0))
	return a, nil
}

var databaseKey = regexp.MustCompile(`(^|\s)database\s*=`)

// conninfo puts another database and application name into a DSN, for libpq.
func conninfo(dsn, database, application string) (string, error) {
	if strings.HasPrefix(dsn, "postgres://") || strings.HasPrefix(dsn, "postgresql://") {
		u, err := url.Parse(dsn)
		if err != nil {
			return "", errors.New("is no URL that can be taken apart")
		}
		u.Path, u.RawPath = "/"+database, ""
		q := u.Query()
		for _, key := range []string{"dbname", "database"} {
			q.Del(key)
		}
		q.Set("application_name", application)
		u.RawQuery = strings.ReplaceAll(q.Encode(), "+", "%20") // libpq takes a plus sign for itself
		return u.String(), nil
	}
	dsn = databaseKey.ReplaceAllString(dsn, "${1}dbname=")
	return fmt.Sprintf("%s dbname=%s application_name=%s", dsn, literalKey(database), literalKey(application)), nil
}

// literalKey quotes a value of a connection string.
func literalKey(value string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(value) + "'"
}

// connect opens a connection of its own to a database, for work that lasts
// longer than a survey. Close it with shut.
func (s *session) connect(ctx context.Context, database string) (*pgx.Conn, error) {
	cfg, err := s.config(ctx)
	if err != nil {
		return nil, err
	}
	if database != "" {
		cfg.Database = database
	}
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, explain(targetOf(s.source, cfg), s.scrub, err)
	}
	return conn, nil
}

// shut ends a connection that connect opened, also after ctx has ended.
func shut(ctx context.Context, conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = conn.Close(ctx) // there is nothing to do about a connection that does not end well
}

// toolError says what a program of PostgreSQL failed of, in its own words, and
// what to do where that is known. With several jobs the first complaint is the
// cause, and the last line only says that a worker died.
func (s *session) toolError(what string, result command.Result, err error) error {
	var exit *command.ExitError
	if !errors.As(err, &exit) {
		return fmt.Errorf("%s: %w", what, err)
	}
	var complaints []string
	for line := range strings.SplitSeq(s.scrub(string(result.Stderr)), "\n") {
		if strings.Contains(line, "error:") || strings.Contains(line, "FATAL:") || strings.Contains(line, "could not") || strings.Contains(line, "detail:") || strings.Contains(line, "closed the connection") {
			complaints = append(complaints, command.LastLine([]byte(line)))
		}
	}
	cause := *exit
	if len(complaints) > 0 {
		cause.Stderr = complaints[0]
	}
	return fmt.Errorf("%s: %w", what, hidden{s.scrub(cause.Error()) + toolHint(strings.Join(complaints, "\n")), err})
}

// toolHint is what to do about what a program printed; empty where that is not
// known.
func toolHint(said string) string {
	switch {
	case strings.Contains(said, "No space left"):
		return "; the disk is full: make room, then try again"
	case strings.Contains(said, "not support compression"):
		return "; that program was built without it: install another build of it, such as the distribution's postgresql-client"
	case strings.Contains(said, "row-level security"), strings.Contains(said, "row security"):
		return "; a dump needs a role that is above row security: ALTER ROLE … BYPASSRLS"
	case strings.Contains(said, "could not obtain lock on relation"):
		return "; somebody changes a table, or the server ended pg_dump's sessions: try again when that is over"
	case strings.Contains(said, "permission denied"):
		return "; a dump needs a role that may read everything: GRANT pg_read_all_data TO …"
	case strings.Contains(said, "server closed the connection"), strings.Contains(said, "no connection to the server"),
		strings.Contains(said, "terminating connection"), strings.Contains(said, "Connection refused"):
		return "; the server went away: see that it runs, then try again"
	}
	return ""
}
