package restic

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// FileVersion is one version of a file in a snapshot.
type FileVersion struct {
	Snapshot Snapshot
	Size     int64
	Modified time.Time
	Same     bool // as in the snapshot before: same size and time
}

// Versions looks for one file in all snapshots that are ours, newest first.
func (c *Client) Versions(ctx context.Context, how How, path string) ([]FileVersion, error) {
	facts, err := c.Survey(ctx)
	if err != nil {
		return nil, err
	}
	var text bytes.Buffer
	if _, err := c.act(ctx, how, call{args: c.reading("find", "--json", literal(path)), raw: &text}); err != nil {
		return nil, err
	}
	found, err := parseFound(text.Bytes(), path)
	if err != nil {
		return nil, err
	}
	var out []FileVersion
	for _, s := range facts.Snapshots { // oldest first
		v, ok := found[s.ID]
		if !ok {
			continue
		}
		v.Snapshot = s
		if n := len(out); n > 0 {
			v.Same = out[n-1].Size == v.Size && out[n-1].Modified.Equal(v.Modified)
		}
		out = append(out, v)
	}
	slices.Reverse(out)
	return out, nil
}

// parseFound reads what `find --json` writes: the versions by snapshot.
func parseFound(text []byte, path string) (map[string]FileVersion, error) {
	var all []struct {
		Snapshot string `json:"snapshot"`
		Matches  []struct {
			Path string    `json:"path"`
			Size float64   `json:"size"`
			Time time.Time `json:"mtime"`
		} `json:"matches"`
	}
	if len(bytes.TrimSpace(text)) == 0 {
		return nil, nil
	}
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, fmt.Errorf("what restic found cannot be read: %w", err)
	}
	out := map[string]FileVersion{}
	for _, s := range all {
		for _, m := range s.Matches {
			if m.Path == path {
				out[s.Snapshot] = FileVersion{Size: count(m.Size), Modified: m.Time}
			}
		}
	}
	return out, nil
}

// literal escapes what restic's patterns take for more than themselves.
func literal(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`).Replace(path)
}

// Change is one difference between two snapshots.
type Change struct {
	Path string
	What string // "+" added, "-" removed, "M" content, "U" metadata, "T" type; several at once
}

// Changes is what differs between two snapshots.
type Changes struct {
	Changes                 []Change // at most so many as were asked for
	Added, Removed, Changed int      // files, all of them
	More                    bool     // there are more changes than were kept
}

// Diff compares two snapshots and keeps at most so many changes.
func (c *Client) Diff(ctx context.Context, how How, from, to string, atMost int) (Changes, error) {
	var out Changes
	var bad error
	if !isID(from) || !isID(to) {
		return out, &Error{Source: c.source, Kind: Failed, Why: fmt.Sprintf("%q and %q are not two full ids", from, to), Hint: "name full ids"}
	}
	_, err := c.act(ctx, how, call{args: c.reading("diff", "--json", from, to), moved: func(line []byte) bool {
		change, ok, err := parseChange(line)
		switch {
		case err != nil && bad == nil:
			bad = err
		case ok:
			out.count(change, atMost)
		}
		return true
	}})
	return out, errors.Join(err, bad)
}

func (c *Changes) count(change Change, atMost int) {
	switch {
	case strings.HasSuffix(change.Path, "/"): // a directory
	case strings.Contains(change.What, "+"):
		c.Added++
	case strings.Contains(change.What, "-"):
		c.Removed++
	default:
		c.Changed++
	}
	if c.More = c.More || len(c.Changes) >= atMost; !c.More {
		c.Changes = append(c.Changes, change)
	}
}

func parseChange(line []byte) (Change, bool, error) {
	var m struct {
		Type string `json:"message_type"`
		Path string `json:"path"`
		What string `json:"modifier"`
	}
	if !bytes.HasPrefix(bytes.TrimSpace(line), []byte("{")) {
		return Change{}, false, nil
	}
	if err := json.Unmarshal(line, &m); err != nil {
		return Change{}, false, fmt.Errorf("a difference cannot be read: %w", err)
	}
	return Change{m.Path, m.What}, m.Type == "change" && m.Path != "", nil
}
