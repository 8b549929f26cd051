package runbook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"cairn/internal/backup"
	"cairn/internal/operation"
	"cairn/internal/plan"
	"cairn/pbs"
)

// kindServerJobs makes the jobs of a backup server again that are missing.
const kindServerJobs = "pbs.jobs"

// serverJobsArgs are the jobs that a backup server had, or that its table asks for.
type serverJobsArgs struct {
	PBS  string    `json:"pbs"`
	Jobs []pbs.Job `json:"jobs"`
	GC   string    `json:"gc,omitempty"` // when garbage is collected; empty: not known
}

// RestoreBackupHost plans to bring a backup server back over the disk that is left:
// a person installs it and takes the datastore over as it is; its jobs are made
// again, and the clusters' storages are led to it.
func (l *Lab) RestoreBackupHost(ctx context.Context, name string) (plan.Plan, error) {
	cfg, ok := l.config.PBS[name]
	if !ok {
		return plan.Plan{}, fmt.Errorf("no backup server [pbs.%s] is configured", name)
	}
	target := "pbs." + name
	p := plan.Plan{Operation: "backup-host-loss", Target: target, Confirm: name, Created: l.now(), Fingerprint: target,
		Summary: fmt.Sprintf("Bring back backup server %s, over the datastore %s that is left", name, cfg.Datastore)}
	known, err := l.lastServer(ctx, name)
	if err != nil {
		return p, err
	}
	if _, err := l.backupServers[name].Survey(ctx); err == nil {
		p.Notes = append(p.Notes, "The server answers and its datastore can be read: what is there already is left as it is.")
	}
	if cfg.Disk != "" {
		blockers, notes := l.copyDiskBlockers(ctx, cfg.Disk)
		p.Blockers, p.Notes = append(p.Blockers, blockers...), append(p.Notes, notes...)
	}
	newest, count := newestOfAll(known)
	p.Loss = "no copy that is on the disk; no guest is backed up until the server is back"
	if count > 0 {
		p.Loss = fmt.Sprintf("no copy that is on the disk: %d backups were known there, the newest of %s, %s ago; no guest is backed up until the server is back", count,
			newest.UTC().Format("2006-01-02 15:04 UTC"), backup.Age(l.now().Sub(newest)))
	}
	l.addServer(ctx, &p, name, known, newest)
	p.Notes = append(p.Notes, "Give the new host the name and address of the old one: Proxmox VE does not let a storage's server be changed, and removing the storage removes its encryption key with it.")
	p.Estimate = total(p.Steps)
	return p, nil
}

// lastServer is what was last known of a backup server; the zero value: nothing.
func (l *Lab) lastServer(ctx context.Context, name string) (f pbs.Facts, err error) {
	if l.history == nil {
		return f, nil
	}
	if _, err = l.history.LoadFacts(ctx, "pbs."+name, &f); err != nil {
		return f, fmt.Errorf("reading what was last known of pbs.%s: %w", name, err)
	}
	return f, nil
}

func newestOfAll(f pbs.Facts) (newest time.Time, count int) {
	for _, s := range f.Snapshots {
		if s.InFlight {
			continue
		}
		count++
		if s.Time.After(newest) {
			newest = s.Time
		}
	}
	return newest, count
}

func (l *Lab) addServer(ctx context.Context, p *plan.Plan, name string, known pbs.Facts, newest time.Time) {
	h := hosts{l.config}
	person := personArgs{Check: "backup-host", Name: name}
	if !newest.IsZero() {
		person.Newest = newest.Unix()
	}
	l.addAny(p, kindPerson, "install Proxmox Backup Server over the disk that is left", "by hand, on the new host, as root", h.backupServer(name, known), person, plan.Estimate{Median: 45 * time.Minute, P90: 2 * time.Hour})
	jobs := serverJobs(name, l.config.PBS[name], known)
	if len(jobs.Jobs) > 0 || jobs.GC != "" {
		l.addAny(p, kindServerJobs, "make the prune, verify and sync jobs again that are missing", "POST /config/prune, /config/verify, /config/sync", nil, jobs, l.estimate(p.Target, kindServerJobs, nil, 0))
	}
	for _, cluster := range slices.Sorted(maps.Keys(l.clusters)) {
		seen, err := l.lastCluster(ctx, cluster)
		if err != nil {
			continue
		}
		for _, s := range l.backupStorages(cluster, seen) {
			if s.pbs == name {
				l.addAttach(p, cluster, s)
			}
		}
	}
}

// serverJobs are the jobs that are last known; where none are, those that the table
// asks for: pruning by keep, and a weekly verification.
func serverJobs(name string, cfg pbs.Config, known pbs.Facts) serverJobsArgs {
	a := serverJobsArgs{PBS: name}
	if known.GC != nil {
		a.GC = known.GC.Schedule
	}
	for _, j := range known.Jobs {
		j.LastRun, j.NextRun = backup.Run{}, time.Time{}
		a.Jobs = append(a.Jobs, j)
	}
	if len(a.Jobs) > 0 {
		return a
	}
	if cfg.Keep != (backup.Keep{}) {
		a.Jobs = append(a.Jobs, pbs.Job{Kind: pbs.PruneJob, ID: "cairn-prune", Schedule: "daily", Keep: cfg.Keep})
	}
	a.Jobs = append(a.Jobs, pbs.Job{Kind: pbs.VerifyJob, ID: "cairn-verify", Schedule: "weekly", IgnoreVerified: true, OutdatedAfter: 30})
	a.GC = "daily"
	return a
}

// newBackupHost looks whether a backup server is there over the old datastore.
func (l *Lab) newBackupHost(ctx context.Context, a personArgs) (string, error) {
	c := l.backupServers[a.Name]
	if c == nil {
		return "", fmt.Errorf("no backup server [pbs.%s] is configured any more", a.Name)
	}
	seen, err := c.Survey(ctx)
	if err != nil {
		return "", fmt.Errorf("%w; if its address, its certificate or its token is a new one, write that into [pbs.%s]", err, a.Name)
	}
	newest, count := newestOfAll(seen)
	switch {
	case !seen.Mounted():
		return "", fmt.Errorf("datastore %s is not mounted", seen.Datastore)
	case count == 0:
		return "", fmt.Errorf("datastore %s holds no backup: it was made anew, or on another disk; take the old one over: proxmox-backup-manager datastore create … --reuse-datastore true", seen.Datastore)
	case newest.Unix() < a.Newest:
		return "", fmt.Errorf("the newest backup there is of %s, and one of %s was known: is it the right disk, and the right datastore?", newest.UTC().Format("2006-01-02 15:04 UTC"), time.Unix(a.Newest, 0).UTC().Format("2006-01-02 15:04 UTC"))
	}
	return fmt.Sprintf("%d backups are there, the newest of %s", count, newest.UTC().Format("2006-01-02 15:04 UTC")), nil
}

// serverJobsStep may be done any number of times: what is there is left alone.
type serverJobsStep struct{ lab *Lab }

func (x *serverJobsStep) Run(ctx context.Context, s plan.Step, _ *operation.Task) (r operation.Result, err error) {
	var a serverJobsArgs
	if err := json.Unmarshal(s.Args, &a); err != nil {
		return r, fmt.Errorf("reading what step %s is to do: %w", s.ID, err)
	}
	c := x.lab.backupServers[a.PBS]
	if c == nil {
		return r, fmt.Errorf("no backup server [pbs.%s] is configured any more", a.PBS)
	}
	seen, err := c.Survey(ctx)
	if err != nil {
		return r, err
	}
	var made []string
	for _, j := range a.Jobs {
		if slices.ContainsFunc(seen.Jobs, func(have pbs.Job) bool {
			return have.Kind == j.Kind && (have.ID == j.ID || have.Namespace == j.Namespace && j.Kind != pbs.SyncJob)
		}) {
			continue
		}
		failed := c.CreateJob(ctx, j)
		if j.Kind == pbs.SyncJob && failed != nil { // its remote is not part of what is known here
			r.Status, r.Text = backup.Warning, r.Text+fmt.Sprintf("sync job %s could not be made (%v): define its remote, then the job; ", j.ID, failed)
			continue
		}
		if err = errors.Join(err, failed); failed == nil {
			made = append(made, string(j.Kind)+" "+j.ID)
		}
	}
	if a.GC != "" && (seen.GC == nil || seen.GC.Schedule == "") {
		err = errors.Join(err, c.ScheduleGC(ctx, a.GC))
	}
	r.Text += fmt.Sprintf("made again: %s", orNone(made))
	return r, err
}

func (x *serverJobsStep) Find(context.Context, plan.Step, operation.Intent, *operation.Task) (operation.Outcome, error) {
	return operation.Outcome{State: operation.NotDone}, nil
}

func orNone(all []string) string {
	if len(all) == 0 {
		return "none"
	}
	return strings.Join(all, ", ")
}

// hostSteps are those of lost hosts.
func (l *Lab) hostSteps() map[string]operation.Executor {
	return map[string]operation.Executor{
		kindPerson: &personStep{l}, kindAttach: &attachStep{l}, kindGuests: &togetherStep{l}, kindRejob: &rejobStep{l}, kindServerJobs: &serverJobsStep{l},
		kindFetchFile: &guestFileStep{l}, kindParts: &partsStep{l},
	}
}

// hostOf is the host of a server's address.
func hostOf(address string) string {
	if u, err := url.Parse(address); err == nil {
		return u.Hostname()
	}
	return ""
}
