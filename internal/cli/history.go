package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"cairn/internal/backup"
	"cairn/internal/desk"
	"cairn/internal/history"
	"cairn/internal/operation"
)

func (a *app) historyCommand() *cobra.Command {
	var format string
	var limit int
	c := &cobra.Command{
		Use:   "history",
		Short: "Show who did what, the latest runs of every job, and how good estimates were",
		Args:  cobra.NoArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return a.history(c.Context(), format, limit) },
	}
	c.Flags().StringVar(&format, "format", "text", "`FORMAT`: text or json")
	c.Flags().IntVar(&limit, "limit", 30, "at most `N` lines of each")
	return c
}

// withHistory opens the history of the configuration for do.
func (a *app) withHistory(ctx context.Context, do func(*history.Store) error) error {
	c, err := a.load()
	if err != nil {
		return err
	}
	store, err := openHistory(c)(ctx)
	if err != nil {
		return err
	}
	defer store.Close()
	if notice := store.Notice(); notice != "" {
		fmt.Fprintln(a.env.Err, "cairn:", notice)
	}
	return do(store)
}

// inHistory does what withHistory does, for what changes something.
func (a *app) inHistory(ctx context.Context, do func(*history.Store) error) error {
	c, err := a.load()
	if err != nil {
		return err
	}
	if c.ReadOnly {
		return fail(ExitBlocked, desk.ErrReadOnly)
	}
	return a.withHistory(ctx, do)
}

type runLine struct {
	Source  string        `json:"source"`
	Job     string        `json:"job"`
	Subject string        `json:"subject"`
	Started any           `json:"started"`
	Ended   any           `json:"ended"`
	Status  backup.Status `json:"status"`
	Text    string        `json:"text"`
}

func (a *app) history(ctx context.Context, format string, limit int) error {
	if err := oneOf("format", format, "text", "json"); err != nil {
		return err
	}
	return a.withHistory(ctx, func(s *history.Store) error {
		trail, err := s.Trail(ctx, limit)
		if err != nil {
			return err
		}
		runs, err := s.Runs(ctx, "", limit)
		if err != nil {
			return err
		}
		estimates, err := scores(ctx, s)
		if err != nil {
			return err
		}
		if format == "json" {
			return printJSON(a.env.Out, map[string]any{
				"schema_version": schemaVersion,
				"actions":        each(trail, func(e history.Entry) history.Entry { return e }),
				"runs": each(runs, func(r backup.Run) runLine {
					return runLine{r.Source, r.Job, r.Subject, moment(r.Started), moment(r.Ended), r.Status, r.Text}
				}),
				"estimates": estimates,
			})
		}
		names := a.targetNames()
		for i, e := range trail {
			if name := names[e.Target]; name != "" {
				trail[i].Target += " " + name
			}
		}
		return a.printHistory(trail, runs, estimates)
	})
}

// targetNames are what the guests that operations worked on are called, by their
// ids; none where the operations cannot be read: the ids stand for themselves.
func (a *app) targetNames() map[string]string {
	names := map[string]string{}
	c, err := a.load()
	if err != nil {
		return names
	}
	store, err := operation.OpenStore(c.StateDir)
	if err != nil {
		return names
	}
	all, err := store.List()
	if err != nil {
		return names
	}
	for _, s := range all { // newest first
		p := s.Record.Plan
		if strings.HasPrefix(p.Target, string(backup.Guest)+":") && names[p.Target] == "" {
			names[p.Target] = p.Confirm
		}
	}
	return names
}

func (a *app) printHistory(trail []history.Entry, runs []backup.Run, estimates []kindScore) error {
	const clock = "2006-01-02 15:04"
	t := newTable(a.env.Out)
	fmt.Fprintln(t, "WHEN\tWHO\tFROM\tWHAT\tTARGET\tRESULT\tWHY")
	for _, e := range trail {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", e.At.Local().Format(clock), e.Who, e.Origin, e.What, e.Target, e.Result, e.Why)
	}
	fmt.Fprintln(t, "\nSTARTED\tSOURCE\tJOB\tTOOK\tSTATUS\tSAID\t")
	for _, r := range runs {
		took := "runs"
		if !r.Running() {
			took = backup.Age(r.Ended.Sub(r.Started))
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t\n", r.Started.Local().Format(clock), r.Source, r.Job, took, r.Status, r.Text)
	}
	printScores(t, estimates)
	return t.Flush()
}
