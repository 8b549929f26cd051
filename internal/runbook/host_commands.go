package runbook

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

// hosts writes the commands that a person types on a new host: on paper, and in the
// steps of an operation that wait for a person.
type hosts struct{ c *config.Config }

// etcCopy is where the copy of /etc/pve is laid down on a new node.
const etcCopy = "/root/etc-pve"

// hypervisor are the commands that give a new node what the lost one was: of a
// whole cluster its configuration, of one node of several its place.
func (h hosts) hypervisor(cluster, node string, known proxmox.Facts, storages []backupStorage) []string {
	if node != "" && len(known.Nodes) > 1 {
		return h.member(node, known)
	}
	dir := copyOf(h.c.Proxmox[cluster].ConfigCopy)
	if dir == "" {
		var all []string
		for _, s := range storages {
			all = append(all, h.addStorage(s))
		}
		return append(all, "pvesm status")
	}
	host := "BACKUP-HOST"
	if len(storages) > 0 {
		host = cmp.Or(hostOf(h.c.PBS[storages[0].pbs].URL), host)
	}
	put := func(name string) string {
		return fmt.Sprintf("test ! -e %[1]s/%[2]s || cp -r %[1]s/%[2]s /etc/pve/%[3]s", etcCopy, name, filepath.Dir(name))
	}
	all := []string{"mkdir -p " + etcCopy, fmt.Sprintf("scp -r root@%s:%s/. %s/", host, quoted(dir), etcCopy), "mkdir -p /etc/pve/priv"}
	for _, name := range []string{"user.cfg", "priv/token.cfg", "priv/shadow.cfg", "priv/storage", "storage.cfg", "jobs.cfg", "firewall"} {
		all = append(all, put(name))
	}
	return append(all, "pvesm status")
}

// member are the commands that take a lost node out of a cluster that lives, and
// its place for a new one.
func (h hosts) member(node string, known proxmox.Facts) []string {
	left := "A-NODE-THAT-IS-LEFT"
	for _, n := range known.Nodes {
		if n.Name != node && n.Online {
			left = n.Name
			break
		}
	}
	return []string{
		"ssh root@" + left + " pvecm delnode " + quoted(node),
		fmt.Sprintf("ssh root@%s mv /etc/pve/nodes/%s /root/", left, quoted(node)),
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
func (h hosts) addStorage(s backupStorage) string {
	c := h.c.PBS[s.pbs]
	text := fmt.Sprintf("pvesm add pbs %s --server %s --datastore %s --username root@pam --password", quoted(s.name), quoted(cmp.Or(s.server, hostOf(c.URL))), quoted(c.Datastore))
	if s.namespace != "" {
		text += " --namespace " + quoted(s.namespace)
	}
	if c.Fingerprint != "" {
		text += " --fingerprint " + strings.ToLower(c.Fingerprint)
	}
	return text
}

// backupServer are the commands that take a datastore over on a new host. Where the
// disk holds a copy of /etc/proxmox-backup, users, tokens, rights, jobs and the
// certificate come from it; else they are made anew.
func (h hosts) backupServer(name string, known pbs.Facts) []string {
	c := h.c.PBS[name]
	all := []string{"command -v proxmox-backup-manager || apt-get install -y proxmox-backup-server"}
	if d, ok := h.c.Disks[c.Disk]; ok {
		all = append(all, mountIt(d)...)
	}
	take := []string{"chown backup:backup " + quoted(c.Path), fmt.Sprintf("proxmox-backup-manager datastore create %s %s --reuse-datastore true", quoted(c.Datastore), quoted(c.Path))}
	dir := cmp.Or(copyOf(c.ConfigCopy), "/etc/proxmox-backup")
	repository, path := h.holds(dir, c.Disk)
	if repository == "" || c.ConfigCopy == noCopy {
		all = append(all, take...)
		all = append(all, h.newUsers(c)...)
		return append(all, newServerJobs(name, c, known)...)
	}
	all = append(all, h.fromDisk(repository, path, dir)...)
	all = append(all,
		fmt.Sprintf("cp -a %s/. /etc/proxmox-backup/", quoted(rescue+dir)),
		"rm -f /etc/proxmox-backup/datastore.cfg",
		"systemctl restart proxmox-backup proxmox-backup-proxy")
	all = append(all, take...)
	if known.GC != nil && known.GC.Schedule != "" {
		all = append(all, fmt.Sprintf("proxmox-backup-manager datastore update %s --gc-schedule %s", quoted(c.Datastore), quoted(known.GC.Schedule)))
	}
	return all
}

func mountIt(d disk.Config) []string {
	if len(d.Disks) == 0 {
		return nil
	}
	return []string{"mkdir -p " + quoted(d.Mount), fmt.Sprintf("mountpoint -q %s || mount UUID=%s %s", quoted(d.Mount), d.Disks[0].UUID, quoted(d.Mount))}
}

// holds finds the restic entry that saves a directory, and the path of it that
// does: one on the disk first, because that is what is left.
func (h hosts) holds(dir, diskName string) (repository, path string) {
	for _, name := range slices.Sorted(maps.Keys(h.c.Restic)) {
		c := h.c.Restic[name]
		for _, p := range c.Paths {
			if inside(filepath.Clean(dir), filepath.Clean(p)) && (repository == "" || c.Disk == diskName) {
				repository, path = name, p
			}
		}
	}
	return repository, path
}

// fromDisk lays a directory down out of a repository.
func (h hosts) fromDisk(repository, path, dir string) []string {
	key := "/root/restic-" + repository + ".key"
	return []string{
		"command -v restic || apt-get install -y restic", "umask 077", "test -s " + key + " || { read -rsp " + quoted("password of "+repository+": ") + " k && printf '%s\\n' \"$k\" > " + key + "; }", "mkdir -p " + rescue,
		fmt.Sprintf("restic -r %s --password-file %s restore latest --path %s --target %s --include %s", quoted(h.c.Restic[repository].Where()), key, quoted(path), rescue, quoted(dir)),
	}
}

// newUsers makes the tokens again that this configuration has: their secrets are
// new ones, and go into its files.
func (h hosts) newUsers(c pbs.Config) (all []string) {
	add := func(token, role string) {
		user, name, ok := strings.Cut(token, "!")
		if !ok {
			return
		}
		make := "proxmox-backup-manager user create " + quoted(user)
		if !slices.Contains(all, make) {
			all = append(all, make)
		}
		all = append(all, fmt.Sprintf("proxmox-backup-manager user generate-token %s %s", quoted(user), quoted(name)))
		for _, who := range []string{user, token} {
			all = append(all, fmt.Sprintf("proxmox-backup-manager acl update /datastore %s --auth-id %s", role, quoted(who)))
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
	a := serverJobs(name, c, known)
	for _, j := range a.Jobs {
		at := fmt.Sprintf("%s --store %s", quoted(j.ID), quoted(c.Datastore))
		if j.Schedule != "" {
			at += " --schedule " + quoted(j.Schedule)
		}
		if j.Namespace != "" {
			at += " --ns " + quoted(j.Namespace)
		}
		switch j.Kind {
		case pbs.PruneJob:
			all = append(all, "proxmox-backup-manager prune-job create "+at+keepFlags(j.Keep))
		case pbs.VerifyJob:
			text := "proxmox-backup-manager verify-job create " + at + " --ignore-verified " + strconv.FormatBool(j.IgnoreVerified)
			if j.OutdatedAfter > 0 {
				text += " --outdated-after " + strconv.Itoa(j.OutdatedAfter)
			}
			all = append(all, text)
		case pbs.SyncJob:
			all = append(all, fmt.Sprintf("proxmox-backup-manager sync-job create %s --remote %s --remote-store %s", at, quoted(j.RemoteName), quoted(j.RemoteStore)))
		}
	}
	if a.GC != "" {
		all = append(all, fmt.Sprintf("proxmox-backup-manager datastore update %s --gc-schedule %s", quoted(c.Datastore), quoted(a.GC)))
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

// expectCertificate makes a cluster expect the certificate that the new backup
// server has: typed on that server.
func expectCertificate(node, storage string) string {
	return fmt.Sprintf(`ssh root@%s pvesm set %s --fingerprint "$(proxmox-backup-manager cert info | sed -n 's/^Fingerprint (sha256): //p')"`, node, quoted(storage))
}
