package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cairn/checks"
	"cairn/internal/backup"
)

func (a *app) copiesCommand() *cobra.Command {
	var format string
	c := &cobra.Command{
		Use:   "copies [ASSET]",
		Short: "List the assets, or the copies of one",
		Args:  cobra.MaximumNArgs(1),
		RunE:  func(c *cobra.Command, args []string) error { return a.copies(c.Context(), format, args) },
	}
	c.Flags().StringVar(&format, "format", "text", "`FORMAT`: text or json")
	return c
}

func (a *app) copies(ctx context.Context, format string, args []string) error {
	if err := oneOf("format", format, "text", "json"); err != nil {
		return err
	}
	state, err := a.survey(ctx, nil, time.Minute)
	if err != nil {
		return err
	}
	assets := state.Report.Assets
	if len(args) == 1 {
		one, err := findAsset(state.Report, args[0])
		if err != nil {
			return err
		}
		assets = []checks.Asset{one}
	}
	if format == "json" {
		return printJSON(a.env.Out, map[string]any{"schema_version": schemaVersion, "generated_at": moment(state.Report.At), "assets": each(assets, assetOf)})
	}
	if len(args) == 1 {
		return printHeld(a.env.Out, assets[0], state.Report.At)
	}
	return printAssets(a.env.Out, assets)
}

func printAssets(w io.Writer, assets []checks.Asset) error {
	t := newTable(w)
	fmt.Fprintln(t, "ASSET\tNAME\tCOPIES\tMEDIA\tOFF-SITE\tYOU LOSE\tSTATUS")
	for _, one := range assets {
		offSite := "no"
		if one.OffSite {
			offSite = "yes"
		}
		loss := "?"
		if one.RPO != nil {
			loss = backup.Age(*one.RPO)
		}
		fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%s\t%s\t%s\n", one.ID, one.Name, one.Copies, one.Media, offSite, loss, one.Word)
	}
	return t.Flush()
}

func printHeld(w io.Writer, one checks.Asset, now time.Time) error {
	fmt.Fprintf(w, "%s %s: %d copies on %d media, %s\n", one.ID, one.Name, one.Copies, one.Media, one.Word)
	t := newTable(w)
	fmt.Fprintln(t, "TIER\tSOURCE\tNEWEST\tAGE\tCOPIES\tMEDIUM\tPROVEN\tID")
	for _, h := range one.Held {
		if h.Taken.IsZero() {
			fmt.Fprintf(t, "%d\t%s\tnone\t\t\t%s\t\t\n", h.Tier, h.Source, h.Medium)
			continue
		}
		fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%d\t%s\t%s\t%s\n", h.Tier, h.Source, h.Taken.Local().Format("2006-01-02 15:04"), backup.Age(now.Sub(h.Taken)), h.Count, h.Medium, strings.TrimSuffix(h.Proof.String()+", "+h.How, ", "), h.ID)
	}
	return t.Flush()
}
