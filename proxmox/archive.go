package proxmox

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

// RestorePoint is one backup of a guest that a restore can start from.
type RestorePoint struct {
	Volume    string // volume id: "pbs-usb:backup/vm/101/2026-11-21T20:00:00Z"
	Storage   string
	Node      string // an online node that reaches the storage
	PBS       bool   // the storage is a Proxmox Backup Server
	Kind      GuestKind
	VMID      int // of the guest that was backed up
	Taken     time.Time
	Size      int64  // bytes, as the storage counts them; 0: not known
	Notes     string // their first line
	Protected bool
	Verified  string // "ok" or "failed"; empty: never verified
	Encrypted bool
	Key       string // fingerprint of the key that encrypts it; empty: not known
	InFlight  bool   // its upload has not ended, or never will
	Undated   bool   // it was renamed: when it was made is not known, only when its file was last changed
}

// archiveRow is a row of a storage's backup content, with what a restore asks.
type archiveRow struct {
	archive
	Format       text            `json:"format"`
	Verification json.RawMessage `json:"verification"`
}

func (a archiveRow) point(storage resource) RestorePoint {
	p := RestorePoint{Volume: string(a.Volume), Storage: string(storage.Storage), Node: string(storage.Node), PBS: storage.Plugin == "pbs",
		Kind: a.kind(), VMID: int(a.VMID), Taken: a.taken(), Size: max(int64(a.Size), int64(a.Guess), 0),
		Notes: a.remark(), Undated: a.undated(), Protected: bool(a.Protected), Encrypted: a.Encrypted != "" && a.Encrypted != "0"}
	if said, err := object[text](a.Verification); err == nil {
		p.Verified = string(said["state"])
	}
	if p.Encrypted && a.Encrypted != "1" {
		p.Key = string(a.Encrypted)
	}
	p.InFlight = p.PBS && p.Size <= 1 // so PVE shows an upload that has no index yet
	return p
}

func (a archiveRow) kind() GuestKind {
	switch {
	case a.Kind == text(LXC), a.Kind == "openvz", a.Format == "pbs-ct", strings.Contains(string(a.Volume), ":backup/ct/"), strings.Contains(string(a.Volume), "vzdump-lxc-"), strings.Contains(string(a.Volume), "vzdump-openvz-"):
		return LXC
	}
	return QEMU
}

// Usable says whether a restore from it can be expected to work.
func (p RestorePoint) Usable() bool {
	return !p.InFlight && p.Verified != "failed" && !p.Taken.IsZero()
}

// RestorePoints lists the backups of a guest on every storage that an online node
// reaches, newest first, and those of no known date last; vmid 0: of all guests. What could not be read is told
// beside them: a storage that does not answer, or one whose backups the token may
// not see, because PVE leaves those out with 200.
func (c *Client) RestorePoints(ctx context.Context, vmid int) ([]RestorePoint, []Incompletion, error) {
	var found rows[resource]
	if err := c.reading.get(ctx, "/cluster/resources", &found); err != nil {
		return nil, nil, fmt.Errorf("looking for the backups of guest %d: %w", vmid, err)
	}
	all := sortResources(found)
	var points []RestorePoint
	var missing []Incompletion
	for _, s := range backupStorages(all) {
		here, err := c.pointsOn(ctx, s, vmid)
		if err != nil {
			missing = append(missing, Incompletion{"storage " + string(s.Storage), err.Error()})
		}
		points = append(points, here...)
	}
	slices.SortStableFunc(points, func(a, b RestorePoint) int {
		if a.Undated != b.Undated {
			if a.Undated {
				return 1
			}
			return -1
		}
		if d := b.Taken.Compare(a.Taken); d != 0 {
			return d
		}
		return strings.Compare(a.Volume, b.Volume)
	})
	return slices.CompactFunc(points, func(a, b RestorePoint) bool { return a.Volume == b.Volume }), missing, nil
}

// backupStorages are those that hold backups, as an online node sees each; one
// that is shared, or bears the same name on several nodes and is a PBS, is asked once.
func backupStorages(all resources) []resource {
	var found []resource
	seen := map[string]bool{}
	for _, s := range all.storages {
		once := string(s.Storage)
		if !bool(s.Shared) && s.Plugin != "pbs" {
			once += "/" + string(s.Node)
		}
		if seen[once] || !all.online(string(s.Node)) || !slices.Contains(list(string(s.Content)), "backup") {
			continue
		}
		seen[once] = true
		found = append(found, s)
	}
	return found
}

// pointsOn asks with the acting token, which is the one that will read the
// archive; where that sees nothing, with the reading one.
func (c *Client) pointsOn(ctx context.Context, s resource, vmid int) ([]RestorePoint, error) {
	query := url.Values{"content": {"backup"}}
	if vmid > 0 {
		query.Set("vmid", fmt.Sprint(vmid))
	}
	path := "/nodes/" + url.PathEscape(string(s.Node)) + "/storage/" + url.PathEscape(string(s.Storage)) + "/content?" + query.Encode()
	var found rows[archiveRow]
	err := c.acting.get(ctx, path, &found)
	if err != nil || len(found.all) == 0 {
		var seen rows[archiveRow]
		if other := c.reading.get(ctx, path, &seen); other == nil {
			found, err = seen, nil
		}
	}
	if err != nil {
		return nil, err
	}
	var points []RestorePoint
	for _, row := range found.all {
		if row.Volume == "" || row.VMID <= 0 || row.Content != "" && row.Content != "backup" || row.foreign() || vmid > 0 && int(row.VMID) != vmid {
			continue
		}
		points = append(points, row.point(s))
	}
	if len(points) == 0 {
		return nil, c.hiddenPoints(ctx, string(s.Storage), vmid)
	}
	return points, oddRows(found.bad)
}

// hiddenPoints says why there may be backups that an empty list does not show.
func (c *Client) hiddenPoints(ctx context.Context, storage string, vmid int) error {
	vm := "/vms"
	if vmid > 0 {
		vm = fmt.Sprintf("/vms/%d", vmid)
	}
	onStorage, err := c.Privileges(ctx, "/storage/"+storage)
	if err != nil {
		return err
	}
	onGuest, err := c.Privileges(ctx, vm)
	switch {
	case err != nil:
		return err
	case onStorage["Datastore.Allocate"]:
		return nil
	case !onStorage["Datastore.AllocateSpace"]:
		return fmt.Errorf("backups are left out, because the acting token lacks Datastore.AllocateSpace on /storage/%s", storage)
	case !onGuest["VM.Backup"]:
		return fmt.Errorf("backups are left out, because the acting token lacks VM.Backup on %s", vm)
	}
	return nil
}

// ArchiveConfig reads the guest's configuration out of a backup. It needs VM.Backup
// on the guest that was backed up, and the key of an encrypted one on the node.
func (c *Client) ArchiveConfig(ctx context.Context, p RestorePoint) (Configuration, error) {
	var said text
	path := "/nodes/" + url.PathEscape(p.Node) + "/vzdump/extractconfig?" + url.Values{"volume": {p.Volume}}.Encode()
	if err := c.acting.get(ctx, path, &said); err != nil {
		return nil, fmt.Errorf("reading the configuration inside %s: %w", p.Volume, err)
	}
	return parseArchiveConfig(string(said)), nil
}

var (
	configLine = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9_.-]*):\s*(.*?)\s*$`)
	lxcLine    = regexp.MustCompile(`^(lxc\.[a-z0-9_.-]+)(?::|\s*=)\s*(.*?)\s*$`)
)

// parseArchiveConfig reads a configuration file's own section: comments and what
// follows, which is pending or a snapshot's, are left out.
func parseArchiveConfig(said string) Configuration {
	c := Configuration{}
	for _, line := range strings.Split(strings.ToValidUTF8(said, "�"), "\n") {
		line = strings.TrimRight(line, "\r")
		if strings.HasPrefix(line, "[") {
			break
		}
		if m := lxcLine.FindStringSubmatch(line); m != nil {
			c.addLXC(m[1], m[2])
		} else if m := configLine.FindStringSubmatch(line); m != nil {
			c[m[1]] = m[2]
		}
	}
	return c
}

// Protect protects a backup, so that nothing prunes it, or ends that. It needs
// VM.Backup on the guest and Datastore.AllocateSpace on the storage.
func (c *Client) Protect(ctx context.Context, p RestorePoint, protect bool) error {
	path := "/nodes/" + url.PathEscape(p.Node) + "/storage/" + url.PathEscape(p.Storage) + "/content/" + url.PathEscape(p.Volume)
	value := 0
	if protect {
		value = 1
	}
	var nothing text
	if err := c.acting.do(ctx, http.MethodPut, path, map[string]any{"protected": value}, &nothing); err != nil {
		return fmt.Errorf("protecting %s: %w", p.Volume, err)
	}
	return nil
}
