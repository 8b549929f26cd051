package config

import (
	"crypto/x509"
	"io/fs"
	"net/url"
	"os"
	"regexp"
	"strings"

	"cairn/internal/secret"
)

// checkFiles looks at the files that the configuration names: secrets that
// others can read, certificates that are none. mode is that of the
// configuration itself.
func (d *decoder) checkFiles(cfg *Config, mode fs.FileMode) {
	for name, c := range cfg.Proxmox {
		at := path{"proxmox", name}
		d.secretFile(at.with("token_secret"), c.TokenSecret)
		d.authority(at.with("ca_file"), c.CAFile)
		if c.Act != nil {
			d.secretFile(at.with("act").with("token_secret"), c.Act.TokenSecret)
		}
	}
	for name, c := range cfg.PBS {
		at := path{"pbs", name}
		d.secretFile(at.with("token_secret"), c.TokenSecret)
		d.authority(at.with("ca_file"), c.CAFile)
		if c.Act != nil {
			d.secretFile(at.with("act").with("token_secret"), c.Act.TokenSecret)
		}
	}
	for name, c := range cfg.Restic {
		at := path{"restic", name}
		d.secretFile(at.with("password"), c.Password)
		for variable, source := range c.Env {
			d.secretFile(at.with("env").with(variable), source)
		}
		if mode.Perm()&0o077 != 0 && holdsPassword(c.Repository) {
			d.wrong(at.with("repository"), "holds a password, and others can read this file", "chmod 600 "+d.file)
		}
	}
	for name, c := range cfg.Postgres {
		d.secretFile(path{"postgres", name, "password"}, c.Password)
		if c.Act != nil {
			d.secretFile(path{"postgres", name, "act", "password"}, c.Act.Password)
		}
	}
}

func (d *decoder) secretFile(key path, s secret.Source) {
	if s.File == "" || d.told[key.String()] || d.told[key.with("file").String()] {
		return
	}
	if err := s.Check(); err != nil {
		d.wrong(key.with("file"), err.Error(), "the file must hold the secret alone, belong to you or root, and be readable by its owner only")
	}
}

// backend is what stands before the URL in a restic repository.
var backend = regexp.MustCompile(`^[a-z0-9]+:`)

func holdsPassword(repository string) bool {
	u, err := url.Parse(backend.ReplaceAllString(repository, ""))
	if err != nil {
		return strings.Contains(repository, "@")
	}
	_, set := u.User.Password()
	return set
}

func (d *decoder) authority(key path, file string) {
	if file == "" || d.told[key.String()] {
		return
	}
	pem, err := os.ReadFile(file)
	switch {
	case err != nil:
		d.wrong(key, "cannot be read: "+err.Error(), "write the path of the authority's certificate")
	case !x509.NewCertPool().AppendCertsFromPEM(pem):
		d.wrong(key, "holds no certificate in PEM form", "write the path of the authority's certificate, such as /etc/pve/pve-root-ca.pem copied here")
	}
}
