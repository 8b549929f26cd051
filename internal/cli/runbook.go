package cli

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cairn/checks"
	"cairn/internal/config"
	"cairn/internal/runbook/paper"
	"cairn/internal/watch"
)

func (a *app) runbookCommand() *cobra.Command {
	var format string
	var write bool
	var limit time.Duration
	c := &cobra.Command{Use: "runbook", Short: "Print what to do when only paper and the off-site copy are left", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := oneOf("format", format, "markdown", "text"); err != nil {
				return err
			}
			cfg, err := a.load()
			if err != nil {
				return err
			}
			state, err := a.survey(c.Context(), nil, limit)
			if err != nil {
				return err
			}
			if write {
				if cfg.Runbook.WriteTo == "" {
					return fail(ExitUsage, errors.New("--write needs [runbook] write_to in the configuration"))
				}
				return writePaper(cfg, state)
			}
			p := paperOf(cfg, state)
			text := p.Markdown()
			if format == "text" {
				text = p.Text()
			}
			_, err = io.WriteString(a.env.Out, text)
			return err
		}}
	c.Flags().StringVar(&format, "format", "markdown", "`FORMAT`: markdown or text")
	c.Flags().BoolVar(&write, "write", false, "write it to where [runbook] write_to says instead")
	c.Flags().DurationVar(&limit, "timeout", time.Minute, "`LIMIT` for the survey it rests on")
	return c
}

func paperOf(c *config.Config, s *watch.State) paper.Runbook {
	return paper.New(c, s.Facts, s.Report, s.Report.At)
}

// writePaper writes the runbook, unless the disk that it is to lie on is away: it
// would fill the mount point and be taken for fresh.
func writePaper(c *config.Config, s *watch.State) error {
	for name, d := range c.Disks {
		below := strings.HasPrefix(filepath.Clean(c.Runbook.WriteTo), filepath.Clean(d.Mount)+string(filepath.Separator))
		if below && !mounted(s.Report, name) {
			return fail(ExitBlocked, fmt.Errorf("the runbook was not written to %s: disk %s is not there", c.Runbook.WriteTo, name))
		}
	}
	return paperOf(c, s).Write(c.Runbook.WriteTo)
}

func mounted(r checks.Report, disk string) bool {
	for _, d := range r.Disks {
		if d.Name == disk {
			return d.Present && d.Writable
		}
	}
	return false
}

// keepPaper keeps the written runbook fresh after a check of everything. That it
// could not be written is said and changes nothing else.
func (a *app) keepPaper(only []string, s *watch.State) {
	c, err := a.load()
	if err != nil || c.Runbook.WriteTo == "" || len(only) > 0 || c.ReadOnly {
		return
	}
	if err := writePaper(c, s); err != nil {
		fmt.Fprintln(a.env.Err, "cairn:", err)
	}
}
