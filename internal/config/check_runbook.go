package config

import "strings"

func (d *decoder) checkRunbook(cfg *Config) {
	key := path{"runbook"}
	if cfg.Runbook.WriteTo != "" {
		d.absolute(key.with("write_to"), cfg.Runbook.WriteTo)
	}
	for _, c := range cfg.Runbook.Contacts {
		d.required(key.with("contacts").with("name"), c.Name, "who it is")
		d.required(key.with("contacts").with("reach"), c.Reach, "a telephone number, a mail address, or both")
	}
	if len(cfg.Runbook.Notify) > 0 && cfg.Runbook.Notify[0] == "" {
		d.wrong(key.with("notify"), "names no program", `write the program and its arguments: ["mail", "-s", "cairn", "ana@example.net"]; it gets the notice on standard input`)
	}
	for _, source := range sorted(cfg.Runbook.Keys) {
		table, name, _ := strings.Cut(source, ".")
		at := key.with("keys").with(source)
		switch {
		case cfg.Runbook.Keys[source] == "":
			d.wrong(at, "is empty", "write where the key is kept, never the key itself")
		case table == "restic":
			refers(d, at, table, name, cfg.Restic)
		case table == "pbs":
			refers(d, at, table, name, cfg.PBS)
		case table == "postgres":
			refers(d, at, table, name, cfg.Postgres)
		case table == "proxmox":
			refers(d, at, table, name, cfg.Proxmox)
		default:
			d.wrong(at, "names no source", `write it as its table is called: "restic.cloud", "pbs.nas", "postgres.erp", "proxmox.home"`)
		}
	}
}
