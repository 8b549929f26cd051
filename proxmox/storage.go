package proxmox

import (
	"maps"
	"slices"
	"strings"
)

// storageConfig is a row of /storage: how the cluster defines a storage.
type storageConfig struct {
	Storage     text `json:"storage"`
	Type        text `json:"type"`
	Content     text `json:"content"`
	Server      text `json:"server"`
	Datastore   text `json:"datastore"`
	Namespace   text `json:"namespace"`
	Chain       flag `json:"snapshot-as-volume-chain"`
	Fingerprint text `json:"fingerprint"`
	Key         text `json:"encryption-key"` // of a PBS: the fingerprint, or 1
	Pool        text `json:"thinpool"`
	Group       text `json:"vgname"`
	Shared      flag `json:"shared"`
	Disabled    flag `json:"disable"`
	Nodes       text `json:"nodes"`

	Retention retention `json:"prune-backups"`
}

// nodeStorage is a row of /nodes/{node}/storage: how one node sees it.
type nodeStorage struct {
	Storage   text   `json:"storage"`
	Type      text   `json:"type"`
	Content   text   `json:"content"`
	Active    flag   `json:"active"`
	Enabled   flag   `json:"enabled"`
	Shared    flag   `json:"shared"`
	Total     number `json:"total"`
	Used      number `json:"used"`
	Available number `json:"avail"`
}

// thinPool is a row of /nodes/{node}/disks/lvmthin.
type thinPool struct {
	Name      text   `json:"lv"`
	Group     text   `json:"vg"`
	MetaTotal number `json:"metadata_size"`
	MetaUsed  number `json:"metadata_used"`
}

// archives says whether vzdump archives lie on the storage itself: what lies on
// a PBS is surveyed there.
func (s Storage) archives() bool {
	return s.Type != "pbs" && slices.Contains(s.Content, "backup")
}

// storageView is what is known of the storages beyond the resource rows.
type storageView struct {
	configs map[string]storageConfig
	nodes   map[string][]nodeStorage // by node
	mute    map[string]bool          // nodes that tell the cluster nothing of their storages
	pools   map[string][]thinPool    // by node
}

// keep drops what is known of nodes that left the cluster.
func (v storageView) keep(present map[string]bool) {
	maps.DeleteFunc(v.nodes, func(node string, _ []nodeStorage) bool { return !present[node] })
	maps.DeleteFunc(v.pools, func(node string, _ []thinPool) bool { return !present[node] })
}

// storages joins the rows with the definitions. A row is as fresh as the survey;
// available space is the node's own figure, less what was written since: file
// systems keep blocks back, so it is not the total less the used.
func (v storageView) storages(seen []resource) []Storage {
	var all []Storage
	listed := map[string]bool{}
	for _, r := range seen {
		s := Storage{Name: string(r.Storage), Node: string(r.Node), Type: string(r.Plugin), Shared: bool(r.Shared),
			Active: r.Status == "available", Enabled: true, Content: list(string(r.Content))}
		if s.Active {
			s.Total, s.Used, s.Available = int64(r.Total), int64(r.Used), max(int64(r.Total-r.Used), 0)
		}
		n, ok := v.onNode(s.Node, s.Name)
		if ok && !s.Active && v.mute[s.Node] && bool(n.Active) {
			s.Active, s.Total, s.Used = true, int64(n.Total), int64(n.Used)
		}
		if ok && s.Active && bool(n.Active) {
			s.Available = max(int64(n.Available)-(s.Used-int64(n.Used)), 0)
		}
		listed[s.Node+"/"+s.Name] = true
		all = append(all, v.define(s))
	}
	for node, rows := range v.nodes { // a disabled storage has no resource row
		for _, n := range rows {
			if n.Storage == "" || listed[node+"/"+string(n.Storage)] || bool(n.Enabled) {
				continue
			}
			all = append(all, v.define(Storage{Name: string(n.Storage), Node: node, Type: string(n.Type),
				Shared: bool(n.Shared), Content: list(string(n.Content))}))
		}
	}
	slices.SortFunc(all, func(a, b Storage) int {
		if c := strings.Compare(a.Name, b.Name); c != 0 {
			return c
		}
		return strings.Compare(a.Node, b.Node)
	})
	return all
}

func (v storageView) onNode(node, name string) (nodeStorage, bool) {
	for _, n := range v.nodes[node] {
		if string(n.Storage) == name {
			return n, true
		}
	}
	return nodeStorage{}, false
}

// define adds what the cluster's definition of the storage says.
func (v storageView) define(s Storage) Storage {
	slices.Sort(s.Content)
	c, known := v.configs[s.Name]
	if s.Type == "" {
		s.Type = string(c.Type)
	}
	if s.Type == "pbs" {
		s.Server, s.Datastore, s.Namespace = string(c.Server), string(c.Datastore), string(c.Namespace)
	}
	s.VolumeChain = known && bool(c.Chain)
	s.NewestOnly = s.VolumeChain || s.Type == "zfspool" || s.Type == "zfs"
	if s.Type == "lvmthin" && s.Active {
		for _, p := range v.pools[s.Node] {
			if p.Name == c.Pool && p.Group == c.Group && p.MetaTotal > 0 {
				s.Meta = &Usage{Total: int64(p.MetaTotal), Used: int64(p.MetaUsed)}
			}
		}
	}
	return s
}
