package config

import (
	"cairn/internal/backup"
	"cairn/pg"
)

// postgresTools checks what others run for a server and cairn only watches.
func (d *decoder) postgresTools(cfg *Config, at path, c pg.Config) {
	if t := c.PgBackRest; t != nil {
		key := at.with("pgbackrest")
		d.required(key.with("stanza"), t.Stanza, "the stanza, as in pgbackrest info")
		d.toolPlaces(cfg, key, t.Config, t.Disk)
		d.schedule(key, t.Every, t.Grace, backup.Keep{})
	}
	if t := c.Barman; t != nil {
		key := at.with("barman")
		d.required(key.with("server"), t.Server, "the server, as in barman list-server")
		d.toolPlaces(cfg, key, t.Config, t.Disk)
		d.schedule(key, t.Every, t.Grace, backup.Keep{})
	}
	if t := c.WALG; t != nil {
		d.toolPlaces(cfg, at.with("walg"), t.Config, t.Disk)
		d.schedule(at.with("walg"), t.Every, t.Grace, backup.Keep{})
	}
}

func (d *decoder) toolPlaces(cfg *Config, at path, config, disk string) {
	if config != "" {
		d.absolute(at.with("config"), config)
	}
	refers(d, at.with("disk"), "disk", disk, cfg.Disks)
}
