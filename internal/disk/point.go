package disk

import "path/filepath"

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
