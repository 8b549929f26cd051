package pve

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"sort"
	"strings"
	"time"
)

func (s *Server) vzdumpDefaults(c *call) (any, error) {
	store := c.get("storage")
	if store == "" {
		store = "local"
	}
	if err := s.need(c.who, "/storage/"+store, "Datastore.Audit", "Datastore.AllocateSpace"); err != nil {
		return nil, err
	}
	row := object{"prune-backups": "keep-all=1", "compress": "0", "remove": 1, "mode": "snapshot", "stopwait": 10, "lockwait": 180, "zstd": 1,
		"fleecing": object{"enabled": 0}, "notification-policy": "always", "stop": 0, "bwlimit": 0, "storage": store, "pigz": 0,
		"mailnotification": "always", "all": 0, "notification-mode": "auto", "performance": object{"max-workers": 16, "pbs-entries-max": 1048576},
		"stdexcludes": 1, "ionice": 7, "quiet": 0}
	if st := s.storage(store); st != nil {
		if st.Prune != "" {
			row["prune-backups"] = st.Prune
		}
		if st.files() {
			row["dumpdir"] = st.Path + "/dump"
		}
	}
	return row, nil
}

// dump is one vzdump run.
type dump struct {
	options map[string]string
	storage string
	st      *storage
	node    string
	keep    retention // what the call or the storage says
	vmids   []int
}

func (s *Server) vzdump(c *call) (any, error) {
	d := &dump{options: map[string]string{"node": s.nodeOf(c)}, storage: c.get("storage"), node: s.nodeOf(c)}
	for name := range c.given {
		if _, ok := vzdumpOption(name); ok {
			d.options[name] = c.params[name]
		}
	}
	if c.get("vmid") == "" && c.get("pool") == "" && !c.flag("all") {
		return nil, invalid("vmid", "property is missing")
	}
	if d.storage == "" {
		d.storage = "local"
	}
	for _, name := range []string{"tmpdir", "dumpdir", "script"} {
		if c.has(name) {
			return nil, invalid(name, "Only root may set this option.")
		}
	}
	if err := s.need(c.who, "/storage/"+d.storage, "Datastore.AllocateSpace"); err != nil {
		return nil, err
	}
	if c.has("prune-backups") {
		if err := s.need(c.who, "/storage/"+d.storage, "Datastore.Allocate"); err != nil {
			return nil, err
		}
	}
	id := ""
	for _, text := range splitList(c.get("vmid")) {
		d.vmids = append(d.vmids, number(text))
		id = text
	}
	if len(d.vmids) != 1 {
		id = ""
	}
	who := c.who
	for _, vmid := range d.vmids {
		if err := s.need(who, "/vms/"+itoa(vmid), "VM.Backup"); err != nil {
			return nil, err
		}
	}
	s.chooseGuests(d, who)
	return s.fork(who, d.node, "vzdump", id, func(w *worker) error { return w.dump(d) }), nil
}

// chooseGuests fills in the guests of "all" and "pool", and leaves out what
// lies on other nodes.
func (s *Server) chooseGuests(d *dump, who caller) {
	if len(d.vmids) == 0 {
		for _, g := range s.guests {
			in := truth(d.options["all"]) || slices.Contains(s.pools[d.options["pool"]], g.vmid)
			if in && g.node == d.node && s.may(who, "/vms/"+itoa(g.vmid), "VM.Backup") {
				d.vmids = append(d.vmids, g.vmid)
			}
		}
	}
	out := splitList(d.options["exclude"])
	d.vmids = slices.DeleteFunc(d.vmids, func(id int) bool {
		g := s.guests[id]
		return slices.Contains(out, itoa(id)) || (g != nil && g.node != d.node)
	})
	sort.Ints(d.vmids)
}

// dump runs the job: each guest on its own, errors of one do not end it.
func (w *worker) dump(d *dump) error {
	s := w.s
	st, err := s.activate(d.storage, d.node)
	if err != nil {
		return fail("could not activate storage '%s': %scould not get storage information for '%s': %s", d.storage, err.Error(), d.storage, err.Error())
	}
	if !st.holds("backup") {
		return fail("could not get storage information for '%s': can't use storage type '%s' for backup", d.storage, st.Type)
	}
	d.st, d.keep = st, parseRetention(st.Prune)
	if text, ok := d.options["prune-backups"]; ok {
		d.keep = parseRetention(text)
	}
	w.log("INFO: starting new backup job: %s", d.commandLine())
	failed := false
	for _, vmid := range d.vmids {
		err := w.dumpOne(d, vmid)
		if err == nil {
			continue
		}
		failed = true
		w.log("ERROR: Backup of VM %d failed - %s", vmid, reason(err))
		w.log("INFO: Failed at %s", w.stamp())
		if errors.Is(err, errSignal) {
			w.log("ERROR: Backup job failed - %s", reason(err))
			return err
		}
	}
	if failed {
		w.log("INFO: Backup job finished with errors")
		return fail("job errors")
	}
	w.log("INFO: Backup job finished successfully")
	return nil
}

// errSignal is what a stopped backup dies of.
var errSignal = errors.New("interrupted by signal")

func (w *worker) stamp() string { return w.s.zoneNow().Format("2006-01-02 15:04:05") }

// limits are the refusals before a backup starts.
func (w *worker) limits(d *dump, vmid int) error {
	remove := true
	if text, ok := d.options["remove"]; ok {
		remove = truth(text)
	}
	if truth(d.options["protected"]) {
		if err := w.s.protectable(d.st, vmid); err != nil {
			return err
		}
	} else if !remove && !d.keep.all() {
		n := 0
		for _, b := range w.s.backupsOf(d.st) {
			if b.vmid == vmid && !b.protected {
				n++
			}
		}
		if n >= d.keep.sum() {
			return fail("There is a max backup limit of %d enforced by the target storage or the vzdump parameters. Either increase the limit or delete old backups.", d.keep.sum())
		}
	}
	return nil
}

// dumpOne backs one guest up.
func (w *worker) dumpOne(d *dump, vmid int) error {
	s := w.s
	g := s.guests[vmid]
	if g == nil {
		return fail("unable to find VM '%d'", vmid)
	}
	if err := w.limits(d, vmid); err != nil {
		return err
	}
	began := s.now()
	w.log("INFO: Starting Backup of VM %d (%s)", vmid, g.kind)
	w.log("INFO: Backup started at %s", w.stamp())
	status := "stopped"
	if g.running {
		status = "running"
	}
	w.log("INFO: status = %s", status)
	err := w.locked(g.kind, g.vmid, func() error {
		if err := g.checkLock(); err != nil {
			return err
		}
		if err := s.write(g); err != nil {
			return err
		}
		g.config["lock"] = "backup"
		return nil
	})
	if err != nil {
		return err
	}
	err = w.archive(d, g)
	delete(g.config, "lock")
	if err != nil {
		return err
	}
	w.log("INFO: Finished Backup of VM %d (%s)", vmid, clockText(s.now().Sub(began)))
	w.log("INFO: Backup finished at %s", w.stamp())
	return nil
}

func clockText(d time.Duration) string {
	n := int(d.Seconds())
	return fmt.Sprintf("%02d:%02d:%02d", n/3600, n/60%60, n%60)
}

// archive makes the backup; the guest is marked.
func (w *worker) archive(d *dump, g *guest) error {
	s := w.s
	w.announce(d, g)
	image := s.imageOf(g)
	var size, data int64
	for key, disk := range image.Disks {
		size += disk.Size
		if v := s.volumes[volumeOf(key, g.config[key])]; v != nil {
			data += v.used
		}
	}
	made := s.now().Truncate(time.Second)
	target, err := s.openTarget(d, g, made)
	if err != nil {
		return err
	}
	w.log("INFO: creating %s archive '%s'", target.word, target.name)
	halted := g.kind == QEMU && !g.running
	if halted {
		w.log("INFO: starting kvm to execute backup task")
	}
	if err := w.move(d, g, size, data); err != nil {
		target.abort()
		if g.kind == QEMU {
			w.log("ERROR: %s", reason(err))
			w.log("INFO: aborting backup job")
			if halted {
				w.log("INFO: stopping kvm after backup task")
			} else {
				w.log("INFO: resuming VM again")
			}
		}
		return err
	}
	if halted {
		w.log("INFO: stopping kvm after backup task")
	}
	notes := notesOf(d.options["notes-template"], s, g)
	if err := target.commit(data/4+1, notes, truth(d.options["protected"]), image); err != nil {
		return err
	}
	if d.st.Type != "pbs" {
		w.log("INFO: archive file size: %s", sizeWord(data/4+1))
	}
	if notes != "" {
		w.log("INFO: adding notes to backup")
	}
	if truth(d.options["protected"]) {
		w.log("INFO: marking backup as protected")
	}
	return w.pruneAfter(d, g)
}

// move is the data on its way: freezing, then reading.
func (w *worker) move(d *dump, g *guest, size, data int64) error {
	s := w.s
	if sp := s.space(d.st); data/4 > sp.avail {
		if g.kind == LXC {
			return fail("command 'tar' failed: zstd: /*stdout*\\: No space left on device")
		}
		return fail("vma_queue_write: write error - Broken pipe")
	}
	if g.running && g.agent() {
		if g.noAgent {
			w.log("INFO: skipping guest-agent 'fs-freeze', agent configured but not running?")
		} else {
			w.log("INFO: issuing guest-agent 'fs-freeze' command")
			w.log("INFO: issuing guest-agent 'fs-thaw' command")
		}
	}
	if err := w.step("config"); err != nil {
		return signalled(err)
	}
	if g.kind == QEMU {
		w.log("INFO: started backup task '%s'", uuid())
		if g.running {
			w.log("INFO: resuming VM again")
		}
	}
	for n := 1; n <= 8; n++ {
		if n == 4 {
			if err := w.step("data"); err != nil {
				return signalled(err)
			}
			continue
		}
		if err := w.wait(nil, s.pace.Step); err != nil {
			return signalled(err)
		}
		if g.kind == QEMU && n%2 == 0 && n < 8 && s.pace.Step > 0 {
			w.log("INFO: %3d%% (%s of %s) in %ds, read: 1.0 GiB/s, write: 24.0 MiB/s", n*12, unitText(size*int64(n)*12/100), unitText(size), n)
		}
	}
	if g.kind == LXC {
		w.log("INFO: Total bytes written: %d (%s, 9.7MiB/s)", data, strings.ReplaceAll(unitText(data), " ", ""))
		if g.running && s.canSnapshot(g) {
			w.log("INFO: cleanup temporary 'vzdump' snapshot")
		}
		return nil
	}
	w.log("INFO: 100%% (%s of %s) in 1s, read: 1.0 GiB/s, write: 24.0 MiB/s", unitText(size), unitText(size))
	w.log("INFO: backup is sparse: %s (%d%%) total zero data", unitText(size-data), (size-data)*100/max(size, 1))
	w.log("INFO: transferred %s in 1 seconds (%s/s)", unitText(size), unitText(size))
	return nil
}

func signalled(err error) error {
	if errors.Is(err, errInterrupted) {
		return errSignal
	}
	return err
}

func notesOf(template string, s *Server, g *guest) string {
	cluster := s.cluster
	if cluster == "" {
		cluster = "standalone node"
	}
	return strings.NewReplacer("{{guestname}}", g.name(), "{{node}}", g.node, "{{vmid}}", itoa(g.vmid), "{{cluster}}", cluster, `\n`, "\n", `\\`, `\`).Replace(template)
}

// imageOf is the guest's state as a backup holds it.
func (s *Server) imageOf(g *guest) Image {
	config := maps.Clone(g.config)
	for _, key := range []string{"lock", "parent"} {
		delete(config, key)
	}
	image := Image{Kind: g.kind, VMID: g.vmid, Config: config, Disks: map[string]Volume{}, Firewall: g.firewall.text()}
	for _, key := range liveDisks(config) {
		v := s.volumes[volumeOf(key, config[key])]
		if in, _ := included(g.kind, key, config[key]); in && v != nil {
			image.Disks[key] = Volume{Size: v.size, Content: v.content}
		}
	}
	return image
}

// target is where one backup goes.
type target struct {
	word, name string
	commit     func(size int64, notes string, protected bool, image Image) error
	abort      func()
}

func (s *Server) openTarget(d *dump, g *guest, made time.Time) (*target, error) {
	st := d.st
	if st.Type == "pbs" {
		id := BackupID{g.kind, g.vmid, made.UTC()}
		up, err := st.Store.Begin(st.place(), id)
		if err != nil {
			return nil, fail("VM %d qmp command 'backup' failed - backup connect failed: command error: %s", g.vmid, err)
		}
		name := fmt.Sprintf("%s/%d/%s", pbsKind(g.kind), g.vmid, made.UTC().Format("2006-01-02T15:04:05Z"))
		return &target{"Proxmox Backup Server", name, func(_ int64, notes string, protected bool, image Image) error {
			size := int64(0)
			for _, disk := range image.Disks {
				size += disk.Size
			}
			return up.Commit(Stored{BackupID: id, Size: size, Notes: notes, Protected: protected}, image)
		}, func() { _ = up.Abort() }}, nil
	}
	format := "vma"
	if g.kind == LXC {
		format = "tar"
	}
	if ext := map[string]string{"zstd": ".zst", "gzip": ".gz", "1": ".lzo", "lzo": ".lzo"}[d.options["compress"]]; ext != "" {
		format += ext
	}
	id := archiveID(st.ID, g.kind, g.vmid, made.In(s.zone), format)
	return &target{"vzdump", st.Path + "/dump/" + path.Base(id), func(size int64, notes string, protected bool, image Image) error {
		s.archives[id] = &archive{id: id, storage: st.ID, made: made, size: size, format: format, notes: notes, protected: protected, image: image}
		return nil
	}, func() {}}, nil
}

// pruneAfter is the retention after a backup: also where the call did not ask
// for it. A call that says remove=0 does without.
func (w *worker) pruneAfter(d *dump, g *guest) error {
	if text, ok := d.options["remove"]; d.keep.all() || (ok && !truth(text)) {
		return nil
	}
	w.log("INFO: prune older backups with retention: %s", d.keep.text())
	n := 0
	for _, b := range w.s.marked(d.st, d.keep, string(g.kind), g.vmid) {
		if b.mark != "remove" {
			continue
		}
		w.log("INFO: removing backup '%s'", b.id)
		if err := w.s.removeBackup(b.id); err != nil {
			return fail("%s", err)
		}
		n++
	}
	if n > 0 {
		w.log("INFO: pruned %d backup(s) not covered by keep-retention policy", n)
	} else {
		w.log("INFO: pruned 0 backup(s)")
	}
	return nil
}
