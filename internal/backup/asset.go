package backup

import (
	"fmt"
	"strings"
)

// AssetKind tells what is protected.
type AssetKind string

// The kinds of asset.
const (
	Guest     AssetKind = "guest"     // a VM or container
	Database  AssetKind = "database"  // one database of a PostgreSQL server
	Cluster   AssetKind = "cluster"   // a whole PostgreSQL server: globals, every database, WAL
	Path      AssetKind = "path"      // a directory of this host
	Host      AssetKind = "host"      // a host's own configuration, such as /etc/pve
	Composite AssetKind = "composite" // assets that only make sense together
)

// AssetID identifies an asset. Scope keeps apart what carries the same name in
// two systems: a guest is (cluster, VMID), never the VMID alone; a database is
// (server, name). A path, a host and a composite have no scope.
type AssetID struct {
	Kind  AssetKind
	Scope string // configured name of the Proxmox cluster or PostgreSQL server
	Name  string // VMID, database name, path, or composite's name
}

// String writes the id as the configuration does: "guest:home/101",
// "postgres.erp/openprod", "postgres.erp", "path:/srv", "asset.erp".
func (a AssetID) String() string {
	switch a.Kind {
	case Guest:
		return "guest:" + a.Scope + "/" + a.Name
	case Database:
		return "postgres." + a.Scope + "/" + a.Name
	case Cluster:
		return "postgres." + a.Scope
	case Composite:
		return "asset." + a.Name
	}
	return string(a.Kind) + ":" + a.Name
}

// MarshalText writes the form of String.
func (a AssetID) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText reads the form of String.
func (a *AssetID) UnmarshalText(text []byte) error {
	v, err := ParseAssetID(string(text))
	if err == nil {
		*a = v
	}
	return err
}

// ParseAssetID reads what String writes.
func ParseAssetID(text string) (AssetID, error) {
	bad := fmt.Errorf("asset %q: write guest:CLUSTER/VMID, postgres.SERVER/DATABASE, path:/DIRECTORY or asset.NAME", text)
	if rest, ok := strings.CutPrefix(text, "guest:"); ok {
		scope, name, found := strings.Cut(rest, "/")
		if !found || scope == "" || name == "" {
			return AssetID{}, bad
		}
		return AssetID{Guest, scope, name}, nil
	}
	if rest, ok := strings.CutPrefix(text, "postgres."); ok && rest != "" {
		scope, name, found := strings.Cut(rest, "/")
		switch {
		case !found:
			return AssetID{Cluster, scope, ""}, nil
		case scope != "" && name != "":
			return AssetID{Database, scope, name}, nil
		}
		return AssetID{}, bad
	}
	if rest, ok := strings.CutPrefix(text, "path:"); ok && strings.HasPrefix(rest, "/") {
		return AssetID{Kind: Path, Name: rest}, nil
	}
	if rest, ok := strings.CutPrefix(text, "host:"); ok && rest != "" {
		return AssetID{Kind: Host, Name: rest}, nil
	}
	if rest, ok := strings.CutPrefix(text, "asset."); ok && rest != "" {
		return AssetID{Kind: Composite, Name: rest}, nil
	}
	return AssetID{}, bad
}

// CompositeConfig is the table [asset.NAME]: assets that are only worth
// something together.
type CompositeConfig struct {
	Members []AssetID `toml:"members"`
	Skew    Duration  `toml:"skew"` // how far apart their points in time may lie; 0: no limit
}
