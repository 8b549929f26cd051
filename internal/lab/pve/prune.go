package pve

import (
	"fmt"
	"sort"
	"strings"
	"time"
)

// backupEntry is a backup of any storage, for retention.
type backupEntry struct {
	id        string
	kind      Kind
	vmid      int
	made      time.Time
	protected bool
	mark      string
}

func (s *Server) backupsOf(st *storage) []*backupEntry {
	var all []*backupEntry
	for _, a := range s.archives {
		if a.storage == st.ID {
			all = append(all, &backupEntry{id: a.id, kind: a.image.Kind, vmid: a.image.VMID, made: a.made, protected: a.protected})
		}
	}
	if st.Type == "pbs" && st.Store != nil {
		list, err := st.Store.List(st.place())
		if err != nil {
			return nil
		}
		for _, b := range list {
			if !b.InFlight {
				all = append(all, &backupEntry{id: st.pbsID(b.BackupID), kind: b.Kind, vmid: b.VMID, made: b.Time, protected: b.Protected})
			}
		}
	}
	sort.Slice(all, func(i, j int) bool { return all[i].made.Before(all[j].made) })
	return all
}

// retention is prune-backups: how many of each kind to keep.
type retention map[string]int

var keepKinds = []string{"keep-last", "keep-hourly", "keep-daily", "keep-weekly", "keep-monthly", "keep-yearly"}

func parseRetention(text string) retention {
	r := retention{}
	for _, part := range strings.Split(text, ",") {
		name, value, _ := strings.Cut(part, "=")
		if n := number(value); n > 0 {
			r[name] = n
		}
	}
	return r
}

// checkPrune is the check of a prune-backups parameter.
func checkPrune(text string) string {
	for _, part := range strings.Split(text, ",") {
		name, value, ok := strings.Cut(part, "=")
		known := name == "keep-all"
		for _, k := range keepKinds {
			known = known || k == name
		}
		if !known {
			return fmt.Sprintf("invalid format - format error\n%s: property is not defined in schema and the schema does not allow additional properties\n", name)
		}
		if why := checkInt(value, "0", ""); !ok || (why != "" && name != "keep-all") {
			return fmt.Sprintf("invalid format - format error\n%s: %s\n", name, why)
		}
	}
	return ""
}

func (r retention) all() bool { return len(r) == 0 || r["keep-all"] > 0 }

// sum is the most backups that the retention can keep.
func (r retention) sum() int {
	n := 0
	for _, k := range keepKinds {
		n += r[k]
	}
	return n
}

// text is the retention as the log names it.
func (r retention) text() string {
	var parts []string
	for _, k := range keepKinds {
		if r[k] > 0 {
			parts = append(parts, fmt.Sprintf("%s=%d", k, r[k]))
		}
	}
	return strings.Join(parts, ", ")
}

// mark says for each backup of one guest whether it stays. Protected ones
// always do, and do not count.
func (r retention) mark(list []*backupEntry, zone *time.Location) {
	periods := map[string]string{"keep-hourly": "2006-01-02 15", "keep-daily": "2006-01-02", "keep-monthly": "2006-01", "keep-yearly": "2006"}
	for _, b := range list {
		b.mark = ""
		if b.protected {
			b.mark = "protected"
		} else if r.all() {
			b.mark = "keep"
		}
	}
	for _, kind := range keepKinds {
		seen := map[string]bool{}
		period := func(b *backupEntry) string {
			switch kind {
			case "keep-last":
				return b.id
			case "keep-weekly":
				y, w := b.made.In(zone).ISOWeek()
				return fmt.Sprint(y, "-", w)
			}
			return b.made.In(zone).Format(periods[kind])
		}
		for _, b := range list {
			if b.mark == "keep" && kind != "keep-last" {
				seen[period(b)] = true // already kept by a finer rule
			}
		}
		kept := 0
		for i := len(list) - 1; i >= 0 && kept < r[kind]; i-- {
			if b := list[i]; b.mark == "" && !seen[period(b)] {
				seen[period(b)] = true
				b.mark = "keep"
				kept++
			}
		}
	}
	for _, b := range list {
		if b.mark == "" {
			b.mark = "remove"
		}
	}
}

// marked are a storage's backups of one guest (0: every guest), each marked.
func (s *Server) marked(st *storage, keep retention, kind string, vmid int) []*backupEntry {
	groups := map[string][]*backupEntry{}
	for _, b := range s.backupsOf(st) {
		if (vmid == 0 || b.vmid == vmid) && (kind == "" || string(b.kind) == kind) {
			key := fmt.Sprint(b.kind, b.vmid)
			groups[key] = append(groups[key], b)
		}
	}
	var all []*backupEntry
	for _, g := range groups {
		keep.mark(g, s.zone)
		all = append(all, g...)
	}
	sort.Slice(all, func(i, j int) bool { return all[i].id < all[j].id })
	return all
}

func (s *Server) pruneDryRun(c *call) (any, error) {
	st, err := s.activate(c.get("storage"), s.nodeOf(c))
	if err != nil {
		return nil, err
	}
	keep := parseRetention(st.Prune)
	if c.has("prune-backups") {
		keep = parseRetention(c.get("prune-backups"))
	}
	rows := rowsOf(8)
	for _, b := range s.marked(st, keep, c.get("type"), c.vmid()) {
		rows = append(rows, object{"volid": b.id, "type": string(b.kind), "vmid": b.vmid, "ctime": b.made.Unix(), "mark": b.mark})
	}
	return rows, nil
}

// remove deletes a backup of any storage.
func (s *Server) removeBackup(id string) error {
	if s.archives[id] != nil {
		delete(s.archives, id)
		return nil
	}
	st, b, err := s.pbsBackup(id)
	if err != nil || b == nil {
		return err
	}
	return st.Store.Delete(st.place(), b.BackupID)
}

func (s *Server) pruneBackups(c *call) (any, error) {
	store := "/storage/" + c.get("storage")
	if !s.may(c.who, store, "Datastore.Allocate") {
		if !c.has("vmid") {
			return nil, denied(store, "Datastore.Allocate")
		}
		if err := s.need(c.who, store, "Datastore.AllocateSpace"); err != nil {
			return nil, err
		}
		if err := s.need(c.who, "/vms/"+c.get("vmid"), "VM.Backup"); err != nil {
			return nil, err
		}
	}
	st, err := s.activate(c.get("storage"), s.nodeOf(c))
	if err != nil {
		return nil, err
	}
	keep := parseRetention(st.Prune)
	if c.has("prune-backups") {
		keep = parseRetention(c.get("prune-backups"))
	}
	kind, vmid, id := c.get("type"), c.vmid(), st.ID
	if vmid != 0 {
		id = itoa(vmid) + "@" + st.ID
	}
	return s.fork(c.who, s.nodeOf(c), "prunebackups", id, func(w *worker) error {
		for _, b := range s.marked(st, keep, kind, vmid) {
			if b.mark == "remove" {
				w.log("removing backup '%s'", b.id)
				if err := s.removeBackup(b.id); err != nil {
					return fail("%s", err)
				}
			}
		}
		return nil
	}), nil
}
