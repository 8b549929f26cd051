package restic

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"sort"
	"strings"
	"time"
)

// Tree is the files of a snapshot, kept small: half a million of them take some
// 40 MB. It is read once and then never changed.
type Tree struct {
	nodes []node
	names []byte
	first []int32 // of each node, where its children begin in order; one more at the end
	order []int32 // all nodes but the root, by parent and name

	Files, Dirs int
	Bytes       int64 // of all files
}

// node is one file. Its name lies in Tree.names.
type node struct {
	name   uint32
	length uint16
	kind   byte // 'f' a file, 'd' a directory, 's' a symlink, 0 something else
	parent int32
	size   int64
	time   int64 // seconds since 1970
}

// Node is a file of a tree, by number: 0 is the root.
type Node struct {
	ID       int
	Name     string
	Kind     string // "file", "dir", "symlink", "other"
	Size     int64  // of a file
	Modified time.Time
}

// Ls reads the files of a snapshot, those below these paths, or all. listed is
// called now and then with how many there are so far.
func (c *Client) Ls(ctx context.Context, how How, id string, paths []string, listed func(files int)) (*Tree, error) {
	if !isID(id) {
		return nil, &Error{Source: c.source, Kind: Failed, Why: fmt.Sprintf("%q is no full id of a snapshot", id), Hint: "name a full id: latest is the newest of all hosts and paths"}
	}
	b := newTreeBuilder()
	args := c.reading("ls", "--json", id)
	if len(paths) > 0 {
		args = append(append(args, "--recursive"), paths...)
	}
	var bad error
	_, err := c.act(ctx, how, call{args: args, moved: func(line []byte) bool {
		if err := b.add(line); err != nil && bad == nil {
			bad = err
		}
		if n := len(b.tree.nodes); listed != nil && n%4096 == 0 {
			listed(n)
		}
		return true
	}})
	if err = errors.Join(err, bad); err != nil {
		return nil, err
	}
	return b.done(), nil
}

// treeBuilder makes a tree of lines. restic lists a directory before what is in
// it, so the directories that lead to the line before are nearly always the
// right ones.
type treeBuilder struct {
	tree  *Tree
	dirs  map[string]int32 // every directory, by path
	last  string           // the directory of the line before
	below int32            // its node
}

func newTreeBuilder() *treeBuilder {
	return &treeBuilder{tree: &Tree{nodes: []node{{kind: 'd'}}}, dirs: map[string]int32{"/": 0}, last: "/"}
}

var kinds = map[string]byte{"file": 'f', "dir": 'd', "symlink": 's'}

// mostNodes is how many files a tree holds at most: its numbers have 31 bits.
const mostNodes = 1 << 30

func (b *treeBuilder) add(line []byte) error {
	var n struct {
		Type    string    `json:"type"`
		Path    string    `json:"path"`
		Size    float64   `json:"size"`
		Time    time.Time `json:"mtime"`
		Struct  string    `json:"struct_type"` // since 0.17 message_type says the same
		Message string    `json:"message_type"`
	}
	if len(bytes.TrimSpace(line)) == 0 {
		return nil
	}
	if err := json.Unmarshal(line, &n); err != nil {
		return fmt.Errorf("a line of the list of files cannot be read: %w", err)
	}
	if n.Struct != "node" && n.Message != "node" || !strings.HasPrefix(n.Path, "/") {
		return nil // the snapshot itself
	}
	if len(b.tree.nodes) >= mostNodes || len(b.tree.names) > 1<<32-1<<20 {
		return errors.New("the snapshot holds more files than can be shown")
	}
	full := path.Clean(n.Path)
	if full == "/" {
		return nil
	}
	dir, name := path.Split(full)
	if dir = path.Clean(dir); dir != b.last {
		b.last, b.below = dir, b.directory(dir)
	}
	if known, ok := b.dirs[full]; ok {
		b.tree.nodes[known].time = n.Time.Unix() // it was made up for a child
		return nil
	}
	id := b.put(name, b.below, kinds[n.Type], count(n.Size), n.Time.Unix())
	if n.Type == "dir" {
		b.dirs[full] = id
	}
	return nil
}

func (b *treeBuilder) put(name string, parent int32, kind byte, size, at int64) int32 {
	t := b.tree
	name = name[:min(len(name), 1<<16-1)]
	t.nodes = append(t.nodes, node{name: uint32(len(t.names)), length: uint16(len(name)), kind: kind, parent: parent, size: size, time: at})
	t.names = append(t.names, name...)
	switch kind {
	case 'd':
		t.Dirs++
	case 'f':
		t.Files++
		t.Bytes += size
	}
	return int32(len(t.nodes) - 1)
}

// directory returns the node of a directory, and makes it up where it was not
// listed: a list of some paths begins at these.
func (b *treeBuilder) directory(dir string) int32 {
	if id, ok := b.dirs[dir]; ok {
		return id
	}
	up, name := path.Split(dir)
	id := b.put(name, b.directory(path.Clean(up)), 'd', 0, 0)
	b.dirs[dir] = id
	return id
}

// done puts the children of each directory side by side, by name.
func (b *treeBuilder) done() *Tree {
	t := b.tree
	t.names, t.nodes = slices.Clip(t.names), slices.Clip(t.nodes)
	t.first = make([]int32, len(t.nodes)+1)
	for _, n := range t.nodes[1:] {
		t.first[n.parent+1]++
	}
	for i := range len(t.nodes) {
		t.first[i+1] += t.first[i]
	}
	t.order = make([]int32, len(t.nodes)-1)
	at := slices.Clone(t.first)
	for i := 1; i < len(t.nodes); i++ {
		p := t.nodes[i].parent
		t.order[at[p]] = int32(i)
		at[p]++
	}
	for i := range t.nodes {
		below := t.children(i)
		if !slices.IsSortedFunc(below, t.compare) {
			slices.SortFunc(below, t.compare)
		}
	}
	return t
}

func (t *Tree) children(id int) []int32 { return t.order[t.first[id]:t.first[id+1]] }

func (t *Tree) compare(a, b int32) int { return bytes.Compare(t.name(a), t.name(b)) }

func (t *Tree) name(id int32) []byte {
	n := t.nodes[id]
	return t.names[n.name : n.name+uint32(n.length)]
}

// Len is how many files and directories there are, the root among them.
func (t *Tree) Len() int { return len(t.nodes) }

// Node returns the file of a number.
func (t *Tree) Node(id int) Node {
	n := t.nodes[id]
	kind := map[byte]string{'f': "file", 'd': "dir", 's': "symlink"}[n.kind]
	return Node{ID: id, Name: string(t.name(int32(id))), Kind: cmp.Or(kind, "other"), Size: n.size, Modified: time.Unix(n.time, 0)}
}

// Children lists what lies in a directory, by name: at most so many, from the
// given place on.
func (t *Tree) Children(id, from, atMost int) []Node {
	all := t.children(id)
	from = min(max(0, from), len(all))
	out := make([]Node, 0, min(atMost, len(all)-from))
	for _, child := range all[from:min(len(all), from+atMost)] {
		out = append(out, t.Node(int(child)))
	}
	return out
}

// Count is how many files lie in a directory.
func (t *Tree) Count(id int) int { return len(t.children(id)) }

// Parent returns the directory of a file; the root is its own.
func (t *Tree) Parent(id int) int { return int(t.nodes[id].parent) }

// Path returns the full path of a file.
func (t *Tree) Path(id int) string {
	var parts []string
	for ; id != 0; id = t.Parent(id) {
		parts = append(parts, string(t.name(int32(id))))
	}
	slices.Reverse(parts)
	return "/" + strings.Join(parts, "/")
}

// Find returns the file at a full path.
func (t *Tree) Find(full string) (Node, bool) {
	id := 0
	for part := range strings.SplitSeq(strings.Trim(path.Clean(full), "/"), "/") {
		if part == "" || part == "." {
			continue
		}
		below := t.children(id)
		i := sort.Search(len(below), func(i int) bool { return string(t.name(below[i])) >= part })
		if i == len(below) || string(t.name(below[i])) != part {
			return Node{}, false
		}
		id = int(below[i])
	}
	return t.Node(id), true
}

// Search returns files whose name holds text, whatever the case, in the order
// of the tree, at most so many.
func (t *Tree) Search(text string, atMost int) []Node {
	holds := folded(text)
	var out []Node
	for i := 1; i < len(t.nodes) && len(out) < atMost; i++ {
		if holds(t.name(int32(i))) {
			out = append(out, t.Node(i))
		}
	}
	return out
}

// Below counts the files at and below a path, and their bytes.
func (t *Tree) Below(full string) (files int, size int64, found bool) {
	n, found := t.Find(full)
	if !found {
		return 0, 0, false
	}
	open := []int32{int32(n.ID)}
	for len(open) > 0 {
		id := open[len(open)-1]
		open = append(open[:len(open)-1], t.children(int(id))...)
		if at := t.nodes[id]; at.kind == 'f' {
			files++
			size += at.size
		}
	}
	return files, size, true
}
