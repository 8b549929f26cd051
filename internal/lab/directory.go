package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const prefix = "cairn-lab-"

// directory is a lab's own. Its lock file is locked as long as the lab lives:
// a directory whose lock is free belongs to nobody any more.
type directory struct {
	path string
	lock *os.File
}

func newDirectory(parent string) (*directory, error) {
	path, err := os.MkdirTemp(parent, prefix)
	if err != nil {
		return nil, err
	}
	// Another user must reach what lies below: PostgreSQL does not run as root.
	if err := os.Chmod(path, 0o711); err != nil {
		return nil, err
	}
	lock, err := os.OpenFile(filepath.Join(path, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("locking %s: %w", lock.Name(), err), lock.Close())
	}
	return &directory{path, lock}, nil
}

func (d *directory) usb() string { return d.at("usb") }

func (d *directory) at(parts ...string) string {
	return filepath.Join(append([]string{d.path}, parts...)...)
}

// remove takes away the mounts below the directory, then the directory.
func (d *directory) remove() error {
	err := clear(d.path)
	if d.lock != nil {
		err = errors.Join(err, d.lock.Close())
		d.lock = nil
	}
	return err
}

// sweep clears away the directories of labs that were killed. It knows them by
// their free lock, and touches nothing outside of them.
func sweep(ctx context.Context, parent string) error {
	found, err := filepath.Glob(filepath.Join(parent, prefix+"*"))
	if err != nil {
		return err
	}
	var errs []error
	for _, path := range found {
		errs = append(errs, sweepOne(ctx, path))
	}
	return errors.Join(errs...)
}

func sweepOne(ctx context.Context, path string) error {
	lock, err := os.OpenFile(filepath.Join(path, "lock"), os.O_RDWR, 0)
	switch {
	case errors.Is(err, os.ErrPermission):
		return nil // another user's
	case errors.Is(err, os.ErrNotExist):
		// It may be about to be made.
		if info, err := os.Stat(path); err != nil || time.Since(info.ModTime()) < time.Minute {
			return nil
		}
		return clear(path)
	case err != nil:
		return err
	}
	defer lock.Close()
	if syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil {
		return nil // it lives
	}
	if err := endPostgres(ctx, path); err != nil {
		return err
	}
	return clear(path)
}

// endPostgres ends the database server that a killed lab left in path.
func endPostgres(ctx context.Context, path string) error {
	data := filepath.Join(path, "pgdata")
	text, err := os.ReadFile(filepath.Join(data, "postmaster.pid"))
	if err != nil {
		return nil // none runs
	}
	first, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(first))
	if err != nil || pid < 2 || !runsWith(pid, data) {
		return nil
	}
	if err := syscall.Kill(pid, syscall.SIGQUIT); err != nil {
		return fmt.Errorf("ending PostgreSQL, process %d: %w", pid, err)
	}
	for end := time.Now().Add(5 * time.Second); runsWith(pid, data); {
		if time.Now().After(end) {
			return fmt.Errorf("PostgreSQL, process %d, does not end", pid)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
	return nil
}

// runsWith says whether process pid has argument on its command line.
func runsWith(pid int, argument string) bool {
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return err == nil && bytes.Contains(line, []byte(argument))
}

// clear unmounts what is mounted below path and removes path.
func clear(path string) error {
	for range 10 {
		mounts, err := mountsBelow(path)
		if err != nil {
			return err
		}
		if len(mounts) == 0 {
			break
		}
		for _, m := range mounts {
			err := syscall.Unmount(m, 0)
			if errors.Is(err, syscall.EBUSY) { // someone looks at it still: it goes when they leave
				err = syscall.Unmount(m, syscall.MNT_DETACH)
			}
			if err != nil {
				return fmt.Errorf("unmounting %s: %w", m, err)
			}
		}
	}
	if err := os.RemoveAll(path); err != nil {
		return fmt.Errorf("removing the lab: %w", err)
	}
	return nil
}

// mountsBelow lists the mount points below path, the latest first.
func mountsBelow(path string) ([]string, error) {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("reading the mounts: %w", err)
	}
	var found []string
	for _, line := range strings.Split(string(text), "\n") {
		fields := strings.Fields(line)
		if len(fields) > 4 && strings.HasPrefix(fields[4], path+"/") {
			found = append([]string{fields[4]}, found...)
		}
	}
	return found, nil
}
