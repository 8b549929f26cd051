package cli

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestATableFitsTheTerminal and leaves nothing out; a file gets a line a row.
func TestATableFitsTheTerminal(t *testing.T) {
	rows := [][]string{{"ASSET", "NAME", "COPIES", "STATUS"}, {"guest:home/100", "web01", "3", "LATE"},
		{"path:/mnt/usb/a/rather/long/way/to/the/documents", "/mnt/usb/a/rather/long/way/to/the/documents", "2", "NO OFF-SITE"}}
	write := func(columns int) string {
		var b bytes.Buffer
		w := newTable(&b)
		w.columns = columns
		for _, row := range rows {
			fmt.Fprintln(w, strings.Join(row, "\t"))
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	if n := strings.Count(write(0), "\n"); n != len(rows) {
		t.Errorf("%d lines in a file, want %d", n, len(rows))
	}
	if narrow, wide := write(120), write(0); narrow != wide {
		t.Errorf("where there is room nothing is folded:\n%s%s", narrow, wide)
	}
	for _, columns := range []int{60, 80} {
		got := write(columns)
		for line := range strings.Lines(got) {
			if n := len([]rune(strings.TrimRight(line, "\n"))); n > columns {
				t.Errorf("%d of %d columns: %q", n, columns, line)
			}
		}
		flat := strings.Join(strings.Fields(got), "")
		for _, want := range []string{"rather", "documents", "NO", "OFF-SITE", "guest:home/100"} {
			if !strings.Contains(flat, want) {
				t.Errorf("%q is lost:\n%s", want, got)
			}
		}
	}
	rows = append(rows, []string{"host:pve1", "", "", ""})
	if got := folded("ID\tTEXT\tWHAT\n1\t\ta word of 20261122-12:30 and more\n", 26); got != "ID  WHAT\n1   a word of\n    20261122-12:30 and\n    more\n" {
		t.Errorf("a column that no row has, or a word in two:\n%s", got)
	}
	if got := folded("ID\tTEXT\n", 26) + folded("", 26); got != "ID  TEXT\n" {
		t.Errorf("%q", got)
	}
	if got := write(10); !strings.Contains(got, "web01") { // narrower than it can be
		t.Errorf("%s", got)
	}
}

// TestWhatIsWrongIsSaidAsAPersonMeantIt: a name that is nearly right, a flag that others
// have, an argument that is missing, a file that is none.
func TestWhatIsWrongIsSaidAsAPersonMeantIt(t *testing.T) {
	dir := t.TempDir()
	for line, want := range map[string]string{
		"restore guest-los web01 --plan":        `unknown command "guest-los" for "cairn restore"; did you mean guest-loss? `,
		"check --json":                          "unknown flag: --json; write --format json; see cairn check --help",
		"version --json":                        "unknown flag: --json; see cairn version --help",
		"prove cloud":                           `cairn prove takes no argument, and "cloud" is one; `,
		"backup":                                "NAME is missing: write cairn backup NAME; ",
		"snapshot rollback web01":               "NAME is missing: write cairn snapshot rollback GUEST NAME; ",
		"hold":                                  "on|off is missing: write cairn hold on|off; ",
		"chek":                                  "did you mean check? ",
		"check --config " + dir:                 "--config names the file in it",
		"check --config " + dir + "/cairn.toml": "--config names a file that is there",
	} {
		var out, errs bytes.Buffer
		code := Main(t.Context(), strings.Fields(line), Env{Out: &out, Err: &errs})
		if code != ExitUsage && code != ExitConfig || !strings.Contains(errs.String(), want) || strings.Count(errs.String(), "\n") != 1 {
			t.Errorf("cairn %s: exit %d %q, want %q", line, code, errs.String(), want)
		}
	}
	shut := filepath.Join(dir, "shut.toml")
	if err := os.WriteFile(shut, nil, 0); err != nil {
		t.Fatal(err)
	}
	if os.Getuid() != 0 { // root reads it all the same
		var errs bytes.Buffer
		if Main(t.Context(), []string{"check", "--config", shut}, Env{Out: &errs, Err: &errs}); !strings.Contains(errs.String(), "the user that the file belongs to") {
			t.Errorf("%s", errs.String())
		}
	}
	if got := inWords(fmt.Errorf("surveying: %w", context.Canceled)); got != "surveying: interrupted" {
		t.Errorf("%q", got)
	}
}
