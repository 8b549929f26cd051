package pve

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

var storageRoutes = []route{
	{method: "GET", path: "/storage", params: "type?", handler: (*Server).storageConfigs},
	{method: "GET", path: "/storage/{storage}", perm: "/storage/{storage} Datastore.Allocate", params: "storage", handler: (*Server).storageConfig},
	{method: "GET", path: "/nodes/{node}/storage", flags: "forward", params: "node content?:content enabled?:bool storage? target? format?:bool", handler: (*Server).listStorages},
	{method: "GET", path: "/nodes/{node}/storage/{storage}", perm: readStorage, params: "node storage", handler: (*Server).storageIndex},
	{method: "GET", path: "/nodes/{node}/storage/{storage}/status", perm: readStorage, flags: "forward", params: "node storage", handler: (*Server).storageStatus},
	{method: "GET", path: "/nodes/{node}/storage/{storage}/content", perm: readStorage, flags: "forward", params: "node storage content?:content vmid?", handler: (*Server).listContent},
	{method: "GET", path: "/nodes/{node}/storage/{storage}/content/{volume}", flags: "forward", params: "node storage volume", handler: (*Server).getVolume},
	{method: "PUT", path: "/nodes/{node}/storage/{storage}/content/{volume}", flags: "forward", params: "node storage volume notes? protected?:bool", handler: (*Server).putVolume},
	{method: "DELETE", path: "/nodes/{node}/storage/{storage}/content/{volume}", flags: "forward", params: "node storage volume delay?:int>=1", handler: (*Server).deleteVolume},
	{method: "GET", path: "/nodes/{node}/storage/{storage}/prunebackups", perm: readStorage, flags: "forward", params: "node storage prune-backups?:prune type?:enum=qemu|lxc vmid?", handler: (*Server).pruneDryRun},
	{method: "DELETE", path: "/nodes/{node}/storage/{storage}/prunebackups", flags: "forward", params: "node storage prune-backups?:prune type?:enum=qemu|lxc vmid?", handler: (*Server).pruneBackups},
	{method: "GET", path: "/nodes/{node}/storage/{storage}/file-restore/list", flags: "forward", params: "node storage volume filepath", handler: (*Server).fileRestore},
	{method: "GET", path: "/nodes/{node}/storage/{storage}/file-restore/download", flags: "forward", params: "node storage volume filepath tar?:bool", handler: (*Server).fileDownload},
}

const readStorage = "/storage/{storage} Datastore.Audit|Datastore.AllocateSpace"

// contentText lists the content types in random order, as Perl's hashes do.
func (st *storage) contentText() string {
	types := slices.Clone(st.Content)
	rand.Shuffle(len(types), func(i, j int) { types[i], types[j] = types[j], types[i] })
	return strings.Join(types, ",")
}

// configRow is a storage's definition.
func (s *Server) configRow(st *storage) object {
	row := object{"storage": st.ID, "type": st.Type, "content": st.contentText(), "digest": s.storageDigest()}
	set := func(key, value string) {
		if value != "" {
			row[key] = value
		}
	}
	set("prune-backups", st.Prune)
	set("nodes", strings.Join(st.Nodes, ","))
	if st.Disable {
		row["disable"] = 1
	}
	if st.Shared {
		row["shared"] = 1
	}
	if st.MaxProtected != 0 {
		row["max-protected-backups"] = fmt.Sprint(st.MaxProtected)
	}
	if st.VolumeChain {
		row["snapshot-as-volume-chain"] = 1
	}
	switch {
	case st.Type == "pbs":
		set("server", st.Server)
		set("datastore", st.Datastore)
		set("namespace", st.Namespace)
		set("username", st.Username)
		set("fingerprint", st.Fingerprint)
		set("encryption-key", st.EncryptionKey)
	case st.Type == "lvmthin" || st.Type == "lvm":
		set("vgname", st.VGName)
		set("thinpool", st.Pool)
	case st.Type == "zfspool":
		set("pool", st.Pool)
	case st.Type == "nfs" || st.Type == "cifs":
		set("path", st.Path)
		set("server", cmp.Or(st.Server, "192.0.2.200"))
		set("export", cmp.Or(st.Export, "/export/"+st.ID))
	default:
		set("path", st.Path)
		if st.IsMountpoint {
			row["is_mountpoint"], row["mkdir"] = "1", 0
		}
	}
	return row
}

func (s *Server) storageDigest() string {
	var ids []string
	for _, st := range s.storages {
		ids = append(ids, st.ID, st.Type, st.Prune)
	}
	return digestOf(ids)
}

func (s *Server) storageConfigs(c *call) (any, error) {
	rows := rowsOf(len(s.storages))
	for _, st := range s.storages {
		if s.may(c.who, "/storage/"+st.ID, "Datastore.Audit", "Datastore.AllocateSpace") && (!c.has("type") || c.get("type") == st.Type) {
			rows = append(rows, s.configRow(st))
		}
	}
	return shuffled(rows), nil
}

func (s *Server) storageConfig(c *call) (any, error) {
	st := s.storage(c.get("storage"))
	if st == nil {
		return nil, fail("storage '%s' does not exist", c.get("storage"))
	}
	return s.configRow(st), nil
}

// space is a storage's fill level; inactive has none.
type space struct {
	active             bool
	total, used, avail int64
}

func (s *Server) space(st *storage) space {
	if st.Disable || (st.IsMountpoint && st.Unmounted) {
		return space{}
	}
	total, used := st.Total, int64(0)
	if st.Type == "pbs" {
		if st.Store == nil {
			return space{}
		}
		t, u, err := st.Store.Usage(st.place())
		if err != nil || st.trusts() != nil {
			return space{}
		}
		total, used = t, u
	} else {
		used = s.usedOf(st)
	}
	return space{true, total, min(used, total), max(0, total-used-st.Reserved)}
}

// statusRow is how a storage is doing.
func (s *Server) statusRow(st *storage) object {
	sp := s.space(st)
	return object{"type": st.Type, "content": st.contentText(), "shared": flag(st.Shared), "enabled": flag(!st.Disable),
		"active": flag(sp.active), "total": sp.total, "used": sp.used, "avail": sp.avail}
}

func (s *Server) listStorages(c *call) (any, error) {
	rows := rowsOf(len(s.storages))
	for _, st := range s.storages {
		wrong := c.has("content") && !slices.ContainsFunc(splitList(c.get("content")), st.holds)
		filtered := c.has("content") || c.flag("enabled") // a content filter hides disabled ones, too
		if !st.on(s.nodeOf(c)) || wrong || (filtered && st.Disable) || (c.has("storage") && c.get("storage") != st.ID) ||
			!s.may(c.who, "/storage/"+st.ID, "Datastore.Audit", "Datastore.AllocateSpace") {
			continue
		}
		row := s.statusRow(st)
		row["storage"] = st.ID
		if sp := s.space(st); sp.total > 0 {
			row["used_fraction"] = float64(sp.used) / float64(sp.total)
		}
		rows = append(rows, row)
	}
	return shuffled(rows), nil
}

func (s *Server) storageIndex(*call) (any, error) {
	rows := rowsOf(9)
	for _, n := range strings.Fields("content download-url file-restore import-metadata prunebackups rrd rrddata status upload") {
		rows = append(rows, object{"subdir": n})
	}
	return rows, nil
}

func (s *Server) storageStatus(c *call) (any, error) {
	st := s.storage(c.get("storage"))
	if st == nil || !st.on(s.nodeOf(c)) {
		return nil, invalid("storage", "No such storage.")
	}
	return s.statusRow(st), nil
}

// activate fails as using the storage fails.
func (s *Server) activate(id, node string) (*storage, error) {
	st := s.storage(id)
	switch {
	case st == nil:
		return nil, fail("storage '%s' does not exist", id)
	case st.Disable:
		return nil, fail("storage '%s' is disabled", id)
	case !st.on(node):
		return nil, fail("storage '%s' is not available on node '%s'", id, node)
	case st.IsMountpoint && st.Unmounted:
		return nil, fail("unable to activate storage '%s' - directory is expected to be a mount point but is not mounted: '%s'", id, st.Path)
	case st.Type == "pbs" && st.Store == nil:
		return nil, fail("%s: error fetching datastores - 500 Can't connect to %s:8007 (Connection refused)", id, st.Server)
	case st.Type == "pbs":
		if err := st.trusts(); err != nil {
			return nil, err
		}
		if _, _, err := st.Store.Usage(st.place()); err != nil {
			return nil, fail("%s: error fetching datastores - 500 %s", id, err)
		}
	}
	return st, nil
}

func (s *Server) listContent(c *call) (any, error) {
	st, err := s.activate(c.get("storage"), s.nodeOf(c))
	if err != nil {
		return nil, err
	}
	rows := rowsOf(16)
	for _, v := range s.contents(st) {
		kind, _ := v["content"].(string)
		vmid, _ := v["vmid"].(int)
		if (c.has("content") && !slices.Contains(splitList(c.get("content")), kind)) || (c.has("vmid") && vmid != c.vmid()) {
			continue
		}
		if s.mayRead(c.who, st, kind, vmid) {
			rows = append(rows, v)
		}
	}
	return rows, nil
}

// mayRead tells whether a row is shown: images need Datastore.Allocate, or
// are hidden without a word; backups may be seen with VM.Backup, too.
func (s *Server) mayRead(who caller, st *storage, content string, vmid int) bool {
	path := "/storage/" + st.ID
	if s.may(who, path, "Datastore.Allocate") {
		return true
	}
	switch content {
	case "backup":
		return s.may(who, path, "Datastore.AllocateSpace") && s.may(who, "/vms/"+itoa(vmid), "VM.Backup")
	case "images", "rootdir":
		return s.may(who, path, "Datastore.Audit") && s.may(who, "/vms/"+itoa(vmid), "VM.Config.Disk")
	}
	return s.may(who, path, "Datastore.Audit", "Datastore.AllocateSpace")
}

// contents is everything on a storage, sorted by volume id.
func (s *Server) contents(st *storage) []object {
	var rows []object
	for _, v := range s.volumes {
		if v.store() != st.ID {
			continue
		}
		kind := "images"
		if v.kind == LXC {
			kind = "rootdir"
		}
		row := object{"volid": v.id, "vmid": v.vmid, "content": kind, "format": v.format, "size": v.size, "ctime": v.made.Unix(), "parent": nullValue}
		if st.files() {
			row["used"] = v.used
		} else {
			delete(row, "parent")
			if st.Type == "zfspool" {
				delete(row, "ctime")
			}
		}
		rows = append(rows, row)
	}
	if st.Type == "pbs" {
		rows = append(rows, s.pbsContents(st)...)
	} else {
		rows = append(rows, s.archiveContents(st)...)
	}
	slices.SortFunc(rows, func(a, b object) int { return strings.Compare(a["volid"].(string), b["volid"].(string)) })
	return rows
}

// reading checks that the caller may read a volume.
func (s *Server) reading(c *call, id string) error {
	store, _, _ := strings.Cut(id, ":")
	path := "/storage/" + store
	if s.may(c.who, path, "Datastore.Allocate") {
		return nil
	}
	if vmid, ok := backupOwner(id); ok {
		if err := s.need(c.who, path, "Datastore.AllocateSpace"); err != nil {
			return err
		}
		return s.need(c.who, "/vms/"+itoa(vmid), "VM.Backup")
	}
	if v := s.volumes[id]; v != nil {
		return s.need(c.who, "/vms/"+itoa(v.vmid), "VM.Config.Disk")
	}
	return s.need(c.who, path, "Datastore.AllocateSpace", "Datastore.Audit")
}

// volumeID is the id that a call names; the storage's name may be left out.
func (c *call) volumeID() string {
	id := c.get("volume")
	if !strings.Contains(strings.SplitN(id, "/", 2)[0], ":") {
		return c.get("storage") + ":" + id
	}
	return id
}

func (s *Server) getVolume(c *call) (any, error) {
	id := c.volumeID()
	if err := s.reading(c, id); err != nil {
		return nil, err
	}
	if v := s.volumes[id]; v != nil {
		return object{"path": s.path(v), "size": v.size, "used": v.used, "format": v.format}, nil
	}
	if a := s.archives[id]; a != nil {
		row := object{"path": s.archivePath(a), "size": (a.size + 511) / 512 * 512, "used": (a.size + 4095) / 4096 * 4096, "format": "raw"}
		if a.notes != "" {
			row["notes"] = a.notes
		}
		if a.protected {
			row["protected"] = 1
		}
		return row, nil
	}
	if st, b, err := s.pbsBackup(id); err == nil && b != nil {
		row := object{"path": fmt.Sprintf("PBS repository %s:%s", st.Server, st.Datastore), "size": b.Size, "used": b.Size, "format": "raw", "protected": flag(b.Protected)}
		if b.Notes != "" {
			row["notes"] = b.Notes
		}
		return row, nil
	}
	return nil, fail("volume_size_info on '%s' failed - no format", id)
}

func (s *Server) putVolume(c *call) (any, error) {
	id := c.volumeID()
	if err := s.reading(c, id); err != nil {
		return nil, err
	}
	var notes *string
	var protected *bool
	if c.has("notes") {
		text := c.get("notes")
		notes = &text
	}
	if c.has("protected") {
		yes := c.flag("protected")
		protected = &yes
	}
	if a := s.archives[id]; a != nil {
		return nil, s.annotate(a, notes, protected)
	}
	st, b, err := s.pbsBackup(id)
	if err != nil {
		return nil, err
	}
	if b != nil {
		if err := st.Store.Annotate(st.place(), b.BackupID, notes, protected); err != nil {
			return nil, fail("%s", err)
		}
		return nil, nil
	}
	if s.volumes[id] != nil {
		if notes != nil {
			return nil, fail("update of attribute 'notes' for volume '%s' failed - attribute 'notes' is not supported for storage type '%s'", id, s.storage(c.get("storage")).Type)
		}
		return nil, fail("only backups support attribute 'protected'")
	}
	return nil, fail("volume '%s' does not exist", id)
}

func (s *Server) deleteVolume(c *call) (any, error) {
	id := c.volumeID()
	store, name, _ := strings.Cut(id, ":")
	owner, backup := backupOwner(id)
	if !s.may(c.who, "/storage/"+store, "Datastore.Allocate") {
		if err := s.need(c.who, "/storage/"+store, "Datastore.AllocateSpace"); err != nil {
			return nil, err
		}
		if !backup {
			return nil, denied("/storage/"+store, "Datastore.Allocate")
		}
		if err := s.need(c.who, "/vms/"+itoa(owner), "VM.Backup"); err != nil {
			return nil, err
		}
	}
	if v := s.volumes[id]; v != nil {
		owner = v.vmid
		if g := s.guests[owner]; g != nil && slices.ContainsFunc(liveDisks(g.config), func(k string) bool { return volumeOf(k, g.config[k]) == id }) {
			return nil, fail("Cannot remove image, a guest with VMID '%d' exists!\nYou can delete the image from the guest's hardware pane", owner)
		}
	}
	return s.fork(c.who, s.nodeOf(c), "imgdel", itoa(owner)+"@"+store, func(w *worker) error {
		switch a := s.archives[id]; {
		case s.volumes[id] != nil:
			delete(s.volumes, id)
		case a != nil && a.protected:
			return fail("cannot remove protected volume '%s' on '%s'", name, store)
		case a != nil:
			delete(s.archives, id)
		default:
			st, b, err := s.pbsBackup(id)
			if err != nil {
				return err
			}
			if b == nil {
				return fail("volume '%s' does not exist", id)
			}
			if b.Protected {
				return fail("cannot remove protected volume '%s' on '%s'", name, store)
			}
			if err := st.Store.Delete(st.place(), b.BackupID); err != nil {
				return fail("%s", err)
			}
		}
		w.log("Removed volume '%s'", id)
		return nil
	}), nil
}
