package pbs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Standing is what decides whether a job, or the garbage collection, runs by itself.
// Pruning has a switch for that; a sync job and the garbage collection have their
// schedule alone, and a sync job also runs when its disk is mounted.
type Standing struct {
	Kind     JobKind `json:"kind"`
	ID       string  `json:"id"`                 // of the garbage collection: the datastore
	Disabled bool    `json:"disabled,omitempty"` // a prune job's
	Schedule string  `json:"schedule,omitempty"` // of the others; empty: none
	OnMount  bool    `json:"on_mount,omitempty"` // a sync job's: it runs when its disk is mounted
}

// Runs says whether it runs by itself.
func (s Standing) Runs() bool {
	if s.Kind == PruneJob {
		return !s.Disabled
	}
	return s.Schedule != "" || s.OnMount
}

// Held is s so that it runs no more by itself.
func (s Standing) Held() Standing {
	return Standing{Kind: s.Kind, ID: s.ID, Disabled: s.Kind == PruneJob}
}

// ErrNoJob says that the server has no such job (any more).
var ErrNoJob = errors.New("there is no such job")

// Standing reads how a job stands, and the digest of the file that it is configured
// in: a change that names it is refused where somebody else was quicker. It needs
// Datastore.Audit on the job's datastore and namespace, and of a sync job
// Remote.Audit on its remote. The error wraps ErrNoJob where the job is gone.
func (c *Client) Standing(ctx context.Context, kind JobKind, id string) (s Standing, digest string, err error) {
	err = c.do(ctx, request{what: "reading " + c.jobName(kind, id), path: configPath(kind, id)}, func(_ http.Header, r io.Reader) (err error) {
		s, digest, err = readStanding(kind, id, r)
		return err
	})
	if err != nil {
		return Standing{}, "", c.orGone(ctx, kind, id, err)
	}
	return s, digest, nil
}

// readStanding reads the configuration of a job or of a datastore.
func readStanding(kind JobKind, id string, r io.Reader) (s Standing, digest string, err error) {
	var answer struct {
		Data *struct {
			Schedule text `json:"schedule"`
			Disabled flag `json:"disable"`
			OnMount  flag `json:"run-on-mount"`
			GC       text `json:"gc-schedule"`
		} `json:"data"`
		Digest text `json:"digest"`
	}
	if err := json.NewDecoder(r).Decode(&answer); err != nil {
		return s, "", badJSON(err)
	}
	if answer.Data == nil {
		return s, "", errNoData
	}
	s = Standing{Kind: kind, ID: id}
	switch d := answer.Data; kind {
	case PruneJob:
		s.Disabled = bool(d.Disabled)
	case SyncJob:
		s.Schedule, s.OnMount = string(d.Schedule), bool(d.OnMount)
	case GCJob:
		s.Schedule = string(d.GC)
	}
	return s, string(answer.Digest), nil
}

// orGone tells a job that is gone from one that cannot be read: PBS answers 400 to
// both, in words that differ between its versions.
func (c *Client) orGone(ctx context.Context, kind JobKind, id string, err error) error {
	if status, _ := answered(err); kind == GCJob || status != http.StatusBadRequest && status != http.StatusNotFound {
		return err
	}
	all, odd, failed := c.jobs(ctx, kind)
	if failed != nil || odd > 0 || slices.ContainsFunc(all, func(j Job) bool { return j.ID == id }) {
		return err
	}
	return fmt.Errorf("%s: %w", c.jobName(kind, id), ErrNoJob)
}

// SetStanding makes a job stand as to says, where it stands as from says and the
// configuration has the digest still. It needs what Needs tells.
func (c *Client) SetStanding(ctx context.Context, from, to Standing, digest string) error {
	form := url.Values{}
	if digest != "" {
		form.Set("digest", digest)
	}
	schedule := "schedule"
	if to.Kind == GCJob {
		schedule = "gc-schedule"
	}
	if to.Kind == PruneJob {
		form.Set("disable", strconv.FormatBool(to.Disabled))
	}
	switch {
	case to.Kind == PruneJob || from.Schedule == to.Schedule:
	case to.Schedule == "":
		form.Add("delete", schedule)
	default:
		form.Set(schedule, to.Schedule)
	}
	switch {
	case to.Kind != SyncJob || from.OnMount == to.OnMount:
	case to.OnMount:
		form.Set("run-on-mount", "true")
	default:
		form.Add("delete", "run-on-mount")
	}
	return c.do(ctx, request{what: "changing " + c.jobName(to.Kind, to.ID), method: http.MethodPut, path: configPath(to.Kind, to.ID), query: form, act: true}, ignore)
}

// ShowStanding is the call that SetStanding makes, for a person.
func ShowStanding(to Standing) string {
	var says string
	switch {
	case to.Kind == PruneJob:
		says = "disable=" + strconv.FormatBool(to.Disabled)
	case to.Kind == GCJob && to.Schedule == "":
		says = "delete=gc-schedule"
	case to.Kind == GCJob:
		says = "gc-schedule=" + to.Schedule
	default:
		says = strings.TrimSpace(map[bool]string{true: "delete=schedule", false: "schedule=" + to.Schedule}[to.Schedule == ""] + map[bool]string{true: " run-on-mount=true"}[to.OnMount])
	}
	return "PUT " + configPath(to.Kind, to.ID) + " " + says + " digest=…"
}

func configPath(kind JobKind, id string) string {
	if kind == GCJob {
		return "/config/datastore/" + url.PathEscape(id)
	}
	return "/config/" + string(kind) + "/" + url.PathEscape(id)
}

func (c *Client) jobName(kind JobKind, id string) string {
	if kind == GCJob {
		return "the schedule of the garbage collection of datastore " + id
	}
	return "the " + string(kind) + " job " + id
}

// OwnWork lists the jobs of the datastore that take copies away, or carry on what may
// be ruined: pruning, syncs, and the garbage collection where it has a schedule. The
// list is not whole where the token may not see all of it, and then there is an error.
func (c *Client) OwnWork(ctx context.Context) ([]Job, error) {
	p, _, _, err := c.permissions(ctx)
	if err != nil {
		return nil, err
	}
	for _, h := range c.hidden(p) {
		if h.Privilege != sysAudit { // which tasks run is another matter
			return nil, &Error{Call: c.call(request{what: "reading the jobs of datastore " + c.cfg.Datastore}),
				Text: fmt.Sprintf("%s on %s is missing, and without it PBS hides %s", h.Privilege, h.Path, h.What),
				Hint: "give it to the token and to its user"}
		}
	}
	var all []Job
	for _, kind := range []JobKind{PruneJob, SyncJob} {
		found, odd, err := c.jobs(ctx, kind)
		if err == nil && odd > 0 {
			err = fmt.Errorf("reading the %s jobs: %d of them are in a form that is not understood", kind, odd)
		}
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	gc, _, err := c.Standing(ctx, GCJob, c.cfg.Datastore)
	if err != nil {
		return nil, err
	}
	return append(all, Job{Kind: GCJob, ID: c.cfg.Datastore, Datastore: c.cfg.Datastore, Schedule: gc.Schedule}), nil
}

// Standing is how the job stands.
func (j Job) Standing() Standing {
	if j.Kind == PruneJob {
		return Standing{Kind: j.Kind, ID: j.ID, Disabled: j.Disabled}
	}
	return Standing{Kind: j.Kind, ID: j.ID, Schedule: j.Schedule, OnMount: j.OnMount}
}

// Missing names the privileges that the acting token lacks to change the jobs, in
// the order of the jobs, each once: pruning and the garbage collection take
// Datastore.Modify; a sync job what it takes to run it.
func (c *Client) Missing(ctx context.Context, jobs []Job) ([]Need, error) {
	var p permissions
	err := c.do(ctx, request{what: "reading what the acting token may do", path: "/access/permissions", act: true}, func(_ http.Header, r io.Reader) (err error) {
		p, err = decodeValue[permissions](r)
		return err
	})
	if err != nil {
		return nil, err
	}
	var missing []Need
	for _, j := range jobs {
		for _, n := range c.needs(j) {
			if here, _ := p.on(n.Path, n.Privilege); !here {
				missing = append(missing, Need{n.Path, n.Privilege, j})
			}
		}
	}
	return missing, nil
}

// Need is a privilege on a path that changing a job takes.
type Need struct {
	Path, Privilege string
	Job             Job
}

// needs are the privileges that changing a job takes (PBS's own rules for who may
// change a prune job, a sync job of either direction, and a datastore).
func (c *Client) needs(j Job) []Need {
	here := strings.TrimSuffix("/datastore/"+c.cfg.Datastore+"/"+j.Namespace, "/")
	var all []Need
	need := func(path, privilege string) { all = append(all, Need{Path: path, Privilege: privilege}) }
	if j.Kind != SyncJob {
		need(here, "Datastore.Modify")
		return all
	}
	there := "/remote/" + j.RemoteName + "/" + j.RemoteStore
	acting := c.cfg.TokenID
	if c.cfg.Act != nil {
		acting = c.cfg.Act.TokenID
	}
	if j.Owner != acting {
		need(here, "Datastore.Modify")
	}
	switch {
	case j.Direction == "push":
		need(there, "Remote.DatastoreBackup")
	case j.RemoteName != "":
		need(here, "Datastore.Backup")
		need(there, "Remote.Read")
	default: // from another datastore of the same server
		need(here, "Datastore.Backup")
	}
	if j.Vanished && j.Direction != "push" {
		need(here, "Datastore.Prune")
	}
	return all
}
