package pve

import (
	"encoding/json"
	"slices"
	"strings"
)

const storageProperties = " content?:content nodes? disable?:bool shared?:bool namespace? username? password? fingerprint? encryption-key? prune-backups?:prune max-protected-backups?:int>=-1 digest? port?:int>=1"

// What a storage is and where it lies is fixed once it is defined: neither server
// nor datastore, path nor pool can be changed, only the definition made anew.
var storageRoutesWriting = []route{
	{method: "POST", path: "/storage", perm: "/storage Datastore.Allocate", flags: "forward", params: "storage type:enum=btrfs|cifs|dir|lvm|lvmthin|nfs|pbs|zfspool server? datastore? path? pool? vgname? thinpool?" + storageProperties, handler: (*Server).createStorage},
	{method: "PUT", path: "/storage/{storage}", perm: "/storage Datastore.Allocate", flags: "forward", params: "storage delete?" + storageProperties, handler: (*Server).updateStorage},
	{method: "DELETE", path: "/storage/{storage}", perm: "/storage Datastore.Allocate", flags: "forward", params: "storage", handler: (*Server).removeStorage},
}

func (s *Server) createStorage(c *call) (any, error) {
	id := c.get("storage")
	if s.storage(id) != nil {
		return nil, fail("create storage failed: storage ID '%s' already defined", id)
	}
	st := Storage{ID: id, Type: c.get("type"), Path: c.get("path"), Pool: c.get("pool"), VGName: c.get("vgname"), Server: c.get("server"), Datastore: c.get("datastore")}
	if st.Type == "lvmthin" {
		st.Pool = c.get("thinpool")
	}
	if st.Type == "pbs" {
		for _, name := range []string{"server", "datastore", "username"} {
			if c.get(name) == "" {
				return nil, invalid(name, "property is missing and it is not optional")
			}
		}
		st.Store = s.behind(st.Server, st.Datastore)
	}
	c.setStorage(&st)
	made := newStorage(st)
	if st.Type == "pbs" && c.get("password") == "" {
		return nil, fail("create storage failed: missing password")
	}
	s.storages = append(s.storages, made)
	if st.Type == "pbs" && !st.Disable {
		if _, err := s.activate(id, s.local().Name); err != nil {
			s.storages = s.storages[:len(s.storages)-1]
			return nil, fail("create storage failed: %s", reason(err))
		}
	}
	return object{"storage": id, "type": st.Type}, nil
}

// behind is the backup server that a name leads to; nil: none answers there.
func (s *Server) behind(server, datastore string) BackupStore {
	if s.backups == nil {
		return nil
	}
	return s.backups(server, datastore)
}

func (s *Server) updateStorage(c *call) (any, error) {
	st := s.storage(c.get("storage"))
	if st == nil {
		return nil, fail("storage '%s' does not exist", c.get("storage"))
	}
	c.setStorage(&st.Storage)
	for _, key := range splitList(c.get("delete")) {
		switch key {
		case "disable":
			st.Disable = false
		case "fingerprint":
			st.Fingerprint = ""
		case "encryption-key":
			st.EncryptionKey = ""
		case "nodes":
			st.Nodes = nil
		}
	}
	return object{"storage": st.ID, "type": st.Type}, nil
}

// setStorage takes over what may be changed later, too.
func (c *call) setStorage(st *Storage) {
	if c.has("content") {
		st.Content = splitList(c.get("content"))
	}
	if c.has("nodes") {
		st.Nodes = splitList(c.get("nodes"))
	}
	if c.has("disable") {
		st.Disable = c.flag("disable")
	}
	for name, at := range map[string]*string{"namespace": &st.Namespace, "username": &st.Username, "fingerprint": &st.Fingerprint, "prune-backups": &st.Prune} {
		if c.has(name) {
			*at = c.get(name)
		}
	}
	if c.has("encryption-key") {
		st.EncryptionKey = keyFingerprint(c.get("encryption-key"))
	}
}

// keyFingerprint is that of a key file of the backup client.
func keyFingerprint(text string) string {
	var key struct{ Fingerprint string }
	if json.Unmarshal([]byte(text), &key) == nil && key.Fingerprint != "" {
		return key.Fingerprint
	}
	return "1"
}

// removeStorage takes the definition away, and with it the password and the key
// that lie in /etc/pve/priv/storage.
func (s *Server) removeStorage(c *call) (any, error) {
	id := c.get("storage")
	if s.storage(id) == nil {
		return nil, fail("delete storage failed: storage '%s' does not exist", id)
	}
	s.storages = slices.DeleteFunc(s.storages, func(st *storage) bool { return st.ID == id })
	return nil, nil
}

// trusts says why a storage of a backup server cannot be used as it is defined:
// the certificate is another than the one it names.
func (st *storage) trusts() error {
	known, ok := st.Store.(interface{ Fingerprint() string })
	if !ok || st.Fingerprint == "" || strings.EqualFold(known.Fingerprint(), st.Fingerprint) {
		return nil
	}
	return fail("%s: error fetching datastores - 500 Can't connect to %s:8007 (certificate verify failed)", st.ID, st.Server)
}
