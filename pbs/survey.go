package pbs

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// Survey reads all that Facts holds. It fails when the server does not answer,
// the token may not see the datastore, or the datastore is not there; any other
// part that cannot be read is named in Hidden or Incomplete, and the rest is
// surveyed.
func (c *Client) Survey(ctx context.Context) (Facts, error) {
	s := &survey{c: c, facts: Facts{Name: c.name, Datastore: c.cfg.Datastore}}
	if err := s.seen(ctx); err != nil {
		return Facts{}, err
	}
	if err := s.datastore(ctx); err != nil {
		return Facts{}, err
	}
	s.state = s.facts
	var silent error // of the snapshots, when there was no answer at all
	var wait sync.WaitGroup
	wait.Go(func() { silent = s.snapshots(ctx) })
	for _, kind := range []JobKind{VerifyJob, PruneJob, SyncJob} {
		wait.Go(func() { s.jobs(ctx, kind) })
	}
	wait.Go(func() { s.work(ctx) })
	wait.Wait()
	if silent != nil {
		return Facts{}, silent
	}
	if err := ctx.Err(); err != nil {
		return Facts{}, c.failure(ctx, c.call(request{what: "surveying datastore " + c.cfg.Datastore}), err)
	}
	return s.finish(), nil
}

// survey gathers facts from calls that run side by side.
type survey struct {
	c         *Client
	tasksSeen bool  // those of others too
	state     Facts // who, when and in what state, from before the calls side by side

	mu    sync.Mutex
	facts Facts
	gc    *gcRow
}

// incomplete notes that subject could not be read. What the privileges keep
// from us is hidden, not broken.
func (s *survey) incomplete(subject string, err error, hidden Hidden) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if status, _ := answered(err); status == http.StatusForbidden {
		if !slices.Contains(s.facts.Hidden, hidden) {
			s.facts.Hidden = append(s.facts.Hidden, hidden)
		}
		return
	}
	s.facts.Incomplete = append(s.facts.Incomplete, Incompletion{Subject: subject, Err: err.Error()})
}

func (s *survey) odd(subject string, rows int) {
	if rows > 0 {
		s.incomplete(subject, fmt.Errorf("%d of its rows are in a form that is not understood, and are left out", rows), Hidden{})
	}
}

func (s *survey) set(change func(*Facts)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.facts)
}

// seen is what the token may see, before anything else is asked: PBS answers
// with an empty list where a privilege is missing.
func (s *survey) seen(ctx context.Context) error {
	p, serverTime, skew, err := s.c.permissions(ctx)
	if err != nil {
		return err
	}
	path := "/datastore/" + s.c.cfg.Datastore
	here, _ := p.on(path, datastoreAudit)
	if !here && !p.within(path, datastoreAudit) {
		return s.c.missing(datastoreAudit, path)
	}
	s.tasksSeen, _ = p.on("/system/tasks", sysAudit)
	s.facts.Hidden = s.c.hidden(p)
	s.facts.ServerTime, s.facts.Skew = serverTime, skew
	return nil
}

type version struct {
	Version text `json:"version"`
	Release text `json:"release"`
}

// datastore finds the datastore, its state and its usage, and the version.
func (s *survey) datastore(ctx context.Context) error {
	var listed, used map[string]store
	var listErr, usageErr error
	var wait sync.WaitGroup
	wait.Go(func() { listed, listErr = s.c.stores(ctx) })
	wait.Go(func() { used, usageErr = s.c.usages(ctx) })
	wait.Go(func() {
		v, err := value[version](ctx, s.c, request{what: "reading the version", path: "/version"})
		if err != nil {
			s.incomplete("version", err, Hidden{"the version", "/", sysAudit})
			return
		}
		s.set(func(f *Facts) { f.Version = strings.Trim(string(v.Version)+"."+string(v.Release), ".") })
	})
	wait.Wait()
	if listErr != nil && usageErr != nil {
		return listErr
	}
	name := s.c.cfg.Datastore
	entry, inList := listed[name]
	usage, inUsage := used[name]
	if !inList && !inUsage {
		return s.unknown(errors.Join(listErr, usageErr), listed, used)
	}
	for subject, err := range map[string]error{"state of the datastore": listErr, "usage": usageErr} {
		if err != nil {
			s.incomplete(subject, err, Hidden{"the " + subject, "/datastore/" + name, datastoreAudit})
		}
	}
	s.describe(entry, usage)
	return nil
}

func (s *survey) unknown(err error, listed, used map[string]store) error {
	if err != nil {
		return err
	}
	there := listed
	if len(used) > len(there) {
		there = used
	}
	return &Error{
		Call: s.c.call(request{what: "surveying datastore " + s.c.cfg.Datastore}),
		Text: "the server has no datastore of that name that the token may see; it shows " + names(there),
		Hint: fmt.Sprintf("check datastore of [pbs.%s]", s.c.name),
	}
}

func (s *survey) describe(entry, usage store) {
	now := s.facts.ServerTime
	if now.IsZero() {
		now = s.c.now()
	}
	s.set(func(f *Facts) {
		f.Usage = usage.usage(now)
		f.MountStatus = string(entry.Mount)
		if f.MountStatus == "" {
			f.MountStatus = string(usage.Mount)
		}
		if f.Backend = string(entry.Backend); f.Backend == "" {
			f.Backend = string(usage.Backend)
		}
		f.Maintenance = maintenanceWords(string(entry.Maintenance))
	})
}

// snapshots reads every namespace that is configured. The error says that no
// answer came at all, so that the last facts stay better than these.
func (s *survey) snapshots(ctx context.Context) error {
	switch f := s.state; {
	case !f.Mounted():
		return nil // a state, not a failure: the disk is elsewhere
	case unreadable(f.Maintenance):
		s.unread("**", "backup snapshots", fmt.Errorf(
			"the datastore is in maintenance mode (%s), and PBS reads nothing of it; end the mode when the work is done", f.Maintenance))
		return nil
	}
	existing, err := s.c.namespaces(ctx)
	if err != nil {
		s.unread("**", "namespaces", err)
		return silence(err)
	}
	if !slices.Contains(existing, "") { // it always exists, and is left out where the token may not see it
		existing = append(existing, "")
	}
	chosen, missing := choose(s.c.cfg.Namespaces, existing)
	for _, pattern := range missing {
		s.unread(pattern, namespaceName(pattern), errors.New(
			"the datastore has no such namespace, or the token may not see it; check namespaces of [pbs."+s.c.name+"]"))
	}
	lists := make([][]Snapshot, len(chosen))
	failed := make([]error, len(chosen))
	var wait sync.WaitGroup
	for i, ns := range chosen {
		wait.Go(func() { lists[i], failed[i] = s.namespace(ctx, ns) })
	}
	wait.Wait()
	s.set(func(f *Facts) {
		f.Snapshots = slices.Concat(lists...)
		for i, ns := range chosen {
			if failed[i] == nil {
				f.Namespaces = append(f.Namespaces, ns)
			}
		}
	})
	if len(chosen) > 0 && !slices.Contains(failed, nil) {
		return silence(failed[0])
	}
	return nil
}

// silence returns err when it is no answer of the server.
func silence(err error) error {
	if _, ok := answered(err); ok {
		return nil
	}
	return err
}

func (s *survey) namespace(ctx context.Context, ns string) ([]Snapshot, error) {
	all, odd, err := s.c.snapshots(ctx, ns)
	subject := "backup snapshots in " + namespaceName(ns)
	if err != nil {
		s.unread(ns, subject, err)
		return nil, err
	}
	if odd > 0 {
		s.unread(ns, subject, fmt.Errorf("%d of its rows are in a form that is not understood, and are left out", odd))
	}
	return all, nil
}

func (s *survey) unread(ns, subject string, err error) {
	path := strings.TrimSuffix("/datastore/"+s.c.cfg.Datastore+"/"+strings.TrimSuffix(ns, "**"), "/")
	s.incomplete(subject, err, Hidden{"the " + subject, path, datastoreAudit})
	s.set(func(f *Facts) { f.Unread = append(f.Unread, ns) })
}

func (s *survey) jobs(ctx context.Context, kind JobKind) {
	all, odd, err := s.c.jobs(ctx, kind)
	subject := string(kind) + " jobs"
	if err != nil {
		s.incomplete(subject, err, Hidden{"the " + subject, "/datastore/" + s.c.cfg.Datastore, datastoreAudit})
		return
	}
	s.odd(subject, odd)
	s.set(func(f *Facts) { f.Jobs = append(f.Jobs, all...) })
}

// work reads the garbage collection and the tasks.
func (s *survey) work(ctx context.Context) {
	if s.state.Mounted() && !unreadable(s.state.Maintenance) {
		row, err := s.c.gc(ctx)
		if err != nil {
			s.incomplete("garbage collection", err, Hidden{"the garbage collection", "/datastore/" + s.c.cfg.Datastore, datastoreAudit})
		} else {
			s.gc = &row
		}
	}
	runs, complete, err := s.c.tasks(ctx, s.state.ServerTime)
	if err != nil {
		s.incomplete("tasks", err, Hidden{"the tasks", "/system/tasks", sysAudit})
		return
	}
	s.set(func(f *Facts) { f.Runs, f.TasksComplete = runs, complete && s.tasksSeen })
}

// finish brings jobs and tasks together.
func (s *survey) finish() Facts {
	f := s.facts
	for i := range f.Jobs {
		f.Jobs[i].finish(f.Runs, f.TasksComplete)
	}
	slices.SortFunc(f.Jobs, func(a, b Job) int {
		return strings.Compare(string(a.Kind)+" "+a.ID, string(b.Kind)+" "+b.ID)
	})
	slices.Sort(f.Unread)
	slices.SortFunc(f.Incomplete, func(a, b Incompletion) int { return strings.Compare(a.Subject, b.Subject) })
	if s.gc != nil {
		f.GC, f.GCStatus = s.gc.job("pbs."+s.c.name, s.c.cfg.Datastore, f.Runs, f.TasksComplete), s.gc.status()
	}
	return f
}
