// Package cli is cairn's command line: the commands and their output formats.
// Scripts depend on the names, the JSON and the exit codes.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"cairn/internal/backup"
	"cairn/internal/config"
	"cairn/internal/desk"
	"cairn/internal/secret"
	"cairn/internal/watch"
)

// Exit codes besides those of check (0 ok, 1 warning, 2 critical, 3 unknown);
// the numbers of sysexits.h where one fits.
const (
	ExitUsage     = 64 // the command line is wrong
	ExitBlocked   = 65 // the plan has blockers, or its confirmation is missing
	ExitFailed    = 70
	ExitResumable = 75 // an operation stopped half-way and can go on
	ExitConfig    = 78 // the configuration is missing or wrong
)

// Console is what the commands need of the terminal console. main gives it, so
// that neither of the two knows the other.
type Console struct {
	Run  func(ctx context.Context, s Session) error
	Text func(s *watch.State, title string, now time.Time, width int) string
}

// Session is what one console shows and acts on.
type Session struct {
	Watcher *watch.Watcher
	Config  *config.Config
	NoColor bool
	// Desk opens what the console acts through. The secrets that a person types
	// are asked for with ask; say tells what should be known before something
	// starts. It is closed by the caller of Run.
	Desk func(ctx context.Context, ask func(ctx context.Context, purpose string) (secret.Secret, error), say func(string)) (*desk.Desk, error)
}

// Env is what surrounds a run of cairn.
type Env struct {
	In      *os.File
	Out     io.Writer
	Err     io.Writer
	Console Console
	Version string
}

// failure is an error with the exit code that it asks for.
type failure struct {
	code int
	err  error
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

func fail(code int, err error) error {
	if err == nil {
		return nil
	}
	return &failure{code, err}
}

// quiet ends the program with a code and says nothing: the output said it.
type quiet int

func (q quiet) Error() string { return fmt.Sprintf("exit code %d", int(q)) }

// Main runs the command line and returns the exit code.
func Main(ctx context.Context, args []string, env Env) int {
	spareMemory()
	a := &app{env: env}
	root := a.root()
	root.SetArgs(args)
	root.SetOut(env.Out)
	root.SetErr(env.Err)
	return a.exit(root.ExecuteContext(ctx))
}

func (a *app) exit(err error) int {
	var said quiet
	var f *failure
	switch {
	case err == nil:
		return 0
	case errors.As(err, &said):
		return int(said)
	case errors.As(err, &f):
		fmt.Fprintln(a.env.Err, "cairn:", inWords(err))
		return f.code
	}
	fmt.Fprintln(a.env.Err, "cairn:", inWords(err))
	return ExitFailed
}

// inWords is what is said of an error: that of Ctrl-C is no failure of anything.
func inWords(err error) string {
	if errors.Is(err, context.Canceled) {
		return strings.ReplaceAll(err.Error(), context.Canceled.Error(), "interrupted")
	}
	return err.Error()
}

// app carries the global flags to the commands.
type app struct {
	env      Env
	file     string
	readOnly bool
	noColor  bool
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:           "cairn",
		Short:         "Would I get it back? The copies of a home lab on one board, and the way back.",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(c *cobra.Command, _ []string) error { return a.console(c.Context()) },
	}
	root.SetFlagErrorFunc(wrongFlag)
	flags := root.PersistentFlags()
	flags.StringVar(&a.file, "config", "", "configuration `FILE` (default: config.toml of $XDG_CONFIG_HOME/cairn, then of /etc/cairn)")
	flags.BoolVar(&a.readOnly, "read-only", false, "take away every key and command that changes something")
	flags.BoolVar(&a.noColor, "no-color", false, "draw without colours")
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(a.checkCommand(), a.copiesCommand(), a.snapshotCommand(), a.backupCommand(), a.restoreCommand(), a.filesCommand(), a.forgetCommand(), a.operationCommand(), a.runbookCommand(),
		a.historyCommand(), a.holdCommand(), a.ackCommand(), a.demoCommand(), a.versionCommand())
	root.AddCommand(a.incidentCommand(), a.proveCommand(), a.verifyCommand(), a.diskCommand())
	wrapUsage(root)
	return root
}

// wrongFlag says what is wrong with a flag, or with the subcommand before it: that of
// a command whose name is misspelled is no flag of the command above.
func wrongFlag(c *cobra.Command, err error) error {
	hint := ""
	switch args := c.Flags().Args(); {
	case len(args) > 0 && c.HasSubCommands():
		err, hint = fmt.Errorf("unknown command %q for %q", args[0], c.CommandPath()), meant(c, args)
	case strings.HasSuffix(err.Error(), ": --json") && c.Flags().Lookup("format") != nil:
		hint = "write --format json; "
	}
	return fail(ExitUsage, fmt.Errorf("%w; %ssee %s --help", err, hint, c.CommandPath()))
}

// wrongArguments says in words what cobra says of the arguments of a command.
func wrongArguments(c *cobra.Command, args []string, err error) error {
	_, tail, _ := strings.Cut(c.Use, " ")
	wanted := strings.Fields(tail)
	switch {
	case c.HasSubCommands():
	case tail == "" && len(args) > 0:
		return fmt.Errorf("%s takes no argument, and %q is one", c.CommandPath(), args[0])
	case len(args) < len(wanted) && !strings.HasPrefix(wanted[len(args)], "["):
		return fmt.Errorf("%s is missing", strings.ReplaceAll(strings.Join(wanted[len(args):], " "), "…", ""))
	}
	return err
}

// meant names the subcommand that somebody most likely wanted.
func meant(c *cobra.Command, args []string) string {
	if len(args) == 0 || !c.HasSubCommands() {
		return ""
	}
	var names []string
	for _, sub := range c.Commands() {
		names = append(names, sub.Name())
	}
	return didYouMean(args[0], names)
}

// didYouMean is a question with a space after it, or empty.
func didYouMean(name string, names []string) string {
	if near := backup.Nearest(name, names); near != "" {
		return "did you mean " + near + "? "
	}
	return ""
}

// wrapUsage makes wrong arguments of c and its subcommands end with ExitUsage,
// a missing subcommand too.
func wrapUsage(c *cobra.Command) {
	if c.HasSubCommands() && !c.Runnable() {
		c.RunE = func(c *cobra.Command, _ []string) error {
			var names []string
			for _, sub := range c.Commands() {
				if sub.IsAvailableCommand() {
					names = append(names, sub.Name())
				}
			}
			return fail(ExitUsage, fmt.Errorf("%s needs one of: %s; see %s --help", c.CommandPath(), strings.Join(names, ", "), c.CommandPath()))
		}
	}
	if check := c.Args; check != nil {
		c.Args = func(c *cobra.Command, args []string) error {
			if err := check(c, args); err != nil {
				return fail(ExitUsage, fmt.Errorf("%w%s; %ssee %s --help", wrongArguments(c, args, err), form(c), meant(c, args), c.CommandPath()))
			}
			return nil
		}
	}
	for _, sub := range c.Commands() {
		wrapUsage(sub)
	}
}

// form shows what a command that takes arguments looks like.
func form(c *cobra.Command) string {
	if !strings.Contains(c.Use, " ") {
		return ""
	}
	return ": write " + c.CommandPath() + strings.TrimPrefix(c.Use, c.Name())
}

// load reads the configuration that --config or the usual places name.
func (a *app) load() (*config.Config, error) {
	c, _, err := a.loadFrom()
	return c, err
}

// loadFrom does what load does and says where it was read from.
func (a *app) loadFrom() (*config.Config, string, error) {
	path := a.file
	if path == "" {
		found, err := config.Find()
		if err != nil {
			return nil, "", fail(ExitConfig, err)
		}
		path = found
	}
	c, err := config.Load(path)
	if err != nil {
		return nil, path, fail(ExitConfig, unreadable(err))
	}
	c.ReadOnly = c.ReadOnly || a.readOnly
	return c, path, nil
}

// unreadable adds what to do about a configuration that cannot be read at all.
func unreadable(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w; --config names a file that is there, such as /etc/cairn/config.toml", err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w; run it as the user that the file belongs to, or with sudo", err)
	case errors.Is(err, syscall.EISDIR):
		return fmt.Errorf("%w; --config names the file in it", err)
	}
	return err
}

// exitOf is the exit code of check for a status: the codes of Nagios plugins.
func exitOf(s backup.Status) int {
	switch s {
	case backup.OK:
		return 0
	case backup.Warning:
		return 1
	case backup.Critical:
		return 2
	}
	return 3
}

func oneOf(name, value string, allowed ...string) error {
	for _, a := range allowed {
		if value == a {
			return nil
		}
	}
	return fail(ExitUsage, fmt.Errorf("--%s %s: it is one of %v", name, value, allowed))
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{Use: "version", Short: "Print the version", Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error {
		_, err := fmt.Fprintln(a.env.Out, "cairn", a.env.Version)
		return err
	}}
}
