package restic

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
)

// Init makes the repository. With from, it cuts files into chunks as that one
// does: copies then share the data of what is backed up here directly.
func (c *Client) Init(ctx context.Context, how How, from *Client) error {
	args := []string{"init"}
	if from == nil {
		_, err := c.act(ctx, how, call{args: args})
		return err
	}
	return c.withSource(ctx, from, how.FromHeld, func(what call) error {
		what.args = append(append(args, "--copy-chunker-params"), what.args...)
		_, err := c.act(ctx, how, what)
		return err
	})
}

// Copy copies these snapshots from another repository. Those that are here
// already are left out by restic. copied are the ids that the snapshots have
// here, of all that were asked for, read anew afterwards.
func (c *Client) Copy(ctx context.Context, how How, from *Client, ids []string) (copied []Snapshot, err error) {
	if len(ids) == 0 {
		return nil, &Error{Source: c.source, Kind: Failed, Why: "no snapshot was named to be copied: restic would copy all of them", Hint: "name them"}
	}
	began := c.now()
	err = c.withSource(ctx, from, how.FromHeld, func(what call) error {
		what.args = append(append([]string{"copy"}, what.args...), ids...)
		_, err := c.act(ctx, how, what)
		return err
	})
	if err != nil && (ctx.Err() != nil || errors.Is(err, errPatience)) {
		theirs := how
		theirs.Held = how.FromHeld
		err = from.tidy(ctx, theirs, began, err) // which it has locked too
	}
	if err != nil {
		return nil, err
	}
	facts, err := c.Survey(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading what was copied: %w", err)
	}
	for _, id := range ids {
		s, there := facts.CopyOf(id)
		if !there {
			return copied, &Error{Source: c.source, Kind: Failed, Why: fmt.Sprintf("restic said that it copied snapshot %.8s, and it is not there", id), Hint: "look at the repository, then copy again"}
		}
		copied = append(copied, s)
	}
	return copied, nil
}

// CopyOf finds the snapshot that id was copied as, or id itself. A copy of a
// copy names the first of all as its original.
func (f Facts) CopyOf(id string) (Snapshot, bool) {
	i := slices.IndexFunc(f.Snapshots, func(s Snapshot) bool { return s.ID == id || s.Original == id })
	if i < 0 {
		return Snapshot{}, false
	}
	return f.Snapshots[i], true
}

// withSource adds to a call what restic needs to read from another repository.
// Both share one environment: a variable that both set must have one value.
func (c *Client) withSource(ctx context.Context, from *Client, held *os.File, do func(call) error) error {
	theirs, err := from.env(ctx)
	if err != nil {
		return err
	}
	ours, err := c.env(ctx)
	if err != nil {
		return err
	}
	both := map[string]string{}
	for _, set := range slices.Concat(ours, theirs) {
		name, value, _ := strings.Cut(set, "=")
		if old, ok := both[name]; ok && old != value {
			return &Error{Source: c.source, Kind: NoSecret, Why: fmt.Sprintf("env sets %s here and in [%s], to two values, and one restic can be given one only", name, from.source),
				Hint: "give one account access to both, or set copy_from to a repository that needs no such variable"}
		}
		both[name] = value
	}
	var env []string
	for _, name := range slices.Sorted(maps.Keys(both)) {
		if !slices.Contains(ours, name+"="+both[name]) {
			env = append(env, name+"="+both[name])
		}
	}
	password, err := from.secrets.Read(ctx, from.cfg.Password, "the password of "+from.source)
	if err != nil {
		return from.noSecret(err)
	}
	what := call{args: []string{"--from-repository-file", descriptor(0), "--from-password-file", descriptor(1)}, env: env, held: held}
	files, err := hidden(what.place(from, 2), password.Reveal())
	if err != nil {
		return from.noSecret(fmt.Errorf("passing the password to restic: %w", err))
	}
	defer closeAll(files)
	what.files = append(files, what.files...)
	return do(what)
}

// Dump writes one file of a snapshot to w; of a directory, a tar of all below it.
func (c *Client) Dump(ctx context.Context, how How, id, path string, w io.Writer) error {
	if !isID(id) {
		return &Error{Source: c.source, Kind: Failed, Why: fmt.Sprintf("%q is no full id of a snapshot", id), Hint: "name a full id: latest is the newest of all hosts and paths"}
	}
	broken := &sink{w: w}
	_, err := c.act(ctx, how, call{args: c.reading("dump", id, path), raw: broken})
	if broken.err != nil {
		return broken.err // why restic had to end
	}
	return err
}

// sink remembers the error of its writer: restic only tells of a broken pipe.
type sink struct {
	w   io.Writer
	err error
}

func (s *sink) Write(p []byte) (int, error) {
	n, err := s.w.Write(p)
	if err != nil && s.err == nil && !errors.Is(err, os.ErrClosed) {
		s.err = err
	}
	return n, err
}
