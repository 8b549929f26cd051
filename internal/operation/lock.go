package operation

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Locks are open file description locks (fcntl(2), F_OFD_SETLK): they last as
// long as any process holds the descriptor, children that inherited it among
// them, and they can be asked for without being taken. So alive is who holds the
// lock, never a pid.
//
// A worker takes two: its operation's own, which says that it is alive and may
// write the journal, and then the target's, which its children inherit. A child
// that outlives its worker so keeps the target locked, while the operation is
// seen to be interrupted.

func (s *Store) targetLock(target string) string {
	return filepath.Join(s.dir, "locks", url.PathEscape(target)+".lock")
}

// Holder says whether an operation works on target now, or what it left running
// does, and which as far as known.
func (s *Store) Holder(target string) (held bool, id string, err error) {
	return holder(s.targetLock(target))
}

func (s *Store) ownLock(id string) string { return s.file(id, "lock") }

// lock takes the lock at path, which stands for target, for operation id. It
// never waits: the error is a *BusyError when another holds it.
func lock(path, target, id string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking %s: %w", target, err)
	}
	whole := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart}
	err = unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &whole)
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		holder := holderIn(f)
		return nil, errors.Join(&BusyError{target, holder}, f.Close())
	}
	if err == nil {
		err = claim(f, id)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("locking %s: %w", target, err), f.Close())
	}
	return f, nil
}

// claim writes whose lock it is, for people; only the lock itself counts.
func claim(f *os.File, id string) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.WriteAt([]byte(id+"\n"), 0)
	return err
}

func holderIn(f *os.File) string {
	text := make([]byte, 64)
	n, _ := f.ReadAt(text, 0) // who it is matters less than that it is held
	if id := strings.TrimSpace(string(text[:n])); idForm.MatchString(id) {
		return id
	}
	return ""
}

// holder returns whether the lock at path is held, and by which operation as far
// as known. It takes nothing, so it can't get into a worker's way, and it needs no
// right to write: the state directory may have become read-only.
func holder(path string) (held bool, id string, err error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return false, "", nil
	}
	if err != nil {
		return false, "", fmt.Errorf("asking who holds a lock: %w", err)
	}
	defer f.Close()
	whole := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart}
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, &whole); err != nil {
		return false, "", fmt.Errorf("asking who holds %s: %w", path, err)
	}
	if whole.Type == unix.F_UNLCK {
		return false, "", nil
	}
	return true, holderIn(f), nil
}
