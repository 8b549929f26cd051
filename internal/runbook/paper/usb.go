package paper

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"cairn/internal/backup"
	"cairn/internal/runbook/byhand"
)

// usbLoss is a new disk under the copies: what cairn does, and the same by hand.
func (w *paperWriter) usbLoss() {
	for _, name := range slices.Sorted(maps.Keys(w.c.Disks)) {
		cfg := w.c.Disks[name]
		b := Block{Title: "Disk " + name + " is gone (usb-loss)", Level: 2, Text: []string{w.expected("usb-loss"),
			"The guests live: nothing of them is lost, but nothing new is protected either. While the backup host stands, cairn restore usb-loss " + name + " says what to type, looks at the new disk and seeds it from off-site; cairn operation resume ID goes on. The same by hand, as root:"}}
		b.Commands = append(byhand.NewDisk(name, cfg), w.seedByHand(name)...)
		b.Text = append(b.Text, "Let the nightly backup of the guests run at once.")
		w.add(b)
	}
}

// seedByHand lays down what an off-site repository has of a disk, and makes its
// repositories anew.
func (w *paperWriter) seedByHand(disk string) (commands []string) {
	mount := filepath.Clean(w.c.Disks[disk].Mount)
	off := ""
	for _, name := range slices.Sorted(maps.Keys(w.c.Restic)) {
		held := func(p string) bool { return backup.Within(filepath.Clean(p), mount) }
		if off != "" || !w.c.Restic[name].OffSite() || !slices.ContainsFunc(w.pathsOf(name), held) {
			continue
		}
		off = name
		commands = append(commands, w.openRepository(name)...)
		commands = append(commands, w.newestSnapshot(name))
		for _, p := range w.pathsOf(name) {
			if held(p) {
				commands = append(commands, `restic restore "$SNAPSHOT" --verify --target / --include `+byhand.Quoted(literally(p)))
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(w.c.PBS)) {
		if c := w.c.PBS[name]; c.Disk == disk && c.Path != "" {
			if off == "" {
				commands = append(commands, fmt.Sprintf("proxmox-backup-manager datastore create %s %s", byhand.Quoted(c.Datastore), byhand.Quoted(c.Path)))
				continue
			}
			commands = append(commands, completeStore(filepath.Clean(c.Path))...)
			commands = append(commands, "proxmox-backup-manager verify "+byhand.Quoted(c.Datastore))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(w.c.Restic)) {
		c := w.c.Restic[name]
		if c.Disk != disk || c.RunBy != nil {
			continue
		}
		init := fmt.Sprintf("restic -r %s --password-file %s init", byhand.Quoted(c.Where()), byhand.Quoted(c.Password.File))
		if c.Password.File == "" {
			init = fmt.Sprintf("env -u RESTIC_PASSWORD_FILE restic -r %s init", byhand.Quoted(c.Where())) // it asks for one
		}
		if from := w.copiedTo(name); from != "" && from == off {
			init += ` --from-repo "$RESTIC_REPOSITORY" --from-password-file "$RESTIC_PASSWORD_FILE" --copy-chunker-params`
		}
		commands = append(commands, init, "cairn backup "+byhand.Quoted(name))
	}
	return commands
}

// copiedTo is the repository that another is copied to; empty: none.
func (w *paperWriter) copiedTo(name string) string {
	for _, one := range slices.Sorted(maps.Keys(w.c.Restic)) {
		if w.c.Restic[one].CopyFrom == name {
			return one
		}
	}
	return ""
}

// newestSnapshot names the newest snapshot of what a repository is made of.
func (w *paperWriter) newestSnapshot(name string) string {
	path := ""
	if paths := w.pathsOf(name); len(paths) > 0 {
		path = " --path " + byhand.Quoted(slices.MinFunc(paths, strings.Compare))
	}
	return "SNAPSHOT=$(restic snapshots --json" + hostsOf(w.c.Restic[name].Match.Hosts) + path + ` | grep -o '"short_id":"[0-9a-f]*"' | tail -n 1 | cut -d '"' -f 4)`
}
