package pve

import (
	"maps"
	"strings"
	"time"
)

// power starts a task that changes whether a guest runs.
func (s *Server) power(c *call, what string, run func(*worker, *guest) error) (any, error) {
	if c.has("skiplock") {
		return nil, invalid("skiplock", "Only root may use this option.")
	}
	g, err := s.load(c)
	if err != nil {
		return nil, err
	}
	return s.fork(c.who, g.node, g.task(what), itoa(g.vmid), func(w *worker) error { return run(w, g) }), nil
}

func (s *Server) startGuest(c *call) (any, error) {
	if !s.quorum {
		return nil, fail("cluster not ready - no quorum?")
	}
	return s.power(c, "start", func(w *worker, g *guest) error {
		return w.locked(g.kind, g.vmid, func() error { return w.start(g) })
	})
}

// start brings a guest up; its lock file is held.
func (w *worker) start(g *guest) error {
	s := w.s
	if s.guests[g.vmid] != g {
		return fail("Configuration file '%s' does not exist", confFile(g.node, g.kind, g.vmid))
	}
	switch err := g.checkLock(); {
	case err != nil:
		return err
	case g.isTemplate():
		return fail("you can't start a vm if it's a template")
	case g.running && g.kind == LXC:
		return fail("CT %d already running", g.vmid)
	case g.running:
		return fail("VM %d already running", g.vmid)
	}
	if err := w.step("start"); err != nil {
		return err
	}
	if g.warn != "" {
		w.warn("%s", g.warn)
	}
	if g.kind == QEMU && s.node(g.node).NoKVM && g.config["kvm"] != "0" {
		w.log("kvm: warning: host doesn't support requested feature: CPUID.01H:ECX.pni [bit 0]")
		w.log("kvm: Host doesn't support requested features")
		return fail("start failed: QEMU exited with code 1")
	}
	for _, key := range liveDisks(g.config) {
		if id := volumeOf(key, g.config[key]); s.volumes[id] == nil {
			return fail("volume '%s' does not exist", id)
		}
	}
	g.up(s.now(), w.t.pid+38)
	return nil
}

// up is the guest running; what waited for a start is now so.
func (g *guest) up(now time.Time, pid int) {
	for _, key := range splitList(g.pending["delete"]) {
		delete(g.config, key)
	}
	delete(g.pending, "delete")
	maps.Copy(g.config, g.pending)
	g.pending = nil
	g.running, g.started, g.pid = true, now, pid
	if _, ok := g.config["vmgenid"]; !ok && g.kind == QEMU && g.config["smbios1"] != "" {
		g.config["vmgenid"] = uuid()
	}
}

// halt is the guest stopped, as when its plug is pulled.
func (g *guest) halt() {
	g.running, g.pid = false, 0
	for _, key := range splitList(g.pending["delete"]) {
		delete(g.config, key)
	}
	delete(g.pending, "delete")
	maps.Copy(g.config, g.pending)
	g.pending = nil
}

func (s *Server) stopGuest(c *call) (any, error) {
	return s.power(c, "stop", func(w *worker, g *guest) error {
		return w.locked(g.kind, g.vmid, func() error {
			if g.kind == LXC && !g.running {
				return fail("CT %d not running", g.vmid)
			}
			if err := g.checkLock(); err != nil {
				return err
			}
			if err := w.step("stop"); err != nil {
				return err
			}
			g.halt()
			return nil
		})
	})
}

// shutdownGuest asks what runs inside to end; where nothing answers, the task
// waits for its time limit with the lock file in hand.
func (s *Server) shutdownGuest(c *call) (any, error) {
	limit := 60 * time.Second
	if c.has("timeout") {
		limit = time.Duration(number(c.get("timeout"))) * time.Second
	}
	force := c.flag("forceStop")
	return s.power(c, "shutdown", func(w *worker, g *guest) error {
		return w.locked(g.kind, g.vmid, func() error { return w.shutdown(g, limit, force) })
	})
}

func (w *worker) shutdown(g *guest, limit time.Duration, force bool) error {
	if !g.running {
		if g.kind == LXC {
			return fail("CT %d not running", g.vmid)
		}
		return nil
	}
	if err := g.checkLock(); err != nil {
		return err
	}
	if err := w.step("wait"); err != nil {
		return err
	}
	if g.noOS {
		if w.s.pace.Step > 0 { // without a pace the limit passes at once
			if err := w.wait(nil, limit); err != nil {
				return err
			}
		}
		if !force {
			if g.kind == LXC {
				return fail("command 'lxc-stop -n %d --nokill --timeout %d' failed: exit code 1", g.vmid, int(limit.Seconds()))
			}
			return fail("VM quit/powerdown failed - got timeout")
		}
		w.log("VM quit/powerdown failed - got timeout")
		w.log("VM still running - terminating now with SIGTERM")
	}
	g.halt()
	return nil
}

func (s *Server) rebootGuest(c *call) (any, error) {
	return s.power(c, "reboot", func(w *worker, g *guest) error {
		return w.locked(g.kind, g.vmid, func() error {
			if !g.running {
				return fail("%s %d not running", g.word(), g.vmid)
			}
			if err := w.step("wait"); err != nil {
				return err
			}
			g.halt()
			g.up(w.s.now(), w.t.pid+38)
			return nil
		})
	})
}

// destroyGuest is DELETE on a guest.
func (s *Server) destroyGuest(c *call) (any, error) {
	if c.has("skiplock") {
		return nil, invalid("skiplock", "Only root may use this option.")
	}
	g, err := s.load(c)
	if err != nil {
		return nil, err
	}
	id := itoa(g.vmid)
	if truth(g.config["protection"]) {
		return nil, fail("can't remove %s %s - protection mode enabled", g.word(), id)
	}
	if s.ha[g.service()] != "" && !c.flag("purge") {
		return nil, fail("unable to remove %s %s - used in HA resources and purge parameter not set.", g.word(), id)
	}
	if g.running && !(g.kind == LXC && c.flag("force")) {
		if g.kind == LXC {
			return nil, fail("unable to destroy CT %s - container is running", id)
		}
		return nil, fail("VM %s is running - destroy failed", id)
	}
	if g.kind == LXC {
		if err := g.checkLock(); err != nil {
			return nil, err
		}
	}
	purge, sweep := c.flag("purge"), c.flag("destroy-unreferenced-disks")
	return s.fork(c.who, g.node, g.task("destroy"), id, func(w *worker) error {
		return w.locked(g.kind, g.vmid, func() error { return w.destroy(g, purge, sweep) })
	}), nil
}

func (w *worker) destroy(g *guest, purge, sweep bool) error {
	s := w.s
	if s.guests[g.vmid] != g {
		return fail("Configuration file '%s' does not exist", confFile(g.node, g.kind, g.vmid))
	}
	if err := g.checkLock(); err != nil {
		return err
	}
	if err := s.write(g); err != nil {
		return err
	}
	s.freeDisks(g)
	if sweep {
		for id, v := range s.volumes {
			if v.vmid == g.vmid {
				delete(s.volumes, id)
			}
		}
	}
	delete(s.guests, g.vmid)
	s.dropACL(g.vmid)
	if purge {
		w.log("purging %s %d from related configurations..", g.word(), g.vmid)
		s.purgeJobs(itoa(g.vmid))
		delete(s.ha, g.service())
	}
	return nil
}

// freeDisks deletes every volume that the guest or a snapshot of it names.
func (s *Server) freeDisks(g *guest) {
	for _, config := range s.configs(g) {
		for key, value := range config {
			delete(s.volumes, volumeOf(key, value))
		}
	}
	for _, x := range g.snaps {
		delete(s.volumes, x.ram)
	}
}

func (s *Server) configs(g *guest) []map[string]string {
	all := []map[string]string{g.config}
	for _, x := range g.snaps {
		all = append(all, x.config)
	}
	return all
}

// dropACL takes a destroyed guest's entries out of the access list.
func (s *Server) dropACL(vmid int) {
	var kept []ACL
	for _, a := range s.acl {
		if cleanPath(a.Path) != "/vms/"+itoa(vmid) {
			kept = append(kept, a)
		}
	}
	s.acl = kept
}

// purgeJobs takes a guest out of the backup jobs.
func (s *Server) purgeJobs(id string) {
	for _, j := range s.jobs {
		for _, key := range []string{"vmid", "exclude"} {
			var kept []string
			for _, have := range splitList(j[key]) {
				if have != id {
					kept = append(kept, have)
				}
			}
			if j[key] != "" {
				j[key] = strings.Join(kept, ",")
			}
		}
	}
}
