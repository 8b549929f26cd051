package proxmox

import (
	"slices"
	"strings"
)

// resource is a row of /cluster/resources: a guest, a node, a storage, a pool.
// https://pve.proxmox.com/pve-docs/api-viewer/#/cluster/resources
type resource struct {
	Type     text   `json:"type"`
	ID       text   `json:"id"`
	VMID     number `json:"vmid"`
	Name     text   `json:"name"`
	Node     text   `json:"node"`
	Status   text   `json:"status"` // running, stopped, unknown; online, offline; available, unknown
	Template flag   `json:"template"`
	Lock     text   `json:"lock"`
	Tags     text   `json:"tags"`
	HAState  text   `json:"hastate"`
	Pool     text   `json:"pool"`
	Storage  text   `json:"storage"`
	Plugin   text   `json:"plugintype"`
	Shared   flag   `json:"shared"`
	Content  text   `json:"content"`
	Used     number `json:"disk"`
	Total    number `json:"maxdisk"`
}

func (r resource) guest() bool {
	return (r.Type == text(QEMU) || r.Type == text(LXC)) && r.VMID > 0
}

// facts is what the row alone says about a guest.
func (r resource) facts() Guest {
	tags := list(string(r.Tags))
	slices.Sort(tags)
	return Guest{VMID: int(r.VMID), Name: string(r.Name), Node: string(r.Node), Kind: GuestKind(r.Type),
		Running: r.Status == "running", Unsure: r.Status == "unknown", Template: bool(r.Template), Lock: string(r.Lock), Tags: tags,
		HAState: string(r.HAState), Pool: string(r.Pool)}
}

// trace changes when something happened to the guest that its configuration or
// snapshots may show.
func (r resource) trace() string {
	return strings.Join([]string{string(r.Type), string(r.Node), string(r.Status), string(r.Lock), string(r.Name), string(r.Tags)}, "\x00")
}

// resources are the rows, sorted into their kinds, each once.
type resources struct {
	guests   []resource
	nodes    []Node
	storages []resource
	mute     map[string]bool // nodes of which the cluster knows nothing but that they are not off
	bad      int             // rows that made no sense
}

func sortResources(found rows[resource]) resources {
	r := resources{bad: found.bad, mute: map[string]bool{}}
	seen, online := map[string]bool{}, map[string]bool{}
	for _, row := range found.all {
		key := string(row.Type) + "/" + string(row.Node) + "/" + string(row.Storage)
		if row.guest() {
			key = "guest/" + string(row.Type) + "/" + string(row.ID)
		}
		if seen[key] {
			continue
		}
		seen[key] = true
		switch {
		case row.guest() && row.Node != "":
			r.guests = append(r.guests, row)
			online[string(row.Node)] = online[string(row.Node)] || false
		case row.Type == "node" && row.Node != "":
			// A node that has just started, or whose pvestatd hangs, is "unknown", and answers
			// all the same; one that has left the cluster's network is "offline".
			r.mute[string(row.Node)] = row.Status == "unknown"
			online[string(row.Node)] = row.Status == "online" || row.Status == "unknown"
		case row.Type == "storage" && row.Storage != "" && row.Node != "":
			r.storages = append(r.storages, row)
		case row.Type == text(QEMU) || row.Type == text(LXC):
			r.bad++
		}
	}
	for name, up := range online {
		r.nodes = append(r.nodes, Node{name, up})
	}
	slices.SortFunc(r.nodes, func(a, b Node) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(r.guests, func(a, b resource) int { return int(a.VMID - b.VMID) })
	return r
}

func (r resources) online(node string) bool {
	return slices.Contains(r.nodes, Node{node, true})
}
