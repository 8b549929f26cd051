package pbs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"cairn/internal/secret"
)

// Client speaks with one datastore of one Proxmox Backup Server. It may be used
// by several goroutines. It never repeats a call by itself: a call that hangs
// may hold a thread of the server for good.
type Client struct {
	name                 string
	cfg                  Config
	base                 *url.URL // https://host:port, no path
	secrets              secret.Reader
	reader               *account
	actor                *account // the reader where no other is configured
	http                 *http.Client
	slots                chan struct{}    // bounds the calls in flight
	now                  func() time.Time // a test's clock
	pace                 time.Duration    // between two looks at a task
	callLimit, walkLimit time.Duration
	broken               error // what is wrong with cfg; every call returns it

	mu        sync.Mutex
	rested    map[string]time.Time // walks that hung: not asked again before
	lists     map[string]listing   // the last answer of each namespace
	oldServer bool                 // it does not know sync-direction
}

// The limits of calls. A listing may wait for a cold disk.
const (
	inParallel = 4
	callLimit  = 20 * time.Second
	walkLimit  = 3 * time.Minute
	walkRest   = 15 * time.Minute // after a walk that hung
	callBytes  = 16 << 20
	walkBytes  = 256 << 20
)

// New returns a client of the server that cfg names; it makes no call. What is
// wrong with cfg is the error of every call.
func New(name string, cfg Config, secrets secret.Reader) *Client {
	c := &Client{
		name: name, cfg: cfg, secrets: secrets, now: time.Now, pace: followEvery, callLimit: callLimit, walkLimit: walkLimit,
		slots:  make(chan struct{}, inParallel),
		reader: &account{Token: Token{TokenID: cfg.TokenID, TokenSecret: cfg.TokenSecret}, owner: "pbs." + name},
		rested: map[string]time.Time{}, lists: map[string]listing{},
	}
	c.actor = c.reader
	if cfg.Act != nil {
		c.actor = &account{Token: *cfg.Act, owner: "pbs." + name}
	}
	c.base, c.broken = serverURL(cfg.URL)
	if c.broken != nil {
		c.broken = fmt.Errorf("pbs.%s: %w", name, c.broken)
		return c
	}
	conf, err := trust(cfg, c.base.Hostname())
	if err != nil {
		c.broken = fmt.Errorf("pbs.%s: %w", name, err)
		return c
	}
	c.http = &http.Client{
		Transport: &http.Transport{
			TLSClientConfig:     conf,
			DialContext:         (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
			TLSHandshakeTimeout: 10 * time.Second,
			MaxConnsPerHost:     inParallel,
			MaxIdleConnsPerHost: inParallel,
			IdleConnTimeout:     90 * time.Second,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return c
}

func serverURL(written string) (*url.URL, error) {
	u, err := url.Parse(strings.TrimSpace(written))
	switch {
	case err != nil || u.Host == "":
		return nil, fmt.Errorf("url %q is none: write it like https://nas.lan:8007", written)
	case u.Scheme != "https":
		return nil, fmt.Errorf("url %q would send the token in the clear: a PBS speaks https, such as https://%s", written, u.Host)
	case u.User != nil:
		return nil, errors.New("url holds a user: a PBS is spoken to with token_id and token_secret")
	}
	return &url.URL{Scheme: u.Scheme, Host: u.Host}, nil
}

// Close drops the idle connections and forgets the tokens' secrets.
func (c *Client) Close() error {
	c.reader.forget()
	c.actor.forget()
	if c.http != nil {
		c.http.CloseIdleConnections()
	}
	return nil
}

// request is one call of the API.
type request struct {
	what   string // "reading the datastores": what an error says was attempted
	method string // empty: GET
	path   string // below /api2/json, escaped
	query  url.Values
	walk   bool // it walks the datastore: longer limits, and a rest after a hang
	act    bool // with the token that may change something
}

func (c *Client) call(rq request) string {
	return fmt.Sprintf("%s of %s", rq.what, c.base.Host)
}

// do makes one call and passes its body to read.
func (c *Client) do(ctx context.Context, rq request, read func(http.Header, io.Reader) error) error {
	if c.broken != nil {
		return c.broken
	}
	if err := c.resting(rq); err != nil {
		return err
	}
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	case <-ctx.Done():
		return c.failure(ctx, c.call(rq), ctx.Err())
	}
	limit := c.callLimit
	if rq.walk {
		limit = c.walkLimit
	}
	limited, cancel := context.WithTimeoutCause(ctx, limit, tooSlow(limit))
	defer cancel()
	err := c.send(limited, rq, read)
	if rq.walk && limited.Err() != nil && ctx.Err() == nil {
		c.rest(rq)
	}
	return err
}

// tooSlow says that a call passed its own limit.
type tooSlow time.Duration

func (t tooSlow) Error() string {
	return fmt.Sprintf("there was no full answer within %s", time.Duration(t))
}

func (t tooSlow) Unwrap() error { return context.DeadlineExceeded }

func (c *Client) send(ctx context.Context, rq request, read func(http.Header, io.Reader) error) error {
	hr, err := c.build(ctx, rq)
	if err != nil {
		return fmt.Errorf("%s: %w", c.call(rq), err)
	}
	resp, err := c.http.Do(hr)
	if err != nil {
		return c.failure(ctx, c.call(rq), err)
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		refused := c.refusal(c.call(rq), resp)
		if refused.Status == http.StatusUnauthorized {
			c.account(rq.act).forget()
		}
		return refused
	}
	limit := int64(callBytes)
	if rq.walk {
		limit = walkBytes
	}
	body := &bounded{r: resp.Body, left: limit}
	if err := read(resp.Header, body); err != nil {
		if body.err != nil { // why the rest did not come, not what the parser made of it
			err = body.err
		}
		return c.failure(ctx, c.call(rq), err)
	}
	return nil
}

func (c *Client) build(ctx context.Context, rq request) (*http.Request, error) {
	authorization, err := c.account(rq.act).header(ctx, c.secrets)
	if err != nil {
		return nil, err
	}
	method, form := rq.method, ""
	target := c.base.String() + "/api2/json" + rq.path
	if method == "" {
		method = http.MethodGet
	}
	if method == http.MethodGet && len(rq.query) > 0 {
		target += "?" + rq.query.Encode()
	} else {
		form = rq.query.Encode()
	}
	hr, err := http.NewRequestWithContext(ctx, method, target, strings.NewReader(form))
	if err != nil {
		return nil, err
	}
	if method == http.MethodGet {
		hr.Body, hr.ContentLength, hr.GetBody = nil, 0, nil
	} else {
		hr.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	hr.Header.Set("Authorization", authorization)
	hr.Header.Set("Accept", "application/json")
	hr.Header.Set("User-Agent", "cairn")
	return hr, nil
}

// account is a token and its secret, which is read once, and again after the
// server refused it.
type account struct {
	Token
	owner string // "pbs.nas"

	mu     sync.Mutex
	secret secret.Secret
}

// account returns the one that reads, or the one that acts.
func (c *Client) account(act bool) *account {
	if act {
		return c.actor
	}
	return c.reader
}

// header returns the value of Authorization.
func (a *account) header(ctx context.Context, from secret.Reader) (string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.secret.Empty() {
		read, err := from.Read(ctx, a.TokenSecret, fmt.Sprintf("the secret of token %s of %s", a.TokenID, a.owner))
		if err != nil {
			return "", err
		}
		if strings.ContainsAny(read.Reveal(), "\r\n") {
			return "", fmt.Errorf("the secret of token %s of %s has several lines: it is one line", a.TokenID, a.owner)
		}
		a.secret = read
	}
	return "PBSAPIToken=" + a.TokenID + ":" + a.secret.Reveal(), nil
}

func (a *account) forget() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.secret = secret.Secret{}
}

func (c *Client) scrub(said string) string {
	if c.secrets.Scrubber == nil {
		return said
	}
	return c.secrets.Scrubber.String(said)
}

// rest keeps a walk that hung from being asked again for a while.
func (c *Client) rest(rq request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rested[rq.path+"?"+rq.query.Encode()] = c.now().Add(walkRest)
}

func (c *Client) resting(rq request) error {
	if !rq.walk {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	key := rq.path + "?" + rq.query.Encode()
	until, hung := c.rested[key]
	if !hung {
		return nil
	}
	if left := until.Sub(c.now()); left > 0 {
		return &Error{
			Call: c.call(rq),
			Text: fmt.Sprintf("it hung the last time, and is not asked again for %s, because each try may hold a thread of the server for good", left.Round(time.Second)),
			Hint: "see whether the datastore's disk still answers, and restart proxmox-backup-proxy",
		}
	}
	delete(c.rested, key)
	return nil
}

// value makes a call whose data is one object.
func value[T any](ctx context.Context, c *Client, rq request) (T, error) {
	var v T
	err := c.do(ctx, rq, func(_ http.Header, r io.Reader) (err error) {
		v, err = decodeValue[T](r)
		return err
	})
	return v, err
}

// rows makes a call whose data is a list. Rows of another shape are counted.
func rows[T any](ctx context.Context, c *Client, rq request) (all []T, odd int, err error) {
	err = c.do(ctx, rq, func(_ http.Header, r io.Reader) (err error) {
		odd, err = decodeList(r, func(row *T) { all = append(all, *row) })
		return err
	})
	if err != nil {
		return nil, 0, err
	}
	return all, odd, nil
}

// bounded is a reader with an end that is an error, and that remembers why it
// stopped, because a JSON decoder only sees that something is missing.
type bounded struct {
	r    io.Reader
	left int64
	err  error
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		b.err = errors.New("the answer is longer than any that a PBS gives")
		return 0, b.err
	}
	n, err := b.r.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	if err != nil && !errors.Is(err, io.EOF) {
		b.err = err
	}
	return n, err
}
