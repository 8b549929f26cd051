package config

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"cairn/internal/backup"
	"cairn/internal/disk"
	"cairn/pg"
)

// ownEnv are variables that cairn sets for restic itself.
var ownEnv = regexp.MustCompile(`^RESTIC_(REPOSITORY|PASSWORD|FROM_).*$`)

// remote matches a restic repository of a backend: "s3:…", "rest:https://…".
var remote = regexp.MustCompile(`^(s3|rest|sftp|rclone|b2|azure|gs|swift):`)

func (d *decoder) checkRestic(cfg *Config) {
	for _, name := range sorted(cfg.Restic) {
		c, at := cfg.Restic[name], path{"restic", name}
		if d.required(at.with("repository"), c.Repository, `repository = "/mnt/usb/restic" or "s3:https://…"`) && !remote.MatchString(c.Repository) {
			local := strings.TrimPrefix(c.Repository, "local:")
			d.absolute(at.with("repository"), local)
			d.below(cfg, at.with("repository"), local, c.Disk)
		}
		d.oneSource(at.with("password"), c.Password, true)
		for _, variable := range sorted(c.Env) {
			d.resticEnv(at.with("env").with(variable), variable)
			d.oneSource(at.with("env").with(variable), c.Env[variable], true)
		}
		for i, p := range c.Paths {
			d.absolute(at.with("paths").entry(i), p)
		}
		if len(c.Paths) > 0 && c.CopyFrom != "" {
			d.wrong(at.with("copy_from"), "stands beside paths", "keep paths for a repository that is backed up to, copy_from for one that snapshots are copied to")
		}
		refers(d, at.with("copy_from"), "restic", c.CopyFrom, cfg.Restic)
		refers(d, at.with("disk"), "disk", c.Disk, cfg.Disks)
		d.schedule(at, c.Every, c.Grace, c.Keep)
		if c.RunBy != nil {
			d.required(at.with("run_by").with("unit"), c.RunBy.Unit, `the systemd unit that runs it: run_by = { unit = "….service" }`)
			if c.RunBy.StatusFile != "" {
				d.absolute(at.with("run_by").with("status_file"), c.RunBy.StatusFile)
				d.required(at.with("run_by").with("profile"), c.RunBy.Profile, "the profile of resticprofile that writes this repository, as its status file names it")
			}
		}
		if strings.Contains(c.Binary, "/") {
			d.absolute(at.with("binary"), c.Binary)
		}
	}
	d.copyCycles(cfg)
}

func (d *decoder) resticEnv(key path, variable string) {
	if !envPattern.MatchString(variable) {
		d.wrong(key, "is no name of an environment variable", "write for example AWS_ACCESS_KEY_ID")
	}
	if ownEnv.MatchString(variable) {
		d.wrong(key, "is set by cairn itself", "remove it: repository and password say it")
	}
}

// copyCycles tells of repositories that copy each other in a circle, once a circle.
func (d *decoder) copyCycles(cfg *Config) {
	done := map[string]bool{}
	for _, start := range sorted(cfg.Restic) {
		var way []string
		for name := start; name != "" && !done[name]; name = cfg.Restic[name].CopyFrom {
			if i := slices.Index(way, name); i >= 0 {
				d.wrong(path{"restic", name, "copy_from"}, "copies go in a circle: "+strings.Join(append(way[i:], name), " from "),
					"let one of them be backed up to with paths instead")
				break
			}
			way = append(way, name)
		}
		for _, name := range way {
			done[name] = true
		}
	}
}

func (d *decoder) checkPostgres(cfg *Config) {
	for _, name := range sorted(cfg.Postgres) {
		c, at := cfg.Postgres[name], path{"postgres", name}
		if d.required(at.with("dsn"), c.DSN, `dsn = "host=127.0.0.1 port=5432 user=cairn dbname=postgres"`) {
			d.dsn(at.with("dsn"), c.DSN)
		}
		for i, s := range c.Standbys {
			d.dsn(at.with("standbys").entry(i), s)
		}
		d.oneSource(at.with("password"), c.Password, false)
		if c.Act != nil {
			d.required(at.with("act").with("user"), c.Act.User, `act = { user = "cairn_act", password = { file = "/etc/cairn/pg-act" } }`)
			d.oneSource(at.with("act").with("password"), c.Act.Password, false)
		}
		refers(d, at.with("disk"), "disk", c.Disk, cfg.Disks)
		d.postgresTools(cfg, at, c)
		d.dump(cfg, at.with("dump"), c)
		if c.Base != nil {
			d.directory(cfg, at.with("base").with("dir"), c.Base.Dir, c.Disk)
			d.schedule(at.with("base"), c.Base.Every, c.Base.Grace, c.Base.Keep)
		}
		if c.WAL != nil {
			d.directory(cfg, at.with("wal").with("dir"), c.WAL.Dir, c.Disk)
		}
	}
}

func (d *decoder) dsn(key path, dsn string) {
	if err := pg.CheckDSN(dsn); err != nil {
		d.wrong(key, err.Error(), `write for example "host=127.0.0.1 port=5432 user=cairn dbname=postgres", and name the password's place in password`)
	}
}

func (d *decoder) dump(cfg *Config, at path, c pg.Config) {
	if c.Dump == nil {
		return
	}
	d.directory(cfg, at.with("dir"), c.Dump.Dir, c.Disk)
	d.schedule(at, c.Dump.Every, c.Dump.Grace, c.Dump.Keep)
	if !slices.Contains([]string{"", "directory", "custom"}, c.Dump.Format) {
		d.wrong(at.with("format"), "is no format that cairn dumps in", "write directory or custom")
	}
	if c.Dump.Jobs < 0 {
		d.wrong(at.with("jobs"), "is negative", "write how many tables are dumped at once, or 0 for one a core")
	}
	for i, name := range c.Dump.Databases {
		if name == "" || slices.Index(c.Dump.Databases, name) < i {
			d.wrong(at.with("databases").entry(i), "is empty or stands there twice", "name each database once")
		}
	}
	for i, pattern := range c.Dump.ExcludeTable {
		if pattern == "" {
			d.wrong(at.with("exclude_table").entry(i), "is empty", "write a pattern of pg_dump, such as logs_*")
		}
	}
}

func (d *decoder) directory(cfg *Config, key path, dir, disk string) {
	if d.required(key, dir, "the directory") {
		d.absolute(key, dir)
		d.below(cfg, key, dir, disk)
	}
}

func (d *decoder) checkDisks(cfg *Config) {
	mounts, units := map[string]string{}, map[string]string{}
	for _, name := range sorted(cfg.Disks) {
		c, at := cfg.Disks[name], path{"disk", name}
		if d.required(at.with("mount"), c.Mount, `mount = "/mnt/usb"`) {
			d.absolute(at.with("mount"), c.Mount)
			if strings.HasPrefix(c.Mount, "/dev/") {
				d.wrong(at.with("mount"), "is a device, not the directory that it is mounted on", "write the mount point, which findmnt "+c.Mount+" shows; the device is known by its UUID")
			}
			if other, taken := mounts[filepath.Clean(c.Mount)]; taken {
				d.wrong(at.with("mount"), "is the mount point of [disk."+other+"] too", "list disks that take turns in the disks of one table")
			}
			mounts[filepath.Clean(c.Mount)] = name
		}
		seen := map[string]bool{}
		for i, u := range c.Disks {
			d.unit(at.with("disks").entry(i), u, seen, units)
		}
		d.fill(at.with("fill"), c.Fill)
	}
}

// unit checks one disk of those that take turns; names are told apart in a
// table, UUIDs everywhere.
func (d *decoder) unit(at path, u disk.Unit, names map[string]bool, uuids map[string]string) {
	switch {
	case !d.required(at.with("name"), u.Name, `a short name for it: name = "a"`):
	case !idPattern.MatchString(u.Name):
		d.wrong(at.with("name"), "is no name that can be typed in a command", "use a-z, 0-9, _ and - only")
	case names[u.Name]:
		d.wrong(at.with("name"), "stands there twice", "give each disk a name of its own")
	}
	names[u.Name] = true
	if u.UUID == "" && u.Serial == "" {
		d.wrong(at.with("uuid"), "is missing", "write the file system's UUID: lsblk -o NAME,UUID,SERIAL shows it")
	}
	if uuid := strings.ToLower(u.UUID); uuid != "" {
		if other, taken := uuids[uuid]; taken {
			d.wrong(at.with("uuid"), "is that of "+other+" too", "look with lsblk -o NAME,UUID; a copied file system needs a new UUID: tune2fs -U random")
		}
		uuids[uuid] = at.String()
	}
	if u.Smart != nil && d.required(at.with("smart").with("device"), u.Smart.Device, `device = "/dev/disk/by-id/…"`) {
		d.absolute(at.with("smart").with("device"), u.Smart.Device)
	}
}

func (d *decoder) fill(at path, f disk.Fill) {
	for _, level := range []struct {
		name  string
		ratio float64
	}{{"warning", f.Warning}, {"critical", f.Critical}} {
		if !(level.ratio >= 0 && level.ratio <= 1) { // not a number is out of range too
			d.wrong(at.with(level.name), "is not between 0 and 1", "write 0.80 for 80 %")
			return
		}
	}
	if full := withDefaults(f); full.Warning >= full.Critical {
		d.wrong(at, "warns at a level that is critical already", "write a warning below critical, such as { warning = 0.80, critical = 0.90 }")
	}
}

func (d *decoder) checkAssets(cfg *Config) {
	for _, name := range sorted(cfg.Assets) {
		c, at := cfg.Assets[name], path{"asset", name}
		if len(c.Members) == 0 {
			d.wrong(at.with("members"), "is missing or empty: a composite is made of its members", `write members = ["postgres.erp/openprod", "path:/srv/ged", "guest:home/101"]`)
		}
		for i, m := range c.Members {
			d.member(cfg, at.with("members").entry(i), m)
		}
		if d.contains(cfg, name, name, map[string]bool{}) {
			d.wrong(at.with("members"), "the asset contains itself", "remove asset."+name+" from its members, or from theirs")
		}
	}
}

func (d *decoder) member(cfg *Config, key path, m backup.AssetID) {
	switch m.Kind {
	case backup.Guest:
		d.guestID(cfg, key, m.Scope+"/"+m.Name)
	case backup.Database, backup.Cluster:
		refers(d, key, "postgres", m.Scope, cfg.Postgres)
	case backup.Composite:
		refers(d, key, "asset", m.Name, cfg.Assets)
	}
}

// contains says whether asset from holds asset name, at any depth.
func (d *decoder) contains(cfg *Config, from, name string, seen map[string]bool) bool {
	for _, m := range cfg.Assets[from].Members {
		if m.Kind != backup.Composite || seen[m.Name] {
			continue
		}
		if m.Name == name {
			return true
		}
		seen[m.Name] = true
		if d.contains(cfg, m.Name, name, seen) {
			return true
		}
	}
	return false
}
