package proxmox

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// HAResource is a guest under high availability.
type HAResource struct {
	SID         string // "vm:100", "ct:101"
	State       string // as requested: started, stopped, ignored, …
	Group       string // up to PVE 8
	Comment     string
	MaxRestart  int
	MaxRelocate int
}

// ServiceID is what HA calls a guest.
func ServiceID(k GuestKind, vmid int) string { return fmt.Sprintf("%s:%d", haKind(k), vmid) }

// HAResources lists the guests under high availability. It needs Sys.Audit on /.
func (c *Client) HAResources(ctx context.Context) ([]HAResource, error) {
	var found rows[struct {
		SID      text   `json:"sid"`
		State    text   `json:"state"`
		Group    text   `json:"group"`
		Comment  text   `json:"comment"`
		Restart  number `json:"max_restart"`
		Relocate number `json:"max_relocate"`
	}]
	if err := c.reading.get(ctx, "/cluster/ha/resources", &found); err != nil {
		return nil, fmt.Errorf("reading what is under high availability: %w", err)
	}
	var all []HAResource
	for _, r := range found.all {
		all = append(all, HAResource{string(r.SID), string(r.State), string(r.Group), string(r.Comment), int(r.Restart), int(r.Relocate)})
	}
	return all, nil
}

// AddHA puts a guest under high availability. It needs Sys.Console on /.
func (c *Client) AddHA(ctx context.Context, r HAResource) error {
	body := map[string]any{"sid": r.SID, "state": r.State, "max_restart": r.MaxRestart, "max_relocate": r.MaxRelocate}
	if r.Group != "" {
		body["group"] = r.Group
	}
	if r.Comment != "" {
		body["comment"] = r.Comment
	}
	var nothing text
	if err := c.acting.do(ctx, http.MethodPost, "/cluster/ha/resources", body, &nothing); err != nil {
		return fmt.Errorf("putting %s under high availability: %w", r.SID, err)
	}
	return nil
}

// RemoveHA takes a guest out of high availability; it stays as it is.
func (c *Client) RemoveHA(ctx context.Context, sid string) error {
	var nothing text
	if err := c.acting.do(ctx, http.MethodDelete, "/cluster/ha/resources/"+url.PathEscape(sid), nil, &nothing); err != nil {
		return fmt.Errorf("taking %s out of high availability: %w", sid, err)
	}
	return nil
}

// Jobs reads the backup jobs of the cluster.
func (c *Client) Jobs(ctx context.Context) ([]BackupJob, error) {
	var found rows[wireJob]
	if err := c.reading.get(ctx, "/cluster/backup", &found); err != nil {
		return nil, fmt.Errorf("reading the backup jobs: %w", err)
	}
	if err := oddRows(found.bad); err != nil {
		return nil, fmt.Errorf("reading the backup jobs: %w", err)
	}
	return newJobs(found), nil
}

// NotBackedUp lists the guests in no backup job, as PVE tells: a disabled job
// counts there.
func (c *Client) NotBackedUp(ctx context.Context) ([]int, error) {
	var found rows[struct {
		VMID number `json:"vmid"`
	}]
	if err := c.reading.get(ctx, "/cluster/backup-info/not-backed-up", &found); err != nil {
		return nil, fmt.Errorf("reading which guests are in no backup job: %w", err)
	}
	var ids []int
	for _, r := range found.all {
		ids = append(ids, int(r.VMID))
	}
	return ids, nil
}

// JobGuests is which guests a backup job takes: the list of those that it names,
// or of those that it leaves out of all. PVE takes the whole list and checks none.
type JobGuests struct {
	VMIDs   []int
	Exclude []int
	All     bool
}

// SetJobGuests changes which guests a job takes. It needs Sys.Modify on /.
func (c *Client) SetJobGuests(ctx context.Context, id string, g JobGuests) error {
	body := map[string]any{}
	switch {
	case g.All && len(g.Exclude) > 0:
		body["all"], body["exclude"] = 1, joinIDs(g.Exclude)
	case g.All:
		body["all"], body["delete"] = 1, "exclude"
	case len(g.VMIDs) == 0:
		return fmt.Errorf("changing backup job %s: a job without guests is none", id)
	default:
		body["vmid"] = joinIDs(g.VMIDs)
	}
	var nothing text
	if err := c.acting.do(ctx, http.MethodPut, "/cluster/backup/"+url.PathEscape(id), body, &nothing); err != nil {
		return fmt.Errorf("changing backup job %s: %w", id, err)
	}
	return nil
}

func joinIDs(ids []int) string {
	var all []string
	for _, id := range ids {
		all = append(all, strconv.Itoa(id))
	}
	return strings.Join(all, ",")
}

// Guests is which guests the job takes.
func (j BackupJob) Guests() JobGuests { return JobGuests{j.VMIDs, j.Exclude, j.All} }

// Covers says whether the job, where it is enabled, backs up a guest on a node.
func (j BackupJob) Covers(vmid int, node, pool string) bool {
	switch {
	case !j.Enabled, j.Node != "" && j.Node != node, slices.Contains(j.Exclude, vmid):
		return false
	case j.Pool != "":
		return j.Pool == pool
	}
	return j.All || slices.Contains(j.VMIDs, vmid)
}

// Instead is which guests the job takes when in takes out's place; false: that
// changes nothing. out, which is kept but no longer written to, is left out of a
// job of all guests: its backups would push the good ones of its group out.
func (j BackupJob) Instead(out, in int, kept bool) (JobGuests, bool) {
	g := JobGuests{slices.Clone(j.VMIDs), slices.Clone(j.Exclude), j.All}
	switch at := slices.Index(g.VMIDs, out); {
	case j.Pool != "", out == in:
		return g, false
	case !j.All && at < 0:
		return g, false
	case !j.All && slices.Contains(g.VMIDs, in):
		g.VMIDs = slices.Delete(g.VMIDs, at, at+1)
	case !j.All:
		g.VMIDs[at] = in
	case slices.Contains(g.Exclude, out): // it was left out on purpose
		if !slices.Contains(g.Exclude, in) {
			g.Exclude = append(g.Exclude, in)
		}
	default:
		g.Exclude = slices.DeleteFunc(g.Exclude, func(id int) bool { return id == in })
		if kept {
			g.Exclude = append(g.Exclude, out)
		}
	}
	return g, !slices.Equal(g.VMIDs, j.VMIDs) || !slices.Equal(g.Exclude, j.Exclude)
}

// SetPool puts a guest into a resource pool: jobs and rights may hang on it. It
// needs Pool.Allocate on it.
func (c *Client) SetPool(ctx context.Context, pool string, vmid int) error {
	var nothing text
	if err := c.acting.do(ctx, http.MethodPut, "/pools/"+url.PathEscape(pool), map[string]any{"vms": strconv.Itoa(vmid)}, &nothing); err != nil {
		return fmt.Errorf("putting guest %d into pool %s: %w", vmid, pool, err)
	}
	return nil
}

// Pools tells the pool of each guest that is in one.
func (c *Client) Pools(ctx context.Context) (map[int]string, error) {
	var found rows[struct {
		VMID number `json:"vmid"`
		Pool text   `json:"pool"`
	}]
	if err := c.reading.get(ctx, "/cluster/resources", &found); err != nil {
		return nil, fmt.Errorf("reading the pools of the guests: %w", err)
	}
	pools := map[int]string{}
	for _, r := range found.all {
		if r.VMID > 0 && r.Pool != "" {
			pools[int(r.VMID)] = string(r.Pool)
		}
	}
	return pools, nil
}

// Exchange tells what must change in two configurations so that in takes out's
// place in the network and at the node's start: its addresses, its links, its name,
// its start order. out keeps what in had, unplugged and not started; where nothing
// is left of it, was is what it was.
func Exchange(k GuestKind, out, in Configuration, outName, keptName string) (outSet, inSet Settings) {
	outSet, inSet = Settings{Set: map[string]string{}}, Settings{Set: map[string]string{}}
	inSet.Set[nameKey(k)], outSet.Set[nameKey(k)] = outName, keptName
	for _, key := range in.Cards() {
		card, other := in[key], out[key]
		if mac := MAC(other); mac != "" {
			card = WithMAC(card, mac)
		}
		inSet.Set[key] = WithLink(card, LinkDown(other))
	}
	for _, key := range out.Cards() {
		card := out[key]
		if mac := MAC(in[key]); mac != "" {
			card = WithMAC(card, mac)
		}
		outSet.Set[key] = WithLink(card, true)
	}
	outSet.Set["onboot"] = "0"
	for _, key := range []string{"onboot", "startup"} {
		if value := out[key]; value != "" {
			inSet.Set[key] = value
		} else if in[key] != "" {
			inSet.Delete = append(inSet.Delete, key)
		}
	}
	if out["startup"] != "" {
		outSet.Delete = append(outSet.Delete, "startup")
	}
	return outSet, inSet
}

// Was is what Settings would change back: the present values of what they touch.
func (c Configuration) Was(s Settings) Settings {
	back := Settings{Set: map[string]string{}}
	keys := slices.AppendSeq(slices.Clone(s.Delete), maps.Keys(s.Set))
	slices.Sort(keys)
	for _, key := range keys {
		if value := c[key]; value != "" {
			back.Set[key] = value
		} else {
			back.Delete = append(back.Delete, key)
		}
	}
	return back
}

// Holds says whether the configuration is already as s would make it.
func (c Configuration) Holds(s Settings) bool {
	for key, value := range s.Set {
		if c[key] != value {
			return false
		}
	}
	return !slices.ContainsFunc(s.Delete, func(key string) bool { return c[key] != "" })
}

// Show writes settings as parameters, in order of their keys.
func (s Settings) Show() string {
	var parts []string
	for _, key := range slices.Sorted(maps.Keys(s.Set)) {
		parts = append(parts, key+"="+s.Set[key])
	}
	if len(s.Delete) > 0 {
		parts = append(parts, "delete="+strings.Join(s.Delete, ","))
	}
	return strings.Join(parts, " ")
}
