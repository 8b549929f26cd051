package pve

import (
	"maps"
	"slices"
	"strings"
)

func createParams(kind string) string {
	if kind == "lxc" {
		return "node vmid ostemplate restore?:bool storage? force? unique?:bool bwlimit?:number start? pool? password? ssh-public-keys? ignore-unpack-errors?:bool ha-managed?:bool @lxc"
	}
	return "node vmid archive? storage? force? unique?:bool live-restore?:bool bwlimit? start? pool? ha-managed?:bool import-working-storage? @qemu"
}

// createGuest is POST /nodes/N/qemu and lxc: a new guest, or a restore.
func (s *Server) createGuest(c *call) (any, error) {
	if c.kind() == LXC {
		if c.flag("restore") {
			return s.restoreCT(c)
		}
		return s.createCT(c)
	}
	if c.get("archive") == "" {
		for _, name := range []string{"force", "unique", "live-restore"} {
			if c.has(name) && !c.has("archive") {
				return nil, invalid("archive", "missing property - '"+name+"' requires this property")
			}
		}
		return s.createVM(c)
	}
	return s.restoreVM(c)
}

// mayAllocate is the right to make the guest.
func (s *Server) mayAllocate(c *call, restoring bool) error {
	id := c.get("vmid")
	if pool := c.get("pool"); pool != "" {
		if _, ok := s.pools[pool]; !ok {
			return forbidden("(pool '" + pool + "' does not exist)")
		}
		if s.may(c.who, "/pool/"+pool, "VM.Allocate") {
			return nil
		}
	}
	if s.may(c.who, "/vms/"+id, "VM.Allocate") {
		return nil
	}
	if restoring && c.flag("force") && s.guests[c.vmid()] != nil && s.may(c.who, "/vms/"+id, "VM.Backup") {
		return nil
	}
	return forbidden("")
}

// mayOverride checks the privileges of the options that a call gives.
func (s *Server) mayOverride(c *call) error {
	if s.may(c.who, "/vms/"+c.get("vmid"), "VM.Allocate") && c.get("archive") == "" && !c.flag("restore") {
		return nil
	}
	for key := range c.changes() {
		if err := s.need(c.who, "/vms/"+c.get("vmid"), configPrivilege(c.kind(), key)); err != nil {
			return err
		}
	}
	return nil
}

func (s *Server) createVM(c *call) (any, error) {
	if err := s.mayAllocate(c, false); err != nil {
		return nil, err
	}
	for key, value := range c.changes() {
		if m := numbered.FindStringSubmatch(key); m != nil && slices.Contains([]string{"scsi", "ide", "sata", "virtio"}, m[1]) {
			first, _, _ := strings.Cut(value, ",")
			if first == "cdrom" || strings.HasPrefix(first, "/") {
				return nil, fail("Only root can pass arbitrary filesystem paths. at /usr/share/perl5/PVE/Storage.pm line 581.")
			}
		}
	}
	if g := s.guests[c.vmid()]; g != nil {
		return nil, fail("unable to create VM %d - %s %d already exists on node '%s'", g.vmid, g.word(), g.vmid, g.node)
	}
	if err := s.newVolumesAllowed(c); err != nil {
		return nil, err
	}
	node, config := s.nodeOf(c), c.changes()
	return s.fork(c.who, node, "qmcreate", c.get("vmid"), func(w *worker) error { return w.create(c, node, config) }), nil
}

// newVolumesAllowed checks the storages on which disks are to be made.
func (s *Server) newVolumesAllowed(c *call) error {
	for key, value := range c.changes() {
		id := volumeOf(key, value)
		store, _, _ := strings.Cut(id, ":")
		if id == "" || number(strings.TrimPrefix(id, store+":")) == 0 {
			continue
		}
		if err := s.need(c.who, "/storage/"+store, "Datastore.AllocateSpace"); err != nil {
			return err
		}
		if _, err := s.activate(store, s.nodeOf(c)); err != nil {
			return err
		}
	}
	return nil
}

func (w *worker) create(c *call, node string, config map[string]string) error {
	s := w.s
	g := &guest{vmid: number(c.get("vmid")), kind: QEMU, node: node, config: map[string]string{}}
	if err := s.write(g); err != nil {
		return fail("unable to create VM %d - %s", g.vmid, err)
	}
	if text, ok := config["description"]; ok {
		config["description"] = trimDescription(text)
	}
	var disks []string
	for key, value := range config {
		g.config[key] = value
		if volumeOf(key, value) != "" {
			disks = append(disks, key)
		}
	}
	slices.Sort(disks)
	for _, key := range disks {
		g.config[key] = w.s.newDiskLogged(g, key, config[key], w.log)
	}
	for key := range config {
		if strings.HasPrefix(key, "net") && numbered.MatchString(key) {
			g.config[key] = withMAC(g.config[key], false)
		}
	}
	if _, ok := g.config["boot"]; !ok && len(disks) > 0 {
		g.config["boot"] = "order=" + disks[0]
	}
	g.config["smbios1"], g.config["vmgenid"] = "uuid="+uuid(), uuid()
	g.config["meta"] = "creation-qemu=10.0.2,ctime=" + itoa(int(s.now().Unix()))
	s.guests[g.vmid] = g
	if pool := c.get("pool"); pool != "" {
		s.pools[pool] = append(s.pools[pool], g.vmid)
	}
	if c.flag("start") {
		return w.start(g)
	}
	return nil
}

// newDisk turns "store:8" into a new volume of 8 GiB; other values stay.
func (s *Server) newDisk(g *guest, key, value string) string {
	return s.newDiskLogged(g, key, value, func(string, ...any) {})
}

func (s *Server) newDiskLogged(g *guest, key, value string, log func(string, ...any)) string {
	id := volumeOf(key, value)
	store, size, _ := strings.Cut(id, ":")
	st := s.storage(store)
	if st == nil || bytesOf(size+"G") == 0 || strings.Trim(size, "0123456789.") != "" {
		return value
	}
	v := s.allocate(st, g.kind, g.vmid, option(value, "format"), bytesOf(size+"G"))
	logFormatting(s, v, log)
	parts := []string{v.id}
	for _, part := range strings.Split(value, ",")[1:] {
		if !strings.HasPrefix(part, "format=") && !strings.HasPrefix(part, "size=") {
			parts = append(parts, part)
		}
	}
	made := strings.Join(append(parts, "size="+sizeText(v.size)), ",")
	log("%s: successfully created disk '%s'", key, made)
	return made
}

// logFormatting is what making a volume says.
func logFormatting(s *Server, v *volume, log func(string, ...any)) {
	st := s.storage(v.store())
	switch {
	case v.format == "qcow2":
		log("Formatting '%s', fmt=qcow2 cluster_size=65536 extended_l2=off preallocation=metadata compression_type=zlib size=%d lazy_refcounts=off refcount_bits=16", s.path(v), v.size)
	case st.files() && v.format == "raw":
		log("Formatting '%s', fmt=raw size=%d preallocation=off", s.path(v), v.size)
	case st.Type == "lvmthin":
		log("  Logical volume \"%s\" created.", v.short())
	}
}

// createCT makes a container from a template. The lab has no templates but
// knows that a backup is none.
func (s *Server) createCT(c *call) (any, error) {
	if err := s.mayAllocate(c, false); err != nil {
		return nil, err
	}
	id := c.get("ostemplate")
	store, _, _ := strings.Cut(id, ":")
	if _, ok := backupOwner(id); ok {
		return nil, fail("unable to use volume %s - content type needs to be 'vztmpl'", id)
	}
	if s.storage(store) == nil {
		return nil, fail("storage '%s' does not exist", store)
	}
	if g := s.guests[c.vmid()]; g != nil {
		return nil, fail("%s %d already exists on node '%s'", g.word(), g.vmid, g.node)
	}
	if !strings.Contains(id, ":vztmpl/") {
		return nil, fail("volume '%s' does not exist", id)
	}
	node, config := s.nodeOf(c), c.changes()
	target := c.get("storage")
	if target == "" {
		target = "local"
	}
	if st := s.storage(target); config["rootfs"] == "" && (st == nil || !st.holds("rootdir")) {
		return nil, invalid("storage", "storage '"+target+"' does not support container directories")
	}
	return s.fork(c.who, node, "vzcreate", c.get("vmid"), func(w *worker) error {
		g := &guest{vmid: c.vmid(), kind: LXC, node: node, config: maps.Clone(config)}
		if g.config["rootfs"] == "" {
			g.config["rootfs"] = target + ":4"
		}
		if err := s.write(g); err != nil {
			return err
		}
		for _, key := range disksOf(g.config) {
			g.config[key] = s.newDiskLogged(g, key, g.config[key], w.log)
		}
		s.guests[g.vmid] = g
		return nil
	}), nil
}
