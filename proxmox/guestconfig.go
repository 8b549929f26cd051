package proxmox

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Configuration is a guest's configuration, or a snapshot's, key by key as
// Proxmox VE writes it.
type Configuration map[string]string

// UnmarshalJSON takes numbers and booleans as they are written.
func (c *Configuration) UnmarshalJSON(raw []byte) error {
	loose, err := object[json.RawMessage](raw)
	if err != nil {
		return err
	}
	*c = make(Configuration, len(loose))
	for key, value := range loose {
		if key == "lxc" {
			c.readLXC(value)
			continue
		}
		(*c)[key] = bare(value)
	}
	return nil
}

var (
	vmDisk        = regexp.MustCompile(`^(?:ide|sata|scsi|virtio)\d+$|^efidisk0$|^tpmstate0$`)
	containerDisk = regexp.MustCompile(`^rootfs$|^mp\d+$`)
	unusedDisk    = regexp.MustCompile(`^unused\d+$`)
)

// Disks are the volumes that the configuration names, in order of their keys;
// drives of the CD kind are none.
func (c Configuration) Disks(kind GuestKind) []Disk {
	var disks []Disk
	for key, value := range c {
		attached := kind == QEMU && vmDisk.MatchString(key) || kind == LXC && containerDisk.MatchString(key)
		if !attached && !unusedDisk.MatchString(key) {
			continue
		}
		if d, ok := parseDisk(kind, key, value); ok {
			disks = append(disks, d)
		}
	}
	slices.SortFunc(disks, func(a, b Disk) int { return compareKeys(a.Key, b.Key) })
	return disks
}

// compareKeys puts scsi2 before scsi10.
func compareKeys(a, b string) int {
	an, bn := strings.TrimRight(a, "0123456789"), strings.TrimRight(b, "0123456789")
	if an != bn {
		return strings.Compare(an, bn)
	}
	ai, _ := strconv.Atoi(a[len(an):])
	bi, _ := strconv.Atoi(b[len(bn):])
	if ai != bi {
		return ai - bi
	}
	return strings.Compare(a, b)
}

// parseDisk reads "storage:volume,size=8G,backup=0,…". A path instead of a
// volume (a passed-through device, a bind mount) has no storage.
func parseDisk(kind GuestKind, key, value string) (Disk, bool) {
	options := properties(value, "file")
	if kind == LXC {
		options = properties(value, "volume")
	}
	volume := options["file"] + options["volume"]
	if volume == "" || volume == "none" || volume == "cdrom" || options["media"] == "cdrom" {
		return Disk{}, false
	}
	d := Disk{Key: key, Volume: volume, Size: parseSize(options["size"]), Format: options["format"]}
	if storage, rest, found := strings.Cut(volume, ":"); found && !strings.HasPrefix(volume, "/") {
		d.Storage = storage
		if d.Format == "" {
			d.Format = formatOf(rest)
		}
	}
	replicate, told := options["replicate"]
	d.NoReplica = told && !truth(replicate)
	said, set := options["backup"]
	switch {
	case unusedDisk.MatchString(key):
		d.NoBackup = true
	case kind == LXC && key != "rootfs":
		d.NoBackup = !truth(said) || d.Storage == "" // bind mounts are never backed up
	case kind == QEMU:
		d.NoBackup = set && !truth(said)
	}
	return d, true
}

// properties reads "first,key=value,…"; first is the value of the key called
// unnamed, unless it is written out.
func properties(value, unnamed string) map[string]string {
	all := map[string]string{}
	for i, part := range strings.Split(value, ",") {
		key, v, found := strings.Cut(part, "=")
		switch {
		case found && (i > 0 || !strings.ContainsAny(key, ":/")):
			all[strings.TrimSpace(key)] = v
		case i == 0:
			all[unnamed] = part
		}
	}
	return all
}

// formatOf reads the format off a volume's name: 100/vm-100-disk-0.qcow2.
func formatOf(name string) string {
	for _, format := range []string{"qcow2", "raw", "vmdk", "subvol"} {
		if strings.HasSuffix(name, "."+format) {
			return format
		}
	}
	return ""
}

// parseSize reads 8G, 64M, 512K, 1T or bytes; 0 where it is none.
func parseSize(s string) int64 {
	if s == "" {
		return 0
	}
	shift := map[byte]uint{'K': 10, 'M': 20, 'G': 30, 'T': 40}[s[len(s)-1]]
	if shift > 0 {
		s = s[:len(s)-1]
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || !(f > 0) || f > float64(int64(1)<<(62-shift)) {
		return 0
	}
	return int64(f * float64(int64(1)<<shift))
}

// agent says whether the guest agent is configured: "1", "enabled=1", "1,fstrim_cloned_disks=1".
func (c Configuration) agent() bool { return truth(properties(c["agent"], "enabled")["enabled"]) }

// apply puts into g what the configuration says about it.
func (c Configuration) apply(g *Guest) {
	g.Agent = g.Kind == QEMU && c.agent()
	g.OnBoot = truth(c["onboot"])
	g.Template = g.Template || truth(c["template"])
	g.Description = c["description"]
	g.Parent = c["parent"]
	g.Disks = c.Disks(g.Kind)
	if g.HostMounts = nil; g.Kind == LXC {
		g.HostMounts = c.hostMounts()
	}
	g.Lock = c["lock"]
	if g.Name == "" {
		g.Name = c["name"] + c["hostname"]
	}
}

// bookkeeping are keys that differ in every snapshot and mean no change.
var bookkeeping = []string{"digest", "snaptime", "snapstate", "parent", "lock", "vmstate", "runningmachine",
	"runningcpu", "runningcpumodel", "description", "vmgenid"}

// Change is a key of which a snapshot's configuration differs from the present
// one. An empty value means that the key is not set there.
type Change struct{ Key, Now, Then string }

// String says the change from then to now.
func (c Change) String() string {
	c.Now, c.Then = strings.ReplaceAll(c.Now, "\n", " | "), strings.ReplaceAll(c.Then, "\n", " | ")
	switch {
	case c.Then == "":
		return fmt.Sprintf("%s: added since (%s)", c.Key, c.Now)
	case c.Now == "":
		return fmt.Sprintf("%s: removed since (was %s)", c.Key, c.Then)
	}
	return fmt.Sprintf("%s: %s, was %s", c.Key, c.Now, c.Then)
}

// Diff lists what a rollback would change in the configuration, in order of keys.
func Diff(now, then Configuration) []Change {
	keys := map[string]bool{}
	for key := range now {
		keys[key] = true
	}
	for key := range then {
		keys[key] = true
	}
	var changes []Change
	for key := range keys {
		if now[key] != then[key] && !slices.Contains(bookkeeping, key) {
			changes = append(changes, Change{key, now[key], then[key]})
		}
	}
	slices.SortFunc(changes, func(a, b Change) int { return compareKeys(a.Key, b.Key) })
	return changes
}
