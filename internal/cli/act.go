package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cairn/internal/desk"
	"cairn/internal/operation"
	"cairn/internal/plan"
)

// actFlags are the flags of every command that changes something.
type actFlags struct {
	plan   bool
	format string
	yes    string
	expect string
	why    string
	detach bool
}

func (f *actFlags) register(c *cobra.Command) {
	c.Flags().BoolVar(&f.plan, "plan", false, "print the plan and change nothing")
	c.Flags().StringVar(&f.format, "format", "text", "`FORMAT` of the plan: text or json")
	c.Flags().StringVar(&f.yes, "yes", "", "confirm with the target's own `NAME`")
	c.Flags().StringVar(&f.expect, "expect-plan", "", "run only the plan with this `HASH`")
	c.Flags().StringVar(&f.why, "why", "", "`REASON`, for the audit trail")
	c.Flags().BoolVar(&f.detach, "detach", false, "return once it has started")
}

// act makes a plan, shows it, has it confirmed, and carries it out.
func (a *app) act(ctx context.Context, f actFlags, build func(*desk.Desk) (plan.Plan, error)) error {
	if err := oneOf("format", f.format, "text", "json"); err != nil {
		return err
	}
	return a.withDesk(ctx, func(d *desk.Desk) error {
		p, err := build(d)
		if err != nil {
			return err
		}
		hash, err := p.Hash()
		if err != nil {
			return err
		}
		if f.plan {
			return a.showPlan(p, hash, f.format)
		}
		if d.ReadOnly() {
			return refusal(desk.ErrReadOnly)
		}
		if err := a.agreed(ctx, f, p, hash); err != nil {
			return err
		}
		id, err := d.Start(ctx, p, f.why)
		if err != nil {
			return refusal(err)
		}
		fmt.Fprintf(a.env.Err, "Operation %s has started; it runs on without you. cairn operation watch %s\n", id, id)
		if f.detach {
			return nil
		}
		return a.follow(ctx, d, id)
	})
}

func (a *app) showPlan(p plan.Plan, hash, format string) error {
	var err error
	if format == "json" {
		err = printJSON(a.env.Out, planOf(p, hash))
	} else {
		err = printReadable(a.env.Out, p, hash)
	}
	if err == nil && p.Blocked() {
		return quiet(ExitBlocked)
	}
	return err
}

// agreed refuses a blocked plan, one that is not the expected, and one that is
// not confirmed with the target's own name. A plan that destroys nothing needs no
// confirmation; one that removes copies by the configuration needs it of a
// person, and not of a timer.
func (a *app) agreed(ctx context.Context, f actFlags, p plan.Plan, hash string) error {
	if p.Blocked() {
		if err := printReadable(a.env.Err, p, hash); err != nil {
			return err
		}
		return fail(ExitBlocked, errors.New("blocked: nothing was touched"))
	}
	if f.expect != "" && f.expect != hash {
		return fail(ExitBlocked, fmt.Errorf("the plan is %s now, not %s: look at it with --plan; nothing was touched", hash, f.expect))
	}
	watched := isTerminal(a.env.In) && outIsTerminal(a.env)
	if !destroys(p) && !(p.Loses && watched) { // a timer runs what is configured
		return nil
	}
	if f.yes != "" {
		if f.yes != p.Confirm {
			return fail(ExitBlocked, fmt.Errorf("--yes %s is not the target's name %q: nothing was touched", f.yes, p.Confirm))
		}
		return nil
	}
	if !watched {
		return fail(ExitBlocked, fmt.Errorf("without a terminal it needs --yes %s: nothing was touched", p.Confirm))
	}
	if err := printReadable(a.env.Out, p, hash); err != nil {
		return err
	}
	if err := printCost(a.env.Out, p); err != nil {
		return err
	}
	typed, err := a.askLine(ctx, "\nType the target's name to go on, anything else to leave: ")
	if err != nil {
		return fail(ExitBlocked, fmt.Errorf("not confirmed, nothing was touched: %w", err))
	}
	if strings.TrimSpace(typed) != p.Confirm {
		return fail(ExitBlocked, errors.New("not confirmed: nothing was touched"))
	}
	return nil
}

// printReadable prints a plan, on a terminal with no word broken.
func printReadable(w io.Writer, p plan.Plan, hash string) error {
	columns := columnsOf(w)
	if columns == 0 {
		return printPlan(w, p, hash)
	}
	var whole bytes.Buffer
	if err := printPlan(&whole, p, hash); err != nil {
		return err
	}
	_, err := io.WriteString(w, wrapped(whole.String(), min(columns, textWidth)))
	return err
}

func destroys(p plan.Plan) bool {
	for _, s := range p.Steps {
		if s.Irreversible {
			return true
		}
	}
	return false
}

func refusal(err error) error {
	var busy *operation.BusyError
	if errors.Is(err, operation.ErrRefused) || errors.As(err, &busy) || errors.Is(err, desk.ErrReadOnly) {
		return fail(ExitBlocked, err)
	}
	return fail(ExitFailed, err)
}

// look is how often a watched operation is read.
const look = 250 * time.Millisecond

// follow prints what operation id does until it ends. When ctx ends it stops
// watching; the operation goes on.
func (a *app) follow(ctx context.Context, d *desk.Desk, id string) error {
	p := progressPrinter{out: a.env.Out, told: map[string]operation.State{}}
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		s, err := d.Operation(id)
		if err != nil {
			return err
		}
		p.print(s)
		if s.Resumable || s.State != operation.Running && s.State != operation.Waiting && s.State != operation.WaitsForYou {
			if err := ended(s); err != nil {
				return err
			}
			return printEnd(a.env.Out, s)
		}
		select {
		case <-ctx.Done():
			fmt.Fprintf(a.env.Err, "Operation %s goes on. cairn operation watch %s\n", id, id)
			return nil
		case <-tick.C:
		}
	}
}

func ended(s operation.Status) error {
	err := fmt.Errorf("operation %s %s: %s", s.ID(), s.State, s.Text)
	switch s.State {
	case operation.Waiting:
		return fail(ExitResumable, fmt.Errorf("operation %s has not begun, and no worker is there; cairn operation resume %s begins it", s.ID(), s.ID()))
	case operation.StepDone, operation.StepWarned:
		return nil
	case operation.WaitsForYou:
		return fail(ExitResumable, fmt.Errorf("operation %s waits for you: %s. When that is done: cairn operation done %s", s.ID(), s.Text, s.ID()))
	case operation.Interrupted:
		return fail(ExitResumable, fmt.Errorf("operation %s was interrupted; cairn operation resume %s goes on", s.ID(), s.ID()))
	case operation.WasRefused:
		return fail(ExitBlocked, err)
	}
	return fail(ExitFailed, err)
}

// printEnd says that an operation is done, the command that follows it, and the way
// back.
func printEnd(w io.Writer, s operation.Status) error {
	p := s.Record.Plan
	text := fmt.Sprintf("Operation %s: %s.\n", s.ID(), s.Outcome())
	for _, note := range p.Notes {
		if strings.Contains(note, "cairn ") && strings.Contains(note, s.ID()) { // what is done with what it made
			text += "Next: " + note + "\n"
		}
	}
	if p.WayBack != "" {
		text += "Way back: " + p.WayBack + "\n"
	}
	_, err := io.WriteString(w, text)
	return err
}

// progressPrinter prints each step's state and log line once.
type progressPrinter struct {
	out  io.Writer
	told map[string]operation.State
	step string // whose log lines were printed
	said int    // how many of them
}

func (p *progressPrinter) print(s operation.Status) {
	p.log(s.Progress)
	for i, step := range s.Record.Plan.Steps {
		now := s.Steps[i]
		if now.State == operation.Waiting || p.told[step.ID] == now.State {
			continue
		}
		if p.told[step.ID] == "" {
			fmt.Fprintf(p.out, "[ ] %s   %s\n", step.Title, step.Show)
			for _, line := range step.Commands {
				fmt.Fprintf(p.out, "      %s\n", line)
			}
		}
		p.told[step.ID] = now.State
		if now.State != operation.Running {
			fmt.Fprintf(p.out, "[%s] %s  %s %s\n", mark(now.State), step.Title, now.State, now.Text)
		}
	}
	p.log(s.Progress)
}

// printStates prints each step once, with how it stands.
func printStates(w io.Writer, s operation.Status) {
	for i, step := range s.Record.Plan.Steps {
		now := s.Steps[i]
		fmt.Fprintf(w, "[%s] %s  %s %s\n", mark(now.State), step.Title, now.State, now.Text)
		if p := s.Progress; p != nil && p.Step == step.ID {
			for _, line := range p.Lines {
				fmt.Fprintf(w, "    %s\n", line)
			}
		}
	}
}

// log prints the lines of a step's log that came since, as far as they are kept.
// Those of a step that was not announced yet wait.
func (p *progressPrinter) log(now *operation.Progress) {
	if now == nil || p.told[now.Step] == "" {
		return
	}
	if now.Step != p.step {
		p.step, p.said = now.Step, 0
	}
	for _, line := range now.Lines[max(0, len(now.Lines)-max(0, now.Said-p.said)):] {
		fmt.Fprintf(p.out, "    %s\n", line)
	}
	p.said = now.Said
}

func mark(s operation.State) string {
	switch s {
	case operation.StepDone:
		return "x"
	case operation.StepWarned:
		return "w"
	case operation.Waiting:
		return " "
	case operation.Running:
		return ">"
	}
	return "!"
}
