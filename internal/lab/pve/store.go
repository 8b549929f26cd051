package pve

import (
	"errors"
	"fmt"
	"sort"
	"sync"
	"time"
)

// Kind is the kind of a guest, as in API paths.
type Kind string

// The kinds of guest.
const (
	QEMU Kind = "qemu"
	LXC  Kind = "lxc"
)

// Place is where in a backup server a PVE storage keeps its backups.
type Place struct {
	Datastore string
	Namespace string // "a/b"; empty: the root
}

// BackupID names one backup snapshot of a guest. Time has seconds, in UTC: a
// backup server knows no finer one.
type BackupID struct {
	Kind Kind
	VMID int
	Time time.Time
}

// Stored is what a backup server tells of one backup snapshot.
type Stored struct {
	BackupID
	Size        int64 // bytes of the guest's data; of no meaning while InFlight
	Notes       string
	Protected   bool
	Encrypted   string // fingerprint of the key, "1" when unknown; empty: plain
	VerifyState string // "ok", "failed"; empty: never verified
	VerifyUPID  string
	InFlight    bool   // the upload has not ended, or never will
	Owner       string // user or token of the backup server
}

// Image is the state of a guest inside a backup: what a restore brings back.
type Image struct {
	Kind   Kind              `json:"kind"`
	VMID   int               `json:"vmid"` // of the guest that was backed up
	Config map[string]string `json:"config"`
	Disks  map[string]Volume `json:"disks"` // by configuration key: scsi0, rootfs
	// Damage is empty for a good archive; otherwise its data breaks off, and a
	// restore fails half-way with this text.
	Damage string `json:"damage,omitempty"`
	// Firewall is what the guest's firewall file held; empty: it had none.
	Firewall string `json:"firewall,omitempty"`
}

// Volume is one disk: its size and what is on it.
type Volume struct {
	Size    int64  `json:"size"`    // bytes, as the guest sees it
	Content string `json:"content"` // any text; a test reads it to see what came back
}

// ErrNoBackup is the answer of a store that does not hold what was asked for.
var ErrNoBackup = errors.New("no such backup snapshot")

// BackupStore is a backup server as a PVE storage of type pbs uses it. An
// error of Usage makes the storage inactive: the server cannot be reached, or
// the datastore is not mounted. A PVE server makes one call at a time and waits
// for it with its state locked: a store must not call back, and must not hang.
// Several PVE servers may share a store.
type BackupStore interface {
	Usage(Place) (total, used int64, err error)
	List(Place) ([]Stored, error)
	// Begin starts an upload; until Commit or Abort the snapshot is in flight.
	Begin(Place, BackupID) (Upload, error)
	Read(Place, BackupID) (Image, error)
	Delete(Place, BackupID) error // refuses a protected one
	// Annotate changes what is not nil.
	Annotate(p Place, id BackupID, notes *string, protected *bool) error
}

// Upload is a backup under way.
type Upload interface {
	Commit(Stored, Image) error // Stored says size, notes, protection
	Abort() error
}

// MemoryStore is a BackupStore with any number of places, in memory.
type MemoryStore struct {
	Total, Base int64 // bytes: capacity, and what is used besides the backups

	mu     sync.Mutex
	down   error
	places map[Place]map[BackupID]*kept
}

type kept struct {
	Stored
	image Image
}

// NewMemoryStore returns an empty store of the given capacity in bytes.
func NewMemoryStore(total int64) *MemoryStore {
	return &MemoryStore{Total: total, places: map[Place]map[BackupID]*kept{}}
}

// SetDown makes every call fail with err; nil ends that.
func (m *MemoryStore) SetDown(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.down = err
}

// Put adds a backup as if it had been made before.
func (m *MemoryStore) Put(p Place, s Stored, image Image) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s.Time = s.Time.UTC().Truncate(time.Second)
	if m.places[p] == nil {
		m.places[p] = map[BackupID]*kept{}
	}
	m.places[p][s.BackupID] = &kept{s, image}
}

// Usage implements BackupStore.
func (m *MemoryStore) Usage(Place) (total, used int64, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.down != nil {
		return 0, 0, m.down
	}
	used = m.Base
	for _, place := range m.places {
		for _, b := range place {
			used += b.Size
		}
	}
	return m.Total, used, nil
}

// List implements BackupStore.
func (m *MemoryStore) List(p Place) ([]Stored, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.down != nil {
		return nil, m.down
	}
	var all []Stored
	for _, b := range m.places[p] {
		all = append(all, b.Stored)
	}
	sort.Slice(all, func(i, j int) bool { return all[i].Time.Before(all[j].Time) })
	return all, nil
}

// Begin implements BackupStore.
func (m *MemoryStore) Begin(p Place, id BackupID) (Upload, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.down != nil {
		return nil, m.down
	}
	id.Time = id.Time.UTC().Truncate(time.Second)
	if m.places[p] == nil {
		m.places[p] = map[BackupID]*kept{}
	}
	if m.places[p][id] != nil {
		return nil, fmt.Errorf("backup snapshot of %s %d at %s already exists", id.Kind, id.VMID, id.Time.Format(time.RFC3339))
	}
	m.places[p][id] = &kept{Stored: Stored{BackupID: id, InFlight: true}}
	return &memoryUpload{m, p, id}, nil
}

type memoryUpload struct {
	m  *MemoryStore
	p  Place
	id BackupID
}

func (u *memoryUpload) Commit(s Stored, image Image) error {
	u.m.mu.Lock()
	defer u.m.mu.Unlock()
	if u.m.down != nil {
		return u.m.down
	}
	s.BackupID, s.InFlight = u.id, false
	u.m.places[u.p][u.id] = &kept{s, image}
	return nil
}

func (u *memoryUpload) Abort() error {
	u.m.mu.Lock()
	defer u.m.mu.Unlock()
	delete(u.m.places[u.p], u.id)
	return nil
}

func (m *MemoryStore) find(p Place, id BackupID) (*kept, error) {
	if m.down != nil {
		return nil, m.down
	}
	id.Time = id.Time.UTC().Truncate(time.Second)
	b := m.places[p][id]
	if b == nil {
		return nil, ErrNoBackup
	}
	return b, nil
}

// Read implements BackupStore.
func (m *MemoryStore) Read(p Place, id BackupID) (Image, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, err := m.find(p, id)
	if err != nil {
		return Image{}, err
	}
	if b.InFlight {
		return Image{}, fmt.Errorf("backup snapshot of %d is not finished", id.VMID)
	}
	return b.image, nil
}

// Delete implements BackupStore.
func (m *MemoryStore) Delete(p Place, id BackupID) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, err := m.find(p, id)
	if err != nil {
		return err
	}
	if b.Protected {
		return errors.New("cannot remove protected snapshot")
	}
	delete(m.places[p], b.BackupID)
	return nil
}

// Annotate implements BackupStore.
func (m *MemoryStore) Annotate(p Place, id BackupID, notes *string, protected *bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, err := m.find(p, id)
	if err != nil {
		return err
	}
	if notes != nil {
		b.Notes = *notes
	}
	if protected != nil {
		b.Protected = *protected
	}
	return nil
}
