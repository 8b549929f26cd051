package proxmox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	sdk "github.com/luthermonson/go-proxmox"

	"cairn/internal/secret"
)

// parallel is how many calls a survey makes at once: PVE serves each client from
// three workers, and more would only queue there.
const parallel = 16

// Client reads one cluster and acts on it. Change its fields before the first call.
type Client struct {
	Refresh      time.Duration    // everything is read again when this old, to catch what tasks don't show
	Poll         time.Duration    // between two looks at a task that is followed
	Timeout      time.Duration    // of a call that the server answers itself
	ProxyTimeout time.Duration    // of a call that it may pass to another node: PVE gives up after 30 s
	Now          func() time.Time // the clock

	name    string
	reading *api
	acting  *api
	close   func()

	surveying sync.Mutex // one survey at a time: they share what they remember
	memory    memory
}

// New makes a client of the cluster that is configured as [proxmox.NAME]. It
// connects to nothing and reads no secret until the first call.
func New(name string, cfg Config, secrets secret.Reader) *Client {
	c := &Client{
		Refresh: 5 * time.Minute, Poll: time.Second,
		Timeout: 15 * time.Second, ProxyTimeout: 45 * time.Second,
		Now: time.Now, name: name, memory: newMemory(),
	}
	servers, err := newServers(cfg.URLs)
	trust, trustErr := newTrust(cfg)
	broken := errors.Join(err, trustErr)
	limit := func(path string) time.Duration {
		if proxied(path) {
			return c.ProxyTimeout
		}
		return c.Timeout
	}
	reads, acts := newTransport(trust), newTransport(trust)
	// An act goes out on a connection of its own: one that the server closed while
	// it was idle would leave unknown whether the act was carried out.
	acts.DisableKeepAlives = true
	read := newCredential(cfg.TokenID, cfg.TokenSecret, "the token of proxmox "+name, secrets)
	act := read
	if cfg.Act != nil {
		act = newCredential(cfg.Act.TokenID, cfg.Act.TokenSecret, "the acting token of proxmox "+name, secrets)
	}
	c.reading = newAPI(&wire{servers: servers, transport: reads, credential: read, limit: limit, largest: maxAnswer, broken: broken})
	c.acting = newAPI(&wire{servers: servers, transport: acts, credential: act, limit: limit, largest: maxAnswer, broken: broken})
	c.close = func() { reads.CloseIdleConnections(); acts.CloseIdleConnections() }
	return c
}

// Close drops idle connections.
func (c *Client) Close() { c.close() }

// api is go-proxmox's client on a wire of ours. Its Get, Post and Delete and its
// JSON envelope are used; its types, Ping, Wait and Watch are not, because they
// lose errors, misread values and block.
type api struct {
	sdk  *sdk.Client
	wire *wire
}

func newAPI(w *wire) *api {
	return &api{wire: w, sdk: sdk.NewClient(placeholder+"/api2/json",
		sdk.WithHTTPClient(&http.Client{Transport: w}), sdk.WithUserAgent("cairn"))}
}

// answered is what a call learns beside its answer.
type answered struct {
	server string    // URL that answered
	date   time.Time // its clock, to the second; zero when it did not say
}

type answeredKey struct{}

// get reads path into into.
func (a *api) get(ctx context.Context, path string, into any) error {
	return a.do(ctx, http.MethodGet, path, nil, into)
}

func (a *api) do(ctx context.Context, method, path string, body map[string]any, into any) error {
	var raw json.RawMessage
	var err error
	switch {
	case method == http.MethodGet:
		err = a.sdk.Get(ctx, path, &raw)
	case method == http.MethodDelete:
		err = a.sdk.Delete(ctx, path, &raw)
	case method == http.MethodPut:
		err = a.sdk.Put(ctx, path, body, &raw)
	case len(body) == 0:
		err = a.sdk.Post(ctx, path, nil, &raw)
	default:
		err = a.sdk.Post(ctx, path, body, &raw)
	}
	if err != nil {
		return a.explain(ctx, method, path, err)
	}
	if len(raw) == 0 {
		raw = json.RawMessage("null") // go-proxmox leaves its target alone then
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return &Error{Method: method, Path: path, Uncertain: method != http.MethodGet,
			Err: fmt.Errorf("the answer is not what Proxmox VE sends there: %w", err)}
	}
	return nil
}

// explain takes our own error out of what net/http and go-proxmox wrapped it in.
func (a *api) explain(ctx context.Context, method, path string, err error) error {
	var own *Error
	if errors.As(err, &own) {
		return own
	}
	if err := over(ctx); err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	var bad *json.SyntaxError
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &bad) || errors.As(err, &wrong) {
		err = fmt.Errorf("the answer is no JSON of Proxmox VE: %w; check that the URL is its API (port 8006)", err)
	}
	return &Error{Method: method, Path: path, Uncertain: method != http.MethodGet, Err: err}
}
