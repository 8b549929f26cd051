package pve

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// restoreCT is POST /nodes/N/lxc with restore=1. What is checked at once and
// what only in the task is the reverse of a VM's.
func (s *Server) restoreCT(c *call) (any, error) {
	if err := s.mayAllocate(c, true); err != nil {
		return nil, err
	}
	id := c.get("ostemplate")
	if store, _, _ := strings.Cut(id, ":"); s.storage(store) == nil {
		return nil, fail("storage '%s' does not exist", store)
	}
	target := c.get("storage")
	if target == "" {
		target = "local"
	}
	if c.has("storage") {
		if err := s.need(c.who, "/storage/"+target, "Datastore.AllocateSpace"); err != nil {
			return nil, err
		}
	}
	if err := s.reading(c, id); err != nil {
		return nil, err
	}
	if err := s.ctTarget(c, target); err != nil {
		return nil, err
	}
	g, err := s.claimCT(c)
	if err != nil {
		return nil, err
	}
	r := &restore{g: g.guest, fresh: g.fresh, who: c.who, archive: id, params: maps.Clone(c.params), set: c.changes(), target: map[string]string{"rootfs": target}}
	return s.fork(c.who, r.g.node, "vzrestore", c.get("vmid"), func(w *worker) error {
		return w.locked(LXC, r.g.vmid, func() error { return w.restoreCT(r, g.old) })
	}), nil
}

func (s *Server) ctTarget(c *call, target string) error {
	if rootfs := c.get("rootfs"); rootfs != "" {
		target, _, _ = strings.Cut(rootfs, ":")
	}
	st, err := s.activate(target, s.nodeOf(c))
	if err != nil {
		return err
	}
	if !st.holds("rootdir") {
		return invalid("storage", fmt.Sprintf("storage '%s' does not support container directories", target))
	}
	return nil
}

// claimed is a CTID that a restore took, and what was there.
type claimed struct {
	*guest
	fresh bool
	old   map[string]string
}

func (s *Server) claimCT(c *call) (*claimed, error) {
	vmid := c.vmid()
	g := s.guests[vmid]
	if g == nil {
		g = &guest{vmid: vmid, kind: LXC, node: s.nodeOf(c), config: map[string]string{"lock": "create"}}
		if err := s.write(g); err != nil {
			return nil, err
		}
		s.guests[vmid] = g
		return &claimed{guest: g, fresh: true}, nil
	}
	if g.kind == QEMU || !c.flag("force") || g.node != s.nodeOf(c) {
		return nil, fail("%s %d already exists on node '%s'", g.word(), vmid, g.node)
	}
	if truth(g.config["protection"]) {
		return nil, fail("unable to restore CT %d - protection mode enabled", vmid)
	}
	if err := g.checkLock(); err != nil {
		return nil, fail("unable to restore CT %d - %s", vmid, reason(err))
	}
	if g.running {
		return nil, fail("unable to restore CT %d - container is running", vmid)
	}
	if err := s.write(g); err != nil {
		return nil, err
	}
	old := g.config
	g.config = map[string]string{"lock": "create"}
	return &claimed{guest: g, old: old}, nil
}

// restoreCT is the task. The new volumes are made, the old ones deleted, then
// the data is read; a failure before that puts the old container back, one
// after it leaves no container at all.
func (w *worker) restoreCT(r *restore, old map[string]string) error {
	s, g := w.s, r.g
	gone, err := w.extract(r, old)
	if err == nil {
		if truth(r.params["start"]) {
			return w.start(g)
		}
		return nil
	}
	for _, id := range r.created {
		delete(s.volumes, id)
	}
	if gone || r.fresh {
		delete(s.guests, g.vmid)
	} else {
		g.config = old
	}
	if errors.Is(err, errInterrupted) {
		err = fail("command '%s' failed: received interrupt", tarCommand(r))
	}
	return fail("unable to restore CT %d - %s", g.vmid, reason(err))
}

func tarCommand(r *restore) string {
	read := ""
	if n := number(r.params["bwlimit"]); n > 0 {
		read = fmt.Sprintf("cstream -t %d | ", n*1024)
	}
	return "set -o pipefail && " + read + "lxc-usernsexec -m u:0:100000:65536 -m g:0:100000:65536 -- tar xpf - --zstd --totals --one-file-system -p --sparse --numeric-owner " +
		"--acls --xattrs '--xattrs-include=user.*' '--xattrs-include=security.capability' '--warning=no-file-ignored' '--warning=no-xattr-write' " +
		fmt.Sprintf("-C /var/lib/lxc/%d/rootfs --skip-old-files --anchored --exclude './dev/*'", r.g.vmid)
}

// extract does the work; gone tells that the old volumes are deleted.
func (w *worker) extract(r *restore, old map[string]string) (gone bool, err error) {
	s, g := w.s, r.g
	w.log("recovering backed-up configuration from '%s'", r.archive)
	if r.image, err = s.image(r.archive); err != nil {
		return false, err
	}
	if r.image.Kind == QEMU {
		w.log("tar: This does not look like a tar archive")
		w.log("tar: Skipping to next header")
		w.log("tar: Exiting with failure status due to previous errors")
		return false, fail("ERROR: archive contains no configuration file")
	}
	if err := w.step("config"); err != nil {
		return false, err
	}
	config := maps.Clone(r.image.Config)
	for _, key := range slices.Sorted(maps.Keys(config)) {
		kind := hostMount(key, config[key])
		if kind != "" && r.params["rootfs"] == "" {
			return false, fail("restoring '%s' to %s mount is only possible for root", key, kind)
		} else if kind != "" {
			delete(config, key)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(r.image.Disks)) {
		w.makeVolume(r, config, key)
	}
	for key, value := range old {
		delete(s.volumes, volumeOf(key, value))
	}
	for _, x := range g.snaps {
		delete(s.volumes, x.ram)
	}
	g.snaps = nil
	w.log("restoring '%s' now..", r.archive)
	w.log("extracting archive '%s'", s.archiveFile(r.archive))
	for n := range 10 {
		if n == 5 {
			err = w.step("data")
		} else {
			err = w.wait(nil, s.pace.Step)
		}
		if err != nil {
			return true, err
		}
	}
	if r.image.Damage != "" {
		return true, fail("command '%s' failed: exit code 2", tarCommand(r))
	}
	return true, w.mergeCT(r, config)
}

// makeVolume makes the volume for one mount point.
func (w *worker) makeVolume(r *restore, config map[string]string, key string) {
	s := w.s
	store, size := r.target["rootfs"], r.image.Disks[key].Size
	if given := r.set[key]; given != "" {
		var text string
		store, text, _ = strings.Cut(strings.SplitN(given, ",", 2)[0], ":")
		if n := bytesOf(text + "G"); n > 0 {
			size = n
		}
	}
	v := s.allocate(s.storage(store), LXC, r.g.vmid, "", size)
	v.used = size / 8
	r.created = append(r.created, v.id)
	logFormatting(s, v, w.log)
	w.log("Creating filesystem with %d 4k blocks and %d inodes", size/4096, size/16384)
	w.log("Filesystem UUID: %s", uuid())
	w.log("Superblock backups stored on blocks: ")
	w.log("\t32768, 98304")
	value := strings.Replace(config[key], volumeOf(key, config[key]), v.id, 1)
	config[key] = strings.Replace(value, "size="+option(value, "size"), "size="+sizeText(size), 1)
}

// mergeCT ends a restore: the archive's configuration and the call's. A
// container whose archive is unprivileged becomes privileged where the call
// says so.
func (w *worker) mergeCT(r *restore, config map[string]string) error {
	s, g := w.s, r.g
	var bytes int64
	for key, disk := range r.image.Disks {
		if v := s.volumes[volumeOf(key, config[key])]; v != nil {
			v.content = disk.Content
			bytes += v.used
		}
	}
	w.log("Total bytes read: %d (%s, 253MiB/s)", bytes, strings.ReplaceAll(unitText(bytes), " ", ""))
	w.log("merging backed-up and given configuration..")
	if err := w.step("commit"); err != nil {
		return err
	}
	for _, key := range liveDisks(config) {
		if _, ok := r.image.Disks[key]; !ok {
			delete(config, key)
		}
	}
	w.dropLXC(config)
	for key, value := range r.set {
		if key == "unprivileged" && !truth(value) {
			delete(config, key)
		} else if !diskKey.MatchString(key) {
			config[key] = value
		}
	}
	if truth(r.params["unique"]) {
		for key, value := range config {
			if mac := option(value, "hwaddr"); strings.HasPrefix(key, "net") && mac != "" {
				fresh, _, _ := strings.Cut(strings.TrimPrefix(withMAC("x", true), "x="), ",")
				config[key] = strings.Replace(value, mac, fresh, 1)
			}
		}
	}
	delete(config, "parent")
	g.config, g.firewall = config, parseFirewall(r.image.Firewall)
	return nil
}

// dropLXC takes the options of LXC itself away, which root@pam alone may set, and no token.
func (w *worker) dropLXC(config map[string]string) {
	said := "skipping custom lxc options, restore manually as root:\n--------------------------------\n"
	found := false
	for _, key := range slices.Sorted(maps.Keys(config)) {
		if strings.HasPrefix(key, "lxc.") {
			found = true
			for value := range strings.SplitSeq(config[key], "\n") {
				said += key + ": " + value + "\n"
			}
			delete(config, key)
		}
	}
	if found {
		w.warn("%s--------------------------------", said)
	}
}

// hostMount is what a mount point is that is no volume: root's alone.
func hostMount(key, value string) string {
	switch volume := strings.TrimPrefix(value, "volume="); {
	case !strings.HasPrefix(key, "mp"):
	case strings.HasPrefix(volume, "/dev/"):
		return "device"
	case strings.HasPrefix(volume, "/"):
		return "bind"
	}
	return ""
}
