package pve

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// guest is a VM or container as it is now.
type guest struct {
	vmid    int
	kind    Kind
	node    string
	config  map[string]string
	pending map[string]string // waits for the next start
	snaps   []*snapshot
	running bool
	started time.Time
	pid     int

	firewall firewall

	noOS, noAgent bool
	warn          string
}

type snapshot struct {
	name, parent, description string
	time                      time.Time
	state                     string
	ram                       string            // volume of the memory; empty: none
	config                    map[string]string // as it was, without description and lock
	lost                      bool              // its data is gone behind PVE's back
}

// section is the snapshot as its part of the configuration file.
func (x *snapshot) section() map[string]string {
	all := maps.Clone(x.config)
	if x.parent != "" {
		all["parent"] = x.parent
	}
	if x.description != "" {
		all["description"] = x.description
	}
	if x.state != "" {
		all["snapstate"] = x.state
	}
	if !x.time.IsZero() {
		all["snaptime"] = fmt.Sprint(x.time.Unix())
	}
	if x.ram != "" {
		all["vmstate"] = x.ram
		all["runningmachine"], all["runningcpu"] = "pc-i440fx-10.0+pve0", "qemu64"
	}
	return all
}

func (g *guest) snapshot(name string) *snapshot {
	for _, x := range g.snaps {
		if x.name == name {
			return x
		}
	}
	return nil
}

func (g *guest) lock() string { return g.config["lock"] }

// word is what PVE calls the guest in messages.
func (g *guest) word() string {
	if g.kind == LXC {
		return "CT"
	}
	return "VM"
}

func (g *guest) checkLock() error {
	if l := g.lock(); l != "" {
		return fail("%s is locked (%s)", g.word(), l)
	}
	return nil
}

func (g *guest) isTemplate() bool { return truth(g.config["template"]) }

func (g *guest) name() string {
	key, prefix := "name", "VM "
	if g.kind == LXC {
		key, prefix = "hostname", "CT"
	}
	if n := g.config[key]; n != "" {
		return n
	}
	return prefix + itoa(g.vmid)
}

func (g *guest) memory() int64 {
	if n := number(g.config["memory"]); n > 0 {
		return int64(n) << 20
	}
	return 512 << 20
}

func (g *guest) cpus() int {
	cores := max(1, number(g.config["cores"]))
	return cores * max(1, number(g.config["sockets"]))
}

// bootDisk is the size that lists show.
func (s *Server) bootDisk(g *guest) int64 {
	keys := []string{"rootfs"}
	if g.kind == QEMU {
		_, order, _ := strings.Cut(g.config["boot"], "order=")
		keys = append(strings.Split(order, ";"), g.config["bootdisk"])
		keys = append(keys, liveDisks(g.config)...)
	}
	for _, key := range keys {
		if v := s.volumes[volumeOf(key, g.config[key])]; v != nil {
			return v.size
		}
	}
	return 0
}

// confFile is the path in messages.
func confFile(node string, kind Kind, vmid int) string {
	dir := "qemu-server"
	if kind == LXC {
		dir = "lxc"
	}
	return fmt.Sprintf("nodes/%s/%s/%d.conf", node, dir, vmid)
}

func lockPath(kind Kind, vmid int) string {
	if kind == LXC {
		return fmt.Sprintf("/run/lock/lxc/pve-config-%d.lock", vmid)
	}
	return fmt.Sprintf("/var/lock/qemu-server/lock-%d.conf", vmid)
}

// load finds the guest that a call names on the node that it names.
func (s *Server) load(c *call) (*guest, error) {
	return s.loadGuest(s.nodeOf(c), c.kind(), c.vmid())
}

func (s *Server) loadGuest(node string, kind Kind, vmid int) (*guest, error) {
	g := s.guests[vmid]
	if g == nil || g.kind != kind || g.node != node {
		return nil, fail("Configuration file '%s' does not exist", confFile(node, kind, vmid))
	}
	return g, nil
}

func (s *Server) nodeOf(c *call) string {
	if n := c.get("node"); n != "localhost" && n != "" {
		return n
	}
	return s.local().Name
}

// kind is the guest's kind that the path names.
func (c *call) kind() Kind {
	if strings.Contains(c.path, "/lxc") {
		return LXC
	}
	return QEMU
}

// write is the point where a guest's configuration reaches /etc/pve: without
// quorum it does not.
func (s *Server) write(g *guest) error {
	if s.quorum {
		return nil
	}
	return fail("unable to open file '/etc/pve/%s.tmp.%d' - Permission denied", confFile(g.node, g.kind, g.vmid), 10000+g.vmid)
}

// addGuest makes a guest of the world, with its volumes and snapshots.
func (s *Server) addGuest(w Guest) error {
	if w.Kind == "" {
		w.Kind = QEMU
	}
	if w.Node == "" {
		w.Node = s.local().Name
	}
	if s.node(w.Node) == nil {
		return fmt.Errorf("no node %q", w.Node)
	}
	if s.guests[w.VMID] != nil {
		return fmt.Errorf("given twice")
	}
	g := &guest{vmid: w.VMID, kind: w.Kind, node: w.Node, config: maps.Clone(w.Config), noOS: w.NoOS, noAgent: w.NoAgent, warn: w.Warn}
	if g.config == nil {
		g.config = map[string]string{}
	}
	if w.Running {
		g.running, g.started, g.pid = true, w.Started, 2000+w.VMID
		if w.Started.IsZero() {
			g.started = s.now().Add(-time.Hour)
		}
	}
	s.guests[g.vmid] = g
	for _, key := range disksOf(g.config) {
		if err := s.addVolume(g, key, w); err != nil {
			return err
		}
	}
	for _, snap := range w.Snapshots {
		s.addSnapshot(g, w, snap)
	}
	for _, h := range w.HiddenZFS {
		s.addHidden(g, h.Name, h.After)
	}
	return nil
}

func (s *Server) addVolume(g *guest, key string, w Guest) error {
	value := g.config[key]
	id := volumeOf(key, value)
	store, _, _ := strings.Cut(id, ":")
	st := s.storage(store)
	if st == nil {
		return fmt.Errorf("%s: no storage %q", key, store)
	}
	size := bytesOf(option(value, "size"))
	if size == 0 {
		size = 8 << 30
	}
	used := w.Used[key]
	if used == 0 {
		used = size / 8
	}
	s.volumes[id] = &volume{id: id, vmid: g.vmid, kind: g.kind, format: st.formatOf(id, g.kind), size: size, used: used,
		content: w.Content[key], made: s.now().Add(-24 * time.Hour)}
	return nil
}

func (s *Server) addSnapshot(g *guest, w Guest, snap Snapshot) {
	config := snap.Config
	if config == nil {
		config = g.config
	}
	made := &snapshot{name: snap.Name, parent: snap.Parent, description: snap.Description, time: snap.Time, state: snap.State,
		config: frozen(config)}
	g.snaps = append(g.snaps, made)
	for _, key := range disksOf(made.config) {
		v := s.volumes[volumeOf(key, made.config[key])]
		if v == nil {
			continue
		}
		content, ok := snap.Content[key]
		if !ok {
			content = v.content
		}
		v.snaps = append(v.snaps, volumeSnapshot{name: snap.Name, content: content})
	}
	if snap.RAM {
		made.ram = s.stateVolume(g, snap.Name)
	}
}

// frozen is a configuration as a snapshot keeps it.
func frozen(config map[string]string) map[string]string {
	kept := maps.Clone(config)
	for _, key := range []string{"description", "lock", "parent"} {
		delete(kept, key)
	}
	maps.DeleteFunc(kept, func(k, _ string) bool { return strings.HasPrefix(k, "unused") })
	return kept
}

// addHidden puts a ZFS snapshot on each of the guest's volumes.
func (s *Server) addHidden(g *guest, name, after string) {
	for _, key := range disksOf(g.config) {
		v := s.volumes[volumeOf(key, g.config[key])]
		if v == nil {
			continue
		}
		at := 0
		for i, x := range v.snaps {
			if x.name == after {
				at = i + 1
			}
		}
		v.snaps = slices.Insert(v.snaps, at, volumeSnapshot{name: name, content: v.content, hidden: true})
	}
}
