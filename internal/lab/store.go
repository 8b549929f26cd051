package lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"

	"cairn/internal/lab/pbs"
	"cairn/internal/lab/pve"
)

// store is the lab's backup server as its cluster uses it.
type store struct {
	images *images

	mu     sync.Mutex
	server *pbs.Server
}

// use puts another server behind the cluster's storages.
func (s *store) use(server *pbs.Server) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.server = server
}

func (s *store) serving() *pbs.Server {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.server
}

// Fingerprint is that of the certificate that the cluster meets.
func (s *store) Fingerprint() string { return s.serving().Fingerprint() }

// images are the backed-up guests where no datastore lies on disk; where one
// does, a restore reads every chunk of it.
type images struct {
	mu   sync.Mutex
	held map[string]pve.Image
}

func key(s *pbs.Snapshot) string { return fmt.Sprintf("%s:%s/%s/%d", s.NS, s.Type, s.ID, s.Time) }

func (i *images) put(s *pbs.Snapshot, image pve.Image) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.held == nil {
		i.held = map[string]pve.Image{}
	}
	i.held[key(s)] = image
}

func (i *images) get(s *pbs.Snapshot) (pve.Image, bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	image, ok := i.held[key(s)]
	return image, ok
}

// contents are the files of a backup of a guest.
func contents(image pve.Image) []pbs.Content {
	if image.Kind == pve.LXC {
		disks, err := json.Marshal(image.Disks)
		if err != nil {
			panic(err) // a map of texts and numbers
		}
		return append([]pbs.Content{
			{Name: "root.pxar.didx", Data: append(disks, filling(image.VMID)...)},
			{Name: "pct.conf.blob", Data: configText(image.Config)},
		}, wall(image)...)
	}
	files := []pbs.Content{{Name: "qemu-server.conf.blob", Data: configText(image.Config)}}
	files = append(files, wall(image)...)
	for key, disk := range image.Disks {
		files = append(files, pbs.Content{Name: "drive-" + key + ".img.fidx", Size: disk.Size, Data: []byte(disk.Content)})
	}
	sort.Slice(files, func(i, j int) bool { return files[i].Name < files[j].Name })
	return files
}

// wall is the guest's firewall, where it has one.
func wall(image pve.Image) []pbs.Content {
	if image.Firewall == "" {
		return nil
	}
	return []pbs.Content{{Name: "fw.conf.blob", Data: []byte(image.Firewall)}}
}

// filling is a container's data that does not change, after a line's end.
func filling(vmid int) []byte {
	end := fmt.Sprintf(" of container %d", vmid)
	out := make([]byte, 0, 151<<10)
	for len(out) < 150<<10 {
		at := len(out)
		out = strconv.AppendInt(append(out, "\nfile "...), int64(at), 10)
		out = append(out, end...)
	}
	return out
}

func configText(config map[string]string) []byte {
	var lines []string
	for k, v := range config {
		lines = append(lines, k+": "+v+"\n")
	}
	sort.Strings(lines)
	return []byte(strings.Join(lines, ""))
}

func parseConfig(text []byte) map[string]string {
	config := map[string]string{}
	for _, line := range strings.Split(string(text), "\n") {
		if k, v, ok := strings.Cut(line, ": "); ok {
			config[k] = v
		}
	}
	return config
}

// load reads a guest out of a backup: every chunk of it.
func load(d *pbs.Datastore, s *pbs.Snapshot, kind pve.Kind, vmid int) (pve.Image, error) {
	image := pve.Image{Kind: kind, VMID: vmid, Disks: map[string]pve.Volume{}}
	for _, f := range s.Files {
		data, err := d.Read(s, f.Name)
		if err != nil {
			return image, err
		}
		switch {
		case f.Name == "fw.conf.blob":
			image.Firewall = string(data)
		case strings.HasSuffix(f.Name, ".conf.blob"):
			image.Config = parseConfig(data)
		case f.Name == "root.pxar.didx":
			first, _, _ := strings.Cut(string(data), "\n")
			if err := json.Unmarshal([]byte(first), &image.Disks); err != nil {
				return image, fmt.Errorf("%s: %w", f.Name, err)
			}
		case strings.HasSuffix(f.Name, ".img.fidx"):
			disk := strings.TrimSuffix(strings.TrimPrefix(f.Name, "drive-"), ".img.fidx")
			image.Disks[disk] = pve.Volume{Size: f.Size, Content: string(data)}
		}
	}
	return image, nil
}

// with calls f with the datastore of a place, unless the server cannot be
// reached or the datastore cannot be used.
func (s *store) with(p pve.Place, f func(*pbs.World, *pbs.Datastore) error) error {
	server := s.serving()
	if !server.Open() {
		return errors.New("error fetching datastores - 500 Can't connect to 127.0.0.1:8007 (Connection refused)")
	}
	var err error
	server.Change(func(w *pbs.World) {
		d := w.Store(p.Datastore)
		if d == nil {
			err = fmt.Errorf("storage is not reachable: datastore '%s' does not exist", p.Datastore)
			return
		}
		if err = d.Unavailable(); err == nil {
			err = f(w, d)
		}
	})
	return err
}

func find(d *pbs.Datastore, p pve.Place, id pve.BackupID) *pbs.Snapshot {
	return d.Find(p.Namespace, backupType(id.Kind), fmt.Sprint(id.VMID), id.Time.Unix())
}

// Usage implements pve.BackupStore.
func (s *store) Usage(p pve.Place) (total, used int64, err error) {
	err = s.with(p, func(_ *pbs.World, d *pbs.Datastore) error {
		total, used = d.Total, d.Used
		return nil
	})
	return total, used, err
}

// List implements pve.BackupStore.
func (s *store) List(p pve.Place) ([]pve.Stored, error) {
	var all []pve.Stored
	err := s.with(p, func(_ *pbs.World, d *pbs.Datastore) error {
		for _, b := range d.Snapshots {
			var vmid int
			if _, err := fmt.Sscan(b.ID, &vmid); err != nil || b.NS != p.Namespace || b.Type == "host" {
				continue
			}
			kind := pve.QEMU
			if b.Type == "ct" {
				kind = pve.LXC
			}
			all = append(all, pve.Stored{
				BackupID: pve.BackupID{Kind: kind, VMID: vmid, Time: time.Unix(b.Time, 0).UTC()}, Size: b.Size(), Notes: b.Comment, Protected: b.Protected,
				Encrypted: b.Fingerprint, VerifyState: b.Verify, VerifyUPID: b.VerifyUPID, InFlight: b.InFlight(), Owner: b.Owner,
			})
		}
		return nil
	})
	sort.Slice(all, func(i, j int) bool { return all[i].Time.Before(all[j].Time) })
	return all, err
}

// Read implements pve.BackupStore.
func (s *store) Read(p pve.Place, id pve.BackupID) (image pve.Image, err error) {
	err = s.with(p, func(_ *pbs.World, d *pbs.Datastore) error {
		b := find(d, p, id)
		switch {
		case b == nil:
			return pve.ErrNoBackup
		case b.InFlight():
			return errors.New("unable to load blob '\"index.json.blob\"' - No such file or directory (os error 2)")
		case d.Path != "":
			image, err = load(d, b, id.Kind, id.VMID)
			return err
		}
		held, ok := s.images.get(b)
		if !ok {
			return pve.ErrNoBackup
		}
		image = held
		return nil
	})
	return image, err
}

// Delete implements pve.BackupStore.
func (s *store) Delete(p pve.Place, id pve.BackupID) error {
	return s.with(p, func(_ *pbs.World, d *pbs.Datastore) error {
		b := find(d, p, id)
		if b == nil {
			return pve.ErrNoBackup
		}
		return d.Remove(b)
	})
}

// Annotate implements pve.BackupStore.
func (s *store) Annotate(p pve.Place, id pve.BackupID, notes *string, protected *bool) error {
	return s.with(p, func(_ *pbs.World, d *pbs.Datastore) error {
		b := find(d, p, id)
		if b == nil {
			return pve.ErrNoBackup
		}
		return d.Annotate(b, notes, protected)
	})
}

// Begin implements pve.BackupStore.
func (s *store) Begin(p pve.Place, id pve.BackupID) (pve.Upload, error) {
	u := &upload{store: s, place: p}
	err := s.with(p, func(w *pbs.World, d *pbs.Datastore) error {
		if find(d, p, id) != nil {
			return fmt.Errorf("backup snapshot of %d at %s exists", id.VMID, id.Time.UTC().Format(time.RFC3339))
		}
		u.snapshot = &pbs.Snapshot{NS: p.Namespace, Type: backupType(id.Kind), ID: fmt.Sprint(id.VMID), Time: id.Time.Unix(), Owner: backupOwner}
		u.task = w.Begin("backup", fmt.Sprintf("%s:%s:%s/%d", d.Name, p.Namespace, u.snapshot.Type, id.VMID), d.Name, backupOwner)
		return d.Open(u.snapshot)
	})
	return u, err
}

// upload is a backup under way.
type upload struct {
	*store
	place    pve.Place
	snapshot *pbs.Snapshot
	task     *pbs.Task
}

// Commit implements pve.Upload.
func (u *upload) Commit(made pve.Stored, image pve.Image) error {
	return u.with(u.place, func(w *pbs.World, d *pbs.Datastore) error {
		u.snapshot.Comment, u.snapshot.Protected = made.Notes, made.Protected
		if err := d.Close(u.snapshot, contents(image)); err != nil {
			return err
		}
		u.images.put(u.snapshot, image)
		u.task.Finish(w.Now(), "OK")
		return nil
	})
}

// Abort implements pve.Upload.
func (u *upload) Abort() error {
	return u.with(u.place, func(w *pbs.World, d *pbs.Datastore) error {
		u.task.Finish(w.Now(), "backup failed: connection error: connection reset")
		return d.Remove(u.snapshot)
	})
}
