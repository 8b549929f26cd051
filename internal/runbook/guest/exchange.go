package guest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"cairn/internal/plan"
	"cairn/proxmox"
)

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

func (b *Runbook) swapBlockers(ctx context.Context, c *proxmox.Client, x exchange, a *args) (blockers []plan.Blocker, err error) {
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
	if text := x.inConf.NotSet(x.outConf, fmt.Sprint(x.in.VMID)); text != "" {
		notes = append(notes, text)
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

// fingerprint names the state of both guests, and of the jobs.
func (x exchange) fingerprint() string {
	text := stateOf(x.in, x.inConf)
	if x.out != nil {
		text += stateOf(*x.out, x.outConf)
	}
	for _, j := range x.jobs {
		text += fmt.Sprintf("\x00%s %t %v %v", j.ID, j.All, j.VMIDs, j.Exclude)
	}
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:8])
}

// swapFingerprint reads the state again that an exchange was planned for.
func (b *Runbook) swapFingerprint(ctx context.Context, p plan.Plan) (string, error) {
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
