package checks

import (
	"net/url"
	"path"
	"strings"

	"cairn/internal/backup"
)

// thisHost is the medium of data that lies on this host but on no configured
// disk: its own paths, and repositories beside them.
const thisHost = "this host"

// diskAt returns the configured disk on whose mount point a path lies.
func (l *lab) diskAt(dir string) string {
	best, length := "", -1
	dir = strings.TrimPrefix(dir, "local:") // as a restic repository may be written
	if !strings.HasPrefix(dir, "/") {
		return ""
	}
	for name, cfg := range l.policy.Disks {
		if cfg.Mount != "" && within(dir, cfg.Mount) && (len(cfg.Mount) > length || len(cfg.Mount) == length && name < best) {
			best, length = name, len(cfg.Mount)
		}
	}
	return best
}

// within says whether a path is a directory or lies below it.
func within(p, dir string) bool {
	if p == "" || dir == "" {
		return false
	}
	p, dir = path.Clean(p), path.Clean(dir)
	return p == dir || dir == "/" || strings.HasPrefix(p, dir+"/")
}

// mediumOfDisk names the medium: a disk that takes turns with others is one of
// its own.
func (l *lab) mediumOfDisk(name string) string {
	medium := "disk." + name
	if cfg := l.policy.Disks[name]; len(cfg.Disks) > 1 {
		if unit := l.facts.Disks[name].Value.Unit; unit != "" {
			return medium + "/" + unit
		}
	}
	return medium
}

// place finds the disk, medium and site of a source from its table: its disk,
// or else the disk that its directory lies on, or else its host or site.
func (l *lab) place(s *source, disk, site, dir, address string) {
	s.site, s.tier = site, backup.OffSite
	if site == "" || site == backup.HomeSite {
		s.site, s.tier = backup.HomeSite, backup.DurableLocal
	}
	s.disk = disk
	if s.disk == "" {
		s.disk = l.diskAt(dir)
	}
	switch {
	case s.disk != "":
		s.medium = l.mediumOfDisk(s.disk)
	case s.tier == backup.OffSite:
		s.medium = s.site
	default:
		s.medium = hostOf(address)
	}
}

// hostOf is the host of a URL or repository, thisHost for a local path; never
// the address itself, which may hold a password.
func hostOf(address string) string {
	if address == "" || strings.HasPrefix(address, "/") || strings.HasPrefix(address, ".") || strings.HasPrefix(address, "local:") {
		return thisHost
	}
	if rest, ok := strings.CutPrefix(address, "sftp:"); ok && !strings.HasPrefix(rest, "//") {
		host, _, _ := strings.Cut(rest, ":")
		return bareHost(host)
	}
	rest := address
	for _, prefix := range []string{"rest:", "s3:", "swift:", "sftp:"} {
		rest = strings.TrimPrefix(rest, prefix)
	}
	if u, err := url.Parse(rest); err == nil && u.Hostname() != "" {
		return localName(u.Hostname())
	}
	if u, err := url.Parse("//" + rest); err == nil && rest != address && u.Port() != "" { // s3:localhost:9000/bucket
		return localName(u.Hostname())
	}
	host, _, _ := strings.Cut(rest, "/")
	if host == "" || strings.Contains(host, ":") {
		scheme, _, _ := strings.Cut(address, ":") // b2:, rclone:, azure:, gs:
		return scheme + " storage"
	}
	return bareHost(host)
}

// inCloud says whether a restic repository is of a kind that is hardly ever at home.
func inCloud(repository string) bool {
	scheme, _, found := strings.Cut(repository, ":")
	return found && (scheme == "b2" || scheme == "azure" || scheme == "gs" || scheme == "swift" || scheme == "rclone" ||
		scheme == "s3" && hostOf(repository) != thisHost)
}

func bareHost(host string) string {
	if i := strings.LastIndexByte(host, '@'); i >= 0 {
		host = host[i+1:]
	}
	return localName(host)
}

func localName(host string) string {
	switch host {
	case "", "localhost", "127.0.0.1", "::1":
		return thisHost
	}
	return host
}

// liveMedium is where an asset's live data lies, as a medium of 3-2-1.
func (l *lab) liveMedium(id backup.AssetID) string {
	switch id.Kind {
	case backup.Path:
		if disk := l.diskAt(id.Name); disk != "" {
			return l.mediumOfDisk(disk)
		}
		return thisHost
	case backup.Database, backup.Cluster:
		return dsnHost(l.policy.Postgres[id.Scope].DSN)
	}
	return backup.LiveMedium
}

// dsnHost is the host of a PostgreSQL connection string, thisHost for a socket.
func dsnHost(dsn string) string {
	if strings.HasPrefix(dsn, "postgres://") || strings.HasPrefix(dsn, "postgresql://") {
		if u, err := url.Parse(dsn); err == nil {
			return localName(u.Hostname())
		}
		return backup.LiveMedium
	}
	for _, field := range strings.Fields(dsn) {
		if host, ok := strings.CutPrefix(field, "host="); ok {
			if host = strings.Trim(host, "'"); strings.HasPrefix(host, "/") {
				return thisHost
			}
			return localName(host)
		}
	}
	return thisHost
}
