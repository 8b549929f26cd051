package cli

import (
	"context"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"cairn/checks"
	"cairn/internal/backup"
)

func (a *app) proveCommand() *cobra.Command {
	var format string
	c := &cobra.Command{
		Use:   "prove",
		Short: "Compare what lies here with what is off-site",
		Long: `Compare what lies here with what is off-site: for each PBS backup its manifest, its indexes and every chunk that they name, for a dump its files.
Each off-site snapshot is listed once, which fetches its metadata from the other site; what was found is kept, and cairn check uses it.
The console does this by itself. Where only timers run, run it after each upload. It ends with 0 if each asset is proven to be off-site, with 1 if one is not.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.prove(c.Context(), format) },
	}
	c.Flags().StringVar(&format, "format", "text", "`FORMAT`: text or json")
	return c
}

// offSiteLine is what is known of one asset off-site.
type offSiteLine struct {
	Asset    string     `json:"asset"`
	Name     string     `json:"name"`
	OffSite  bool       `json:"offsite"`
	Source   string     `json:"source"`
	Snapshot string     `json:"snapshot"`
	Taken    *time.Time `json:"taken_at"`
	Missing  string     `json:"missing"`
}

func (a *app) prove(ctx context.Context, format string) error {
	if err := oneOf("format", format, "text", "json"); err != nil {
		return err
	}
	c, err := a.load()
	if err != nil {
		return err
	}
	w, err := newProvingWatcher(c, nil, func(text string) { fmt.Fprintln(a.env.Err, "cairn:", text) })
	if err != nil {
		return err
	}
	state := w.Once(ctx, time.Minute)
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("proving: %w", err)
	}
	var lines []offSiteLine
	lacking := false
	for _, one := range state.Report.Assets {
		if !one.Parked && one.ID.Kind != backup.Composite {
			line := offSite(one)
			lines, lacking = append(lines, line), lacking || !line.OffSite
		}
	}
	if err := a.writeProofs(format, lines, state.Warnings); err != nil {
		return fmt.Errorf("writing the proofs: %w", err)
	}
	if lacking {
		return quiet(1)
	}
	return nil
}

func offSite(one checks.Asset) offSiteLine {
	line := offSiteLine{Asset: one.ID.String(), Name: one.Name, OffSite: one.OffSite, Missing: "no off-site copy"}
	for _, h := range one.Held {
		if h.Tier != backup.OffSite {
			continue
		}
		line.Source, line.Snapshot, line.Missing, line.Taken = h.Source, h.ID, h.Missing, moment(h.Taken)
	}
	if one.OffSite {
		line.Missing = ""
	} else if line.Missing == "" {
		line.Missing = "not proven"
	}
	return line
}

func (a *app) writeProofs(format string, lines []offSiteLine, warnings []string) error {
	if format == "json" {
		return printJSON(a.env.Out, map[string]any{"schema_version": schemaVersion, "assets": lines, "warnings": warnings})
	}
	t := tabwriter.NewWriter(a.env.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ASSET\tNAME\tOFF-SITE\tSOURCE\tCOPY OF\tSNAPSHOT")
	for _, l := range lines {
		taken, word := "-", "proven"
		if l.Taken != nil {
			taken = l.Taken.Local().Format("2006-01-02 15:04")
		}
		if !l.OffSite {
			word = l.Missing
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%.8s\n", l.Asset, l.Name, word, l.Source, taken, l.Snapshot)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, text := range warnings {
		fmt.Fprintln(a.env.Err, "cairn:", text)
	}
	return nil
}
