package proxmox

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// A container's configuration may hold options of LXC itself, several of one name:
// devices that are let in, directories of the host. The API shows them as a list of
// pairs, a backup as lines. Here the values of one name are one value, a line each.
// PVE lets nobody but root@pam set them, and no token whosoever it is: a restore by
// one leaves them out.

// lxcKeys begins the names of these options.
const lxcKeys = "lxc."

// addLXC puts one option to those of its name.
func (c Configuration) addLXC(key, value string) {
	if before, ok := c[key]; ok {
		value = before + "\n" + value
	}
	c[key] = value
}

// readLXC reads the API's list of them.
func (c Configuration) readLXC(raw []byte) {
	var pairs []json.RawMessage
	_ = json.Unmarshal(raw, &pairs) // one odd field hides no guest
	for _, raw := range pairs {
		var p []text
		if json.Unmarshal(raw, &p) == nil && len(p) == 2 && strings.HasPrefix(string(p[0]), lxcKeys) {
			c.addLXC(string(p[0]), string(p[1]))
		}
	}
}

// LXCOptions are the options of LXC itself, as lines of a configuration file.
func (c Configuration) LXCOptions() (lines []string) {
	for _, key := range slices.Sorted(maps.Keys(c)) {
		if strings.HasPrefix(key, lxcKeys) {
			for value := range strings.SplitSeq(c[key], "\n") {
				lines = append(lines, key+": "+value)
			}
		}
	}
	return lines
}

// NotSet says which options of LXC are in has and not in c, and what to do about it;
// empty where none is. id is the container's.
func (c Configuration) NotSet(has Configuration, id string) string {
	const shown = 6
	mine := c.LXCOptions()
	lack := slices.DeleteFunc(has.LXCOptions(), func(line string) bool { return slices.Contains(mine, line) })
	if len(lack) == 0 {
		return ""
	}
	if more := len(lack) - shown; more > 1 {
		lack = append(lack[:shown], fmt.Sprintf("and %d more", more))
	}
	return fmt.Sprintf("PVE lets root@pam alone set options of LXC itself, no token: what was restored comes without %s. Add them by hand to /etc/pve/lxc/%s.conf before it is started for good.",
		strings.Join(lack, "; "), id)
}

// hostOwn are directories of a host whose content is no data of a container.
var hostOwn = regexp.MustCompile(`^/(?:dev|proc|sys|run|var/run|tmp|usr|lib|etc)(?:/|$)`)

// hostMounts are directories and disks of the host that lxc.mount.entry puts into a
// container: what they hold is in no backup of it.
func (c Configuration) hostMounts() (paths []string) {
	for entry := range strings.SplitSeq(c["lxc.mount.entry"], "\n") {
		fields := strings.Fields(entry)
		if len(fields) < 4 || !strings.HasPrefix(fields[0], "/") {
			continue
		}
		options := strings.Split(fields[3], ",")
		bound := slices.Contains(options, "bind") || slices.Contains(options, "rbind")
		disk := !bound && strings.HasPrefix(fields[0], "/dev/")
		if path := strings.ReplaceAll(fields[0], `\040`, " "); disk || bound && !hostOwn.MatchString(path) && !slices.Contains(options, "ro") {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	return slices.Compact(paths)
}
