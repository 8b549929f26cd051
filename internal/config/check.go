package config

import (
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"cairn/internal/backup"
	"cairn/internal/secret"
)

// check tells what is wrong with values that have the right type. It looks at
// no file.
func (d *decoder) check(cfg *Config) {
	d.checkTop(cfg)
	d.checkNames(cfg)
	d.checkProxmox(cfg)
	d.checkGuests(cfg)
	d.checkPBS(cfg)
	d.checkRestic(cfg)
	d.checkPostgres(cfg)
	d.checkDisks(cfg)
	d.checkAssets(cfg)
	d.checkRunbook(cfg)
}

func (d *decoder) checkTop(cfg *Config) {
	if !slices.Contains([]string{"", "auto", "dark", "light"}, cfg.Theme) {
		d.wrong(path{"theme"}, "is no theme of cairn", "write auto, dark or light")
	}
	if cfg.StateDir != "" {
		d.absolute(path{"state_dir"}, cfg.StateDir)
	}
	d.configCopy(path{"config_copy"}, cfg.ConfigCopy)
	if cfg.Timezone != "" {
		zone, err := time.LoadLocation(cfg.Timezone)
		if err != nil {
			d.wrong(path{"timezone"}, "is no time zone that is known", `write a name such as "Europe/Paris" or "UTC"`)
		}
		cfg.Home = zone
	}
	if len(cfg.Proxmox)+len(cfg.PBS)+len(cfg.Restic)+len(cfg.Postgres)+len(cfg.Disks) == 0 && len(d.errors.Mistakes) == 0 {
		d.wrong(path{"proxmox"}, "nothing to watch is configured: there is no [proxmox.NAME], [pbs.NAME], [restic.NAME], [postgres.NAME] or [disk.NAME]",
			"add one, as config.example.toml shows")
	}
}

var idPattern = regexp.MustCompile(`^[a-z0-9_-]+$`)

func (d *decoder) checkNames(cfg *Config) {
	names(d, "proxmox", cfg.Proxmox)
	names(d, "pbs", cfg.PBS)
	names(d, "restic", cfg.Restic)
	names(d, "postgres", cfg.Postgres)
	names(d, "disk", cfg.Disks)
	names(d, "asset", cfg.Assets)
}

func names[T any](d *decoder, table string, all map[string]T) {
	for _, name := range sorted(all) {
		if !idPattern.MatchString(name) {
			d.wrong(path{table, name}, "is no name that can be typed in a command", "use a-z, 0-9, _ and - only")
		}
	}
}

func sorted[T any](all map[string]T) []string { return slices.Sorted(maps.Keys(all)) }

// refers tells of a name that no table of that kind bears.
func refers[T any](d *decoder, key path, table, name string, all map[string]T) {
	if _, ok := all[name]; ok || name == "" || d.told[table] || d.told[(path{table, name}).String()] {
		return
	}
	mend := "add the table, or name one that exists: " + strings.Join(sorted(all), ", ")
	if len(all) == 0 {
		mend = "add the table"
	}
	d.wrong(key, "there is no ["+(path{table, name}).String()+"]", mend)
}

func (d *decoder) absolute(key path, dir string) {
	if !filepath.IsAbs(dir) {
		d.wrong(key, "is no absolute path", "write it from the root on, such as /mnt/usb/…")
	}
}

// configCopy is a directory, or says that there is none to look at.
func (d *decoder) configCopy(key path, dir string) {
	if dir != "" && dir != "none" {
		d.absolute(key, dir)
	}
}

// required tells of a value that is missing, and says what belongs there.
func (d *decoder) required(key path, value, example string) bool {
	if value == "" {
		d.wrong(key, "is missing", "write "+example)
	}
	return value != ""
}

// schedule checks every, grace and keep of the table at key.
func (d *decoder) schedule(key path, every, grace backup.Duration, keep backup.Keep) {
	if grace > 0 && every == 0 {
		d.wrong(key.with("grace"), "has no meaning without every", `add every = "24h", or remove grace`)
	}
	counts := []struct {
		name  string
		count int
	}{{"last", keep.Last}, {"hourly", keep.Hourly}, {"daily", keep.Daily}, {"weekly", keep.Weekly}, {"monthly", keep.Monthly}, {"yearly", keep.Yearly}}
	for _, c := range counts {
		if c.count < 0 {
			d.wrong(key.with("keep").with(c.name), "is negative", "write how many periods keep a copy, 0 or more")
		}
	}
}

// below tells of a directory that is said to be on a disk but lies elsewhere:
// with the disk away its job would fill another file system and look fine.
func (d *decoder) below(cfg *Config, key path, dir, disk string) {
	c, ok := cfg.Disks[disk]
	if !ok || c.Mount == "" || !filepath.IsAbs(dir) {
		return
	}
	rel, err := filepath.Rel(c.Mount, dir)
	if err != nil || rel == ".." || strings.HasPrefix(rel, "../") {
		d.wrong(key, "does not lie on disk "+disk+", which is mounted at "+c.Mount,
			"write the directory as it is called below that mount point, or remove disk")
	}
}

// oneSource tells of a secret that is read from no place, or from several.
func (d *decoder) oneSource(key path, s secret.Source, needed bool) {
	if s.IsZero() {
		if _, written := d.values[key.String()]; needed || written {
			d.wrong(key, "is missing", `write where it is read from: { file = "/etc/cairn/…" }, { credential = "…" }, { command = ["…"] }, { env = "…" } or { ask = true }`)
		}
		return
	}
	withoutFile := s
	withoutFile.File = ""
	switch {
	case s.File == "":
		if s.Check() != nil {
			d.severalSources(key)
		}
	case !withoutFile.IsZero():
		d.severalSources(key)
	default:
		d.absolute(key.with("file"), s.File)
	}
	if strings.ContainsAny(s.Credential, "/\x00") {
		d.wrong(key.with("credential"), "is no name of a credential", "write the name that LoadCredential= gives it, without a directory")
	}
	if len(s.Command) > 0 && s.Command[0] == "" {
		d.wrong(key.with("command"), "names no program", `write the program and its arguments: ["pass", "show", "…"]`)
	}
	if s.Env != "" && !envPattern.MatchString(s.Env) {
		d.wrong(key.with("env"), "is no name of an environment variable", "write the variable's name, not what it holds")
	}
}

func (d *decoder) severalSources(key path) {
	d.wrong(key, "names several places to read the secret from", "keep one of file, credential, command, env and ask")
}

var envPattern = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
