package cli

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"cairn/internal/config"
	"cairn/internal/lab"
)

func (a *app) demoCommand() *cobra.Command {
	var serve bool
	c := &cobra.Command{
		Use:   "demo",
		Short: "Open the console on a home lab in a box",
		Long:  "Open the console on a self-contained home lab: Proxmox and PBS servers on loopback, real restic repositories and a real PostgreSQL. Without a terminal, print the board once.",
		Args:  cobra.NoArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return a.demo(c.Context(), serve) },
	}
	c.Flags().BoolVar(&serve, "serve", false, "keep the lab up and print the path of a configuration that reaches it")
	return c
}

func (a *app) demo(ctx context.Context, serve bool) (err error) {
	fmt.Fprintln(a.env.Err, "Starting a home lab in a box ...")
	box, err := lab.Start(ctx, lab.Options{})
	if err != nil {
		return fmt.Errorf("starting the lab: %w", err)
	}
	defer func() {
		if stopped := box.Stop(); stopped != nil && err == nil {
			err = fmt.Errorf("stopping the lab: %w", stopped)
		}
	}()
	for _, note := range box.Notes {
		fmt.Fprintln(a.env.Err, "note:", note)
	}
	if serve {
		return a.serve(ctx, box.ConfigPath())
	}
	c, err := config.Load(box.ConfigPath())
	if err != nil {
		return fmt.Errorf("the lab's own configuration: %w", err)
	}
	c.ReadOnly = c.ReadOnly || a.readOnly
	if isTerminal(a.env.In) && outIsTerminal(a.env) {
		return a.openConsole(ctx, c, box.ConfigPath())
	}
	return a.printOnce(ctx, c)
}

// serve prints where the lab's configuration lies and waits for the end.
func (a *app) serve(ctx context.Context, path string) error {
	if _, err := fmt.Fprintln(a.env.Out, path); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

func (a *app) printOnce(ctx context.Context, c *config.Config) error {
	w, err := newProvingWatcher(c, false, nil)
	if err != nil {
		return err
	}
	state := w.Once(ctx, time.Minute)
	_, err = io.WriteString(a.env.Out, a.env.Console.Text(state, c.Title, state.Report.At, widthOf(a.env.Out)))
	return err
}
