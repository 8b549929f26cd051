package proxmox

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sort"
	"strconv"
	"strings"
	"syscall"
)

// Error is a call that failed: what was called, and why.
type Error struct {
	Method, Path string
	Status       int               // HTTP status; 0: no answer, or one that could not be used
	Reason       string            // the server's own words
	Params       map[string]string // of a 400: what is wrong with which parameter
	Object       string            // of a 403: the path that the privilege is missing on, "/vms/100"
	Privilege    string            // of a 403: "VM.Audit"; several that would do are kept as "A|B"
	Local        bool              // no call was made: the configuration or the secret stands in the way
	Unreachable  bool              // no server answered at all
	Uncertain    bool              // it may have been carried out all the same
	Err          error             // the cause where there was no status
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Error is one sentence, and the hint behind a semicolon.
func (e *Error) Error() string {
	call := e.Method + " " + e.Path
	switch {
	case e.Uncertain:
		return fmt.Sprintf("%s: it is not known whether the server carried it out (%s); look at its task list before trying again", call, e.cause())
	case e.Unreachable:
		return fmt.Sprintf("no server of the cluster answered: %s%s", e.cause(), hint(e.Err))
	case e.Status == 0:
		return fmt.Sprintf("%s: %s", call, e.cause())
	case e.Status == http.StatusUnauthorized:
		return fmt.Sprintf("%s: the token was refused (401 %s); check token_id, its secret and its expiry", call, e.Reason)
	case e.Privilege != "":
		return fmt.Sprintf("%s: the token lacks %s on %s; grant it, to the user and to the token", call, strings.ReplaceAll(e.Privilege, "|", " or "), e.Object)
	case e.Status == http.StatusForbidden:
		return fmt.Sprintf("%s: the token may not do this (403 %s); compare its rights with those that the call needs", call, e.Reason)
	case nodeFailed(e.Status):
		return fmt.Sprintf("%s: the node did not answer the server that was asked (%d %s); check that it is up and in the cluster's network", call, e.Status, e.Reason)
	}
	return fmt.Sprintf("%s: %d %s%s", call, e.Status, e.Reason, e.params())
}

func (e *Error) cause() string {
	if e.Err == nil {
		return e.Reason
	}
	return strings.ReplaceAll(e.Err.Error(), "\n", ", ")
}

func (e *Error) params() string {
	if len(e.Params) == 0 {
		return ""
	}
	var all []string
	for name, why := range e.Params {
		all = append(all, name+": "+why)
	}
	sort.Strings(all)
	return " (" + strings.Join(all, "; ") + ")"
}

// hint says what a person may do about a server that cannot be reached.
func hint(err error) string {
	var dns *net.DNSError
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	var pin *CertificateError
	switch {
	case errors.As(err, &pin):
		return "" // it says so itself
	case errors.As(err, &unknown), errors.As(err, &name):
		return "; set fingerprints or ca_file to the server's own"
	case errors.As(err, &dns):
		return "; check the name in urls"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "; check that pveproxy runs there"
	}
	return "; check that the host is up and its port reachable"
}

// IsUnauthorized says whether the token was refused.
func IsUnauthorized(err error) bool { return statusOf(err) == http.StatusUnauthorized }

// IsDenied says whether a privilege is missing.
func IsDenied(err error) bool { return statusOf(err) == http.StatusForbidden }

// IsNodeDown says whether a node did not answer the server that was asked.
func IsNodeDown(err error) bool {
	var e *Error
	return errors.As(err, &e) && (nodeFailed(e.Status) ||
		e.Status == http.StatusInternalServerError && strings.HasPrefix(e.Reason, "hostname lookup "))
}

// IsMissing says whether what was asked for does not exist: PVE says so with a
// 500, and of a task with a 400.
func IsMissing(err error) bool {
	var e *Error
	if !errors.As(err, &e) {
		return false
	}
	return e.Status == http.StatusInternalServerError && strings.Contains(e.Reason, "does not exist") ||
		e.Params["upid"] == "no such task"
}

// IsUnreachable says whether no server of the cluster answered.
func IsUnreachable(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Unreachable
}

// IsUncertain says whether a call that failed may have been carried out all the
// same: look for its task before trying again.
func IsUncertain(err error) bool {
	var e *Error
	if errors.As(err, &e) {
		return e.Uncertain
	}
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

func statusOf(err error) int {
	var e *Error
	if errors.As(err, &e) {
		return e.Status
	}
	return 0
}

func nodeFailed(status int) bool { return status >= 595 && status <= 599 }

// newStatusError reads an answer that is no 2xx. line is "403 Permission check
// failed (…)": the reason phrase holds the first line of the message, which is
// all there is where the body is empty.
func newStatusError(method, path string, status int, line string, body []byte) *Error {
	e := &Error{Method: method, Path: path, Status: status}
	e.Reason = strings.TrimSpace(strings.TrimPrefix(line, strconv.Itoa(status)))
	var said struct {
		Message text            `json:"message"`
		Errors  map[string]text `json:"errors"`
	}
	if json.Unmarshal(body, &said) == nil {
		if first, _, _ := strings.Cut(string(said.Message), "\n"); len(first) > len(e.Reason) {
			e.Reason = first
		}
		for name, why := range said.Errors {
			if e.Params == nil {
				e.Params = map[string]string{}
			}
			e.Params[name] = strings.TrimSpace(string(why))
		}
	}
	e.Reason = printable(e.Reason)
	if e.Reason == "" {
		e.Reason = http.StatusText(status)
	}
	switch status { // 595 comes before anything reached the node, the others may come after
	case 596, 597, 598, 599, http.StatusBadGateway, http.StatusGatewayTimeout:
		e.Uncertain = method != http.MethodGet
	case http.StatusForbidden:
		e.Object, e.Privilege = parseDenied(e.Reason)
	}
	return e
}

// parseDenied reads "Permission check failed (/vms/100, VM.Audit)". The text
// without a path and a privilege gives neither.
func parseDenied(reason string) (object, privilege string) {
	_, rest, found := strings.Cut(reason, "Permission check failed (")
	if !found {
		return "", ""
	}
	inside, found := strings.CutSuffix(strings.TrimSpace(rest), ")")
	if !found {
		return "", ""
	}
	object, privilege, found = strings.Cut(inside, ", ")
	if !found || !strings.HasPrefix(object, "/") || privilege == "" {
		return "", ""
	}
	return object, privilege
}

// printable keeps a server's text on one line and out of the terminal's controls.
func printable(s string) string {
	s = strings.ToValidUTF8(s, "�")
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return ' '
		}
		return r
	}, s))
}
