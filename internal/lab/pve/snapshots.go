package pve

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

func (s *Server) listSnapshots(c *call) (any, error) {
	g, err := s.load(c)
	if err != nil {
		return nil, err
	}
	rows := rowsOf(len(g.snaps) + 1)
	for _, x := range g.snaps {
		row := object{"name": x.name, "description": x.description, "snaptime": 0}
		if !x.time.IsZero() {
			row["snaptime"] = x.time.Unix()
		}
		if g.kind == QEMU {
			row["vmstate"] = flag(x.ram != "")
		}
		if x.parent != "" {
			row["parent"] = x.parent
		}
		if x.state != "" {
			row["snapstate"] = x.state
		}
		rows = append(rows, row)
	}
	now := object{"name": "current", "description": "You are here!", "digest": g.digest(), "running": flag(g.running)}
	if p := g.config["parent"]; p != "" {
		now["parent"] = p
	}
	return shuffled(append(rows, now)), nil
}

func (s *Server) snapshotIndex(c *call) (any, error) {
	return []object{{"cmd": "rollback"}, {"cmd": "config"}}, nil
}

func (s *Server) snapshotConfig(c *call) (any, error) {
	g, err := s.load(c)
	if err != nil {
		return nil, err
	}
	x := g.snapshot(c.get("snapname"))
	if x == nil {
		return nil, fail("snapshot '%s' does not exist", c.get("snapname"))
	}
	return configObject(g.kind, x.section()), nil
}

func (s *Server) describeSnapshot(c *call) (any, error) {
	g, err := s.load(c)
	if err != nil {
		return nil, err
	}
	return nil, s.lockedCall(g.kind, g.vmid, func() error {
		if err := g.checkLock(); err != nil {
			return err
		}
		x := g.snapshot(c.get("snapname"))
		if x == nil {
			return fail("snapshot '%s' does not exist", c.get("snapname"))
		}
		if c.has("description") {
			x.description = trimDescription(c.get("description"))
		}
		return s.write(g)
	})
}

// canSnapshot tells whether every disk of the guest can be snapshotted.
func (s *Server) canSnapshot(g *guest) bool {
	for _, key := range liveDisks(g.config) {
		v := s.volumes[volumeOf(key, g.config[key])]
		if v == nil || s.storage(v.store()).snapshotting(v) == "" {
			return false
		}
	}
	return true
}

func (s *Server) createSnapshot(c *call) (any, error) {
	g, err := s.load(c)
	if err != nil {
		return nil, err
	}
	name := c.get("snapname")
	if name == "current" || name == "pending" || (g.kind == LXC && name == "vzdump") {
		return nil, fail("unable to use snapshot name '%s' (reserved name)", name)
	}
	x := &snapshot{name: name, description: trimDescription(c.get("description"))}
	ram := c.flag("vmstate") && g.kind == QEMU
	return s.fork(c.who, g.node, g.task("snapshot"), itoa(g.vmid), func(w *worker) error { return w.snapshot(g, x, ram) }), nil
}

// snapshot makes a snapshot as PVE does: mark, save the memory, snapshot each
// disk, unmark. A failure takes it away again.
func (w *worker) snapshot(g *guest, x *snapshot, ram bool) error {
	s := w.s
	err := w.locked(g.kind, g.vmid, func() error {
		if err := w.step("prepare"); err != nil {
			return err
		}
		if err := w.prepareSnapshot(g, x); err != nil {
			return err
		}
		if ram && g.running {
			x.ram = s.stateVolume(g, x.name)
		}
		return nil
	})
	if err != nil {
		return err
	}
	err = w.takeSnapshot(g, x)
	if err == nil {
		err = w.step("commit")
	}
	if err != nil {
		w.log("snapshot create failed: starting cleanup")
		s.dropSnapshot(g, x)
		delete(g.config, "lock")
		return err
	}
	return w.locked(g.kind, g.vmid, func() error {
		if err := s.write(g); err != nil {
			return err
		}
		x.state = ""
		g.config["parent"] = x.name
		delete(g.config, "lock")
		return nil
	})
}

func (w *worker) prepareSnapshot(g *guest, x *snapshot) error {
	s := w.s
	if s.guests[g.vmid] != g {
		return fail("Configuration file '%s' does not exist", confFile(g.node, g.kind, g.vmid))
	}
	if g.isTemplate() {
		return fail("you can't take a snapshot if it's a template")
	}
	if err := g.checkLock(); err != nil {
		return err
	}
	if g.snapshot(x.name) != nil {
		return fail("snapshot name '%s' already used", x.name)
	}
	if !s.canSnapshot(g) {
		return fail("snapshot feature is not available")
	}
	if err := s.write(g); err != nil {
		return err
	}
	g.config["lock"] = "snapshot"
	x.state, x.time, x.parent = "prepare", s.now().Truncate(time.Second), g.config["parent"]
	x.config = frozen(g.config)
	g.snaps = append(g.snaps, x)
	return nil
}

func (w *worker) takeSnapshot(g *guest, x *snapshot) error {
	s := w.s
	if v := s.volumes[x.ram]; v != nil {
		w.log("Formatting '%s', fmt=raw size=%d preallocation=off", s.path(v), v.size)
		w.log("saving VM state and RAM using storage '%s'", v.store())
		w.log("192.00 B in 0s")
		if err := w.step("state"); err != nil {
			return err
		}
		w.log("completed saving the VM state in 0s, saved %.2f MiB", float64(v.used)/(1<<20))
	}
	if err := w.step("data"); err != nil {
		return err
	}
	for _, key := range liveDisks(x.config) {
		v := s.volumes[volumeOf(key, x.config[key])]
		if v == nil {
			continue
		}
		st := s.storage(v.store())
		if st.Type == "lvmthin" && s.usedOf(st)+v.used/20 > st.Total {
			return fail("lvcreate snapshot '%s/snap_%s_%s' error:   Cannot create new thin volume, free space in thin pool %s/%s reached threshold.",
				st.VGName, v.short(), x.name, st.VGName, st.Pool)
		}
		if g.kind == QEMU {
			w.log("snapshotting 'drive-%s' (%s)", key, v.id)
		}
		v.snaps = append(v.snaps, volumeSnapshot{name: x.name, content: v.content})
	}
	return nil
}

// dropSnapshot forgets a snapshot and its data; its children get its parent.
func (s *Server) dropSnapshot(g *guest, x *snapshot) {
	for _, key := range disksOf(x.config) {
		if v := s.volumes[volumeOf(key, x.config[key])]; v != nil {
			if at := v.find(x.name); at >= 0 {
				v.snaps = slices.Delete(v.snaps, at, at+1)
			}
		}
	}
	delete(s.volumes, x.ram)
	for _, child := range g.snaps {
		if child.parent == x.name {
			child.parent = x.parent
		}
	}
	if g.config["parent"] == x.name {
		if g.config["parent"] = x.parent; x.parent == "" {
			delete(g.config, "parent")
		}
	}
	g.snaps = slices.DeleteFunc(g.snaps, func(have *snapshot) bool { return have == x })
}

func (s *Server) deleteSnapshot(c *call) (any, error) {
	g, err := s.load(c)
	if err != nil {
		return nil, err
	}
	name, force := c.get("snapname"), c.flag("force")
	return s.fork(c.who, g.node, g.task("delsnapshot"), itoa(g.vmid), func(w *worker) error { return w.deleteSnapshot(g, name, force) }), nil
}

func (w *worker) deleteSnapshot(g *guest, name string, force bool) error {
	s := w.s
	var x *snapshot
	err := w.locked(g.kind, g.vmid, func() error {
		if x = g.snapshot(name); x == nil {
			return fail("snapshot '%s' does not exist", name)
		}
		if err := g.checkLock(); err != nil {
			return err
		}
		if err := w.step("prepare"); err != nil {
			return err
		}
		if err := s.write(g); err != nil {
			return err
		}
		g.config["lock"], x.state = "snapshot-delete", "delete"
		return nil
	})
	if err != nil {
		return err
	}
	if err := w.step("data"); err != nil {
		if !force {
			return err // the lock and the state stay
		}
		w.log("%s", reason(err))
	}
	if x.lost {
		failed := w.lostData(g, x, "-d", "Could not delete snapshot '%s': snapshot not found")
		if !force {
			return failed
		}
		w.log("%s", reason(failed))
	}
	return w.locked(g.kind, g.vmid, func() error {
		if err := s.write(g); err != nil {
			return err
		}
		s.dropSnapshot(g, x)
		delete(g.config, "lock")
		return w.step("commit")
	})
}

// lostData is what qemu-img says to a snapshot that its file does not hold.
func (w *worker) lostData(g *guest, x *snapshot, option, complaint string) error {
	for _, key := range liveDisks(x.config) {
		if v := w.s.volumes[volumeOf(key, x.config[key])]; v != nil {
			w.log("qemu-img: "+complaint, x.name)
			return fail("command '/usr/bin/qemu-img snapshot %s %s %s' failed: exit code 1", option, x.name, w.s.path(v))
		}
	}
	return nil
}

func (s *Server) rollback(c *call) (any, error) {
	g, err := s.load(c)
	if err != nil {
		return nil, err
	}
	name, start := c.get("snapname"), c.flag("start")
	if start && !s.may(c.who, "/vms/"+c.get("vmid"), "VM.PowerMgmt") {
		return nil, denied("/vms/"+c.get("vmid"), "VM.PowerMgmt")
	}
	who := c.who
	return s.fork(who, g.node, g.task("rollback"), itoa(g.vmid), func(w *worker) error {
		if err := w.rollback(g, name); err != nil {
			return err
		}
		if !start || g.running {
			return nil
		}
		s.fork(who, g.node, g.task("start"), itoa(g.vmid), func(w *worker) error {
			return w.locked(g.kind, g.vmid, func() error { return w.start(g) })
		})
		return nil
	}), nil
}

// rollback checks everything, pulls the plug, marks the guest, rolls each disk
// back, and puts the configuration of the snapshot in place. After the mark a
// failure leaves the lock.
func (w *worker) rollback(g *guest, name string) error {
	s := w.s
	var x *snapshot
	err := w.locked(g.kind, g.vmid, func() error {
		if g.isTemplate() {
			return fail("you can't rollback if vm is a template")
		}
		if x = g.snapshot(name); x == nil {
			return fail("snapshot '%s' does not exist", name)
		}
		if err := s.rollbackPossible(x); err != nil {
			return err
		}
		if x.state != "" {
			return fail("unable to rollback to incomplete snapshot (snapstate = %s)", x.state)
		}
		if err := g.checkLock(); err != nil {
			return err
		}
		if err := w.step("prepare"); err != nil {
			return err
		}
		g.halt()
		if err := s.write(g); err != nil {
			return err
		}
		g.config["lock"] = "rollback"
		return nil
	})
	if err != nil {
		return err
	}
	if err := w.step("data"); err != nil {
		return err
	}
	if x.lost {
		return w.lostData(g, x, "-a", "Could not apply snapshot '%s': Failed to load snapshot: No such file or directory")
	}
	s.rollDisksBack(x)
	return w.locked(g.kind, g.vmid, func() error {
		if err := w.step("commit"); err != nil {
			return err
		}
		if err := s.write(g); err != nil {
			return err
		}
		s.applySnapshot(g, x)
		if x.ram != "" {
			g.up(s.now(), w.t.pid+40)
		}
		return nil
	})
}

// rollbackPossible is the check of each disk, before anything is touched.
func (s *Server) rollbackPossible(x *snapshot) error {
	for _, key := range liveDisks(x.config) {
		id := volumeOf(key, x.config[key])
		v := s.volumes[id]
		if v == nil {
			return fail("can't rollback, snapshot '%s' does not exist on '%s'", x.name, id)
		}
		at := v.find(x.name)
		if at < 0 && s.storage(v.store()).Type == "zfspool" {
			return fail("can't rollback, snapshot '%s' does not exist on '%s'", x.name, id)
		}
		if s.storage(v.store()).snapshotting(v) == "newest" && at < len(v.snaps)-1 {
			return fail("can't rollback, '%s' is not most recent snapshot on '%s'", x.name, id)
		}
	}
	return nil
}

func (s *Server) rollDisksBack(x *snapshot) {
	for _, key := range liveDisks(x.config) {
		v := s.volumes[volumeOf(key, x.config[key])]
		if v == nil {
			continue
		}
		if at := v.find(x.name); at >= 0 {
			v.content = v.snaps[at].content
		}
	}
}

// applySnapshot makes the snapshot's configuration the current one. Disks that
// it does not know stay as unused ones.
func (s *Server) applySnapshot(g *guest, x *snapshot) {
	old := g.config
	g.config = maps.Clone(x.config)
	if text, ok := old["description"]; ok {
		g.config["description"] = text
	}
	g.config["parent"] = x.name
	if g.config["vmgenid"] != "" && x.ram == "" {
		g.config["vmgenid"] = uuid()
	}
	used := map[string]bool{}
	for _, key := range disksOf(g.config) {
		used[volumeOf(key, g.config[key])] = true
	}
	for _, key := range disksOf(old) {
		if id := volumeOf(key, old[key]); !used[id] {
			used[id] = true
			g.unuse(id)
		}
	}
}

// LoseSnapshotData takes a snapshot's data away behind PVE's back: a rollback
// to it and its deletion fail half-way, and leave their locks.
func (s *Server) LoseSnapshotData(vmid int, snap string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.guests[vmid]
	if g == nil || g.snapshot(snap) == nil {
		return fmt.Errorf("no snapshot %s of guest %d", snap, vmid)
	}
	g.snapshot(snap).lost = true
	return nil
}

// AddHiddenSnapshot makes a ZFS snapshot that no call lists, as another tool does.
func (s *Server) AddHiddenSnapshot(vmid int, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if g := s.guests[vmid]; g != nil {
		newest := ""
		for _, x := range g.snaps {
			newest = x.name
		}
		s.addHidden(g, strings.TrimSpace(name), newest)
	}
}
