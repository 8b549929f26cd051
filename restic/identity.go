package restic

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// Identity tells this repository from every other one, also from one that was made
// anew at the same place: of a remote one its id; of a local one, whose key costs a
// second to open, the hash of its encrypted config, which is no other's. The error
// is an *Error of the kind Missing where there is none.
func (c *Client) Identity(ctx context.Context) (string, error) {
	ctx, end, err := c.begin(ctx)
	if err != nil {
		return "", err
	}
	defer end()
	if c.dir == nil {
		return c.repositoryID(ctx)
	}
	text, err := await(ctx, c.dir, func() ([]byte, error) { return os.ReadFile(filepath.Join(c.dir.path, "config")) })
	if err != nil {
		return "", c.unreadable(ctx, err)
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:]), nil
}

// HasSnapshot says whether the repository holds the snapshot with this full id, or a
// copy of it. Of a local one the name of its file tells.
func (c *Client) HasSnapshot(ctx context.Context, id string) (bool, error) {
	if c.dir != nil && isID(id) {
		looking, end, err := c.begin(ctx)
		if err != nil {
			return false, err
		}
		there, err := await(looking, c.dir, func() (bool, error) {
			_, err := os.Lstat(filepath.Join(c.dir.path, "snapshots", id))
			return err == nil, err
		})
		end()
		if there || err != nil && !errors.Is(err, fs.ErrNotExist) {
			return there, err
		}
	}
	facts, err := c.Survey(ctx)
	_, there := facts.CopyOf(id)
	return there, err
}

func (c *Client) repositoryID(ctx context.Context) (string, error) {
	out, err := c.query(ctx, "cat", "config")
	if err != nil {
		return "", err
	}
	id, err := parseConfigID(out.stdout)
	if err != nil {
		return "", &Error{Source: c.source, Kind: Damaged, Why: err.Error(), Hint: c.hint(Damaged), Err: err}
	}
	return id, nil
}
