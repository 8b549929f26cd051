package proxmox

import (
	"time"
)

// memory is what a client keeps between two surveys, so that one in which
// nothing changed costs four calls. Only the survey under way touches it.
type memory struct {
	full    time.Time // when everything was last read
	version string
	jobs    []BackupJob
	loose   []int // guests in no job

	permissions permissions // nil: not read
	guests      map[int]*guestMemory
	storages    storageView
	archives    map[string]archives   // by storage, and node where it is not shared
	tasks       map[string]Task       // by UPID
	logs        map[string]*vzdumpLog // of ended vzdump tasks, by UPID
	unreadable  map[string]bool       // logs that could not be read and never will be
	listed      map[string]bool       // the UPIDs of the cluster's latest list
	notes       map[string]error      // why a subject could not be read the last time
}

// guestMemory is what was last read of one guest.
type guestMemory struct {
	trace  string // of its resource row, when it was read
	config Configuration
	tree   Tree
	read   time.Time // when; zero: never
	stale  bool      // it must be read again
	err    error     // of the latest reading
}

func newMemory() memory {
	return memory{guests: map[int]*guestMemory{}, archives: map[string]archives{}, tasks: map[string]Task{},
		logs: map[string]*vzdumpLog{}, unreadable: map[string]bool{}, listed: map[string]bool{}, notes: map[string]error{},
		storages: storageView{configs: map[string]storageConfig{}, nodes: map[string][]nodeStorage{}, pools: map[string][]thinPool{}}}
}

// remembered is how far back tasks are kept: a monthly backup has run in it.
const remembered = 35 * 24 * time.Hour

// forget drops tasks that are too old, and the guests that are gone.
func (m *memory) forget(now time.Time, present map[int]bool) {
	for upid, t := range m.tasks {
		if !t.Running && !m.listed[upid] && now.Sub(t.Started) > remembered {
			delete(m.tasks, upid)
			delete(m.logs, upid)
			delete(m.unreadable, upid)
			delete(m.notes, "log of task "+upid)
		}
	}
	for vmid := range m.guests {
		if !present[vmid] {
			delete(m.guests, vmid)
		}
	}
}

// rewriting are the types of task that write or remove backups.
var rewriting = map[string]bool{"vzdump": true, "imgdel": true, "prunebackups": true, "imgcopy": true, "download": true}

// learn takes in tasks and names the guests that they touched since the last
// look: by tasks that are new, run, or ran then.
func (m *memory) learn(tasks []Task) (touched map[int]bool, rewritten bool) {
	touched = map[int]bool{}
	for _, t := range tasks {
		before, known := m.tasks[t.UPID]
		if known && !before.Running {
			continue // an end is final
		}
		touched[t.VMID()] = true
		rewritten = rewritten || rewriting[t.Type]
		m.tasks[t.UPID] = t
	}
	return touched, rewritten
}
