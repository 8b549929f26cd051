package lab

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"cairn/internal/command"
	"cairn/internal/lab/pbs"
	"cairn/internal/lab/pve"
	"cairn/internal/testkit"
)

func loopsOf(dir string) []string {
	var found []string
	files, _ := filepath.Glob("/sys/block/loop*/loop/backing_file")
	for _, f := range files {
		if text, err := os.ReadFile(f); err == nil && strings.HasPrefix(string(text), dir) {
			found = append(found, f)
		}
	}
	return found
}

func processesOf(dir string) []int {
	var found []int
	files, _ := filepath.Glob("/proc/[0-9]*")
	for _, f := range files {
		if pid, err := strconv.Atoi(filepath.Base(f)); err == nil && pid != os.Getpid() && runsWith(pid, dir) {
			found = append(found, pid)
		}
	}
	return found
}

// get reads one answer of a server of the lab.
func get(t *testing.T, url, authorization string, into any) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}}
	r, err := http.NewRequestWithContext(t.Context(), "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", authorization)
	answer, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != 200 {
		t.Fatalf("%s: %s %s %v", url, answer.Status, body, err)
	}
	envelope := struct{ Data any }{into}
	if err := json.Unmarshal(body, &envelope); err != nil {
		t.Fatalf("%s: %v", url, err)
	}
}

func (l *Lab) pveGet(t *testing.T, path string, into any) {
	t.Helper()
	get(t, l.PVE.URL()+"/api2/json"+path, "PVEAPIToken=cairn@pve!read="+l.secret("pve-read"), into)
}

func (l *Lab) pbsGet(t *testing.T, path string, into any) {
	t.Helper()
	get(t, l.PBS.URL()+"/api2/json"+path, "PBSAPIToken=cairn@pbs!read:"+l.secret("pbs-read"), into)
}

type backupRow struct {
	Type  string `json:"backup-type"`
	ID    string `json:"backup-id"`
	Time  int64  `json:"backup-time"`
	Size  *int64
	Files []struct{ Filename string }
}

func TestServersAloneStartAtOnce(t *testing.T) {
	began := time.Now()
	l, err := Start(t.Context(), Options{Parts: Servers, Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	took := time.Since(began)
	defer func() {
		if err := l.Stop(); err != nil {
			t.Error(err)
		}
	}()
	t.Logf("started in %s", took)
	if took > 30*time.Second { // 0.2 s on a machine that is not busy
		t.Errorf("it took %s", took)
	}
	var version struct{ Version string }
	l.pbsGet(t, "/version", &version)
	if version.Version == "" {
		t.Error("PBS has no version")
	}
	text, err := os.ReadFile(l.ConfigPath())
	if err != nil {
		t.Fatal(err)
	}
	for _, absent := range []string{"[restic", "[postgres", "[disk", "path ="} {
		if strings.Contains(string(text), absent) {
			t.Errorf("the configuration names %s, which is not there", absent)
		}
	}
}

// The backups that PBS tells of are those that PVE sees on its storage.
func TestServersAgree(t *testing.T) {
	l := whole(t)
	var direct []backupRow
	l.pbsGet(t, "/admin/datastore/usb/snapshots?ns=home", &direct)
	var through []struct {
		Volid string
		Size  int64
	}
	l.pveGet(t, "/nodes/pve1/storage/pbs-usb/content?content=backup", &through)
	sizes := map[string]int64{}
	for _, row := range through {
		sizes[row.Volid] = row.Size
	}
	if len(direct) == 0 || len(direct) != len(through) {
		t.Fatalf("PBS has %d backup snapshots, PVE sees %d", len(direct), len(through))
	}
	for _, row := range direct {
		id := fmt.Sprintf("pbs-usb:backup/%s/%s/%s", row.Type, row.ID, time.Unix(row.Time, 0).UTC().Format(time.RFC3339))
		want := int64(1) // in flight
		if row.Size != nil {
			want = *row.Size
		}
		if got, ok := sizes[id]; !ok || got != want {
			t.Errorf("%s: %d bytes through PVE (%v), %d in PBS", id, got, ok, want)
		}
	}
}

func TestGuestsOfEveryKind(t *testing.T) {
	l := whole(t)
	var guests []struct {
		VMID     int
		Type     string
		Node     string
		Template int
	}
	l.pveGet(t, "/cluster/resources?type=vm", &guests)
	seen := map[string]int{}
	for _, g := range guests {
		seen[g.Type]++
		seen[g.Node]++
		seen["template"] += g.Template
	}
	if len(guests) != 12 || seen["qemu"] == 0 || seen["lxc"] == 0 || seen["pve1"] == 0 || seen["pve2"] == 0 || seen["template"] != 1 {
		t.Errorf("guests: %v", guests)
	}
	var backups []backupRow
	l.pbsGet(t, "/admin/datastore/usb/snapshots?ns=home", &backups)
	whole, flying := map[string]int{}, 0
	for _, b := range backups {
		if b.Size == nil {
			flying++
		} else {
			whole[b.ID]++
		}
	}
	if whole["100"] != len(keptNights) || whole["107"] != 5 || whole["110"] != 0 || flying != 1 {
		t.Errorf("whole backups %v, in flight %d", whole, flying)
	}
	var log []struct{ T string }
	var tasks []struct{ UPID, Type, Status string }
	l.pveGet(t, "/nodes/pve1/tasks?typefilter=vzdump&limit=1", &tasks)
	if len(tasks) != 1 || tasks[0].Status != "OK" {
		t.Fatalf("vzdump tasks: %v", tasks)
	}
	l.pveGet(t, "/nodes/pve1/tasks/"+tasks[0].UPID+"/log?limit=0", &log)
	var text strings.Builder
	for _, line := range log {
		text.WriteString(line.T + "\n")
	}
	for _, want := range []string{"INFO: Starting Backup of VM 100 (qemu)", "issuing guest-agent 'fs-freeze' command", "INFO: Finished Backup of VM 105 (00:00:"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the log lacks %q:\n%s", want, text.String())
		}
	}
	if part := text.String()[strings.Index(text.String(), "VM 104"):strings.Index(text.String(), "Finished Backup of VM 104")]; strings.Contains(part, "freeze") {
		t.Error("the guest without an agent was frozen")
	}
}

// What the cluster restores comes from the chunks on disk.
func TestRestoresReadTheDatastore(t *testing.T) {
	l, err := Start(t.Context(), Options{Parts: Servers | Datastore, Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := l.Stop(); err != nil {
			t.Error(err)
		}
	}()
	s := &store{server: l.PBS, images: l.images}
	place := pve.Place{Datastore: datastore, Namespace: namespace}
	var chunk string
	for _, vmid := range []int{100, 105} {
		p := l.partOf(t, vmid)
		id := pve.BackupID{Kind: p.kind, VMID: vmid, Time: p.start}
		image, err := s.Read(place, id)
		if err != nil || image.Disks[p.diskKey()].Content != p.content(p.start) || image.Config["net0"] == "" || image.Disks[p.diskKey()].Size != p.size {
			t.Errorf("guest %d: %+v %v", vmid, image, err)
		}
		chunk = newestChunkOf(t, l, vmid)
	}
	if err := os.Remove(chunk); err != nil {
		t.Fatal(err)
	}
	p := l.partOf(t, 105)
	if _, err := s.Read(place, pve.BackupID{Kind: p.kind, VMID: 105, Time: p.start}); err == nil || !strings.Contains(err.Error(), "chunk") {
		t.Errorf("a backup with a chunk missing was read: %v", err)
	}
	if err := l.PBS.Refuse(true); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Usage(place); err == nil {
		t.Error("a server that refuses has a usage")
	}
}

func (l *Lab) partOf(t *testing.T, vmid int) part {
	t.Helper()
	for _, node := range []string{"pve1", "pve2"} {
		for _, p := range l.home.run(node, 0) {
			if p.vmid == vmid {
				return p
			}
		}
	}
	t.Fatalf("guest %d was not backed up", vmid)
	return part{}
}

// newestChunkOf is the first chunk of the guest's newest backup.
func newestChunkOf(t *testing.T, l *Lab, vmid int) string {
	t.Helper()
	p := l.partOf(t, vmid)
	var path, dir string
	l.PBS.Change(func(w *pbs.World) {
		d := w.Store(datastore)
		s := d.Find(namespace, backupType(p.kind), strconv.Itoa(vmid), p.start.Unix())
		path, dir = d.Dir(s), d.Path
	})
	found, err := filepath.Glob(filepath.Join(path, "*.[fd]idx"))
	if err != nil || len(found) == 0 {
		t.Fatalf("no index in %s: %v", path, err)
	}
	raw, err := os.ReadFile(found[0])
	if err != nil {
		t.Fatal(err)
	}
	digest := raw[4096:4128]
	if strings.HasSuffix(found[0], ".didx") {
		digest = raw[4104:4136]
	}
	return pbs.ChunkPath(dir, hex.EncodeToString(digest))
}

// A backup over the cluster's API lands in the backup server's.
func TestBackupsGoThroughToTheServer(t *testing.T) {
	l, err := Start(t.Context(), Options{Parts: Servers, Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := l.Stop(); err != nil {
			t.Error(err)
		}
	}()
	s := &store{server: l.PBS, images: l.images}
	place := pve.Place{Datastore: datastore, Namespace: namespace}
	id := pve.BackupID{Kind: pve.QEMU, VMID: 110, Time: l.clock.now().Truncate(time.Second)}
	up, err := s.Begin(place, id)
	if err != nil {
		t.Fatal(err)
	}
	rows := func() []backupRow {
		var found []backupRow
		l.pbsGet(t, "/admin/datastore/usb/snapshots?ns=home&backup-id=110", &found)
		return found
	}
	if got := rows(); len(got) != 1 || got[0].Size != nil {
		t.Errorf("while it runs: %+v", got)
	}
	image := pve.Image{Kind: pve.QEMU, VMID: 110, Config: map[string]string{"name": "sandbox"}, Disks: map[string]pve.Volume{"scsi0": {Size: gib, Content: "now"}}}
	if err := up.Commit(pve.Stored{Notes: "safety", Protected: true}, image); err != nil {
		t.Fatal(err)
	}
	if got := rows(); len(got) != 1 || got[0].Size == nil {
		t.Errorf("when it is done: %+v", got)
	}
	if back, err := s.Read(place, id); err != nil || back.Disks["scsi0"].Content != "now" {
		t.Errorf("read back: %+v %v", back, err)
	}
	if err := s.Delete(place, id); err == nil {
		t.Error("a protected backup could be deleted")
	}
}

type resticSnapshot struct {
	ID       string
	Time     time.Time
	Original string
	Paths    []string
}

func (l *Lab) snapshots(t *testing.T, repository string) []resticSnapshot {
	t.Helper()
	r, err := command.Run(t.Context(), command.Spec{Argv: []string{l.repos.program, "-r", repository, "--no-cache", "--no-lock",
		"--password-file", l.secretFile("restic"), "snapshots", "--json"}})
	if err != nil {
		t.Fatal(err)
	}
	var found []resticSnapshot
	if err := json.Unmarshal(r.Stdout, &found); err != nil {
		t.Fatal(err)
	}
	return found
}

func TestRepositoriesAreReal(t *testing.T) {
	l := whole(t)
	usb, cloud := l.snapshots(t, l.repos.usb), l.snapshots(t, l.cloudURL())
	if len(usb) != len(dailyNights)+len(weeklyNights) || len(cloud) != len(weeklyNights) {
		t.Fatalf("%d snapshots on usb, %d in the cloud", len(usb), len(cloud))
	}
	newest := time.Duration(1 << 62)
	for _, s := range cloud {
		newest = min(newest, l.home.now.Sub(s.Time))
		if s.Original == "" {
			t.Errorf("snapshot %s in the cloud is no copy", s.ID)
		}
	}
	if newest < 9*day || newest > 10*day {
		t.Errorf("the newest upload is %s old", newest)
	}
	if !strings.HasPrefix(l.cloudURL(), "rest:http://127.0.0.1:") {
		t.Errorf("the cloud is %s; notes: %v", l.cloudURL(), l.Notes)
	}
}

// What a snapshot in the cloud holds is what was there at its time: a guest
// that is younger has no copy off-site.
func TestTheCloudHoldsWhatWasThere(t *testing.T) {
	l := whole(t)
	var newest resticSnapshot
	for _, s := range l.snapshots(t, l.cloudURL()) {
		if s.Time.After(newest.Time) {
			newest = s
		}
	}
	r, err := command.Run(t.Context(), command.Spec{Argv: []string{l.repos.program, "-r", l.cloudURL(), "--no-cache", "--no-lock",
		"--password-file", l.secretFile("restic"), "ls", newest.ID}})
	if err != nil {
		t.Fatal(err)
	}
	listing := string(r.Stdout)
	old := l.home.run("pve1", 9)[0]
	manifest := filepath.Join(l.dir.at("usb", "pbs"), old.backupSnapshotDir(), "index.json.blob")
	if !strings.Contains(listing, manifest) || !strings.Contains(listing, "/.chunks/bb9f/") {
		t.Errorf("the listing lacks %s or the zero chunk", manifest)
	}
	if strings.Contains(listing, "/ct/107") || strings.Contains(listing, l.home.now.Format("2006-01-02")+"T") {
		t.Error("the listing has backups that were made later")
	}
	if !strings.Contains(listing, "openprod_"+night(l.home.now, 9).Format(time.DateOnly)+".dump") || strings.Contains(listing, "openprod_"+night(l.home.now, 0).Format(time.DateOnly)) {
		t.Error("the listing has not the dumps of its time")
	}
}

func (p part) backupSnapshotDir() string {
	return filepath.Join("ns", namespace, backupType(p.kind), strconv.Itoa(p.vmid), p.start.UTC().Format("2006-01-02T15:04:05Z"))
}

func TestPostgresAnswers(t *testing.T) {
	l := whole(t)
	if l.db == nil {
		testkit.Need(t, strings.Join(l.Notes, " "))
	}
	// Over TCP with the password, as a client would.
	ask := func(statement string) string {
		r, err := command.Run(t.Context(), command.Spec{
			Argv: []string{filepath.Join(l.db.bin, "psql"), "-X", "-A", "-t", "-h", "127.0.0.1", "-p", strconv.Itoa(l.db.port), "-U", "cairn", "-d", "openprod", "-c", statement},
			Env:  []string{"PGPASSWORD=" + l.secret("pg")},
		})
		if err != nil {
			t.Fatalf("%v: %s", err, r.Stderr)
		}
		return strings.TrimSpace(string(r.Stdout))
	}
	if got := ask("SELECT count(*) FROM product"); got != "4000" {
		t.Errorf("%s products", got)
	}
	if got := ask("SELECT failed_count FROM pg_stat_archiver"); got != "0" {
		t.Errorf("%s failures of the archiver", got)
	}
	if got := ask("SHOW archive_mode"); got != "on" {
		t.Errorf("archive_mode is %s", got)
	}
	if _, err := l.db.sql(t.Context(), "openprod", "SELECT 1/0;"); err == nil {
		t.Error("an error of SQL passes unseen")
	}
}

func TestDumpsAreReadable(t *testing.T) {
	l := whole(t)
	if l.db == nil {
		testkit.Need(t, strings.Join(l.Notes, " "))
	}
	at := night(l.home.now, 3)
	path := l.dir.at("usb", "pg", "erp", "openprod_"+at.Format(time.DateOnly)+".dump")
	r, err := command.Run(t.Context(), command.Spec{Argv: []string{filepath.Join(l.db.bin, "pg_restore"), "--list", path}})
	if err != nil {
		t.Fatal(err)
	}
	if want := "Archive created at " + at.Local().Format("2006-01-02 15:04:05"); !strings.Contains(string(r.Stdout), want) {
		t.Errorf("no %q in:\n%.300s", want, r.Stdout)
	}
	r, err = command.Run(t.Context(), command.Spec{Argv: []string{filepath.Join(l.db.bin, "pg_restore"), "-f", "-", path}})
	if err != nil || !bytes.Contains(r.Stdout, []byte("product 4000")) {
		t.Errorf("the dump lacks the data: %v", err)
	}
	bases, err := filepath.Glob(l.dir.at("usb", "pg", "base", "base_*.tar.gz"))
	if err != nil || len(bases) != len(baseNights) {
		t.Errorf("base backups: %v %v", bases, err)
	}
	r, err = command.Run(t.Context(), command.Spec{Argv: []string{"tar", "-xzOf", bases[0], "backup_label"}})
	if want := "START TIME: " + night(l.home.now, 7).UTC().Format("2006-01-02 15:04:05 UTC"); err != nil || !strings.Contains(string(r.Stdout), want) {
		t.Errorf("no %q in %q, %v", want, r.Stdout, err)
	}
}

// As root the USB disk is a file system of its own; else the lab says so.
func TestUSBDisk(t *testing.T) {
	l := whole(t)
	mounts, err := mountsBelow(l.Dir())
	if err != nil {
		t.Fatal(err)
	}
	if len(mounts) == 0 {
		if len(l.Notes) == 0 || !strings.Contains(l.Notes[0], "plain directory") {
			t.Errorf("there is no mount, and the notes do not say so: %v", l.Notes)
		}
		testkit.Need(t, "root and loop devices")
	}
	text, err := os.ReadFile(l.ConfigPath())
	if err != nil {
		t.Fatal(err)
	}
	if l.uuid == "" || !strings.Contains(string(text), l.uuid) {
		t.Errorf("the configuration lacks the UUID %q", l.uuid)
	}
	if _, err := os.Stat("/dev/disk"); err == nil && len(l.uuid) != 36 {
		t.Errorf("UUID %q", l.uuid)
	}
}

func TestSecretsAreTheOwnersOnly(t *testing.T) {
	l := whole(t)
	files, err := filepath.Glob(filepath.Join(l.dir.at("secrets"), "*"))
	if err != nil || len(files) < 6 {
		t.Fatalf("secrets: %v %v", files, err)
	}
	for _, f := range append(files, l.ConfigPath()) {
		info, err := os.Stat(f)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", f, info.Mode())
		}
	}
}

// The clocks of the servers start where they are told to, and run.
func TestClock(t *testing.T) {
	at := time.Date(2026, 3, 29, 0, 30, 0, 0, time.UTC)
	l, err := Start(t.Context(), Options{Parts: Servers, Dir: t.TempDir(), Now: at})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := l.Stop(); err != nil {
			t.Error(err)
		}
	}()
	if gone := l.clock.now().Sub(at); gone < 0 || gone > time.Minute {
		t.Errorf("the clock is %s ahead", gone)
	}
	var rows []backupRow
	l.pbsGet(t, "/admin/datastore/usb/snapshots?ns=home&backup-id=100", &rows)
	for _, row := range rows {
		if age := at.Sub(time.Unix(row.Time, 0)); age < 0 || age > 24*day {
			t.Errorf("a backup of %s ago", age)
		}
	}
}

func TestStopLeavesNothing(t *testing.T) {
	l, err := Start(t.Context(), Options{Parts: Servers | Datastore | USB | Postgres, Dir: anyones(t)})
	if err != nil {
		t.Fatal(err)
	}
	dir := l.Dir()
	if err := l.Stop(); err != nil {
		t.Fatal(err)
	}
	testkit.Until(t, time.Minute, "all of the lab is gone", func() bool { return nothingLeft(dir) == nil })
	if err := l.Stop(); err != nil {
		t.Errorf("a second Stop: %v", err)
	}
}

// A start that fails or is given up leaves nothing either.
func TestAFailedStartLeavesNothing(t *testing.T) {
	parent := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 400*time.Millisecond)
	defer cancel()
	if l, err := Start(ctx, Options{Dir: parent, Cache: t.TempDir()}); err == nil {
		_ = l.Stop()
		t.Fatal("it started within the time")
	}
	testkit.Until(t, time.Minute, "all of the lab is gone", func() bool { return nothingLeft(parent+"/"+prefix) == nil })
	if left, err := filepath.Glob(filepath.Join(parent, "*")); err != nil || len(left) > 0 {
		t.Errorf("left: %v %v", left, err)
	}
}

// Below a directory that is closed to it PostgreSQL cannot run: the lab says so.
func TestAClosedDirectoryIsSaid(t *testing.T) {
	if os.Geteuid() != 0 {
		testkit.Need(t, "root: only then PostgreSQL runs as another user")
	}
	closed := t.TempDir()
	if err := os.Chmod(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := Start(t.Context(), Options{Parts: Servers | Postgres, Dir: closed})
	if err != nil {
		t.Fatal(err)
	}
	if len(l.Notes) != 1 || !strings.Contains(l.Notes[0], "may not enter") {
		t.Errorf("notes: %v", l.Notes)
	}
	if err := l.Stop(); err != nil {
		t.Error(err)
	}
}

// keeper is a lab in a process of its own.
type keeper struct {
	*command.Server
	out *lockedBuffer
}

func (k keeper) lab() string {
	_, rest, _ := strings.Cut(k.out.String(), "config: ")
	return filepath.Dir(strings.TrimSpace(rest))
}

// startChild keeps a lab below dir in a process of its own, started through as.
func startChild(t *testing.T, dir string, parts Part, as ...string) keeper {
	t.Helper()
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "lab-child") // where another user can reach it
	if err := os.WriteFile(program, self, 0o755); err != nil {
		t.Fatal(err)
	}
	k := keeper{out: &lockedBuffer{}}
	k.Server, err = command.Start(command.Spec{
		Argv: append(as, program), Dir: dir, Env: []string{fmt.Sprintf("%s=%d", child, parts), "CAIRN_LAB_TEST_DIR=" + dir},
	}, k.out)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { k.Stop(syscall.SIGTERM, 10*time.Second) })
	testkit.Until(t, 2*time.Minute, "the lab of the child", func() bool {
		select {
		case <-k.Done():
			t.Fatalf("the child ended: %s", k.out)
		default:
		}
		return strings.Contains(k.out.String(), "config: ")
	})
	return k
}

// The next lab clears away what a killed one left: mount, loop device, database.
func TestAKilledLabIsClearedAway(t *testing.T) {
	parent := anyones(t)
	k := startChild(t, parent, Servers|Datastore|USB|Postgres)
	dir := k.lab()
	if err := syscall.Kill(k.Pid(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-k.Done()
	if _, err := os.Stat(dir); err != nil {
		t.Fatalf("a killed lab should leave its directory: %v", err)
	}
	l, err := Start(t.Context(), Options{Parts: Servers, Dir: parent})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := l.Stop(); err != nil {
			t.Error(err)
		}
	}()
	if len(l.Notes) > 0 {
		t.Errorf("notes: %v", l.Notes)
	}
	testkit.Until(t, time.Minute, "all of the killed lab is gone", func() bool { return nothingLeft(dir) == nil })
}

// A lab that lives is left alone by the next one.
func TestALivingLabIsLeftAlone(t *testing.T) {
	parent := t.TempDir()
	k := startChild(t, parent, Servers)
	l, err := Start(t.Context(), Options{Parts: Servers, Dir: parent})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Stop(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(k.lab(), "config.toml")); err != nil {
		t.Error(err)
	}
}

// Without root the USB disk is a directory, the lab says so, and PostgreSQL
// runs as whoever we are.
func TestWithoutRoot(t *testing.T) {
	if os.Geteuid() != 0 {
		testkit.Need(t, "root, to become somebody else")
	}
	parent := anyones(t)
	k := startChild(t, parent, Servers|Datastore|USB|Postgres, "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--")
	if out := k.out.String(); !strings.Contains(out, "plain directory") || strings.Contains(out, "PostgreSQL") {
		t.Errorf("notes: %s", out)
	}
	dir := k.lab()
	text, err := os.ReadFile(filepath.Join(dir, "config.toml"))
	if err != nil || !strings.Contains(string(text), "[postgres.erp]") {
		t.Errorf("configuration: %s %v", text, err)
	}
	k.Stop(syscall.SIGTERM, 10*time.Second)
	testkit.Until(t, time.Minute, "all of the lab is gone", func() bool { return nothingLeft(dir) == nil })
}
