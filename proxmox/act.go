package proxmox

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Guest reads one guest anew: its row, configuration and snapshots.
func (c *Client) Guest(ctx context.Context, vmid int) (Guest, error) {
	row, _, err := c.locate(ctx, vmid)
	if err != nil {
		return Guest{}, err
	}
	config, tree, err := c.reading.guestDetails(ctx, row.path(), c.reading.get)
	if err != nil {
		return Guest{}, fmt.Errorf("reading guest %d: %w", vmid, err)
	}
	return freshGuest(row, config, tree, c.Now()), nil
}

func freshGuest(row resource, config Configuration, tree Tree, now time.Time) Guest {
	g := row.facts()
	config.apply(&g)
	g.Snapshots, g.SnapshotsAt = tree.Snapshots, now
	return g
}

// Snapshots reads a guest's snapshots anew.
func (c *Client) Snapshots(ctx context.Context, vmid int) (Tree, error) {
	row, _, err := c.locate(ctx, vmid)
	if err != nil {
		return Tree{}, err
	}
	var found rows[wireSnapshot]
	if err := c.reading.get(ctx, row.path()+"/snapshot", &found); err != nil {
		return Tree{}, fmt.Errorf("reading the snapshots of guest %d: %w", vmid, err)
	}
	if err := oddRows(found.bad); err != nil {
		return Tree{}, fmt.Errorf("reading the snapshots of guest %d: %w", vmid, err)
	}
	return newTree(found), nil
}

// Configuration reads a guest's present configuration.
func (c *Client) Configuration(ctx context.Context, vmid int) (Configuration, error) {
	return c.configuration(ctx, vmid, "/config")
}

// SnapshotConfig reads the configuration that a snapshot holds. Diff compares it
// with the present one.
func (c *Client) SnapshotConfig(ctx context.Context, vmid int, name string) (Configuration, error) {
	return c.configuration(ctx, vmid, "/snapshot/"+url.PathEscape(name)+"/config")
}

func (c *Client) configuration(ctx context.Context, vmid int, below string) (Configuration, error) {
	row, _, err := c.locate(ctx, vmid)
	if err != nil {
		return nil, err
	}
	var config Configuration
	if err := c.reading.get(ctx, row.path()+below, &config); err != nil {
		return nil, fmt.Errorf("reading the configuration of guest %d: %w", vmid, err)
	}
	return config, nil
}

// locate finds the node that a guest lies on now: it may have moved since the
// survey. all are the rows that it was found among.
func (c *Client) locate(ctx context.Context, vmid int) (row resource, all resources, err error) {
	var found rows[resource]
	if err := c.reading.get(ctx, "/cluster/resources", &found); err != nil {
		return resource{}, resources{}, fmt.Errorf("looking for guest %d: %w", vmid, err)
	}
	all = sortResources(found)
	for _, r := range all.guests {
		if int(r.VMID) == vmid {
			return r, all, nil
		}
	}
	return resource{}, all, fmt.Errorf("looking for guest %d: %w", vmid, ErrNoGuest)
}

// ErrNoGuest says that the cluster lists no guest of that VMID.
var ErrNoGuest = errors.New("the cluster lists no such guest: it was removed, or the token lacks VM.Audit on it")

func (r resource) path() string {
	return guestPath(GuestKind(r.Type), string(r.Node), int(r.VMID))
}

var snapshotName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]{1,39}$`)

// CheckSnapshotName says why Proxmox VE would refuse the name of a new snapshot.
func CheckSnapshotName(name string) error {
	if !snapshotName.MatchString(name) || name == current || name == "pending" {
		return fmt.Errorf("snapshot name %q: use 2 to 40 letters, digits, - and _, beginning with a letter, and neither current nor pending", name)
	}
	return nil
}

// NewSnapshot is a snapshot to be made.
type NewSnapshot struct {
	Name        string
	Description string
	RAM         bool // with the memory; for a running VM only
}

// CreateSnapshot starts making a snapshot and returns its task. PVE refuses most
// of what can go wrong in the task only: Follow it.
func (c *Client) CreateSnapshot(ctx context.Context, vmid int, s NewSnapshot) (upid string, err error) {
	if err := CheckSnapshotName(s.Name); err != nil {
		return "", err
	}
	body := map[string]any{"snapname": s.Name}
	if s.Description != "" {
		body["description"] = s.Description
	}
	return c.actOn(ctx, vmid, http.MethodPost, func(r resource) string {
		if s.RAM && r.Type == text(QEMU) {
			body["vmstate"] = 1
		}
		return "/snapshot"
	}, body, "making snapshot "+s.Name)
}

// DeleteSnapshot starts removing a snapshot and returns its task. force takes it
// out of the configuration even where its disks cannot be cleaned up.
func (c *Client) DeleteSnapshot(ctx context.Context, vmid int, name string, force bool) (upid string, err error) {
	below := "/snapshot/" + url.PathEscape(name)
	if force {
		below += "?force=1"
	}
	return c.actOn(ctx, vmid, http.MethodDelete, always(below), nil, "removing snapshot "+name)
}

// Rollback starts a rollback and returns its task. It stops a running guest hard;
// with start the guest is started afterwards, in a task of its own.
func (c *Client) Rollback(ctx context.Context, vmid int, name string, start bool) (upid string, err error) {
	var body map[string]any
	if start {
		body = map[string]any{"start": 1}
	}
	return c.actOn(ctx, vmid, http.MethodPost, always("/snapshot/"+url.PathEscape(name)+"/rollback"), body, "rolling back to snapshot "+name)
}

// Start starts a guest and returns the task.
func (c *Client) Start(ctx context.Context, vmid int) (upid string, err error) {
	return c.actOn(ctx, vmid, http.MethodPost, always("/status/start"), nil, "starting it")
}

// SafetyBackup is a vzdump run that evicts no other backup.
type SafetyBackup struct {
	Storage string
	Mode    string // snapshot when empty
	Notes   string // how it is found again; several lines are kept
	Plain   bool   // not protected: jobs prune it later as one of their own
}

// Vzdump starts a backup that is protected, unless it is plain, and for which nothing
// is pruned, and returns its task. remove=0 alone fails on a storage that is at its
// limit, and protected=1 alone would still prune the others.
func (c *Client) Vzdump(ctx context.Context, vmid int, b SafetyBackup) (upid string, err error) {
	row, _, err := c.locate(ctx, vmid)
	if err != nil {
		return "", err
	}
	body := map[string]any{"vmid": fmt.Sprint(vmid), "storage": b.Storage, "mode": "snapshot", "remove": 0, "protected": 1}
	if b.Plain {
		delete(body, "protected")
	}
	if b.Mode != "" {
		body["mode"] = b.Mode
	}
	if b.Notes != "" {
		body["notes-template"] = notesTemplate(b.Notes)
	}
	return c.act(ctx, http.MethodPost, "/nodes/"+url.PathEscape(string(row.Node))+"/vzdump", body,
		fmt.Sprintf("backing up guest %d to storage %s", vmid, b.Storage))
}

// notesTemplate writes text so that vzdump's template means just that text: it
// knows \n and \\, and would take {{…}} for a variable.
func notesTemplate(notes string) string {
	return strings.NewReplacer(`\`, `\\`, "\r\n", `\n`, "\n", `\n`, "{{", "{ {").Replace(notes)
}

func always(below string) func(resource) string { return func(resource) string { return below } }

func (c *Client) actOn(ctx context.Context, vmid int, method string, below func(resource) string, body map[string]any, what string) (string, error) {
	row, _, err := c.locate(ctx, vmid)
	if err != nil {
		return "", err
	}
	return c.act(ctx, method, row.path()+below(row), body, fmt.Sprintf("guest %d: %s", vmid, what))
}

// act makes one call with the acting token, where one is configured, and returns
// the task that it started.
func (c *Client) act(ctx context.Context, method, path string, body map[string]any, what string) (string, error) {
	var upid text
	if err := c.acting.do(ctx, method, path, body, &upid); err != nil {
		return "", fmt.Errorf("%s: %w", what, err)
	}
	if _, err := ParseUPID(string(upid)); err != nil {
		return "", fmt.Errorf("%s: %w", what, &Error{Method: method, Path: path, Uncertain: true, Err: err})
	}
	return string(upid), nil
}

// Task reads a task's state.
func (c *Client) Task(ctx context.Context, upid string) (Task, error) {
	return c.acting.task(ctx, upid)
}

// TaskLog reads a task's log from line from, counted from 0.
func (c *Client) TaskLog(ctx context.Context, upid string, from int) ([]string, error) {
	return c.acting.taskLog(ctx, upid, from)
}

// StopTask asks for a task's end. What it had done stays done; look at the guest.
func (c *Client) StopTask(ctx context.Context, upid string) error {
	id, err := ParseUPID(upid)
	if err != nil {
		return err
	}
	var nothing text
	if err := c.acting.do(ctx, http.MethodDelete, taskPath(id.Node, upid), nil, &nothing); err != nil {
		return fmt.Errorf("stopping task %s: %w", upid, err)
	}
	return nil
}

// FindTask lists the tasks of a type about a guest that began at or after since,
// by the server's clock, newest first: after a crash it tells whether a call was
// carried out. It fails where a node cannot be asked, because the task may be
// there.
func (c *Client) FindTask(ctx context.Context, kind string, vmid int, since time.Time) ([]Task, error) {
	var found rows[resource]
	if err := c.acting.get(ctx, "/cluster/resources", &found); err != nil {
		return nil, fmt.Errorf("looking for a %s task of guest %d: %w", kind, vmid, err)
	}
	var tasks []Task
	var failed error
	for _, n := range sortResources(found).nodes {
		query := url.Values{"source": {"all"}, "limit": {"500"}, "typefilter": {kind}, "vmid": {fmt.Sprint(vmid)},
			"since": {fmt.Sprint(since.Unix())}}
		err := fmt.Errorf("node %s is offline", n.Name)
		var here []Task
		if n.Online {
			here, err = c.acting.taskList(ctx, "/nodes/"+url.PathEscape(n.Name)+"/tasks?"+query.Encode())
		}
		if err != nil {
			failed = err
			continue
		}
		tasks = append(tasks, slices.DeleteFunc(here, func(t Task) bool {
			return t.Type != kind || t.VMID() != vmid || t.Started.Before(since.Truncate(time.Second))
		})...)
	}
	if len(tasks) == 0 && failed != nil {
		return nil, fmt.Errorf("looking for a %s task of guest %d: %w", kind, vmid, failed)
	}
	newestFirst(tasks)
	return tasks, nil
}
