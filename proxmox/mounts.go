package proxmox

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// A container's mount points that are directories or devices of the host (mp0:
// /tank/media,mp=/data) are root@pam's alone. PVE refuses to restore a container that
// has one for anybody else, in the task ("restoring 'mp0' to bind mount is only possible
// for root"), unless the call names each volume that is to be made: then it makes those,
// and the container comes without what is the host's.

// hostMountPoints are those keys of a container's configuration, in order.
func (c Configuration) hostMountPoints() (keys []string) {
	for _, d := range c.Disks(LXC) {
		if d.Storage == "" && d.Key != "rootfs" {
			keys = append(keys, d.Key)
		}
	}
	return keys
}

// Mounts are the volumes that a restore of the container must name; none where PVE
// takes them from the backup.
func (f RestoreFacts) Mounts() map[string]string {
	if f.Point.Kind != LXC || len(f.Archive.hostMountPoints()) == 0 {
		return nil
	}
	all := map[string]string{}
	for _, d := range f.Archive.Disks(LXC) {
		if d.Storage != "" && !unusedDisk.MatchString(d.Key) {
			all[d.Key] = newVolume(f.Storage, d.Size, f.Archive[d.Key])
		}
	}
	return all
}

// newVolume writes a mount point that has a new volume of that size: "thin:8,mp=/data,backup=1".
func newVolume(storage string, bytes int64, was string) string {
	text := storage + ":" + strconv.FormatFloat(float64(bytes)/(1<<30), 'f', -1, 64)
	for i, part := range strings.Split(was, ",") {
		key, _, named := strings.Cut(part, "=")
		if i > 0 && key == "size" || i == 0 && !named || key == "volume" {
			continue
		}
		if i > 0 || named && key != "size" {
			text += "," + part
		}
	}
	return text
}

// mountNotes say what of the host the restored container lacks, and how it comes back.
func (f RestoreFacts) mountNotes() (notes []string) {
	for _, key := range f.Archive.hostMountPoints() {
		notes = append(notes, fmt.Sprintf("%s (%s) is of the host, in no backup, and root@pam's alone to give: the restored container does not have it. Give it by hand on node %s: pct set %d -%s %s",
			key, properties(f.Archive[key], "volume")["volume"], f.Node, f.VMID, key, quoted(f.Archive[key])))
	}
	return notes
}

// quoted is a word for a shell.
func quoted(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/_.,=:+@%-", r))
	}) {
		return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
	}
	return s
}

// showMounts writes them as parameters.
func showMounts(mounts map[string]string) (text string) {
	for _, key := range slices.Sorted(maps.Keys(mounts)) {
		text += " " + key + "=" + mounts[key]
	}
	return text
}

// privileged says whether the backup is of a container whose root is the host's.
func (f RestoreFacts) privileged() bool {
	return f.Point.Kind == LXC && f.Archive != nil && !truth(f.Archive["unprivileged"])
}
