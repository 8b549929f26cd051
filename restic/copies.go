package restic

import (
	"net/url"
	"path/filepath"
	"strings"

	"cairn/internal/backup"
)

// Copies returns the copies that the snapshots are: one per snapshot and path.
// A configured path below a recorded one is a copy of its own, because that is
// the asset that is asked for. Size is the whole snapshot's, the only one that
// restic counts.
func Copies(name string, cfg Config, snapshots []Snapshot) []backup.Copy {
	base := backup.Copy{Source: Source(name), Kind: "snapshot", Tier: backup.DurableLocal, Medium: cfg.medium(), Site: cfg.Site,
		Encrypted: true, State: backup.Complete}
	if base.Site == "" {
		base.Site = backup.HomeSite
	}
	if cfg.OffSite() {
		base.Tier = backup.OffSite
	}
	var out []backup.Copy
	for _, s := range snapshots {
		c := base
		c.ID, c.Taken = s.ID, s.Time
		if s.Summary != nil {
			c.Size, c.Finished = s.Summary.Bytes, s.Summary.Ended
		}
		for _, path := range paths(cfg.Paths, s.Paths) {
			c.Asset = backup.AssetID{Kind: backup.Path, Name: path}
			out = append(out, c)
		}
	}
	return out
}

// paths returns the configured paths that the recorded ones hold, and the
// recorded paths that hold none of the configured ones.
func paths(configured, recorded []string) []string {
	var out []string
	seen := map[string]bool{}
	add := func(path string) {
		if !seen[path] {
			seen[path] = true
			out = append(out, path)
		}
	}
	for _, r := range recorded {
		r = filepath.Clean(r)
		used := false
		for _, c := range configured {
			if c = filepath.Clean(c); within(c, r) {
				add(c)
				used = true
			}
		}
		if !used {
			add(r)
		}
	}
	return out
}

func within(path, dir string) bool {
	return path == dir || dir == "/" && strings.HasPrefix(path, "/") || strings.HasPrefix(path, dir+"/")
}

// medium names what the repository lies on. A local one that names no disk
// counts as the live medium: nothing shows that it is another.
func (c Config) medium() string {
	switch {
	case c.Disk != "":
		return "disk." + c.Disk
	case c.OffSite():
		return c.Site
	case c.Dir() != "":
		return backup.LiveMedium
	}
	return c.host()
}

// host returns the host of a remote repository, or as much of its location as
// tells it from others.
func (c Config) host() string {
	scheme, address := cutScheme(c.Repository)
	if u, err := url.Parse(address); err == nil && u.Host != "" {
		return u.Hostname()
	}
	address = address[strings.LastIndex(address, "@")+1:]
	if host, _, found := strings.Cut(address, ":"); found && scheme == "sftp" {
		return host
	}
	host, _, _ := strings.Cut(address, "/")
	return scheme + ":" + host
}
