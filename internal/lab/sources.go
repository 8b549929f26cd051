package lab

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// sources are the paths of the backup host that restic saves.
func (l *Lab) sources() []string {
	return []string{l.dir.at("host", "etc"), l.dir.at("host", "srv"), l.dir.at("usb", "pbs"), l.dir.at("usb", "pg")}
}

// writeSources makes the backup host's own files: its configuration, a copy of
// the cluster's, and the documents that belong to the ERP database.
func (l *Lab) writeSources() error {
	files := map[string]string{
		"etc/hostname":                 "nas\n",
		"etc/fstab":                    "LABEL=usb /mnt/usb ext4 noatime,nofail 0 2\n",
		"etc/cairn/README":             "A copy of the configuration that the lab is reached by.\n",
		"etc/resticprofile/usb.toml":   "[usb]\nschedule = \"daily\"\n",
		"srv/ged/2026/invoice-001.txt": strings.Repeat("invoice 1 of the demo company\n", 40),
		"srv/ged/2026/invoice-002.txt": strings.Repeat("invoice 2 of the demo company\n", 60),
		"srv/ged/README":               "Documents that rows of openprod.document name.\n",
		"srv/photos/list.txt":          strings.Repeat("photo\n", 5000),
	}
	return l.writeHost(files)
}

// writeHost writes files of the backup host, by their paths.
func (l *Lab) writeHost(files map[string]string) error {
	for name, text := range files {
		path := l.dir.at("host", filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return fmt.Errorf("writing the backup host's files: %w", err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return fmt.Errorf("writing the backup host's files: %w", err)
		}
	}
	return nil
}

// writeConfigurations makes the copies of what the two servers are configured
// with: the cluster's, fetched every night, and the backup server's own.
func (l *Lab) writeConfigurations() error {
	files := map[string]string{}
	for name, text := range l.PVE.Etc() {
		files["etc/pve/"+name] = text
	}
	for name, text := range l.PBS.Etc() {
		files["etc/proxmox-backup/"+name] = text
	}
	return l.writeHost(files)
}
