package restic

import (
	"context"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// FilePieces tells of what pieces a snapshot says that files are made, by their
// paths as recorded. One that it does not hold is left out. It fetches metadata
// only, with one restic for each directory on the way to the files. limit is for
// all of it.
func (c *Client) FilePieces(ctx context.Context, s Snapshot, files []string, limit time.Duration) (map[string][]Piece, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errLimit)
	defer cancel()
	wanted := map[string][]string{} // by directory
	for _, file := range files {
		wanted[path.Dir(file)] = append(wanted[path.Dir(file)], path.Base(file))
	}
	t := treeReader{client: c, trees: map[string]map[string]treeNode{}, root: s.Tree}
	out := map[string][]Piece{}
	for dir, names := range wanted {
		nodes, err := t.read(ctx, dir)
		if err != nil {
			return nil, fmt.Errorf("reading %s of snapshot %.8s of %s: %w", dir, s.ID, c.source, err)
		}
		for _, name := range names {
			node, there := nodes[name]
			if !there || node.Type != "file" {
				continue
			}
			pieces := make([]Piece, 0, len(node.Content))
			for _, id := range node.Content {
				p, err := parsePiece(id)
				if err != nil {
					return nil, fmt.Errorf("the pieces of %s in snapshot %.8s of %s: %w", path.Join(dir, name), s.ID, c.source, err)
				}
				pieces = append(pieces, p)
			}
			out[path.Join(dir, name)] = pieces
		}
	}
	return out, nil
}

// treeNode is an entry of a directory, as the repository keeps it.
type treeNode struct {
	Name    string   `json:"name"`
	Type    string   `json:"type"`
	Content []string `json:"content"` // of a file; null: it is empty
	Subtree string   `json:"subtree"` // of a directory
}

// treeReader reads directories of one snapshot, each once.
type treeReader struct {
	client *Client
	root   string
	trees  map[string]map[string]treeNode
}

// read returns the entries of a directory by name; none where it is not there.
func (t *treeReader) read(ctx context.Context, dir string) (map[string]treeNode, error) {
	if known, ok := t.trees[dir]; ok {
		return known, nil
	}
	id := t.root
	if dir != "/" {
		above, err := t.read(ctx, path.Dir(dir))
		if err != nil {
			return nil, err
		}
		id = above[path.Base(dir)].Subtree
		if id == "" {
			t.trees[dir] = nil
			return nil, nil
		}
	}
	if !isID(id) {
		return nil, fmt.Errorf("its tree %.70q is no id", id)
	}
	out, err := t.client.run(ctx, call{args: t.client.reading("cat", "blob", id), eager: true}) // "cat tree" is younger than 0.14
	if err != nil {
		return nil, err
	}
	t.trees[dir], err = parseTree(out.stdout)
	return t.trees[dir], err
}

// parseTree reads a directory of a repository.
func parseTree(text []byte) (map[string]treeNode, error) {
	var tree struct {
		Nodes []treeNode `json:"nodes"`
	}
	if err := json.Unmarshal(text, &tree); err != nil {
		return nil, fmt.Errorf("a directory cannot be read: %w", err)
	}
	out := make(map[string]treeNode, len(tree.Nodes))
	for _, n := range tree.Nodes {
		name, err := strconv.Unquote(`"` + n.Name + `"`) // kept as Go would write it
		if err != nil || name == "" || strings.Contains(name, "/") {
			return nil, fmt.Errorf("a directory has an entry %.80q", n.Name)
		}
		n.Name, n.Content = name, slices.Clip(n.Content)
		out[name] = n
	}
	return out, nil
}
