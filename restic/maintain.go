package restic

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"cairn/internal/command"
)

// Forget removes these snapshots, which a dry run has chosen. What a repository
// refuses to remove is an *Error of the kind AppendOnly; removed says what is
// gone all the same, read anew.
func (c *Client) Forget(ctx context.Context, how How, ids []string) (removed []string, err error) {
	for _, id := range ids {
		if !isID(id) {
			return nil, &Error{Source: c.source, Kind: Failed, Why: fmt.Sprintf("%q is no full id of a snapshot: nothing was forgotten", id), Hint: "name full ids"}
		}
	}
	var said []string
	for some := range slices.Chunk(ids, argvIDs) {
		var out outcome
		out, err = c.act(ctx, how, call{args: append([]string{"forget"}, some...)})
		if said = append(said, out.notes...); err != nil {
			break
		}
	}
	facts, read := c.Survey(context.WithoutCancel(ctx))
	if read != nil {
		return nil, errors.Join(err, fmt.Errorf("reading what is left after forgetting: %w", read))
	}
	left := map[string]bool{}
	for _, s := range facts.Snapshots {
		left[s.ID] = true
	}
	for _, id := range ids {
		if !left[id] {
			removed = append(removed, id)
		}
	}
	return removed, c.refused(err, said, len(removed) == len(ids))
}

// refused tells a repository that removes nothing from other failures: 0.14 ends
// with 1 and 0.19 with 3 there, 0.18 with 0. A directory of ours that may not be
// written, or a read-only file system, is no such repository; one whose files are
// marked immutable is.
func (c *Client) refused(err error, said []string, all bool) error {
	var e *Error
	switch refused := errors.As(err, &e) && (e.Kind == Denied || e.Kind == Partial); {
	case err == nil && all:
		return nil
	case err != nil && !refused:
		return err
	}
	why := "restic said that it was done, and they are still there"
	if i := slices.IndexFunc(said, func(note string) bool { return classify(0, note) == Denied }); i >= 0 {
		why = said[i]
	} else if e != nil {
		why = e.Why
	}
	kind := AppendOnly
	if lower := strings.ToLower(why); c.dir != nil && (strings.Contains(lower, "permission denied") || strings.Contains(lower, "read-only file system")) {
		kind = Denied
	}
	out := c.explain(kind, why)
	out.Err = err
	return out
}

// Prune removes the data that no snapshot needs any more.
func (c *Client) Prune(ctx context.Context, how How) error {
	out, err := c.act(ctx, how, call{args: []string{"prune"}})
	var e *Error
	if errors.As(err, &e) && e.Kind == Denied {
		return c.refused(err, out.notes, false)
	}
	return err
}

// Check looks whether the repository's structure is whole, and reads one part of
// its packs (the nth of so many, 1 ≤ n ≤ of ≤ 256) to compare their content; of
// 0 reads none. Only a part that was read is shown to be good. What it finds
// damaged is an *Error of the kind Damaged that names the first finding.
func (c *Client) Check(ctx context.Context, how How, n, of int) error {
	args := []string{"check"}
	if of > 0 {
		args = append(args, fmt.Sprintf("--read-data-subset=%d/%d", n, of))
	}
	out, err := c.act(ctx, how, call{args: args})
	var e *Error
	if !errors.As(err, &e) || e.Kind != Failed && e.Kind != Damaged || ctx.Err() != nil {
		return err
	}
	var exit *command.ExitError
	if !errors.As(err, &exit) || exit.Signal != 0 || exit.Code == crashed {
		return err
	}
	if e.Kind == Failed && beforeChecking(e.Why) {
		return err
	}
	damage := c.explain(Damaged, findings(out.notes, e.Why))
	if strings.Contains(strings.Join(out.notes, "\n"), secondAttempt) {
		damage.Hint = "what was read right the second time is whole in the repository: look at the disk, its cable and this host's memory; " + damage.Hint
	}
	return damage
}

// secondAttempt is what a check says of a pack that was wrong when it was read
// first, and right when it was read again.
const secondAttempt = "successful on second attempt"

// beforeChecking reports whether restic ended before it looked at what a check
// looks at: that tells nothing of the repository.
func beforeChecking(why string) bool {
	why = strings.ToLower(why)
	for _, words := range []string{"unable to open config file", "unable to open repository", "unable to open cache", "unable to create lock",
		"unable to create temporary", "parsing repository location", "resolving password", "unknown flag", "unknown command", "unknown option", "invalid option"} {
		if strings.Contains(why, words) {
			return true
		}
	}
	return false
}

// crashed is what a Go program ends with that fails in itself, as where memory runs
// out in the middle of a check: nothing is known of the repository then.
const crashed = 2

// findings are the first lines in which a check names what is wrong.
func findings(notes []string, otherwise string) string {
	const shown = 3
	var said []string
	for _, note := range notes {
		lower := strings.ToLower(note)
		if strings.Contains(lower, "pack") || strings.Contains(lower, "error") || strings.Contains(lower, "damaged") || strings.Contains(lower, "does not match") {
			said = append(said, note)
		}
	}
	switch {
	case len(said) == 0:
		return otherwise
	case len(said) > shown:
		said = append(said[:shown], fmt.Sprintf("and %d lines more", len(said)-shown))
	}
	return strings.Join(said, "; ")
}

// Unlock removes locks that nobody holds any more: of processes of this host
// that are gone, or not renewed for StaleAge. Others stay. removed are those
// that went, with owner, PID and time.
func (c *Client) Unlock(ctx context.Context, how How) (removed []Lock, err error) {
	before, err := c.Survey(ctx)
	if err != nil {
		return nil, err
	}
	stale := slices.DeleteFunc(slices.Clone(before.Locks), func(l Lock) bool { return !l.Stale(c.now()) })
	if len(stale) == 0 {
		return nil, nil
	}
	if _, err := c.act(ctx, how, call{args: []string{"unlock"}}); err != nil {
		return nil, err
	}
	after, err := c.Survey(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading which locks are left: %w", err)
	}
	for _, l := range stale {
		if !slices.ContainsFunc(after.Locks, func(left Lock) bool { return left.ID == l.ID }) {
			removed = append(removed, l)
		}
	}
	return removed, nil
}

// Describe names the lock for a person: owner, PID, age, and whether it is dead.
func (l Lock) Describe(now time.Time) string {
	kind, state := "a shared lock", ""
	if l.Exclusive {
		kind = "an exclusive lock"
	}
	switch {
	case l.Dead:
		state = ", whose process is gone"
	case l.Stale(now):
		state = ", not renewed for over " + StaleAge.String()
	}
	return fmt.Sprintf("%s of %s on %s (PID %d), %s old%s", kind, l.Username, l.Hostname, l.PID, now.Sub(l.Time).Round(time.Second), state)
}

// Sizes fills in the size of those of the snapshots, newest first, that restic
// before 0.17 made, by asking for at most so many of them.
func (c *Client) Sizes(ctx context.Context, snapshots []Snapshot, atMost int) error {
	for i := len(snapshots) - 1; i >= 0 && atMost > 0; i-- {
		s := &snapshots[i]
		if s.Summary != nil {
			continue
		}
		atMost--
		out, err := c.query(ctx, "stats", "--json", "--mode", "restore-size", s.ID)
		if err != nil {
			return fmt.Errorf("asking for the size of snapshot %s: %w", s.Short, err)
		}
		files, bytes, err := parseStats(out.stdout)
		if err != nil {
			return err
		}
		s.Summary = &Summary{Files: files, Bytes: bytes}
	}
	return nil
}
