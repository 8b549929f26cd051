package pve

import (
	"crypto/sha1"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
)

// integers are the options that the API gives as numbers, by kind. A VM's
// memory is text since 8.1.
var integers = map[Kind]string{
	QEMU: " acpi autostart balloon ciupgrade cores cpuunits freeze keephugepages kvm localtime migrate_speed numa onboot " +
		"protection reboot shares smp snaptime sockets tablet tdf template vcpus ",
	LXC: " console cores cpuunits debug memory onboot protection snaptime swap template tty unprivileged ",
}

// typed is an option's value as the API gives it.
func typed(kind Kind, key, value string) any {
	if strings.Contains(integers[kind], " "+key+" ") {
		if n, err := strconv.ParseInt(value, 10, 64); err == nil {
			return n
		}
	}
	return value
}

// text is a guest's configuration file: what the digest is made from.
func (g *guest) text() string {
	var b strings.Builder
	writeSection(&b, g.config)
	if len(g.pending) > 0 {
		b.WriteString("\n[PENDING]\n")
		writeSection(&b, g.pending)
	}
	snaps := slices.Clone(g.snaps)
	sort.Slice(snaps, func(i, j int) bool { return snaps[i].name < snaps[j].name })
	for _, snap := range snaps {
		fmt.Fprintf(&b, "\n[%s]\n", snap.name)
		writeSection(&b, snap.section())
	}
	return b.String()
}

func writeSection(b *strings.Builder, config map[string]string) {
	if text, ok := config["description"]; ok {
		for _, line := range strings.Split(text, "\n") {
			fmt.Fprintf(b, "#%s\n", escapeComment(line))
		}
	}
	for _, key := range slices.Sorted(maps.Keys(config)) {
		if key == "description" {
			continue
		}
		for value := range strings.SplitSeq(config[key], "\n") { // several only of an option of LXC itself
			fmt.Fprintf(b, "%s: %s\n", key, value)
		}
	}
}

// escapeComment is how a description is kept: percent, colon and everything
// outside of printable ASCII as %XX.
func escapeComment(line string) string {
	var b strings.Builder
	for i := range len(line) {
		if c := line[i]; c == '%' || c == ':' || c < ' ' || c > '~' {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// digest is the SHA-1 of the configuration file.
func (g *guest) digest() string {
	return fmt.Sprintf("%x", sha1.Sum([]byte(g.text())))
}

// trimDescription takes one trailing newline away, as writing and reading the
// file does.
func trimDescription(text string) string { return strings.TrimSuffix(text, "\n") }

var diskKey = regexp.MustCompile(`^((ide|sata|scsi|virtio|unused|mp)\d+|efidisk0|tpmstate0|rootfs|vmstate)$`)

// volumeOf is the volume id that a configuration value names; empty: none.
func volumeOf(key, value string) string {
	if !diskKey.MatchString(key) || strings.Contains(value, "media=cdrom") {
		return ""
	}
	first, _, _ := strings.Cut(value, ",")
	first = strings.TrimPrefix(strings.TrimPrefix(first, "file="), "volume=")
	if strings.HasPrefix(first, "/") || !strings.Contains(first, ":") {
		return ""
	}
	return first
}

// disksOf are the keys of a configuration that name volumes, sorted.
func disksOf(config map[string]string) []string {
	var keys []string
	for key, value := range config {
		if volumeOf(key, value) != "" && key != "vmstate" {
			keys = append(keys, key)
		}
	}
	sort.Strings(keys)
	return keys
}

// liveDisks leaves out the unused ones.
func liveDisks(config map[string]string) []string {
	return slices.DeleteFunc(disksOf(config), func(k string) bool { return strings.HasPrefix(k, "unused") })
}

// option is a value such as the size in "store:vm-100-disk-0,size=8G".
func option(value, name string) string {
	for _, part := range strings.Split(value, ",") {
		if k, v, ok := strings.Cut(part, "="); ok && k == name {
			return v
		}
	}
	return ""
}

// bytesOf reads 8G, 512M, 64K or bytes.
func bytesOf(size string) int64 {
	if size == "" {
		return 0
	}
	unit := int64(1)
	switch size[len(size)-1] {
	case 'K':
		unit = 1 << 10
	case 'M':
		unit = 1 << 20
	case 'G':
		unit = 1 << 30
	case 'T':
		unit = 1 << 40
	}
	n, err := strconv.ParseFloat(strings.TrimRight(size, "KMGT"), 64)
	if err != nil {
		return 0
	}
	return int64(n * float64(unit))
}

// sizeText is the shortest exact form.
func sizeText(n int64) string {
	for _, u := range []struct {
		size int64
		name string
	}{{1 << 40, "T"}, {1 << 30, "G"}, {1 << 20, "M"}, {1 << 10, "K"}} {
		if n >= u.size && n%u.size == 0 {
			return strconv.FormatInt(n/u.size, 10) + u.name
		}
	}
	return strconv.FormatInt(n, 10)
}

var numbered = regexp.MustCompile(`^([a-z]+)(\d+)$`)

var qemuOptions = map[string]string{
	"name": "dns", "memory": "memory", "cores": "int>=1", "sockets": "int>=1", "vcpus": "int>=1", "cpuunits": "int>=1",
	"balloon": "int>=0", "shares": "int>=0", "cpulimit": "number", "ostype": "enum=other|wxp|w2k|w2k3|w2k8|wvista|win7|win8|win10|win11|l24|l26|solaris",
	"kvm": "bool", "onboot": "bool", "protection": "bool", "acpi": "bool", "tablet": "bool", "numa": "bool", "autostart": "bool",
	"reboot": "bool", "localtime": "bool", "freeze": "bool", "tdf": "bool", "template": "bool", "keephugepages": "bool",
	"tags": "str", "boot": "str", "bootdisk": "str", "scsihw": "str", "smbios1": "str", "vmgenid": "str", "agent": "str",
	"args": "str", "bios": "enum=seabios|ovmf", "cpu": "str", "machine": "str", "vga": "str", "watchdog": "str", "startup": "str",
	"hotplug": "str", "hookscript": "str", "cdrom": "str", "efidisk0": "str", "tpmstate0": "str", "rng0": "str", "audio0": "str",
	"arch": "str", "affinity": "str", "startdate": "str", "vmstatestorage": "storage", "spice_enhancements": "str", "keyboard": "str",
	"cicustom": "str", "cipassword": "str", "citype": "str", "ciuser": "str", "ciupgrade": "bool", "sshkeys": "str",
	"nameserver": "str", "searchdomain": "str", "ivshmem": "str", "hugepages": "str", "migrate_downtime": "number", "migrate_speed": "int>=0",
	"lock": "enum=backup|clone|create|migrate|rollback|snapshot|snapshot-delete|suspending|suspended", "description": "max=8192",
}

// qemuOption is the kind of a VM's option.
func qemuOption(name string) (string, bool) {
	if kind, ok := qemuOptions[name]; ok {
		return kind, true
	}
	m := numbered.FindStringSubmatch(name)
	if m == nil {
		return "", false
	}
	limit, ok := map[string]int{"scsi": 31, "virtio": 16, "sata": 6, "ide": 4, "net": 32, "unused": 256, "serial": 4, "parallel": 3,
		"usb": 14, "hostpci": 16, "ipconfig": 32, "numa": 8}[m[1]]
	if !ok || number(m[2]) >= limit {
		return "", false
	}
	if m[1] == "net" {
		return "net", true
	}
	return "str", true
}

var lxcOptions = map[string]string{
	"hostname": "dns", "memory": "int>=16", "swap": "int>=0", "cores": "int>=1", "cpulimit": "number", "cpuunits": "int>=0",
	"onboot": "bool", "protection": "bool", "unprivileged": "bool", "console": "bool", "debug": "bool", "template": "bool",
	"tty": "int>=0", "ostype": "str", "arch": "str", "features": "str", "nameserver": "str", "searchdomain": "str", "startup": "str",
	"tags": "str", "cmode": "enum=shell|console|tty", "hookscript": "str", "timezone": "str", "rootfs": "str", "description": "max=8192",
	"lock": "enum=backup|create|destroyed|disk|fstrim|migrate|mounted|rollback|snapshot|snapshot-delete",
}

// lxcOption is the kind of a container's option.
func lxcOption(name string) (string, bool) {
	if kind, ok := lxcOptions[name]; ok {
		return kind, true
	}
	if m := numbered.FindStringSubmatch(name); m != nil && slices.Contains([]string{"net", "mp", "unused", "dev"}, m[1]) {
		return "str", true
	}
	return "", false
}

var macForm = regexp.MustCompile(`^(?i)[0-9a-f]{2}(:[0-9a-f]{2}){5}$`)

// checkNet is the check of a VM's network card.
func checkNet(v string) string {
	model := false
	for i, part := range strings.Split(v, ",") {
		key, value, pair := strings.Cut(part, "=")
		switch key {
		case "model":
			model = true
		case "virtio", "e1000", "e1000e", "rtl8139", "vmxnet3", "ne2k_pci", "i82551", "i82557b", "i82559er", "pcnet":
			model = true
			if !pair {
				continue
			}
			fallthrough
		case "macaddr":
			if !macForm.MatchString(value) {
				return fmt.Sprintf("invalid format - format error\n%s.macaddr: value does not look like a valid unicast MAC address\n", "net")
			}
			if first, _ := strconv.ParseUint(value[:2], 16, 8); first&1 == 1 {
				return "invalid format - format error\nnet.macaddr: value does not look like a valid unicast MAC address\n"
			}
		case "bridge", "tag", "firewall", "link_down", "queues", "rate", "trunks", "mtu":
		default:
			if i == 0 && !pair {
				model = true
				continue
			}
			return fmt.Sprintf("invalid format - format error\n%s: property is not defined in schema and the schema does not allow additional properties\n", key)
		}
	}
	if !model {
		return "invalid format - format error\nmodel: property is missing and it is not optional\n"
	}
	return ""
}

// withMAC gives a network card a MAC address where it has none, or a new one.
func withMAC(value string, fresh bool) string {
	parts := strings.Split(value, ",")
	model, mac, has := strings.Cut(parts[0], "=")
	if !has || fresh || !macForm.MatchString(mac) {
		h := strings.ToUpper(hexText(6))
		parts[0] = fmt.Sprintf("%s=BC:24:11:%s:%s:%s", model, h[:2], h[2:4], h[4:])
	}
	return strings.Join(parts, ",")
}
