package pve

import (
	"slices"
	"sort"
	"strings"
)

var clusterRoutes = []route{
	{method: "GET", path: "/cluster", handler: (*Server).clusterIndex},
	{method: "GET", path: "/cluster/resources", params: "type?:enum=vm|storage|node|sdn", handler: (*Server).resources},
	{method: "GET", path: "/cluster/status", perm: "/ Sys.Audit", flags: "forward", handler: (*Server).clusterStatus},
	{method: "GET", path: "/cluster/tasks", handler: (*Server).clusterTasks},
	{method: "GET", path: "/cluster/nextid", params: "vmid?", handler: (*Server).nextID},
	{method: "GET", path: "/cluster/options", handler: (*Server).clusterOptions},
	{method: "GET", path: "/cluster/replication", handler: (*Server).listReplication},
	{method: "GET", path: "/cluster/ha/resources", perm: "/ Sys.Audit", params: "type?:enum=vm|ct", handler: (*Server).haResources},
	{method: "GET", path: "/cluster/ha/status/current", perm: "/ Sys.Audit", handler: (*Server).haStatus},
	{method: "GET", path: "/cluster/backup", perm: "/ Sys.Audit", handler: (*Server).listJobs},
	{method: "POST", path: "/cluster/backup", perm: "/ Sys.Modify", flags: "forward", params: "id?:configid @job", handler: (*Server).createJob},
	{method: "GET", path: "/cluster/backup/{id}", perm: "/ Sys.Audit", params: "id", handler: (*Server).getJob},
	{method: "PUT", path: "/cluster/backup/{id}", perm: "/ Sys.Modify", flags: "forward", params: "id delete? @job", handler: (*Server).updateJob},
	{method: "DELETE", path: "/cluster/backup/{id}", perm: "/ Sys.Modify", flags: "forward", params: "id", handler: (*Server).deleteJob},
	{method: "GET", path: "/cluster/backup/{id}/included_volumes", perm: "/ Sys.Audit", flags: "forward", params: "id", handler: (*Server).includedVolumes},
	{method: "GET", path: "/cluster/backup-info", handler: (*Server).backupInfo},
	{method: "GET", path: "/cluster/backup-info/not-backed-up", perm: "/ Sys.Audit", flags: "forward", handler: (*Server).notBackedUp},
}

var nodeRoutes = []route{
	{method: "GET", path: "/nodes", handler: (*Server).listNodes},
	{method: "GET", path: "/nodes/{node}", flags: "local", params: "node", handler: (*Server).nodeIndex},
	{method: "GET", path: "/nodes/{node}/status", perm: "/nodes/{node} Sys.Audit", params: "node", handler: (*Server).nodeStatus},
	{method: "GET", path: "/nodes/{node}/version", params: "node", handler: (*Server).getVersion},
	{method: "GET", path: "/nodes/{node}/subscription", params: "node", handler: (*Server).subscription},
	{method: "GET", path: "/nodes/{node}/tasks", params: "node errors?:bool limit?:int>=0 start?:int>=0 since?:int until?:int source?:enum=archive|active|all statusfilter?:taskstatus typefilter? userfilter? vmid?", handler: (*Server).listTasks},
	{method: "GET", path: "/nodes/{node}/tasks/{upid}", params: "node upid", handler: (*Server).taskIndex},
	{method: "DELETE", path: "/nodes/{node}/tasks/{upid}", flags: "forward", params: "node upid", handler: (*Server).stopTask},
	{method: "GET", path: "/nodes/{node}/tasks/{upid}/status", flags: "forward", params: "node upid", handler: (*Server).taskStatus},
	{method: "GET", path: "/nodes/{node}/tasks/{upid}/log", flags: "forward", params: "node upid limit?:int>=0 start?:int>=0 download?:bool", handler: (*Server).taskLog},
	{method: "GET", path: "/nodes/{node}/disks/list", flags: "forward", params: "node include-partitions?:bool skipsmart?:bool type?:enum=unused|journal_disks", handler: (*Server).listDisks},
	{method: "GET", path: "/nodes/{node}/disks/lvmthin", perm: "/ Sys.Audit", flags: "forward", params: "node", handler: (*Server).listThinPools},
	{method: "GET", path: "/nodes/{node}/vzdump/defaults", params: "node storage?", handler: (*Server).vzdumpDefaults},
	{method: "GET", path: "/nodes/{node}/vzdump/extractconfig", flags: "forward", params: "node volume", handler: (*Server).extractConfig},
	{method: "POST", path: "/nodes/{node}/vzdump", flags: "forward", params: "node? @vzdump", handler: (*Server).vzdump},
}

func (s *Server) getVersion(*call) (any, error) {
	return object{"version": s.version, "release": s.release(), "repoid": "2606ac850d46da29"}, nil
}

func (s *Server) clusterIndex(*call) (any, error) {
	rows := rowsOf(20)
	for _, n := range strings.Fields("acme backup backup-info ceph config firewall ha jobs log mapping metrics notifications nextid options replication resources status tasks sdn") {
		rows = append(rows, object{"name": n})
	}
	return rows, nil
}

func (s *Server) nodeIndex(*call) (any, error) {
	rows := rowsOf(40)
	for _, n := range strings.Fields("aplinfo apt capabilities ceph certificates config disks dns firewall hardware hosts journal lxc migrateall netstat " +
		"network qemu query-url-metadata replication report rrd rrddata scan services spiceshell startall status stopall storage subscription " +
		"suspendall syslog tasks termproxy time version vncshell vzdump wakeonlan sdn") {
		rows = append(rows, object{"name": n})
	}
	return rows, nil
}

func (s *Server) poolOf(vmid int) string {
	for name, members := range s.pools {
		if slices.Contains(members, vmid) {
			return name
		}
	}
	return ""
}

func (s *Server) resources(c *call) (any, error) {
	rows := rowsOf(len(s.guests) + 16)
	want := func(kind string) bool { return !c.has("type") || c.get("type") == kind }
	if !c.has("type") {
		for name := range s.pools {
			if s.may(c.who, "/pool/"+name, "Pool.Audit") {
				rows = append(rows, object{"id": "/pool/" + name, "type": "pool", "pool": name})
			}
		}
	}
	if want("vm") {
		for _, g := range s.guests {
			if !s.may(c.who, "/vms/"+itoa(g.vmid), "VM.Audit") {
				continue
			}
			row := s.resourceRow(g)
			if p := s.poolOf(g.vmid); p != "" && !s.may(c.who, "/pool/"+p, "Pool.Audit") {
				delete(row, "pool")
			}
			rows = append(rows, row)
		}
	}
	for _, n := range s.nodes {
		if n.bare {
			continue
		}
		if want("node") {
			row := s.nodeRow(n, c.who)
			row["cgroup-mode"] = 1
			delete(row, "ssl_fingerprint")
			rows = append(rows, row)
		}
		if want("storage") {
			rows = append(rows, s.storageResources(n, c.who)...)
		}
		if want("sdn") && s.may(c.who, "/sdn/zones/localnetwork", "SDN.Audit") {
			rows = append(rows, object{"id": "sdn/" + n.Name + "/localnetwork", "sdn": "localnetwork", "node": n.Name, "type": "sdn", "status": "ok"})
		}
	}
	return shuffled(rows), nil
}

func (s *Server) storageResources(n *node, who caller) []object {
	var rows []object
	for _, st := range s.storages {
		if st.Disable || !st.on(n.Name) || !s.may(who, "/storage/"+st.ID, "Datastore.Audit", "Datastore.AllocateSpace") {
			continue
		}
		row := object{"id": "storage/" + n.Name + "/" + st.ID, "type": "storage", "storage": st.ID, "node": n.Name, "plugintype": st.Type,
			"shared": flag(st.Shared), "content": st.contentText(), "status": "unknown"}
		if sp := s.space(st); sp.active && n.down == nil {
			row["status"], row["disk"], row["maxdisk"] = "available", sp.used, sp.total
		}
		rows = append(rows, row)
	}
	return rows
}

// nodeRow is a node in a list; how it is doing needs Sys.Audit.
func (s *Server) nodeRow(n *node, who caller) object {
	row := object{"id": "node/" + n.Name, "node": n.Name, "type": "node", "status": "online", "level": "", "ssl_fingerprint": s.Fingerprint()}
	if n.down != nil {
		row["status"] = "offline"
		return row
	}
	if s.may(who, "/nodes/"+n.Name, "Sys.Audit") {
		row["maxcpu"], row["cpu"], row["maxmem"], row["mem"] = 8, 0.0421, n.Memory, n.Memory/3
		row["disk"], row["maxdisk"], row["uptime"] = int64(12)<<30, int64(100)<<30, int64(s.now().Sub(n.booted).Seconds())
	}
	return row
}

func (s *Server) listNodes(c *call) (any, error) {
	rows := rowsOf(len(s.nodes))
	for _, n := range s.nodes {
		if !n.bare {
			rows = append(rows, s.nodeRow(n, c.who))
		}
	}
	return shuffled(rows), nil
}

func (s *Server) clusterStatus(*call) (any, error) {
	rows := rowsOf(len(s.nodes) + 1)
	members := 0
	for _, n := range s.nodes {
		if n.bare {
			continue
		}
		members++
		row := object{"id": "node/" + n.Name, "type": "node", "name": n.Name, "ip": n.IP, "level": "", "local": flag(n == s.local()), "online": flag(n.down == nil), "nodeid": 0}
		if s.cluster != "" {
			row["nodeid"] = members
		}
		rows = append(rows, row)
	}
	if s.cluster != "" {
		rows = append(rows, object{"id": "cluster", "type": "cluster", "name": s.cluster, "nodes": members, "version": members, "quorate": flag(s.quorum)})
	}
	return shuffled(rows), nil
}

func (s *Server) nextID(c *call) (any, error) {
	if c.has("vmid") {
		if g := s.guests[c.vmid()]; g != nil {
			return nil, invalid("vmid", g.word()+" "+c.get("vmid")+" already exists")
		}
		return c.get("vmid"), nil
	}
	for id := 100; ; id++ {
		if s.guests[id] == nil {
			return itoa(id), nil
		}
	}
}

func (s *Server) clusterOptions(*call) (any, error) {
	tags := []string{}
	for _, g := range s.guests {
		for _, t := range splitList(g.config["tags"]) {
			if !slices.Contains(tags, t) {
				tags = append(tags, t)
			}
		}
	}
	sort.Strings(tags)
	return object{"mac_prefix": "BC:24:11", "allowed-tags": tags, "description": ""}, nil
}

func (s *Server) haResources(c *call) (any, error) {
	rows := rowsOf(len(s.ha))
	for id, state := range s.ha {
		kind, _, _ := strings.Cut(id, ":")
		if !c.has("type") || c.get("type") == kind {
			rows = append(rows, object{"sid": id, "type": kind, "state": state, "digest": digestOf(s.ha), "max_relocate": 1, "max_restart": 1})
		}
	}
	return shuffled(rows), nil
}

func (s *Server) haStatus(*call) (any, error) {
	row := object{"id": "quorum", "type": "quorum", "node": s.local().Name, "status": "OK", "quorate": flag(s.quorum)}
	if !s.quorum {
		row["status"] = "No quorum on node '" + s.local().Name + "'!"
	}
	rows := []object{row}
	if len(s.ha) > 0 {
		rows = append(rows, object{"id": "master", "type": "master", "node": s.local().Name, "status": s.local().Name + " (active)", "timestamp": s.now().Unix()})
	}
	for id, state := range s.ha {
		_, vmid, _ := strings.Cut(id, ":")
		if g := s.guests[number(vmid)]; g != nil {
			rows = append(rows, object{"id": "service:" + id, "type": "service", "sid": id, "node": g.node, "state": state, "request_state": state,
				"crm_state": state, "status": id + " (" + g.node + ", " + state + ")", "max_relocate": 1, "max_restart": 1})
		}
	}
	return rows, nil
}

func (s *Server) nodeStatus(c *call) (any, error) {
	n := s.node(s.nodeOf(c))
	up := int64(s.now().Sub(n.booted).Seconds())
	root := int64(100) << 30
	return object{"uptime": up, "cpu": 0.0421, "wait": 0, "idle": 0, "pveversion": "pve-manager/" + s.version + "/2606ac850d46da29",
		"kversion": "Linux 6.8.12-9-pve #1 SMP PREEMPT_DYNAMIC PMX 6.8.12-9", "loadavg": []string{"0.32", "0.27", "0.24"},
		"current-kernel": object{"sysname": "Linux", "release": "6.8.12-9-pve", "version": "#1 SMP PREEMPT_DYNAMIC PMX 6.8.12-9", "machine": "x86_64"},
		"boot-info":      object{"mode": "legacy-bios"}, "ksm": object{"shared": 0},
		"memory": object{"total": n.Memory, "used": n.Memory / 3, "free": n.Memory / 3 * 2}, "swap": object{"total": 0, "used": 0, "free": 0},
		"rootfs":  object{"total": root, "used": root / 8, "free": root / 8 * 7, "avail": root / 8 * 6},
		"cpuinfo": object{"model": "Intel(R) N100", "sockets": 1, "cores": 4, "cpus": 4, "mhz": "2599.998", "user_hz": 100, "flags": "fpu vme lm nx vmx", "hvm": "1"},
	}, nil
}

func (s *Server) subscription(*call) (any, error) {
	return object{"status": "notfound", "message": "There is no subscription key", "serverid": "D4D67608A9BC7C2E46D7C426333B83C0",
		"url": "https://www.proxmox.com/en/proxmox-virtual-environment/pricing"}, nil
}

func (s *Server) listDisks(c *call) (any, error) {
	if !s.may(c.who, "/", "Sys.Audit") {
		if err := s.need(c.who, "/nodes/"+s.nodeOf(c), "Sys.Audit"); err != nil {
			return nil, err
		}
	}
	rows := rowsOf(4)
	for _, d := range s.node(s.nodeOf(c)).Disks {
		row := object{"devpath": d.Dev, "model": d.Model, "serial": d.Serial, "type": d.Type, "size": d.Size, "vendor": "ATA", "gpt": 1,
			"osdid": "-1", "osdid-list": nullValue, "health": "UNKNOWN", "wearout": "N/A", "rpm": 0, "wwn": "unknown", "by_id_link": "/dev/disk/by-id/" + d.Model + "_" + d.Serial}
		if d.Used != "" {
			row["used"] = d.Used
		}
		if !c.flag("skipsmart") && d.Health != "" {
			row["health"] = d.Health
			if d.Wearout >= 0 {
				row["wearout"] = d.Wearout
			}
		}
		rows = append(rows, row)
	}
	return shuffled(rows), nil
}

func (s *Server) listThinPools(c *call) (any, error) {
	rows := rowsOf(2)
	for _, st := range s.storages {
		if st.Type == "lvmthin" && st.on(s.nodeOf(c)) {
			rows = append(rows, object{"lv": st.Pool, "vg": st.VGName, "lv_size": st.Total, "used": s.usedOf(st), "metadata_size": st.MetaTotal, "metadata_used": s.metaUsed(st)})
		}
	}
	return shuffled(rows), nil
}

func (s *Server) listPools(c *call) (any, error) {
	rows := rowsOf(len(s.pools))
	for name := range s.pools {
		if !s.may(c.who, "/pool/"+name, "Pool.Audit") || (c.has("poolid") && c.get("poolid") != name) {
			continue
		}
		row := object{"poolid": name}
		if text := s.comments[name]; text != "" {
			row["comment"] = text
		}
		if c.has("poolid") {
			members := rowsOf(len(s.pools[name]))
			for _, vmid := range s.pools[name] {
				if g := s.guests[vmid]; g != nil {
					m := s.resourceRow(g)
					delete(m, "pool")
					delete(m, "tags")
					members = append(members, m)
				}
			}
			row["members"] = shuffled(members)
		}
		rows = append(rows, row)
	}
	return shuffled(rows), nil
}

func (s *Server) createPool(c *call) (any, error) {
	id := c.get("poolid")
	if _, ok := s.pools[id]; ok {
		return nil, fail("create pool failed: pool '%s' already exists", id)
	}
	s.pools[id], s.comments[id] = nil, c.get("comment")
	return nil, nil
}

func (s *Server) updatePool(c *call) (any, error) {
	id := c.get("poolid")
	if _, ok := s.pools[id]; !ok {
		return nil, fail("update pools failed: pool '%s' does not exist", id)
	}
	for _, text := range splitList(c.get("vms")) {
		at := slices.Index(s.pools[id], number(text))
		switch {
		case c.flag("delete") && at >= 0:
			s.pools[id] = slices.Delete(s.pools[id], at, at+1)
		case !c.flag("delete") && at < 0:
			s.pools[id] = append(s.pools[id], number(text))
		}
	}
	return nil, nil
}
