package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"cairn/internal/command"
	"cairn/internal/lab/pbs"
)

// repositories are the two that the lab makes: usb, and cloud as its copy.
type repositories struct {
	program  string
	password string // file
	usb      string
	cloud    string
}

// Nights of which a snapshot is kept: in usb daily and weekly, in cloud weekly.
// The last weekly upload is overdue.
var (
	dailyNights  = []int{0, 1, 2, 3, 4}
	weeklyNights = []int{9, 16, 23}
)

// initRepositories puts two empty repositories in place.
func (l *Lab) initRepositories(ctx context.Context) error {
	if !l.has(Restic) {
		return nil
	}
	program := firstOf(l.options.Restic, "restic")
	if program == "" {
		l.note("There is no restic repository in this lab: restic is not installed (Debian: apt install restic).")
		return nil
	}
	r := &repositories{program: program, password: l.secretFile("restic"), usb: l.dir.at("usb", "restic"), cloud: l.dir.at("cloud")}
	template, err := l.template(ctx, program)
	if err != nil {
		return fmt.Errorf("making empty repositories: %w", err)
	}
	password, err := os.ReadFile(filepath.Join(template, "password"))
	if err != nil {
		return err
	}
	if err := os.WriteFile(r.password, password, 0o600); err != nil {
		return err
	}
	for name, target := range map[string]string{"usb": r.usb, "cloud": r.cloud} {
		if err := os.CopyFS(target, os.DirFS(filepath.Join(template, name))); err != nil {
			return fmt.Errorf("copying an empty repository: %w", err)
		}
	}
	l.repos = r
	return nil
}

// template returns a directory with two empty repositories and their password.
// To make them takes seconds, on purpose: so they are kept, a pair for each
// version of restic.
func (l *Lab) template(ctx context.Context, program string) (string, error) {
	cache := l.options.Cache
	if cache == "" {
		dir, err := os.UserCacheDir()
		if err != nil {
			return "", err
		}
		cache = filepath.Join(dir, "cairn", "lab")
	}
	version, err := command.Run(ctx, command.Spec{Argv: []string{program, "version"}})
	if err != nil {
		return "", err
	}
	fields := strings.Fields(string(version.Stdout))
	if len(fields) < 2 {
		return "", fmt.Errorf("%s version says %q", program, version.Stdout)
	}
	path := filepath.Join(cache, "restic-"+fields[1])
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	if err := os.MkdirAll(cache, 0o700); err != nil {
		return "", err
	}
	made, err := os.MkdirTemp(cache, "making-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(made)
	if err := initPair(ctx, program, made); err != nil {
		return "", err
	}
	// Another lab may have been faster: then its pair is as good.
	if err := os.Rename(made, path); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	return path, nil
}

func initPair(ctx context.Context, program, dir string) error {
	password := filepath.Join(dir, "password")
	if err := os.WriteFile(password, []byte(randomHex(16)+"\n"), 0o600); err != nil {
		return err
	}
	base := []string{program, "--no-cache", "-q", "--password-file", password, "init", "-r"}
	if _, err := command.Run(ctx, command.Spec{Argv: append(base, filepath.Join(dir, "usb"))}); err != nil {
		return err
	}
	_, err := command.Run(ctx, command.Spec{Argv: append(base, filepath.Join(dir, "cloud"),
		"--from-repo", filepath.Join(dir, "usb"), "--from-password-file", password, "--copy-chunker-params")})
	return err
}

// restic runs restic on a repository and returns what it prints.
func (r *repositories) restic(ctx context.Context, repository string, args ...string) ([]byte, error) {
	argv := append([]string{r.program, "--no-cache", "-r", repository, "--password-file", r.password}, args...)
	res, err := command.Run(ctx, command.Spec{Argv: argv})
	if err != nil {
		return nil, fmt.Errorf("restic %s: %w\n%s", args[0], err, bytes.TrimSpace(res.Stderr))
	}
	return res.Stdout, nil
}

// cloudURL is the repository "cloud" as cairn sees it.
func (l *Lab) cloudURL() string {
	if l.cloud == nil {
		return l.repos.cloud
	}
	return "rest:http://" + l.cloud.address + "/"
}

// fillRepositories makes the snapshots: the weekly ones first, which then go to
// the cloud while the daily ones are made.
func (l *Lab) fillRepositories(ctx context.Context) error {
	if l.repos == nil {
		return nil
	}
	weekly, err := l.saveNights(ctx, weeklyNights)
	if err != nil {
		return err
	}
	return together(
		func() error {
			args := append([]string{"copy", "-q", "--from-repo", l.repos.usb, "--from-password-file", l.repos.password}, weekly...)
			_, err := l.repos.restic(ctx, l.cloudURL(), args...)
			return err
		},
		func() error {
			_, err := l.saveNights(ctx, dailyNights)
			return err
		},
	)
}

// saveNights makes snapshots at the same time and returns their ids.
func (l *Lab) saveNights(ctx context.Context, nights []int) ([]string, error) {
	ids := make([]string, len(nights))
	var saves []func() error
	for i, n := range nights {
		saves = append(saves, func() (err error) {
			ids[i], err = l.save(ctx, n)
			return err
		})
	}
	return ids, together(saves...)
}

// save makes the snapshot of some nights ago, of what was there at the time,
// and returns its id.
func (l *Lab) save(ctx context.Context, nights int) (string, error) {
	at := l.home.now.Add(-5*time.Hour - time.Duration(nights)*day)
	later, err := l.laterThan(at)
	if err != nil {
		return "", err
	}
	list := l.dir.at(fmt.Sprintf("exclude-%d", nights))
	if err := os.WriteFile(list, []byte(strings.Join(later, "\n")+"\n"), 0o600); err != nil {
		return "", err
	}
	args := []string{"backup", "--json", "--host", "nas", "--tag", "daily", "--time", at.Local().Format(time.DateTime), "--exclude-file", list}
	out, err := l.repos.restic(ctx, l.repos.usb, append(args, l.sources()...)...)
	if err != nil {
		return "", err
	}
	var summary struct {
		ID string `json:"snapshot_id"`
	}
	if err := json.Unmarshal([]byte(command.LastLine(out)), &summary); err != nil || summary.ID == "" {
		return "", fmt.Errorf("restic backup names no snapshot: %.200s", command.LastLine(out))
	}
	return summary.ID, os.Remove(list)
}

// laterThan lists what on the USB disk was not yet there at a time.
func (l *Lab) laterThan(at time.Time) ([]string, error) {
	var later []string
	l.PBS.Change(func(w *pbs.World) { later = w.Store(datastore).LaterThan(at) })
	err := filepath.WalkDir(l.dir.at("usb", "pg"), func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && info.ModTime().After(at) {
			later = append(later, path)
		}
		return err
	})
	return later, err
}
