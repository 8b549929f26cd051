package disk

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// MountPoint returns the mount point that a path lies on, and the mount's
// source, such as /dev/sdb1. Links in the path are followed as far as they lead.
func MountPoint(path string) (point, source string, err error) {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	all, err := readMounts()
	if err != nil {
		return "", "", err
	}
	if m, ok := at(all, filepath.Clean(path)); ok {
		return m.point, m.source, nil
	}
	m, ok := below(all, filepath.Clean(path))
	if !ok { // in a chroot the root itself is no mount that we could see
		return "/", "unknown", nil
	}
	return m.point, m.source, nil
}

// Holds says whether an open file or directory lies on what is mounted at a mount
// point now: not below it, where it lay before that was mounted, nor on what was
// unmounted since.
func Holds(point string, f *os.File) (bool, error) {
	if real, err := filepath.EvalSymlinks(point); err == nil {
		point = real
	}
	all, err := readMounts()
	if err != nil {
		return false, err
	}
	info := fmt.Sprintf("/proc/self/fdinfo/%d", f.Fd())
	text, err := os.ReadFile(info)
	if err != nil {
		return false, fmt.Errorf("asking on which mount %s lies: %w", f.Name(), err)
	}
	id, found := mountID(string(text))
	if !found {
		return false, fmt.Errorf("asking on which mount %s lies: %s does not tell", f.Name(), info)
	}
	m, mounted := at(all, filepath.Clean(point))
	return mounted && m.id == id, nil
}

// mountID reads the line "mnt_id:\t29" of a file's fdinfo.
func mountID(text string) (id int, ok bool) {
	for line := range strings.Lines(text) {
		if _, err := fmt.Sscanf(line, "mnt_id: %d", &id); err == nil {
			return id, true
		}
	}
	return 0, false
}
