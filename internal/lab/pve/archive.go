package pve

import (
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"
)

// archive is a vzdump file.
type archive struct {
	id, storage string
	made        time.Time
	size        int64
	format      string
	notes       string
	protected   bool
	image       Image
}

func archiveID(storage string, kind Kind, vmid int, at time.Time, format string) string {
	return fmt.Sprintf("%s:backup/vzdump-%s-%d-%s.%s", storage, kind, vmid, at.Format("2006_01_02-15_04_05"), format)
}

func (s *Server) addArchive(a Archive) error {
	st := s.storage(a.Storage)
	if st == nil || st.Type == "pbs" {
		return fmt.Errorf("no storage of files with that name")
	}
	format := a.Format
	if format == "" {
		format = map[Kind]string{QEMU: "vma.zst", LXC: "tar.zst"}[a.Image.Kind]
	}
	id := archiveID(a.Storage, a.Image.Kind, a.Image.VMID, a.Time.In(s.zone), format)
	s.archives[id] = &archive{id: id, storage: a.Storage, made: a.Time, size: a.Size, format: format, notes: a.Notes, protected: a.Protected, image: a.Image}
	return nil
}

func (s *Server) archivePath(a *archive) string {
	return s.storage(a.storage).Path + "/dump/" + path.Base(a.id)
}

func (s *Server) archiveContents(st *storage) []object {
	var rows []object
	for _, a := range s.archives {
		if a.storage != st.ID {
			continue
		}
		row := object{"volid": a.id, "vmid": a.image.VMID, "content": "backup", "subtype": string(a.image.Kind), "format": a.format, "size": a.size, "ctime": a.made.Unix()}
		if a.notes != "" {
			row["notes"], _, _ = strings.Cut(a.notes, "\n")
		}
		if a.protected {
			row["protected"] = 1
		}
		rows = append(rows, row)
	}
	return rows
}

// annotate changes an archive's notes and protection.
func (s *Server) annotate(a *archive, notes *string, protected *bool) error {
	if notes != nil {
		a.notes = *notes
	}
	if protected != nil {
		if *protected && !a.protected {
			if err := s.protectable(s.storage(a.storage), a.image.VMID); err != nil {
				return fail("update of attribute 'protected' for volume '%s' failed - %s", a.id, reason(err))
			}
		}
		a.protected = *protected
	}
	return nil
}

// protectable is max-protected-backups.
func (s *Server) protectable(st *storage, vmid int) error {
	n := 0
	for _, b := range s.backupsOf(st) {
		if b.vmid == vmid && b.protected {
			n++
		}
	}
	if st.MaxProtected > 0 && n >= st.MaxProtected {
		return fail("The number of protected backups per guest is limited to %d on storage '%s'", st.MaxProtected, st.ID)
	}
	return nil
}

var (
	fileBackup = regexp.MustCompile(`:backup/vzdump-(qemu|lxc|openvz)-([1-9]\d{2,8})-`)
	pbsVolume  = regexp.MustCompile(`^([^:]+):backup/(vm|ct|host)/([^/]+)/(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z)$`)
)

// backupOwner is the guest that a backup's volume id names.
func backupOwner(id string) (int, bool) {
	if m := fileBackup.FindStringSubmatch(id); m != nil {
		return number(m[2]), true
	}
	if m := pbsVolume.FindStringSubmatch(id); m != nil {
		return number(m[3]), true
	}
	return 0, false
}

func (st *storage) place() Place { return Place{st.Datastore, st.Namespace} }

func pbsKind(k Kind) string {
	if k == LXC {
		return "ct"
	}
	return "vm"
}

func (st *storage) pbsID(id BackupID) string {
	return fmt.Sprintf("%s:backup/%s/%d/%s", st.ID, pbsKind(id.Kind), id.VMID, id.Time.UTC().Format("2006-01-02T15:04:05Z"))
}

func (s *Server) pbsContents(st *storage) []object {
	if st.Store == nil {
		return nil
	}
	list, err := st.Store.List(st.place())
	if err != nil {
		return nil
	}
	var rows []object
	for _, b := range list {
		rows = append(rows, st.pbsRow(b))
	}
	return rows
}

func (st *storage) pbsRow(b Stored) object {
	row := object{"volid": st.pbsID(b.BackupID), "vmid": b.VMID, "content": "backup", "subtype": string(b.Kind), "format": "pbs-" + pbsKind(b.Kind),
		"size": b.Size, "ctime": b.Time.Unix()}
	if b.InFlight {
		row["size"] = 1
		return row
	}
	if b.Notes != "" {
		row["notes"] = b.Notes
	}
	if b.Protected {
		row["protected"] = 1
	}
	if b.Encrypted != "" {
		row["encrypted"] = b.Encrypted
	}
	if b.VerifyState != "" {
		row["verification"] = object{"state": b.VerifyState, "upid": b.VerifyUPID}
	}
	return row
}

// pbsBackup finds a backup by its volume id; nil: there is none.
func (s *Server) pbsBackup(id string) (*storage, *Stored, error) {
	m := pbsVolume.FindStringSubmatch(id)
	if m == nil {
		return nil, nil, nil
	}
	st := s.storage(m[1])
	if st == nil || st.Type != "pbs" || st.Store == nil {
		return nil, nil, nil
	}
	list, err := st.Store.List(st.place())
	if err != nil {
		return nil, nil, fail("%s: error fetching datastores - 500 %s", st.ID, err)
	}
	for _, b := range list {
		if st.pbsID(b.BackupID) == id {
			return st, &b, nil
		}
	}
	return st, nil, nil
}

// image reads a backup of any storage.
func (s *Server) image(id string) (Image, error) {
	if a := s.archives[id]; a != nil {
		return a.image, nil
	}
	st, b, err := s.pbsBackup(id)
	if err != nil {
		return Image{}, err
	}
	if b == nil {
		return Image{}, fail("volume '%s' does not exist", id)
	}
	if err := st.opens(b); err != nil {
		return Image{}, err
	}
	image, err := st.Store.Read(st.place(), b.BackupID)
	if err != nil {
		return Image{}, fail("%s", err)
	}
	return image, nil
}

// extractConfig is the configuration inside a backup.
func (s *Server) extractConfig(c *call) (any, error) {
	id := c.get("volume")
	if err := s.reading(c, id); err != nil {
		return nil, err
	}
	image, err := s.image(id)
	if err != nil {
		return nil, err
	}
	var b strings.Builder
	writeSection(&b, image.Config)
	if image.Kind == QEMU {
		b.WriteString("\n")
		for _, key := range slices.Sorted(maps.Keys(image.Disks)) {
			volume := volumeOf(key, image.Config[key])
			store, _, _ := strings.Cut(volume, ":")
			format := "raw"
			if st := s.storage(store); st != nil {
				format = st.formatOf(volume, QEMU)
			}
			fmt.Fprintf(&b, "#qmdump#map:%s:drive-%s:%s:%s:\n", key, key, store, format)
		}
	}
	return b.String(), nil
}
