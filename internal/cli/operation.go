package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"cairn/internal/backup"
	"cairn/internal/desk"
	"cairn/internal/operation"
	"cairn/internal/plan"
)

func (a *app) operationCommand() *cobra.Command {
	c := &cobra.Command{Use: "operation", Short: "List, watch, cancel, resume and undo operations of all consoles", Args: cobra.NoArgs}
	c.AddCommand(a.operationList(), a.operationShow(), a.operationUndo(),
		a.operationDo("watch ID", "Follow an operation to its end", func(ctx context.Context, d *desk.Desk, id string) error { return a.follow(ctx, d, id) }),
		a.operationDo("cancel ID", "Ask an operation to stop; what was done stays done", a.cancel),
		a.operationDo("resume ID", "Go on with an interrupted operation", func(ctx context.Context, d *desk.Desk, id string) error {
			if err := d.Resume(ctx, id); err != nil {
				return refusal(err)
			}
			return a.follow(ctx, d, id)
		}),
		a.operationDo("done ID", "Say that what an operation waits for is done: it looks, and goes on", a.done),
		a.operationWork())
	return c
}

func (a *app) operationDo(use, short string, do func(context.Context, *desk.Desk, string) error) *cobra.Command {
	return &cobra.Command{Use: use, Short: short, Args: cobra.ExactArgs(1), RunE: func(c *cobra.Command, args []string) error {
		return a.withDesk(c.Context(), func(d *desk.Desk) error { return do(c.Context(), d, args[0]) })
	}}
}

func (a *app) operationList() *cobra.Command {
	var format string
	c := &cobra.Command{Use: "list", Short: "List the operations, newest first", Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error {
		if err := oneOf("format", format, "text", "json"); err != nil {
			return err
		}
		return a.withDesk(c.Context(), func(d *desk.Desk) error {
			all, err := d.Operations()
			if err != nil {
				return err
			}
			if format == "json" {
				return printJSON(a.env.Out, map[string]any{"schema_version": schemaVersion, "operations": each(all, operationOf)})
			}
			return a.printOperations(all)
		})
	}}
	c.Flags().StringVar(&format, "format", "text", "`FORMAT`: text or json")
	return c
}

func (a *app) printOperations(all []operation.Status) error {
	t := newTable(a.env.Out)
	fmt.Fprintln(t, "ID\tSTATE\tWHAT\tBY\tSTARTED\tTOOK\tTEXT")
	for _, s := range all {
		started, took := "", ""
		if !s.Started.IsZero() {
			started = s.Started.Local().Format("2006-01-02 15:04")
		}
		if !s.Ended.IsZero() {
			took = backup.Age(s.Ended.Sub(s.Started))
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", s.ID(), s.Outcome(), s.Record.Plan.Summary, s.Record.By.Who, started, took, s.Text)
	}
	return t.Flush()
}

func (a *app) operationShow() *cobra.Command {
	var format string
	c := &cobra.Command{Use: "show ID", Short: "Show how an operation stands", Args: cobra.ExactArgs(1), RunE: func(c *cobra.Command, args []string) error {
		if err := oneOf("format", format, "text", "json"); err != nil {
			return err
		}
		return a.withDesk(c.Context(), func(d *desk.Desk) error {
			s, err := d.Operation(args[0])
			if err != nil {
				return err
			}
			if format == "json" {
				return printJSON(a.env.Out, operationOf(s))
			}
			return a.printOperation(s)
		})
	}}
	c.Flags().StringVar(&format, "format", "text", "`FORMAT`: text or json")
	return c
}

func (a *app) printOperation(s operation.Status) error {
	if err := printReadable(a.env.Out, s.Record.Plan, s.Record.Hash); err != nil {
		return err
	}
	from := ""
	if f := s.Record.By.From; f != "" && f != "local" {
		from = " over SSH from " + f
	}
	fmt.Fprintf(a.env.Out, "\noperation %s: %s\nstarted %sby %s\n", s.ID(), joined(": ", string(s.Outcome()), s.Text), whenRan(s), joined(": ", s.Record.By.Who+from, s.Record.By.Why))
	if c := s.Cancel; c != nil {
		fmt.Fprintf(a.env.Out, "%s asked it to stop.\n", c.By.Who)
	}
	printStates(a.env.Out, s)
	if s.State == operation.WaitsForYou {
		fmt.Fprintf(a.env.Out, "When it is done: cairn operation done %s\n", s.ID())
	} else if s.Resumable {
		fmt.Fprintf(a.env.Out, "No worker is there. cairn operation resume %s\n", s.ID())
	}
	return nil
}

// joined puts together what is not empty.
func joined(by string, all ...string) string {
	return strings.Join(slices.DeleteFunc(all, func(s string) bool { return s == "" }), by)
}

// whenRan says when an operation began, and how long it took.
func whenRan(s operation.Status) string {
	if s.Started.IsZero() {
		return ""
	}
	text := s.Started.Local().Format("2006-01-02 15:04") + " "
	if !s.Ended.IsZero() {
		text += "and took " + backup.Age(s.Ended.Sub(s.Started)) + ", "
	}
	return text
}

// done goes on with an operation that waits for a person: what was done is looked
// at, not believed.
func (a *app) done(ctx context.Context, d *desk.Desk, id string) error {
	s, err := d.Operation(id)
	if err != nil {
		return err
	}
	if s.State != operation.WaitsForYou {
		return fail(ExitBlocked, fmt.Errorf("operation %s is %s: it does not wait for you", id, s.State))
	}
	if err := d.Resume(ctx, id); err != nil {
		return refusal(err)
	}
	return a.follow(ctx, d, id)
}

// cancel asks for the end and says what that cannot take back.
func (a *app) cancel(_ context.Context, d *desk.Desk, id string) error {
	s, err := d.Operation(id)
	if err != nil {
		return err
	}
	if s.State != operation.Running && !s.Resumable && s.State != operation.Waiting {
		return fail(ExitBlocked, fmt.Errorf("operation %s is %s: there is nothing to cancel", id, s.State))
	}
	if err := d.Cancel(id); err != nil {
		return refusal(err)
	}
	if s.Resumable {
		fmt.Fprintf(a.env.Out, "No worker is there to stop. cairn operation resume %s finds out what was done, and ends it there.\n", id)
	} else {
		fmt.Fprintf(a.env.Out, "Operation %s was asked to stop.\n", id)
	}
	if left := waiting(s); len(left) > 0 {
		fmt.Fprintf(a.env.Out, "Not to be done any more: %s.\n", strings.Join(left, ", "))
	}
	if done := s.Irreversible(); len(done) > 0 {
		fmt.Fprintf(a.env.Out, "Begun, and not to be undone by this: %s. Way back: %s\n", strings.Join(done, ", "), or(s.Record.Plan.WayBack, "none"))
	}
	return nil
}

func waiting(s operation.Status) []string {
	var titles []string
	for i, step := range s.Record.Plan.Steps {
		if s.Steps[i].State == operation.Waiting {
			titles = append(titles, step.Title)
		}
	}
	return titles
}

func (a *app) operationUndo() *cobra.Command {
	var f actFlags
	c := &cobra.Command{Use: "undo ID", Short: "Go back to the safety copy that an operation made", Args: cobra.ExactArgs(1), RunE: func(c *cobra.Command, args []string) error {
		return a.act(c.Context(), f, func(d *desk.Desk) (plan.Plan, error) { return d.Undo(c.Context(), args[0]) })
	}}
	f.register(c)
	return c
}

// operationWork is what a detached worker runs; people have no use for it.
func (a *app) operationWork() *cobra.Command {
	var descriptor int
	c := &cobra.Command{Use: "work ID", Hidden: true, Args: cobra.ExactArgs(1), RunE: func(c *cobra.Command, args []string) error {
		asked, err := handedOn(descriptor)
		if err != nil {
			return err
		}
		return a.atDesk(c.Context(), asked, func(d *desk.Desk) error {
			if err := d.Work(c.Context(), args[0]); err != nil {
				return fail(ExitResumable, err)
			}
			return nil
		})
	}}
	c.Flags().IntVar(&descriptor, "secrets-fd", 0, "`DESCRIPTOR` that holds the secrets a person typed")
	return c
}
