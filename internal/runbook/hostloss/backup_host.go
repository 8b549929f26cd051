package hostloss

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"cairn/internal/backup"
	"cairn/internal/operation"
	"cairn/internal/plan"
	"cairn/internal/runbook/byhand"
	"cairn/internal/runbook/step"
	"cairn/pbs"
	"cairn/proxmox"
)

// RestoreBackupHost plans to bring a backup server back over the disk that is left:
// a person installs it and takes the datastore over as it is; its jobs are made
// again, and the clusters' storages are led to it.
func (b *Runbook) RestoreBackupHost(ctx context.Context, name string) (plan.Plan, error) {
	cfg, ok := b.config.PBS[name]
	if !ok {
		return plan.Plan{}, fmt.Errorf("no backup server [pbs.%s] is configured", name)
	}
	target := "pbs." + name
	p := plan.Plan{Operation: "backup-host-loss", Target: target, Confirm: name, Created: b.now(), Fingerprint: target,
		Summary: fmt.Sprintf("Bring back backup server %s, over the datastore %s that is left", name, cfg.Datastore)}
	known, err := step.LastKnown[pbs.Facts](ctx, b.history, "pbs."+name, "pbs."+name)
	if err != nil {
		return p, err
	}
	if _, err := b.servers[name].Survey(ctx); err == nil {
		p.Notes = append(p.Notes, "The server answers and its datastore can be read: what is there already is left as it is.")
	}
	if cfg.Disk != "" {
		blockers, notes := b.guests.CopyDiskBlockers(ctx, cfg.Disk)
		p.Blockers, p.Notes = append(p.Blockers, blockers...), append(p.Notes, notes...)
	}
	newest, count := newestOfAll(known)
	p.Loss = "no copy that is on the disk; no guest is backed up until the server is back"
	if count > 0 {
		p.Loss = fmt.Sprintf("no copy that is on the disk: %d backups were known there, the newest of %s, %s ago; no guest is backed up until the server is back", count,
			newest.UTC().Format("2006-01-02 15:04 UTC"), backup.Age(b.now().Sub(newest)))
	}
	b.addServer(ctx, &p, name, known, newest)
	p.Notes = append(p.Notes, "Give the new host the name and address of the old one: Proxmox VE does not let a storage's server be changed, and removing the storage removes its encryption key with it.")
	p.Estimate = step.Total(p.Steps)
	return p, nil
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

func (b *Runbook) addServer(ctx context.Context, p *plan.Plan, name string, known pbs.Facts, newest time.Time) {
	h := byhand.Commands{Config: b.config}
	person := step.PersonArgs{Check: "backup-host", Name: name}
	if !newest.IsZero() {
		person.Newest = newest.Unix()
	}
	step.AddPerson(p, "install Proxmox Backup Server over the disk that is left", "by hand, on the new host, as root", h.BackupServer(name, known), person, plan.Estimate{Median: 45 * time.Minute, P90: 2 * time.Hour})
	jobs := byhand.JobsOf(name, b.config.PBS[name], known)
	if len(jobs.Jobs) > 0 || jobs.GC != "" {
		b.steps.Add(p, kindServerJobs, "make the prune, verify and sync jobs again that are missing", "POST /config/prune, /config/verify, /config/sync", jobs, 0)
	}
	for _, cluster := range slices.Sorted(maps.Keys(b.config.Proxmox)) {
		seen, err := step.LastKnown[proxmox.Facts](ctx, b.history, "proxmox."+cluster, "cluster "+cluster)
		if err != nil {
			continue
		}
		for _, s := range h.Storages(cluster, seen) {
			if s.PBS == name {
				b.addAttach(p, cluster, s.Name, s.PBS)
			}
		}
	}
}

// NewBackupHost looks whether a backup server is there over the old datastore.
func (b *Runbook) NewBackupHost(ctx context.Context, a step.PersonArgs) (string, error) {
	c := b.servers[a.Name]
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

// serverJobs makes the jobs again that a backup server had: what is there is left
// alone.
func (b *Runbook) serverJobs(ctx context.Context, a byhand.ServerJobs, _ *operation.Task) (r operation.Result, err error) {
	c := b.servers[a.PBS]
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

func orNone(all []string) string {
	if len(all) == 0 {
		return "none"
	}
	return strings.Join(all, ", ")
}
