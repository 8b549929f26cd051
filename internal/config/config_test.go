package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cairn/internal/backup"
	"cairn/internal/testkit"
)

// sekrit stands wherever a test puts a secret in the wrong place.
const sekrit = "hunter22"

const hex32 = "0A:1B:2C:3D:4E:5F:60:71:82:93:A4:B5:C6:D7:E8:F9:0A:1B:2C:3D:4E:5F:60:71:82:93:A4:B5:C6:D7:E8:F9"

const proxmoxHome = `[proxmox.home]
urls = ["https://pve1.lan:8006"]
token_id = "cairn@pve!read"
token_secret = { env = "PVE" }
`

const resticUSB = `[restic.usb]
repository = "/mnt/usb/restic"
password = { env = "R" }
`

func TestMistakes(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"empty", "", "1: proxmox: nothing to watch"},
		{"only a title", "\ntitle = \"x\"\n", "1: proxmox: nothing to watch"},
		{"syntax", resticUSB + "paths = [\n\"/etc\"\n[disk.usb]\n", "6: restic.usb.paths: "},
		{"password without quotes", resticUSB + "password = hunter22\n", "4: "},
		{"twice", resticUSB + "[restic.usb]\n", "4: restic.usb: "},
		{"unknown table", "[postgre.erp]\n" + resticUSB, "1: postgre: is no table or key that cairn knows; did you mean postgres?"},
		{"unknown key", resticUSB + "repo = \"/x\"\n", "4: restic.usb.repo: is no key that cairn knows; did you mean repository?"},
		{"unknown key, dashed", resticUSB + "copy-from = \"x\"\n", "4: restic.usb.copy-from: is no key that cairn knows; did you mean copy_from?"},
		{"unknown key in capitals", resticUSB + "Every = \"24h\"\n", "did you mean every?"},
		{"unknown key of an inline table", resticUSB + "\nkeep = { days = 5 }\n", "5: restic.usb.keep.days: is no key that cairn knows; known here: daily, "},
		{"dotted key", resticUSB + "keep.daly = 5\n", "4: restic.usb.keep.daly: is no key that cairn knows; did you mean daily?"},
		{"quoted keys", proxmoxHome + "[guest.\"home/101\"]\nrto = \"x y\"\n", "6: guest.\"home/101\".rto: \"x y\" is no duration; write for example"},
		{"reserved", resticUSB + "[host.nas]\nssh = \"nas\"\n", "4: host.nas: is reserved"},

		{"type: text for number", resticUSB + "keep = { daily = \"5\" }\n", "4: restic.usb.keep.daily: is text, but must be a whole number without quotes"},
		{"type: text for list", resticUSB + "paths = \"/etc\"\n", `4: restic.usb.paths: is text, but must be a list: ["…", "…"]`},
		{"type: table for list", resticUSB + "paths = { a = 1 }\n", "4: restic.usb.paths: is a table, but must be a list"},
		{"type: number in list", resticUSB + "paths = [\"/etc\", 5]\n", "4: restic.usb.paths[2]: is a whole number, but must be text"},
		{"type: number for table", "pbs = 5\n" + resticUSB, "1: pbs: is a whole number, but must be a table"},
		{"type: text for a named table", "pbs.nas = \"x\"\n" + resticUSB, "1: pbs.nas: is text, but must be a table"},
		{"type: date", "title = 2026-11-21\n" + resticUSB, "1: title: is a date or time, but must be text"},
		{"type: text for true", "read_only = \"yes\"\n" + resticUSB, "1: read_only: is text, but must be true or false"},
		{"type: number for duration", resticUSB + "every = 24\n", "4: restic.usb.every: \"24\" is no duration; write for example"},
		{"type: table for duration", resticUSB + "every = { h = 1 }\n", "4: restic.usb.every: is a table, but must be text"},
		{"type: unit of a disk", "[disk.usb]\nmount = \"/m\"\ndisks = [\"a\"]\n", "3: disk.usb.disks[1]: is text, but must be a table"},

		{"a secret itself", "[restic.usb]\nrepository = \"/r\"\npassword = \"hunter22\"\n", "3: restic.usb.password: is text, where a secret may not stand itself; write where it is read from"},
		{"no secret", "[restic.usb]\nrepository = \"/r\"\n", "1: restic.usb.password: is missing"},
		{"an empty secret", "[restic.usb]\nrepository = \"/r\"\npassword = {}\n", "3: restic.usb.password: is missing"},
		{"an empty optional secret", "[postgres.a]\ndsn = \"host=a\"\npassword = {}\n", "3: postgres.a.password: is missing"},
		{"two places", "[restic.usb]\nrepository = \"/r\"\npassword = { env = \"A\", ask = true }\n", "3: restic.usb.password: names several places"},
		{"two places, a file", "[restic.usb]\nrepository = \"/r\"\npassword = { file = \"/a\", env = \"A\" }\n", "3: restic.usb.password: names several places"},
		{"relative secret file", "[restic.usb]\nrepository = \"/r\"\npassword = { file = \"a\" }\n", "3: restic.usb.password.file: is no absolute path"},
		{"the value for the variable", "[restic.usb]\nrepository = \"/r\"\npassword = { env = \"hunter22!\" }\n", "3: restic.usb.password.env: is no name"},
		{"credential with a directory", "[restic.usb]\nrepository = \"/r\"\npassword = { credential = \"../x\" }\n", "3: restic.usb.password.credential: is no name"},
		{"empty command", "[restic.usb]\nrepository = \"/r\"\npassword = { command = [\"\"] }\n", "3: restic.usb.password.command: names no program"},

		{"name in capitals", "[restic.USB]\nrepository = \"/r\"\npassword = { ask = true }\n", "1: restic.USB: is no name"},
		{"theme", "theme = \"blue\"\n" + resticUSB, "1: theme: is no theme"},
		{"time zone", "timezone = \"Mars\"\n" + resticUSB, "1: timezone: is no time zone"},
		{"state_dir", "state_dir = \"x\"\n" + resticUSB, "1: state_dir: is no absolute path"},

		{"no urls", "[proxmox.home]\ntoken_id = \"a@pve!b\"\ntoken_secret = { ask = true }\n", "1: proxmox.home.urls: is missing"},
		{"http", strings.Replace(proxmoxHome, "https", "http", 1), "2: proxmox.home.urls[1]: does not begin with https://"},
		{"url with password", strings.Replace(proxmoxHome, "pve1", "root:hunter22@pve1", 1), "2: proxmox.home.urls[1]: holds a user"},
		{"url with path", strings.Replace(proxmoxHome, "8006", "8006/api2/json", 1), "2: proxmox.home.urls[1]: goes on after"},
		{"url without a port", strings.Replace(proxmoxHome, ":8006", "", 1), "2: proxmox.home.urls[1]: names no port"},
		{"url of the other product", strings.Replace(proxmoxHome, "8006", "8007", 1), "2: proxmox.home.urls[1]: is the port of Proxmox Backup Server"},
		{"a device for a mount point", "[disk.usb]\nmount = \"/dev/sdb1\"\n", "2: disk.usb.mount: is a device"},
		{"url of nothing", strings.Replace(proxmoxHome, "https://pve1.lan:8006", "pve1", 1), "2: proxmox.home.urls[1]: is no URL"},
		{"url with a bad port", strings.Replace(proxmoxHome, "8006", "hunter22", 1), "2: proxmox.home.urls[1]: is no URL"},
		{"fingerprint", proxmoxHome + "fingerprints = [\"" + hex32 + "\", \"AB:CD\"]\n", "5: proxmox.home.fingerprints[2]: is no SHA-256"},
		{"token with its secret", strings.Replace(proxmoxHome, "!read", "!read=hunter22", 1), "3: proxmox.home.token_id: holds more"},
		{"token without name", strings.Replace(proxmoxHome, "!read", "", 1), "3: proxmox.home.token_id: is no id"},
		{"act", proxmoxHome + "act = { token_id = \"x\" }\n", "5: proxmox.home.act.token_id: is no id"},
		{"act without a secret", proxmoxHome + "act = { token_id = \"a@pve!b\" }\n", "5: proxmox.home.act.token_secret: is missing"},

		{"guest without cluster", proxmoxHome + "[guest.101]\n", "5: guest.101: names no guest"},
		{"guest of nothing", proxmoxHome + "[guest.\"hone/101\"]\n", "5: guest.\"hone/101\": there is no [proxmox.hone]; add the table, or name one that exists: home"},
		{"check_port", proxmoxHome + "[guest.\"home/101\"]\ncheck_port = 70000\n", "6: guest.\"home/101\".check_port: is no TCP port"},
		{"priority", proxmoxHome + "[guest.\"home/101\"]\npriority = -1\n", "6: guest.\"home/101\".priority: is negative"},

		{"pbs storage of nothing", pbsNAS("proxmox_storages = [\"home/pbs\"]"), "6: pbs.nas.proxmox_storages[1]: there is no [proxmox.home]; add the table"},
		{"pbs storage", pbsNAS("proxmox_storages = [\"pbs\"]"), "6: pbs.nas.proxmox_storages[1]: names no storage"},
		{"pbs namespace", pbsNAS("namespaces = [\"\", \"**\", \"lab\", \"lab/**\", \"/lab\"]"), "6: pbs.nas.namespaces[5]: is no namespace"},
		{"pbs namespace pattern", pbsNAS("namespaces = [\"la*\"]"), "6: pbs.nas.namespaces[1]: is no namespace"},
		{"pbs datastore path", strings.Replace(pbsNAS(""), `datastore = "usb"`, `datastore = "/mnt/usb"`, 1), "5: pbs.nas.datastore: is no name"},
		{"pbs disk", pbsNAS("disk = \"usb\""), "6: pbs.nas.disk: there is no [disk.usb]; add the table"},
		{"pbs elsewhere", pbsNAS("disk = \"usb\"\npath = \"/mnt/usb2/pbs\"\n[disk.usb]\nmount = \"/mnt/usb\""), "7: pbs.nas.path: does not lie on disk usb"},
		{"negative keep", pbsNAS("keep = { daily = -1 }"), "6: pbs.nas.keep.daily: is negative"},
		{"grace alone", pbsNAS("grace = \"1h\""), "6: pbs.nas.grace: has no meaning without every"},
		{"negative duration", pbsNAS("every = \"-1h\""), "6: pbs.nas.every: \"-1h\" is no duration; write"},

		{"relative repository", strings.Replace(resticUSB, "/mnt/usb/restic", "restic", 1), "2: restic.usb.repository: is no absolute path"},
		{"paths and copy_from", resticUSB + "paths = [\"/etc\"]\ncopy_from = \"usb\"\n", "5: restic.usb.copy_from: stands beside paths"},
		{"copy_from nothing", resticUSB + "copy_from = \"cloud\"\n", "4: restic.usb.copy_from: there is no [restic.cloud]"},
		{"copy_from itself", resticUSB + "copy_from = \"usb\"\n", "4: restic.usb.copy_from: copies go in a circle: usb from usb"},
		{"copy circle", resticUSB + "copy_from = \"b\"\n" + strings.Replace(resticUSB, "usb]", "b]", 1) + "copy_from = \"usb\"\n", "copies go in a circle: b from usb from b"},
		{"own variable", resticUSB + "env = { RESTIC_PASSWORD = { ask = true } }\n", "4: restic.usb.env.RESTIC_PASSWORD: is set by cairn itself"},
		{"env text", resticUSB + "env = { AWS_SECRET_ACCESS_KEY = \"hunter22\" }\n", "4: restic.usb.env.AWS_SECRET_ACCESS_KEY: is text, where a secret may not stand itself"},
		{"run_by nobody", resticUSB + "run_by = {}\n", "4: restic.usb.run_by.unit: is missing"},

		{"dsn with password", "[postgres.a]\ndsn = \"host=a password=hunter22\"\n", "2: postgres.a.dsn: holds a password"},
		{"dsn typo", "[postgres.a]\ndsn = \"hots=a\"\n", "2: postgres.a.dsn: holds the key \"hots\""},
		{"standby dsn", "[postgres.a]\ndsn = \"host=a\"\nstandbys = [\"host=b\", \"postgres://u:hunter22@c\"]\n", "3: postgres.a.standbys[2]: holds a password"},
		{"dump without dir", "[postgres.a]\ndsn = \"host=a\"\ndump = { every = \"24h\" }\n", "3: postgres.a.dump.dir: is missing"},
		{"dump format", "[postgres.a]\ndsn = \"host=a\"\n[postgres.a.dump]\ndir = \"/d\"\nformat = \"tar\"\n", "5: postgres.a.dump.format: is no format"},
		{"dump databases", "[postgres.a]\ndsn = \"host=a\"\ndump = { dir = \"/d\", databases = [\"x\", \"x\"] }\n", "3: postgres.a.dump.databases[2]: is empty or stands there twice"},
		{"dump keep", "[postgres.a]\ndsn = \"host=a\"\ndump = { dir = \"/d\", keep = { yearly = -7 } }\n", "3: postgres.a.dump.keep.yearly: is negative"},

		{"fill over 1", "[disk.usb]\nmount = \"/m\"\nfill = { warning = 80 }\n", "3: disk.usb.fill.warning: is not between 0 and 1"},
		{"fill nan", "[disk.usb]\nmount = \"/m\"\nfill = { critical = nan }\n", "3: disk.usb.fill.critical: is not between"},
		{"fill crossed", "[disk.usb]\nmount = \"/m\"\nfill = { warning = 0.95 }\n", "3: disk.usb.fill: warns at a level"},
		{"mount twice", "[disk.a]\nmount = \"/m\"\n[disk.b]\nmount = \"/m/\"\n", "4: disk.b.mount: is the mount point of [disk.a] too"},
		{"no uuid", "[disk.a]\nmount = \"/m\"\ndisks = [ { name = \"a\" } ]\n", "3: disk.a.disks[1].uuid: is missing"},
		{"unit twice", "[disk.a]\nmount = \"/m\"\n[[disk.a.disks]]\nname = \"a\"\nuuid = \"1\"\n[[disk.a.disks]]\nname = \"a\"\nuuid = \"2\"\n", "7: disk.a.disks[2].name: stands there twice"},
		{"uuid twice", "[disk.a]\nmount = \"/m\"\n[[disk.a.disks]]\nname = \"a\"\nuuid = \"x1\"\n[[disk.a.disks]]\nname = \"b\"\nuuid = \"X1\"\n", "8: disk.a.disks[2].uuid: is that of disk.a.disks[1] too"},
		{"the first of two units", "[disk.a]\nmount = \"/m\"\n[[disk.a.disks]]\nname = \"a\"\nuuid = 5\n[[disk.a.disks]]\nname = \"b\"\nuuid = \"2\"\n", "5: disk.a.disks[1].uuid: is a whole number"},

		{"no members", resticUSB + "[asset.x]\n", "4: asset.x.members: is missing or empty"},
		{"member of nothing", resticUSB + "[asset.x]\nmembers = [\"path:/srv\", \"postgres.erp/a\"]\n", "5: asset.x.members[2]: there is no [postgres.erp]"},
		{"member guest", resticUSB + "[asset.x]\nmembers = [\"guest:home/a\"]\n", "5: asset.x.members[1]: names no guest"},
		{"member asset", resticUSB + "[asset.x]\nmembers = [\"asset.y\"]\n", "5: asset.x.members[1]: there is no [asset.y]; add the table, or name one that exists: x"},
		{"member itself", resticUSB + "[asset.x]\nmembers = [\"asset.y\"]\n[asset.y]\nmembers = [\"asset.x\"]\n", "5: asset.x.members: the asset contains itself"},
		{"member nonsense", resticUSB + "[asset.x]\nmembers = [\"srv\"]\n", "5: asset.x.members[1]: asset \"srv\"; write guest:CLUSTER/VMID"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Parse("f", []byte(c.text))
			var all *Errors
			if !errors.As(err, &all) {
				t.Fatalf("got %v, want mistakes", err)
			}
			if !strings.Contains("\n"+err.Error(), c.want) || !strings.Contains(err.Error(), "f:"+strings.SplitN(c.want, ":", 2)[0]) && c.want[0] <= '9' {
				t.Errorf("got\n%v\nwant\n%s", err, c.want)
			}
			if strings.Contains(err.Error(), sekrit) {
				t.Errorf("a secret is printed:\n%v", err)
			}
		})
	}
}

func pbsNAS(more string) string {
	return `[pbs.nas]
url = "https://nas.lan:8007"
token_id = "cairn@pbs!read"
token_secret = { credential = "pbs" }
datastore = "usb"
` + more + "\n"
}

func TestAllMistakesAtOnce(t *testing.T) {
	text := `titel = "x"
[proxmox.home]
urls = "https://pve1"
token_id = 5
[restic.usb]
repository = "/r"
every = "soon"
keep = { daily = "x", weekly = -1 }
`
	_, err := Parse("/etc/c.toml", []byte(text))
	want := `/etc/c.toml:1: titel: is no table or key that cairn knows; did you mean title?
/etc/c.toml:2: proxmox.home.token_secret: is missing; write where
/etc/c.toml:3: proxmox.home.urls: is text, but must be a list: ["…", "…"]
/etc/c.toml:4: proxmox.home.token_id: is a whole number, but must be text in quotes
/etc/c.toml:5: restic.usb.password: is missing; write where
/etc/c.toml:7: restic.usb.every: "soon" is no duration; write for example
/etc/c.toml:8: restic.usb.keep.daily: is text, but must be
/etc/c.toml:8: restic.usb.keep.weekly: is negative; write`
	got, wanted := strings.Split(fmt.Sprint(err), "\n"), strings.Split(want, "\n")
	if len(got) != len(wanted) {
		t.Fatalf("got %d mistakes, want %d:\n%v", len(got), len(wanted), err)
	}
	for i := range got {
		if !strings.HasPrefix(got[i], wanted[i]) {
			t.Errorf("got  %s\nwant %s", got[i], wanted[i])
		}
	}
}

// example returns config.example.toml with its secrets in dir.
func example(t *testing.T, dir string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(testkit.Root(t), "config.example.toml"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(text), `file = "/etc/cairn/`, `file = "`+dir+"/")
}

func write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

func TestExampleLoads(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "config.toml")
	write(t, path, example(t, dir), 0o644)
	_, err := Load(path)
	if err == nil || !strings.Contains(err.Error(), "restic.usb.password.file: ") {
		t.Errorf("secret files that don't exist: %v", err)
	}
	for _, name := range []string{"pve-read", "pbs-read", "restic-usb", "restic-cloud", "s3-id", "s3-key", "pg"} {
		write(t, filepath.Join(dir, name), sekrit, 0o600)
	}
	cfg, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Home.String() != "Europe/Paris" || cfg.PBS["nas"].Every.Std() != 24*time.Hour || cfg.Restic["cloud"].RunBy.Unit == "" ||
		len(cfg.Disks["usb"].Disks) != 2 || cfg.Assets["erp"].Members[0] != (backup.AssetID{Kind: backup.Database, Scope: "erp", Name: "openprod"}) ||
		cfg.Proxmox["home"].Act.TokenSecret.Ask != true || cfg.Guests["home/101"].CheckPort != 5432 || cfg.Postgres["erp"].Dump.Keep.Yearly != 7 {
		t.Errorf("got %+v", cfg)
	}
	write(t, filepath.Join(dir, "pg"), sekrit, 0o644)
	_, err = Load(path)
	if err == nil || !strings.Contains(err.Error(), "postgres.erp.password.file: ") || !strings.Contains(err.Error(), "can be read by others") || strings.Contains(err.Error(), sekrit) {
		t.Errorf("a secret that others can read: %v", err)
	}
}

func TestFilesOfTheConfiguration(t *testing.T) {
	dir := t.TempDir()
	path, ca := filepath.Join(dir, "c.toml"), filepath.Join(dir, "ca.pem")
	text := proxmoxHome + `ca_file = "` + ca + `"
[restic.rest]
repository = "rest:https://ana:hunter22@nas.lan:8000/"
password = { ask = true }
`
	write(t, path, text, 0o644)
	write(t, ca, "no certificate", 0o644)
	_, err := Load(path)
	for _, want := range []string{"c.toml:5: proxmox.home.ca_file: holds no certificate", "c.toml:7: restic.rest.repository: holds a password, and others can read this file; chmod 600"} {
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), sekrit) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	write(t, path, strings.Replace(text, `ca_file = "`+ca+`"`, "", 1), 0o600)
	if _, err := Load(path); err != nil {
		t.Error(err)
	}
	if _, err := Load(filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

func TestDefaults(t *testing.T) {
	cfg, err := Parse("f", []byte(resticUSB+pbsNAS("")+"[disk.usb]\nmount = \"/m\"\nfill = { critical = 0.95 }\n[postgres.a]\ndsn = \"host=a\"\n"))
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Restic["usb"].Site != "home" || cfg.PBS["nas"].Site != "home" || cfg.Postgres["a"].Site != "home" {
		t.Error("the site is not home")
	}
	if f := cfg.Disks["usb"].Fill; f.Warning != 0.80 || f.Critical != 0.95 {
		t.Errorf("fill %v", f)
	}
	if cfg.Theme != "auto" || cfg.Home != time.Local || !filepath.IsAbs(cfg.StateDir) {
		t.Errorf("got %+v", cfg)
	}
}

func TestStateDir(t *testing.T) {
	t.Setenv("STATE_DIRECTORY", "/run/a:/run/b")
	if got := stateDir(); got != "/run/a" {
		t.Errorf("systemd's: %s", got)
	}
	t.Setenv("STATE_DIRECTORY", "")
	t.Setenv("XDG_STATE_HOME", "/x")
	want := "/x/cairn"
	if os.Geteuid() == 0 {
		want = "/var/lib/cairn"
	}
	if got := stateDir(); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestFind(t *testing.T) {
	home, etc := t.TempDir(), t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", home)
	_, err := find(etc)
	var none *NoneError
	if !errors.As(err, &none) || len(none.Tried) != 2 || !strings.Contains(err.Error(), "cairn demo") {
		t.Errorf("got %v", err)
	}
	for _, dir := range []string{etc, home} {
		want := filepath.Join(dir, "cairn", "config.toml")
		if err := os.MkdirAll(filepath.Dir(want), 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, want, "", 0o644)
		if got, err := find(etc); got != want || err != nil {
			t.Errorf("got %s, %v, want %s", got, err, want)
		}
	}
}
