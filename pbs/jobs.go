package pbs

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"cairn/internal/backup"
)

type jobRow struct {
	ID        text   `json:"id"`
	Store     text   `json:"store"`
	NS        text   `json:"ns"`
	Schedule  text   `json:"schedule"`
	Disabled  flag   `json:"disable"`
	Direction text   `json:"sync-direction"`
	Remote    text   `json:"remote"`
	RemoteIn  text   `json:"remote-store"`
	OnMount   flag   `json:"run-on-mount"`
	Vanished  flag   `json:"remove-vanished"`
	Owner     text   `json:"owner"`
	Ignore    *flag  `json:"ignore-verified"`
	Outdated  number `json:"outdated-after"`
	Last      number `json:"keep-last"`
	Hourly    number `json:"keep-hourly"`
	Daily     number `json:"keep-daily"`
	Weekly    number `json:"keep-weekly"`
	Monthly   number `json:"keep-monthly"`
	Yearly    number `json:"keep-yearly"`
	NextRun   number `json:"next-run"`
	lastRun
}

// lastRun is how PBS reports the last run of any job.
type lastRun struct {
	State text   `json:"last-run-state"`
	UPID  text   `json:"last-run-upid"`
	Ended number `json:"last-run-endtime"`
}

// run makes a Run of it: the zero value when the job never ran. A task without
// a state is running.
func (l lastRun) run(source string, kind JobKind, id string) backup.Run {
	if l.UPID == "" && l.State == "" && l.Ended.time().IsZero() {
		return backup.Run{}
	}
	run := backup.Run{
		Source: source, Job: string(kind), Subject: id, ID: string(l.UPID),
		Ended: l.Ended.time(), Text: string(l.State), Status: taskStatus(string(l.State)),
	}
	if task, err := ParseUPID(run.ID); err == nil {
		run.Started = task.Started
	}
	switch {
	case l.State == "":
		run.Ended, run.Text = number{}.time(), runningText
	case run.Ended.IsZero():
		run.Ended = run.Started // it ended, PBS does not say when
	}
	return run
}

// jobs reads the jobs of one kind on the datastore.
func (c *Client) jobs(ctx context.Context, kind JobKind) (all []Job, odd int, err error) {
	rq := request{what: "reading the " + string(kind) + " jobs", path: "/admin/" + string(kind)}
	found, odd, err := c.jobRows(ctx, kind, rq)
	if err != nil {
		return nil, 0, err
	}
	for _, row := range found {
		if string(row.Store) != c.cfg.Datastore {
			continue
		}
		all = append(all, row.job("pbs."+c.name, kind))
	}
	slices.SortFunc(all, func(a, b Job) int { return strings.Compare(a.ID, b.ID) })
	return all, odd, nil
}

// jobRows asks for sync jobs of both directions; a server that is older than
// that parameter answers 400, and knows pulls only.
func (c *Client) jobRows(ctx context.Context, kind JobKind, rq request) ([]jobRow, int, error) {
	c.mu.Lock()
	old := c.oldServer
	c.mu.Unlock()
	if kind != SyncJob || old {
		return rows[jobRow](ctx, c, rq)
	}
	both := rq
	both.query = url.Values{"sync-direction": {"all"}}
	found, odd, err := rows[jobRow](ctx, c, both)
	if status, _ := answered(err); status != http.StatusBadRequest {
		return found, odd, err
	}
	found, odd, err = rows[jobRow](ctx, c, rq)
	c.mu.Lock()
	c.oldServer = err == nil
	c.mu.Unlock()
	return found, odd, err
}

func (r jobRow) job(source string, kind JobKind) Job {
	j := Job{
		Kind: kind, ID: string(r.ID), Datastore: string(r.Store), Namespace: string(r.NS),
		Schedule: string(r.Schedule), Disabled: bool(r.Disabled), NextRun: r.NextRun.time(),
		LastRun: r.run(source, kind, string(r.ID)),
	}
	switch kind {
	case VerifyJob:
		j.IgnoreVerified, j.OutdatedAfter = r.Ignore == nil || bool(*r.Ignore), periods(r.Outdated)
	case PruneJob:
		j.Keep = backup.Keep{
			Last: periods(r.Last), Hourly: periods(r.Hourly), Daily: periods(r.Daily),
			Weekly: periods(r.Weekly), Monthly: periods(r.Monthly), Yearly: periods(r.Yearly),
		}
	case SyncJob:
		j.Direction = "pull"
		if r.Direction != "" {
			j.Direction = string(r.Direction)
		}
		j.RemoteName, j.RemoteStore = string(r.Remote), string(r.RemoteIn)
		j.OnMount, j.Vanished, j.Owner = bool(r.OnMount), bool(r.Vanished), string(r.Owner)
		j.Remote = strings.Trim(string(r.Remote)+":"+string(r.RemoteIn), ":")
	}
	return j
}

func periods(n number) int { return int(min(n.count(), 1<<30)) }

// finish replaces the last run of a job by what the list of tasks says of it:
// a job that PBS takes for running may have been lost with its process.
func (j *Job) finish(runs []backup.Run, complete bool) {
	if !j.LastRun.Running() {
		return
	}
	for _, r := range runs {
		if r.ID == j.LastRun.ID {
			j.LastRun.Ended, j.LastRun.Status, j.LastRun.Text = r.Ended, r.Status, r.Text
			return
		}
	}
	if complete {
		j.LastRun.Ended, j.LastRun.Text = j.LastRun.Started, "no such task runs, and how it ended is not known"
	}
}

type gcRow struct {
	Store        text   `json:"store"`
	UPIDStarted  text   `json:"upid"`
	Schedule     text   `json:"schedule"`
	NextRun      number `json:"next-run"`
	DiskBytes    number `json:"disk-bytes"`
	IndexBytes   number `json:"index-data-bytes"`
	RemovedBytes number `json:"removed-bytes"`
	PendingBytes number `json:"pending-bytes"`
	DiskChunks   number `json:"disk-chunks"`
	StillBad     number `json:"still-bad"`
	lastRun
}

// gc reads the garbage collection of the datastore from its own path: the list
// of all leaves out a datastore that has an error.
func (c *Client) gc(ctx context.Context) (gcRow, error) {
	return value[gcRow](ctx, c, request{
		what: "reading the garbage collection of datastore " + c.cfg.Datastore,
		path: c.storePath("gc"),
	})
}

func (r gcRow) status() GCStatus {
	return GCStatus{
		DiskBytes: r.DiskBytes.count(), IndexBytes: r.IndexBytes.count(), RemovedBytes: r.RemovedBytes.count(),
		PendingBytes: r.PendingBytes.count(), DiskChunks: r.DiskChunks.count(), StillBad: r.StillBad.count(),
	}
}

// job makes a Job of it. Its upid is that of the last run that ended well, with
// its counters: a run that failed or that goes on is another task, which the
// list of tasks knows.
func (r gcRow) job(source, datastore string, runs []backup.Run, complete bool) *Job {
	j := &Job{Kind: GCJob, ID: datastore, Datastore: datastore, Schedule: string(r.Schedule), NextRun: r.NextRun.time()}
	last := r.lastRun
	if last.UPID == "" {
		last.UPID = r.UPIDStarted
	}
	j.LastRun = last.run(source, GCJob, datastore)
	if i := slices.IndexFunc(runs, func(t backup.Run) bool { return t.Job == "gc" }); i >= 0 {
		if !runs[i].Started.Before(j.LastRun.Started) {
			j.LastRun = runs[i]
			j.LastRun.Subject = datastore
		}
		return j
	}
	if j.LastRun.Running() && r.Store == "" { // before PBS 3.2 it has no state at all
		j.LastRun.Ended, j.LastRun.Text = j.LastRun.Started, "how it ended is not known"
		return j
	}
	j.finish(runs, complete)
	return j
}
