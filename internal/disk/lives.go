package disk

import (
	"regexp"
	"slices"
	"strings"
)

// The kernel gives a name such as loop1 or sdb to one disk after the other. Its
// log tells when a name begins to mean another: at a plug, an attach or a mount.

// life is the time in which a name means the same disk or USB device.
type life struct {
	parent *life           // the USB device that a disk is behind; nil: not known
	uuids  map[string]bool // of the file systems that were mounted from it
}

// session is the time in which a device name holds the same file system.
type session struct{ uuid string } // empty: the kernel did not say

// span says what a name means from a record of the log on.
type span[T any] struct {
	from int // index of the record; spans before the first one begin at 0
	what *T
}

// lives is what the names in the kernel's log meant, and when. Disks go by the
// name of the whole disk ("sdb"), by SCSI address ("0:0:0:0"), USB devices by
// "usb 2-1", SCSI hosts by "host0"; file systems by the name of their device.
type lives struct {
	disks   map[string][]span[life]
	systems map[string][]span[session]
}

var (
	usbBegins  = regexp.MustCompile(`^usb (\d[\d.-]*): new .*USB device`)
	hostBegins = regexp.MustCompile(`^scsi (host\d+): (?:usb-storage|uas) (\d[\d.-]*):`)
	scsiBegins = regexp.MustCompile(`^scsi ((\d+):\d+:\d+:\d+): Direct-Access`)
	scsiNamed  = regexp.MustCompile(`^sd (\d+:\d+:\d+:\d+): \[(sd[a-z]+)\] `)
	sizeBegins = regexp.MustCompile(`^(?:\S+ )?(\w[\w-]*): detected capacity change from 0 to [1-9]`)

	uuidForm = `[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}`
	// ext4 and XFS name the UUID since Linux 6.2 or so; btrfs always did.
	mounted   = regexp.MustCompile(`^(?:EXT4-fs|XFS) \(([^)\s]+)\): [mM]ount(?:ed|ing)\s.*?[fF]ilesystem(?: (` + uuidForm + `))?`)
	mountedB  = regexp.MustCompile(`^BTRFS info \(device ([^)\s]+)[^)]*\): first mount of filesystem (` + uuidForm + `)`)
	unmounted = regexp.MustCompile(`^(?:EXT4-fs|XFS) \(([^)\s]+)\): [uU]nmounting [fF]ilesystem (` + uuidForm + `)`)
	// fileSystem marks a line about the file system on a device, not the device.
	fileSystem = regexp.MustCompile(`^(?:EXT4-fs|XFS|BTRFS|JBD2)\b|(?i)\bjournal\b`)
)

// livesOf reads the log, oldest record first.
func livesOf(records []record) lives {
	l := lives{map[string][]span[life]{}, map[string][]span[session]{}}
	for i, r := range records {
		l.read(i, r.text)
	}
	return l
}

func (l lives) read(i int, text string) {
	if m := usbBegins.FindStringSubmatch(text); m != nil {
		l.begin("usb "+m[1], i, nil)
	} else if m := hostBegins.FindStringSubmatch(text); m != nil {
		l.means(m[1], i, l.disk("usb "+m[2]))
	} else if m := scsiBegins.FindStringSubmatch(text); m != nil {
		l.begin(m[1], i, last(l.disks["host"+m[2]]))
	} else if m := scsiNamed.FindStringSubmatch(text); m != nil {
		l.named(m[1], m[2], i)
	} else if m := sizeBegins.FindStringSubmatch(text); m != nil {
		l.begin(wholeName(m[1]), i, nil)
	} else if m := mounted.FindStringSubmatch(text); m != nil {
		l.mount(i, m[1], m[2])
	} else if m := mountedB.FindStringSubmatch(text); m != nil {
		l.mount(i, m[1], m[2])
	} else if m := unmounted.FindStringSubmatch(text); m != nil {
		l.unmount(i, m[1], m[2])
	}
}

func last[T any](spans []span[T]) *T {
	if len(spans) == 0 {
		return nil
	}
	return spans[len(spans)-1].what
}

// then returns what a name meant at record i; before the first span: nothing
// that is known.
func then[T any](spans []span[T], i int) *T {
	for _, s := range slices.Backward(spans) {
		if s.from <= i {
			return s.what
		}
	}
	return nil
}

// begin starts a new life of a name.
func (l lives) begin(name string, i int, parent *life) *life {
	return l.means(name, i, &life{parent: parent, uuids: map[string]bool{}})
}

func (l lives) means(name string, i int, what *life) *life {
	if last(l.disks[name]) != what {
		l.disks[name] = append(l.disks[name], span[life]{i, what})
		for system := range l.systems { // what it held is gone with it
			if wholeName(system) == name {
				l.systems[system] = append(l.systems[system], span[session]{i, &session{}})
			}
		}
	}
	return what
}

// named enters that a SCSI address has a name. The log may reach back to the
// attach of neither, of one or of both.
func (l lives) named(address, name string, i int) {
	switch {
	case len(l.disks[address]) == 0 && len(l.disks[name]) > 0:
		l.disks[address] = []span[life]{{0, last(l.disks[name])}}
	case len(l.disks[name]) == 0:
		now := l.disk(address)
		l.means(name, l.disks[address][len(l.disks[address])-1].from, now)
	default:
		l.means(name, i, l.disk(address))
	}
}

// disk returns the life of a name now; one that the log does not begin has
// lasted since before it.
func (l lives) disk(name string) *life {
	if known := last(l.disks[name]); known != nil {
		return known
	}
	return l.begin(name, 0, nil)
}

// mount enters that a file system was mounted. One without a UUID is taken for
// the one before it, but for a name of device mapper, which is given anew with
// no line that says so.
func (l lives) mount(i int, name, uuid string) {
	uuid = strings.ToLower(uuid)
	l.disk(wholeName(name)) // from before its file systems
	now, mapped := last(l.systems[name]), strings.HasPrefix(name, "dm-")
	switch {
	case now == nil && uuid == "" && !mapped:
		spans := l.disks[wholeName(name)]
		l.systems[name] = []span[session]{{spans[len(spans)-1].from, &session{}}}
	case now == nil, uuid == "" && mapped, uuid != "" && now.uuid != "" && now.uuid != uuid:
		if mapped || strings.HasPrefix(name, "loop") && now != nil {
			l.begin(name, i, nil)
		}
		l.systems[name] = append(l.systems[name], span[session]{i, &session{uuid}})
	case uuid != "":
		now.uuid = uuid
	}
	l.mark(l.disk(wholeName(name)), uuid)
}

// unmount tells whose a name was whose mount the log does not reach back to.
func (l lives) unmount(i int, name, uuid string) {
	uuid = strings.ToLower(uuid)
	l.disk(wholeName(name))
	if now := last(l.systems[name]); now == nil {
		l.systems[name] = []span[session]{{0, &session{uuid}}}
	} else if now.uuid == "" {
		now.uuid = uuid
	}
	l.mark(l.disk(wholeName(name)), uuid)
}

func (l lives) mark(d *life, uuid string) {
	for ; d != nil && uuid != ""; d = d.parent {
		d.uuids[uuid] = true
	}
}

// judge tells which lines are about the file system that is looked at: by its
// UUID, whatever the names were, and by what the device's names mean now.
type judge struct {
	lives
	device device
	uuid   string
}

// ours says whether record i is about our file system or the disk below it.
func (j judge) ours(i int, text string) bool {
	for name := range j.disks {
		if j.names(text, name) && !(fileSystem.MatchString(text) && len(j.systems[name]) > 0) && j.life(name, then(j.disks[name], i)) {
			return true
		}
	}
	for name := range j.systems {
		if holdsWord(text, name) && (fileSystem.MatchString(text) || wholeName(name) != name) && j.system(name, then(j.systems[name], i)) {
			return true
		}
	}
	for _, name := range append([]string{j.device.scsi}, j.device.names...) { // what the log begins nowhere has always meant this
		if name == "" || !holdsWord(text, name) || len(j.systems[name]) > 0 || len(j.disks[name]) > 0 {
			continue
		}
		if whole := wholeName(name); len(j.disks[whole]) == 0 || j.life(whole, then(j.disks[whole], i)) {
			return true
		}
	}
	if j.device.usb == "" {
		return j.device.gone && strings.Contains(text, "USB disconnect") // whose port it was is not known any more
	}
	port := "usb " + j.device.usb
	return len(j.disks[port]) == 0 && j.names(text, port)
}

// names says whether the text is about what goes by the name.
func (j judge) names(text, name string) bool {
	port, ok := strings.CutPrefix(name, "usb ")
	if !ok {
		return holdsWord(text, name)
	}
	for _, driver := range []string{"usb ", "uas ", "usb-storage "} {
		if strings.HasPrefix(text, driver+port+":") {
			return true
		}
	}
	return false
}

// life says whether a life of a disk's or port's name is ours.
func (j judge) life(name string, l *life) bool {
	if l == nil {
		return false
	}
	if j.uuid != "" && l.uuids[j.uuid] {
		return true
	}
	now := name == j.device.scsi || name == "usb "+j.device.usb || slices.ContainsFunc(j.device.names, func(n string) bool { return wholeName(n) == name })
	return now && l == last(j.disks[name])
}

// system says whether a file system that a name held is ours.
func (j judge) system(name string, s *session) bool {
	switch {
	case s == nil:
		return false
	case j.uuid != "" && s.uuid != "":
		return s.uuid == j.uuid
	}
	return slices.Contains(j.device.names, name) && s == last(j.systems[name])
}
