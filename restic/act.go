package restic

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"time"
)

// How says how restic is run for an operation.
type How struct {
	Lock     *os.File      // restic inherits it: what it stands for stays locked as long as restic lives; nil: none
	Tell     func(Message) // hears how far it is, from several goroutines one at a time; nil: nobody
	Patience time.Duration // how long requests may fail while no data moves; 0: Patience

	// Held is the directory of a local repository, opened by the caller, who has
	// looked where it lies: restic reaches the repository through it, and so writes
	// to no other place, whatever happens to the mount over its path meanwhile. It
	// would else make the directories that it misses. nil: the path is used.
	Held     *os.File
	FromHeld *os.File // the same of the repository that is copied from
}

// Patience is how long requests to a server may fail while no data moves,
// before a run is ended. restic itself would go on for 15 minutes.
const Patience = 2 * time.Minute

const (
	actGrace = 15 * time.Second        // in which restic removes its lock
	perTime  = "RESTIC_PROGRESS_FPS=2" // else it tells 60 times a second as JSON, and never as text
	argvIDs  = 200                     // ids in one call: argv has an end
	retried  = "retry"                 // Message.Type: a request failed and is tried again
	lined    = "line"                  // Message.Type: a line of text
)

func (how How) patience() time.Duration {
	if how.Patience > 0 {
		return how.Patience
	}
	return Patience
}

// act makes the call of a run that changes something, or reads much.
func (c *Client) act(ctx context.Context, how How, what call) (outcome, error) {
	what.patience = how.patience()
	what.grace = min(actGrace, what.patience)
	what.env = append(what.env, perTime)
	what.held = how.Held
	if how.Lock != nil {
		what.files = append(what.files, how.Lock)
	}
	tell := serially(how.Tell)
	what.retrying = func(text string) { tell(Message{Type: retried, Text: text + " (restic tries again)"}) }
	if what.stdout == nil && what.raw == nil && what.moved == nil {
		what.moved = c.told(tell)
	}
	began := c.now()
	out, err := c.run(ctx, what)
	if err != nil && (ctx.Err() != nil || errors.Is(err, errPatience)) && !slices.Contains(what.args, "--no-lock") {
		err = c.tidy(ctx, how, began, err)
	}
	return out, err
}

// tidyLimit is how long tidying up after a run that we ended may take.
const tidyLimit = 10 * time.Second

// tidy removes the lock that restic leaves when it is ended, 0.14 each time and
// others when they must be killed: it would keep everybody out. Only a lock that must be of that very run is removed.
func (c *Client) tidy(ctx context.Context, how How, began time.Time, err error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), min(tidyLimit, how.patience()))
	defer cancel()
	facts, failed := c.Survey(ctx)
	ours := func(l Lock) bool { return l.Dead && !l.Time.Before(began.Add(-time.Second)) }
	if failed == nil && !slices.ContainsFunc(facts.Locks, ours) {
		return err
	}
	if failed == nil && !slices.ContainsFunc(facts.Locks, func(l Lock) bool { return l.Stale(c.now()) && !ours(l) }) {
		if _, failed = c.run(ctx, call{args: []string{"unlock"}, eager: true, held: how.Held}); failed == nil {
			return err
		}
	}
	var e *Error
	if errors.As(err, &e) {
		e.Hint += fmt.Sprintf("; it may have left a lock, as restic does when it is ended: cairn backup %s --unlock", c.name)
	}
	return err
}

// serially makes tell safe for the goroutines that read restic's two streams.
func serially(tell func(Message)) func(Message) {
	if tell == nil {
		return func(Message) {}
	}
	turn := make(chan struct{}, 1)
	return func(m Message) {
		turn <- struct{}{}
		defer func() { <-turn }()
		tell(m)
	}
}

// told passes on what restic writes as text: "[0:05] 33.33%  1 / 3 packs copied".
func (c *Client) told(tell func(Message)) func(line []byte) bool {
	last := ""
	return func(line []byte) bool {
		m := parseProgressLine(string(line))
		m.Text = c.secrets.Scrubber.String(m.Text)
		if m.Text == "" {
			return false
		}
		tell(m)
		moved := m.Text != last
		last = m.Text
		return moved
	}
}

var progressLine = regexp.MustCompile(`^\s*\[[\d:]+\]\s+(?:\d+\.\d+%)?\s*(\d{1,18})(?: / (\d{1,18}))?\s+(.+)$`)

// parseProgressLine reads a line of restic's text output. The time in front is
// left out: it moves when nothing else does.
func parseProgressLine(line string) Message {
	m := progressLine.FindStringSubmatch(line)
	if m == nil {
		return Message{Type: lined, Text: firstLine(line)}
	}
	out := Message{Type: "status", Text: m[1] + " " + m[3]}
	out.Files, _ = strconv.ParseInt(m[1], 10, 64)
	out.AllFiles, _ = strconv.ParseInt(m[2], 10, 64)
	if out.AllFiles > 0 {
		out.Text = m[1] + " of " + m[2] + " " + m[3]
		out.Done = share(float64(out.Files) / float64(out.AllFiles))
	}
	return out
}

// Version asks the installed restic for its version, once.
func (c *Client) Version(ctx context.Context) (Version, error) {
	ctx, end, err := c.begin(ctx)
	if err != nil {
		return Version{}, err
	}
	defer end()
	return c.detect(ctx)
}
