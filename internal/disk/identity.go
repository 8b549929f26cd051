package disk

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"cairn/internal/command"
)

// device is the block device below a mount, as sysfs knows it.
type device struct {
	number string   // "8:17"
	name   string   // "sdb1"
	disk   string   // "sdb": the whole disk; of a mapped one the disk below
	names  []string // all that kernel messages may call it: sdb1, sdb, dm-0
	usb    string   // "2-1": its USB port; empty: not on USB, or not known
	scsi   string   // "1:0:0:0"; empty: none
	gone   bool     // it has left the system
}

// sysfs is where the kernel shows its devices.
const sysfs = "/sys"

// deviceOf finds the device of a mount. Where the file system has no device of
// its own, as with btrfs, the mount's source names it.
func deviceOf(m mount) device {
	d := device{number: m.device}
	if strings.HasPrefix(m.source, "/dev/") {
		d.name = filepath.Base(m.source)
	}
	if strings.HasPrefix(m.device, "0:") {
		if d.name == "" {
			return device{}
		}
		var st syscall.Stat_t
		if err := syscall.Stat(m.source, &st); err != nil {
			d.gone = true
			return d
		}
		d.number = fmt.Sprintf("%d:%d", major(st.Rdev), minor(st.Rdev))
	}
	path, err := filepath.EvalSymlinks(filepath.Join(sysfs, "dev/block", d.number))
	if err != nil {
		d.gone = true
		d.names = []string{d.name, wholeName(d.name)}
		d.disk = wholeName(d.name)
		return d
	}
	d.name, d.disk = filepath.Base(path), filepath.Base(path)
	d.describe(path, 0)
	return d
}

// describe adds what a device's directory in sysfs says, and the devices that
// it is mapped to: that of an encrypted disk outlives the disk.
func (d *device) describe(path string, depth int) {
	d.names = append(d.names, filepath.Base(path))
	if slaves, err := os.ReadDir(filepath.Join(path, "slaves")); err == nil && depth < 4 {
		left := 0
		for _, s := range slaves {
			if below, err := filepath.EvalSymlinks(filepath.Join(path, "slaves", s.Name())); err == nil {
				left++
				d.disk = filepath.Base(below)
				d.describe(below, depth+1)
			}
		}
		if _, err := os.Stat(filepath.Join(path, "dm")); err == nil && left == 0 {
			d.gone = true
		}
	}
	if _, err := os.Stat(filepath.Join(path, "partition")); err == nil {
		d.disk = filepath.Base(filepath.Dir(path))
		d.names = append(d.names, d.disk)
	}
	for _, part := range strings.Split(path, "/") {
		switch {
		case isUSBPort(part):
			d.usb = part
		case strings.Count(part, ":") == 3:
			d.scsi = part
		case isController(part):
			d.names = append(d.names, part)
		}
	}
}

// isUSBPort recognises "2-1" and "2-1.4", not the host "usb2" or the interface "2-1:1.0".
func isUSBPort(name string) bool {
	bus, port, ok := strings.Cut(name, "-")
	return ok && bus != "" && port != "" && strings.Trim(bus, "0123456789") == "" && strings.Trim(port, "0123456789.") == ""
}

// isController recognises "nvme0", which the kernel calls what fails of the disk nvme0n1.
func isController(name string) bool {
	number, ok := strings.CutPrefix(name, "nvme")
	return ok && number != "" && strings.Trim(number, "0123456789") == ""
}

// wholeName takes the partition off: sdb1 and sdb, nvme0n1p2 and nvme0n1.
func wholeName(name string) string {
	bare := strings.TrimRight(name, "0123456789")
	if bare == name || bare == "" {
		return name
	}
	if rest, ok := strings.CutSuffix(bare, "p"); ok && rest != "" && rest[len(rest)-1] >= '0' && rest[len(rest)-1] <= '9' {
		return rest
	}
	if strings.HasPrefix(name, "sd") || strings.HasPrefix(name, "vd") || strings.HasPrefix(name, "hd") {
		return bare
	}
	return name
}

// identity is what tells one disk from another. A disk behind a USB bridge has
// two serial numbers, its own and the bridge's; either may be configured.
type identity struct {
	uuid    string
	serials []string
}

func (id identity) empty() bool { return id.uuid == "" && len(id.serials) == 0 }

func (id *identity) addSerial(serial string) {
	if serial != "" && !slices.Contains(id.serials, serial) {
		id.serials = append(id.serials, serial)
	}
}

// identify reads the UUID of the file system and the serial numbers of the disk:
// from udev's links and sysfs, else from lsblk, which needs udev too, else by
// probing. Without serials it asks for these only where they cost nothing.
func identify(ctx context.Context, d device, serials bool) (identity, error) {
	id := identity{uuid: linkedUUID(d.name)}
	if serials || id.uuid == "" {
		r, err := command.Run(ctx, command.Spec{Argv: []string{"lsblk", "--json", "--inverse", "--output", "KNAME,UUID,SERIAL", "/dev/" + d.name}})
		if err == nil {
			for _, b := range parseLsblk(r.Stdout) {
				if id.uuid == "" && b.KName == d.name {
					id.uuid = b.UUID
				}
				id.addSerial(b.Serial)
			}
		}
	}
	id.addSerial(serialOf(d.number))
	if id.uuid != "" {
		return id, nil
	}
	path := filepath.Join("/dev", d.name)
	r, err := command.Run(ctx, command.Spec{Argv: []string{"blkid", "-p", "-o", "export", path}})
	if err != nil {
		return id, fmt.Errorf("the UUID of %s could not be read (%w); run cairn as root, or where udev runs", path, err)
	}
	if id.uuid = parseBlkid(r.Stdout); id.uuid == "" {
		return id, fmt.Errorf("blkid tells no UUID of %s", path)
	}
	return id, nil
}

const byUUID = "/dev/disk/by-uuid"

// linkedUUID looks a device up in the links that udev keeps.
func linkedUUID(name string) string {
	links, _ := os.ReadDir(byUUID)
	for _, l := range links {
		if to, err := os.Readlink(filepath.Join(byUUID, l.Name())); err == nil && filepath.Base(to) == name {
			return unescapeUdev(l.Name())
		}
	}
	return ""
}

// unescapeUdev undoes udev's \x20 in the name of a link.
func unescapeUdev(name string) string { return strings.ReplaceAll(name, `\x20`, " ") }

// serialOf reads the serial number that sysfs shows: of the NVMe disk, or of
// the USB device that the disk is.
func serialOf(number string) string {
	path, err := filepath.EvalSymlinks(filepath.Join(sysfs, "dev/block", number))
	if err != nil {
		return ""
	}
	for ; len(path) > len("/sys/devices/"); path = filepath.Dir(path) {
		for _, name := range []string{"serial", "device/serial"} {
			if text, err := os.ReadFile(filepath.Join(path, name)); err == nil && len(strings.TrimSpace(string(text))) > 0 {
				return strings.TrimSpace(string(text))
			}
		}
		if isUSBPort(filepath.Base(path)) {
			return "" // a hub's number is not the disk's
		}
	}
	return ""
}

type lsblkDevice struct{ KName, UUID, Serial string }

// lsblkJSON is a device of `lsblk --json`; without udev its fields are null.
// With --inverse its children are the devices below it.
type lsblkJSON struct {
	KName    *string     `json:"kname"`
	UUID     *string     `json:"uuid"`
	Serial   *string     `json:"serial"`
	Children []lsblkJSON `json:"children"`
}

func parseLsblk(text []byte) []lsblkDevice {
	var out struct {
		Devices []lsblkJSON `json:"blockdevices"`
	}
	if json.Unmarshal(text, &out) != nil {
		return nil
	}
	return flatten(out.Devices)
}

func flatten(tree []lsblkJSON) []lsblkDevice {
	var devices []lsblkDevice
	for _, d := range tree {
		devices = append(devices, lsblkDevice{word(d.KName), word(d.UUID), word(d.Serial)})
		devices = append(devices, flatten(d.Children)...)
	}
	return devices
}

func word(s *string) string {
	if s == nil {
		return ""
	}
	return strings.TrimSpace(*s)
}

// parseBlkid reads the UUID of `blkid -o export`.
func parseBlkid(text []byte) string {
	for line := range strings.Lines(string(text)) {
		if uuid, ok := strings.CutPrefix(strings.TrimSpace(line), "UUID="); ok {
			return uuid
		}
	}
	return ""
}

// unitOf returns the configured disk with this identity. What is configured and
// known must agree: a clone has the UUID of another disk, but not its serial.
func unitOf(units []Unit, id identity) (Unit, bool) {
	i := slices.IndexFunc(units, func(u Unit) bool {
		uuid := u.UUID != "" && strings.EqualFold(u.UUID, id.uuid)
		serial := u.Serial != "" && slices.ContainsFunc(id.serials, func(s string) bool { return strings.EqualFold(u.Serial, s) })
		differs := u.UUID != "" && id.uuid != "" && !uuid || u.Serial != "" && len(id.serials) > 0 && !serial
		return (uuid || serial) && !differs
	})
	if i < 0 {
		return Unit{}, false
	}
	return units[i], true
}

// attached returns the configured disks that are plugged in, mounted or not.
func attached(ctx context.Context, units []Unit) []string {
	uuids := presentUUIDs(ctx)
	var names []string
	for _, u := range units {
		if u.UUID != "" && slices.ContainsFunc(uuids, func(uuid string) bool { return strings.EqualFold(uuid, u.UUID) }) {
			names = append(names, u.Name)
		}
	}
	return names
}

// presentUUIDs lists the file systems that udev knows, or that blkid finds
// where no udev runs.
func presentUUIDs(ctx context.Context) []string {
	var uuids []string
	links, err := os.ReadDir(byUUID)
	for _, l := range links {
		uuids = append(uuids, unescapeUdev(l.Name()))
	}
	if err == nil {
		return uuids
	}
	r, err := command.Run(ctx, command.Spec{Argv: []string{"blkid", "-c", "/dev/null", "-s", "UUID", "-o", "value"}})
	if err != nil {
		return nil
	}
	return strings.Fields(string(r.Stdout))
}

// major and minor take a device number apart, as Linux puts it together.
func major(dev uint64) uint64 { return dev>>8&0xfff | dev>>32&^uint64(0xfff) }
func minor(dev uint64) uint64 { return dev&0xff | dev>>12&^uint64(0xff) }
