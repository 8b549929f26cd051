package restic

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// OperationTag begins the tag by which the snapshot of an operation is found
// again after a crash. Retention does not count it: see Plan of retention.go.
const OperationTag = "cairn-op-"

// BackupResult is what a backup made.
type BackupResult struct {
	Snapshot string // full id
	Files    int64
	Bytes    int64 // size of what was backed up
	Added    int64 // bytes added to the repository
	Started  time.Time
	Ended    time.Time
	Skipped  []string // files that could not be read, each with why; the snapshot lacks them
}

// Backup makes a snapshot of the configured paths, with these tags besides those
// that make it ours. Files that could not be read are no error: they are in the
// result, and the snapshot is there. Progress comes as messages of type status.
func (c *Client) Backup(ctx context.Context, how How, tags ...string) (BackupResult, error) {
	result := BackupResult{Started: c.now()}
	var summary Message
	tell, read := serially(how.Tell), int64(0)
	args := []string{"backup", "--json"}
	for _, tag := range c.Tags(tags...) {
		args = append(args, "--tag", tag)
	}
	if host, err := c.Host(); err != nil {
		return result, err
	} else if host != "" {
		args = append(args, "--host", host)
	}
	for _, pattern := range c.cfg.Exclude {
		args = append(args, "--exclude", pattern)
	}
	args = append(append(args, "--"), c.cfg.Paths...)
	out, err := c.act(ctx, how, call{args: args, moved: func(line []byte) bool {
		m, ok := ParseMessage(line)
		if !ok {
			return false
		}
		if m.Type == "summary" {
			summary = m
		}
		tell(m)
		more := m.Bytes+m.Files > read
		read = m.Bytes + m.Files
		return more
	}})
	result.Ended = c.now()
	var e *Error
	if errors.As(err, &e) && e.Kind == Partial {
		result.Skipped, err = unread(out.notes), nil
	}
	if err != nil {
		return result, err
	}
	result.Files, result.Bytes, result.Added = summary.Files, summary.Bytes, summary.Added
	result.Snapshot, err = c.fullID(ctx, how, summary.Snapshot)
	return result, err
}

// unread drops what is no file from the notes of a partial backup.
func unread(notes []string) []string {
	return slices.DeleteFunc(slices.Clone(notes), func(note string) bool {
		return strings.HasPrefix(note, "Warning: ") || strings.HasPrefix(note, "unable to open cache") || !strings.Contains(note, "/")
	})
}

// Tags are those of a new snapshot: the ones that make it ours, and more.
func (c *Client) Tags(more ...string) []string {
	var tags []string
	if len(c.cfg.Match.Tags) > 0 {
		tags = append(tags, c.cfg.Match.Tags[0])
	}
	return append(tags, more...)
}

// Host is the name that a new snapshot carries: this host's own, or the one
// without which it would not be ours.
func (c *Client) Host() (string, error) {
	hosts := c.cfg.Match.Hosts
	switch {
	case len(hosts) == 0 || slices.Contains(hosts, c.host):
		return c.host, nil
	case len(hosts) == 1:
		return hosts[0], nil
	}
	return "", &Error{Source: c.source, Kind: Failed, Why: fmt.Sprintf("match.hosts lists %s, but not this host (%s): its snapshots would not count", strings.Join(hosts, ", "), c.host),
		Hint: "add this host to match.hosts"}
}

// fullID completes the id that 0.14 shortens.
func (c *Client) fullID(ctx context.Context, how How, short string) (string, error) {
	if len(short) == 64 || short == "" {
		return short, nil
	}
	out, err := c.run(ctx, call{args: c.reading("snapshots", "--json", short), eager: true, held: how.Held})
	if err != nil {
		return short, fmt.Errorf("reading the new snapshot %s: %w", short, err)
	}
	all, err := ParseSnapshots(out.stdout)
	if err != nil || len(all) != 1 {
		return short, errors.Join(err, fmt.Errorf("the new snapshot %s of %s is not to be found", short, c.source))
	}
	return all[0].ID, nil
}

// Made looks for the snapshot that carries tag, after a crash.
func (f Facts) Made(tag string) (Snapshot, bool) {
	for _, s := range slices.Backward(f.Snapshots) {
		if slices.Contains(s.Tags, tag) {
			return s, true
		}
	}
	return Snapshot{}, false
}

// MissingPaths are the configured paths that are not there: before 0.19, restic
// leaves them out and calls that success.
func (c *Client) MissingPaths() []string {
	return slices.DeleteFunc(slices.Clone(c.cfg.Paths), func(path string) bool {
		_, err := os.Lstat(path)
		return err == nil
	})
}
