package restic

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"slices"
	"strings"
	"time"

	"cairn/internal/backup"
	"cairn/internal/command"
)

// unitLimit is how long systemctl may take to answer.
const unitLimit = 10 * time.Second

var unitProperties = []string{"LoadState", "ActiveState", "SubState", "Result", "ExecMainStatus", "ExecMainStartTimestamp", "ExecMainExitTimestamp", "StateChangeTimestamp"}

// others reads what tells of jobs that somebody else runs: the last runs of the
// units that run_by names, and the status file. That one cannot be read is an
// incompletion: the snapshots tell most.
func (c *Client) others(ctx context.Context, facts *Facts) {
	by := c.cfg.RunBy
	if by == nil {
		return
	}
	c.unit(ctx, facts, by.Unit, "backup")
	c.unit(ctx, facts, by.CheckUnit, CheckJob) // it may be the same one
	if by.StatusFile == "" {
		return
	}
	run, err := readStatusFile(c.source, by.StatusFile, by.Profile)
	switch {
	case err != nil:
		facts.Incomplete = append(facts.Incomplete, Incompletion{"status file", fmt.Sprintf("%v; check run_by in [%s]", err, c.source)})
	case run != nil && !slices.ContainsFunc(facts.Runs, func(r backup.Run) bool { return r.Job == CheckJob }): // the unit's own word says more
		run.Text = c.secrets.Scrubber.String(run.Text)
		facts.Runs = append(facts.Runs, *run)
	}
}

// unit reads the last run of a unit.
func (c *Client) unit(ctx context.Context, facts *Facts, name, job string) {
	if name == "" {
		return
	}
	ctx, cancel := context.WithTimeoutCause(ctx, unitLimit, errLimit)
	defer cancel()
	r, err := command.Run(ctx, command.Spec{
		Argv: []string{"systemctl", "show", "--property=" + strings.Join(unitProperties, ","), "--", name},
		Env:  []string{"TZ=UTC"}, // systemctl writes times in its own zone
	})
	var run *backup.Run
	if err == nil {
		run, err = parseUnit(c.source, name, r.Stdout)
	} else if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
		err = errors.New("systemctl is not installed here")
	}
	if err != nil {
		facts.Incomplete = append(facts.Incomplete, Incompletion{"unit " + name, fmt.Sprintf("its last run is not known: %v; check run_by in [%s]", err, c.source)})
		return
	}
	if run != nil {
		run.Job = job
		facts.Runs = append(facts.Runs, *run)
		facts.Running = facts.Running || run.Running() && job == "backup"
	}
}

// parseUnit reads what `systemctl show` writes; nil: the unit has not run
// since this host was started.
func parseUnit(source, name string, text []byte) (*backup.Run, error) {
	p := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			p[key] = value
		}
	}
	switch p["LoadState"] {
	case "":
		return nil, errors.New("systemctl told no state")
	case "not-found", "bad-setting", "error":
		return nil, fmt.Errorf("systemd has no such unit that it could load (LoadState %s)", p["LoadState"])
	}
	started, err := unitTime(p["ExecMainStartTimestamp"])
	if err != nil {
		return nil, err
	}
	ended, err := unitTime(p["ExecMainExitTimestamp"])
	if err != nil {
		return nil, err
	}
	active := p["ActiveState"] == "activating" || p["ActiveState"] == "deactivating" || p["ActiveState"] == "reloading" ||
		p["ActiveState"] == "active" && p["SubState"] == "running"
	if started.IsZero() {
		if !active {
			return nil, nil
		}
		if started, err = unitTime(p["StateChangeTimestamp"]); err != nil || started.IsZero() {
			return nil, err
		}
	}
	run := &backup.Run{Source: source, Job: "backup", Started: started, Ended: ended, ID: name}
	if active {
		run.Ended, run.Text = time.Time{}, "running ("+p["SubState"]+")"
		return run, nil
	}
	run.Status, run.Text = verdict(p["Result"], p["ExecMainStatus"])
	if run.Ended.IsZero() {
		run.Ended = run.Started
	}
	return run, nil
}

// verdict judges how a unit that runs restic ended. Exit code 3 is restic's for
// a snapshot that was made without some of the files.
func verdict(result, code string) (backup.Status, string) {
	switch {
	case result == "success" && (code == "0" || code == ""):
		return backup.OK, "success"
	case code == "3" && (result == "exit-code" || result == "success"):
		return backup.Warning, "exit code 3: a snapshot was made, but some source files could not be read"
	case result == "exit-code":
		return backup.Critical, "failed with exit code " + code
	case result == "":
		return backup.Unknown, "systemd tells no result"
	case result == "success":
		return backup.Warning, "success, with exit code " + code
	}
	return backup.Critical, "failed: " + result
}

// unitTime reads systemd's "Sat 2026-11-21 20:09:51 UTC"; empty and n/a are
// never.
func unitTime(text string) (time.Time, error) {
	if text == "" || text == "n/a" || text == "0" {
		return time.Time{}, nil
	}
	t, err := time.Parse("Mon 2006-01-02 15:04:05 MST", text)
	if err != nil {
		return time.Time{}, fmt.Errorf("systemd's time %q cannot be read", text)
	}
	return t, nil
}
