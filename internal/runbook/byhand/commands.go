// Package byhand writes the commands that a person types on a new host: on paper, and
// in the steps of an operation that wait for a person.
package byhand

import (
	"cmp"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"cairn/internal/backup"
	"cairn/internal/config"
	"cairn/internal/disk"
	"cairn/pbs"
	"cairn/proxmox"
)

// Commands writes the commands that a person types on a new host: on paper, and in the
// steps of an operation that wait for a person.
type Commands struct{ Config *config.Config }

// etcCopy is where the copy of /etc/pve is laid down on a new node.
const etcCopy = "/root/etc-pve"

// Hypervisor are the commands that give a new node what the lost one was: of a
// whole cluster its configuration, of one node of several its place.
func (h Commands) Hypervisor(cluster, node string, known proxmox.Facts, storages []Storage) []string {
	if node != "" && len(known.Nodes) > 1 {
		return h.member(node, known)
	}
	dir := copyOf(h.Config.Proxmox[cluster].ConfigCopy)
	if dir == "" {
		var all []string
		for _, s := range storages {
			all = append(all, h.addStorage(s))
		}
		return append(all, "pvesm status")
	}
	host := "BACKUP-HOST"
	if len(storages) > 0 {
		host = cmp.Or(HostOf(h.Config.PBS[storages[0].PBS].URL), host)
	}
	put := func(name string) string {
		return fmt.Sprintf("test ! -e %[1]s/%[2]s || cp -r %[1]s/%[2]s /etc/pve/%[3]s", etcCopy, name, filepath.Dir(name))
	}
	all := []string{"mkdir -p " + etcCopy, fmt.Sprintf("scp -r root@%s:%s/. %s/", host, Quoted(dir), etcCopy), "mkdir -p /etc/pve/priv"}
	for _, name := range []string{"user.cfg", "priv/token.cfg", "priv/shadow.cfg", "priv/storage", "storage.cfg", "jobs.cfg", "firewall"} {
		all = append(all, put(name))
	}
	return append(all, "pvesm status")
}

// member are the commands that take a lost node out of a cluster that lives, and
// its place for a new one.
func (h Commands) member(node string, known proxmox.Facts) []string {
	left := "A-NODE-THAT-IS-LEFT"
	for _, n := range known.Nodes {
		if n.Name != node && n.Online {
			left = n.Name
			break
		}
	}
	return []string{
		"ssh root@" + left + " pvecm delnode " + Quoted(node),
		fmt.Sprintf("ssh root@%s mv /etc/pve/nodes/%s /root/", left, Quoted(node)),
		"pvecm add " + left,
	}
}

// copyOf is a copy's directory; empty: none is configured.
func copyOf(configured string) string {
	if configured == noCopy {
		return ""
	}
	return configured
}

// noCopy says in the configuration that a host's own configuration is kept by
// other means.
const noCopy = "none"

// addStorage defines the storage of the backups anew; its password is typed.
func (h Commands) addStorage(s Storage) string {
	c := h.Config.PBS[s.PBS]
	text := fmt.Sprintf("pvesm add pbs %s --server %s --datastore %s --username root@pam --password", Quoted(s.Name), Quoted(cmp.Or(s.Server, HostOf(c.URL))), Quoted(c.Datastore))
	if s.Namespace != "" {
		text += " --namespace " + Quoted(s.Namespace)
	}
	if c.Fingerprint != "" {
		text += " --fingerprint " + strings.ToLower(c.Fingerprint)
	}
	return text
}

// BackupServer are the commands that take a datastore over on a new host. Where the
// disk holds a copy of /etc/proxmox-backup, users, tokens, rights, jobs and the
// certificate come from it; else they are made anew.
func (h Commands) BackupServer(name string, known pbs.Facts) []string {
	c := h.Config.PBS[name]
	all := []string{"command -v proxmox-backup-manager || apt-get install -y proxmox-backup-server"}
	if d, ok := h.Config.Disks[c.Disk]; ok {
		all = append(all, mountIt(d)...)
	}
	take := []string{"chown backup:backup " + Quoted(c.Path), fmt.Sprintf("proxmox-backup-manager datastore create %s %s --reuse-datastore true", Quoted(c.Datastore), Quoted(c.Path))}
	dir := cmp.Or(copyOf(c.ConfigCopy), "/etc/proxmox-backup")
	repository, path := h.holds(dir, c.Disk)
	if repository == "" || c.ConfigCopy == noCopy {
		all = append(all, take...)
		all = append(all, h.newUsers(c)...)
		return append(all, newServerJobs(name, c, known)...)
	}
	all = append(all, h.fromDisk(repository, path, dir)...)
	all = append(all,
		fmt.Sprintf("cp -a %s/. /etc/proxmox-backup/", Quoted(Rescue+dir)),
		"rm -f /etc/proxmox-backup/datastore.cfg",
		"systemctl restart proxmox-backup proxmox-backup-proxy")
	all = append(all, take...)
	if known.GC != nil && known.GC.Schedule != "" {
		all = append(all, fmt.Sprintf("proxmox-backup-manager datastore update %s --gc-schedule %s", Quoted(c.Datastore), Quoted(known.GC.Schedule)))
	}
	return all
}

func mountIt(d disk.Config) []string {
	if len(d.Disks) == 0 {
		return nil
	}
	return []string{"mkdir -p " + Quoted(d.Mount), fmt.Sprintf("mountpoint -q %s || mount UUID=%s %s", Quoted(d.Mount), d.Disks[0].UUID, Quoted(d.Mount))}
}

// holds finds the restic entry that saves a directory, and the path of it that
// does: one on the disk first, because that is what is left.
func (h Commands) holds(dir, diskName string) (repository, path string) {
	for _, name := range slices.Sorted(maps.Keys(h.Config.Restic)) {
		c := h.Config.Restic[name]
		for _, p := range c.Paths {
			if backup.Within(filepath.Clean(dir), filepath.Clean(p)) && (repository == "" || c.Disk == diskName) {
				repository, path = name, p
			}
		}
	}
	return repository, path
}

// fromDisk lays a directory down out of a repository.
func (h Commands) fromDisk(repository, path, dir string) []string {
	key := "/root/restic-" + repository + ".key"
	return []string{
		"command -v restic || apt-get install -y restic", "umask 077", "test -s " + key + " || { read -rsp " + Quoted("password of "+repository+": ") + " k && printf '%s\\n' \"$k\" > " + key + "; }", "mkdir -p " + Rescue,
		fmt.Sprintf("restic -r %s --password-file %s restore latest --path %s --target %s --include %s", Quoted(h.Config.Restic[repository].Where()), key, Quoted(path), Rescue, Quoted(dir)),
	}
}

// newUsers makes the tokens again that this configuration has: their secrets are
// new ones, and go into its files.
func (h Commands) newUsers(c pbs.Config) (all []string) {
	add := func(token, role string) {
		user, name, ok := strings.Cut(token, "!")
		if !ok {
			return
		}
		make := "proxmox-backup-manager user create " + Quoted(user)
		if !slices.Contains(all, make) {
			all = append(all, make)
		}
		all = append(all, fmt.Sprintf("proxmox-backup-manager user generate-token %s %s", Quoted(user), Quoted(name)))
		for _, who := range []string{user, token} {
			all = append(all, fmt.Sprintf("proxmox-backup-manager acl update /datastore %s --auth-id %s", role, Quoted(who)))
		}
	}
	add(c.TokenID, "DatastoreAudit")
	if c.Act != nil {
		add(c.Act.TokenID, "DatastoreAdmin")
	}
	return all
}

// newServerJobs makes the jobs again that are last known, or asked for.
func newServerJobs(name string, c pbs.Config, known pbs.Facts) (all []string) {
	a := JobsOf(name, c, known)
	for _, j := range a.Jobs {
		at := fmt.Sprintf("%s --store %s", Quoted(j.ID), Quoted(c.Datastore))
		if j.Schedule != "" {
			at += " --schedule " + Quoted(j.Schedule)
		}
		if j.Namespace != "" {
			at += " --ns " + Quoted(j.Namespace)
		}
		switch j.Kind {
		case pbs.PruneJob:
			text := "proxmox-backup-manager prune-job create " + at + keepFlags(j.Keep)
			if j.Disabled { // such as while an incident holds it
				text += " --disable true"
			}
			all = append(all, text)
		case pbs.VerifyJob:
			text := "proxmox-backup-manager verify-job create " + at + " --ignore-verified " + strconv.FormatBool(j.IgnoreVerified)
			if j.OutdatedAfter > 0 {
				text += " --outdated-after " + strconv.Itoa(j.OutdatedAfter)
			}
			all = append(all, text)
		case pbs.SyncJob:
			all = append(all, fmt.Sprintf("proxmox-backup-manager sync-job create %s --remote %s --remote-store %s", at, Quoted(j.RemoteName), Quoted(j.RemoteStore)))
		}
	}
	if a.GC != "" {
		all = append(all, fmt.Sprintf("proxmox-backup-manager datastore update %s --gc-schedule %s", Quoted(c.Datastore), Quoted(a.GC)))
	}
	return all
}

func keepFlags(k backup.Keep) (text string) {
	for _, one := range []struct {
		name string
		n    int
	}{{"last", k.Last}, {"hourly", k.Hourly}, {"daily", k.Daily}, {"weekly", k.Weekly}, {"monthly", k.Monthly}, {"yearly", k.Yearly}} {
		if one.n > 0 {
			text += fmt.Sprintf(" --keep-%s %d", one.name, one.n)
		}
	}
	return text
}

// ExpectCertificate makes a cluster expect the certificate that the new backup
// server has: typed on that server.
func ExpectCertificate(node, storage string) string {
	return fmt.Sprintf(`ssh root@%s pvesm set %s --fingerprint "$(proxmox-backup-manager cert info | sed -n 's/^Fingerprint (sha256): //p')"`, node, Quoted(storage))
}
