package restic

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"cairn/internal/command"
)

// call is one run of restic.
type call struct {
	args   []string          // the command and its flags: where and who is added
	limit  time.Duration     // 0: only the context's
	eager  bool              // give up when the server does not answer a few times
	stdout func(line []byte) // nil: collected
	raw    io.Writer         // or the bytes as they come, of dump
	files  []*os.File        // descriptors 5, 6, … of restic
	held   *os.File          // the repository's directory; nil: it is reached by its path
	names  []string          // pairs: what a place is called to restic, and what to people

	// Of a run that changes something, or reads much:
	moved    func(line []byte) bool // a line of output; whether it shows that data moved
	retrying func(text string)      // a request failed, why, and is tried again; from another goroutine
	patience time.Duration          // how long requests may fail while nothing moves; 0: restic's own 15 minutes
	grace    time.Duration          // between SIGTERM and SIGKILL; 0: 5 s
	env      []string
}

// outcome is what a run of restic wrote.
type outcome struct {
	stdout []byte
	notes  []string // lines of standard error that are not its last words
	code   int
	took   time.Duration
}

func (c *Client) binary() string { return cmp.Or(c.cfg.Binary, "restic") }

// bare runs restic without a repository.
func (c *Client) bare(ctx context.Context, args ...string) ([]byte, error) {
	r, err := command.Run(ctx, command.Spec{Argv: append([]string{c.binary()}, args...)})
	if err != nil {
		return nil, c.failure(ctx, r.Code, "", command.LastLine(r.Stderr), err)
	}
	return r.Stdout, nil
}

// query runs a command that only reads and takes no lock. A local repository
// needs no cache; that of a remote one spares fetching each snapshot again.
func (c *Client) query(ctx context.Context, args ...string) (outcome, error) {
	return c.run(ctx, call{args: c.reading(args...), eager: true})
}

func (c *Client) reading(args ...string) []string {
	args = append(args, "--no-lock")
	if c.dir != nil {
		args = append(args, "--no-cache")
	}
	return args
}

// run runs restic on the repository. The password and the location, which may
// hold another, reach it through files in memory: neither is in argv, on a disk
// or in an environment. An exit code other than 0 is an *Error; 3 (Partial) comes with
// an outcome that counts.
func (c *Client) run(ctx context.Context, what call) (outcome, error) {
	if what.limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, what.limit, errLimit)
		defer cancel()
	}
	ctx, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	env, err := c.env(ctx)
	if err != nil {
		return outcome{}, err
	}
	password, err := c.secrets.Read(ctx, c.cfg.Password, "the password of "+c.source)
	if err != nil {
		return outcome{}, c.noSecret(err)
	}
	where := what.place(c, len(what.files))
	given, err := hidden(password.Reveal(), where)
	if err != nil {
		return outcome{}, c.noSecret(fmt.Errorf("passing the password to restic: %w", err))
	}
	defer closeAll(given)
	called := strings.NewReplacer(what.names...)
	said := words{}
	dog := &watchdog{eager: what.eager, patience: what.patience, bite: func() { giveUp(errPatience) }}
	defer dog.rest()
	result, err := command.Run(ctx, command.Spec{
		Argv:       append([]string{c.binary(), "--password-file", command.Descriptor(0), "--repository-file", command.Descriptor(1)}, what.args...),
		Env:        append(env, what.env...),
		Stdout:     what.lines(dog),
		Raw:        what.raw,
		ExtraFiles: append(given, what.files...),
		Grace:      what.grace,
		Stderr: func(line []byte) {
			l := parseStderr([]byte(called.Replace(string(line))))
			said.hear(l)
			if l.Retry {
				dog.retry(said.retry)
				if what.retrying != nil {
					what.retrying(c.secrets.Scrubber.String(said.retry))
				}
			}
		},
	})
	out := outcome{stdout: result.Stdout, code: result.Code, took: result.Took}
	for _, note := range said.notes {
		out.notes = append(out.notes, c.secrets.Scrubber.String(note))
	}
	if err != nil {
		return out, c.failure(ctx, cmp.Or(said.code, result.Code), said.retry, said.last(), err)
	}
	return out, nil
}

// words is what restic said on standard error.
type words struct {
	notes   []string
	exit    string // why it ended
	code    int    // its own exit code, from its last words
	retry   string // the last error that it tried again after
	retries int
}

// notesKept bounds what is kept of a restic that complains about every file.
const notesKept = 1000

func (w *words) hear(line stderrLine) {
	switch {
	case line.Text == "":
	case line.Exit:
		w.exit, w.code = line.Text, line.Code
	case line.Retry:
		w.retries++
		_, after, _ := strings.Cut(line.Text, "retrying after ")
		_, w.retry, _ = strings.Cut(after, ": ")
	case len(w.notes) < notesKept:
		w.notes = append(w.notes, line.Text)
	}
}

// last returns why restic ended. Versions that mark no last words write what
// went wrong first, then a stack trace or advice.
func (w *words) last() string {
	if w.exit != "" {
		return w.exit + w.helper()
	}
	for _, note := range w.notes {
		if !strings.HasPrefix(note, "unable to open cache") && !strings.HasPrefix(note, "Warning: ") {
			return note
		}
	}
	return cmp.Or(w.retry, "it did not say why")
}

// helper is what was said last by who knows why the repository cannot be reached: the
// program that restic reaches it through, ssh or rclone, or Azure.
func (w *words) helper() string {
	for _, note := range slices.Backward(w.notes) {
		for _, prefix := range []string{"subprocess ", "rclone: ", errorCode} {
			if strings.HasPrefix(note, prefix) {
				return " (" + note + ")"
			}
		}
	}
	return ""
}

// failure makes the *Error of a run of restic that ended with err.
func (c *Client) failure(ctx context.Context, code int, retry, last string, err error) *Error {
	var exit *command.ExitError
	var e *Error
	switch {
	case errors.Is(err, exec.ErrNotFound), errors.Is(err, fs.ErrNotExist):
		e = c.explain(NoBinary, "")
	case ctx.Err() != nil:
		e = c.ended(ctx, retry)
	case errors.As(err, &exit):
		scrubbed := *exit
		scrubbed.Stderr = c.secrets.Scrubber.String(exit.Stderr)
		err = &scrubbed
		e = c.explain(classify(code, last), last)
		if exit.Signal != 0 {
			e = c.explain(Failed, exit.Error())
		} else if e.Kind == Failed {
			e.Why = fmt.Sprintf("restic ended with exit code %d: %s", code, last)
		}
	default:
		e = c.explain(Failed, err.Error())
	}
	e.Why = c.secrets.Scrubber.String(e.Why) // only now: a short password can be a word that tells the kind
	e.Err = err
	return e
}

// ended explains why a run ended before restic did: the last error that it
// tried again after says most.
func (c *Client) ended(ctx context.Context, retry string) *Error {
	cause := context.Cause(ctx)
	if errors.Is(cause, context.Canceled) && retry == "" {
		e := c.explain(Canceled, "")
		e.Err = cause
		return e
	}
	kind, why := Unreachable, "no answer within "+c.limit.String()
	switch {
	case errors.Is(cause, context.DeadlineExceeded):
		why = "no answer within the time given"
	case !errors.Is(cause, errLimit) && !errors.Is(cause, errPatience) && !errors.Is(cause, context.Canceled):
		e := c.explain(Canceled, "") // by a person, whatever failed before
		e.Err = cause
		return e
	}
	if retry != "" {
		why = retry
		if k := classify(0, retry); k != Failed {
			kind = k
		}
	}
	e := c.explain(kind, why)
	e.Err = cause
	return e
}

// hidden puts the password and the location into files in memory, descriptors
// 3 and 4 of restic.
func hidden(texts ...string) (files []*os.File, err error) {
	for _, text := range texts {
		f, err := command.SecretFile([]byte(text))
		if err != nil {
			closeAll(files)
			return nil, err
		}
		files = append(files, f)
	}
	return files, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}

// place is where restic finds the repository of c: its location, or the
// directory that is held, which becomes files[i].
func (what *call) place(c *Client, i int) string {
	if what.held == nil {
		return c.cfg.Repository
	}
	what.files = append(slices.Clone(what.files), what.held)
	what.names = append(what.names, descriptor(i), c.cfg.Dir())
	return descriptor(i)
}

// descriptor is the path of files[i] of a call: the password and the location
// of the repository itself come before.
func descriptor(i int) string { return command.Descriptor(2 + i) }
