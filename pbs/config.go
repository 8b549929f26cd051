// Package pbs surveys and acts on a Proxmox Backup Server: datastores,
// namespaces, backup snapshots and jobs, over its HTTP API.
package pbs

import (
	"cairn/internal/backup"
	"cairn/internal/secret"
)

// Config is the table [pbs.NAME]: one datastore of one server.
type Config struct {
	URL             string          `toml:"url"`
	Fingerprint     string          `toml:"fingerprint"` // SHA-256 of the server's certificate
	CAFile          string          `toml:"ca_file"`     // or the authority that signed it
	TokenID         string          `toml:"token_id"`    // user@realm!name
	TokenSecret     secret.Source   `toml:"token_secret"`
	Act             *Token          `toml:"act"` // used only to change something
	Datastore       string          `toml:"datastore"`
	Namespaces      []string        `toml:"namespaces"` // "" is the root; "lab/**" is lab and all below; none: all
	Path            string          `toml:"path"`       // where the datastore lies on this host, if it does
	Disk            string          `toml:"disk"`       // a [disk.NAME]
	Site            string          `toml:"site"`
	ProxmoxStorages []string        `toml:"proxmox_storages"` // "CLUSTER/STORAGE": what restores read from
	Every           backup.Duration `toml:"every"`
	Grace           backup.Duration `toml:"grace"` // 0: every/24
	Keep            backup.Keep     `toml:"keep"`
	VerifyMaxAge    backup.Duration `toml:"verify_max_age"`
	ConfigCopy      string          `toml:"config_copy"` // directory of this host with /etc/proxmox-backup or a copy; "none": it is kept otherwise
}

// Token is an API token: user@realm!name and its secret.
type Token struct {
	TokenID     string        `toml:"token_id"`
	TokenSecret secret.Source `toml:"token_secret"`
}
