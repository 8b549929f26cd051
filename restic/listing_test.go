package restic

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestEachFileAndDump(t *testing.T) {
	each(t, func(t *testing.T, version, binary string) {
		c := client(t, Config{Repository: repository(t, version, binary), Binary: binary})
		first := survey(t, c).Snapshots[0]
		got := map[string]int64{}
		list := func(id string, dirs ...string) error {
			clear(got)
			return c.EachFile(t.Context(), id, dirs, time.Minute, func(path []byte, size int64) error {
				got[string(path)] = size
				return nil
			})
		}
		if err := list(first.ID, source("a"), source("b")); err != nil || len(got) != 2 || got[filepath.Join(source("a"), "file")] != 5000 {
			t.Errorf("%v %v", got, err)
		}
		if err := list(first.ID, source("b")); err != nil || len(got) != 1 {
			t.Errorf("only one directory was asked for: %v %v", got, err)
		}
		if err := list(first.ID, "/no/such/directory"); err == nil && len(got) != 0 {
			t.Errorf("%v", got)
		}
		if err := list(strings.Repeat("0", 64), source("a")); err == nil {
			t.Error("there is no such snapshot")
		}
		full := errors.New("enough")
		if err := c.EachFile(t.Context(), first.ID, []string{source("a")}, time.Minute, func([]byte, int64) error { return full }); !errors.Is(err, full) {
			t.Errorf("got %v", err)
		}
		text, err := c.DumpFile(t.Context(), first.ID, filepath.Join(source("b"), "file"), 5000, time.Minute)
		if err != nil || string(text) != strings.Repeat("b", 5000) {
			t.Errorf("%d bytes, %v", len(text), err)
		}
		if text, err := c.DumpFile(t.Context(), first.ID, filepath.Join(source("b"), "file"), 4999, time.Minute); err == nil {
			t.Errorf("%d bytes of at most 4999", len(text))
		}
		if _, err := c.DumpFile(t.Context(), first.ID, "/nothing", 10, time.Minute); err == nil {
			t.Error("there is no such file")
		}
	})
}

func TestNodes(t *testing.T) {
	for _, x := range []struct {
		line, path string
		size       int64
		ok, bad    bool
	}{
		{`{"name":"a","type":"file","path":"/s/a","uid":0,"gid":0,"size":12,"mode":420,"struct_type":"node"}`, "/s/a", 12, true, false},
		{`{"name":"a","type":"file","path":"/s/a","uid":0,"gid":0,"mode":420,"message_type":"node","struct_type":"node"}`, "/s/a", 0, true, false},
		{`{"name":"a","type":"file","path":"/s/a","size":7,"message_type":"node"}`, "/s/a", 7, true, false},
		{`{"name":"a\",\"type\":\"file\",\"path\":\"/x","type":"file","path":"/s/a\"b","size":3,"struct_type":"node"}`, `/s/a"b`, 3, true, false},
		{`{"name":"a\",\"path\":\"/x\",\"size\":9","type":"dir","path":"/s/a","struct_type":"node"}`, "", 0, false, false},
		{`{"path":"/s/a","type":"file","size":"18446744073709551615","struct_type":"node"}`, "", 0, false, true},
		{`{"type":"symlink","path":"/s/a","struct_type":"node"}`, "", 0, false, false},
		{`{"time":"2026-11-21T20:10:06Z","paths":["/s"],"struct_type":"snapshot"}`, "", 0, false, false},
		{`{"type":"file","struct_type":"node"}`, "", 0, false, true},
		{`not json`, "", 0, false, true},
		{` `, "", 0, false, false},
	} {
		path, size, ok, err := parseNode([]byte(x.line))
		if string(path) != x.path || size != x.size || ok != x.ok || (err != nil) != x.bad {
			t.Errorf("%s: %q %d %v %v", x.line, path, size, ok, err)
		}
	}
}

// The quick reader says what the thorough one says, or nothing.
func FuzzNode(f *testing.F) {
	f.Add(`{"name":"a","type":"file","path":"/s/a","uid":0,"gid":0,"size":12,"mode":420,"struct_type":"node"}`)
	f.Add(`{"name":"a\",\"path\":\"x","type":"file","path":"/s/ä b","size":12345678901234567890,"mode":420,"struct_type":"node"}`)
	f.Add(`{"type":"file","path":"/a","size":1.5,"struct_type":"node"}`)
	f.Fuzz(func(t *testing.T, line string) {
		path, size, ok := quickNode([]byte(line))
		var node struct {
			Type, Path string
			Size       json.Number
		}
		if ok && json.Unmarshal([]byte(line), &node) == nil && json.Valid([]byte(line)) && strings.Count(line, `"path"`) == 1 && strings.Count(line, `"size"`) == 1 {
			if n, err := node.Size.Int64(); err == nil && (n != size || node.Path != strings.ToValidUTF8(string(path), "�") && node.Path != string(path)) {
				t.Errorf("%q: %q %d", line, path, size)
			}
		}
		_, _, _, _ = parseNode([]byte(line))
	})
}

func BenchmarkNodes(b *testing.B) {
	line := []byte(fmt.Sprintf(`{"name":"%[1]s","type":"file","path":"/mnt/usb/pbs/.chunks/0a1b/%[1]s","uid":34,"gid":34,"size":1048576,"mode":420,"permissions":"-rw-r--r--","mtime":"2026-11-21T20:11:36Z","atime":"2026-11-21T20:11:36Z","ctime":"2026-11-21T20:11:36Z","inode":246947,"message_type":"node","struct_type":"node"}`, strings.Repeat("0a1b", 16)))
	b.ReportAllocs()
	for b.Loop() {
		if path, _, ok, err := parseNode(line); !ok || err != nil || !bytes.HasPrefix(path, []byte("/mnt")) {
			b.Fatal(err)
		}
	}
}
