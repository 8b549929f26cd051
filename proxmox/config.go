// Package proxmox surveys and acts on a Proxmox VE cluster: guests, snapshots,
// storages, backup jobs and tasks, over its HTTP API.
package proxmox

import (
	"cairn/internal/backup"
	"cairn/internal/secret"
)

// Config is the table [proxmox.NAME]: one cluster, or one node.
type Config struct {
	URLs         []string       `toml:"urls"`         // the next is tried when one is down
	Fingerprints []string       `toml:"fingerprints"` // SHA-256 of the servers' certificates
	CAFile       string         `toml:"ca_file"`      // or the authority that signed them
	TokenID      string         `toml:"token_id"`     // user@realm!name
	TokenSecret  secret.Source  `toml:"token_secret"`
	Act          *Token         `toml:"act"` // used only to change something
	Snapshots    SnapshotPolicy `toml:"snapshots"`
	ConfigCopy   string         `toml:"config_copy"` // directory of this host with a copy of /etc/pve; "none": it is kept otherwise
}

// Token is an API token: user@realm!name and its secret.
type Token struct {
	TokenID     string        `toml:"token_id"`
	TokenSecret secret.Source `toml:"token_secret"`
}

// SnapshotPolicy judges a cluster's snapshots. Without Every they have no schedule.
type SnapshotPolicy struct {
	MaxAge backup.Duration `toml:"max_age"` // an older one is warned of; 0: none is
	Every  backup.Duration `toml:"every"`
}

// GuestConfig is the table [guest."CLUSTER/VMID"].
type GuestConfig struct {
	Priority  int             `toml:"priority"` // 1 is restored first; 0: after all that have one
	RTO       backup.Duration `toml:"rto"`
	RPO       backup.Duration `toml:"rpo"`
	CheckPort int             `toml:"check_port"` // TCP port that answers when the guest works
	Database  bool            `toml:"database"`   // it holds a database: crash-consistent copies are warned of
	Ignore    bool            `toml:"ignore"`     // it needs no copies
}

// LastInOrder is the place of a guest to which no priority is given.
const LastInOrder = 1 << 30

// Order is a guest's place where several come back: 1 first.
func (g GuestConfig) Order() int {
	if g.Priority > 0 {
		return g.Priority
	}
	return LastInOrder
}
