package command

import (
	"bufio"
	"context"
	"fmt"
	"maps"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Detach starts s in a session of its own, from where it outlives this process
// and its terminal: its output goes to log, it has no terminal, and it works in
// / unless Dir says otherwise, so that it holds no disk. ExtraFiles are
// inherited, locks on them too. Stdin must be nil or a file.
func Detach(s Spec, log *os.File) (*Server, error) {
	if _, file := s.Stdin.(*os.File); s.Stdin != nil && !file {
		return nil, fmt.Errorf("starting %s: its input must be a file, because nobody would feed it once we are gone", s.Argv[0])
	}
	if s.Dir == "" {
		s.Dir = "/"
	}
	cmd, err := serve(s)
	if err != nil {
		return nil, err
	}
	if log != nil {
		cmd.Stdout, cmd.Stderr = log, log
	}
	return launch(cmd, func() {})
}

// Detacher starts processes that outlive this one and the login it belongs to,
// as this host does it best.
type Detacher struct {
	Systemd []string // systemd-run and its options; empty: a session of its own
	Warning string   // why even that may not outlive a logout, and what to do; empty: it does
}

// host is what HowToDetach looks at.
type host struct {
	root     string // "/"
	uid      int
	user     string
	run      func(argv ...string) (string, error)
	lingers  bool // the user's own systemd stays after a logout
	killing  bool // logind kills what a logout leaves behind
	excluded bool // but not this user
}

// probeLimit bounds each question to systemd.
const probeLimit = 5 * time.Second

// HowToDetach asks systemd, where it runs, whether it takes processes from us:
// by starting /bin/true. It changes nothing.
func HowToDetach(ctx context.Context) Detacher {
	h := host{root: "/", uid: os.Getuid()}
	if me, err := user.Current(); err == nil {
		h.user = me.Username
	}
	h.run = func(argv ...string) (string, error) {
		limited, cancel := context.WithTimeout(ctx, probeLimit)
		defer cancel()
		r, err := Run(limited, Spec{Argv: argv, Grace: time.Second})
		return string(r.Stdout), err
	}
	return h.choose()
}

func (h host) choose() Detacher {
	if _, err := os.Stat(filepath.Join(h.root, "run/systemd/system")); err != nil {
		return Detacher{} // systemd is not what runs here, and neither is logind
	}
	h.look()
	prefix := []string{"systemd-run", "--system", "--collect", "--quiet"}
	if h.uid != 0 {
		prefix[1] = "--user"
	}
	// without lingering, a user's systemd ends at logout with all it runs
	if h.uid == 0 || h.lingers {
		if _, err := h.run(append(slices.Clone(prefix), "--wait", "/bin/true")...); err == nil {
			return Detacher{Systemd: prefix}
		}
	}
	if h.killing && !h.excluded {
		return Detacher{Warning: fmt.Sprintf("logind ends everything of yours at logout (KillUserProcesses=yes): an operation would end with this login; run `loginctl enable-linger %s`, or stay logged in", h.user)}
	}
	return Detacher{}
}

// look asks logind, and reads its files where it does not say.
func (h *host) look() {
	if said, err := h.run("loginctl", "show-user", strconv.Itoa(h.uid), "--property=Linger", "--value"); err == nil {
		h.lingers = strings.TrimSpace(said) == "yes"
	}
	settings := h.logindFiles()
	if said, err := h.run("loginctl", "show-session", "--property=KillUserProcesses", "--value"); err == nil && strings.TrimSpace(said) != "" {
		settings["KillUserProcesses"] = strings.TrimSpace(said)
	}
	h.killing = truth(settings["KillUserProcesses"])
	only, except := strings.Fields(settings["KillOnlyUsers"]), []string{"root"}
	if set, ok := settings["KillExcludeUsers"]; ok {
		except = strings.Fields(set)
	}
	h.excluded = slices.Contains(except, h.user) || len(only) > 0 && !slices.Contains(only, h.user)
}

// logindFiles reads logind.conf and its drop-ins: of drop-ins with one name the
// one in /etc counts, and of all the last in the order of names.
func (h *host) logindFiles() map[string]string {
	settings, dropIns := map[string]string{}, map[string]string{}
	for _, dir := range []string{"usr/lib/systemd", "run/systemd", "etc/systemd"} {
		readINI(filepath.Join(h.root, dir, "logind.conf"), "Login", settings)
		found, _ := filepath.Glob(filepath.Join(h.root, dir, "logind.conf.d", "*.conf"))
		for _, path := range found {
			dropIns[filepath.Base(path)] = path
		}
	}
	for _, name := range slices.Sorted(maps.Keys(dropIns)) {
		readINI(dropIns[name], "Login", settings)
	}
	return settings
}

// readINI adds the settings of one section of a systemd file. One that cannot be
// read sets nothing.
func readINI(path, section string, into map[string]string) {
	f, err := os.Open(path)
	if err != nil {
		return
	}
	defer f.Close()
	in := ""
	for lines := bufio.NewScanner(f); lines.Scan(); {
		line := strings.TrimSpace(lines.Text())
		switch key, value, ok := strings.Cut(line, "="); {
		case line == "" || line[0] == '#' || line[0] == ';':
		case line[0] == '[':
			in = strings.Trim(line, "[]")
		case ok && in == section:
			into[strings.TrimSpace(key)] = strings.TrimSpace(value)
		}
	}
}

func truth(word string) bool {
	return slices.Contains([]string{"yes", "true", "on", "1", "y", "t"}, strings.ToLower(word))
}

// Start starts s under the name unit, such as "cairn-ID", with its output
// appended to the file log. pid is 0 where systemd started it. Env must hold no
// secret: systemd shows it to every user. ExtraFiles need a session of its own:
// systemd passes no descriptors on.
func (d Detacher) Start(ctx context.Context, unit string, s Spec, log string) (pid int, err error) {
	if len(d.Systemd) == 0 || len(s.ExtraFiles) > 0 {
		f, err := os.OpenFile(log, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
		if err != nil {
			return 0, fmt.Errorf("opening the log of %s: %w", unit, err)
		}
		defer f.Close()
		server, err := Detach(s, f)
		if err != nil {
			return 0, err
		}
		return server.Pid(), nil
	}
	if _, err := Run(ctx, Spec{Argv: d.argv(unit, s, log), Env: s.Env}); err != nil {
		return 0, fmt.Errorf("handing %s to systemd: %w", unit, err)
	}
	return 0, nil
}

// argv is the command line that hands s to systemd with the environment and the
// directory that Detach would give it.
func (d Detacher) argv(unit string, s Spec, log string) []string {
	dir := s.Dir
	if dir == "" {
		dir = "/"
	}
	argv := append(slices.Clone(d.Systemd), "--unit="+unit, "--working-directory="+dir,
		"--property=StandardOutput=append:"+log, "--property=StandardError=append:"+log)
	for _, set := range slices.Concat(Base(), s.Env) {
		name, _, _ := strings.Cut(set, "=")
		argv = append(argv, "--setenv="+name) // its value is that of systemd-run's own environment
	}
	return append(append(argv, "--", lookup(s.Argv[0])), s.Argv[1:]...)
}
