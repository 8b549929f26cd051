package pve

// listRow is a guest in its node's list; full adds what QEMU itself tells.
func (s *Server) listRow(g *guest, full bool) object {
	row := object{"vmid": g.vmid, "name": g.name(), "status": "stopped", "cpus": g.cpus(), "cpu": 0, "maxmem": g.memory(), "mem": 0,
		"maxdisk": s.bootDisk(g), "disk": 0, "netin": 0, "netout": 0, "uptime": 0}
	if t := g.config["tags"]; t != "" {
		row["tags"] = t
	}
	if l := g.lock(); l != "" {
		row["lock"] = l
	}
	if g.isTemplate() {
		row["template"] = 1
	}
	if g.running {
		row["status"], row["uptime"], row["mem"] = "running", s.uptime(g), g.memory()/20
	}
	if g.kind == LXC {
		row["type"], row["diskread"], row["diskwrite"] = "lxc", 0, 0
		row["swap"], row["maxswap"] = 0, int64(number(g.config["swap"]))<<20
		if g.running {
			row["disk"] = s.bootDisk(g) / 4
		}
		return row
	}
	if g.running {
		row["pid"] = g.pid
	}
	if g.config["serial0"] != "" {
		row["serial"] = 1
	}
	if full {
		s.addQMP(g, row)
	}
	return row
}

// uptime counts from 1: a process that runs has run.
func (s *Server) uptime(g *guest) int64 { return max(1, int64(s.now().Sub(g.started).Seconds())) }

// addQMP is what the running process tells.
func (s *Server) addQMP(g *guest, row object) {
	row["qmpstatus"] = "stopped"
	if !g.running {
		return
	}
	row["qmpstatus"], row["diskread"], row["diskwrite"] = "running", 1024, 0
	row["running-machine"], row["running-qemu"] = "pc-i440fx-10.0+pve0", "10.0.2"
	row["balloon"], row["ballooninfo"] = g.memory(), object{"actual": g.memory(), "max_mem": g.memory()}
	row["proxmox-support"] = object{"query-bitmap-info": true, "backup-max-workers": true, "backup-fleecing": true, "pbs-masterkey": true,
		"pbs-dirty-bitmap": true, "pbs-library-version": "", "pbs-dirty-bitmap-savevm": true, "backup-access-api": true, "pbs-dirty-bitmap-migration": true}
	stat := object{}
	for _, key := range liveDisks(g.config) {
		stat[key] = blockStat()
	}
	row["blockstat"] = stat
}

func blockStat() object {
	row := object{"rd_bytes": 1024, "rd_operations": 2, "rd_total_time_ns": 986509, "idle_time_ns": 334521876,
		"account_invalid": true, "account_failed": true, "timed_stats": []object{}}
	for _, name := range []string{"unmap_total_time_ns", "zone_append_bytes", "flush_operations", "invalid_rd_operations", "unmap_bytes",
		"failed_zone_append_operations", "invalid_unmap_operations", "invalid_flush_operations", "wr_highest_offset", "failed_flush_operations",
		"wr_bytes", "invalid_zone_append_operations", "failed_rd_operations", "zone_append_operations", "failed_unmap_operations", "wr_operations",
		"flush_total_time_ns", "unmap_operations", "zone_append_merged", "rd_merged", "zone_append_total_time_ns", "wr_merged", "unmap_merged",
		"wr_total_time_ns", "failed_wr_operations", "invalid_wr_operations"} {
		row[name] = 0
	}
	return row
}

func (s *Server) listGuests(c *call) (any, error) {
	rows := rowsOf(len(s.guests))
	for _, g := range s.guests {
		if g.kind == c.kind() && g.node == s.nodeOf(c) && s.may(c.who, "/vms/"+itoa(g.vmid), "VM.Audit") {
			rows = append(rows, s.listRow(g, c.flag("full")))
		}
	}
	return shuffled(rows), nil
}

func (s *Server) guestStatus(c *call) (any, error) {
	g, err := s.load(c)
	if err != nil {
		return nil, err
	}
	row := s.listRow(g, true)
	row["ha"] = s.haOf(g)
	if g.kind == QEMU {
		if g.agent() {
			row["agent"] = 1
		}
		if g.config["vga"] != "" {
			row["clipboard"] = nullValue
		}
	}
	return row, nil
}

// haOf is whether high availability manages the guest.
func (s *Server) haOf(g *guest) object {
	state, ok := s.ha[g.service()]
	if !ok {
		return object{"managed": 0}
	}
	return object{"managed": 1, "state": state}
}

// service is the guest's name in HA.
func (g *guest) service() string {
	if g.kind == LXC {
		return "ct:" + itoa(g.vmid)
	}
	return "vm:" + itoa(g.vmid)
}

// resourceRow is a guest in /cluster/resources. A guest on a node that is down
// is only known by its file.
func (s *Server) resourceRow(g *guest) object {
	row := object{"id": string(g.kind) + "/" + itoa(g.vmid), "type": string(g.kind), "vmid": g.vmid, "node": g.node, "status": "unknown"}
	if p := s.poolOf(g.vmid); p != "" {
		row["pool"] = p
	}
	if state, ok := s.ha[g.service()]; ok {
		row["hastate"] = state
	}
	if t := g.config["tags"]; t != "" {
		row["tags"] = t
	}
	if l := g.lock(); l != "" {
		row["lock"] = l
	}
	n := s.node(g.node)
	if n.bare || n.down != nil {
		return row
	}
	from := s.listRow(g, false)
	for _, key := range []string{"status", "cpu", "maxmem", "mem", "maxdisk", "disk", "netin", "netout", "uptime"} {
		row[key] = from[key]
	}
	row["name"], row["maxcpu"], row["template"] = g.name(), g.cpus(), flag(g.isTemplate())
	row["diskread"], row["diskwrite"] = 0, 0
	return row
}
