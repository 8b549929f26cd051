package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cairn/checks"
	"cairn/internal/history"
)

func (a *app) holdCommand() *cobra.Command {
	var why string
	c := &cobra.Command{
		Use:       "hold on|off",
		Short:     "Keep every copy while an incident is open: nothing is forgotten or pruned",
		ValidArgs: []string{"on", "off"},
		Args:      cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		RunE:      func(c *cobra.Command, args []string) error { return a.hold(c.Context(), args[0] == "on", why) },
	}
	c.Flags().StringVar(&why, "why", "", "`REASON`, for the audit trail")
	return c
}

func (a *app) hold(ctx context.Context, on bool, why string) error {
	return a.inHistory(ctx, func(s *history.Store) error {
		now, what, said := time.Now(), "hold off", "The hold is off: retention applies again."
		var h *history.Hold
		if on {
			h = &history.Hold{Since: now, Who: who(), Why: why}
			what, said = "hold on", "The hold is on: nothing is forgotten, pruned or synced away by cairn until cairn hold off."
		}
		if err := s.SetHold(ctx, h); err != nil {
			return err
		}
		if open, err := s.Incident(ctx); err == nil && open != nil && !on {
			said = fmt.Sprintf("%s is open and holds all copies on: cairn incident close ends that.", open)
		}
		if err := s.Audit(ctx, history.Entry{At: now, Who: who(), Origin: origin(), Why: why, What: what, Result: "done"}); err != nil {
			return err
		}
		_, err := fmt.Fprintln(a.env.Out, said)
		return err
	})
}

func (a *app) ackCommand() *cobra.Command {
	var off bool
	c := &cobra.Command{
		Use:   "ack [ID]",
		Short: "Take note of a problem: it no longer counts until it worsens; alone it lists the problems with their ids",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 && off {
				return fail(ExitUsage, errors.New("say which problem is to count again: cairn ack lists their ids"))
			}
			if len(args) == 0 {
				return a.listProblems(c.Context())
			}
			return a.ack(c.Context(), args[0], off)
		},
	}
	c.Flags().BoolVar(&off, "off", false, "take the acknowledgement back")
	return c
}

func (a *app) ack(ctx context.Context, id string, off bool) error {
	if off {
		return a.inHistory(ctx, func(s *history.Store) error { return s.Unacknowledge(ctx, id) })
	}
	state, err := a.survey(ctx, nil, time.Minute)
	if err != nil {
		return err
	}
	var ids []string
	for _, p := range state.Report.Problems {
		ids = append(ids, p.ID)
		if p.ID != id {
			continue
		}
		return a.inHistory(ctx, func(s *history.Store) error {
			now := time.Now()
			if err := s.Acknowledge(ctx, id, p.Fingerprint, who(), now); err != nil {
				return err
			}
			if err := s.Audit(ctx, history.Entry{At: now, Who: who(), Origin: origin(), What: "acknowledge", Target: id, Result: p.Summary}); err != nil {
				return err
			}
			_, err := fmt.Fprintf(a.env.Out, "Noted, until it worsens: %s\n", p.Summary)
			return err
		})
	}
	return fail(ExitUsage, fmt.Errorf("there is no problem %q now; there are: %s", id, strings.Join(ids, ", ")))
}

// listProblems lists the problems with the ids that ack takes.
func (a *app) listProblems(ctx context.Context) error {
	state, err := a.survey(ctx, nil, time.Minute)
	if err != nil {
		return err
	}
	return printProblems(a.env.Out, state.Report.Problems)
}

func printProblems(w io.Writer, all []checks.Problem) error {
	if len(all) == 0 {
		_, err := fmt.Fprintln(w, "There is no problem.")
		return err
	}
	t := newTable(w)
	fmt.Fprintln(t, "ID\tSTATUS\tPROBLEM")
	for _, p := range all {
		status := p.Status.String()
		if p.Acknowledged {
			status = "acknowledged"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\n", p.ID, status, p.Summary)
	}
	return t.Flush()
}

// who is the person at the keyboard: behind sudo, the one who called it.
func who() string {
	if name := os.Getenv("SUDO_USER"); name != "" {
		return name
	}
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return fmt.Sprintf("uid %d", os.Getuid())
}

// origin is the address that an SSH session comes from, or "local".
func origin() string {
	if from, _, ok := strings.Cut(os.Getenv("SSH_CONNECTION"), " "); ok {
		return from
	}
	return "local"
}
