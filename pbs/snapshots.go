package pbs

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// indexName is the blob that PBS writes last: without it there is no backup.
const indexName = "index.json.blob"

// listing is the last answer for one namespace. Its sum covers every byte of
// the answer, because a verification changes neither its length nor any time.
type listing struct {
	sum       [sha256.Size]byte
	snapshots []Snapshot // never changed once it is here
	odd       int
}

// remembered bounds the answers that are compared before they are parsed.
const remembered = 32 << 20

// snapshots reads the backup snapshots of one namespace, oldest first in each
// group. odd counts the rows that could not be understood.
func (c *Client) snapshots(ctx context.Context, ns string) (all []Snapshot, odd int, err error) {
	rq := request{
		what: "reading the backup snapshots in " + namespaceName(ns) + " of datastore " + c.cfg.Datastore,
		path: c.storePath("snapshots"), walk: true,
	}
	if ns != "" {
		rq.query = url.Values{"ns": {ns}}
	}
	c.mu.Lock()
	last, known := c.lists[ns]
	c.mu.Unlock()
	var now listing
	err = c.do(ctx, rq, func(_ http.Header, r io.Reader) (err error) {
		now, err = readListing(r, ns, last, known)
		return err
	})
	if err != nil {
		return nil, 0, err
	}
	c.mu.Lock()
	c.lists[ns] = now
	c.mu.Unlock()
	return now.snapshots, now.odd, nil
}

// readListing parses an answer, unless it is byte for byte the last one.
func readListing(r io.Reader, ns string, last listing, known bool) (listing, error) {
	sum := sha256.New()
	var head bytes.Buffer
	if _, err := io.Copy(io.MultiWriter(&head, sum), io.LimitReader(r, remembered)); err != nil {
		return listing{}, err
	}
	if known && bytes.Equal(sum.Sum(nil), last.sum[:]) && head.Len() < remembered {
		return last, nil
	}
	found, odd, err := parseSnapshots(io.MultiReader(&head, r), ns)
	now := listing{snapshots: found, odd: odd}
	sum.Sum(now.sum[:0])
	return now, err
}

type snapshotRow struct {
	Type         text   `json:"backup-type"`
	ID           text   `json:"backup-id"`
	Time         number `json:"backup-time"`
	Size         number `json:"size"`
	Owner        text   `json:"owner"`
	Protected    flag   `json:"protected"`
	Comment      text   `json:"comment"`
	Fingerprint  text   `json:"fingerprint"`
	Verification *struct {
		State text `json:"state"`
		UPID  text `json:"upid"`
	} `json:"verification"`
	Files []struct {
		Name  text   `json:"filename"`
		Crypt text   `json:"crypt-mode"`
		Size  number `json:"size"`
	} `json:"files"`
}

// parseSnapshots reads an answer of /snapshots a row at a time.
func parseSnapshots(r io.Reader, ns string) (all []Snapshot, odd int, err error) {
	p := snapshotParser{ns: ns, seen: map[string]string{}, verified: map[string]Verification{}}
	shapeless, err := decodeList(r, p.add)
	if err != nil {
		return nil, 0, err
	}
	slices.SortFunc(p.all, func(a, b Snapshot) int {
		return cmp.Or(strings.Compare(a.Type, b.Type), strings.Compare(a.ID, b.ID), a.Time.Compare(b.Time))
	})
	return p.all, p.odd + shapeless, nil
}

// snapshotParser keeps one copy of each text: a datastore has thousands of
// snapshots, and a few owners, file names, keys and verification tasks.
type snapshotParser struct {
	ns       string
	all      []Snapshot
	odd      int
	seen     map[string]string
	verified map[string]Verification
}

func (p *snapshotParser) add(row *snapshotRow) {
	if row.Type == "" || row.ID == "" || row.Time.time().IsZero() {
		p.odd++
		return
	}
	s := Snapshot{
		Namespace: p.ns, Type: p.one(row.Type), ID: p.one(row.ID), Time: row.Time.time(), Size: row.Size.count(),
		Owner: p.one(row.Owner), Protected: bool(row.Protected), Comment: p.one(row.Comment), Fingerprint: p.one(row.Fingerprint),
		InFlight: true, Files: make([]File, len(row.Files)),
	}
	told := row.Size.known
	for i, f := range row.Files {
		told = told || f.Size.known || f.Crypt != ""
		s.Files[i] = File{Name: p.one(f.Name), Crypt: p.one(f.Crypt), Size: f.Size.count()}
		if f.Name == indexName {
			s.InFlight = false
		}
	}
	s.Unreadable = !s.InFlight && !told
	if row.Verification != nil {
		s.Verify = p.verification(string(row.Verification.State), string(row.Verification.UPID))
	}
	p.all = append(p.all, s)
}

func (p *snapshotParser) one(t text) string {
	if known, ok := p.seen[string(t)]; ok {
		return known
	}
	p.seen[string(t)] = string(t)
	return string(t)
}

func (p *snapshotParser) verification(state, upid string) Verification {
	key := state + " " + upid
	if known, ok := p.verified[key]; ok {
		return known
	}
	v := Verification{State: state, UPID: upid}
	if task, err := ParseUPID(upid); err == nil {
		v.At = task.Started
	}
	p.verified[key] = v
	return v
}

// namespaces lists the namespaces that exist and that the token may see.
func (c *Client) namespaces(ctx context.Context) ([]string, error) {
	type row struct {
		NS *string `json:"ns"`
	}
	found, odd, err := rows[row](ctx, c, request{
		what: "reading the namespaces of datastore " + c.cfg.Datastore,
		path: c.storePath("namespace"), walk: true,
	})
	if err != nil {
		return nil, err
	}
	all := make([]string, 0, len(found))
	for _, r := range found {
		if r.NS == nil {
			odd++
			continue
		}
		all = append(all, *r.NS)
	}
	if odd > 0 {
		return nil, errors.New("reading the namespaces: the answer is in a form that is not understood")
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}
