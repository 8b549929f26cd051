package pbs

import (
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Etc is what /etc/proxmox-backup holds: users, tokens, rights, the datastores and
// the jobs, and the certificate. In the place of a token's hash stands its secret.
func (s *Server) Etc() map[string]string {
	files := map[string]string{}
	files["proxy.pem"], files["proxy.key"] = s.cert.files()
	s.Change(func(w *World) {
		var users, acl, stores strings.Builder
		shadow := map[string]string{}
		for _, u := range w.Users {
			section(&users, "user", u.ID, map[string]string{"enable": "true"})
			grants(&acl, u.ID, u.ACL)
		}
		for _, t := range w.Tokens {
			section(&users, "token", t.ID, map[string]string{"enable": "true"})
			grants(&acl, t.ID, t.ACL)
			shadow[t.ID] = t.Secret
		}
		for _, d := range w.Datastores {
			section(&stores, "datastore", d.Name, map[string]string{"path": d.Path, "comment": d.Comment, "gc-schedule": d.GC.Schedule})
		}
		secrets, err := json.Marshal(shadow)
		if err != nil {
			panic(err) // a map of texts
		}
		files["user.cfg"], files["acl.cfg"], files["datastore.cfg"], files["token.shadow"] = users.String(), acl.String(), stores.String(), string(secrets)
		for kind, name := range jobFiles {
			var b strings.Builder
			for _, j := range w.Jobs {
				if j.Kind == kind {
					section(&b, kind, j.ID, j.properties())
				}
			}
			files[name] = b.String()
		}
	})
	return files
}

var jobFiles = map[string]string{Verify: "verification.cfg", Prune: "prune.cfg", Sync: "sync.cfg"}

func (j *Job) properties() map[string]string {
	p := map[string]string{"store": j.Store, "ns": j.NS, "schedule": j.Schedule, "comment": j.Comment, "remote": j.Remote, "remote-store": j.RemoteStore, "sync-direction": j.Direction, "owner": j.Owner}
	for name, on := range map[string]bool{"disable": j.Disable, "remove-vanished": j.RemoveVanished, "run-on-mount": j.RunOnMount} {
		if on {
			p[name] = "true"
		}
	}
	if j.Kind == Verify {
		p["ignore-verified"], p["outdated-after"] = fmt.Sprint(j.IgnoreVerified), fmt.Sprint(j.OutdatedAfter)
	}
	for name, n := range j.Keep {
		p[name] = fmt.Sprint(n)
	}
	return p
}

func section(b *strings.Builder, kind, id string, values map[string]string) {
	fmt.Fprintf(b, "%s: %s\n", kind, id)
	for _, key := range slices.Sorted(maps.Keys(values)) {
		if values[key] != "" {
			fmt.Fprintf(b, "\t%s %s\n", key, values[key])
		}
	}
	b.WriteString("\n")
}

func grants(b *strings.Builder, who string, acl []Grant) {
	for _, g := range acl {
		fmt.Fprintf(b, "acl:%d:%s:%s:%s\n", map[bool]int{true: 0, false: 1}[g.NoPropagate], g.Path, who, g.Role)
	}
}

// Adopt takes files of an /etc/proxmox-backup for its own, as a server does that
// is started over them. Datastores that datastore.cfg names are taken over where
// they lie; one whose directory is not there is one that fails.
func (s *Server) Adopt(files map[string]string) error {
	if files["proxy.pem"] != "" && files["proxy.key"] != "" {
		if err := s.cert.adopt(files["proxy.pem"], files["proxy.key"]); err != nil {
			return err
		}
		if err := s.Refuse(true); err != nil {
			return err
		}
		if err := s.Refuse(false); err != nil {
			return err
		}
	}
	var failed error
	s.Change(func(w *World) {
		shadow := map[string]string{}
		if text := files["token.shadow"]; text != "" {
			if failed = json.Unmarshal([]byte(text), &shadow); failed != nil {
				return
			}
		}
		w.adoptUsers(files["user.cfg"], files["acl.cfg"], shadow)
		w.adoptJobs(files)
		failed = w.adoptStores(files["datastore.cfg"])
	})
	return failed
}

func (w *World) adoptStores(text string) error {
	for _, x := range sections(text) {
		d, err := Reuse(x.id, x.values["path"])
		if err != nil {
			return err
		}
		d.GC.Schedule = x.values["gc-schedule"]
		w.Datastores = append(w.Datastores, d)
	}
	return nil
}

func (w *World) adoptUsers(text, acl string, shadow map[string]string) {
	grantsOf := map[string][]Grant{}
	for _, line := range strings.Split(acl, "\n") {
		if f := strings.Split(line, ":"); len(f) == 5 {
			grantsOf[f[3]] = append(grantsOf[f[3]], Grant{Path: f[2], Role: f[4], NoPropagate: f[1] == "0"})
		}
	}
	for _, x := range sections(text) {
		switch x.kind {
		case "user":
			w.Users = append(w.Users, User{ID: x.id, ACL: grantsOf[x.id]})
		case "token":
			w.Tokens = append(w.Tokens, Token{ID: x.id, Secret: shadow[x.id], ACL: grantsOf[x.id]})
		}
	}
}

func (w *World) adoptJobs(files map[string]string) {
	for kind, name := range jobFiles {
		for _, x := range sections(files[name]) {
			j := &Job{Kind: kind, ID: x.id, Store: x.values["store"], NS: x.values["ns"], Schedule: x.values["schedule"], Comment: x.values["comment"],
				Disable: x.values["disable"] == "true", IgnoreVerified: x.values["ignore-verified"] == "true",
				Remote: x.values["remote"], RemoteStore: x.values["remote-store"], Direction: x.values["sync-direction"], Owner: x.values["owner"],
				RemoveVanished: x.values["remove-vanished"] == "true", RunOnMount: x.values["run-on-mount"] == "true", NextRun: w.now().Unix() + 24*60*60}
			for key, value := range x.values {
				n := 0
				if _, err := fmt.Sscan(value, &n); err != nil {
					continue
				}
				if key == "outdated-after" {
					j.OutdatedAfter = n
				}
				if strings.HasPrefix(key, "keep-") {
					if j.Keep == nil {
						j.Keep = map[string]int{}
					}
					j.Keep[key] = n
				}
			}
			w.Jobs = append(w.Jobs, j)
		}
	}
}

// oneSection is "kind: id" with its indented lines.
type oneSection struct {
	kind, id string
	values   map[string]string
}

func sections(text string) (all []oneSection) {
	for _, line := range strings.Split(text, "\n") {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		kind, id, head := strings.Cut(line, ":")
		switch {
		case key == "":
		case line[0] == '\t' && len(all) > 0:
			all[len(all)-1].values[key] = value
		case head:
			all = append(all, oneSection{kind, strings.TrimSpace(id), map[string]string{}})
		}
	}
	return all
}

// files are the certificate and its key, as they lie on disk.
func (c *certificates) files() (cert, key string) {
	pair, _ := c.get(nil)
	der, err := x509.MarshalECPrivateKey(pair.PrivateKey.(*ecdsa.PrivateKey))
	if err != nil {
		panic(err) // a key that we made
	}
	return string(c.pem()), string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}))
}

func (c *certificates) adopt(cert, key string) error {
	pair, err := tls.X509KeyPair([]byte(cert), []byte(key))
	if err != nil {
		return fmt.Errorf("reading the certificate: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cert = pair
	return nil
}
