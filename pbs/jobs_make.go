package pbs

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"cairn/internal/backup"
)

// CreateJob makes a job as it is described: a prune job needs Datastore.Modify, a
// verify job Datastore.Verify, a sync job Datastore.Backup on the datastore.
func (c *Client) CreateJob(ctx context.Context, j Job) error {
	form := url.Values{"id": {j.ID}, "store": {c.cfg.Datastore}}
	set := func(name, value string) {
		if value != "" {
			form.Set(name, value)
		}
	}
	set("schedule", j.Schedule)
	set("ns", j.Namespace)
	switch j.Kind {
	case PruneJob:
		for name, n := range keepOptions(j.Keep) {
			set(name, n)
		}
		if j.Disabled {
			set("disable", "true")
		}
	case VerifyJob:
		set("ignore-verified", strconv.FormatBool(j.IgnoreVerified))
		if j.OutdatedAfter > 0 {
			set("outdated-after", strconv.Itoa(j.OutdatedAfter))
		}
	case SyncJob:
		set("remote", j.RemoteName)
		set("remote-store", j.RemoteStore)
		if j.Direction == "push" {
			set("sync-direction", j.Direction)
		}
	}
	return c.do(ctx, request{what: "making the " + string(j.Kind) + " job " + j.ID, method: http.MethodPost, path: "/config/" + string(j.Kind), query: form, act: true}, ignore)
}

func keepOptions(k backup.Keep) map[string]string {
	all := map[string]string{}
	for name, n := range map[string]int{"keep-last": k.Last, "keep-hourly": k.Hourly, "keep-daily": k.Daily, "keep-weekly": k.Weekly, "keep-monthly": k.Monthly, "keep-yearly": k.Yearly} {
		if n > 0 {
			all[name] = strconv.Itoa(n)
		}
	}
	return all
}

// ScheduleGC says when garbage is collected. It needs Datastore.Modify.
func (c *Client) ScheduleGC(ctx context.Context, schedule string) error {
	return c.do(ctx, request{what: "scheduling the garbage collection of datastore " + c.cfg.Datastore, method: http.MethodPut,
		path: "/config/datastore/" + url.PathEscape(c.cfg.Datastore), query: url.Values{"gc-schedule": {schedule}}, act: true}, ignore)
}
