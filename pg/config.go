// Package pg surveys and acts on a PostgreSQL server and on the directories
// that hold its dumps, base backups and archived WAL.
package pg

import (
	"cairn/internal/backup"
	"cairn/internal/secret"
)

// Config is the table [postgres.NAME]: one server.
type Config struct {
	DSN      string        `toml:"dsn"` // without a password
	Password secret.Source `toml:"password"`
	Act      *Role         `toml:"act"` // used only to make copies and to restore
	Dump     *DumpConfig   `toml:"dump"`
	Base     *BaseConfig   `toml:"base"`
	WAL      *WALConfig    `toml:"wal"`
	Standbys []string      `toml:"standbys"` // DSNs
	Disk     string        `toml:"disk"`
	Site     string        `toml:"site"`

	// What others already run for this server, which is watched only.
	PgBackRest *PgBackRestConfig `toml:"pgbackrest"`
	Barman     *BarmanConfig     `toml:"barman"`
	WALG       *WALGConfig       `toml:"walg"`
}

// Role is another role of the same server.
type Role struct {
	User     string        `toml:"user"`
	Password secret.Source `toml:"password"`
}

// DumpConfig says which databases are dumped where.
type DumpConfig struct {
	Databases    []string        `toml:"databases"` // none: all
	Dir          string          `toml:"dir"`
	Every        backup.Duration `toml:"every"`
	Grace        backup.Duration `toml:"grace"`
	Keep         backup.Keep     `toml:"keep"`
	ExcludeTable []string        `toml:"exclude_table"`
	Format       string          `toml:"format"` // "directory" (default) or "custom"
	Jobs         int             `toml:"jobs"`   // 0: as many as there are cores
}

// BaseConfig says where base backups lie.
type BaseConfig struct {
	Dir   string          `toml:"dir"`
	Every backup.Duration `toml:"every"`
	Grace backup.Duration `toml:"grace"`
	Keep  backup.Keep     `toml:"keep"`
}

// WALConfig says where WAL is archived.
type WALConfig struct {
	Dir    string          `toml:"dir"`
	MaxGap backup.Duration `toml:"max_gap"` // the newest archived WAL may be this old
}
