package config

import (
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"cairn/internal/secret"
	"cairn/pbs"
)

func (d *decoder) checkProxmox(cfg *Config) {
	for _, name := range sorted(cfg.Proxmox) {
		c, at := cfg.Proxmox[name], path{"proxmox", name}
		d.configCopy(at.with("config_copy"), c.ConfigCopy)
		if len(c.URLs) == 0 {
			d.wrong(at.with("urls"), "is missing", `write urls = ["https://pve1.lan:8006"]`)
		}
		for i, u := range c.URLs {
			d.apiURL(at.with("urls").entry(i), u, "8006")
		}
		for i, f := range c.Fingerprints {
			d.fingerprint(at.with("fingerprints").entry(i), f)
		}
		if c.CAFile != "" {
			d.absolute(at.with("ca_file"), c.CAFile)
		}
		d.token(at, c.TokenID, c.TokenSecret)
		if c.Act != nil {
			d.token(at.with("act"), c.Act.TokenID, c.Act.TokenSecret)
		}
	}
}

func (d *decoder) checkGuests(cfg *Config) {
	for _, id := range sorted(cfg.Guests) {
		g, at := cfg.Guests[id], path{"guest", id}
		d.guestID(cfg, at, id)
		if g.Priority < 0 {
			d.wrong(at.with("priority"), "is negative", "write 1 for what is restored first")
		}
		if g.CheckPort < 0 || g.CheckPort > 65535 {
			d.wrong(at.with("check_port"), "is no TCP port", "write 1 to 65535")
		}
	}
}

// guestID checks "CLUSTER/VMID".
func (d *decoder) guestID(cfg *Config, key path, id string) {
	cluster, vmid, ok := strings.Cut(id, "/")
	n, err := strconv.ParseUint(vmid, 10, 31)
	if !ok || err != nil || n == 0 || cluster == "" {
		d.wrong(key, "names no guest", `write CLUSTER/VMID in quotes, such as "home/101"`)
		return
	}
	refers(d, key, "proxmox", cluster, cfg.Proxmox)
}

func (d *decoder) checkPBS(cfg *Config) {
	for _, name := range sorted(cfg.PBS) {
		c, at := cfg.PBS[name], path{"pbs", name}
		d.configCopy(at.with("config_copy"), c.ConfigCopy)
		if d.required(at.with("url"), c.URL, `url = "https://nas.lan:8007"`) {
			d.apiURL(at.with("url"), c.URL, "8007")
		}
		if c.Fingerprint != "" {
			d.fingerprint(at.with("fingerprint"), c.Fingerprint)
		}
		if c.CAFile != "" {
			d.absolute(at.with("ca_file"), c.CAFile)
		}
		d.token(at, c.TokenID, c.TokenSecret)
		if c.Act != nil {
			d.token(at.with("act"), c.Act.TokenID, c.Act.TokenSecret)
		}
		d.datastore(cfg, at, c)
		refers(d, at.with("disk"), "disk", c.Disk, cfg.Disks)
		d.schedule(at, c.Every, c.Grace, c.Keep)
	}
}

var (
	datastorePattern = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]*$`)
	namespacePattern = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*){0,6}$`)
)

func (d *decoder) datastore(cfg *Config, at path, c pbs.Config) {
	if d.required(at.with("datastore"), c.Datastore, `datastore = "usb"`) && !datastorePattern.MatchString(c.Datastore) {
		d.wrong(at.with("datastore"), "is no name of a datastore", "write its name as PBS shows it, not its path")
	}
	for i, ns := range c.Namespaces {
		base := strings.TrimSuffix(strings.TrimSuffix(ns, "**"), "/")
		if ns != "" && ns != "**" && (!namespacePattern.MatchString(base) || strings.HasSuffix(ns, "/")) {
			d.wrong(at.with("namespaces").entry(i), "is no namespace", `write "" for the root, "lab" for one, "lab/**" for it and all below`)
		}
	}
	if c.Path != "" {
		d.absolute(at.with("path"), c.Path)
		d.below(cfg, at.with("path"), c.Path, c.Disk)
	}
	for i, s := range c.ProxmoxStorages {
		key := at.with("proxmox_storages").entry(i)
		cluster, storage, _ := strings.Cut(s, "/")
		if cluster == "" || storage == "" || strings.Contains(storage, "/") {
			d.wrong(key, "names no storage of a cluster", `write CLUSTER/STORAGE, such as "home/pbs-usb"`)
			continue
		}
		refers(d, key, "proxmox", cluster, cfg.Proxmox)
	}
}

// Each product listens on a port of its own.
var (
	product   = map[string]string{"8006": "Proxmox VE", "8007": "Proxmox Backup Server"}
	otherPort = map[string]string{"8006": "8007", "8007": "8006"}
)

// apiURL checks the address of an API server. It cites nothing of it: some put
// a password there.
func (d *decoder) apiURL(key path, text, port string) {
	mend := "write https://HOST:" + port
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Hostname() == "":
		d.wrong(key, "is no URL", mend)
	case u.Scheme != "https":
		d.wrong(key, "does not begin with https://: the token would travel in the clear, and the server speaks nothing else", mend)
	case u.User != nil:
		d.wrong(key, "holds a user or a password", "name the token in token_id and token_secret, and "+mend)
	case u.Port() == "":
		d.wrong(key, "names no port, so that 443 would be asked", mend+", or :443 where a proxy answers there")
	case u.Port() == otherPort[port]:
		d.wrong(key, "is the port of "+product[u.Port()]+", and this table is for "+product[port], mend)
	case strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "":
		d.wrong(key, "goes on after the host and port", mend)
	}
}

var fingerprintPattern = regexp.MustCompile(`^[0-9A-Fa-f]{2}(:?[0-9A-Fa-f]{2}){31}$`)

func (d *decoder) fingerprint(key path, text string) {
	if !fingerprintPattern.MatchString(text) {
		d.wrong(key, "is no SHA-256 fingerprint: it must be 32 bytes in hexadecimal, with colons or without",
			"copy it from the server: openssl x509 -noout -fingerprint -sha256 -in its certificate")
	}
}

var tokenPattern = regexp.MustCompile(`^[^\s:/!]+@[A-Za-z][A-Za-z0-9._-]*![A-Za-z0-9][A-Za-z0-9._-]*$`)

func (d *decoder) token(at path, id string, from secret.Source) {
	key := at.with("token_id")
	switch {
	case !d.required(key, id, `token_id = "user@realm!name"`):
	case strings.ContainsAny(id, "=:"):
		// Pasted with its secret; say nothing of it.
		d.wrong(key, "holds more than the token's id", `write user@realm!name only, and name the secret in token_secret`)
	case !tokenPattern.MatchString(id):
		d.wrong(key, "is no id of an API token", `write user@realm!name, such as "cairn@pve!read"`)
	}
	d.oneSource(at.with("token_secret"), from, true)
}
