package pbs

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"unicode"
)

// Error says what was attempted and why it failed, with a hint what to do.
type Error struct {
	Call   string // what was attempted: "reading the datastores of https://nas.lan:8007"
	Status int    // of the HTTP answer; 0: there was none
	Text   string // the first line of PBS's own text, or what went wrong on the way
	Hint   string // what to do; may be empty
	Err    error  // the cause, where there is one
}

// Error is one sentence, and the hint behind a semicolon.
func (e *Error) Error() string {
	text := e.Call + ": " + e.Text
	if e.Status != 0 {
		text = fmt.Sprintf("%s: PBS answered %d: %s", e.Call, e.Status, e.Text)
	}
	if e.Hint != "" {
		text += "; " + e.Hint
	}
	return text
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// answered says whether err is the server's own answer, not a failure to get one.
func answered(err error) (status int, ok bool) {
	var e *Error
	if errors.As(err, &e) && e.Status != 0 {
		return e.Status, true
	}
	return 0, false
}

// silent says whether err is that no answer came, which may pass.
func silent(err error) bool {
	var e *Error
	var certificate *CertificateError
	return errors.As(err, &e) && e.Status == 0 && !errors.As(err, &certificate)
}

// IsUnreachable says whether err is that no answer came at all: the server may be gone.
func IsUnreachable(err error) bool { return silent(err) }

const errorBody = 8 << 10

// refusal makes an Error of an answer that is none of 2xx. PBS writes its
// errors as plain text; what stands in front of it may write HTML.
func (c *Client) refusal(call string, resp *http.Response) *Error {
	body, _ := io.ReadAll(io.LimitReader(resp.Body, errorBody))
	said := firstLine(string(body))
	if said == "" || strings.HasPrefix(said, "<") {
		said = strings.ToLower(http.StatusText(resp.StatusCode))
	}
	return &Error{Call: call, Status: resp.StatusCode, Text: c.scrub(said), Hint: c.hint(resp.StatusCode, said)}
}

// firstLine returns the first line that says something, without what could
// move a terminal's cursor, and not longer than a screen shows.
func firstLine(body string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(body), "\n")
	line = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, line)
	if all := []rune(line); len(all) > 400 {
		line = string(all[:400]) + "…"
	}
	return strings.TrimSpace(line)
}

func (c *Client) hint(status int, said string) string {
	low := strings.ToLower(said)
	switch {
	case status == http.StatusUnauthorized:
		return fmt.Sprintf("check token_id and token_secret of [pbs.%s]: the token is unknown, expired or disabled, or its secret is another one", c.name)
	case status == http.StatusForbidden || strings.Contains(low, "permission check failed"):
		return "give the privilege to the token and to its user: a token never has more than its user"
	case strings.Contains(low, "not mounted"):
		return "plug the disk in and mount the datastore"
	case strings.Contains(low, "maintenance mode") || strings.Contains(low, "being unmounted"):
		return "end the datastore's maintenance mode when the work is done"
	case status >= 300 && status < 400:
		return fmt.Sprintf("url of [pbs.%s] must be the server's own, such as https://nas.lan:8007", c.name)
	case status == http.StatusNotFound:
		return fmt.Sprintf("is url of [pbs.%s] a Proxmox Backup Server of version 3 or later?", c.name)
	}
	return ""
}

// failure makes an Error of a call that got no answer, or a broken one.
func (c *Client) failure(ctx context.Context, call string, err error) *Error {
	var certificate *CertificateError
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err // its text repeats the URL
	}
	e := &Error{Call: call, Err: err, Text: c.scrub(firstLine(err.Error()))}
	var dns *net.DNSError
	switch {
	case errors.As(err, &certificate):
		e.Text, e.Hint = certificate.Error(), certificate.hint(c.name)
	case context.Cause(ctx) != nil:
		e.Err, e.Text = context.Cause(ctx), context.Cause(ctx).Error()
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			e.Hint = "is the server overloaded, or the datastore's disk hanging?"
		}
	case errors.As(err, &dns):
		e.Text, e.Hint = "the name "+dns.Name+" is not known", fmt.Sprintf("check url of [pbs.%s] and the resolver", c.name)
	case errors.Is(err, syscall.ECONNREFUSED):
		e.Text, e.Hint = "the connection was refused", "is proxmox-backup-proxy running, and the port right (PBS listens on 8007)?"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		e.Text, e.Hint = "the host cannot be reached", "is it switched on and on this network?"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		e.Text, e.Hint = "the answer was cut off", "see the log of proxmox-backup-proxy, and what lies between"
	case errors.Is(err, syscall.ECONNRESET):
		e.Text, e.Hint = "the connection was reset", "see the log of proxmox-backup-proxy, and what lies between"
	case strings.Contains(e.Text, "HTTP response to HTTPS client"):
		e.Text, e.Hint = "the server does not speak TLS", fmt.Sprintf("check the port in url of [pbs.%s] (PBS listens on 8007)", c.name)
	}
	return e
}

// CertificateError says that the server showed another certificate than the
// pinned one, or one that no trusted authority signed.
type CertificateError struct {
	Want string // the pinned fingerprint; empty: none is pinned
	Got  string // that of the certificate that was shown
	Err  error  // why it is not trusted, when none is pinned
}

// Error says what was wanted and what was shown.
func (e *CertificateError) Error() string {
	if e.Want != "" {
		return fmt.Sprintf("the server's certificate has changed: its fingerprint is %s, configured is %s", e.Got, e.Want)
	}
	return fmt.Sprintf("the server's certificate (fingerprint %s) is not trusted: %s", e.Got, plainCertificate(e.Err))
}

// Unwrap returns why the certificate is not trusted.
func (e *CertificateError) Unwrap() error { return e.Err }

func (e *CertificateError) hint(name string) string {
	return fmt.Sprintf("compare it with `proxmox-backup-manager cert info` on the server itself; only if they agree, set it as fingerprint of [pbs.%s]", name)
}

func plainCertificate(err error) string {
	var unknown x509.UnknownAuthorityError
	if errors.As(err, &unknown) {
		return "no trusted authority signed it"
	}
	return firstLine(err.Error())
}
