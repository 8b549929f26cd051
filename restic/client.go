package restic

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"cairn/internal/secret"
)

// SurveyLimit is how long a survey may take. restic itself goes on trying for
// 15 minutes.
const SurveyLimit = 60 * time.Second

// Client surveys one repository. It is safe for concurrent use; surveys queue.
type Client struct {
	source  string // "restic.usb"
	name    string
	cfg     Config
	secrets secret.Reader
	dir     *directory // nil: the repository is remote
	limit   time.Duration
	now     func() time.Time
	host    string // as locks name it
	brief   bool

	turn   chan struct{} // holds one token while a survey runs
	memory memory

	mu     sync.Mutex
	cancel context.CancelFunc // of the survey that runs
	closed bool
}

// memory is what a client keeps from one survey to the next.
type memory struct {
	version Version
	id      string // of the repository
	config  string // of its directory when id was read
	mark    string // of its directory when facts was read
	facts   *Facts // complete ones only
	locks   map[string]Lock

	keeps      string // what keeps said
	keepsAsked bool
}

// New returns a client of the repository in [restic.NAME]. It starts nothing.
func New(name string, cfg Config, secrets secret.Reader) *Client {
	if secrets.Scrubber == nil {
		secrets.Scrubber = new(secret.Scrubber)
	}
	if _, password := cfg.userinfo(); password != "" {
		secrets.Scrubber.Add(secret.New(password))
	}
	host, _ := os.Hostname()
	c := &Client{source: Source(name), name: name, cfg: cfg, secrets: secrets, limit: SurveyLimit, now: time.Now, host: host,
		turn: make(chan struct{}, 1), memory: memory{locks: map[string]Lock{}}}
	if path := cfg.Dir(); path != "" {
		c.dir = newDirectory(path)
	}
	return c
}

// Brief leaves the repository's id out of surveys: it costs a process of its own,
// and whoever acts asks for the Identity.
func (c *Client) Brief() *Client {
	c.brief = true
	return c
}

// Close ends a survey that runs and refuses others.
func (c *Client) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	if c.cancel != nil {
		c.cancel()
	}
}

var (
	errClosed = errors.New("the client is closed")
	errLimit  = errors.New("the time limit of a survey")
)

// begin waits for its turn and gives the survey its time limit.
func (c *Client) begin(ctx context.Context) (context.Context, func(), error) {
	select {
	case c.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx, nil, c.ended(ctx, "")
	}
	ctx, cancel := context.WithTimeoutCause(ctx, c.limit, errLimit)
	c.mu.Lock()
	c.cancel = cancel
	closed := c.closed
	c.mu.Unlock()
	end := func() {
		cancel()
		<-c.turn
	}
	if closed {
		end()
		return ctx, nil, &Error{Source: c.source, Kind: Canceled, Why: errClosed.Error(), Err: errClosed}
	}
	return ctx, end, nil
}

// Survey reads the repository's snapshots and locks, and the unit that writes
// it. It takes no lock, so it works beside any other job. A local repository
// that has not changed since the last survey costs no restic process. The
// error is an *Error; the facts then hold what could be read all the same.
func (c *Client) Survey(ctx context.Context) (Facts, error) {
	ctx, end, err := c.begin(ctx)
	if err != nil {
		return Facts{Name: c.name}, err
	}
	defer end()
	facts, err := c.repository(ctx)
	c.holders(&facts)
	c.others(ctx, &facts)
	return facts, err
}

// repository reads what the repository holds, from memory if it is unchanged.
func (c *Client) repository(ctx context.Context) (Facts, error) {
	facts := Facts{Name: c.name}
	var seen glance
	if c.dir != nil {
		var err error
		if seen, err = c.dir.look(ctx); err != nil {
			return facts, c.unreadable(ctx, err)
		}
		if old := c.memory.facts; old != nil && c.memory.mark == seen.mark {
			facts = *old
			facts.Locks = slices.Clone(old.Locks)
			return facts, nil
		}
	}
	if err := c.ask(ctx, &facts, seen); err != nil {
		c.memory.facts, c.memory.id = nil, ""
		return facts, err
	}
	c.memory.facts = nil
	if len(facts.Incomplete) == 0 {
		kept := facts
		kept.Locks = slices.Clone(facts.Locks)
		c.memory.facts, c.memory.mark = &kept, seen.mark
	}
	return facts, nil
}

// ask reads the repository through restic.
func (c *Client) ask(ctx context.Context, facts *Facts, seen glance) error {
	version, err := c.detect(ctx)
	if err != nil {
		return err
	}
	facts.Version = version.String()
	if version.Before(Oldest) {
		facts.Incomplete = append(facts.Incomplete, Incompletion{c.source,
			"restic " + facts.Version + " is older than " + Oldest.String() + ", the oldest that is supported; install a newer one"})
	}
	all, err := c.snapshots(ctx, facts)
	if err != nil {
		return err
	}
	if !c.brief && (c.memory.id == "" || c.memory.config != seen.config || c.replaced(all)) {
		if c.memory.id, err = c.repositoryID(ctx); err != nil {
			return err
		}
		c.memory.config = seen.config
	}
	facts.ID = c.memory.id
	for _, s := range all {
		if c.cfg.Match.matches(s) {
			facts.Snapshots = append(facts.Snapshots, s)
		}
	}
	facts.Others = len(all) - len(facts.Snapshots)
	facts.Copies = Copies(c.name, c.cfg, facts.Snapshots)
	if err := c.lockList(ctx, facts, seen); err != nil {
		return err
	}
	facts.Keeps, facts.KeepsUnknown = c.keeps(ctx)
	if c.dir != nil {
		if facts.Size, err = c.dir.size(ctx); err != nil {
			facts.Incomplete = append(facts.Incomplete, Incompletion{"size", c.unreadable(ctx, err).Error()})
		}
	}
	return nil
}

// detect asks restic for its version, once.
func (c *Client) detect(ctx context.Context) (Version, error) {
	if c.memory.version != (Version{}) {
		return c.memory.version, nil
	}
	out, err := c.bare(ctx, "version")
	if err != nil {
		return Version{}, err
	}
	v, err := ParseVersion(out)
	if err != nil {
		return Version{}, &Error{Source: c.source, Kind: NoBinary, Why: c.binary() + " is not restic: " + err.Error(), Hint: c.hint(NoBinary), Err: err}
	}
	c.memory.version = v
	return v, nil
}

// snapshots lists all snapshots of the repository. restic ends with 0 and an
// empty list when it may not read them, and with 0 when it cannot read one of
// them: its standard error tells.
func (c *Client) snapshots(ctx context.Context, facts *Facts) ([]Snapshot, error) {
	out, err := c.query(ctx, "snapshots", "--json")
	if err != nil {
		return nil, err
	}
	for _, note := range out.notes {
		if reason, found := strings.CutPrefix(note, "could not load snapshots: "); found {
			return nil, c.explain(cmp.Or(classify(0, reason), Failed), reason)
		}
		if strings.HasPrefix(note, "could not load snapshot ") || strings.HasPrefix(note, "Ignoring ") {
			facts.Incomplete = append(facts.Incomplete, Incompletion{"snapshot", note})
		}
	}
	all, err := ParseSnapshots(out.stdout)
	if err != nil {
		return nil, &Error{Source: c.source, Kind: Failed, Why: err.Error(), Hint: "look at restic snapshots --json yourself", Err: err}
	}
	return all, nil
}

// replaced says whether none of the snapshots of the survey before is left, as
// when somebody made a new repository at the same place.
func (c *Client) replaced(now []Snapshot) bool {
	if c.memory.facts == nil || len(c.memory.facts.Snapshots) == 0 {
		return false
	}
	ids := map[string]bool{}
	for _, s := range now {
		ids[s.ID] = true
	}
	return !slices.ContainsFunc(c.memory.facts.Snapshots, func(s Snapshot) bool { return ids[s.ID] })
}

// env returns the environment secrets of the configuration, read now.
func (c *Client) env(ctx context.Context) ([]string, error) {
	var env []string
	for _, name := range slices.Sorted(maps.Keys(c.cfg.Env)) {
		if strings.HasPrefix(name, "RESTIC_PASSWORD") || strings.HasPrefix(name, "RESTIC_REPOSITORY") || strings.HasPrefix(name, "RESTIC_FROM_") {
			return nil, &Error{Source: c.source, Kind: NoSecret, Why: "env sets " + name + ", which would overrule the configuration", Hint: "use password and repository instead"}
		}
		value, err := c.secrets.Read(ctx, c.cfg.Env[name], name+" of "+c.source)
		if err != nil {
			return nil, c.noSecret(err)
		}
		env = append(env, name+"="+value.Reveal())
	}
	return env, nil
}

func (c *Client) noSecret(err error) *Error {
	return &Error{Source: c.source, Kind: NoSecret, Why: err.Error(), Hint: "see [" + c.source + "] in the configuration", Err: err}
}
