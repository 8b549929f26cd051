package runbook

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"cairn/internal/backup"
	"cairn/internal/disk"
	"cairn/internal/history"
	"cairn/internal/operation"
	"cairn/internal/plan"
	"cairn/internal/secret"
	"cairn/pg"
)

// The kinds of step that act on a PostgreSQL server.
const (
	kindDump           = "postgres.dump"
	kindBase           = "postgres.base"
	kindPostgresForget = "postgres.forget"
	kindLeft           = "postgres.left"
)

// postgresArgs are the arguments of these steps.
type postgresArgs struct {
	Source   string   `json:"source"` // configured name
	Database string   `json:"database,omitempty"`
	Paths    []string `json:"paths,omitempty"`
	Segment  int64    `json:"segment,omitempty"`
	GoOn     bool     `json:"go_on,omitempty"` // where it fails the steps after it go on, and the last one tells
	Left     []string `json:"left,omitempty"`  // what could not be copied, and why
}

// servers are the PostgreSQL servers of a lab, and the history that runs of its
// own are recorded in.
type servers struct {
	postgres map[string]*pg.Client
	history  *history.Store // nil: none
	failed   failures
	secrets  secret.Reader
}

// openPostgres makes the clients of the configured servers.
func (l *Lab) openPostgres(secrets secret.Reader) {
	l.postgres, l.secrets = map[string]*pg.Client{}, secrets
	for name, c := range l.config.Postgres {
		l.postgres[name] = pg.New(name, c, secrets)
	}
}

func (l *Lab) closePostgres() {
	for _, c := range l.postgres {
		c.Close()
	}
}

// Keep gives the lab the history that runs of its own are recorded in, and that
// knows whether somebody holds the copies. Without one nothing is recorded.
func (l *Lab) Keep(h *history.Store) { l.history = h }

func (l *Lab) postgresServer(name string) (*pg.Client, error) {
	if c := l.postgres[name]; c != nil {
		return c, nil
	}
	return nil, fmt.Errorf("no server postgres.%s is configured any more", name)
}

// PostgresName takes apart what a person writes: "postgres.erp", "erp", with
// "/dump", "/base" or "/DATABASE" behind it. ok is false where no such server is
// configured.
func (l *Lab) PostgresName(text string) (source, part string, ok bool) {
	name, part, _ := strings.Cut(strings.TrimPrefix(text, "postgres."), "/")
	_, ok = l.config.Postgres[name]
	return name, part, ok
}

// DatabaseName takes what a person writes for a database: NAME/DATABASE, or the
// database alone where only one configured server has or dumps one of that name.
func (l *Lab) DatabaseName(ctx context.Context, text string) (source, database string, err error) {
	source, database, ok := l.PostgresName(text)
	if ok && database != "" {
		return source, database, nil
	}
	var at []string
	if !ok && text != "" {
		for _, name := range slices.Sorted(maps.Keys(l.postgres)) {
			f, _ := l.postgres[name].Survey(ctx) // of a server that is down its dumps tell
			if slices.ContainsFunc(f.Server.Value.Databases, func(d pg.Database) bool { return d.Name == text && !d.Template }) ||
				slices.ContainsFunc(f.Dumps.Value, func(d pg.Dump) bool { return d.Database == text }) {
				at = append(at, name)
			}
		}
	}
	switch len(at) {
	case 1:
		return at[0], text, nil
	case 0:
		return "", "", fmt.Errorf("%q is no database of a configured postgres entry: write NAME/DATABASE, such as erp/openprod", text)
	}
	return "", "", fmt.Errorf("several servers have a database %q: write %s/%s", text, strings.Join(at, "/"+text+" or "), text)
}

// postgresFingerprint names the state of the server, or of one database of it.
func (l *Lab) postgresFingerprint(ctx context.Context, id backup.AssetID) (string, error) {
	c, err := l.postgresServer(id.Scope)
	if err != nil {
		return "", err
	}
	if id.Kind == backup.Cluster {
		return c.FingerprintOrDown(ctx)
	}
	return c.Fingerprint(ctx, id.Name)
}

func (l *Lab) postgresSteps() map[string]operation.Executor {
	all := l.databaseSteps()
	maps.Copy(all, l.recoverSteps())
	maps.Copy(all, l.stayingSteps())
	maps.Copy(all, l.clusterSteps())
	maps.Copy(all, l.verifySteps())
	all[kindDump], all[kindBase], all[kindPostgresForget] = &copyStep{l}, &copyStep{l}, &forgetStep{l}
	all[kindLeft] = &leftStep{l}
	return all
}

// addPostgres adds a step that works on bytes.
func (l *Lab) addPostgres(p *plan.Plan, kind, title, show string, args any, irreversible bool, bytes int64) {
	text, err := json.Marshal(args)
	if err != nil { // a struct of plain fields: it cannot fail
		panic(err)
	}
	_, short, _ := strings.Cut(kind, ".")
	p.Steps = append(p.Steps, plan.Step{
		ID: fmt.Sprintf("%d-%s", len(p.Steps)+1, short), Kind: kind, Title: title, Show: show, Args: text,
		Irreversible: irreversible, Estimate: l.estimate(p.Target, kind, text, bytes),
	})
}

// openStep reads a step's arguments and finds its server.
func openStep[T any](l *Lab, s plan.Step, source func(T) string) (*pg.Client, T, error) {
	var a T
	if err := json.Unmarshal(s.Args, &a); err != nil {
		return nil, a, fmt.Errorf("reading what step %s is to do: %w", s.ID, err)
	}
	c, err := l.postgresServer(source(a))
	return c, a, err
}

// postgresWork is what a step gives to the client.
func postgresWork(task *operation.Task) pg.Work {
	return pg.Work{Operation: task.Operation, Lock: task.Lock, Report: func(p pg.Progress) {
		out := operation.Progress{Done: p.Done, Total: p.Total, Unit: p.Unit}
		if p.Line != "" {
			out.Lines = []string{p.Line}
		}
		task.Progress(out)
	}}
}

// diskBlockers looks whether the disk that a server's copies go to is there: by
// the UUID of the file system, not by its mount point.
func (l *Lab) diskBlockers(ctx context.Context, name string) []plan.Blocker {
	cfg, ok := l.config.Disks[name]
	if !ok {
		return nil
	}
	subject := "disk " + name
	f, err := disk.New(name, cfg).Survey(ctx)
	hint := fmt.Sprintf("plug it in and mount it on %s; until then the copy would fill this host's own disk", cfg.Mount)
	switch {
	case err != nil:
		return []plan.Blocker{{Subject: subject, Why: "whether it is there is not known: " + err.Error(), Hint: hint}}
	case !f.Mounted:
		return []plan.Blocker{{Subject: subject, Why: "it is not mounted on " + cfg.Mount, Hint: hint}}
	case f.Foreign:
		return []plan.Blocker{{Subject: subject, Why: fmt.Sprintf("another disk (UUID %s) is mounted on %s", f.UUID, cfg.Mount), Hint: hint}}
	case f.DeviceGone:
		return []plan.Blocker{{Subject: subject, Why: "its device has left the system", Hint: "unmount it, plug it in again and mount it"}}
	case f.ReadOnly != "":
		return []plan.Blocker{{Subject: subject, Why: "it cannot be written: " + f.ReadOnly, Hint: "look at the kernel's log, check its file system and mount it again"}}
	}
	return nil
}
