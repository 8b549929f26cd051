package paper

import (
	"cmp"
	"fmt"
	"maps"
	"net/url"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"cairn/internal/backup"
	"cairn/internal/runbook/byhand"
	"cairn/proxmox"
)

// siteLoss is the way back from the off-site copy alone, as commands that run as
// they stand: the key, the repository, then guest by guest its indexes and chunks,
// the databases and the other paths.
func (w *paperWriter) siteLoss() {
	b := Block{Title: "Everything is gone but the off-site copy (site-loss, ransomware)", Level: 2}
	var off []string
	for _, name := range slices.Sorted(maps.Keys(w.c.Restic)) {
		if w.c.Restic[name].OffSite() {
			off = append(off, name)
		}
	}
	if len(off) == 0 {
		b.Text = []string{"THERE IS NO OFF-SITE COPY in the configuration: nothing comes back from here."}
		w.add(b)
		return
	}
	b.Text = []string{w.expected("site-loss"),
		"On a new host with Debian, as root, in one shell (bash), one block after the other. Secrets are typed from where they are kept; they are neither shown nor printed here. Lines with \"" + strings.TrimSuffix(byhand.FillIn, ": ") + "\" are changed before they are typed; all others run as they stand. All of it comes to lie below " + byhand.Rescue + "."}
	w.add(b)
	for i, name := range off {
		if i > 0 {
			w.add(Block{Title: "Or from repository " + name, Level: 3, Text: []string{"If the one before cannot be opened: put this in place of its first block."}, Commands: w.openRepository(name)})
			continue
		}
		w.fromOffSite(name)
	}
}

// expected says what is lost and how long it takes.
func (w *paperWriter) expected(scenario string) string {
	for _, s := range w.r.Scenarios {
		if s.Name == scenario {
			loss := "everything, or not known"
			if s.RPO != nil {
				loss = backup.Age(*s.RPO)
			}
			return fmt.Sprintf("As of this writing: loses %s; takes %s, nine times of ten at most %s (%s).", loss, backup.Age(s.RTO), backup.Age(s.RTOP90), s.Basis)
		}
	}
	return "How long it takes is not known."
}

// openRepository are the commands that open a repository: its address and its key,
// and what its backend needs.
func (w *paperWriter) openRepository(name string) []string {
	c := w.c.Restic[name]
	key := "/root/restic-" + name + ".key"
	commands := []string{"command -v restic || apt-get install -y restic", "umask 077",
		"test -s " + key + " || { read -rsp " + byhand.Quoted("password of "+name+": ") + " k && printf '%s\\n' \"$k\" > " + key + "; }"}
	for _, variable := range slices.Sorted(maps.Keys(c.Env)) {
		commands = append(commands, fmt.Sprintf(`test -n "$%s" || { read -rsp %s %s; export %s; }`, variable, byhand.Quoted(variable+": "), variable, variable))
	}
	address := "export RESTIC_REPOSITORY=" + byhand.Quoted(c.Where())
	if c.Where() != c.Repository {
		address += "   " + byhand.FillIn + "the password in the address"
	}
	return append(commands, address, "export RESTIC_PASSWORD_FILE="+key, "restic snapshots"+hostsOf(c.Match.Hosts))
}

func hostsOf(hosts []string) (flags string) {
	for _, h := range hosts {
		flags += " --host " + byhand.Quoted(h)
	}
	return flags
}

// fromOffSite is how everything is brought back from one repository.
func (w *paperWriter) fromOffSite(name string) {
	c := w.c.Restic[name]
	paths := w.pathsOf(name)
	open := Block{Title: "1. The key and the repository " + name, Level: 3, Commands: w.openRepository(name), Text: []string{
		"Its key is kept at: " + cmp.Or(w.c.Runbook.Keys["restic."+name], "NOT WRITTEN DOWN") + "."}}
	if len(c.Env) > 0 {
		open.Text = append(open.Text, "It also needs "+strings.Join(slices.Sorted(maps.Keys(c.Env)), ", ")+", kept with the key.")
	}
	w.add(open)
	stores := w.storesIn(paths)
	choose := Block{Title: "2. The snapshot", Level: 3, Text: []string{
		"The newest is taken. After ransomware put the id of one in its place that was made before the first sign: SNAPSHOT=… of the list above, and everything below is as of then."}}
	choose.Commands = []string{w.newestSnapshot(name), `test -n "$SNAPSHOT" && echo "from snapshot $SNAPSHOT"`, "mkdir -p " + byhand.Rescue}
	if at := w.c.Runbook.WriteTo; at != "" && slices.ContainsFunc(paths, func(p string) bool { return backup.Within(at, p) }) {
		choose.Text = append(choose.Text, "This very runbook, of that time, to copy the commands from:")
		choose.Commands = append(choose.Commands, "restic dump \"$SNAPSHOT\" "+byhand.Quoted(at)+" > "+byhand.Rescue+"/"+filepath.Base(at))
	}
	w.add(choose)
	w.restorePaths("3. Configurations and keys", paths, stores, func(p string) bool { return strings.Contains(p+"/", "/etc/") })
	for i, store := range stores {
		w.fetchGuests(fmt.Sprintf("4%s. The guests: indexes and chunks, in order of priority", letter(i, len(stores))), store)
	}
	w.newServers(stores)
	w.databasesBack(paths)
	w.restorePaths("8. The other paths", paths, stores, func(p string) bool { return !strings.Contains(p+"/", "/etc/") && !w.holdsDumps(p) })
}

func letter(i, of int) string {
	if of < 2 {
		return ""
	}
	return string(rune('a' + i))
}

// pathsOf are what a repository holds: its own paths, or those of the one that it
// is copied from.
func (w *paperWriter) pathsOf(name string) []string {
	for range len(w.c.Restic) { // a chain of copies ends
		c := w.c.Restic[name]
		if len(c.Paths) > 0 || c.CopyFrom == "" {
			return c.Paths
		}
		name = c.CopyFrom
	}
	return nil
}

// storesIn are the PBS datastores, by their configured names, that lie in the paths.
func (w *paperWriter) storesIn(paths []string) (names []string) {
	for _, name := range slices.Sorted(maps.Keys(w.c.PBS)) {
		store := w.c.PBS[name].Path
		if store != "" && slices.ContainsFunc(paths, func(p string) bool { return backup.Within(filepath.Clean(store), filepath.Clean(p)) }) {
			names = append(names, name)
		}
	}
	return names
}

// holdsDumps says whether a path is only dumps, which come back with the databases.
func (w *paperWriter) holdsDumps(p string) bool {
	for _, c := range w.c.Postgres {
		if c.Dump != nil && backup.Within(filepath.Clean(c.Dump.Dir), filepath.Clean(p)) {
			return true
		}
	}
	return false
}

// restorePaths lays paths down as they are, and has restic compare them.
func (w *paperWriter) restorePaths(title string, paths, stores []string, wanted func(string) bool) {
	b := Block{Title: title, Level: 3}
	for _, p := range paths {
		isStore := func(name string) bool { return backup.Within(filepath.Clean(w.c.PBS[name].Path), filepath.Clean(p)) }
		if wanted(p) && !slices.ContainsFunc(stores, isStore) {
			b.Commands = append(b.Commands, fmt.Sprintf(`restic restore "$SNAPSHOT" --verify --target %s --include %s`, byhand.Rescue, byhand.Quoted(literally(p))), "ls "+byhand.Quoted(byhand.Rescue+filepath.Clean(p)))
		}
	}
	if len(b.Commands) > 0 {
		w.add(b)
	}
}

// literally escapes what restic takes for a pattern.
func literally(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

// fetchGuests lays down, of a datastore, the newest backup of each guest: its
// indexes, and the chunks that they name. No other tool than restic is needed.
func (w *paperWriter) fetchGuests(title, store string) {
	b := Block{Title: title, Level: 3, Text: []string{
		"guest brings one guest's newest backup in the snapshot: its directory, then the chunk files that its indexes name (32 bytes each after a head of 4096; 8 bytes more before each in a .didx). Stop after any of them: the next may come later, into the same place."}}
	b.Commands = []string{
		"STORE=" + byhand.Quoted(filepath.Clean(w.c.PBS[store].Path)),
		"guest() {",
		`  blob=$(restic ls --recursive "$SNAPSHOT" "$STORE/$1" | grep '/index\.json\.blob$' | sort | tail -n 1); dir=${blob%/*}`,
		`  test -n "$dir" || { echo "NO BACKUP of $1 in $SNAPSHOT"; return 1; }`,
		`  restic restore "$SNAPSHOT" --target ` + byhand.Rescue + ` --include "$dir" --include "$STORE/$1/owner" || return 1`,
		`  for f in "` + byhand.Rescue + `$dir"/*.fidx; do test ! -e "$f" || tail -c +4097 "$f" | od -An -v -tx1 -w32 | tr -d ' '; done > /root/chunks`,
		`  for f in "` + byhand.Rescue + `$dir"/*.didx; do test ! -e "$f" || tail -c +4097 "$f" | od -An -v -tx1 -w40 | tr -d ' ' | cut -c 17-; done >> /root/chunks`,
		`  sort -u -o /root/chunks /root/chunks`,
		`  sed "s|^\(....\).*|--include=$STORE/.chunks/\1/&|" /root/chunks | xargs -d '\n' -n 500 restic restore "$SNAPSHOT" --target ` + byhand.Rescue + ` || return 1`,
		`  sed "s|^\(....\).*|` + byhand.Rescue + `$STORE/.chunks/\1/&|" /root/chunks | xargs -d '\n' ls > /dev/null && echo "$1: all chunks of $dir are there"`,
		"}",
	}
	for _, g := range w.groups(store) {
		b.Commands = append(b.Commands, "guest "+byhand.Quoted(g.dir)+"   # "+g.what)
	}
	w.add(b)
}

// lostGroup is a group of backups: its directory below the datastore, and whose
// it is.
type lostGroup struct{ dir, what string }

// groups are the groups of a datastore in the order of their restore: hosts' own
// configurations first.
func (w *paperWriter) groups(store string) (all []lostGroup) {
	for _, a := range w.r.Assets {
		for _, h := range a.Held {
			if a.ID.Kind == backup.Host && h.Source == "pbs."+store && !h.Taken.IsZero() && !a.Parked {
				all = append(all, lostGroup{groupDir(h.ID), a.Name + ", a host's configuration"})
			}
		}
	}
	for _, g := range w.order() {
		if g.held == nil || g.held.Source != "pbs."+store {
			continue
		}
		what := g.Name
		if g.priority < proxmox.LastInOrder {
			what += fmt.Sprintf(", priority %d", g.priority)
		}
		all = append(all, lostGroup{groupDir(g.held.ID), what + "; off-site: " + w.offSite(g)})
	}
	return all
}

// groupDir is the directory of the group that a backup belongs to, by the backup's
// id: "a/b/vm/101/TIME" lies in "ns/a/ns/b/vm/101".
func groupDir(id string) string {
	parts := strings.Split(path.Dir(id), "/")
	n := max(0, len(parts)-2)
	var dir []string
	for _, ns := range parts[:n] {
		dir = append(dir, "ns", ns)
	}
	return path.Join(append(dir, parts[n:]...)...)
}

// newServers is a new PBS over what was fetched, and a new PVE that restores the
// guests from it.
func (w *paperWriter) newServers(stores []string) {
	if len(stores) == 0 {
		return
	}
	b := Block{Title: "5. A new Proxmox Backup Server over it", Level: 3, Text: []string{
		"Install Proxmox Backup Server on this host. It takes a datastore over only with all its 65536 directories of chunks, its lock, and these owners and modes. verify reads every chunk against its name."}}
	for _, name := range stores {
		b.Commands = append(b.Commands, takeOver(w.c.PBS[name].Datastore, filepath.Clean(w.c.PBS[name].Path))...)
	}
	w.add(b)
	for _, cluster := range slices.Sorted(maps.Keys(w.f.Proxmox)) {
		w.newCluster(cluster)
	}
}

// takeOver makes what was fetched a datastore in its old place.
func takeOver(datastore, store string) []string {
	return append(completeStore(byhand.Rescue+store),
		"mkdir -p "+byhand.Quoted(store)+" && mount --bind "+byhand.Quoted(byhand.Rescue+store)+" "+byhand.Quoted(store),
		fmt.Sprintf("proxmox-backup-manager datastore create %s %s --reuse-datastore true", byhand.Quoted(datastore), byhand.Quoted(store)),
		"proxmox-backup-manager verify "+byhand.Quoted(datastore))
}

// completeStore makes what was fetched in part one that PBS takes over.
func completeStore(at string) []string {
	return []string{
		"cd " + byhand.Quoted(at),
		`mkdir -p .chunks && (cd .chunks && printf '%04x\n' $(seq 0 65535) | xargs mkdir -p)`,
		"touch .lock && chmod 644 .lock && find . -type d -exec chmod 755 {} + && find .chunks -type d -exec chmod 750 {} + && chown -R backup:backup .",
		"cd /",
	}
}

// newCluster are the commands on a new PVE node.
func (w *paperWriter) newCluster(cluster string) {
	storages := w.backupStorages(cluster)
	if len(storages) == 0 {
		return
	}
	b := Block{Title: "6. A new Proxmox VE for cluster " + cluster, Level: 3, Text: []string{
		"Install Proxmox VE of the same major version" + versionWord(w.f.Proxmox[cluster].Value.Version) + " and make the storages that the guests need. As root on the node. Where the backups are encrypted: pvesm set STORAGE --encryption-key FILE, before the first restore. The password is that of root on the new backup host."}}
	for _, s := range storages {
		name := shellName(s.Name)
		b.Commands = append(b.Commands, name+"_SERVER="+byhand.Quoted(s.Server)+"   "+byhand.FillIn+"name or address of the new backup host",
			name+"_FINGERPRINT="+byhand.Quoted(strings.ToLower(w.fingerprintOf(s)))+"   "+byhand.FillIn+"what \"proxmox-backup-manager cert info\" says on the new backup host")
		add := fmt.Sprintf(`pvesm add pbs %s --server "$%s_SERVER" --datastore %s --username root@pam --password --fingerprint "$%s_FINGERPRINT"`, byhand.Quoted(s.Name), name, byhand.Quoted(s.Datastore), name)
		if s.Namespace != "" {
			add += " --namespace " + byhand.Quoted(s.Namespace)
		}
		b.Commands = append(b.Commands, add)
	}
	b.Commands = append(b.Commands, newestBackup(storages[0]))
	for _, g := range w.order() {
		if g.cluster == cluster && g.held != nil {
			b.Commands = append(append(b.Commands, restoreNewest(g)), tagLineage(g)...)
		}
	}
	w.add(b)
}

// newestBackup is a function that names the newest backup of a guest on a storage.
func newestBackup(s proxmox.Storage) string {
	return fmt.Sprintf(`newest() { pvesm list %s --content backup --vmid "$1" | awk 'NR > 1 { print $1 }' | sort | tail -n 1; }`, byhand.Quoted(s.Name))
}

// restoreNewest brings one guest back from the newest backup that is there.
func restoreNewest(g lostGuest) string {
	text := fmt.Sprintf(`qmrestore "$(newest %d)" %d`, g.made(), g.VMID)
	if g.Kind == proxmox.LXC {
		text = fmt.Sprintf(`pct restore %d "$(newest %d)"`, g.VMID, g.made())
	}
	for _, d := range g.Disks {
		if d.Storage != "" && (d.Key == "rootfs" || g.Kind == proxmox.QEMU) {
			text += " --storage " + byhand.Quoted(d.Storage)
			break
		}
	}
	return text + "   # " + g.Name
}

// shellName makes a variable's name of a storage's.
func shellName(name string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, name)
}

// fingerprintOf is the configured fingerprint of the PBS behind a storage.
func (w *paperWriter) fingerprintOf(s proxmox.Storage) string {
	for _, name := range slices.Sorted(maps.Keys(w.c.PBS)) {
		c := w.c.PBS[name]
		if u, err := url.Parse(c.URL); err == nil && c.Fingerprint != "" && c.Datastore == s.Datastore && u.Hostname() == s.Server {
			return c.Fingerprint
		}
	}
	return ""
}

// databasesBack restores the newest dump of each database into a new PostgreSQL.
func (w *paperWriter) databasesBack(paths []string) {
	b := Block{Title: "7. The databases, from their dumps", Level: 3, Text: []string{
		"On a new host with PostgreSQL of the same major version or newer. database takes the newest dump in the snapshot by its name, roles first: those that exist already are said and passed over."}}
	b.Commands = []string{"command -v pg_restore || apt-get install -y postgresql", "database() {",
		`  d=$(ls -d "` + byhand.Rescue + `$1/$2"[-_.]* | sort | tail -n 1); g=$(ls -d "` + byhand.Rescue + `$1"/globals[-_.]* "$d/globals.sql" 2> /dev/null | sort | tail -n 1)`,
		`  test -n "$d" || { echo "NO DUMP of $2 in $1"; return 1; }`,
		`  t=/var/lib/postgresql/rescue; rm -rf $t && mkdir -p $t && cp -r "$d" $t/dump && { test -z "$g" || cp "$g" $t/globals.sql; } && chown -R postgres: $t`,
		`  test ! -e $t/globals.sql || runuser -u postgres -- psql -q -d postgres -f $t/globals.sql`,
		`  if test -d $t/dump/data; then d=$t/dump/data; else d=$t/dump; fi`,
		`  runuser -u postgres -- pg_restore --create --exit-on-error -d postgres $d && echo "$2 is back"`,
		"}"}
	n := len(b.Commands)
	for _, name := range slices.Sorted(maps.Keys(w.c.Postgres)) {
		c := w.c.Postgres[name].Dump
		if c == nil || !slices.ContainsFunc(paths, func(p string) bool { return backup.Within(filepath.Clean(c.Dir), filepath.Clean(p)) }) {
			continue
		}
		dir := filepath.Clean(c.Dir)
		b.Commands = append(b.Commands, fmt.Sprintf(`restic restore "$SNAPSHOT" --verify --target %s --include %s`, byhand.Rescue, byhand.Quoted(literally(dir))))
		for _, database := range w.databasesOf(name) {
			b.Commands = append(b.Commands, "database "+byhand.Quoted(dir)+" "+byhand.Quoted(database))
		}
	}
	if len(b.Commands) > n {
		w.add(b)
	}
}

// databasesOf are the databases that are dumped of a server: those configured, or
// all that there are copies of.
func (w *paperWriter) databasesOf(name string) []string {
	if all := w.c.Postgres[name].Dump.Databases; len(all) > 0 {
		return all
	}
	var all []string
	for _, a := range w.r.Assets {
		if a.ID.Kind == backup.Database && a.ID.Scope == name {
			all = append(all, a.ID.Name)
		}
	}
	return all
}
