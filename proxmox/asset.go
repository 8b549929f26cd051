package proxmox

import (
	"strconv"

	"cairn/internal/backup"
)

// Asset is the id of the guest with this VMID in the named cluster.
func Asset(cluster string, vmid int) backup.AssetID {
	return backup.AssetID{Kind: backup.Guest, Scope: cluster, Name: strconv.Itoa(vmid)}
}
