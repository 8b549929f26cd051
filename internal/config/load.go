package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
	_ "time/tzdata" // `timezone` must mean the same on a host without zone files

	"cairn/internal/backup"
	"cairn/internal/disk"
)

// largest is the size above which a file is not read as a configuration, in bytes.
const largest = 1 << 20

// Load reads and checks the file at path. What is wrong in the file, or with
// the secret and certificate files that it names, is all told at once by an
// *Errors; any other error says why the file could not be read.
func Load(path string) (*Config, error) {
	text, mode, err := read(path)
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	d := newDecoder(path, text)
	cfg := d.decode()
	if cfg != nil {
		d.check(cfg)
		d.checkFiles(cfg, mode)
		if cfg.File, err = filepath.Abs(path); err != nil {
			return nil, fmt.Errorf("finding the configuration: %w", err)
		}
	}
	return d.finish(cfg)
}

// Parse does what Load does with the text of a file, but looks at no file that
// the text names. file is the name that mistakes bear.
func Parse(file string, text []byte) (*Config, error) {
	d := newDecoder(file, string(text))
	cfg := d.decode()
	if cfg != nil {
		d.check(cfg)
	}
	return d.finish(cfg)
}

func (d *decoder) finish(cfg *Config) (*Config, error) {
	if err := d.err(); err != nil {
		return nil, err
	}
	setDefaults(cfg)
	return cfg, nil
}

func read(path string) (string, fs.FileMode, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", 0, err
	}
	text, err := io.ReadAll(io.LimitReader(f, largest+1))
	if err == nil && len(text) > largest {
		err = fmt.Errorf("%s is over %d bytes: that is no configuration of cairn", path, largest)
	}
	return string(text), info.Mode(), err
}

// NoneError says that there is no configuration file at any usual place.
type NoneError struct{ Tried []string }

func (e *NoneError) Error() string {
	return fmt.Sprintf("there is no configuration: neither %s exists; write one from config.example.toml, or look around first: cairn demo",
		strings.Join(e.Tried, " nor "))
}

// Find returns the path of the configuration: $XDG_CONFIG_HOME/cairn/config.toml
// (~/.config without that variable), else /etc/cairn/config.toml. The error is
// a *NoneError when neither exists.
func Find() (string, error) { return find("/etc") }

func find(etc string) (string, error) {
	var tried []string
	if dir, err := os.UserConfigDir(); err == nil {
		tried = append(tried, filepath.Join(dir, "cairn", "config.toml"))
	}
	tried = append(tried, filepath.Join(etc, "cairn", "config.toml"))
	for _, path := range tried {
		// A file that is there but can't be looked at is the one: Load says why.
		if _, err := os.Stat(path); err == nil || !errors.Is(err, fs.ErrNotExist) {
			return path, nil
		}
	}
	return "", &NoneError{tried}
}

func setDefaults(cfg *Config) {
	if cfg.StateDir == "" {
		cfg.StateDir = stateDir()
	}
	if cfg.Theme == "" {
		cfg.Theme = "auto"
	}
	if cfg.Home == nil {
		cfg.Home = time.Local
	}
	for name, c := range cfg.PBS {
		c.Site = orHome(c.Site)
		cfg.PBS[name] = c
	}
	for name, c := range cfg.Restic {
		c.Site = orHome(c.Site)
		cfg.Restic[name] = c
	}
	for name, c := range cfg.Postgres {
		c.Site = orHome(c.Site)
		cfg.Postgres[name] = c
	}
	for name, c := range cfg.Disks {
		c.Fill = withDefaults(c.Fill)
		cfg.Disks[name] = c
	}
}

func orHome(site string) string {
	if site == "" {
		return backup.HomeSite
	}
	return site
}

func withDefaults(f disk.Fill) disk.Fill {
	if f.Warning == 0 {
		f.Warning = 0.80
	}
	if f.Critical == 0 {
		f.Critical = 0.90
	}
	return f
}

// stateDir is where state lies when the configuration does not say: what
// systemd gave, the system's place for root, else the user's own.
func stateDir() string {
	if dirs := os.Getenv("STATE_DIRECTORY"); dirs != "" {
		first, _, _ := strings.Cut(dirs, ":")
		return first
	}
	if os.Geteuid() == 0 {
		return "/var/lib/cairn"
	}
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "cairn")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "/var/lib/cairn"
	}
	return filepath.Join(home, ".local", "state", "cairn")
}
