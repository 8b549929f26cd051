package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"cairn/internal/lab"
	"cairn/internal/lab/pbs"
	"cairn/internal/testkit"
)

// newHost is a host on which nothing is installed but restic, PostgreSQL and what
// stands in for Proxmox, and on which nothing of the lab is left: its directory is
// covered by an empty one, and so are /root and /srv. Only the cloud answers.
type newHost struct {
	t      *testing.T
	lab    *lab.Lab
	dir    string // what outlives the mount namespace: srv, the stand-ins, the new PostgreSQL
	pgPort string
}

// aNewHost makes one; it needs root, for its mount namespace.
func aNewHost(t *testing.T, l *lab.Lab) *newHost {
	t.Helper()
	if os.Geteuid() != 0 {
		testkit.Need(t, "root, for a mount namespace in which the site is gone")
	}
	testkit.Program(t, "unshare")
	testkit.Program(t, "runuser")
	base := "/dev/shm" // 65536 directories of chunks are nothing in memory
	if _, err := os.Stat(base); err != nil {
		base = t.TempDir()
	}
	dir, err := os.MkdirTemp(base, "cairn-e2e-")
	must(t, err)
	t.Cleanup(func() { must(t, os.RemoveAll(dir)) })
	must(t, os.Chmod(dir, 0o711))
	h := &newHost{t: t, lab: l, dir: dir}
	for _, sub := range []string{"bin", "srv", "pgsql", "proxmox"} {
		must(t, os.Mkdir(h.at(sub), 0o755))
	}
	self, err := os.Executable()
	must(t, err)
	for name := range standIns {
		must(t, os.Symlink(self, h.at("bin", name)))
	}
	return h
}

func (h *newHost) at(parts ...string) string {
	return filepath.Join(append([]string{h.dir}, parts...)...)
}

// rescued is where what lay at path comes to lie on the new host.
func (h *newHost) rescued(path string) string { return h.at("srv", "rescue", path) }

// run runs commands as a person does who has paper: typed is what is asked for.
func (h *newHost) run(printed, typed string) string {
	h.t.Helper()
	script := write(h.t, h.at("printed.sh"), printed)
	before := fmt.Sprintf(`set -e
mount -t tmpfs -o mode=755 gone %[1]s
mount -t tmpfs -o mode=700 gone /root
mount --bind %[2]s /srv
mount --bind %[3]s /var/lib/postgresql
test -z "$(ls -A %[1]s)$(ls -A /root)"
cd /
exec bash --norc %[4]s`, h.lab.Dir(), h.at("srv"), h.at("pgsql"), script)
	c := exec.CommandContext(h.t.Context(), "unshare", "--mount", "bash", "--norc", "-c", before)
	c.Stdin = strings.NewReader(typed)
	c.Env = []string{"PATH=" + h.at("bin") + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8", "CAIRN_STANDIN=" + h.at("proxmox"),
		"PGHOST=" + h.at("pg", "run"), "PGPORT=" + h.pgPort}
	out, err := c.CombinedOutput()
	if err != nil {
		h.t.Fatalf("the printed commands end with %v:\n%s", err, out)
	}
	return string(out)
}

// postgres starts an empty PostgreSQL, as Debian's package would.
func (h *newHost) postgres() {
	h.t.Helper()
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin")
	must(h.t, err)
	if len(found) == 0 {
		testkit.Need(h.t, "postgresql")
	}
	bin := found[len(found)-1]
	must(h.t, os.MkdirAll(h.at("pg", "run"), 0o755))
	h.shell("chown -R postgres %s", h.at("pg"))
	as := "runuser -u postgres -- " + bin
	h.shell("cd / && %s/initdb -D %s -U postgres --no-sync --auth=trust -E UTF8 --locale=C.UTF-8", as, h.at("pg", "data"))
	h.pgPort = "5999"
	h.shell("cd / && %s/pg_ctl -D %s -l %s -w -o \"-c listen_addresses='' -c unix_socket_directories=%s -c port=%s -c fsync=off\" start", as, h.at("pg", "data"), h.at("pg", "log"), h.at("pg", "run"), h.pgPort)
	h.t.Cleanup(func() { h.shell("cd / && %s/pg_ctl -D %s -m immediate stop", as, h.at("pg", "data")) })
}

func (h *newHost) shell(format string, args ...any) string {
	h.t.Helper()
	// a server that goes on keeps no pipe of ours
	text, err := os.CreateTemp(h.t.TempDir(), "said")
	must(h.t, err)
	defer text.Close()
	c := exec.Command("bash", "-ec", fmt.Sprintf(format, args...))
	c.Stdout, c.Stderr = text, text
	err = c.Run()
	said, _ := os.ReadFile(text.Name())
	if err != nil {
		h.t.Fatalf("%s: %v\n%s", c.Args[2], err, said)
	}
	return string(said)
}

// section returns the commands of a runbook's section in Markdown, in order.
func section(t *testing.T, markdown, title string) string {
	t.Helper()
	_, rest, found := strings.Cut(markdown, "\n## "+title)
	if !found {
		t.Fatalf("the runbook has no section %q:\n%s", title, markdown)
	}
	rest, _, _ = strings.Cut(rest, "\n## ")
	var out strings.Builder
	for i, part := range strings.Split(rest, "\n```") {
		if i%2 == 1 {
			_, commands, _ := strings.Cut(part, "\n")
			out.WriteString(commands + "\n")
		}
	}
	if out.Len() == 0 {
		t.Fatalf("section %q has no commands", title)
	}
	return out.String()
}

var blank = regexp.MustCompile(`(?m)^(\w+)=(\S*) +# FILL IN: (.*)$`)

// fillIn does what the paper asks a person to do; asked is how many lines there were.
func fillIn(t *testing.T, printed string) (filled string, asked int) {
	t.Helper()
	return blank.ReplaceAllStringFunc(printed, func(line string) string {
		asked++
		name := blank.FindStringSubmatch(line)[1]
		switch {
		case strings.HasSuffix(name, "_SERVER"):
			return name + "=" + newServer
		case strings.HasSuffix(name, "_FINGERPRINT"):
			return name + "=" + newFingerprint
		}
		t.Errorf("what is to be filled in here? %s", line)
		return line
	}), asked
}

// treeHash hashes names and contents of all files of a directory.
func treeHash(t *testing.T, root string) string {
	t.Helper()
	h := sha256.New()
	files := 0
	must(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		files++
		fmt.Fprintf(h, "%s %x\n", strings.TrimPrefix(path, root), sha256.Sum256(text))
		return err
	}))
	if files == 0 {
		t.Errorf("%s is empty", root)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// headHash hashes the part of a disk's image that is not zero, and says its size.
func headHash(t *testing.T, path string) string {
	t.Helper()
	f, err := os.Open(path)
	must(t, err)
	defer f.Close()
	info, err := f.Stat()
	must(t, err)
	h := sha256.New()
	_, err = io.CopyN(h, f, 16<<20)
	must(t, err)
	return fmt.Sprintf("%x of %d bytes", h.Sum(nil), info.Size())
}

// copiesOffSite are when the proven off-site copies were made, by asset.
func copiesOffSite(t *testing.T, path string) map[string]time.Time {
	t.Helper()
	var said struct {
		Assets []struct {
			Asset   string    `json:"asset"`
			OffSite bool      `json:"offsite"`
			Taken   time.Time `json:"taken_at"`
		} `json:"assets"`
	}
	r := try(t, "--config", path, "prove", "--format", "json")
	must(t, json.Unmarshal([]byte(r.out), &said))
	out := map[string]time.Time{}
	for _, a := range said.Assets {
		if a.OffSite {
			out[a.Asset] = a.Taken
		}
	}
	if len(out) < 7 {
		t.Fatalf("proven off-site: %v\n%s", out, r.err)
	}
	return out
}

// Everything is gone but the cloud, its password and the paper. Its commands are
// run as they are printed; what comes back is compared by hash, and is as old as
// was announced.
func TestSiteLossFromPaper(t *testing.T) {
	t.Parallel()
	l := whole(t)
	h := aNewHost(t, l)
	// four guests are enough: each opens the repository three times
	ignored := ""
	for _, vmid := range []int{102, 103, 104, 106, 108, 109} {
		ignored += fmt.Sprintf("[guest.\"home/%d\"]\nignore = true\n\n", vmid)
	}
	path := config(t, l, "[pbs.nas]", ignored+"[pbs.nas]")
	announced := copiesOffSite(t, path)
	loss := announcedLoss(t, path, "site-loss")
	paper := try(t, "--config", path, "runbook")
	if paper.code != 0 {
		t.Fatal(paper.err)
	}
	password, err := os.ReadFile(filepath.Join(l.Dir(), "secrets", "restic"))
	must(t, err)
	if strings.Contains(paper.out, strings.TrimSpace(string(password))) {
		t.Error("the paper holds the password")
	}
	printed, asked := fillIn(t, section(t, paper.out, "Everything is gone"))
	if asked != 2 {
		t.Errorf("a person has to fill in %d values", asked)
	}
	h.postgres()
	out := h.run(printed, string(password)+newPassword+"\n")
	h.guestsAreBack(announced, out)
	for _, dir := range []string{"host/etc", "host/srv"} {
		if was, is := treeHash(t, filepath.Join(l.Dir(), dir)), treeHash(t, h.rescued(filepath.Join(l.Dir(), dir))); was != is {
			t.Errorf("%s: %s, and it was %s", dir, is, was)
		}
	}
	h.databasesAreBack()
	oldest := slices.MinFunc(mapValues(announced), time.Time.Compare)
	if age := loss.at.Sub(oldest).Seconds(); loss.seconds < age-2 || loss.seconds > age+2 {
		t.Errorf("announced was a loss of %.0f s, what came back is %.0f s old", loss.seconds, age)
	}
}

// guestsAreBack compares the disks and archives of every guest that is off-site
// with those of the same backup on the lab's disk, byte by byte.
func (h *newHost) guestsAreBack(announced map[string]time.Time, out string) {
	t := h.t
	t.Helper()
	var w proxmoxHost
	w.dir = h.at("proxmox")
	must(t, w.load())
	// the youngest container was never off-site: that is said, and nothing else fails
	if len(w.Failed) != 1 || !strings.Contains(w.Failed[0], "pct restore 107") || strings.Count(out, "NO BACKUP") != 1 {
		t.Errorf("failed: %v\n%s", w.Failed, out)
	}
	live, err := pbs.Reuse("usb", filepath.Join(h.lab.USB(), "pbs"))
	must(t, err)
	guests := 0
	for asset, taken := range announced {
		vmid, is := strings.CutPrefix(asset, "guest:home/")
		if !is {
			continue
		}
		guests++
		kind := "vm"
		s := live.Find("home", kind, vmid, taken.Unix())
		if s == nil {
			kind = "ct"
			s = live.Find("home", kind, vmid, taken.Unix())
		}
		if s == nil {
			t.Errorf("%s: no backup of %s on the lab's disk", asset, taken)
			continue
		}
		h.sameGuest(live, s, h.at("proxmox", "guests", vmid))
	}
	if guests != 3 {
		t.Errorf("%d guests came back", guests)
	}
	fetched, err := pbs.Reuse("usb", h.rescued(filepath.Join(h.lab.USB(), "pbs")))
	must(t, err)
	if len(fetched.Snapshots) != guests+1 || len(live.Snapshots) < 3*guests {
		t.Errorf("%d backups were fetched for %d guests and a host, of %d", len(fetched.Snapshots), guests, len(live.Snapshots))
	}
}

func (h *newHost) sameGuest(live *pbs.Datastore, s *pbs.Snapshot, dir string) {
	t := h.t
	t.Helper()
	for _, f := range s.Files {
		if name, is := strings.CutSuffix(f.Name, ".fidx"); is {
			image, err := os.Create(filepath.Join(t.TempDir(), "image"))
			must(t, err)
			must(t, live.WriteImage(s, f.Name, image))
			must(t, image.Close())
			if was, is := headHash(t, image.Name()), headHash(t, filepath.Join(dir, name)); was != is {
				t.Errorf("guest %s: %s came back as %s, it was %s", s.ID, name, is, was)
			}
			continue
		}
		if f.Name == "index.json.blob" {
			continue // notes and verifications are written into it later
		}
		was, err := live.Read(s, f.Name)
		must(t, err)
		if is, err := os.ReadFile(filepath.Join(dir, f.Name)); err != nil || !bytes.Equal(was, is) {
			t.Errorf("guest %s: %s came back as %d bytes, it was %d: %v", s.ID, f.Name, len(is), len(was), err)
		}
	}
}

// databasesAreBack compares the rows of every table with the lab's own server.
func (h *newHost) databasesAreBack() {
	t := h.t
	t.Helper()
	text, err := os.ReadFile(h.lab.ConfigPath())
	must(t, err)
	port := regexp.MustCompile(`dsn = "host=127.0.0.1 port=(\d+)`).FindStringSubmatch(string(text))
	if port == nil {
		t.Fatalf("no port in %s", text)
	}
	for database, tables := range map[string][]string{"openprod": {"product", "document"}, "jasper": {"report"}} {
		for _, table := range tables {
			query := fmt.Sprintf("SELECT count(*) || ' rows ' || md5(string_agg(t::text, '|' ORDER BY t::text)) FROM %s t", table)
			was := h.shell("psql -h %s -p %s -U postgres -d %s -Atc %q", filepath.Join(h.lab.Dir(), "run"), port[1], database, query)
			is := h.shell("psql -h %s -p %s -U postgres -d %s -Atc %q", h.at("pg", "run"), h.pgPort, database, query)
			if was != is || strings.HasPrefix(is, "0 ") {
				t.Errorf("%s.%s: %s, and it was %s", database, table, is, was)
			}
		}
	}
}

// loss is what a scenario was announced to lose, and when.
type loss struct {
	seconds float64
	at      time.Time
}

func announcedLoss(t *testing.T, path, scenario string) loss {
	t.Helper()
	var said struct {
		Generated time.Time `json:"generated_at"`
		Scenarios []struct {
			Name string   `json:"name"`
			RPO  *float64 `json:"rpo_seconds"`
		} `json:"scenarios"`
	}
	must(t, json.Unmarshal([]byte(try(t, "--config", path, "check", "--format", "json").out), &said))
	for _, s := range said.Scenarios {
		if s.Name == scenario && s.RPO != nil {
			return loss{*s.RPO, said.Generated}
		}
	}
	t.Fatalf("no loss is announced for %s: %+v", scenario, said)
	return loss{}
}

func mapValues[K comparable, V any](m map[K]V) (all []V) {
	for _, v := range m {
		all = append(all, v)
	}
	return all
}

// The same by the command: named targets into a directory of their own, each
// compared with what it was.
func TestSiteLossByCommand(t *testing.T) {
	t.Parallel()
	l := whole(t)
	b := &bench{t: t, lab: l, config: config(t, l), program: cairn}
	b.state = filepath.Join(filepath.Dir(b.config), "state")
	must(t, os.MkdirAll(b.state, 0o750))
	t.Cleanup(b.endWorkers)
	store, documents := filepath.Join(l.USB(), "pbs"), filepath.Join(l.Dir(), "host", "srv", "ged")
	taken, image := diskOf(t, store, "100", 9)
	dir := filepath.Join(inMemory(t), "rescue")
	b.must(65, "restore", "site-loss", "nobody", "--target", dir)
	announced, _ := plannedOf(t, b.must(0, "restore", "site-loss", "web01", "erp/openprod", documents, "--target", dir, "--plan", "--format", "json"))
	if !strings.Contains(announced, taken.Local().Format("2006-01-02 15:04:05")) {
		t.Errorf("announced: %s; the backup is of %s", announced, taken)
	}
	b.must(0, "restore", "site-loss", "web01", "erp/openprod", documents, "--target", dir)
	made, err := pbs.TakeOver("usb", filepath.Join(dir, store), owner())
	must(t, err)
	if len(made.Snapshots) != 1 || made.Snapshots[0].Time != taken.Unix() || imageOf(t, made, made.Snapshots[0]) != image {
		t.Errorf("came back: %+v", made.Snapshots)
	}
	if was, is := treeHash(t, documents), treeHash(t, filepath.Join(dir, documents)); was != is {
		t.Errorf("the documents: %s, and they were %s", is, was)
	}
	dumps := filepath.Join(l.USB(), "pg", "erp")
	back, err := os.ReadDir(filepath.Join(dir, dumps))
	must(t, err)
	if len(back) != 2 {
		t.Errorf("of the dumps came back %v", back)
	}
	for _, e := range back { // the newest dump of that time, and its globals
		was, err := os.ReadFile(filepath.Join(dumps, e.Name()))
		must(t, err)
		if is, err := os.ReadFile(filepath.Join(dir, dumps, e.Name())); err != nil || !bytes.Equal(is, was) {
			t.Errorf("%s: %d bytes, %v", e.Name(), len(is), err)
		}
	}
}

// owner is who a fetched datastore belongs to: the user backup, where we are root.
func owner() int {
	if os.Geteuid() == 0 {
		return backupUser
	}
	return os.Geteuid()
}

// The worker dies when it has begun to fetch: resumed, the end is the same.
func TestAFetchFromOffSiteThatIsKilledGoesOn(t *testing.T) {
	t.Parallel()
	l := whole(t)
	store := filepath.Join(l.USB(), "pbs")
	taken, image := diskOf(t, store, "101", 9)
	b := (&bench{t: t, lab: l, config: config(t, l)}).withFaults()
	b.state = filepath.Join(filepath.Dir(b.config), "state")
	must(t, os.MkdirAll(b.state, 0o750))
	t.Cleanup(b.endWorkers)
	dir := filepath.Join(inMemory(t), "rescue")
	write(t, filepath.Join(b.state, "die-after"), "2") // started, and the intent to fetch
	id := idIn(t, b.must(75, "restore", "site-loss", "101", "--target", dir).err)
	b.must(0, "operation", "resume", id)
	b.want(id, "done")
	made, err := pbs.TakeOver("usb", filepath.Join(dir, store), owner())
	must(t, err)
	if len(made.Snapshots) != 1 || made.Snapshots[0].Time != taken.Unix() || imageOf(t, made, made.Snapshots[0]) != image {
		t.Errorf("came back: %+v", made.Snapshots)
	}
}
