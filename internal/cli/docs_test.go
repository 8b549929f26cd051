package cli

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"cairn/internal/testkit"
)

// codeSpan is a command line of ours within a sentence.
var codeSpan = regexp.MustCompile("`(cairn [^`]+)`")

// commandLines finds the command lines of ours in a document: in code spans, in lines
// that are indented, and between fences.
func commandLines(text string) (all []string) {
	fenced := false
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "```") {
			fenced = !fenced
		}
		if command := strings.TrimPrefix(line, "    "); (fenced || command != line) && strings.HasPrefix(command, "cairn ") {
			all = append(all, command)
		}
		for _, span := range codeSpan.FindAllStringSubmatch(line, -1) {
			all = append(all, span[1])
		}
	}
	return all
}

// TestDocumentsNameWhatThereIs: each command and flag in the documents exists, and
// each command is in one of them.
func TestDocumentsNameWhatThereIs(t *testing.T) {
	root := (&app{}).root()
	named := map[string]bool{}
	documents, err := filepath.Glob(filepath.Join(testkit.Root(t), "docs", "*.md"))
	if err != nil || len(documents) == 0 {
		t.Fatalf("documents: %v, %v", documents, err)
	}
	for _, path := range append(documents, filepath.Join(testkit.Root(t), "README.md")) {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range commandLines(string(text)) {
			for _, line := range alternatives(root, found) {
				c, wrong := understood(root, line)
				if wrong != "" {
					t.Errorf("%s: %q: %s", filepath.Base(path), strings.Join(line, " "), wrong)
				}
				named[c.CommandPath()] = true
			}
		}
	}
	for _, c := range leaves(root) {
		if !named[c.CommandPath()] {
			t.Errorf("no document names %s", c.CommandPath())
		}
	}
}

// alternatives are the command lines that one of a document stands for: "cairn
// incident open|close" is two. What is a remark is left out.
func alternatives(root *cobra.Command, line string) [][]string {
	line, _, _ = strings.Cut(strings.ReplaceAll(line, `\|`, "|"), " #")
	line, _, _ = strings.Cut(line, "   ")
	words := strings.Fields(line)[1:]
	for i, word := range words {
		c, _, err := root.Find(words[:i])
		options := strings.Split(word, "|")
		if err != nil || !c.HasAvailableSubCommands() || len(options) < 2 {
			continue
		}
		var all [][]string
		for _, one := range options {
			all = append(all, append(append(append([]string{}, words[:i]...), one), words[i+1:]...))
		}
		return all
	}
	return [][]string{words}
}

// understood finds the command of a line, and what of the line it does not know.
func understood(root *cobra.Command, line []string) (c *cobra.Command, wrong string) {
	c, rest, err := root.Find(line)
	if err != nil {
		return root, err.Error()
	}
	for i, word := range rest {
		flag, isFlag := strings.CutPrefix(word, "--")
		flag, _, _ = strings.Cut(strings.TrimRight(flag, ".,;:)]"), "=")
		switch {
		case isFlag && c.Flags().Lookup(flag) == nil && c.InheritedFlags().Lookup(flag) == nil:
			return c, "there is no flag --" + flag
		case i == 0 && !isFlag && c.HasAvailableSubCommands() && c.Args != nil && c.Args(c, rest[:1]) != nil && word == strings.ToLower(word) && word != "…":
			return c, "there is no command " + word
		}
	}
	return c, ""
}

// leaves are the commands that do something, without what cobra adds.
func leaves(c *cobra.Command) (all []*cobra.Command) {
	for _, sub := range c.Commands() {
		switch {
		case !sub.IsAvailableCommand() || sub.Name() == "help" || sub.Name() == "completion":
		case sub.HasAvailableSubCommands():
			all = append(all, leaves(sub)...)
		default:
			all = append(all, sub)
		}
	}
	return all
}
