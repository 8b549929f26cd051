package config

import "cairn/internal/secret"

// Sources are the places of all secrets that the configuration names.
func (c *Config) Sources() (all []secret.Source) {
	for _, p := range c.Proxmox {
		all = append(all, p.TokenSecret)
		if p.Act != nil {
			all = append(all, p.Act.TokenSecret)
		}
	}
	for _, p := range c.PBS {
		all = append(all, p.TokenSecret)
		if p.Act != nil {
			all = append(all, p.Act.TokenSecret)
		}
	}
	for _, r := range c.Restic {
		all = append(all, r.Password)
		for _, s := range r.Env {
			all = append(all, s)
		}
	}
	for _, p := range c.Postgres {
		all = append(all, p.Password)
		if p.Act != nil {
			all = append(all, p.Act.Password)
		}
	}
	return all
}
