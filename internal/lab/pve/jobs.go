package pve

import (
	"crypto/sha1"
	"fmt"
	"maps"
	"slices"
	"strings"
)

var vzdumpOptions = map[string]string{
	"vmid": "vmids", "all": "bool", "exclude": "vmids", "pool": "str", "storage": "storage", "mode": "enum=snapshot|suspend|stop",
	"compress": "enum=0|1|gzip|lzo|zstd", "bwlimit": "int>=0", "remove": "bool", "protected": "bool", "notes-template": "max=1024",
	"prune-backups": "prune", "maxfiles": "int>=1", "mailto": "str", "mailnotification": "enum=always|failure", "quiet": "bool",
	"stop": "bool", "stopwait": "int>=0", "lockwait": "int>=0", "ionice": "int>=0", "pigz": "int", "zstd": "int", "stdexcludes": "bool",
	"tmpdir": "str", "dumpdir": "str", "script": "str", "exclude-path": "str", "performance": "str", "fleecing": "str", "job-id": "max=50",
	"notification-mode": "enum=auto|legacy-sendmail|notification-system", "notification-policy": "enum=always|failure|never", "notification-target": "str",
	"pbs-change-detection-mode": "enum=legacy|data|metadata", "stdout": "bool",
}

func vzdumpOption(name string) (string, bool) {
	kind, ok := vzdumpOptions[name]
	return kind, ok
}

// jobOption is the kind of a backup job's property.
func jobOption(name string) (string, bool) {
	switch name {
	case "schedule":
		return "schedule", true
	case "enabled", "repeat-missed":
		return "bool", true
	case "comment":
		return "max=512", true
	case "node":
		return "node", true
	case "starttime", "dow":
		return "str", true
	}
	return vzdumpOption(name)
}

func (s *Server) job(c *call) (Job, error) {
	for _, j := range s.jobs {
		if j["id"] == c.get("id") {
			return j, nil
		}
	}
	return nil, invalid("id", "No such job '"+c.get("id")+"'")
}

// jobRow is a job's properties in the types of the API. There is no last run.
func (s *Server) jobRow(j Job) object {
	row := object{"type": "vzdump", "enabled": 1}
	for key, value := range j {
		switch kind, _ := jobOption(key); {
		case key == "prune-backups" || key == "fleecing" || key == "performance":
			parts := object{}
			for _, part := range strings.Split(value, ",") {
				name, v, _ := strings.Cut(part, "=")
				parts[name] = v
			}
			row[key] = parts
		case kind == "bool":
			row[key] = flag(truth(value))
		case strings.HasPrefix(kind, "int"):
			row[key] = number(value)
		default:
			row[key] = value
		}
	}
	return row
}

func (s *Server) listJobs(*call) (any, error) {
	rows := rowsOf(len(s.jobs))
	for _, j := range s.jobs {
		row := s.jobRow(j)
		if plan, err := parseCalendar(j["schedule"]); err == nil {
			if next := plan.next(s.zoneNow()); !next.IsZero() {
				row["next-run"] = next.Unix()
			}
		}
		rows = append(rows, row)
	}
	return shuffled(rows), nil
}

func (s *Server) getJob(c *call) (any, error) {
	j, err := s.job(c)
	if err != nil {
		return nil, err
	}
	return s.jobRow(j), nil
}

func (c *call) jobProperties() Job {
	j := Job{}
	for name := range c.given {
		if _, ok := jobOption(name); ok {
			j[name] = c.params[name]
		}
	}
	return j
}

func (s *Server) createJob(c *call) (any, error) {
	j := c.jobProperties()
	j["id"] = c.get("id")
	if j["id"] == "" {
		j["id"] = uuid()
	}
	if _, err := s.job(&call{params: j}); err == nil {
		return nil, fail("Job '%s' already exists", j["id"])
	}
	if j["schedule"] == "" && j["starttime"] == "" {
		return nil, invalid("schedule", "property is missing and it is not optional")
	}
	if j["vmid"] == "" && j["pool"] == "" && !truth(j["all"]) {
		return nil, invalid("vmid", "property is missing")
	}
	if err := s.jobStorage(j); err != nil {
		return nil, err
	}
	s.jobs = append(s.jobs, j)
	return nil, nil
}

func (s *Server) jobStorage(j Job) error {
	if id := j["storage"]; id != "" && s.storage(id) == nil {
		return fail("storage '%s' does not exist", id)
	}
	return nil
}

// updateJob sets properties; which guests is one choice of three.
func (s *Server) updateJob(c *call) (any, error) {
	j, err := s.job(c)
	if err != nil {
		return nil, err
	}
	set := c.jobProperties()
	if err := s.jobStorage(set); err != nil {
		return nil, err
	}
	delete(set, "id")
	for _, key := range splitList(c.get("delete")) {
		delete(j, key)
	}
	switch {
	case truth(set["all"]):
		delete(j, "vmid")
		delete(j, "pool")
	case set["vmid"] != "":
		delete(j, "all")
		delete(j, "pool")
		delete(j, "exclude")
	case set["pool"] != "":
		delete(j, "all")
		delete(j, "vmid")
	}
	maps.Copy(j, set)
	return nil, nil
}

func (s *Server) deleteJob(c *call) (any, error) {
	j, err := s.job(c)
	if err != nil {
		return nil, err
	}
	s.jobs = slices.DeleteFunc(s.jobs, func(have Job) bool { return have["id"] == j["id"] })
	return nil, nil
}

// covers tells whether a job backs a guest up. It does not matter here whether
// the job is enabled.
func (s *Server) covers(j Job, g *guest) bool {
	id := itoa(g.vmid)
	if slices.Contains(splitList(j["exclude"]), id) {
		return false
	}
	if n := j["node"]; n != "" && n != g.node {
		return false
	}
	if p := j["pool"]; p != "" {
		return slices.Contains(s.pools[p], g.vmid)
	}
	return truth(j["all"]) || slices.Contains(splitList(j["vmid"]), id)
}

func (s *Server) notBackedUp(c *call) (any, error) {
	rows := rowsOf(8)
	for _, g := range s.guests {
		covered := slices.ContainsFunc(s.jobs, func(j Job) bool { return s.covers(j, g) })
		if !covered && s.may(c.who, "/vms/"+itoa(g.vmid), "VM.Audit") {
			rows = append(rows, object{"vmid": g.vmid, "type": string(g.kind), "name": g.name()})
		}
	}
	return shuffled(rows), nil
}

func (s *Server) backupInfo(c *call) (any, error) {
	if c.who.id() != "root@pam" {
		return nil, forbidden("(user != root@pam)")
	}
	return []object{{"subdir": "not-backed-up"}}, nil
}

func (s *Server) includedVolumes(c *call) (any, error) {
	j, err := s.job(c)
	if err != nil {
		return nil, err
	}
	rows := rowsOf(8)
	for _, g := range s.guests {
		if !s.covers(j, g) || !s.may(c.who, "/vms/"+itoa(g.vmid), "VM.Audit") {
			continue
		}
		leaves := rowsOf(4)
		for _, key := range liveDisks(g.config) {
			in, why := included(g.kind, key, g.config[key])
			leaves = append(leaves, object{"id": itoa(g.vmid) + ":" + key, "name": volumeOf(key, g.config[key]), "leaf": 1, "included": flag(in), "reason": why})
		}
		rows = append(rows, object{"id": g.vmid, "type": string(g.kind), "name": g.name(), "leaf": 0, "children": leaves})
	}
	return object{"children": shuffled(rows)}, nil
}

// included tells whether vzdump takes a disk, and why. A container's mount
// point is left out unless it says backup=1; a VM's disk is taken unless it
// says backup=0.
func included(kind Kind, key, value string) (bool, string) {
	backup := option(value, "backup")
	if kind == LXC && strings.HasPrefix(key, "mp") {
		if truth(backup) {
			return true, "enabled"
		}
		return false, "disabled"
	}
	if kind == LXC {
		return true, "rootfs"
	}
	if backup != "" && !truth(backup) {
		return false, "backup=no"
	}
	return true, "backup=yes"
}

// digestOf is a digest of some configuration.
func digestOf(v any) string { return fmt.Sprintf("%x", sha1.Sum([]byte(fmt.Sprint(v)))) }
