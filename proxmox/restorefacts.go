package proxmox

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
)

// RestoreQuery says what a restore would do: which backup, where to.
type RestoreQuery struct {
	Guest   int // VMID of the guest that is to come back
	Made    int // VMID that its backup was made as, before it took that one's place; 0: its own
	Volume  string
	Node    string
	VMID    int    // of the restored guest
	Storage string // for its disks; empty: the archive's own
	InPlace bool
	Again   bool // as it was: the guest is gone
	Roomy   bool // a person says that the disks are mostly empty: thin storages may be smaller
}

// Origin is the VMID that the backup was made as.
func (q RestoreQuery) Origin() int { return cmp.Or(q.Made, q.Guest) }

// RestoreFacts is all that a restore's preflight looks at, read anew.
type RestoreFacts struct {
	RestoreQuery
	Cluster    string
	Original   *Guest // as it is now; nil: it is gone
	Now        Configuration
	Snapshots  []Snapshot
	Point      RestorePoint
	Found      bool // the backup is there
	Archive    Configuration
	ArchiveErr string // why the configuration inside the backup could not be read
	Nodes      []Node
	Holder     string // who has the new VMID now; empty: nobody
	Source     *Storage
	SourceKey  string    // fingerprint of the key that the source storage has; "1": one of which nothing is known
	Storages   []Storage // as the node sees them
	Tasks      []Task    // that run on the node and on the original's
	OwnTasks   bool
	Privileges map[string]map[string]bool // of the acting token, by path
	Zones      map[string]string          // SDN zone of each virtual network
}

// Online says whether the node that would restore is.
func (f RestoreFacts) Online() bool { return slices.Contains(f.Nodes, Node{f.Node, true}) }

// RestoreFacts reads what RestoreBlockers looks at.
func (c *Client) RestoreFacts(ctx context.Context, q RestoreQuery) (RestoreFacts, error) {
	f := RestoreFacts{RestoreQuery: q, Cluster: c.name, Privileges: map[string]map[string]bool{}}
	var found rows[resource]
	if err := c.reading.get(ctx, "/cluster/resources", &found); err != nil {
		return f, fmt.Errorf("looking at the cluster: %w", err)
	}
	all := sortResources(found)
	f.Nodes = all.nodes
	if err := c.readOriginal(ctx, all, &f); err != nil {
		return f, err
	}
	if !f.Online() {
		return f, nil // nothing more can be asked of it; it blocks
	}
	points, missing, err := c.RestorePoints(ctx, q.Origin())
	if err != nil {
		return f, err
	}
	for _, p := range points {
		if p.Volume == q.Volume {
			f.Point, f.Found = p, true
		}
	}
	if !f.Found && len(missing) > 0 {
		f.ArchiveErr = missing[0].Subject + ": " + missing[0].Err
	}
	f.Point.Node = q.Node
	if err := c.readTargets(ctx, &f); err != nil {
		return f, err
	}
	if f.Found && !f.Point.InFlight {
		if f.Archive, err = c.ArchiveConfig(ctx, f.Point); err != nil {
			f.Archive, f.ArchiveErr = nil, err.Error()
		}
	}
	return f, c.readRights(ctx, &f)
}

// readOriginal reads the guest that was backed up, and who has the new VMID.
func (c *Client) readOriginal(ctx context.Context, all resources, f *RestoreFacts) error {
	for _, r := range all.guests {
		if int(r.VMID) == f.VMID && !f.InPlace {
			f.Holder = fmt.Sprintf("%s %s", guestWord(GuestKind(r.Type)), r.Name)
		}
		if int(r.VMID) != f.Guest {
			continue
		}
		g := r.facts()
		f.Original = &g
		if !all.online(g.Node) {
			continue // what is lost is not asked; the row says what is known
		}
		now, config, err := c.Current(ctx, f.Guest)
		if err != nil {
			return fmt.Errorf("reading guest %d: %w", f.Guest, err)
		}
		f.Original, f.Now = &now, config
		var found rows[wireSnapshot]
		if err := c.reading.get(ctx, r.path()+"/snapshot", &found); err != nil {
			return fmt.Errorf("reading the snapshots of guest %d: %w", f.Guest, err)
		}
		f.Snapshots = newTree(found).Snapshots
	}
	return nil
}

// readTargets reads the node's storages and what runs there.
func (c *Client) readTargets(ctx context.Context, f *RestoreFacts) error {
	var err error
	if f.Storages, f.SourceKey, err = c.storagesOf(ctx, f.Node, f.sourceName()); err != nil {
		return err
	}
	for i, s := range f.Storages {
		if s.Name == f.sourceName() {
			f.Source = &f.Storages[i]
		}
	}
	nodes := []string{f.Node}
	if f.Original != nil && f.Original.Node != f.Node && slices.Contains(f.Nodes, Node{f.Original.Node, true}) {
		nodes = append(nodes, f.Original.Node)
	}
	for _, node := range nodes {
		tasks, err := c.runningTasks(ctx, node)
		if err != nil {
			return err
		}
		f.Tasks = append(f.Tasks, tasks...)
	}
	f.OwnTasks, err = c.seesOwnTasksOnly(ctx, f.Node)
	return err
}

func (f RestoreFacts) sourceName() string {
	name, _, _ := strings.Cut(f.Volume, ":")
	return name
}

// storagesOf reads a node's storages from the node itself, disabled ones too, and
// the fingerprint of the key that one of them encrypts with.
func (c *Client) storagesOf(ctx context.Context, node, keyOf string) (found []Storage, key string, err error) {
	var definitions rows[storageConfig]
	if err := c.reading.get(ctx, "/storage", &definitions); err != nil {
		return nil, "", fmt.Errorf("reading the definitions of the storages: %w", err)
	}
	view := storageView{configs: map[string]storageConfig{}, pools: map[string][]thinPool{}}
	for _, d := range definitions.all {
		view.configs[string(d.Storage)] = d
		if string(d.Storage) == keyOf {
			key = string(d.Key)
		}
	}
	var here rows[nodeStorage]
	if err := c.reading.get(ctx, "/nodes/"+url.PathEscape(node)+"/storage", &here); err != nil {
		return nil, "", fmt.Errorf("reading the storages of node %s: %w", node, err)
	}
	var pools rows[thinPool]
	if c.reading.get(ctx, "/nodes/"+url.PathEscape(node)+"/disks/lvmthin", &pools) == nil {
		view.pools[node] = pools.all
	} // without it the metadata is not known, which Storage.Meta shows
	for _, n := range here.all {
		s := Storage{Name: string(n.Storage), Node: node, Type: string(n.Type), Shared: bool(n.Shared),
			Active: bool(n.Active), Enabled: bool(n.Enabled), Content: list(string(n.Content))}
		if s.Active {
			s.Total, s.Used, s.Available = int64(n.Total), int64(n.Used), max(int64(n.Available), 0)
		}
		found = append(found, view.define(s))
	}
	slices.SortFunc(found, func(a, b Storage) int { return strings.Compare(a.Name, b.Name) })
	return found, key, nil
}

// readRights reads what the acting token may do with each thing that is touched.
func (c *Client) readRights(ctx context.Context, f *RestoreFacts) error {
	f.Zones = c.zones(ctx)
	paths := []string{fmt.Sprintf("/vms/%d", f.Origin()), fmt.Sprintf("/vms/%d", f.VMID), "/storage/" + f.sourceName()}
	for _, t := range f.Targets() {
		paths = append(paths, "/storage/"+t.Name)
	}
	if f.privileged() {
		paths = append(paths, "/")
	}
	for _, b := range f.Archive.Bridges() {
		paths = append(paths, f.bridgePath(b))
	}
	for _, path := range paths {
		if _, known := f.Privileges[path]; known {
			continue
		}
		granted, err := c.Privileges(ctx, path)
		if err != nil {
			return fmt.Errorf("reading what the acting token may do with %s: %w", path, err)
		}
		f.Privileges[path] = granted
	}
	return nil
}

// zones tells the zone of each virtual network; a plain bridge is in none. A
// cluster without SDN has no such call to answer, which means the same.
func (c *Client) zones(ctx context.Context) map[string]string {
	var found rows[struct {
		Name text `json:"vnet"`
		Zone text `json:"zone"`
	}]
	zones := map[string]string{}
	if c.reading.get(ctx, "/cluster/sdn/vnets", &found) == nil {
		for _, v := range found.all {
			zones[string(v.Name)] = string(v.Zone)
		}
	}
	return zones
}

func (f RestoreFacts) bridgePath(bridge string) string {
	name, _, _ := strings.Cut(bridge, "/")
	zone := f.Zones[name]
	if zone == "" {
		zone = "localnetwork"
	}
	return "/sdn/zones/" + zone + "/" + bridge
}

// TargetStorage is a storage that the restore writes to, and how much at the most.
type TargetStorage struct {
	Name  string
	Bytes int64 // the full size of the disks that go there
	Disks []Disk
}

// Targets are the storages that a restore writes to. All disks go to the one that
// is asked for, or each to where the archive says.
func (f RestoreFacts) Targets() []TargetStorage {
	var all []TargetStorage
	for _, d := range f.Disks() {
		name := f.Storage
		if name == "" {
			name = cmp.Or(d.Storage, hostDisksGoTo)
		}
		i := slices.IndexFunc(all, func(t TargetStorage) bool { return t.Name == name })
		if i < 0 {
			i = len(all)
			all = append(all, TargetStorage{Name: name})
		}
		all[i].Bytes += d.Size
		all[i].Disks = append(all[i].Disks, d)
	}
	if len(all) == 0 && f.Storage != "" {
		all = append(all, TargetStorage{Name: f.Storage, Bytes: f.Point.Size})
	}
	return all
}

// hostDisksGoTo is the storage that PVE puts a VM's disk on that was a disk of the host
// passed to it, where the call names none: the backup holds it whole.
const hostDisksGoTo = "local"

// Disks are those that the backup holds: of a VM also a disk of the host that was
// passed to it, which comes back as a volume.
func (f RestoreFacts) Disks() []Disk {
	return slices.DeleteFunc(f.Archive.Disks(f.Point.Kind), func(d Disk) bool { return d.NoBackup || d.Storage == "" && f.Point.Kind != QEMU })
}

// Bytes is the full size of the disks, or of the backup where they do not say.
func (f RestoreFacts) Bytes() int64 {
	var total int64
	for _, d := range f.Disks() {
		total += d.Size
	}
	return max(total, f.Point.Size)
}

// Fingerprint names the state that a plan is made for: the backup, the new VMID's
// being free, and in place all of the guest that would be destroyed.
func (f RestoreFacts) Fingerprint() string {
	var b strings.Builder
	p := f.Point
	fmt.Fprintf(&b, "%s\x00%d\x00%t\x00%s\x00%d\x00%d\x00%s\x00%s\x00", f.Cluster, f.Guest, f.Found, p.Volume, p.Taken.Unix(), p.Size, p.Verified, p.Key)
	fmt.Fprintf(&b, "%s\x00%d\x00%s\x00%s\x00", f.Node, f.VMID, f.Holder, f.Storage)
	if f.Original != nil {
		fmt.Fprintf(&b, "%s\x00%s\x00%s\x00", f.Original.Name, f.Original.Kind, f.Original.Node)
	}
	if f.Original != nil && f.InPlace {
		fmt.Fprintf(&b, "%t\x00%s\x00%s\x00", f.Original.Running, f.Original.Lock, f.Now["digest"])
		for _, s := range f.Snapshots {
			fmt.Fprintf(&b, "%s\x00%d\x00", s.Name, s.Taken.Unix())
		}
	}
	sum := sha256.Sum256([]byte(b.String()))
	return hex.EncodeToString(sum[:8])
}

// Loss is how long before now the backup was taken, in one sentence.
func (f RestoreFacts) Loss(now time.Time) string { return f.Point.Loss(now) }

// NameFor is the name of a guest that is restored beside the original: it ends
// with mark, by which it is found again, and is no longer than a DNS label.
func NameFor(original string, vmid int, mark string) string {
	if CheckGuestName(original) != nil {
		original = fmt.Sprintf("guest%d", vmid)
	}
	const longest, id = 63, len("20261121-99999")
	room := longest - (len(mark) - len("{id}") + id)
	dot := strings.LastIndexByte(original, '.') + 1
	if last := original[dot:]; len(last) > room {
		original = original[:dot] + strings.TrimRight(last[:room], "-")
	}
	return original + mark
}

// NodeStorages reads a node's storages from the node itself.
func (c *Client) NodeStorages(ctx context.Context, node string) ([]Storage, error) {
	found, _, err := c.storagesOf(ctx, node, "")
	return found, err
}
