package pg

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"
)

// Kind is what went wrong with a server, as far as a person has to do something
// else about it.
type Kind string

// The kinds of error.
const (
	Refused       Kind = "refused"        // nothing listens there
	Unreachable   Kind = "unreachable"    // no way to it, no such name, a connection that breaks
	Timeout       Kind = "timeout"        // no answer in time
	WrongPassword Kind = "wrong password" // it refuses the password, or wants one
	NotAllowed    Kind = "not allowed"    // pg_hba.conf or a missing role
	NoDatabase    Kind = "no database"    // the database of the DSN does not exist
	Full          Kind = "full"           // no connection is left
	Starting      Kind = "starting"       // starting up, recovering, or shutting down
	TLS           Kind = "tls"            // its certificate, or it speaks no TLS
	Privilege     Kind = "privilege"      // the role may not read it
	NoSecret      Kind = "no secret"      // the password could not be read
	Failed        Kind = "failed"         // anything else: the server's own words
)

// Error says why a server was not read, and what to do. It cites no password.
type Error struct {
	Source string // "postgres.erp"
	Kind   Kind
	Why    string // in words
	Hint   string
	Err    error // the cause
}

func (e *Error) Error() string {
	text := e.Source + ": " + e.Why
	if e.Hint != "" {
		text += "; " + e.Hint
	}
	return text
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// hidden is a cause whose text was scrubbed: what it wraps can be asked for its
// kind but is never printed.
type hidden struct {
	text string
	err  error
}

func (h hidden) Error() string { return h.text }
func (h hidden) Unwrap() error { return h.err }

// target is the server that an error speaks of.
type target struct {
	source, address, user, database string
	noPassword                      bool // none was sent
}

// explain makes an Error of what pgx returned while it was talking to t.
func explain(t target, scrub func(string) string, err error) *Error {
	var known *Error
	if errors.As(err, &known) {
		if known.Source == "" {
			known.Source = t.source
		}
		return known
	}
	e := &Error{Source: t.source, Err: hidden{scrub(err.Error()), err}}
	var server *pgconn.PgError
	if errors.As(err, &server) {
		e.Kind, e.Why, e.Hint = refusal(t, server)
		e.Why = scrub(e.Why)
		return e
	}
	e.Kind, e.Why, e.Hint = silence(t, err)
	if e.Kind == Failed {
		e.Why = scrub(firstLine(err.Error()))
	}
	return e
}

// refusal puts the server's own error into words. The codes are those of
// PostgreSQL's appendix A.
func refusal(t target, e *pgconn.PgError) (kind Kind, why, hint string) {
	switch e.Code {
	case "28P01":
		if t.noPassword {
			return WrongPassword, fmt.Sprintf("%s wants a password for role %s, and none is configured", t.address, t.user), "name its place in password"
		}
		return WrongPassword, fmt.Sprintf("%s refuses the password of role %s", t.address, t.user),
			"check the password of the configuration against the server: ALTER ROLE … PASSWORD"
	case "28000":
		return NotAllowed, fmt.Sprintf("%s lets role %s not in: %s", t.address, t.user, e.Message),
			"create the role, or add a line for it to pg_hba.conf and reload"
	case "3D000":
		return NoDatabase, fmt.Sprintf("%s has no database %s", t.address, t.database),
			"name one that exists in dsn: dbname=postgres"
	case "53300":
		return Full, fmt.Sprintf("%s has no connection left: %s", t.address, e.Message),
			"end idle sessions, or raise max_connections"
	case "57P03":
		return Starting, fmt.Sprintf("%s does not take connections: %s", t.address, e.Message),
			"wait until it is up; its log says how far it is"
	case "57P01", "57P02", "57P05":
		return Starting, fmt.Sprintf("%s ended the connection: %s", t.address, e.Message),
			"it is shutting down or restarting: look at its log if nobody meant it to"
	case "57014", "55P03", "25P03":
		return Timeout, fmt.Sprintf("%s did not answer a query in time: %s", t.address, e.Message),
			"look at pg_stat_activity: is it overloaded?"
	case "42501":
		if strings.HasPrefix(e.Message, "must be ") { // owner of …, member of …, superuser
			return Privilege, fmt.Sprintf("role %s may not do this: %s", t.user, e.Message), "make it a member of that role, or act as a superuser"
		}
		return Privilege, fmt.Sprintf("role %s may not read this: %s", t.user, e.Message), "GRANT pg_monitor TO " + quote(t.user)
	}
	return Failed, fmt.Sprintf("%s answered: %s (%s)", t.address, e.Message, e.Code), e.Hint
}

// silence puts into words that no answer came.
func silence(t target, err error) (kind Kind, why, hint string) {
	var dns *net.DNSError
	var unknownCA x509.UnknownAuthorityError
	var name x509.HostnameError
	var bad x509.CertificateInvalidError
	text := err.Error()
	switch {
	case errors.Is(err, context.DeadlineExceeded), pgconn.Timeout(err), errors.Is(err, syscall.ETIMEDOUT):
		return Timeout, t.address + " did not answer in time", "is the host up, and does a firewall drop the port?"
	case errors.Is(err, context.Canceled):
		return Failed, "the survey was stopped", ""
	case errors.As(err, &unknownCA), errors.As(err, &name), errors.As(err, &bad):
		return TLS, t.address + " shows a certificate that is not accepted", "set sslrootcert in dsn to its authority, or connect by the name in the certificate"
	case strings.Contains(text, "server refused TLS"), strings.Contains(text, "tls:"):
		return TLS, t.address + " speaks no TLS that is accepted", "switch ssl on in postgresql.conf, or change sslmode in dsn"
	case errors.Is(err, syscall.ECONNREFUSED):
		return Refused, t.address + " refuses connections: nothing listens there", "start the server, or correct host and port in dsn"
	case errors.Is(err, syscall.ENOENT):
		return Refused, "there is no socket for " + t.address, "start the server, or correct host and port in dsn"
	case errors.Is(err, syscall.EACCES):
		return NotAllowed, "this user may not use the socket of " + t.address, "connect over host=127.0.0.1, or allow it with unix_socket_permissions"
	case errors.As(err, &dns):
		return Unreachable, "no host is known as " + dns.Name, "correct host in dsn, or look at the name server"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return Unreachable, "there is no way to " + t.address, "is its host up, and in this network?"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, pgconn.ErrConnClosed), errors.Is(err, syscall.EPIPE):
		return Unreachable, t.address + " broke the connection", "is it a PostgreSQL server, and is it restarting?"
	case strings.Contains(text, "password"):
		return WrongPassword, t.address + " wants a password for role " + t.user, "name its place in password"
	}
	return Failed, "", ""
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return strings.TrimSpace(line)
}
