package pbs

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// changeOf are the properties of each kind of job that a call may change, and those
// that it may take away. A prune job has a switch; the schedule of a sync job can
// only be taken away, and that of a prune job cannot.
var changeOf = map[string]struct{ set, remove string }{
	Prune: {"schedule comment disable max-depth ns keep-last keep-hourly keep-daily keep-weekly keep-monthly keep-yearly",
		"comment disable ns max-depth keep-last keep-hourly keep-daily keep-weekly keep-monthly keep-yearly"},
	Sync: {"schedule comment ns remote remote-store remote-ns owner remove-vanished run-on-mount sync-direction",
		"remote owner comment schedule remove-vanished ns remote-ns max-depth run-on-mount"},
}

// configured is an answer with the digest of the file that it stands in.
type configured struct {
	data   any
	digest string
}

// digest is that of the file that the jobs of a kind are configured in.
func (w *World) digest(kind string) string {
	var text []string
	for _, j := range w.Jobs {
		if j.Kind == kind {
			text = append(text, fmt.Sprint(j.ID, j.properties()))
		}
	}
	return digestOf(text)
}

func digestOf(parts []string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\n")))
	return hex.EncodeToString(sum[:])
}

// unchanged refuses a call that was made for another state of the file.
func (c *call) unchanged(digest string) error {
	if given := c.params["digest"]; given != "" && given != digest {
		return bad("detected modified configuration - file changed by other user? Try again.")
	}
	return nil
}

func (c *call) jobNamed(kind string) (*Job, error) {
	for _, j := range c.Jobs {
		if j.Kind == kind && j.ID == c.r.PathValue("id") {
			return j, nil
		}
	}
	return nil, bad("no such %s '%s'", kind, c.r.PathValue("id"))
}

func readJob(kind string) handler {
	return func(c *call) (any, error) {
		j, err := c.jobNamed(kind)
		if err != nil {
			return nil, err
		}
		if !c.seesJob(j) {
			return nil, bad("permission check failed")
		}
		row := j.row()
		for name := range row {
			if strings.HasPrefix(name, "last-run") || name == "next-run" {
				delete(row, name)
			}
		}
		return configured{row, c.digest(kind)}, nil
	}
}

// changeJob is how a job is changed; of a sync job what it would be then counts for
// the privileges, too.
func changeJob(kind string) handler {
	return func(c *call) (any, error) {
		if err := c.unchanged(c.digest(kind)); err != nil {
			return nil, err
		}
		j, err := c.jobNamed(kind)
		if err != nil {
			return nil, err
		}
		if kind == Prune && !c.may(storePath(j.Store, j.NS), modify) {
			return nil, denied()
		}
		changed := *j
		for _, name := range strings.Fields(c.params["delete"]) {
			if !slices.Contains(strings.Fields(changeOf[kind].remove), name) {
				return nil, bad("parameter verification failed - 'delete': value '%s' is not defined in the enumeration.", name)
			}
			changed.set(name, "")
		}
		for name, value := range c.params {
			if slices.Contains(strings.Fields(changeOf[kind].set), name) {
				changed.set(name, value)
			}
		}
		if kind == Sync && !c.maySync(&changed) {
			return nil, bad("permission check failed")
		}
		*j = changed
		return nil, nil
	}
}

func (j *Job) set(name, value string) {
	on := slices.Contains([]string{"1", "true", "yes", "on"}, value)
	switch name {
	case "schedule":
		j.Schedule = value
	case "comment":
		j.Comment = value
	case "ns":
		j.NS = value
	case "disable":
		j.Disable = on
	case "owner":
		j.Owner = value
	case "remove-vanished":
		j.RemoveVanished = on
	case "run-on-mount":
		j.RunOnMount = on
	case "remote":
		j.Remote = value
	case "remote-store":
		j.RemoteStore = value
	}
}

// maySync says whether the caller may make, change or run a sync job.
func (c *call) maySync(j *Job) bool {
	here, there := storePath(j.Store, j.NS), "/remote/"+j.Remote+"/"+j.RemoteStore
	if firstOf(j.Owner, "root@pam") != c.auth && !c.may(here, modify) {
		return false
	}
	if j.direction() == "push" {
		return c.may(there, "Remote.DatastoreBackup")
	}
	if !c.may(here, backup) || j.RemoveVanished && !c.may(here, prune) {
		return false
	}
	return j.Remote == "" || c.may(there, "Remote.Read")
}

// configuredStore is how a datastore is configured, whether it is mounted or not.
func configuredStore(c *call) (any, error) {
	name := c.r.PathValue("store")
	if !c.may(storePath(name, ""), audit) {
		return nil, denied()
	}
	d := c.Store(name)
	if d == nil {
		return nil, bad("no such datastore '%s'", name)
	}
	row := object{"name": d.Name, "path": firstOf(d.Path, "/mnt/datastore/"+d.Name)}
	for key, value := range map[string]string{"comment": d.Comment, "gc-schedule": d.GC.Schedule, "maintenance-mode": d.Maintenance} {
		if value != "" {
			row[key] = value
		}
	}
	return configured{row, c.storesDigest()}, nil
}

func (w *World) storesDigest() string {
	var text []string
	for _, d := range w.Datastores {
		text = append(text, d.Name, d.Path, d.Comment, d.GC.Schedule, d.Maintenance)
	}
	return digestOf(text)
}
