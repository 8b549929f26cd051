package pve

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// restore is a VM's restore under way.
type restore struct {
	g       *guest
	fresh   bool // the VMID was free
	who     caller
	archive string
	image   Image
	command string // the pipeline that reads the archive, as errors name it
	params  map[string]string
	set     map[string]string // options that the call gives
	created []string          // volumes made so far
	target  map[string]string // volume by configuration key
}

// readable checks an archive before a restore starts: what it is, the right to
// it, and that it exists.
func (s *Server) readable(c *call, id string) error {
	store, name, ok := strings.Cut(id, ":")
	if !ok || strings.HasPrefix(id, "/") {
		return fail("Only root can pass arbitrary filesystem paths. at /usr/share/perl5/PVE/Storage.pm line 581.")
	}
	if s.storage(store) == nil {
		return fail("storage '%s' does not exist", store)
	}
	if !strings.HasPrefix(name, "backup/") {
		return fail("unable to use volume %s - content type needs to be 'backup'", id)
	}
	return s.reading(c, id)
}

func (s *Server) exists(id string) error {
	if s.archives[id] != nil {
		return nil
	}
	_, b, err := s.pbsBackup(id)
	if err != nil {
		return err
	}
	if b == nil {
		return fail("volume '%s' does not exist", id)
	}
	return nil
}

func (s *Server) restoreVM(c *call) (any, error) {
	if err := s.mayRestoreVM(c); err != nil {
		return nil, err
	}
	r := &restore{who: c.who, archive: c.get("archive"), params: maps.Clone(c.params), set: c.changes()}
	err := s.lockedCall(QEMU, c.vmid(), func() error { return s.claim(c, r) })
	if err != nil {
		return nil, fail("unable to restore VM %d - %s", c.vmid(), strings.TrimSuffix(err.Error(), "\n"))
	}
	return s.fork(c.who, r.g.node, "qmrestore", c.get("vmid"), func(w *worker) error {
		return w.locked(QEMU, r.g.vmid, func() error { return w.restoreVM(r) })
	}), nil
}

func (s *Server) mayRestoreVM(c *call) error {
	for key := range c.changes() {
		if diskKey.MatchString(key) {
			return invalid(key, "option conflicts with option 'archive'")
		}
	}
	if store := c.get("storage"); store != "" {
		if err := s.need(c.who, "/storage/"+store, "Datastore.AllocateSpace"); err != nil {
			return err
		}
	}
	if err := s.mayAllocate(c, true); err != nil {
		return err
	}
	if err := s.readable(c, c.get("archive")); err != nil {
		return err
	}
	if err := s.mayOverride(c); err != nil {
		return err
	}
	return s.exists(c.get("archive"))
}

// claim makes the VMID ours: an empty configuration, or the old one marked.
func (s *Server) claim(c *call, r *restore) error {
	vmid := c.vmid()
	g := s.guests[vmid]
	switch {
	case g == nil:
		g = &guest{vmid: vmid, kind: QEMU, node: s.nodeOf(c), config: map[string]string{}}
		r.fresh = true
	case !c.flag("force") || g.node != s.nodeOf(c):
		return fail("%s %d already exists on node '%s'", g.word(), vmid, g.node)
	case g.kind == LXC:
		return fail("close (rename) atomic file '/etc/pve/%s' failed: File exists", confFile(g.node, QEMU, vmid))
	default:
		if err := g.checkLock(); err != nil {
			return err
		}
	}
	if err := s.write(g); err != nil {
		return err
	}
	s.guests[vmid] = g
	g.config["lock"] = "create"
	r.g = g
	return nil
}

// restoreVM is the task. Until the old disks are freed a failure leaves the old
// VM as it was; from then on nothing is cleaned up.
func (w *worker) restoreVM(r *restore) error {
	err := w.restoreData(r)
	if err == nil {
		return w.startRestored(r)
	}
	s := w.s
	for i := len(r.created) - 1; i >= 0; i-- {
		delete(s.volumes, r.created[i])
		w.log("temporary volume '%s' successfully removed", r.created[i])
	}
	if r.g.config["lock"] != "create" {
		w.log("no lock found trying to remove 'create'  lock")
	}
	delete(r.g.config, "lock")
	w.log("error before or during data restore, some or all disks were not completely restored. VM %d state is NOT cleaned up.", r.g.vmid)
	if errors.Is(err, errInterrupted) {
		return fail("command '%s' failed: interrupted by signal", r.command)
	}
	return err
}

func (w *worker) restoreData(r *restore) error {
	s, g := w.s, r.g
	if err := w.early(r); err != nil {
		return err
	}
	if err := w.header(r); err != nil {
		return err
	}
	stores, err := s.targets(r)
	if err != nil {
		return fail("command '%s' failed: %s", r.command, err)
	}
	if err := w.step("config"); err != nil {
		return err
	}
	if err := s.write(g); err != nil {
		return err
	}
	old := g.config
	s.freeOld(r)
	g.config, g.snaps, g.pending = map[string]string{"memory": "128"}, nil, nil
	if err := w.allocateDisks(r, stores); err != nil {
		return err
	}
	if err := w.progress(r, stores); err != nil {
		return err
	}
	if err := w.step("commit"); err != nil {
		return err
	}
	w.assemble(r, old)
	return nil
}

// early are the checks before the archive is read.
func (w *worker) early(r *restore) error {
	s, g := w.s, r.g
	image, err := s.image(r.archive)
	if err != nil {
		return err
	}
	r.image = image
	r.command = w.pipeline(r)
	if image.Kind == LXC {
		for _, key := range []string{"features", "hostname", "rootfs", "swap", "unprivileged"} {
			if _, ok := image.Config[key]; ok {
				w.log("vm %d - unable to parse value of '%s' - unknown setting '%s'", g.vmid, key, key)
			}
		}
		return fail("ERROR: file '%s' does not look like a QemuServer vzdump backup", s.archiveFile(r.archive))
	}
	for key, value := range image.Config {
		bridge := option(value, "bridge")
		if strings.HasPrefix(key, "net") && bridge != "" && !s.may(r.who, "/sdn/zones/localnetwork/"+bridge, "SDN.Use") {
			return fail("403 Permission check failed (/sdn/zones/localnetwork/%s, SDN.Use)", bridge)
		}
	}
	switch {
	case g.running:
		return fail("unable to restore VM %d - vm is running", g.vmid)
	case truth(g.config["protection"]):
		return fail("unable to restore VM %d - - protection mode enabled", g.vmid)
	case truth(r.params["live-restore"]) && pbsVolume.FindString(r.archive) == "":
		return fail("live-restore is only compatible with backup images from a Proxmox Backup Server")
	}
	return nil
}

// archiveFile is an archive's path on the node.
func (s *Server) archiveFile(id string) string {
	if a := s.archives[id]; a != nil {
		return s.archivePath(a)
	}
	_, name, _ := strings.Cut(id, ":")
	return strings.TrimPrefix(name, "backup/")
}

func (w *worker) pipeline(r *restore) string {
	file, tmp := w.s.archiveFile(r.archive), fmt.Sprintf("/var/tmp/vzdumptmp%d", w.t.pid)
	read := "zstd -q -d -c " + file
	if n := number(r.params["bwlimit"]); n > 0 {
		read = fmt.Sprintf("cstream -t %d -- %s | zstd -q -d -c -", n*1024, file)
	}
	return fmt.Sprintf("set -o pipefail && %s | vma extract -v -r %s.fifo - %s", read, tmp, tmp)
}

// header is the start of reading the archive.
func (w *worker) header(r *restore) error {
	if pbsVolume.FindString(r.archive) != "" {
		return nil
	}
	limit := number(r.params["bwlimit"])
	if limit > 0 {
		w.log("applying read rate limit: %d", limit)
	}
	w.log("restore vma archive: %s", strings.TrimPrefix(r.command, "set -o pipefail && "))
	if r.image.Damage == "header" {
		return fail("command '%s' failed: got timeout reading VMA header - corrupted?", r.command)
	}
	w.log("CFG: size: 574 name: qemu-server.conf")
	for i, key := range slices.Sorted(maps.Keys(r.image.Disks)) {
		w.log("DEV: dev_id=%d size: %d devname: drive-%s", i+1, r.image.Disks[key].Size, key)
	}
	w.log("CTIME: %s", w.s.zoneNow().Format("Mon Jan _2 15:04:05 2006"))
	return nil
}

// targets are the storages of the disks: the call's, or the archive's own.
func (s *Server) targets(r *restore) (map[string]*storage, error) {
	all := map[string]*storage{}
	for _, key := range slices.Sorted(maps.Keys(r.image.Disks)) {
		name := r.params["storage"]
		if name == "" {
			name, _, _ = strings.Cut(volumeOf(key, r.image.Config[key]), ":")
		}
		st := s.storage(name)
		if st == nil {
			return nil, fail("storage '%s' does not exist", name)
		}
		if !st.holds("images") {
			return nil, fail("Content type 'images' is not available on storage '%s'", name)
		}
		if r.params["storage"] == "" && !s.may(r.who, "/storage/"+name, "Datastore.AllocateSpace") {
			return nil, denied("/storage/"+name, "Datastore.AllocateSpace")
		}
		all[key] = st
	}
	return all, nil
}

// freeOld frees the old VM's disks that the archive has, and every snapshot.
// Others stay where they are, in no configuration for now.
func (s *Server) freeOld(r *restore) {
	if r.fresh {
		return
	}
	for key, value := range r.g.config {
		if _, ok := r.image.Disks[key]; ok {
			delete(s.volumes, volumeOf(key, value))
		}
	}
	for _, x := range r.g.snaps {
		delete(s.volumes, x.ram)
		for key := range x.config {
			if v := s.volumes[volumeOf(key, x.config[key])]; v != nil {
				v.snaps = nil
			}
		}
	}
}

func (w *worker) allocateDisks(r *restore, stores map[string]*storage) error {
	s := w.s
	r.target = map[string]string{}
	if limit := number(r.params["bwlimit"]); limit > 0 && len(stores) > 0 {
		seen := map[string]bool{}
		for _, st := range stores {
			if !seen[st.ID] {
				seen[st.ID] = true
				w.log("rate limit for storage %s: %d KiB/s", st.ID, limit)
			}
		}
	}
	for _, key := range slices.Sorted(maps.Keys(stores)) {
		st, err := s.activate(stores[key].ID, r.g.node)
		if err != nil {
			return fail("command '%s' failed: %s", r.command, err)
		}
		format := ""
		if old := s.storage(strings.SplitN(volumeOf(key, r.image.Config[key]), ":", 2)[0]); old != nil && old.files() {
			format = old.formatOf(volumeOf(key, r.image.Config[key]), QEMU)
		}
		v := s.allocate(st, QEMU, r.g.vmid, format, r.image.Disks[key].Size)
		logFormatting(s, v, w.log)
		w.log("new volume ID is '%s'", v.id)
		r.created = append(r.created, v.id)
		r.target[key] = v.id
	}
	if pbsVolume.FindString(r.archive) == "" {
		for _, key := range slices.Sorted(maps.Keys(r.target)) {
			w.log("map 'drive-%s' to '%s' (write zeros = 0)", key, s.path(s.volumes[r.target[key]]))
		}
	}
	return nil
}

// progress reads the data: a line for each percent, in ten steps.
func (w *worker) progress(r *restore, stores map[string]*storage) error {
	s := w.s
	var size int64
	for key, disk := range r.image.Disks {
		size += disk.Size
		s.volumes[r.target[key]].used = disk.Size / 8
	}
	full := false
	for _, st := range stores {
		full = full || s.usedOf(st) > st.Total-st.Reserved
	}
	pbs := pbsVolume.FindString(r.archive) != ""
	if pbs {
		w.log("restore proxmox backup image: /usr/bin/pbs-restore --repository lab %s --verbose --format raw --skip-zero", s.archiveFile(r.archive))
		w.log("connecting to repository 'lab'")
		w.log("starting to restore snapshot '%s'", s.archiveFile(r.archive))
		w.log("download and verify backup index")
	}
	for n := 1; n <= 100; n++ {
		w.log("progress %d%% (read %d bytes, duration %d sec)", n, size*int64(n)/100, int(w.s.now().Sub(w.t.start).Seconds()))
		if n == 50 {
			if err := w.step("data"); err != nil {
				return err
			}
		} else if n%10 == 0 {
			if err := w.wait(nil, s.pace.Step); err != nil {
				return err
			}
		}
		if n == 58 && (full || r.image.Damage != "") {
			return w.breakOff(r, full, pbs)
		}
	}
	for key, disk := range r.image.Disks {
		s.volumes[r.target[key]].content = disk.Content
	}
	if pbs {
		w.log("restore image complete (bytes=%d, duration=1.00s, speed=100.00MB/s)", size)
	} else {
		w.log("total bytes read %d, sparse bytes %d (85.1%%)", size, size*85/100)
		w.log("space reduction due to 4K zero blocks 0%%")
	}
	return nil
}

// breakOff is a restore that fails in the middle of the data.
func (w *worker) breakOff(r *restore, full, pbs bool) error {
	if pbs {
		w.log("restore failed: %s", r.image.Damage)
		return fail("command '/usr/bin/pbs-restore --repository lab %s' failed: exit code 255", w.s.archiveFile(r.archive))
	}
	if full {
		w.log("vma: restore failed - blk_pwrite to  failed (-28)")
	} else {
		w.log("_01-00_00_00.vma.zst : Read error (39) : premature end ")
		w.log("vma: restore failed - %s", r.image.Damage)
	}
	w.log("/bin/bash: line 1: %5d Broken pipe             zstd -q -d -c %s", w.t.pid+31, w.s.archiveFile(r.archive))
	w.log("     %5d Trace/breakpoint trap   | vma extract -v -r /var/tmp/vzdumptmp%d.fifo - /var/tmp/vzdumptmp%d", w.t.pid+32, w.t.pid, w.t.pid)
	return fail("command '%s' failed: exit code 133", r.command)
}

// assemble writes the configuration of the restored VM.
func (w *worker) assemble(r *restore, old map[string]string) {
	s, g := w.s, r.g
	config := maps.Clone(r.image.Config)
	for key, id := range r.target {
		config[key] = strings.Replace(config[key], volumeOf(key, config[key]), id, 1)
	}
	for _, key := range liveDisks(config) {
		if _, ok := r.target[key]; !ok {
			delete(config, key) // it was not in the backup
		}
	}
	unique := truth(r.params["unique"])
	for key := range config {
		if m := numbered.FindStringSubmatch(key); m != nil && m[1] == "net" {
			config[key] = withMAC(config[key], unique)
		}
	}
	if unique && config["smbios1"] != "" {
		config["smbios1"] = "uuid=" + uuid()
	}
	if config["vmgenid"] != "" {
		config["vmgenid"] = uuid()
	}
	delete(config, "parent")
	maps.Copy(config, r.set)
	g.config, r.created, g.firewall = config, nil, parseFirewall(r.image.Firewall)
	w.log("rescan volumes...")
	for _, key := range disksOf(old) {
		if id := volumeOf(key, old[key]); s.volumes[id] != nil && !slices.Contains(slices.Collect(maps.Values(r.target)), id) {
			g.unuse(id)
			w.log("VM %d add unreferenced volume '%s' as '%s' to config", g.vmid, id, keyOf(g.config, id))
		}
	}
	if pool := r.params["pool"]; pool != "" {
		s.pools[pool] = append(s.pools[pool], g.vmid)
	}
}

func keyOf(config map[string]string, id string) string {
	for key, value := range config {
		if value == id {
			return key
		}
	}
	return ""
}

// startRestored starts the VM in a task of its own; no privilege is asked for.
func (w *worker) startRestored(r *restore) error {
	if !truth(r.params["start"]) {
		return nil
	}
	w.log("Execute autostart")
	g := r.g
	w.s.fork(r.who, g.node, "qmstart", itoa(g.vmid), func(w *worker) error {
		return w.locked(QEMU, g.vmid, func() error { return w.start(g) })
	})
	return nil
}
