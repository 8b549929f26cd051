package command

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// SecretFile returns a file in memory that holds content, for ExtraFiles: a
// child opens it by the path of Descriptor, as often as it likes, and nothing
// touches a disk. It is a regular file of mode 0600, which libpq wants of
// PGPASSFILE. Close it when the child has ended.
func SecretFile(content []byte) (*os.File, error) {
	const flags = unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	fd, err := unix.MemfdCreate("secret", flags|unix.MFD_NOEXEC_SEAL)
	if errors.Is(err, unix.EINVAL) { // before Linux 6.3
		fd, err = unix.MemfdCreate("secret", flags)
	}
	if err != nil {
		return nil, fmt.Errorf("making a file in memory: %w", err)
	}
	f := os.NewFile(uintptr(fd), "secret in memory")
	if err := fill(f, content); err != nil {
		return nil, errors.Join(fmt.Errorf("filling a file in memory: %w", err), f.Close())
	}
	return f, nil
}

// fill writes from the start on and leaves the file's own place there, for a
// child that reads the descriptor without opening it.
func fill(f *os.File, content []byte) error {
	if err := f.Chmod(0o600); err != nil {
		return err
	}
	if _, err := f.WriteAt(content, 0); err != nil {
		return err
	}
	_, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_WRITE|unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL)
	return err
}

// Descriptor returns the path under which a child opens ExtraFiles[i].
func Descriptor(i int) string { return "/dev/fd/" + strconv.Itoa(3+i) }
