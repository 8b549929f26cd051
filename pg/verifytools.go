package pg

import (
	"context"
	"errors"
	"fmt"

	"cairn/internal/command"
)

// Finding is what a tool's own verification says of one of its backups, or of
// all that it holds.
type Finding struct {
	Label string // of the backup; empty: of the whole
	Bad   string // what is wrong with it; empty: nothing
	Text  string // what was looked at
	Read  bool   // every byte of the backup was read
}

// Verifiable lists the other tools that are configured for this server, by name.
func (c *Client) Verifiable() []string {
	var all []string
	for _, t := range c.cfg.tools() {
		all = append(all, t.name)
	}
	return all
}

// VerifyTool has another tool verify what it holds, which takes as long as that
// is large. Their exit codes are not believed: pgBackRest's is 0 when a backup is
// corrupted. The error says why it could not be asked.
func (c *Client) VerifyTool(ctx context.Context, name string, w Work) ([]Finding, error) {
	for _, t := range c.cfg.tools() {
		if t.name != name {
			continue
		}
		if t.verify == nil {
			return c.verifyEach(ctx, t, w)
		}
		result, err := command.Run(ctx, access{}.spec(w, t.verify...))
		var exit *command.ExitError
		if err != nil && !errors.As(err, &exit) {
			return nil, fmt.Errorf("%s could not be asked to verify: %w", t.name, err)
		}
		found, understood := t.parseVerify(result.Stdout)
		if !understood {
			return nil, fmt.Errorf("%s does not say how its verification ended: %w", t.name, cmpErr(err, errors.New("it printed no status")))
		}
		return found, nil
	}
	return nil, fmt.Errorf("postgres.%s names no %s", c.name, name)
}

func cmpErr(a, b error) error {
	if a != nil {
		return a
	}
	return b
}
