package restic

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
)

// Kind is what went wrong with a repository, as far as a person has to do
// something else about it.
type Kind string

// The kinds of error.
const (
	Missing       Kind = "missing"        // there is no repository at this place
	Locked        Kind = "locked"         // somebody else holds a lock that excludes us
	WrongPassword Kind = "wrong password" // it opens no key
	Unreachable   Kind = "unreachable"    // no answer, or the time limit
	Denied        Kind = "denied"         // the server or the file system refuses us
	Damaged       Kind = "damaged"        // it is there, and cannot be read as a repository
	Partial       Kind = "partial"        // done, but some source files could not be read
	NoBinary      Kind = "no binary"      // restic is not installed
	NoSecret      Kind = "no secret"      // the password or an environment secret could not be read
	Canceled      Kind = "canceled"       // ended by us
	AppendOnly    Kind = "append-only"    // it takes new data and removes none
	Full          Kind = "full"           // no space is left where the repository lies
	Failed        Kind = "failed"         // anything else: restic's own words
)

// Error says why restic did not do what it was asked: what, why, and what to do.
type Error struct {
	Source string // configured name, "restic.usb"
	Kind   Kind
	Why    string // in words, with restic's own where they help
	Hint   string
	Err    error // the cause, if there is one besides restic's words
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

// exits are the exit codes that name a kind. 0.14 has none of 10 to 12: there
// the text decides.
var exits = map[int]Kind{3: Partial, 10: Missing, 11: Locked, 12: WrongPassword}

// texts are what restic and its backends write for each kind, in lower case,
// looked up in this order. Each backend's error may end in "Is there a repository at
// the following location?", which tells nothing.
var texts = []struct {
	kind Kind
	any  []string
}{
	{WrongPassword, []string{"wrong password or no key found"}},
	{Locked, []string{"already locked"}},
	{Full, []string{"no space left on device", "disk quota exceeded", "(507)", "507 insufficient storage", "quotaexceeded", "storage cap exceeded", "storage_cap_exceeded",
		"insufficient_space", "quotalimitreached"}},
	{Missing, []string{"specified bucket does not exist", "nosuchbucket", "container does not exist", "containernotfound"}},
	{Denied, []string{"permission denied", "operation not permitted", "401 unauthorized", "(401)", "403 forbidden", "(403)", "access denied", "accessdenied",
		"signature we calculated", "access key id you provided", "invalidaccesskeyid", "signaturedoesnotmatch", "read-only file system", "host key verification failed",
		"no credentials found", "difference between the request time and the server's time", "requesttimetooskewed", "invalid_grant", "token expired", "expired_access_token",
		"authenticationfailed", "authorizationfailure", "authorizationpermissionmismatch", "cap exceeded", "301 response missing location"}},
	{Unreachable, []string{"connection refused", "no such host", "i/o timeout", "network is unreachable", "no route to host", "connection reset", "broken pipe",
		"tls: ", "x509: ", "context deadline exceeded", "input/output error", "(500)", "(502)", "(503)", "(504)", "unexpected eof", "server misbehaving", "connection closed",
		"transport endpoint", "stale file handle", "could not resolve hostname", "connection timed out", "error talking http to rclone", "unable to start the sftp session",
		"name resolution", "service unavailable", "bad gateway", "gateway timeout", "reduce your request rate", "slowdown"}},
	{Damaged, []string{"is damaged", "ciphertext verification failed", "invalid data returned", "invalid repository", "repository contains errors", "does not match the expected", "number of packs with errors"}},
	{Missing, []string{"repository does not exist"}},
}

var (
	// refused is how backends write that the server refused a request and said no more.
	refused = regexp.MustCompile(`(?:\b(?:stat|load|save|list|remove|open|response|statuscode|status code|googleapi: error)|\bb2_\w+)[:=]? ?40[13]\b`)
	// noConfig is how they write that a repository's first file is not there: anything
	// else is a place that could not be looked at.
	noConfig = regexp.MustCompile(`unable to open config file.*(?:does not exist|doesn't exist|no such file|not ?found|nosuchkey|does not have file|\b404\b)`)
)

// classify names the kind of failure of a restic that ended with code and said text.
func classify(code int, text string) Kind {
	if kind, ok := exits[code]; ok {
		return kind
	}
	lower := strings.ToLower(text)
	for _, t := range texts {
		for _, words := range t.any {
			if strings.Contains(lower, words) {
				return t.kind
			}
		}
		if t.kind == Denied && refused.MatchString(lower) {
			return Denied
		}
	}
	if noConfig.MatchString(lower) {
		return Missing
	}
	return Failed
}

// explain makes the sentence of a failure. words is what restic said.
func (c *Client) explain(kind Kind, words string) *Error {
	e := &Error{Source: c.source, Kind: kind, Hint: c.hint(kind)}
	where := c.cfg.Where()
	switch kind {
	case Missing:
		e.Why = "there is no repository at " + where
	case Locked:
		e.Why = "the repository is locked by somebody else (" + words + ")"
	case WrongPassword:
		e.Why = "the configured password opens no key of the repository at " + where
	case Unreachable:
		e.Why = fmt.Sprintf("%s cannot be reached (%s)", where, words)
	case Denied:
		e.Why = fmt.Sprintf("%s refuses access (%s)", where, words)
	case Damaged:
		e.Why = fmt.Sprintf("the repository at %s is damaged (%s)", where, words)
	case Partial:
		e.Why = "some source files could not be read"
	case AppendOnly:
		e.Why = fmt.Sprintf("%s is append-only or immutable: it removes nothing (%s)", where, words)
	case Full:
		e.Why = fmt.Sprintf("no space is left at %s (%s)", where, words)
	case NoBinary:
		e.Why = fmt.Sprintf("the program %s is not installed", c.binary())
	case Canceled:
		e.Why = "restic was ended before it was done"
	default:
		e.Why = "restic failed: " + words
	}
	return e
}

func (c *Client) hint(kind Kind) string {
	switch kind {
	case Missing:
		if c.cfg.Disk != "" {
			return fmt.Sprintf("check that disk.%s is mounted, and repository in [%s]", c.cfg.Disk, c.source)
		}
		return fmt.Sprintf("check repository in [%s], or make it with restic init", c.source)
	case Locked:
		return "wait for the other job; if its process is gone, run restic unlock"
	case WrongPassword:
		return fmt.Sprintf("check password in [%s]", c.source)
	case Unreachable:
		return "check the network, the server and the address"
	case Denied:
		if c.cfg.Dir() != "" {
			return "run cairn as a user who may read the repository, or let restic write it with a group that cairn is in"
		}
		return fmt.Sprintf("check the credentials in env of [%s], or in its URL, the limits of the account, and the clock of this host", c.source)
	case Damaged:
		return "stop forgetting and pruning, then run restic check --read-data"
	case Partial:
		return "look at the files that restic named"
	case AppendOnly:
		return "let a job on its server forget, with access that may remove"
	case Full:
		return "free space there: nothing was lost, and the next run goes on where this one ended"
	case NoBinary:
		return fmt.Sprintf("apt install restic, or set binary in [%s]", c.source)
	case Canceled:
		return "try again"
	}
	return "run restic by hand to see more"
}

// stderrLine is what one line of restic's standard error says. Since 0.17 some
// lines are JSON; plain text and terminal codes are mixed in by all versions.
type stderrLine struct {
	Text  string
	Exit  bool // restic's last words: why it ends
	Code  int  // of Exit
	Retry bool // a request failed and will be tried again
}

func parseStderr(line []byte) stderrLine {
	text := strings.TrimSpace(strings.ReplaceAll(string(line), "\x1b[2K", ""))
	if strings.HasPrefix(text, "{") {
		var m struct {
			Type    string          `json:"message_type"`
			Code    int             `json:"code"`
			Message string          `json:"message"`
			Item    string          `json:"item"`
			Error   json.RawMessage `json:"error"`
		}
		if json.Unmarshal([]byte(text), &m) == nil {
			switch {
			case m.Type == "exit_error":
				return stderrLine{Text: firstLine(m.Message), Exit: true, Code: m.Code}
			case m.Message != "":
				return stderrLine{Text: firstLine(strings.TrimSpace(m.Message))}
			case m.Item != "":
				return stderrLine{Text: m.Item + ": " + errorText(m.Error)}
			}
		}
	}
	if strings.HasPrefix(text, "Fatal: ") {
		return stderrLine{Text: bareFatal(text), Exit: true}
	}
	return stderrLine{Text: text, Retry: strings.Contains(text, "returned error, retrying after")}
}

// bareFatal takes off what restic puts before its last words, once or more.
func bareFatal(text string) string {
	for {
		rest, ok := strings.CutPrefix(text, "Fatal: ")
		if !ok {
			return text
		}
		text = rest
	}
}

// errorCode begins the line of Azure's errors that says why: what is before is the request.
const errorCode = "ERROR CODE: "

// firstLine drops the stack trace and the questions that follow a message.
func firstLine(message string) string {
	first, rest, _ := strings.Cut(bareFatal(message), "\n")
	if _, code, ok := strings.Cut(rest, errorCode); ok {
		code, _, _ = strings.Cut(code, "\n")
		return strings.TrimSpace(first) + " (" + errorCode + strings.TrimSpace(code) + ")"
	}
	if strings.HasPrefix(rest, "lock was created at") {
		age, _, _ := strings.Cut(rest, "\n")
		return first + ", " + age
	}
	return strings.TrimSpace(first)
}

// errorText reads the error of a backup's error message: {"message": …} since
// 0.17, the fields of Go's error before.
func errorText(raw json.RawMessage) string {
	var e struct {
		Message  string `json:"message"`
		Op, Path string
	}
	switch {
	case json.Unmarshal(raw, &e) != nil || e.Message == "" && e.Op == "":
		return "could not be read"
	case e.Message != "":
		return e.Message
	}
	return "could not " + e.Op
}
