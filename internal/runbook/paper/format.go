package paper

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"
)

// Markdown is the runbook as Markdown.
func (p Runbook) Markdown() string {
	var b strings.Builder
	for _, x := range p {
		fmt.Fprintf(&b, "%s %s\n\n", strings.Repeat("#", x.Level), x.Title)
		for _, text := range x.Text {
			fmt.Fprintf(&b, "%s\n\n", text)
		}
		for i, row := range x.Table {
			for _, cell := range row {
				fmt.Fprintf(&b, "| %s ", strings.ReplaceAll(cell, "|", `\|`))
			}
			b.WriteString("|\n")
			if i == 0 {
				b.WriteString(strings.Repeat("|---", len(row)) + "|\n")
			}
		}
		if len(x.Table) > 0 {
			b.WriteString("\n")
		}
		if len(x.Commands) > 0 {
			fmt.Fprintf(&b, "```bash\n%s\n```\n\n", strings.Join(x.Commands, "\n"))
		}
	}
	return b.String()
}

// Text is the runbook as plain text: a table's rows are written one below the other,
// so that no printer cuts them off.
func (p Runbook) Text() string {
	var b strings.Builder
	for _, x := range p {
		line := map[int]string{1: "=", 2: "-"}[x.Level]
		fmt.Fprintf(&b, "%s\n%s\n", x.Title, strings.Repeat(line, utf8.RuneCountInString(x.Title)))
		for _, text := range x.Text {
			fmt.Fprintf(&b, "%s\n", wrapped(text, 100))
		}
		for i, row := range x.Table {
			if i == 0 {
				continue
			}
			for n, cell := range row {
				if cell == "" {
					continue
				}
				if n == 0 {
					fmt.Fprintf(&b, "* %s\n", cell)
				} else {
					fmt.Fprintf(&b, "    %-22s %s\n", x.Table[0][n], cell)
				}
			}
		}
		for _, command := range x.Commands {
			fmt.Fprintf(&b, "    %s\n", command)
		}
		b.WriteString("\n")
	}
	return b.String()
}

// wrapped breaks a text between words.
func wrapped(text string, width int) string {
	var b strings.Builder
	column := 0
	for i, word := range strings.Fields(text) {
		n := utf8.RuneCountInString(word)
		switch {
		case i > 0 && column+1+n > width:
			b.WriteString("\n")
			column = 0
		case i > 0:
			b.WriteString(" ")
			column++
		}
		b.WriteString(word)
		column += n
	}
	return b.String()
}

// Write puts the runbook at path, whole or not at all. A directory that is not
// there is not made: it may be the mount point of a disk that is away.
func (p Runbook) Write(path string) error {
	text := p.Markdown()
	if strings.HasSuffix(path, ".txt") {
		text = p.Text()
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".runbook-*")
	if err != nil {
		return fmt.Errorf("writing the runbook to %s: %w", path, err)
	}
	_, err = f.WriteString(text)
	err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("writing the runbook to %s: %w", path, errors.Join(err, os.Remove(f.Name())))
	}
	return nil
}
