package pg

import (
	"errors"
	"net/url"
	"regexp"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// dsnKeys are the keys that a DSN may hold. The password is not among them: it
// is read from its own place. A key outside of this list would be sent to the
// server as a setting, so that "hots=spare" would connect to the local socket.
var dsnKeys = []string{
	"host", "port", "user", "dbname", "database", "application_name", "options", "connect_timeout",
	"sslmode", "ssl", "sslcert", "sslkey", "sslrootcert", "sslcertmode", "sslnegotiation", "sslsni",
	"target_session_attrs", "channel_binding", "require_auth", "krbsrvname", "krbspn",
	"passfile", "service", "servicefile", "min_protocol_version", "max_protocol_version",
}

// mentionsPassword is wide on purpose: nothing of a DSN that may hold a
// password is ever cited.
var mentionsPassword = regexp.MustCompile(`(?i)password|^postgres(ql)?://[^/@]*:[^/@]*@`)

// CheckDSN tells what is wrong with a connection string, "key=value …" or
// postgres://…, without connecting. A password in it is wrong. The error cites
// no value of it.
func CheckDSN(dsn string) error {
	_, err := parseDSN(dsn)
	return err
}

// withUser is a DSN for another role of the same server.
func withUser(dsn, user string) string {
	if strings.HasPrefix(dsn, "postgres://") || strings.HasPrefix(dsn, "postgresql://") {
		u, err := url.Parse(dsn)
		if err != nil {
			return dsn // it says so itself, when it is used
		}
		u.User = url.User(user)
		return u.String()
	}
	return dsn + " user=" + literalKey(user) // the last one counts
}

// parseDSN reads a DSN as libpq does: what it leaves out comes from the
// variables PGHOST, PGPORT, PGUSER, PGDATABASE, PGSSLMODE, … and a password
// from PGPASSWORD, PGPASSFILE or ~/.pgpass. A configured password goes before
// these, see Client.
func parseDSN(dsn string) (*pgx.ConnConfig, error) {
	if mentionsPassword.MatchString(dsn) {
		return nil, errors.New("holds a password")
	}
	options := pgx.ParseConfigOptions{ParseConfigOptions: pgconn.ParseConfigOptions{ConnStringAllowedKeys: dsnKeys}}
	cfg, err := pgx.ParseConfigWithOptions(dsn, options)
	if err == nil {
		return cfg, nil
	}
	// After the cited string come what failed and, in brackets, a cause that may
	// cite values.
	text := err.Error()
	reason, _, _ := strings.Cut(text[strings.LastIndex(text, "`: ")+1:], " (")
	reason = strings.TrimPrefix(reason, ": ")
	if rest, ok := strings.CutPrefix(reason, "connection string key "); ok {
		key, _, _ := strings.Cut(rest, " is not")
		return nil, errors.New("holds the key " + key + ", which no connection string of PostgreSQL has")
	}
	return nil, errors.New("is no connection string: " + inWords(dsn, reason))
}

// otherURL begins the URLs of other programs: jdbc:postgresql://, mysql://.
var otherURL = regexp.MustCompile(`^[a-z][a-z0-9+.:-]*://`)

// inWords says what is wrong where pgx only says that it is, and cites nothing.
func inWords(dsn, reason string) string {
	switch {
	case strings.HasPrefix(reason, "invalid port"):
		return "invalid port: it is a number from 1 to 65535"
	case strings.HasPrefix(reason, "failed to parse as URL"):
		return "it is no URL: write a space as %20, a % as %25, and the directory of a socket as ?host=/run/postgresql"
	case strings.HasPrefix(reason, "failed to parse as keyword/value") && otherURL.MatchString(dsn):
		return "a URL begins with postgres:// or postgresql://"
	case strings.HasPrefix(reason, "failed to parse as keyword/value"):
		return "it is no list of key=value; a value with spaces stands between single quotes, and in it \\' for one"
	}
	return reason
}
