package guest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"cairn/internal/operation"
	"cairn/internal/plan"
	"cairn/internal/runbook/step"
	"cairn/proxmox"
)

// swapGuestArgs are what the steps of an exchange need besides the guest they act on.
type swapGuestArgs struct {
	Role   string              `json:"role"` // "in": it takes the other's place; "out": it is kept
	Kind   proxmox.GuestKind   `json:"kind"`
	Set    proxmox.Settings    `json:"set"`
	Was    proxmox.Settings    `json:"was"`
	Jobs   []jobChange         `json:"jobs,omitempty"`
	Pool   string              `json:"pool,omitempty"` // that it is put into
	HA     *proxmox.HAResource `json:"ha,omitempty"`   // to add; of a removal what it was
	Remove bool                `json:"remove,omitempty"`
	Jobbed int                 `json:"jobbed,omitempty"` // enabled backup jobs that took the other one
	Policy int                 `json:"policy,omitempty"` // VMID whose table in the configuration applies
	Wall   *proxmox.Firewall   `json:"wall,omitempty"`   // firewall that it gets
	Before *proxmox.Firewall   `json:"before,omitempty"` // and the one that it had
	Tag    []string            `json:"tag,omitempty"`    // tags to set, and to remove
	Untag  []string            `json:"untag,omitempty"`
}

// jobChange is which guests a backup job takes, and took.
type jobChange struct {
	ID  string            `json:"id"`
	Now proxmox.JobGuests `json:"now"`
	Was proxmox.JobGuests `json:"was"`
}

// exchange is all that an exchange of two guests is planned from.
type exchange struct {
	cluster  string
	out      *proxmox.Guest // nil: it is gone
	outVMID  int
	outConf  proxmox.Configuration
	in       proxmox.Guest
	inConf   proxmox.Configuration
	jobs     []proxmox.BackupJob
	ha       []proxmox.HAResource
	pools    map[int]string
	outWall  proxmox.Firewall
	inWall   proxmox.Firewall
	outName  string
	keptName string
}

// Swap plans to put what an operation restored in the place of the original,
// which is stopped and kept.
func (b *Runbook) Swap(ctx context.Context, s operation.Status) (plan.Plan, error) {
	a, state := restoredBy(s)
	switch {
	case a == nil:
		return plan.Plan{}, fmt.Errorf("operation %s restored no guest beside another", s.ID())
	case state != operation.StepDone && state != operation.StepWarned:
		return plan.Plan{}, fmt.Errorf("operation %s did not finish its restore (%s): there is nothing to swap in", s.ID(), state)
	}
	c, err := b.Cluster(a.Cluster)
	if err != nil {
		return plan.Plan{}, err
	}
	x, err := b.readExchange(ctx, c, a)
	if err != nil {
		return plan.Plan{}, err
	}
	original := Guest{a.Cluster, proxmox.Guest{VMID: x.outVMID, Name: x.outName}}
	p := b.newPlan(original, "swap", "")
	p.Summary = fmt.Sprintf("Put %s in the place of %s", Describe(Guest{a.Cluster, x.in}), nameOf(original))
	p.Loss = "nothing is removed; from then on the guest goes on from its backup, and what the original wrote since stays in it alone"
	p.WayBack = "exchange them again: cairn operation undo {id}"
	if x.out == nil {
		p.Loss, p.WayBack = "nothing: the original is gone", ""
	}
	if p.Blockers, err = b.swapGuestBlockers(ctx, c, x, a); err != nil {
		return p, err
	}
	p.Notes = x.notes()
	b.addExchange(&p, x)
	p.Fingerprint = x.fingerprint()
	p.Estimate = step.Total(p.Steps)
	return p, nil
}

// restoredBy is what an operation restored beside another guest, and how that
// step stands.
func restoredBy(s operation.Status) (*args, operation.State) {
	for i, step := range s.Record.Plan.Steps {
		var a args
		if step.Kind == kindGuestRestore && json.Unmarshal(step.Args, &a) == nil && a.Restore != nil && !a.Restore.InPlace {
			return &a, s.Steps[i].State
		}
	}
	return nil, ""
}

func (b *Runbook) readExchange(ctx context.Context, c *proxmox.Client, a *args) (x exchange, err error) {
	x.cluster, x.outVMID = a.Cluster, a.Restore.Query.Guest
	if x.in, x.inConf, err = c.Current(ctx, a.VMID); err != nil {
		return x, fmt.Errorf("reading what was restored: %w", err)
	}
	out, conf, err := c.Current(ctx, x.outVMID)
	switch {
	case err == nil && x.outVMID != a.VMID:
		x.out, x.outConf, x.outName = &out, conf, out.Name
	case err == nil || errors.Is(err, proxmox.ErrNoGuest): // the backup tells what it was
		storage, _, _ := strings.Cut(a.Restore.Volume, ":")
		if x.outConf, err = c.ArchiveConfig(ctx, proxmox.RestorePoint{Volume: a.Restore.Volume, Storage: storage, Node: x.in.Node}); err != nil {
			return x, err
		}
		x.outName = x.outConf.NameOf(x.in.Kind)
	default:
		return x, fmt.Errorf("reading the original: %w", err)
	}
	if x.jobs, err = c.Jobs(ctx); err != nil {
		return x, err
	}
	if x.ha, err = c.HAResources(ctx); err != nil {
		return x, err
	}
	if x.inWall, err = c.Firewall(ctx, x.in.VMID); err != nil {
		return x, err
	}
	if x.out != nil {
		if x.outWall, err = c.Firewall(ctx, x.outVMID); err != nil {
			return x, err
		}
	}
	x.pools, err = c.Pools(ctx)
	x.keptName = proxmox.NameFor(x.outName, x.outVMID, "-replaced-{id}")
	return x, err
}

func (b *Runbook) swapGuestBlockers(ctx context.Context, c *proxmox.Client, x exchange, a *args) (blockers []plan.Blocker, err error) {
	block := func(subject, why, hint string) {
		blockers = append(blockers, plan.Blocker{Subject: subject, Why: why, Hint: hint})
	}
	in := fmt.Sprintf("guest %d", x.in.VMID)
	switch {
	case x.inConf.Husk():
		block(in, "it is empty: its restore failed", "restore again")
	case x.in.Name != a.Guest:
		block(in, fmt.Sprintf("it is called %q, not %q: it was swapped in, or somebody changed it", x.in.Name, a.Guest), "look at it, and name it again as it was")
	case x.in.Lock != "":
		block(in, "it is locked ("+x.in.Lock+")", proxmox.LockHint(x.in))
	}
	guests := []int{x.in.VMID}
	if x.out != nil {
		guests = append(guests, x.outVMID)
		if x.out.Lock != "" {
			block(fmt.Sprintf("guest %d", x.outVMID), "it is locked ("+x.out.Lock+")", proxmox.LockHint(*x.out))
		}
		if x.out.Kind != x.in.Kind {
			block(fmt.Sprintf("guest %d", x.outVMID), "it is of another kind than what was restored", "it is another guest by now: exchange nothing")
		}
	}
	need := func(path string, privileges ...string) error {
		have, err := c.Privileges(ctx, path)
		if err != nil {
			return fmt.Errorf("reading what the acting token may do with %s: %w", path, err)
		}
		for _, p := range privileges {
			if !have[p] {
				block("acting token", "it lacks "+p+" on "+path, "grant it, to the user and to the token")
			}
		}
		return nil
	}
	for _, id := range guests {
		if err := need(fmt.Sprintf("/vms/%d", id), "VM.Config.Options", "VM.Config.Network", "VM.PowerMgmt"); err != nil {
			return blockers, err
		}
	}
	var root []string
	if len(x.jobChanges()) > 0 {
		root = append(root, "Sys.Modify")
	}
	if x.service() != nil {
		root = append(root, "Sys.Console")
	}
	return blockers, need("/", root...)
}

// service is the original's entry in high availability; nil: it has none.
func (x exchange) service() *proxmox.HAResource {
	for _, r := range x.ha {
		if r.SID == proxmox.ServiceID(x.in.Kind, x.outVMID) {
			return &r
		}
	}
	return nil
}

func (x exchange) jobChanges() (changes []jobChange) {
	for _, j := range x.jobs {
		if now, changed := j.Instead(x.outVMID, x.in.VMID, x.out != nil); changed {
			changes = append(changes, jobChange{j.ID, now, j.Guests()})
		}
	}
	return changes
}

// jobbed is how many enabled jobs take a guest.
func jobbed(jobs []proxmox.BackupJob, vmid int, node, pool string) (n int) {
	for _, j := range jobs {
		if j.Covers(vmid, node, pool) {
			n++
		}
	}
	return n
}

func (x exchange) notes() (notes []string) {
	node := x.in.Node
	if x.out != nil {
		notes = append(notes, fmt.Sprintf("The original stays as %s %d, stopped, unplugged and out of the backup jobs, with its snapshots.", x.keptName, x.outVMID))
		node = x.out.Node
	}
	if node != x.in.Node {
		notes = append(notes, "It lies on node "+x.in.Node+" now: backup jobs and resources that are bound to node "+node+" do not follow.")
	}
	if jobbed(x.jobs, x.outVMID, node, x.pools[x.outVMID]) == 0 {
		notes = append(notes, "No enabled backup job takes the original: put the restored guest into one.")
	}
	if x.service() != nil {
		notes = append(notes, "Rules of high availability that name the original (PVE 9) are not changed.")
	}
	return append(notes,
		fmt.Sprintf("Backups of it go on under VMID %d, as a group of its own; the first one reads the whole guest. Those made until now as VMID %d count as its own: a tag says so. In the configuration, [guest.\"%s/%d\"] becomes [guest.\"%s/%d\"].", x.in.VMID, x.outVMID, x.cluster, x.outVMID, x.cluster, x.in.VMID),
		x.wallNote()+" Replication jobs are not carried over.")
}

func (x exchange) wallNote() string {
	switch {
	case x.out == nil:
		return "Its firewall is that of the backup."
	case x.outWall.Same(x.inWall):
		return "Its firewall is the original's."
	}
	return fmt.Sprintf("Its firewall becomes the original's as it is now: %d rules instead of the backup's %d.", len(x.outWall.Rules), len(x.inWall.Rules))
}

// addWall gives the restored guest the original's firewall, before it is started.
func (b *Runbook) addWall(p *plan.Plan, x exchange, in args, path string) {
	if x.out == nil || x.outWall.Same(x.inWall) {
		return
	}
	in.Swap = &swapGuestArgs{Role: "in", Wall: &x.outWall, Before: &x.inWall}
	b.addStep(p, kindFirewall, "give it the original's firewall", fmt.Sprintf("POST, PUT %s/firewall: %d rules", path, len(x.outWall.Rules)), in, true, 0)
}

// addExchange are the steps. The original is stopped before the addresses change
// hands: a running guest would take its new ones at its next start only.
func (b *Runbook) addExchange(p *plan.Plan, x exchange) {
	in := args{Cluster: x.cluster, VMID: x.in.VMID, Guest: x.in.Name}
	inPath := apiPath(Guest{x.cluster, x.in})
	outSet, inSet := proxmox.Exchange(x.in.Kind, x.outConf, x.inConf, x.outName, x.keptName)
	start := x.in.Running
	if start { // the original is stopped for one that works only
		first := in
		first.Swap = &swapGuestArgs{Role: "in", Policy: x.outVMID}
		b.addStep(p, kindCheckGuest, "check that the restored guest works, before the original is stopped", "GET "+inPath+"/status/current, agent or port", first, false, 0)
	}
	outNode := x.in.Node
	if x.out != nil {
		out := args{Cluster: x.cluster, VMID: x.outVMID, Guest: x.outName}
		outPath := apiPath(Guest{x.cluster, *x.out})
		start, outNode = x.out.Running, x.out.Node
		if r := x.service(); r != nil {
			ha := out
			ha.Swap = &swapGuestArgs{Role: "out", HA: r, Remove: true}
			b.addStep(p, kindHA, "take the original out of high availability", "DELETE /cluster/ha/resources/"+r.SID, ha, true, 0)
		}
		if x.out.Running {
			b.addStep(p, kindShutdown, "shut the original down", fmt.Sprintf("POST %s/status/shutdown timeout=%d forceStop=1", outPath, shutdownPatience), out, true, 0)
		}
		out.Swap = &swapGuestArgs{Role: "out", Kind: x.in.Kind, Set: outSet, Was: x.outConf.Was(outSet)}
		b.addStopRestored(p, x, in, inPath)
		b.addStep(p, kindConfigure, "rename the original, unplug it, and keep it from starting", "PUT "+outPath+"/config "+outSet.Show(), out, true, 0)
	} else {
		b.addStopRestored(p, x, in, inPath)
	}
	named := in
	named.Swap = &swapGuestArgs{Role: "in", Kind: x.in.Kind, Set: inSet, Was: x.inConf.Was(inSet)}
	b.addStep(p, kindConfigure, "give the restored guest the name, addresses and start order of the original", "PUT "+inPath+"/config "+inSet.Show(), named, true, 0)
	in.Guest = x.outName
	b.addWall(p, x, in, inPath)
	b.addLineage(p, x, in, inPath)
	b.addJobs(p, x, in)
	if start {
		b.addStep(p, kindStart, "start it", "POST "+inPath+"/status/start", in, false, 0)
	}
	if r := x.service(); r != nil {
		ha, moved := in, *r
		moved.SID = proxmox.ServiceID(x.in.Kind, x.in.VMID)
		ha.Swap = &swapGuestArgs{Role: "in", HA: &moved}
		b.addStep(p, kindHA, "put it under high availability as the original was", "POST /cluster/ha/resources sid="+moved.SID+" state="+moved.State, ha, true, 0)
	}
	in.Swap = &swapGuestArgs{Role: "in", Policy: x.outVMID, Jobbed: jobbed(x.jobs, x.outVMID, outNode, x.pools[x.outVMID])}
	if start {
		b.addStep(p, kindCheckGuest, "check that it works", "GET "+inPath+"/status/current, agent or port", in, false, 0)
	}
	b.addStep(p, kindCheckProtected, "check that it is in the backup jobs that the original was in", "GET /cluster/backup, /cluster/backup-info/not-backed-up", in, false, 0)
}

func (b *Runbook) addStopRestored(p *plan.Plan, x exchange, in args, path string) {
	if x.in.Running {
		b.addStep(p, kindShutdown, "shut the restored guest down, to give it its place", fmt.Sprintf("POST %s/status/shutdown timeout=%d forceStop=1", path, shutdownPatience), in, true, 0)
	}
}

func (b *Runbook) addJobs(p *plan.Plan, x exchange, in args) {
	changes, pool := x.jobChanges(), x.pools[x.outVMID]
	if pool == x.pools[x.in.VMID] {
		pool = ""
	}
	if len(changes) == 0 && pool == "" {
		return
	}
	in.Swap = &swapGuestArgs{Role: "in", Jobs: changes, Pool: pool}
	b.addStep(p, kindJobs, "put it into the backup jobs in the original's stead", jobsShow(changes, pool), in, true, 0)
}

func jobsShow(changes []jobChange, pool string) string {
	var parts []string
	for _, ch := range changes {
		if ch.Now.All {
			parts = append(parts, fmt.Sprintf("PUT /cluster/backup/%s exclude=%v", ch.ID, ch.Now.Exclude))
		} else {
			parts = append(parts, fmt.Sprintf("PUT /cluster/backup/%s vmid=%v", ch.ID, ch.Now.VMIDs))
		}
	}
	if pool != "" {
		parts = append(parts, "PUT /pools/"+pool)
	}
	return strings.Join(parts, "; ")
}

// fingerprint names the state of both guests, and of the jobs.
func (x exchange) fingerprint() string {
	text := removalState(x.in, x.inConf)
	if x.out != nil {
		text += removalState(*x.out, x.outConf)
	}
	for _, j := range x.jobs {
		text += fmt.Sprintf("\x00%s %t %v %v", j.ID, j.All, j.VMIDs, j.Exclude)
	}
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:8])
}

// swapGuestFingerprint reads the state again that an exchange was planned for.
func (b *Runbook) swapGuestFingerprint(ctx context.Context, p plan.Plan) (string, error) {
	x := exchange{}
	var c *proxmox.Client
	for _, s := range p.Steps {
		if s.Kind != kindConfigure {
			continue
		}
		one, a, err := b.open(s)
		if err != nil || a.Swap == nil {
			return "", fmt.Errorf("reading what step %s is to do: %w", s.ID, err)
		}
		c = one
		g, conf, err := c.Current(ctx, a.VMID)
		if err != nil {
			return "", err
		}
		if a.Swap.Role == "in" {
			x.in, x.inConf = g, conf
		} else {
			x.out, x.outConf = &g, conf
		}
	}
	var err error
	x.jobs, err = c.Jobs(ctx)
	return x.fingerprint(), err
}

// AddHA adds that a guest comes under high availability again, as it was.
func (b *Runbook) AddHA(p *plan.Plan, cluster string, vmid int, r proxmox.HAResource) {
	ha := args{Cluster: cluster, VMID: vmid, Swap: &swapGuestArgs{Role: "in", HA: &r}}
	b.addStep(p, kindHA, "put "+r.SID+" under high availability again, as it was", "POST /cluster/ha/resources sid="+r.SID+" state="+r.State, ha, false, 0)
}
