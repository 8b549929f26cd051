package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cairn/internal/backup"
	"cairn/internal/desk"
	"cairn/internal/history"
)

func (a *app) incidentCommand() *cobra.Command {
	c := &cobra.Command{Use: "incident", Short: "Open an incident: the clock runs, and nothing is forgotten, pruned or copied until it is closed"}
	c.AddCommand(a.incidentOpen(), a.incidentHold(), a.incidentRelease(), a.incidentValidated(), a.incidentClose(), a.incidentShow(), a.incidentList())
	return c
}

func (a *app) incidentOpen() *cobra.Command {
	return &cobra.Command{Use: "open WHAT…", Short: "Stamp T0, hold all copies, and tell whom the configuration names", Args: cobra.MinimumNArgs(1), RunE: func(c *cobra.Command, args []string) error {
		return a.withDesk(c.Context(), func(d *desk.Desk) error {
			i, err := d.OpenIncident(c.Context(), strings.Join(args, " "))
			if err != nil {
				return incidentRefusal(err)
			}
			fmt.Fprintf(a.env.Out, "Incident %d is open since %s: nothing is forgotten, pruned, copied or ejected by cairn until cairn incident close.\n", i.ID, i.Opened.Local().Format("2006-01-02 15:04:05"))
			for _, told := range i.Told {
				fmt.Fprintln(a.env.Out, told)
			}
			for _, one := range d.Contacts() {
				fmt.Fprintf(a.env.Out, "Call %s (%s): %s\n", one.Name, or(one.For, "everything"), one.Reach)
			}
			_, err = fmt.Fprintln(a.env.Out, "First: cairn incident hold keeps PBS and Proxmox VE from pruning, collecting and syncing by themselves. Then the way back: cairn restore")
			return err
		})
	}}
}

func (a *app) incidentValidated() *cobra.Command {
	var at string
	c := &cobra.Command{Use: "validated", Short: "Stamp that somebody saw that all is back: the wall clock stops", Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error {
		when, err := pointInTime(at, time.Now())
		if err != nil {
			return fail(ExitUsage, err)
		}
		return a.withDesk(c.Context(), func(d *desk.Desk) error {
			i, err := d.ValidateIncident(c.Context(), when)
			if err != nil {
				return incidentRefusal(err)
			}
			_, err = fmt.Fprintf(a.env.Out, "Incident %d: all was back at %s, %s after its beginning. The hold goes on until cairn incident close.\n", i.ID, i.Validated.Local().Format("15:04:05"), took(i.Validated.Sub(i.Opened)))
			return err
		})
	}}
	c.Flags().StringVar(&at, "at", "", "the `TIME` when it was seen (default: now)")
	return c
}

func (a *app) incidentClose() *cobra.Command {
	var closing desk.Closing
	var format string
	c := &cobra.Command{Use: "close", Short: "End the incident and its hold, and print its record", Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error {
		if err := oneOf("format", format, "text", "json"); err != nil {
			return err
		}
		return a.withDesk(c.Context(), func(d *desk.Desk) error {
			if err := a.askClosing(c.Context(), d, &closing); err != nil {
				return err
			}
			i, err := d.CloseIncident(c.Context(), closing)
			if err != nil {
				return incidentRefusal(err)
			}
			if err := a.printIncident(i, format); err != nil {
				return err
			}
			return a.sayHeld(c.Context(), d)
		})
	}}
	c.Flags().StringVar(&closing.Loss, "loss", "", "what was really `LOST`, if only: nothing")
	c.Flags().StringVar(&closing.Differed, "differed", "", "what `DIFFERED` from the plan")
	c.Flags().BoolVar(&closing.NotBack, "not-back", false, "it was never brought back: a false alarm, or given up")
	c.Flags().StringVar(&format, "format", "text", "`FORMAT` of the record: text or json")
	return c
}

// askClosing asks on a terminal for what was not given.
func (a *app) askClosing(ctx context.Context, d *desk.Desk, c *desk.Closing) error {
	if c.Loss != "" || d.ReadOnly() {
		return nil
	}
	if !isTerminal(a.env.In) || !outIsTerminal(a.env) {
		return fail(ExitUsage, errors.New("say with --loss what was really lost, if only: nothing"))
	}
	var err error
	if c.Loss, err = a.askLine(ctx, "What was really lost, if only: nothing? "); err == nil && c.Differed == "" {
		c.Differed, err = a.askLine(ctx, "What differed from the plan (empty: nothing)? ")
	}
	return err
}

func (a *app) incidentShow() *cobra.Command {
	var format string
	c := &cobra.Command{Use: "show [NUMBER]", Short: "Show the open incident, or one of before, with its times and operations", Args: cobra.MaximumNArgs(1), RunE: func(c *cobra.Command, args []string) error {
		if err := oneOf("format", format, "text", "json"); err != nil {
			return err
		}
		return a.withDesk(c.Context(), func(d *desk.Desk) error {
			const all = 10_000
			found, err := d.Incidents(c.Context(), all)
			if err != nil {
				return incidentRefusal(err)
			}
			for _, i := range found {
				if len(args) == 0 && i.Open() || len(args) > 0 && args[0] == fmt.Sprint(i.ID) {
					return a.printIncident(i, format)
				}
			}
			if len(args) == 0 {
				return fail(ExitUsage, fmt.Errorf("%w; cairn incident list shows those of before", history.ErrNoIncident))
			}
			return fail(ExitUsage, fmt.Errorf("there is no incident %q; cairn incident list shows them", args[0]))
		})
	}}
	c.Flags().StringVar(&format, "format", "text", "`FORMAT`: text or json")
	return c
}

func (a *app) incidentList() *cobra.Command {
	var format string
	var limit int
	c := &cobra.Command{Use: "list", Short: "List the incidents, newest first, with how long each took", Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error {
		if err := oneOf("format", format, "text", "json"); err != nil {
			return err
		}
		return a.withDesk(c.Context(), func(d *desk.Desk) error {
			found, err := d.Incidents(c.Context(), limit)
			if err != nil {
				return incidentRefusal(err)
			}
			if format == "json" {
				return printJSON(a.env.Out, map[string]any{"schema_version": schemaVersion, "incidents": each(found, incidentOf)})
			}
			t := newTable(a.env.Out)
			fmt.Fprintln(t, "ID\tT0\tBACK IN\tLOST\tWHAT")
			for _, i := range found {
				back := "never validated"
				switch {
				case i.Open():
					back = "OPEN"
				case i.Wall > 0:
					back = took(i.Wall)
				}
				fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%s\n", i.ID, i.Opened.Local().Format("2006-01-02 15:04"), back, or(i.Loss, "-"), i.What)
			}
			return t.Flush()
		})
	}}
	c.Flags().StringVar(&format, "format", "text", "`FORMAT`: text or json")
	c.Flags().IntVar(&limit, "limit", 30, "at most `N` of them")
	return c
}

// incidentRefusal gives what was not done the exit code of its kind.
func incidentRefusal(err error) error {
	var open *history.OpenError
	switch {
	case errors.As(err, &open):
		return fail(ExitBlocked, open)
	case errors.Is(err, history.ErrNoIncident):
		return fail(ExitUsage, history.ErrNoIncident)
	case errors.Is(err, desk.ErrReadOnly):
		return fail(ExitBlocked, err)
	}
	return fail(ExitFailed, err)
}

type incidentLine struct {
	ID         int64                  `json:"id"`
	What       string                 `json:"what"`
	Open       bool                   `json:"open"`
	T0         any                    `json:"t0"`
	Who        string                 `json:"who"`
	From       string                 `json:"from"`
	Scenario   string                 `json:"scenario"`
	Announced  string                 `json:"announced_loss"`
	Since      any                    `json:"announced_since"`        // what was written after it was to be lost
	Lost       *float64               `json:"announced_loss_seconds"` // from then to T0; null: not known
	Loss       string                 `json:"loss"`
	Validated  any                    `json:"validated_at"`
	Closed     any                    `json:"closed_at"`
	Wall       float64                `json:"wall_seconds"`       // T0 to validated, or so far
	Machine    float64                `json:"operations_seconds"` // of it, while an operation ran
	Human      float64                `json:"human_seconds"`      // the rest
	Told       []string               `json:"told"`
	Differed   []string               `json:"differed"`
	Operations []incidentOperationOut `json:"operations"`
}

type incidentOperationOut struct {
	ID      string `json:"id"`
	What    string `json:"what"`
	State   string `json:"state"`
	Loss    string `json:"announced_loss"`
	Since   any    `json:"announced_since"`
	Started any    `json:"started"`
	Ended   any    `json:"ended"`
}

func incidentOf(i history.Incident) incidentLine {
	return incidentLine{ID: i.ID, What: i.What, Open: i.Open(), T0: moment(i.Opened), Who: i.Who, From: i.Origin, Scenario: i.Scenario, Announced: i.Announced, Since: exactly(i.Since), Lost: announcedSeconds(i), Loss: i.Loss,
		Validated: moment(i.Validated), Closed: moment(i.Closed), Wall: i.Wall.Seconds(), Machine: i.Machine.Seconds(), Human: i.Human.Seconds(), Told: each(i.Told, textOf), Differed: each(i.Differed, textOf),
		Operations: each(i.Operations, func(o history.IncidentOperation) incidentOperationOut {
			return incidentOperationOut{o.ID, o.What, o.State, o.Loss, exactly(o.Since), moment(o.Started), moment(o.Ended)}
		})}
}

func announcedSeconds(i history.Incident) *float64 {
	lost, known := i.AnnouncedLoss()
	if !known {
		return nil
	}
	seconds := lost.Seconds()
	return &seconds
}

func textOf(text string) string { return text }

func took(d time.Duration) string {
	if d < time.Minute {
		return fmt.Sprintf("%ds", int(d.Seconds()))
	}
	return backup.Age(d)
}

// printIncident prints the record of an incident.
func (a *app) printIncident(i history.Incident, format string) error {
	if format == "json" {
		return printJSON(a.env.Out, map[string]any{"schema_version": schemaVersion, "incident": incidentOf(i)})
	}
	const layout = "2006-01-02 15:04:05"
	t := newTable(a.env.Out)
	fmt.Fprintf(t, "incident\t%d: %s\n", i.ID, i.What)
	fmt.Fprintf(t, "T0\t%s, by %s from %s\n", i.Opened.Local().Format(layout), or(i.Who, "nobody known"), or(i.Origin, "?"))
	for _, text := range i.Told {
		fmt.Fprintf(t, "notice\t%s\n", text)
	}
	fmt.Fprintf(t, "scenario\t%s\n", or(i.Scenario, "none was chosen"))
	announced := or(i.Announced, "none was announced")
	if lost, known := i.AnnouncedLoss(); known {
		announced += fmt.Sprintf("; up to T0: %s", took(lost))
	}
	fmt.Fprintf(t, "announced loss\t%s\n", announced)
	for _, o := range i.Operations {
		ended := "runs"
		if !o.Ended.IsZero() {
			ended = o.Ended.Local().Format("15:04:05")
		}
		began := "not begun"
		if !o.Started.IsZero() {
			began = o.Started.Local().Format("15:04:05") + " to " + ended
		}
		fmt.Fprintf(t, "operation\t%s  %s  %s  %s\n", o.ID, began, o.State, o.What)
	}
	if !i.Validated.IsZero() {
		fmt.Fprintf(t, "validated\t%s\n", i.Validated.Local().Format(layout))
	}
	if i.Wall > 0 {
		sofar := ""
		if i.Validated.IsZero() {
			sofar = " so far"
		}
		fmt.Fprintf(t, "wall clock\t%s%s: operations %s, people %s\n", took(i.Wall), sofar, took(i.Machine), took(i.Human))
	}
	if i.Open() {
		fmt.Fprintln(t, "closed\tnot yet: it is open")
	} else {
		fmt.Fprintf(t, "closed\t%s, by %s\n", i.Closed.Local().Format(layout), or(i.ClosedBy, "nobody known"))
		fmt.Fprintf(t, "really lost\t%s\n", i.Loss)
	}
	for _, text := range i.Differed {
		fmt.Fprintf(t, "differed\t%s\n", text)
	}
	return t.Flush()
}
