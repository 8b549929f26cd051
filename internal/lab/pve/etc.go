package pve

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Etc is what /etc/pve holds that a new node needs back: the definitions of the
// storages with their passwords and keys, users, tokens and rights, backup jobs.
// Guests are not in it: they come back from their backups.
func (s *Server) Etc() map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	files := map[string]string{"datacenter.cfg": "keyboard: en-us\n"}
	var storages strings.Builder
	for _, st := range s.storages {
		row := s.configRow(st)
		delete(row, "digest")
		writeSectionOf(&storages, st.Type, st.ID, row, "storage", "type")
		if st.Type != "pbs" {
			continue
		}
		files["priv/storage/"+st.ID+".pw"] = "of " + st.Username + "\n"
		if st.EncryptionKey != "" {
			text, err := json.Marshal(map[string]any{"kdf": nil, "data": "bm8ga2V5", "fingerprint": st.EncryptionKey})
			if err != nil {
				panic(err) // a map of texts
			}
			files["priv/storage/"+st.ID+".enc"] = string(text)
		}
	}
	files["storage.cfg"] = storages.String()
	var jobs strings.Builder
	for _, j := range s.jobs {
		row := object{}
		for key, value := range j {
			row[key] = value
		}
		writeSectionOf(&jobs, "vzdump", j["id"], row, "id")
	}
	files["jobs.cfg"] = jobs.String()
	files["user.cfg"], files["priv/token.cfg"] = s.userFiles()
	return files
}

func writeSectionOf(b *strings.Builder, kind, id string, row object, without ...string) {
	fmt.Fprintf(b, "%s: %s\n", kind, id)
	for _, key := range slices.Sorted(maps.Keys(row)) {
		if !slices.Contains(without, key) {
			fmt.Fprintf(b, "\t%s %v\n", key, row[key])
		}
	}
	b.WriteString("\n")
}

func (s *Server) userFiles() (users, tokens string) {
	var u, t strings.Builder
	builtin := builtinRoles(s.major())
	for _, one := range s.users {
		fmt.Fprintf(&u, "user:%s:1:0:::%s::\n", one.ID, one.Comment)
		for _, token := range one.Tokens {
			fmt.Fprintf(&u, "token:%s!%s:%d:%d::\n", one.ID, token.Name, token.Expire, flag(token.Privsep))
			fmt.Fprintf(&t, "%s!%s %s\n", one.ID, token.Name, token.Secret)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.roles)) {
		if builtin[name] == nil {
			fmt.Fprintf(&u, "role:%s:%s:\n", name, strings.Join(s.roles[name], ","))
		}
	}
	for _, a := range s.acl {
		fmt.Fprintf(&u, "acl:%d:%s:%s:%s:\n", flag(!a.NoPropagate), a.Path, a.Who, a.Role)
	}
	return u.String(), t.String()
}

// Adopt takes files of an /etc/pve for its own, as a node does at once whose
// files are put there. Storages that are not on a backup server are those that
// the host has: their definitions make none. A storage of a backup server without
// its password is one that cannot be used.
func (s *Server) Adopt(files map[string]string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if text, ok := files["user.cfg"]; ok {
		s.adoptUsers(text, files["priv/token.cfg"])
	}
	if text, ok := files["jobs.cfg"]; ok {
		s.jobs = nil
		for _, x := range sections(text) {
			x.values["id"] = x.id
			s.jobs = append(s.jobs, Job(x.values))
		}
	}
	for _, x := range sections(files["storage.cfg"]) {
		if x.kind != "pbs" {
			continue
		}
		st := Storage{ID: x.id, Type: "pbs", Content: []string{"backup"}, Shared: true, Server: x.values["server"], Datastore: x.values["datastore"],
			Namespace: x.values["namespace"], Username: x.values["username"], Fingerprint: x.values["fingerprint"], Disable: truth(x.values["disable"])}
		if files["priv/storage/"+x.id+".pw"] != "" {
			st.Store = s.behind(st.Server, st.Datastore)
		}
		if key := files["priv/storage/"+x.id+".enc"]; key != "" {
			st.EncryptionKey = keyFingerprint(key)
		}
		s.storages = slices.DeleteFunc(s.storages, func(have *storage) bool { return have.ID == x.id })
		s.storages = append(s.storages, newStorage(st))
	}
}

func (s *Server) adoptUsers(text, secrets string) {
	known := map[string]string{}
	for _, line := range strings.Split(secrets, "\n") {
		if id, secret, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			known[id] = secret
		}
	}
	s.users, s.acl = []User{{ID: "root@pam"}}, nil
	for _, line := range strings.Split(text, "\n") {
		f := append(strings.Split(line, ":"), make([]string, 5)...)
		switch f[0] {
		case "user":
			if f[1] != "root@pam" {
				s.users = append(s.users, User{ID: f[1]})
			}
		case "token":
			user, name, _ := strings.Cut(f[1], "!")
			expire, err := strconv.ParseInt(f[2], 10, 64)
			if err != nil {
				expire = 0
			}
			for i := range s.users {
				if s.users[i].ID == user {
					s.users[i].Tokens = append(s.users[i].Tokens, Token{Name: name, Secret: known[f[1]], Expire: expire, Privsep: truth(f[3])})
				}
			}
		case "role":
			s.roles[f[1]] = splitList(f[2])
		case "acl":
			s.acl = append(s.acl, ACL{Path: f[2], Who: f[3], Role: f[4], NoPropagate: !truth(f[1])})
		}
	}
}

// oneSection is "kind: id" with its indented lines.
type oneSection struct {
	kind, id string
	values   map[string]string
}

func sections(text string) (all []oneSection) {
	for _, line := range bytes.Split([]byte(text), []byte("\n")) {
		row := string(line)
		kind, id, head := strings.Cut(row, ":")
		switch {
		case strings.TrimSpace(row) == "":
		case row[0] == '\t' || row[0] == ' ':
			key, value, _ := strings.Cut(strings.TrimSpace(row), " ")
			if len(all) > 0 {
				all[len(all)-1].values[key] = value
			}
		case head:
			all = append(all, oneSection{kind, strings.TrimSpace(id), map[string]string{}})
		}
	}
	return all
}
