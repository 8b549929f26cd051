package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"cairn/checks"
	"cairn/internal/backup"
)

func (a *app) proveCommand() *cobra.Command {
	var format string
	var read bool
	c := &cobra.Command{
		Use:   "prove",
		Short: "Compare what lies here with what is off-site",
		Long: `Compare what lies here with what is off-site: for each PBS backup its manifest, its indexes and every chunk that they name, by name and size (a chunk's name is the checksum of its content);
for a dump or base backup its files and its WAL, by hash: the ids that restic gave their pieces are the SHA-256 of these, and the files here are read and cut as the repository does.
Each off-site snapshot is listed once, and the directories of new dumps are read: that fetches metadata from the other site, and none of the data. What was found is kept, and cairn check uses it.
That the other site still gives each byte back is what --read shows for dumps, and what the check of the repository shows for everything.
The console does this by itself. Where only timers run, run it after each upload. It ends with 0 if each asset is proven to be off-site, with 1 if one is not.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.prove(c.Context(), format, read) },
	}
	c.Flags().StringVar(&format, "format", "text", "`FORMAT`: text or json")
	c.Flags().BoolVar(&read, "read", false, "read every byte of the dumps that are off-site: all of it is fetched, which takes time and may cost money")
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
	Compared string     `json:"compared"`
	Missing  string     `json:"missing"`
}

func (a *app) prove(ctx context.Context, format string, read bool) error {
	if err := oneOf("format", format, "text", "json"); err != nil {
		return err
	}
	c, err := a.load()
	if err != nil {
		return err
	}
	w, err := newProvingWatcher(c, read, func(text string) { fmt.Fprintln(a.env.Err, "cairn:", text) })
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
		line.Source, line.Snapshot, line.Missing, line.Taken, line.Compared = h.Source, h.ID, h.Missing, moment(h.Taken), h.How
	}
	if one.OffSite {
		line.Missing = ""
	} else if line.Missing == "" {
		line.Missing = "not proven: no copy that lies here was found in that snapshot"
	}
	return line
}

// provenWord says how a copy off-site is proven. One that lies in no other copy,
// such as a snapshot of a path, is its own.
func provenWord(compared string) string {
	switch compared {
	case "":
		return "listed"
	case checks.AsListedHere:
		return compared
	}
	return "proven " + compared
}

func (a *app) writeProofs(format string, lines []offSiteLine, warnings []string) error {
	if format == "json" {
		return printJSON(a.env.Out, map[string]any{"schema_version": schemaVersion, "assets": lines, "warnings": warnings})
	}
	t := newTable(a.env.Out)
	fmt.Fprintln(t, "ASSET\tNAME\tOFF-SITE\tSOURCE\tCOPY OF\tSNAPSHOT")
	for _, l := range lines {
		taken, word := "-", provenWord(l.Compared)
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
