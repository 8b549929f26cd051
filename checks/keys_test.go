package checks

import (
	"strings"
	"testing"

	"cairn/internal/secret"
	"cairn/pbs"
	"cairn/proxmox"
	"cairn/restic"
)

func keyProblems(r Report) (out []string) {
	for _, p := range r.Problems {
		if p.Code == "key-inside" {
			out = append(out, p.Subject+": "+p.Summary)
		}
	}
	return out
}

// A key that lies only inside what it opens is no key; one that lies in another
// repository is as good as that one's own.
func TestAKeyThatLiesOnlyInsideWhatItOpens(t *testing.T) {
	password := func(p Policy, name, file string) {
		c := p.Restic[name]
		c.Password = secret.Source{File: file}
		p.Restic[name] = c
	}
	for what, c := range map[string]struct {
		edit func(*Policy)
		want []string // subjects
	}{
		"outside of every path": {func(p *Policy) { password(*p, "cloud", "/root/key") }, nil},
		"inside itself":         {func(p *Policy) { password(*p, "cloud", "/srv/keys/cloud") }, []string{"restic.cloud"}},
		"inside itself, and kept apart": {func(p *Policy) {
			password(*p, "cloud", "/srv/keys/cloud")
			p.Keys = map[string]string{"restic.cloud": "the safe"}
		}, nil},
		"kept where it opens":                   {func(p *Policy) { p.Keys = map[string]string{"restic.cloud": "/srv/keys/cloud"} }, []string{"restic.cloud"}},
		"each inside the other":                 {func(p *Policy) { password(*p, "cloud", "/srv/a"); password(*p, "usb", "/srv/b") }, []string{"restic.cloud", "restic.usb"}},
		"one inside another that is kept apart": {func(p *Policy) { password(*p, "usb", "/srv/b"); p.Keys = map[string]string{"restic.cloud": "the safe"} }, nil},
		"asked for":                             {func(p *Policy) { r := p.Restic["cloud"]; r.Password = secret.Source{Ask: true}; p.Restic["cloud"] = r }, nil},
	} {
		t.Run(what, func(t *testing.T) {
			p, f := home()
			c.edit(&p)
			got := keyProblems(Judge(p, f, now))
			if len(got) != len(c.want) {
				t.Fatalf("got %v, want %v", got, c.want)
			}
			for i, subject := range c.want {
				if !strings.HasPrefix(got[i], subject+": ") || !strings.Contains(got[i], "nobody opens it") {
					t.Errorf("got %v, want %v", got, c.want)
				}
			}
		})
	}
}

// The key of encrypted backups lies on the nodes, and in the copy of /etc/pve.
func TestTheKeyOfEncryptedBackups(t *testing.T) {
	p, f := home()
	edit(f.PBS, "nas", func(v *pbs.Facts) { v.Snapshots[0].Fingerprint = "ab:cd:ef:01:02" })
	cluster := p.Proxmox["home"]
	cluster.ConfigCopy = "/srv/pve"
	p.Proxmox = map[string]proxmox.Config{"home": cluster}
	c := p.PBS["nas"]
	c.ProxmoxStorages = []string{"home/pbs-usb"}
	p.PBS = map[string]pbs.Config{"nas": c}
	p.Restic = map[string]restic.Config{"usb": p.Restic["usb"], "cloud": p.Restic["cloud"]}
	if got := keyProblems(Judge(p, f, now)); len(got) != 1 || !strings.Contains(got[0], "/srv/pve/priv/storage/pbs-usb.enc") || !strings.HasPrefix(got[0], "pbs.nas") {
		t.Errorf("got %v", got)
	}
	p.Keys = map[string]string{"restic.cloud": "the safe"}
	if got := keyProblems(Judge(p, f, now)); len(got) != 0 {
		t.Errorf("the cloud opens it: %v", got)
	}
}
