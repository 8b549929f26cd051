package pg

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

func TestCheckDSN(t *testing.T) {
	for dsn, want := range map[string]string{
		"host=127.0.0.1 port=5432 user=cairn dbname=postgres":   "",
		"host=/run/postgresql user=cairn":                       "",
		"postgres://cairn@db.lan:5433/postgres?sslmode=require": "",
		"host='/srv/a b' user='o''brien'":                       "is no connection string",
		"host=a password=hunter22":                              "holds a password",
		"host=a PASSWORD = 'hunter22'":                          "holds a password",
		"postgres://cairn:hunter22@db.lan/x":                    "holds a password",
		"postgres://db.lan/x?password=hunter22":                 "holds a password",
		"hots=spare user=hunter22":                              `holds the key "hots"`,
		"host=a port=hunter22":                                  "is no connection string: invalid port: it is a number",
		"host=a port=99999":                                     "from 1 to 65535",
		"postgres://u@h/a b":                                    "write a space as %20",
		"postgres://u@h/100%":                                   "a % as %25",
		"jdbc:postgresql://h/hunter22":                          "begins with postgres://",
		"mysql://hunter22@h/x":                                  "begins with postgres://",
		"host=a sslmode=hunter22":                               "is no connection string",
		"hunter22":                                              "is no list of key=value",
		"postgres://%zz/hunter22":                               "is no connection string",
	} {
		err := CheckDSN(dsn)
		switch {
		case want == "" && err != nil:
			t.Errorf("%s: %v", dsn, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: got %v, want %s", dsn, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "hunter22") {
			t.Errorf("%s: the error cites it: %v", dsn, err)
		}
	}
}

func TestDSNOfAnotherRole(t *testing.T) {
	for _, dsn := range []string{"host=db port=5433 user=cairn dbname=postgres", "postgres://cairn@db:5433/postgres?sslmode=disable", "host=db port=5433"} {
		cfg, err := parseDSN(withUser(dsn, "o'dd act"))
		if err != nil || cfg.User != "o'dd act" || cfg.Host != "db" || cfg.Port != 5433 {
			t.Errorf("%s: %+v %v", dsn, cfg, err)
		}
	}
}

// Where no password is configured the server's refusal is not of a wrong one.
func TestNoPasswordIsConfigured(t *testing.T) {
	refused := &pgconn.PgError{Code: "28P01", Message: "password authentication failed"}
	for silent, want := range map[bool]string{true: "wants a password for role r, and none is configured; name its place", false: "refuses the password of role r; check"} {
		e := explain(target{source: "postgres.lab", address: "PostgreSQL", user: "r", noPassword: silent}, func(s string) string { return s }, refused)
		if e.Kind != WrongPassword || !strings.Contains(e.Error(), want) {
			t.Errorf("%v: %v", silent, e)
		}
	}
}
