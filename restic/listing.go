package restic

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"
)

// EachFile calls each for every regular file of a snapshot that lies in one of
// the directories, given as recorded; the path is valid during the call. Of a
// remote repository it fetches the directories' metadata, which restic then
// keeps in its cache. An error of each ends it.
func (c *Client) EachFile(ctx context.Context, snapshot string, dirs []string, limit time.Duration, each func(path []byte, size int64) error) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var failed error
	listed := false
	args := append(c.reading("ls", "--json", "--recursive"), "--", snapshot)
	_, err := c.run(ctx, call{args: append(args, dirs...), limit: limit, eager: true, stdout: func(line []byte) {
		if failed != nil {
			return
		}
		listed = listed || isSnapshot(line, snapshot)
		path, size, ok, err := parseNode(line)
		if err == nil && ok {
			err = each(path, size)
		}
		if err != nil {
			failed = err
			stop(err)
		}
	}})
	if failed != nil {
		return fmt.Errorf("listing snapshot %.8s of %s: %w", snapshot, c.source, failed)
	}
	if err == nil && !listed { // 0.14 ends well where there is no such snapshot
		return &Error{Source: c.source, Kind: Failed, Why: fmt.Sprintf("it has no snapshot %.8s", snapshot), Hint: c.hint(Failed)}
	}
	return err
}

// isSnapshot says whether a line of `ls --json` is its first, of the snapshot.
func isSnapshot(line []byte, id string) bool {
	var head struct {
		ID     string `json:"id"`
		Struct string `json:"struct_type"`
		Type   string `json:"message_type"`
	}
	return !bytes.HasSuffix(line, isNode) && json.Unmarshal(line, &head) == nil && head.ID == id && (head.Struct == "snapshot" || head.Type == "snapshot")
}

// parseNode reads one line of `ls --json`: a regular file's path and size. Other
// lines (the snapshot, directories, links) are not ok. One that is not understood
// is an error: what it tells must not look absent.
func parseNode(line []byte) (path []byte, size int64, ok bool, err error) {
	if path, size, ok = quickNode(line); ok {
		return path, size, true, nil
	}
	if len(bytes.TrimSpace(line)) == 0 {
		return nil, 0, false, nil
	}
	var node struct {
		Type    string          `json:"type"`
		Path    string          `json:"path"`
		Size    json.RawMessage `json:"size"`
		Struct  string          `json:"struct_type"`
		Message string          `json:"message_type"`
	}
	if err := json.Unmarshal(line, &node); err != nil {
		return nil, 0, false, fmt.Errorf("a line of restic ls cannot be read: %w", err)
	}
	if node.Type != "file" || node.Struct != "node" && node.Message != "node" {
		return nil, 0, false, nil
	}
	if node.Path == "" {
		return nil, 0, false, errors.New("a line of restic ls names no path")
	}
	if text := bytes.Trim(node.Size, `"`); len(text) > 0 && string(text) != "null" { // left out when it is 0
		if size, err = strconv.ParseInt(string(text), 10, 64); err != nil || size < 0 {
			return nil, 0, false, fmt.Errorf("the size of %q is %s", node.Path, node.Size)
		}
	}
	return []byte(node.Path), size, true, nil
}

var (
	isNode  = []byte(`"struct_type":"node"}`)
	isFile  = []byte(`,"type":"file",`)
	pathKey = []byte(`,"path":"`)
	sizeKey = []byte(`,"size":`)
)

// quickNode reads a line in the form that restic writes, without taking it apart
// as JSON: a datastore has millions. A key between commas cannot stand inside a
// string, where its quotes are escaped.
func quickNode(line []byte) (path []byte, size int64, ok bool) {
	at := bytes.Index(line, pathKey)
	if at < 0 || !bytes.HasSuffix(line, isNode) || !bytes.Contains(line[:at+1], isFile) {
		return nil, 0, false
	}
	rest := line[at+len(pathKey):]
	end := bytes.IndexByte(rest, '"')
	if end <= 0 || bytes.IndexByte(rest[:end], '\\') >= 0 {
		return nil, 0, false
	}
	path, rest = rest[:end], rest[end+1:]
	if at = bytes.Index(rest, sizeKey); at < 0 {
		return nil, 0, false
	}
	digits := 0
	for _, b := range rest[at+len(sizeKey):] {
		if b < '0' || b > '9' || digits == 18 {
			break
		}
		size = size*10 + int64(b-'0')
		digits++
	}
	next := at + len(sizeKey) + digits
	if digits == 0 || next >= len(rest) || rest[next] != ',' {
		return nil, 0, false
	}
	return path, size, true
}

// DumpFile returns one file of a snapshot, which may not be longer than most bytes.
func (c *Client) DumpFile(ctx context.Context, snapshot, path string, most int64, limit time.Duration) ([]byte, error) {
	out := &bounded{most: most}
	_, err := c.run(ctx, call{args: append(c.reading("dump"), "--", snapshot, path), limit: limit, eager: true, raw: out})
	if out.over {
		return nil, fmt.Errorf("%s of snapshot %.8s is longer than %d bytes", path, snapshot, most)
	}
	return out.text, err
}

// bounded collects at most so many bytes.
type bounded struct {
	text []byte
	most int64
	over bool
}

func (b *bounded) Write(p []byte) (int, error) {
	if int64(len(b.text)+len(p)) > b.most {
		b.over = true
		return 0, io.ErrShortWrite
	}
	b.text = append(b.text, p...)
	return len(p), nil
}
