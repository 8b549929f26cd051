package pve

import (
	"maps"
	"regexp"
	"slices"
	"strings"
)

// guestRoutes are those of both kinds.
func guestRoutes() []route {
	var all []route
	for _, kind := range []string{"qemu", "lxc"} {
		base := "/nodes/{node}/" + kind
		one := base + "/{vmid}"
		change := "/vms/{vmid} VM.Config.Disk|VM.Config.CDROM|VM.Config.CPU|VM.Config.Memory|VM.Config.Network|VM.Config.HWType|VM.Config.Options|VM.Config.Cloudinit"
		list, vmstate := "node full?:bool", " vmstate?:bool"
		power := "node vmid skiplock? timeout? forceStop?:bool keepActive?:bool overrule-shutdown?:bool machine? stateuri? migratedfrom? targetstorage? debug?:bool"
		if kind == "lxc" {
			change = "/vms/{vmid} VM.Config.Disk|VM.Config.CPU|VM.Config.Memory|VM.Config.Network|VM.Config.Options"
			list, vmstate = "node", ""
		}
		audit, snap := "/vms/{vmid} VM.Audit", "/vms/{vmid} VM.Snapshot"
		all = append(all,
			route{method: "GET", path: base, flags: "forward", params: list, handler: (*Server).listGuests},
			route{method: "POST", path: base, flags: "forward", params: createParams(kind), handler: (*Server).createGuest},
			route{method: "DELETE", path: one, perm: "/vms/{vmid} VM.Allocate", flags: "forward", params: "node vmid skiplock? purge?:bool force? destroy-unreferenced-disks?:bool", handler: (*Server).destroyGuest},
			route{method: "GET", path: one, params: "node vmid", handler: (*Server).guestIndex},
			route{method: "GET", path: one + "/config", perm: audit, params: "node vmid current?:bool snapshot?:configid", handler: (*Server).getConfig},
			route{method: "PUT", path: one + "/config", perm: change, flags: "forward", params: "node vmid delete? digest? revert? skiplock? force? @" + kind, handler: (*Server).putConfig},
			route{method: "GET", path: one + "/pending", perm: audit, params: "node vmid", handler: (*Server).getPending},
			route{method: "GET", path: one + "/status/current", perm: audit, flags: "forward", params: "node vmid", handler: (*Server).guestStatus},
			route{method: "GET", path: one + "/feature", perm: audit, flags: "forward", params: "node vmid feature:enum=snapshot|clone|copy snapname?", handler: (*Server).feature},
			route{method: "POST", path: one + "/template", perm: "/vms/{vmid} VM.Allocate", flags: "forward", params: "node vmid disk?", handler: (*Server).makeTemplate},
			route{method: "POST", path: one + "/status/start", perm: "/vms/{vmid} VM.PowerMgmt", flags: "forward", params: power, handler: (*Server).startGuest},
			route{method: "POST", path: one + "/status/stop", perm: "/vms/{vmid} VM.PowerMgmt", flags: "forward", params: power, handler: (*Server).stopGuest},
			route{method: "POST", path: one + "/status/shutdown", perm: "/vms/{vmid} VM.PowerMgmt", flags: "forward", params: power, handler: (*Server).shutdownGuest},
			route{method: "POST", path: one + "/status/reboot", perm: "/vms/{vmid} VM.PowerMgmt", flags: "forward", params: power, handler: (*Server).rebootGuest},
			route{method: "GET", path: one + "/snapshot", perm: audit, flags: "forward", params: "node vmid", handler: (*Server).listSnapshots},
			route{method: "POST", path: one + "/snapshot", perm: snap, flags: "forward", params: "node vmid snapname description?" + vmstate, handler: (*Server).createSnapshot},
			route{method: "GET", path: one + "/snapshot/{snapname}", params: "node vmid snapname", handler: (*Server).snapshotIndex},
			route{method: "DELETE", path: one + "/snapshot/{snapname}", perm: snap, flags: "forward", params: "node vmid snapname force?", handler: (*Server).deleteSnapshot},
			route{method: "GET", path: one + "/snapshot/{snapname}/config", perm: "/vms/{vmid} VM.Snapshot|VM.Snapshot.Rollback|VM.Audit", params: "node vmid snapname", handler: (*Server).snapshotConfig},
			route{method: "PUT", path: one + "/snapshot/{snapname}/config", perm: snap, flags: "forward", params: "node vmid snapname description?", handler: (*Server).describeSnapshot},
			route{method: "POST", path: one + "/snapshot/{snapname}/rollback", perm: "/vms/{vmid} VM.Snapshot|VM.Snapshot.Rollback", flags: "forward", params: "node vmid snapname start?", handler: (*Server).rollback},
		)
	}
	return append(all,
		route{method: "POST", path: "/nodes/{node}/qemu/{vmid}/config", perm: "/vms/{vmid} VM.Config.Disk|VM.Config.CDROM|VM.Config.CPU|VM.Config.Memory|VM.Config.Network|VM.Config.HWType|VM.Config.Options|VM.Config.Cloudinit",
			flags: "forward", params: "node vmid delete? digest? revert? skiplock? force? background_delay?:int>=1 @qemu", handler: (*Server).postConfig},
		route{method: "POST", path: "/nodes/{node}/qemu/{vmid}/agent/ping", flags: "forward", params: "node vmid", handler: (*Server).agentPing})
}

func (s *Server) guestIndex(c *call) (any, error) {
	names := "config cloudinit pending status unlink vncproxy termproxy migrate resize move rrd rrddata monitor agent snapshot spiceproxy sendkey firewall mtunnel remote_migrate"
	if c.kind() == LXC {
		names = "config status vncproxy termproxy vncwebsocket spiceproxy migrate clone initlog rrd rrddata firewall snapshot resize interfaces mtunnel remote_migrate"
	}
	rows := rowsOf(20)
	for _, n := range strings.Fields(names) {
		rows = append(rows, object{"subdir": n})
	}
	return rows, nil
}

// object is a configuration in the types of the API. Options of LXC itself are pairs
// in a list.
func configObject(kind Kind, config map[string]string) object {
	row := object{}
	var raw [][]string
	for _, key := range slices.Sorted(maps.Keys(config)) {
		if !strings.HasPrefix(key, "lxc.") {
			row[key] = typed(kind, key, config[key])
			continue
		}
		for value := range strings.SplitSeq(config[key], "\n") {
			raw = append(raw, []string{key, value})
		}
	}
	if raw != nil {
		row["lxc"] = raw
	}
	return row
}

func (s *Server) getConfig(c *call) (any, error) {
	g, err := s.load(c)
	if err != nil {
		return nil, err
	}
	if name := c.get("snapshot"); name != "" {
		x := g.snapshot(name)
		if x == nil {
			return nil, fail("snapshot '%s' does not exist", name)
		}
		row := configObject(g.kind, x.section())
		row["digest"] = g.digest()
		return row, nil
	}
	config := maps.Clone(g.config)
	if !c.flag("current") {
		for key, value := range g.pending {
			if key != "delete" {
				config[key] = value
			}
		}
		for _, key := range splitList(g.pending["delete"]) {
			delete(config, key)
		}
	}
	row := configObject(g.kind, config)
	row["digest"] = g.digest()
	return row, nil
}

func (s *Server) getPending(c *call) (any, error) {
	g, err := s.load(c)
	if err != nil {
		return nil, err
	}
	rows := rowsOf(len(g.config))
	gone := splitList(g.pending["delete"])
	for key, value := range g.config {
		row := object{"key": key, "value": typed(g.kind, key, value)}
		if p, ok := g.pending[key]; ok {
			row["pending"] = typed(g.kind, key, p)
		}
		if slices.Contains(gone, key) {
			row["delete"] = 1
		}
		rows = append(rows, row)
	}
	for key, value := range g.pending {
		if _, ok := g.config[key]; !ok && key != "delete" {
			rows = append(rows, object{"key": key, "pending": typed(g.kind, key, value)})
		}
	}
	return shuffled(append(rows, object{"key": "digest", "value": g.digest()})), nil
}

// configPrivilege is the one that changing an option takes.
func configPrivilege(kind Kind, key string) string {
	m := numbered.FindStringSubmatch(key)
	bare := key
	if m != nil {
		bare = m[1]
	}
	switch bare {
	case "cores", "sockets", "cpu", "cpulimit", "cpuunits", "vcpus", "kvm", "numa":
		return "VM.Config.CPU"
	case "memory", "balloon", "shares", "swap":
		return "VM.Config.Memory"
	case "net", "nameserver", "searchdomain", "ipconfig":
		return "VM.Config.Network"
	case "scsi", "virtio", "sata", "ide", "efidisk", "tpmstate", "unused", "rootfs", "mp":
		return "VM.Config.Disk"
	case "vga", "scsihw", "machine", "bios", "watchdog", "serial", "usb", "hostpci", "audio", "rng", "arch", "tablet", "keyboard":
		if kind == QEMU {
			return "VM.Config.HWType"
		}
	case "cicustom", "cipassword", "citype", "ciuser", "sshkeys":
		return "VM.Config.Cloudinit"
	}
	return "VM.Config.Options"
}

// changes are the options that a call sets.
func (c *call) changes() map[string]string {
	set := map[string]string{}
	for name := range c.given {
		if _, ok := kindIn([]string{string(c.kind())}, name); ok {
			set[name] = c.params[name]
		}
	}
	return set
}

func (s *Server) putConfig(c *call) (any, error) {
	if c.has("skiplock") {
		return nil, invalid("skiplock", "Only root may use this option.")
	}
	g, err := s.load(c)
	if err != nil {
		return nil, err
	}
	if err := s.mayChange(c, g); err != nil {
		return nil, err
	}
	return nil, s.lockedCall(g.kind, g.vmid, func() error { return s.change(c, g) })
}

func (s *Server) mayChange(c *call, g *guest) error {
	keys := append(slices.Collect(maps.Keys(c.changes())), splitList(c.get("delete"))...)
	for _, key := range keys {
		if key == "lock" {
			if g.kind == LXC {
				continue
			}
			return fail("only root can set 'lock' config")
		}
		if err := s.need(c.who, "/vms/"+itoa(g.vmid), configPrivilege(g.kind, key)); err != nil {
			return err
		}
	}
	return nil
}

// hot are the options that a running guest takes at once.
var hot = regexp.MustCompile(`^(name|hostname|description|tags|onboot|startup|protection|agent|unused\d+|hookscript)$`)

// change sets and deletes options; on a running VM most wait for its next start.
func (s *Server) change(c *call, g *guest) error {
	if s.guests[g.vmid] != g {
		return fail("Configuration file '%s' does not exist", confFile(g.node, g.kind, g.vmid))
	}
	if d := c.get("digest"); d != "" && d != g.digest() {
		return fail("checksum mismatch (file change by other user?)")
	}
	if err := g.checkLock(); err != nil {
		return err
	}
	if err := s.write(g); err != nil {
		return err
	}
	var plugged []string
	for key, value := range c.changes() {
		value, hotplug := s.prepareValue(g, key, value)
		if key == "description" {
			value = trimDescription(value)
		}
		if g.running && !hot.MatchString(key) && !hotplug {
			g.pend(key, value)
			if m := numbered.FindStringSubmatch(key); m != nil && m[1] == "net" {
				plugged = append(plugged, key)
			}
			continue
		}
		if key == "description" && value == "" {
			delete(g.config, key)
			continue
		}
		g.config[key] = value
	}
	for _, key := range splitList(c.get("delete")) {
		s.removeOption(g, key)
	}
	for _, key := range splitList(c.get("revert")) {
		delete(g.pending, key)
	}
	if len(plugged) > 0 && g.kind == QEMU {
		errs := map[string]string{}
		for _, key := range plugged {
			errs[key] = "hotplug problem - error unplug " + key + "\n"
		}
		return invalids(errs)
	}
	return nil
}

func (g *guest) pend(key, value string) {
	if g.pending == nil {
		g.pending = map[string]string{}
	}
	g.pending[key] = value
}

// prepareValue makes the volume that "store:8" asks for, and a MAC address; a
// link state alone is taken by a running VM.
func (s *Server) prepareValue(g *guest, key, value string) (string, bool) {
	if m := numbered.FindStringSubmatch(key); m != nil && m[1] == "net" && g.kind == QEMU {
		value = withMAC(value, false)
		return value, withoutLink(value) == withoutLink(g.config[key])
	}
	return s.newDisk(g, key, value), false
}

func withoutLink(net string) string {
	parts := slices.DeleteFunc(strings.Split(net, ","), func(p string) bool { return strings.HasPrefix(p, "link_down") })
	return strings.Join(parts, ",")
}

// removeOption deletes an option; a disk that is taken out becomes unused.
func (s *Server) removeOption(g *guest, key string) {
	value, ok := g.config[key]
	if !ok {
		return
	}
	if g.running && !hot.MatchString(key) {
		g.pend("delete", strings.Trim(g.pending["delete"]+","+key, ","))
		return
	}
	delete(g.config, key)
	id := volumeOf(key, value)
	switch {
	case id == "":
	case strings.HasPrefix(key, "unused"):
		delete(s.volumes, id)
	default:
		g.unuse(id)
	}
}

// unuse keeps a volume as the first free unusedN.
func (g *guest) unuse(id string) {
	for n := 0; ; n++ {
		if key := "unused" + itoa(n); g.config[key] == "" {
			g.config[key] = id
			return
		}
	}
}

func (s *Server) postConfig(c *call) (any, error) {
	g, err := s.load(c)
	if err != nil {
		return nil, err
	}
	if err := s.mayChange(c, g); err != nil {
		return nil, err
	}
	return s.fork(c.who, g.node, "qmconfig", itoa(g.vmid), func(w *worker) error {
		return w.locked(g.kind, g.vmid, func() error { return s.change(c, g) })
	}), nil
}

func (s *Server) feature(c *call) (any, error) {
	g, err := s.load(c)
	if err != nil {
		return nil, err
	}
	nodes := []string{}
	for _, n := range s.nodes {
		if !n.bare {
			nodes = append(nodes, n.Name)
		}
	}
	has := c.get("feature") != "snapshot" || s.canSnapshot(g)
	row := object{"hasFeature": flag(has)}
	if g.kind == QEMU {
		row["nodes"] = nodes
	}
	return row, nil
}

func (s *Server) makeTemplate(c *call) (any, error) {
	g, err := s.load(c)
	if err != nil {
		return nil, err
	}
	if len(g.snaps) > 0 {
		return nil, fail("unable to create template, because VM contains snapshots")
	}
	if g.running {
		return nil, fail("you can't convert a VM to template if VM is running")
	}
	return s.fork(c.who, g.node, g.task("template"), itoa(g.vmid), func(w *worker) error {
		return w.locked(g.kind, g.vmid, func() error {
			g.config["template"] = "1"
			for _, key := range liveDisks(g.config) {
				old := volumeOf(key, g.config[key])
				v := s.volumes[old]
				delete(s.volumes, old)
				v.id = strings.Replace(strings.Replace(old, "/vm-", "/base-", 1), ":vm-", ":base-", 1)
				s.volumes[v.id] = v
				g.config[key] = strings.Replace(g.config[key], old, v.id, 1)
			}
			return s.write(g)
		})
	}), nil
}

// task is the type of a task for the guest: qmstart, vzstart.
func (g *guest) task(what string) string {
	if g.kind == LXC {
		return "vz" + what
	}
	return "qm" + what
}

// agentPing is POST agent/ping: 9.0 asks for other privileges.
func (s *Server) agentPing(c *call) (any, error) {
	privs := []string{"VM.Monitor"}
	if s.major() >= 9 {
		privs = []string{"VM.GuestAgent.Audit", "VM.GuestAgent.Unrestricted"}
	}
	if err := s.need(c.who, "/vms/"+c.get("vmid"), privs...); err != nil {
		return nil, err
	}
	g, err := s.load(c)
	switch {
	case err != nil:
		return nil, err
	case !g.agent():
		return nil, fail("No QEMU guest agent configured")
	case !g.running:
		return nil, fail("VM %d is not running", g.vmid)
	case g.noAgent:
		return nil, fail("QEMU guest agent is not running")
	}
	return object{"result": object{}}, nil
}

func (g *guest) agent() bool {
	first, _, _ := strings.Cut(g.config["agent"], ",")
	return truth(strings.TrimPrefix(first, "enabled="))
}
