package operation

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"cairn/internal/plan"
)

// Store is the directory that all consoles and workers of this host share:
// operations/ID/{plan.json, journal.jsonl, progress.json, cancel} and
// locks/TARGET.lock, which are never removed.
type Store struct{ dir string }

// OpenStore opens the operations of the state directory, and makes what is missing.
func OpenStore(stateDir string) (*Store, error) {
	for _, sub := range []string{"operations", "locks"} {
		if err := os.MkdirAll(filepath.Join(stateDir, sub), 0o700); err != nil {
			return nil, fmt.Errorf("opening the operations: %w; make state_dir of the configuration a directory that you may write to", err)
		}
	}
	return &Store{stateDir}, nil
}

// WorkerLog is the file of what the worker of operation id says besides its
// journal.
func (s *Store) WorkerLog(id string) string { return s.file(id, "worker.log") }

func (s *Store) file(id, name string) string { return filepath.Join(s.dir, "operations", id, name) }

var idForm = regexp.MustCompile(`^\d{8}-\d{1,6}$`)

// placeholder stands in a plan for the id of its operation, which is only known
// once there is one: effects carry it in their names.
const placeholder = "{id}"

// Create writes p as a new operation and returns its id: the day and a number.
// Nothing runs yet. A blocked plan is refused.
func (s *Store) Create(p plan.Plan, by Actor, now time.Time) (string, error) {
	if p.Blocked() {
		return "", fmt.Errorf("the plan has %d blockers, the first: %s: %s", len(p.Blockers), p.Blockers[0].Subject, p.Blockers[0].Why)
	}
	hash, err := p.Hash()
	if err != nil {
		return "", err
	}
	id, err := s.newID(now)
	if err != nil {
		return "", fmt.Errorf("creating an operation: %w; it needs a state_dir that can be written to", err)
	}
	if p, err = named(p, id); err != nil {
		return "", err
	}
	text, err := json.MarshalIndent(Record{Plan: p, Hash: hash, By: by, At: now.UTC()}, "", " ")
	if err != nil {
		return "", fmt.Errorf("encoding the plan: %w", err)
	}
	if err := errors.Join(writeDurably(s.file(id, "plan.json"), text), syncDir(filepath.Join(s.dir, "operations"))); err != nil {
		return "", fmt.Errorf("writing the plan: %w", err)
	}
	return id, nil
}

// newID makes the directory of a new operation; a second console that wants the
// same number takes the next.
func (s *Store) newID(now time.Time) (string, error) {
	day := now.Format("20060102")
	for n := 1; ; n++ {
		id := fmt.Sprintf("%s-%d", day, n)
		err := os.Mkdir(filepath.Join(s.dir, "operations", id), 0o700)
		if err == nil {
			return id, nil
		}
		if !errors.Is(err, fs.ErrExist) {
			return "", err
		}
	}
}

// named puts the operation's id into every text of p that carries it. Its parts get
// one of their own each.
func named(p plan.Plan, id string) (plan.Plan, error) {
	parts := p.Parts
	p.ID, p.Parts = "", nil
	text, err := json.Marshal(p)
	if err != nil {
		return p, fmt.Errorf("naming the plan: %w", err)
	}
	var out plan.Plan
	if err := json.Unmarshal([]byte(strings.ReplaceAll(string(text), placeholder, id)), &out); err != nil {
		return p, fmt.Errorf("naming the plan: %w", err)
	}
	out.ID, out.Parts = id, parts
	return out, nil
}

// Record reads what an operation is to do.
func (s *Store) Record(id string) (Record, error) {
	var r Record
	if !idForm.MatchString(id) {
		return r, fmt.Errorf("%q is no operation's id: it looks like 20261121-7; cairn operation list shows them", id)
	}
	text, err := os.ReadFile(s.file(id, "plan.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return r, fmt.Errorf("there is no operation %s; cairn operation list shows them", id)
	}
	if err == nil {
		err = json.Unmarshal(text, &r)
	}
	if err != nil {
		return r, fmt.Errorf("reading the plan of operation %s: %w", id, err)
	}
	return r, nil
}

// IDs lists the operations, newest first.
func (s *Store) IDs() ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(s.dir, "operations"))
	if err != nil {
		return nil, fmt.Errorf("listing operations: %w", err)
	}
	var ids []string
	for _, e := range entries {
		if _, err := os.Stat(s.file(e.Name(), "plan.json")); idForm.MatchString(e.Name()) && err == nil {
			ids = append(ids, e.Name())
		}
	}
	slices.SortFunc(ids, func(a, b string) int { return -compareIDs(a, b) })
	return ids, nil
}

// compareIDs orders by day, then by number: 20261121-10 comes after 20261121-9.
func compareIDs(a, b string) int {
	if len(a) != len(b) && a[:8] == b[:8] {
		return len(a) - len(b)
	}
	return strings.Compare(a, b)
}

// writeDurably writes text to path so that after a power cut either the old or
// the new content is there: temporary file, fsync, rename, fsync of the directory.
func writeDurably(path string, text []byte) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, ".new-*")
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	err = errors.Join(err, f.Sync()) // its mode is 0600
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
