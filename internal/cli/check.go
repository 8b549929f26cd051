package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"cairn/checks"
	"cairn/internal/backup"
	"cairn/internal/watch"
)

type checkFlags struct {
	format  string
	only    []string
	timeout time.Duration
	output  string
}

func (a *app) checkCommand() *cobra.Command {
	f := checkFlags{}
	c := &cobra.Command{
		Use:   "check",
		Short: "Survey every system once and judge: exit 0 ok, 1 warning, 2 critical, 3 unknown",
		Args:  cobra.NoArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return a.check(c.Context(), f) },
	}
	c.Flags().StringVar(&f.format, "format", "text", "`FORMAT`: text, json, nagios or prometheus")
	c.Flags().StringSliceVar(&f.only, "only", nil, "ask only these `SOURCES`, such as pbs.nas or restic")
	c.Flags().DurationVar(&f.timeout, "timeout", time.Minute, "time limit for each system")
	c.Flags().StringVar(&f.output, "output", "", "write to `FILE` at once when complete, for a textfile collector")
	return c
}

func (a *app) check(ctx context.Context, f checkFlags) error {
	if err := oneOf("format", f.format, "text", "json", "nagios", "prometheus"); err != nil {
		return err
	}
	state, err := a.survey(ctx, f.only, f.timeout)
	if err != nil {
		return a.checkFailed(f, err)
	}
	a.keepPaper(f.only, state)
	var out bytes.Buffer
	width := textWidth
	if f.output == "" {
		width = widthOf(a.env.Out)
	}
	if err := a.writeReport(&out, f.format, state, width); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	if err := deliver(a.env.Out, f.output, out.Bytes()); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	if state.Report.Status == backup.OK {
		return nil
	}
	return quiet(exitOf(state.Report.Status))
}

// checkFailed makes Nagios see UNKNOWN where nothing could be checked at all.
func (a *app) checkFailed(f checkFlags, err error) error {
	var wrong *failure
	if f.format != "nagios" || !errors.As(err, &wrong) || wrong.code != ExitConfig {
		return err
	}
	if _, err := fmt.Fprintln(a.env.Out, "UNKNOWN -", plain(err.Error())); err != nil {
		return err
	}
	return quiet(exitOf(backup.Unknown))
}

// survey asks the systems once.
func (a *app) survey(ctx context.Context, only []string, limit time.Duration) (*watch.State, error) {
	c, err := a.load()
	if err != nil {
		return nil, err
	}
	w, err := newWatcher(c, only)
	if err != nil {
		return nil, fail(ExitUsage, err)
	}
	state := w.Once(ctx, limit)
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("surveying: %w", err)
	}
	return state, nil
}

func (a *app) writeReport(w io.Writer, format string, s *watch.State, width int) error {
	switch format {
	case "json":
		return writeJSON(w, s.Report, s.Warnings)
	case "nagios":
		return writeNagios(w, s.Report)
	case "prometheus":
		return writePrometheus(w, s.Report)
	}
	return a.writeText(w, s, width)
}

// textWidth is how wide the board is written where no terminal is narrower.
const textWidth = 100

func widthOf(w io.Writer) int {
	if n := columnsOf(w); n > 0 {
		return min(n, textWidth)
	}
	return textWidth
}

// writeText writes the board, then every problem whole.
func (a *app) writeText(w io.Writer, s *watch.State, width int) error {
	if _, err := io.WriteString(w, a.env.Console.Text(s, "", s.Report.At, width)); err != nil {
		return err
	}
	for _, text := range s.Warnings {
		if _, err := fmt.Fprintln(w, "note:", text); err != nil {
			return err
		}
	}
	for _, p := range s.Report.Problems {
		if !p.Acknowledged {
			_, err := fmt.Fprintln(w, "(cairn ack lists the problems with their ids; cairn ack ID acknowledges one)")
			return err
		}
	}
	return nil
}

// deliver writes text to out, or to the file at path: to a temporary file beside
// it first, so that a reader never sees half of it.
func deliver(out io.Writer, path string, text []byte) error {
	if path == "" {
		_, err := out.Write(text)
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".cairn-*")
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	err = errors.Join(err, f.Chmod(0o644), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// findAsset looks for the asset that a person means: its id, or its name where
// only one has it: guest:home/101, home/101, 101 or erp-app.
func findAsset(r checks.Report, name string) (checks.Asset, error) {
	var found []checks.Asset
	var names []string
	for _, one := range r.Assets {
		names = append(names, one.Name, one.ID.String())
		if one.ID.String() == name {
			return one, nil
		}
		if one.Name == name || one.ID.Name == name || one.ID.Scope+"/"+one.ID.Name == name {
			found = append(found, one)
		}
	}
	switch len(found) {
	case 0:
		return checks.Asset{}, fail(ExitUsage, fmt.Errorf("there is no asset %q; %scairn copies lists them", name, didYouMean(name, names)))
	case 1:
		return found[0], nil
	}
	ids := make([]string, len(found))
	for i, f := range found {
		ids[i] = f.ID.String()
	}
	return checks.Asset{}, fail(ExitUsage, fmt.Errorf("%q is the name of %d assets: say which one: %v", name, len(found), ids))
}
