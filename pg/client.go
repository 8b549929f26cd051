package pg

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"cairn/internal/backup"
	"cairn/internal/command"
	"cairn/internal/secret"
)

// Client surveys one server with its standbys, and the directories that its
// dumps, base backups and WAL lie in. It keeps a connection to each server.
type Client struct {
	name     string
	cfg      Config
	reader   *session // that surveys
	server   *session // that acts; the same without a role of its own
	standbys []*session
	now      func() time.Time
	zone     *time.Location

	survey  sync.Mutex // one survey at a time
	last    Facts
	dumps   cache
	bases   cache
	details map[string]BaseBackup
	sizes   sizes         // of the server's databases
	tools   string        // version of pg_dump
	toolsAt time.Time     // when that was looked up
	stuck   chan struct{} // open while a scan of the directories has not ended
	looks   sync.Mutex
	looking map[string]*walLook // by tool
}

// New makes a Client of the table [postgres.name]. It connects to nothing yet.
// A password that the table does not name is found as psql finds it: in
// PGPASSWORD, PGPASSFILE or ~/.pgpass. The standbys take the same password.
func New(name string, cfg Config, secrets secret.Reader) *Client {
	c := &Client{name: name, cfg: cfg, now: time.Now, zone: time.Local, details: map[string]BaseBackup{}}
	c.reader = &session{source: "postgres." + name, dsn: cfg.DSN, password: cfg.Password, secrets: secrets}
	c.server = c.reader
	if act := cfg.Act; act != nil {
		c.server = &session{source: "postgres." + name, dsn: withUser(cfg.DSN, act.User), password: act.Password, purpose: "the password of role " + act.User + " of postgres." + name, secrets: secrets}
	}
	for i, dsn := range cfg.Standbys {
		c.standbys = append(c.standbys, &session{source: fmt.Sprintf("standby %d of postgres.%s", i+1, name), dsn: dsn, password: cfg.Password, secrets: secrets})
	}
	return c
}

// Close ends the connections.
func (c *Client) Close() {
	c.reader.close()
	c.server.close()
	for _, s := range c.standbys {
		s.close()
	}
}

// Accept asks for the password of the acting role if a person types it, and has
// the server accept it.
func (c *Client) Accept(ctx context.Context) error {
	if !c.server.password.Ask {
		return nil
	}
	conn, err := c.server.connect(ctx, "")
	if err != nil {
		return err
	}
	shut(ctx, conn)
	return nil
}

// Survey reads the server, its standbys and the directories side by side. What
// fails keeps its former value and says so in Facts; the error is the server's
// when nothing at all could be read.
func (c *Client) Survey(ctx context.Context) (Facts, error) {
	c.survey.Lock()
	defer c.survey.Unlock()
	f := c.last
	f.Name, f.Tools = c.name, c.pgDump(ctx)
	var server Server
	var serverErr error
	asked := async(func() { server, serverErr = c.reader.readServerWith(ctx, c.now, &c.sizes) })
	standbys := make([]Standby, len(c.standbys))
	var polls []<-chan struct{}
	for i, s := range c.standbys {
		polls = append(polls, async(func() { standbys[i] = s.readStandby(ctx, c.last.Server.Value.SystemID) }))
	}
	others := c.last.Others
	polls = append(polls, async(func() { others = c.askTools(ctx, c.last.Others, c.last.Server.Value.SegmentBytes) }))
	latest := c.last.Server.Value
	if within(ctx, asked, patience) && serverErr == nil {
		latest = server
	}
	readable, dirErr := c.directories(ctx, &f, c.known(latest), latest.SegmentBytes)
	<-asked
	for _, done := range polls {
		<-done
	}
	f.Server = f.Server.Next(server, serverErr, c.now())
	for i := range standbys {
		if lag := behind(server.CurrentLSN, standbys[i].Replayed); serverErr == nil && standbys[i].Up && lag >= 0 {
			standbys[i].LagBytes = lag
		}
	}
	f.Standbys, f.Others = standbys, others
	f.Copies = c.copies(f)
	c.last = f
	for _, t := range others {
		if t.Err == "" {
			readable++
		}
	}
	if serverErr != nil && readable == 0 {
		return f, errors.Join(serverErr, dirErr)
	}
	return f, nil
}

// patience is how long the directories wait for the server, which knows the
// names of its databases: a dead server holds them up no longer.
const patience = 2 * time.Second

func within(ctx context.Context, done <-chan struct{}, limit time.Duration) bool {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}

func async(do func()) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		do()
	}()
	return done
}

// known are the names of databases that are configured or were seen.
func (c *Client) known(server Server) []string {
	var names []string
	if c.cfg.Dump != nil {
		names = append(names, c.cfg.Dump.Databases...)
	}
	for _, d := range server.Databases {
		names = append(names, d.Name)
	}
	return names
}

// found is what one scan of all directories gave.
type found struct {
	dumps   backup.Observed[[]Dump]
	bases   backup.Observed[[]BaseBackup]
	archive backup.Observed[Archive]
	foreign int
}

// directories scans what is configured and says how many could be read. A scan
// that hangs, as one of a disk that is gone may, is left behind: the next one
// waits for it.
func (c *Client) directories(ctx context.Context, f *Facts, known []string, segment int64) (readable int, err error) {
	last := found{f.Dumps, f.Bases, f.Archive, f.Foreign}
	if c.stuck != nil {
		select {
		case <-c.stuck:
		default:
			return 0, c.hangs(f, errors.New("an earlier look at the directories has not come back: the disk hangs"))
		}
	}
	result := make(chan found, 1)
	c.stuck = make(chan struct{})
	go func(done chan struct{}) {
		defer close(done)
		result <- c.scan(last, known, segment)
	}(c.stuck)
	select {
	case got := <-result:
		f.Dumps, f.Bases, f.Archive, f.Foreign = got.dumps, got.bases, got.archive, got.foreign
		for _, one := range []struct {
			configured bool
			err        error
		}{{c.cfg.Dump != nil, f.Dumps.Err}, {c.cfg.Base != nil, f.Bases.Err}, {c.cfg.WAL != nil, f.Archive.Err}} {
			if one.configured && one.err == nil {
				readable++
			}
			err = errors.Join(err, one.err)
		}
		return readable, err
	case <-ctx.Done():
		return 0, c.hangs(f, fmt.Errorf("looking at the directories took too long: %w", ctx.Err()))
	}
}

func (c *Client) hangs(f *Facts, err error) error {
	now := c.now()
	if c.cfg.Dump != nil {
		f.Dumps = f.Dumps.Next(nil, err, now)
	}
	if c.cfg.Base != nil {
		f.Bases = f.Bases.Next(nil, err, now)
	}
	if c.cfg.WAL != nil {
		f.Archive = f.Archive.Next(Archive{}, err, now)
	}
	return err
}

func (c *Client) scan(last found, known []string, segment int64) found {
	got, now := last, c.now()
	got.foreign = 0
	if c.cfg.Dump != nil {
		dumps, foreign, err := readDumps(c.cfg.Dump.Dir, known, c.zone, now, &c.dumps)
		got.dumps, got.foreign = got.dumps.Next(dumps, err, c.now()), foreign
	}
	if c.cfg.Base != nil {
		bases, foreign, err := readBases(c.cfg.Base.Dir, segment, c.zone, now, &c.bases, c.details)
		got.bases = got.bases.Next(bases, err, c.now())
		if c.cfg.Dump == nil || c.cfg.Dump.Dir != c.cfg.Base.Dir {
			got.foreign += foreign
		}
	}
	if c.cfg.WAL != nil {
		archive, err := readArchive(c.cfg.WAL.Dir, segment, got.bases.Value)
		got.archive = got.archive.Next(archive, err, c.now())
	}
	return got
}

// copies lists the dumps and base backups as copies of what they are of. The
// globals alone are a copy of nothing.
func (c *Client) copies(f Facts) []backup.Copy {
	base := backup.Copy{Tier: backup.DurableLocal, Source: "postgres." + c.name, Medium: "host", Site: c.cfg.Site}
	if base.Site == "" {
		base.Site = backup.HomeSite
	}
	if base.Site != backup.HomeSite {
		base.Tier, base.Medium = backup.OffSite, base.Site
	}
	if c.cfg.Disk != "" {
		base.Medium = "disk." + c.cfg.Disk
	}
	cluster := backup.AssetID{Kind: backup.Cluster, Scope: c.name}
	var all []backup.Copy
	for _, d := range f.Dumps.Value {
		one := base
		switch {
		case d.Cluster:
			one.Asset = cluster
		case d.Database != "":
			one.Asset = backup.AssetID{Kind: backup.Database, Scope: c.name, Name: d.Database}
		default:
			continue
		}
		one.ID, one.Kind, one.Taken, one.Finished, one.Size = d.Path, "dump", d.Taken, d.Finished, d.Size
		one.State, one.Why, one.Encrypted, one.Proofs = d.State, d.Why, d.Encrypted, d.Proofs
		all = append(all, one)
	}
	for i, t := range c.cfg.tools() {
		if i < len(f.Others) {
			all = append(all, t.copies(f.Others[i], c.name)...)
		}
	}
	for _, b := range f.Bases.Value {
		one := base
		one.Asset, one.ID, one.Kind = cluster, b.Path, "base backup"
		one.Taken, one.Finished, one.Size = b.Taken, b.Finished, b.Size
		one.State, one.Why, one.Proofs = b.State, b.Why, b.Proofs
		all = append(all, one)
	}
	return all
}

// pgDump returns the version of the newest pg_dump here, in PATH or where
// distributions keep several, looked up once an hour; empty without one.
func (c *Client) pgDump(ctx context.Context) string {
	if now := c.now(); c.toolsAt.IsZero() || now.Sub(c.toolsAt) > time.Hour {
		c.tools, c.toolsAt = "", now
		programs := []string{"pg_dump"}
		if path := newestTool("pg_dump"); path != "" {
			programs = append(programs, path)
		}
		for _, program := range programs {
			result, err := command.Run(ctx, command.Spec{Argv: []string{program, "--version"}})
			if version := toolVersion(string(result.Stdout)); err == nil && majorOf(version) > majorOf(c.tools) {
				c.tools = version
			}
		}
	}
	return c.tools
}

// toolVersion reads "pg_dump (PostgreSQL) 15.18 (Debian …)".
func toolVersion(line string) string {
	_, rest, ok := strings.Cut(line, "(PostgreSQL) ")
	if !ok {
		return ""
	}
	return strings.Fields(rest + " ?")[0]
}
