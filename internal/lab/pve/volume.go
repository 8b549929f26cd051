package pve

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// volume is a disk image or container volume on a storage.
type volume struct {
	id      string
	vmid    int
	kind    Kind
	format  string
	size    int64
	used    int64
	content string
	made    time.Time
	state   bool // the memory of a snapshot
	snaps   []volumeSnapshot
}

// volumeSnapshot is one state of a volume, oldest first. A hidden one was made
// by another tool: PVE's configuration does not know it.
type volumeSnapshot struct {
	name, content string
	hidden        bool
}

func (v *volume) store() string {
	store, _, _ := strings.Cut(v.id, ":")
	return store
}

// short is the volume's name on its storage.
func (v *volume) short() string {
	_, name, _ := strings.Cut(v.id, ":")
	return name[strings.LastIndex(name, "/")+1:]
}

func (v *volume) find(snap string) int {
	return slices.IndexFunc(v.snaps, func(x volumeSnapshot) bool { return x.name == snap })
}

type storage struct {
	Storage
}

func newStorage(st Storage) *storage {
	if st.Total == 0 {
		st.Total = 500 << 30
	}
	if len(st.Content) == 0 {
		st.Content = map[string][]string{"pbs": {"backup"}, "lvmthin": {"images", "rootdir"}, "lvm": {"images", "rootdir"}, "zfspool": {"images", "rootdir"}}[st.Type]
		if st.Content == nil {
			st.Content = []string{"images", "rootdir", "backup"}
		}
	}
	if st.Path == "" && st.files() {
		st.Path = "/mnt/pve/" + st.ID
	}
	if st.Type == "pbs" || st.Type == "nfs" || st.Type == "cifs" {
		st.Shared = true
	}
	if st.Type == "lvmthin" && st.MetaTotal == 0 {
		st.MetaTotal = 1 << 30
	}
	return &storage{st}
}

// files tells whether volumes are files with names of their own formats.
func (st Storage) files() bool {
	return slices.Contains([]string{"dir", "nfs", "cifs", "btrfs", "cephfs"}, st.Type)
}

func (s *Server) storage(id string) *storage {
	for _, st := range s.storages {
		if st.ID == id {
			return st
		}
	}
	return nil
}

func (st *storage) holds(content string) bool { return slices.Contains(st.Content, content) }

func (st *storage) on(node string) bool { return len(st.Nodes) == 0 || slices.Contains(st.Nodes, node) }

// formatOf is a volume's format, from its name where that says it.
func (st *storage) formatOf(id string, kind Kind) string {
	if st.files() {
		if dot := strings.LastIndexByte(id, '.'); dot > 0 {
			return id[dot+1:]
		}
		return "subvol"
	}
	if strings.Contains(id, "subvol-") {
		return "subvol"
	}
	if strings.HasSuffix(id, ".qcow2") {
		return "qcow2"
	}
	return "raw"
}

// snapshotting is how a volume's snapshots behave: "" not at all, "any" it
// rolls back to any, "newest" only to the newest.
func (st *storage) snapshotting(v *volume) string {
	switch st.Type {
	case "lvmthin", "rbd":
		return "any"
	case "zfspool":
		return "newest"
	case "btrfs":
		if v.format == "qcow2" {
			return "any"
		}
		return "any"
	}
	if v.format != "qcow2" {
		return ""
	}
	if st.VolumeChain {
		return "newest"
	}
	return "any"
}

// allocate makes a volume of a guest with the next free name.
func (s *Server) allocate(st *storage, kind Kind, vmid int, format string, size int64) *volume {
	if !st.files() {
		format = "raw"
		if kind == LXC && st.Type == "zfspool" {
			format = "subvol"
		}
	} else if format == "" {
		format = map[Kind]string{QEMU: "qcow2", LXC: "raw"}[kind]
	}
	for n := 0; ; n++ {
		id := st.volumeID(vmid, fmt.Sprintf("disk-%d", n), format)
		if s.volumes[id] != nil {
			continue
		}
		v := &volume{id: id, vmid: vmid, kind: kind, format: format, size: size, made: s.now()}
		s.volumes[id] = v
		return v
	}
}

func (st *storage) volumeID(vmid int, name, format string) string {
	prefix := "vm"
	if format == "subvol" {
		prefix = "subvol"
	}
	short := fmt.Sprintf("%s-%d-%s", prefix, vmid, name)
	if st.files() {
		return fmt.Sprintf("%s:%d/%s.%s", st.ID, vmid, short, format)
	}
	return st.ID + ":" + short
}

// stateVolume is where a snapshot's memory lies.
func (s *Server) stateVolume(g *guest, snap string) string {
	for _, key := range liveDisks(g.config) {
		v := s.volumes[volumeOf(key, g.config[key])]
		if v == nil {
			continue
		}
		st := s.storage(v.store())
		id := st.volumeID(g.vmid, "state-"+snap, "raw")
		s.volumes[id] = &volume{id: id, vmid: g.vmid, kind: g.kind, format: "raw", size: g.memory() / 4, used: g.memory() / 4, made: s.now(), state: true}
		return id
	}
	return ""
}

// path is a volume's file or device on the node.
func (s *Server) path(v *volume) string {
	st := s.storage(v.store())
	_, name, _ := strings.Cut(v.id, ":")
	switch {
	case st.files():
		return st.Path + "/images/" + name
	case st.Type == "zfspool" && v.format == "subvol":
		return "/" + st.Pool + "/" + name
	case st.Type == "zfspool":
		return "/dev/zvol/" + st.Pool + "/" + name
	}
	return "/dev/" + st.VGName + "/" + name
}

// usedOf is the space taken on a storage: each volume, and a fraction of it
// for every snapshot.
func (s *Server) usedOf(st *storage) int64 {
	used := st.Base
	for _, v := range s.volumes {
		if v.store() == st.ID {
			used += v.used + int64(len(v.snaps))*(v.used/20)
		}
	}
	for _, a := range s.archives {
		if a.storage == st.ID {
			used += a.size
		}
	}
	return used
}

// metaUsed is the thin pool's metadata in use.
func (s *Server) metaUsed(st *storage) int64 {
	used := st.Meta
	for _, v := range s.volumes {
		if v.store() == st.ID {
			used += int64(1+len(v.snaps)) * (v.size / 4096)
		}
	}
	return min(used, st.MetaTotal)
}
