// Package lab is a home lab in a box, for the demo and the tests: PVE and PBS
// API servers that keep state, and real restic repositories, PostgreSQL, dumps
// and a file system that stands for the USB SSD, all in one directory that goes
// away with it. It shares no line with the clients of those systems.
package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"cairn/internal/lab/pbs"
	"cairn/internal/lab/pve"
)

// Part is something that the lab can do without.
type Part uint

// The parts. The two API servers are there always.
const (
	Servers   Part = 1 << iota // nothing but the servers: the fastest
	Datastore                  // the PBS datastore lies on disk, in its real format
	USB                        // a file system of its own stands for the USB SSD
	Restic                     // the repositories usb and cloud
	Postgres                   // a server with two databases, dumps, WAL archive

	Everything = Servers | Datastore | USB | Restic | Postgres
)

// Options say what to make and with what. The zero value makes everything with
// what is installed.
type Options struct {
	Parts    Part      // 0: Everything
	Now      time.Time // the time at which the lab starts, its clocks run on from there; zero: now
	Dir      string    // where the lab's directory goes; empty: the system's temporary one
	Cache    string    // for empty repositories, which are slow to make; empty: the user's cache
	TaskTime time.Duration

	Restic      string // program; empty: restic in PATH
	RestServer  string // program; empty: the pinned one, else one in PATH, else rclone
	PostgresBin string // directory of initdb and postgres; empty: Debian's newest
}

// Lab is a running lab. Stop ends it.
type Lab struct {
	PVE *pve.Server
	PBS *pbs.Server
	// Notes say what could not be made here, and why.
	Notes []string

	options Options
	dir     *directory
	clock   clock
	home    home
	secrets map[string]string
	images  *images
	store   *store // the backup server behind the cluster's storages
	db      *cluster
	cloud   *restServer
	repos   *repositories
	uuid    string             // of the USB disk's file system; empty: not known
	stop    context.CancelFunc // of what runs beside: the heartbeat
	beside  sync.WaitGroup
	mu      sync.Mutex // guards Notes while parts start
}

// clock runs on from a given time; the zero value is the real one.
type clock struct{ from, began time.Time }

func (c clock) now() time.Time {
	if c.from.IsZero() {
		return time.Now()
	}
	return c.from.Add(time.Since(c.began))
}

// Start makes a lab and returns when all of it answers. On an error nothing of
// it is left. What a killed lab left behind is cleared away first.
func Start(ctx context.Context, o Options) (*Lab, error) {
	if o.Parts == 0 {
		o.Parts = Everything
	}
	if o.Dir == "" {
		o.Dir = os.TempDir()
	}
	swept := sweep(ctx, o.Dir)
	dir, err := newDirectory(o.Dir)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("making the lab's directory: %w", err), swept)
	}
	l := &Lab{options: o, dir: dir, clock: clock{o.Now, time.Now()}, images: &images{}}
	if swept != nil {
		l.note("A former lab could not be cleared away: %v.", swept)
	}
	if err := l.start(ctx); err != nil {
		return nil, errors.Join(err, l.Stop())
	}
	return l, nil
}

func (l *Lab) has(p Part) bool { return l.options.Parts&p != 0 }

func (l *Lab) note(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.Notes = append(l.Notes, fmt.Sprintf(format, args...))
}

func (l *Lab) start(ctx context.Context) error {
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	l.stop = stop
	if err := l.makeSecrets(); err != nil {
		return err
	}
	if err := l.mountUSB(ctx); err != nil {
		return err
	}
	if err := l.writeSources(); err != nil {
		return err
	}
	l.home = newHome(l.clock.now())
	err := together(
		func() error { return l.startServers() },
		func() error { return l.startPostgres(ctx) },
		func() error { return l.startCloud(ctx) },
		func() error { return l.initRepositories(ctx) },
	)
	if err != nil {
		return err
	}
	if err := l.fillRepositories(ctx); err != nil {
		return err
	}
	if l.db != nil {
		l.beside.Add(1)
		go func() {
			defer l.beside.Done()
			l.db.beat(running)
		}()
	}
	return l.writeConfig()
}

// ConfigPath is the configuration that reaches the lab.
func (l *Lab) ConfigPath() string { return filepath.Join(l.dir.path, "config.toml") }

// Dir is where all of the lab lies; USB is the mount point in it.
func (l *Lab) Dir() string { return l.dir.path }

// USB is the mount point of the file system that stands for the USB SSD.
func (l *Lab) USB() string { return l.dir.usb() }

// Stop ends every process, takes the mount away and removes the directory. It
// may be called again; the error says what is left.
func (l *Lab) Stop() error {
	if l.stop != nil {
		l.stop()
	}
	l.beside.Wait()
	if l.db != nil {
		l.db.stop()
	}
	if l.cloud != nil {
		l.cloud.stop()
	}
	if l.PVE != nil {
		l.PVE.Stop()
	}
	if l.PBS != nil {
		l.PBS.Stop()
	}
	l.db, l.cloud, l.PVE, l.PBS, l.stop = nil, nil, nil, nil, nil
	return l.dir.remove()
}

// together runs all functions at the same time and joins their errors.
func together(all ...func() error) error {
	errs := make([]error, len(all))
	var wait sync.WaitGroup
	for i, f := range all {
		wait.Add(1)
		go func() {
			defer wait.Done()
			errs[i] = f()
		}()
	}
	wait.Wait()
	return errors.Join(errs...)
}
