package disk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"cairn/internal/command"
)

// Holder is a process that keeps a mount point busy.
type Holder struct {
	PID  int
	Name string
	Path string // one thing that it holds there
}

// Holders lists the processes that have a file open below a mount point, or work
// in it. hidden is how many processes this user may not look at: only root sees
// all.
func Holders(mount string) (all []Holder, hidden int, err error) {
	mount = filepath.Clean(mount)
	processes, err := os.ReadDir("/proc")
	if err != nil {
		return nil, 0, fmt.Errorf("listing processes: %w", err)
	}
	for _, p := range processes {
		pid, err := strconv.Atoi(p.Name())
		if err != nil {
			continue
		}
		path, err := heldPath(filepath.Join("/proc", p.Name()), mount)
		switch {
		case path != "":
			name, _ := os.ReadFile(filepath.Join("/proc", p.Name(), "comm"))
			all = append(all, Holder{pid, strings.TrimSpace(string(name)), path})
		case errors.Is(err, fs.ErrPermission):
			hidden++
		}
	}
	return all, hidden, nil
}

// heldPath returns something of a process that lies below a mount point.
func heldPath(process, mount string) (string, error) {
	links := []string{"cwd", "root", "exe"}
	fds, err := os.ReadDir(filepath.Join(process, "fd"))
	for _, fd := range fds {
		links = append(links, filepath.Join("fd", fd.Name()))
	}
	for _, link := range links {
		to, failed := os.Readlink(filepath.Join(process, link))
		if failed == nil && (to == mount || strings.HasPrefix(to, mount+"/")) {
			return to, nil
		}
		if err == nil && errors.Is(failed, fs.ErrPermission) {
			err = failed
		}
	}
	return "", err
}

// MountsBelow lists what else is mounted below a mount point.
func MountsBelow(point string) ([]string, error) {
	all, err := readMounts()
	if err != nil {
		return nil, err
	}
	var out []string
	for _, m := range all {
		if strings.HasPrefix(m.point, filepath.Clean(point)+"/") {
			out = append(out, m.point)
		}
	}
	return out, nil
}

// Mounted says whether anything is mounted at a mount point.
func Mounted(point string) (bool, error) {
	all, err := readMounts()
	return slices.ContainsFunc(all, func(m mount) bool { return m.point == filepath.Clean(point) }), err
}

const (
	syncLimit    = 30 * time.Minute // a full cache on a slow disk
	unmountLimit = 10 * time.Minute
)

// SyncCommand is the command line that writes out what a disk has not yet got.
func SyncCommand(mount string) []string { return []string{"sync", "--file-system", mount} }

// UnmountCommand is the command line that unmounts; it does not force anything.
func UnmountCommand(mount string) []string { return []string{"umount", "--", mount} }

// Sync writes out what the disk at the mount point has not yet got.
func Sync(ctx context.Context, mount string) error {
	return finish(ctx, SyncCommand(mount), syncLimit)
}

// Unmount unmounts what is at the mount point. It is an error that something is
// still there.
func Unmount(ctx context.Context, mount string) error {
	if err := finish(ctx, UnmountCommand(mount), unmountLimit); err != nil {
		return err
	}
	still, err := Mounted(mount)
	if err == nil && still {
		err = fmt.Errorf("something else is still mounted on %s; unmount that too", mount)
	}
	return err
}

func finish(ctx context.Context, argv []string, limit time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("the disk has not answered for %s", limit))
	defer cancel()
	_, err := command.Run(ctx, command.Spec{Argv: argv})
	return err
}
