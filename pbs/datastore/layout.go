package datastore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// chunkDirs is how many directories PBS keeps chunks in: it makes all of them
// with the datastore and takes none over that lacks one.
const chunkDirs = 1 << 16

const (
	storeMode = 0o755
	chunkMode = 0o750
	lockMode  = 0o644
	lockName  = ".lock"
)

// debianBackup is the uid and gid of the user backup of every Debian, as whom PBS runs.
const debianBackup = 34

// Owner is the uid and gid that a datastore must belong to.
func Owner() (uid, gid int) {
	u, err := user.Lookup("backup")
	if err != nil {
		return debianBackup, debianBackup
	}
	uid, err = strconv.Atoi(u.Uid)
	if err != nil {
		return debianBackup, debianBackup
	}
	if gid, err = strconv.Atoi(u.Gid); err != nil {
		return debianBackup, debianBackup
	}
	return uid, gid
}

// Complete makes what PBS demands of a datastore that it is to take over
// (--reuse-datastore): all directories of chunks, its lock file, and that all of
// it belongs to the user backup. What was fetched in part has none of that. It
// changes no content, and needs root unless all is ours already.
func (s Store) Complete(uid, gid int) error {
	if err := s.complete(uid, gid); err != nil {
		return fmt.Errorf("making the datastore %s one that a server takes over: %w", s.Path, err)
	}
	return nil
}

func (s Store) complete(uid, gid int) error {
	if err := os.MkdirAll(s.at(".chunks"), chunkMode); err != nil {
		return err
	}
	for i := range chunkDirs {
		err := os.Mkdir(s.at(".chunks", fmt.Sprintf("%04x", i)), chunkMode)
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	f, err := os.OpenFile(s.at(lockName), os.O_CREATE|os.O_RDONLY, lockMode)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return filepath.WalkDir(s.Path, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if mode, fixed := s.mode(path, d); fixed && info.Mode().Perm() != mode {
			if err := os.Chmod(path, mode); err != nil {
				return err
			}
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) == uid && int(st.Gid) == gid {
			return nil
		}
		return os.Lchown(path, uid, gid)
	})
}

// mode is what PBS demands of a directory, or of the lock; other files keep theirs.
func (s Store) mode(path string, d fs.DirEntry) (fs.FileMode, bool) {
	chunks := s.at(".chunks")
	switch {
	case path == s.at(lockName):
		return lockMode, true
	case !d.IsDir():
		return 0, false
	case path == chunks || filepath.Dir(path) == chunks:
		return chunkMode, true
	}
	return storeMode, true
}
