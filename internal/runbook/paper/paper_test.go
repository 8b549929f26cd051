package paper

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cairn/checks"
	"cairn/internal/backup"
	"cairn/internal/config"
	"cairn/internal/disk"
	"cairn/internal/runbook/byhand"
	"cairn/internal/runbook/rehearse"
	"cairn/internal/secret"
	"cairn/internal/testkit"
	"cairn/pbs"
	"cairn/pg"
	"cairn/proxmox"
	"cairn/restic"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var printedAt = time.Date(2026, 11, 21, 21, 30, 0, 0, time.UTC)

// aLabOnPaper is a lab with a copy of each kind.
func aLabOnPaper(repository, path string) (*config.Config, checks.Facts, checks.Report) {
	c := &config.Config{Title: "home lab", Home: time.UTC,
		Proxmox: map[string]proxmox.Config{"home": {URLs: []string{"https://pve1.lan:8006"}, TokenSecret: secret.Source{File: "/etc/cairn/pve"}}},
		Guests:  map[string]proxmox.GuestConfig{"home/102": {Priority: 1}},
		PBS: map[string]pbs.Config{"nas": {URL: "https://nas.lan:8007", Fingerprint: "AB:CD", TokenID: "cairn@pbs!read", Datastore: "usb", Path: "/mnt/usb/pbs", Disk: "usb",
			ProxmoxStorages: []string{"home/pbs-usb"}, Keep: backup.Keep{Daily: 5}}},
		Restic: map[string]restic.Config{"usb": {Repository: "/mnt/usb/restic", Password: secret.Source{File: "/etc/cairn/usb"}, Paths: []string{path}, Disk: "usb"},
			"cloud": {Repository: repository, Password: secret.Source{File: "/etc/cairn/cloud"}, CopyFrom: "usb", Site: "s3.example.net",
				Env: map[string]secret.Source{"AWS_SECRET_ACCESS_KEY": {File: "/etc/cairn/s3"}}}},
		Postgres: map[string]pg.Config{"erp": {Dump: &pg.DumpConfig{Databases: []string{"openprod"}, Dir: "/mnt/usb/pg"}}},
		Disks:    map[string]disk.Config{"usb": {Mount: "/mnt/usb", Disks: []disk.Unit{{Name: "a", UUID: "6b1f0c4e"}}}},
		Runbook: config.Runbook{Contacts: []config.Contact{{Name: "Ana", For: "the hypervisors", Reach: "+33 1 23"}},
			Keys: map[string]string{"restic.cloud": "the envelope in the safe"}},
	}
	taken := printedAt.Add(-3 * time.Hour)
	age := 3 * time.Hour
	f := checks.Facts{Proxmox: map[string]backup.Observed[proxmox.Facts]{"home": {At: printedAt, Value: proxmox.Facts{Version: "8.4.21",
		Guests: []proxmox.Guest{{VMID: 101, Name: "web", Node: "pve1", Kind: proxmox.QEMU, Disks: []proxmox.Disk{{Key: "scsi0", Storage: "local-lvm"}}},
			{VMID: 102, Name: "dns", Node: "pve1", Kind: proxmox.LXC, Disks: []proxmox.Disk{{Key: "rootfs", Storage: "local-lvm"}}}},
		Storages: []proxmox.Storage{{Name: "pbs-usb", Node: "pve1", Type: "pbs", Server: "nas.lan", Datastore: "usb", Namespace: "lab"}}}}}}
	held := func(id string, vmid int) checks.Asset {
		return checks.Asset{ID: proxmox.Asset("home", vmid), Name: id, Held: []checks.Held{{Source: "pbs.nas", Taken: taken, Proof: backup.EveryByteRead, ProvedAt: taken}}}
	}
	r := checks.Report{At: printedAt, Assets: []checks.Asset{held("web", 101), held("dns", 102)},
		Tiers:     []checks.Tier{{Tier: 2, Name: "durable local", Sources: []checks.Source{{Name: "pbs.nas", Newest: taken, Stalest: taken, Copies: 9, Word: "ok"}}}},
		Scenarios: []checks.Scenario{{Name: "site-loss", Target: "the site", Method: "from off-site", RPO: &age, RTO: 5 * time.Hour, RTOP90: 9 * time.Hour, Basis: "measured", Runs: 7, Blockers: []string{"2 assets not proven"}}}}
	return c, f, r
}

// A guest that took another's place comes back from what was backed up as the other,
// under its own VMID.
func TestPaperOfASwappedGuest(t *testing.T) {
	c, f, r := aLabOnPaper("s3:https://s3.example.net/lab", "/mnt/usb")
	f.Proxmox["home"].Value.Guests[0].VMID = 111
	r.Assets[0].ID = proxmox.Asset("home", 111)
	r.Assets[0].Held[0].ID = "lab/vm/101/2026-11-21T18:30:00Z"
	text := New(c, f, r, printedAt).Text()
	rehearse.Contains(t, "paper", text, "qmrestore pbs-usb:backup/vm/101/2026-11-21T18:30:00Z 111 --storage local-lvm", `qmrestore "$(newest 101)" 111`, "guest ns/lab/vm/101   # web", "made as VMID 101")
	if strings.Contains(text, "no backup is known") || strings.Contains(text, "newest 111") {
		t.Error(text)
	}
	if strings.Contains(text, "--tags") {
		t.Errorf("nothing is to be tagged:\n%s", text)
	}
	// whose place it took is written down again, on either way back; the tags that its
	// backup has stay
	f.Proxmox["home"].Value.Guests[0].Tags = []string{"prod", "cairn-replaces-101-20261121-1900", "cairn-replaces-100-20261101-0900"}
	text = New(c, f, r, printedAt).Text()
	tag := `qm set 111 --tags "$(qm config 111 | sed -n 's/^tags: //p');cairn-replaces-101-20261121-1900;cairn-replaces-100-20261101-0900"`
	if n := strings.Count(text, tag); n != 2 {
		t.Errorf("it is printed %d times:\n%s", n, text)
	}
	if a, b := strings.Index(text, `qmrestore "$(newest 101)" 111`), strings.Index(text, tag); a < 0 || b < a {
		t.Errorf("the tags at %d, the restore at %d", b, a)
	}
}

func TestPaper(t *testing.T) {
	c, f, r := aLabOnPaper("s3:https://user:hunter2@s3.example.net/lab", "/srv")
	p := New(c, f, r, printedAt)
	for name, text := range map[string]string{"markdown": p.Markdown(), "text": p.Text()} {
		rehearse.Contains(t, name, text, "Written 2026-11-21 21:30 UTC", "Ana", "+33 1 23", "the envelope in the safe", "NOT WRITTEN DOWN", "/etc/pve/priv/storage/pbs-usb.enc",
			"site-loss: the site", "measured, 7 runs", "2 assets not proven", "every byte read", "UUID 6b1f0c4e", "AWS_SECRET_ACCESS_KEY",
			"--path /srv | grep", `restic restore "$SNAPSHOT" --verify --target /srv/rescue --include /srv`,
			"proxmox-backup-manager datastore create usb /mnt/usb/pbs --reuse-datastore true",
			"pvesm add pbs pbs-usb --server nas.lan --datastore usb --username root@pam --password --namespace lab --fingerprint ab:cd",
			"qmrestore pbs-usb:backup/vm/101/2026-11-21T18:30:00Z 101 --storage local-lvm", "pct restore 102 pbs-usb:backup/ct/102/2026-11-21T18:30:00Z --storage local-lvm",
			"cairn restore guest-loss web --plan")
		if strings.Contains(text, "hunter2") {
			t.Errorf("%s holds a secret", name)
		}
		if strings.Index(text, "pct restore 102") > strings.Index(text, "qmrestore pbs-usb:backup/vm/101") {
			t.Errorf("%s: the guest of priority 1 does not come first", name)
		}
	}
	for _, line := range strings.Split(p.Text(), "\n") {
		if strings.HasPrefix(line, "|") {
			t.Errorf("a table in plain text: %s", line)
		}
	}
}

// An empty configuration and a survey that found nothing still give a runbook.
func TestPaperOfNothing(t *testing.T) {
	text := New(&config.Config{}, checks.Facts{}, checks.Report{}, printedAt).Markdown()
	rehearse.Contains(t, "paper", text, "Nobody is named", "THERE IS NO OFF-SITE COPY")
}

func TestPaperIsWrittenWholeOrNotAtAll(t *testing.T) {
	dir := t.TempDir()
	c, f, r := aLabOnPaper("/r", "/srv")
	p := New(c, f, r, printedAt)
	path := filepath.Join(dir, "RUNBOOK.md")
	if err := p.Write(path); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil || string(text) != p.Markdown() {
		t.Errorf("%v: %s", err, text)
	}
	if err := p.Write(filepath.Join(dir, "away", "RUNBOOK.md")); err == nil {
		t.Error("a directory that is not there was made")
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("left %v, %v", left, err)
	}
}

// The commands that lay the off-site copy down are run as printed, from an empty
// tree, with nothing but the repository and its key.
func TestTheOffSiteCommandsWorkAsPrinted(t *testing.T) {
	program, err := exec.LookPath("restic")
	if err != nil {
		testkit.Need(t, "restic")
	}
	dir := t.TempDir()
	data, key := filepath.Join(dir, "srv", "what is mine"), filepath.Join(dir, "key")
	repository, target := filepath.Join(dir, "cloud's"), filepath.Join(dir, "rescue")
	for _, step := range []error{os.MkdirAll(data, 0o755), os.WriteFile(filepath.Join(data, "a.txt"), []byte("content"), 0o644), os.WriteFile(key, []byte("secret\n"), 0o600)} {
		if step != nil {
			t.Fatal(step)
		}
	}
	shell := func(command string) {
		t.Helper()
		run := exec.CommandContext(t.Context(), "bash", "-ec", command)
		run.Env = append(os.Environ(), "RESTIC_CACHE_DIR="+filepath.Join(dir, "cache"), "AWS_SECRET_ACCESS_KEY=x")
		if out, err := run.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", command, err, out)
		}
	}
	shell(program + " -r " + byhand.Quoted(repository) + " --password-file " + key + " init")
	shell(program + " -r " + byhand.Quoted(repository) + " --password-file " + key + " backup " + byhand.Quoted(data))
	c, f, r := aLabOnPaper(repository, data)
	var printed []string
	for _, b := range New(c, f, r, printedAt) {
		if strings.HasPrefix(b.Title, "1. ") || strings.HasPrefix(b.Title, "2. ") || strings.HasPrefix(b.Title, "8. ") {
			printed = append(printed, b.Commands...)
		}
	}
	// only where things lie is put in place: the host's own directories stay as they are
	shell(strings.NewReplacer("/root/restic-cloud.key", key, byhand.Rescue, target).Replace(strings.Join(printed, "\n")))
	back, err := os.ReadFile(filepath.Join(target, data, "a.txt"))
	if err != nil || string(back) != "content" {
		t.Errorf("came back: %q, %v", back, err)
	}
}

func TestQuoted(t *testing.T) {
	for word, want := range map[string]string{"/srv/a": "/srv/a", "": "''", "a b": "'a b'", "it's": `'it'\''s'`, "$(x)": "'$(x)'", "cairn@pbs!read": "'cairn@pbs!read'"} {
		if got := byhand.Quoted(word); got != want {
			t.Errorf("%q: %s, want %s", word, got, want)
		}
	}
}

func TestGroupsOfBackups(t *testing.T) {
	for id, want := range map[string]string{"vm/101/2026-01-02T03:04:05Z": "vm/101", "a/b/ct/7/2026-01-02T03:04:05Z": "ns/a/ns/b/ct/7", "host/pve1/x": "host/pve1", "x": "."} {
		if got := groupDir(id); got != want && !(id == "x" && got == "") {
			t.Errorf("%s: %s, want %s", id, got, want)
		}
	}
}
