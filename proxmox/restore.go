package proxmox

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Restoration is a guest to be made from a backup.
type Restoration struct {
	Volume    string
	Kind      GuestKind
	Node      string
	VMID      int
	Name      string            // of the new guest; in place the archive's stays
	Storage   string            // for all disks; empty: the archive's own (a VM only)
	Bandwidth int               // KiB/s of the compressed stream; 0: no limit
	InPlace   bool              // over the guest that has the VMID: it is destroyed first
	Mounts    map[string]string `json:",omitempty"` // of a container: its volumes, where PVE must be told them
	Again     bool              // as it was, because it is gone: its name, addresses and start with the node
}

// Restore starts a restore and returns its task. What can go wrong shows in the
// task mostly, and a VM that is being restored bears no lock: Follow the task.
// Beside the original it never starts by itself, has a name of its own, and new
// MAC addresses and ids: onboot, name and unique go into the same call, because a
// restore that succeeds is there at once.
func (c *Client) Restore(ctx context.Context, r Restoration) (upid string, err error) {
	body, err := r.body()
	if err != nil {
		return "", err
	}
	return c.act(ctx, http.MethodPost, "/nodes/"+url.PathEscape(r.Node)+"/"+string(r.Kind), body, r.what())
}

func (r Restoration) what() string {
	return fmt.Sprintf("restoring %s to %s %d", r.Volume, guestWord(r.Kind), r.VMID)
}

func guestWord(k GuestKind) string {
	if k == LXC {
		return "CT"
	}
	return "VM"
}

// body are the parameters. An empty archive is refused here: PVE would make an
// empty VM and say OK. unprivileged is never given: it would override the archive's.
func (r Restoration) body() (map[string]any, error) {
	switch {
	case !strings.Contains(r.Volume, ":"):
		return nil, fmt.Errorf("restoring to %d: %q is no backup's volume id", r.VMID, r.Volume)
	case r.VMID < 100 || r.Node == "":
		return nil, fmt.Errorf("%s: VMID %d on node %q is no place for it", r.what(), r.VMID, r.Node)
	case r.Kind == LXC && r.Storage == "":
		return nil, fmt.Errorf("%s: a container needs its target storage; PVE would take local", r.what())
	case !r.InPlace && !r.Again && CheckGuestName(r.Name) != nil:
		return nil, fmt.Errorf("%s: %w", r.what(), CheckGuestName(r.Name))
	case r.Bandwidth < 0:
		return nil, fmt.Errorf("%s: a bandwidth of %d KiB/s is none", r.what(), r.Bandwidth)
	}
	return r.parameters(), nil
}

func (r Restoration) parameters() map[string]any {
	body := map[string]any{"vmid": r.VMID}
	if r.Kind == LXC {
		body["ostemplate"], body["restore"] = r.Volume, 1
	} else {
		body["archive"] = r.Volume
	}
	switch {
	case r.InPlace:
		body["force"] = 1
	case r.Again:
	default:
		body["unique"], body["onboot"] = 1, 0
		body[nameKey(r.Kind)] = r.Name
	}
	if r.Storage != "" {
		body["storage"] = r.Storage
	}
	if r.Bandwidth > 0 {
		body["bwlimit"] = r.Bandwidth
	}
	for key, value := range r.Mounts {
		body[key] = value
	}
	return body
}

// Show is the call in words, as a plan prints it.
func (r Restoration) Show() string {
	body := r.parameters()
	text := fmt.Sprintf("POST /nodes/%s/%s", r.Node, r.Kind)
	for _, key := range []string{"vmid", "archive", "ostemplate", "restore", "force", "unique", "onboot", "name", "hostname", "storage", "bwlimit"} {
		if v, ok := body[key]; ok {
			text += fmt.Sprintf(" %s=%v", key, v)
		}
	}
	return text + showMounts(r.Mounts)
}

// nameKey is the option that holds a guest's name.
func nameKey(k GuestKind) string {
	if k == LXC {
		return "hostname"
	}
	return "name"
}

// NameOf is the guest's name in its configuration.
func (c Configuration) NameOf(k GuestKind) string { return c[nameKey(k)] }

// CheckGuestName says why Proxmox VE would refuse a guest's name: it is a DNS name.
func CheckGuestName(name string) error {
	for _, label := range strings.Split(name, ".") {
		bad := strings.Trim(label, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") != ""
		if bad || label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return fmt.Errorf("guest name %q: use letters, digits and -, at most 63 between two dots", name)
		}
	}
	return nil
}

// NextID is a VMID that is free now; another may take it before it is used.
func (c *Client) NextID(ctx context.Context) (int, error) {
	var free number
	if err := c.reading.get(ctx, "/cluster/nextid", &free); err != nil {
		return 0, fmt.Errorf("asking for a free VMID: %w", err)
	}
	if free < 100 {
		return 0, fmt.Errorf("asking for a free VMID: %d is none", free)
	}
	return int(free), nil
}

// Current reads a guest as its node sees it this moment. The cluster's overview
// follows seconds later, which matters for a guest that was just made or renamed.
func (c *Client) Current(ctx context.Context, vmid int) (Guest, Configuration, error) {
	row, all, err := c.locate(ctx, vmid)
	if err != nil {
		return Guest{}, nil, err
	}
	g := row.facts()
	if !all.online(g.Node) {
		return g, nil, fmt.Errorf("guest %d: node %s is offline: %w", vmid, g.Node, errOffline(g.Node))
	}
	var now struct {
		Name   text `json:"name"`
		Status text `json:"status"`
		Lock   text `json:"lock"`
	}
	if err := c.reading.get(ctx, row.path()+"/status/current", &now); err != nil {
		return g, nil, fmt.Errorf("reading the state of guest %d: %w", vmid, err)
	}
	var config Configuration
	if err := c.reading.get(ctx, row.path()+"/config", &config); err != nil {
		return g, nil, fmt.Errorf("reading the configuration of guest %d: %w", vmid, err)
	}
	g.Name, g.Running = string(now.Name), now.Status == "running"
	config.apply(&g)
	g.Lock = string(now.Lock)
	if g.Lock == "" {
		g.Lock = config["lock"]
	}
	return g, config, nil
}

// errOffline is the failure of a call to a node that is down, told before it is made.
func errOffline(node string) error {
	return &Error{Method: http.MethodGet, Path: "/nodes/" + node, Status: 595, Reason: "node is offline"}
}

// Settings are options of a guest to set, and to delete.
type Settings struct {
	Set    map[string]string
	Delete []string
}

// SetConfig changes options of a guest. digest, where given, makes PVE refuse the
// change if the configuration is no longer the one that was read. A network card
// must be given whole: link_down alone is refused, and one without its MAC address
// gets another.
func (c *Client) SetConfig(ctx context.Context, vmid int, s Settings, digest string) error {
	row, _, err := c.locate(ctx, vmid)
	if err != nil {
		return err
	}
	body := map[string]any{}
	for key, value := range s.Set {
		body[key] = value
	}
	if len(s.Delete) > 0 {
		body["delete"] = strings.Join(s.Delete, ",")
	}
	if len(body) == 0 {
		return nil
	}
	if digest != "" {
		body["digest"] = digest
	}
	var nothing text
	if err := c.acting.do(ctx, http.MethodPut, row.path()+"/config", body, &nothing); err != nil {
		return fmt.Errorf("changing the configuration of guest %d: %w", vmid, err)
	}
	return nil
}

// Shutdown asks a guest to shut down within the seconds given, and stops it then,
// and returns the task.
func (c *Client) Shutdown(ctx context.Context, vmid, seconds int) (upid string, err error) {
	return c.actOn(ctx, vmid, http.MethodPost, always("/status/shutdown"), map[string]any{"timeout": seconds, "forceStop": 1}, "shutting it down")
}

// ErrNotOurs says that a guest is not what the operation made.
var ErrNotOurs = errors.New("it is not what the operation made")

// Husk says whether a configuration is what a failed restore leaves: no name of
// its own, no disks, nothing that a person would have set.
func (c Configuration) Husk() bool {
	for key, value := range c {
		switch {
		case key == "digest", key == "memory" && value == "128", key == "lock":
		default:
			return false
		}
	}
	return true
}

// Destroy removes a guest that an operation made, with volumes that no
// configuration names, and returns the task. It refuses a guest whose name does
// not end with mark, except what a failed restore leaves, and one that runs.
func (c *Client) Destroy(ctx context.Context, vmid int, mark string) (upid string, err error) {
	g, config, err := c.Current(ctx, vmid)
	switch {
	case err != nil:
		return "", err
	case g.Running:
		return "", fmt.Errorf("guest %d %s runs: %w as it left it; stop it first", vmid, g.Name, ErrNotOurs)
	case !config.Husk() && (mark == "" || !strings.HasSuffix(config.NameOf(g.Kind), mark)):
		return "", fmt.Errorf("guest %d is called %q, which does not end with %q: %w; nothing was removed", vmid, config.NameOf(g.Kind), mark, ErrNotOurs)
	}
	return c.actOn(ctx, vmid, http.MethodDelete, always("?purge=1&destroy-unreferenced-disks=1"), nil, "removing it")
}

// Ping asks a VM's guest agent for a sign of life. It needs VM.Monitor, from PVE 9
// on VM.GuestAgent.Audit.
func (c *Client) Ping(ctx context.Context, vmid int) error {
	row, _, err := c.locate(ctx, vmid)
	if err != nil {
		return err
	}
	if row.Type != text(QEMU) {
		return fmt.Errorf("guest %d is a container and has no agent", vmid)
	}
	var nothing struct{}
	if err := c.acting.do(ctx, http.MethodPost, row.path()+"/agent/ping", nil, &nothing); err != nil {
		return fmt.Errorf("asking the agent of guest %d: %w", vmid, err)
	}
	return nil
}

// NoAgent says that a VM's agent can never answer as the VM is: none is configured,
// or the token may not ask.
func NoAgent(err error) bool {
	var e *Error
	return IsDenied(err) || errors.As(err, &e) && strings.HasPrefix(e.Reason, "No QEMU guest agent configured")
}

// Addresses are the IP addresses that a guest is known to have: what its agent
// says (a VM), or what its configuration gives it (a container). None: not known.
func (c *Client) Addresses(ctx context.Context, vmid int) ([]string, error) {
	row, _, err := c.locate(ctx, vmid)
	if err != nil {
		return nil, err
	}
	if row.Type == text(LXC) {
		var config Configuration
		if err := c.reading.get(ctx, row.path()+"/config", &config); err != nil {
			return nil, err
		}
		return config.addresses(), nil
	}
	var said struct {
		Result []struct {
			Addresses []struct {
				IP text `json:"ip-address"`
			} `json:"ip-addresses"`
		} `json:"result"`
	}
	if err := c.acting.get(ctx, row.path()+"/agent/network-get-interfaces", &said); err != nil {
		return nil, fmt.Errorf("asking the agent of guest %d for its addresses: %w", vmid, err)
	}
	var found []string
	for _, i := range said.Result {
		for _, a := range i.Addresses {
			if ip := string(a.IP); ip != "" && ip != "::1" && !strings.HasPrefix(ip, "127.") && !strings.HasPrefix(strings.ToLower(ip), "fe80:") {
				found = append(found, ip)
			}
		}
	}
	return found, nil
}

// addresses are the fixed ones of a container's network cards.
func (c Configuration) addresses() []string {
	var found []string
	for _, key := range c.Cards() {
		for _, name := range []string{"ip", "ip6"} {
			if ip, _, fixed := strings.Cut(properties(c[key], "")[name], "/"); fixed {
				found = append(found, ip)
			}
		}
	}
	return found
}

// Cards are the keys of the network cards, in order: net0, net1, …
func (c Configuration) Cards() []string {
	var keys []string
	for key := range c {
		if n, err := strconv.Atoi(strings.TrimPrefix(key, "net")); err == nil && n >= 0 && strings.HasPrefix(key, "net") {
			keys = append(keys, key)
		}
	}
	slices.SortFunc(keys, compareKeys)
	return keys
}

// Bridges are those that the network cards are plugged into, "vmbr0" or with the
// VLAN's tag "vmbr0/7", each once.
func (c Configuration) Bridges() []string {
	var found []string
	for _, key := range c.Cards() {
		p := properties(c[key], "")
		name := p["bridge"]
		if p["tag"] != "" && name != "" {
			name += "/" + p["tag"]
		}
		if name != "" && !slices.Contains(found, name) {
			found = append(found, name)
		}
	}
	return found
}

// WithLink is a network card's whole value with its link down or up.
func WithLink(card string, down bool) string {
	var parts []string
	for _, part := range strings.Split(card, ",") {
		if !strings.HasPrefix(part, "link_down=") {
			parts = append(parts, part)
		}
	}
	if down {
		parts = append(parts, "link_down=1")
	}
	return strings.Join(parts, ",")
}

// LinkDown says whether a network card is unplugged.
func LinkDown(card string) bool { return truth(properties(card, "")["link_down"]) }

// MAC is a network card's address; empty where its value has none.
func MAC(card string) string {
	_, mac, _ := splitMAC(card)
	return mac
}

// WithMAC is the network card's value with another address.
func WithMAC(card, mac string) string {
	before, old, after := splitMAC(card)
	if old == "" {
		return card
	}
	return before + mac + after
}

// splitMAC finds the address in "virtio=MAC,…", "model=virtio,macaddr=MAC,…" or
// "name=eth0,hwaddr=MAC,…".
func splitMAC(card string) (before, mac, after string) {
	offset := 0
	for _, part := range strings.Split(card, ",") {
		if _, value, found := strings.Cut(part, "="); found && isMAC(value) {
			at := offset + len(part) - len(value)
			return card[:at], value, card[at+len(value):]
		}
		offset += len(part) + 1
	}
	return card, "", ""
}

func isMAC(s string) bool {
	if len(s) != 17 {
		return false
	}
	for i, c := range strings.ToLower(s) {
		if i%3 == 2 && c != ':' || i%3 != 2 && !strings.ContainsRune("0123456789abcdef", c) {
			return false
		}
	}
	return true
}
