package byhand

import (
	"net/url"
	"path/filepath"
	"strings"

	"cairn/internal/disk"
)

// Quoted writes a word for a shell.
func Quoted(word string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._:=@%+,-", r)
	}
	if word != "" && strings.IndexFunc(word, func(r rune) bool { return !plain(r) }) < 0 {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// Rescue is where the off-site copy is laid down.
const Rescue = "/srv/rescue"

// FillIn marks a line of the commands in which a person puts a value in place: what
// no runbook can know.
const FillIn = "# FILL IN: "

// HostOf is the host of a server's address.
func HostOf(address string) string {
	if u, err := url.Parse(address); err == nil {
		return u.Hostname()
	}
	return ""
}

// NewDisk are what a person types to put a new disk in.
func NewDisk(name string, cfg disk.Config) []string {
	old := make([]string, len(cfg.Disks))
	for i, u := range cfg.Disks {
		old[i] = u.UUID
	}
	mount := Quoted(filepath.Clean(cfg.Mount))
	return []string{
		"lsblk -o NAME,SIZE,MODEL,SERIAL,TRAN,FSTYPE,UUID,MOUNTPOINTS",
		"DISK=/dev/disk/by-id/NEW   " + FillIn + "the new disk; everything on it is overwritten",
		"mkfs.ext4 -L " + Quoted(name) + ` "$DISK"`,
		`UUID=$(blkid -p -o value -s UUID "$DISK") && echo "$UUID"`,
		"# in the configuration: the new UUID in [disk." + name + "] in place of " + strings.Join(old, " or "),
		"# in /etc/fstab: the new UUID in the line of " + mount,
		"mkdir -p " + mount + ` && mount "$DISK" ` + mount,
	}
}
