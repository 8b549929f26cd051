package lab

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// writeConfig writes the configuration that reaches all of the lab.
func (l *Lab) writeConfig() error {
	var b strings.Builder
	say := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	q := strconv.Quote
	file := func(secret string) string { return "{ file = " + q(l.secretFile(secret)) + " }" }
	say("# The configuration of a lab that goes away when cairn demo ends.")
	say("title = \"home lab\"")
	say("state_dir = %s", q(l.dir.at("state")))
	say("config_copy = %s", q(l.configCopy("cairn")))
	say("\n[proxmox.home]")
	say("urls = [%s]", q(l.PVE.URL()))
	say("fingerprints = [%s]", q(l.PVE.Fingerprint()))
	say("token_id = \"cairn@pve!read\"\ntoken_secret = %s", file("pve-read"))
	say("act = { token_id = \"cairn@pve!act\", token_secret = %s }", file("pve-act"))
	say("snapshots = { max_age = \"30d\" }\nconfig_copy = %s", q(l.configCopy("pve")))
	say("\n[guest.\"home/100\"]\npriority = 2\nrto = \"15m\"\nrpo = \"30h\"\ncheck_port = 80")
	say("\n[guest.\"home/101\"]\npriority = 1\nrto = \"30m\"\nrpo = \"30h\"\ndatabase = true")
	say("\n[guest.\"home/110\"]\nignore = true")
	say("\n[guest.\"home/900\"]\nignore = true")
	say("\n[pbs.nas]")
	say("url = %s\nfingerprint = %s", q(l.PBS.URL()), q(l.PBS.Fingerprint()))
	say("token_id = \"cairn@pbs!read\"\ntoken_secret = %s", file("pbs-read"))
	say("act = { token_id = \"cairn@pbs!act\", token_secret = %s }", file("pbs-act"))
	say("datastore = %s\nnamespaces = [\"\", \"%s/**\"]", q(datastore), namespace)
	if l.has(Datastore) {
		say("path = %s\ndisk = \"usb\"", q(l.dir.at("usb", "pbs")))
	}
	say("proxmox_storages = [\"home/%s\"]", storage)
	say("every = \"24h\"\nkeep = { daily = 5 }\nverify_max_age = \"30d\"\nconfig_copy = %s", q(l.configCopy("proxmox-backup")))
	l.resticConfig(say, file)
	l.postgresConfig(say, file)
	l.diskConfig(say)
	l.runbookConfig(say)
	if err := os.WriteFile(l.ConfigPath(), []byte(b.String()), 0o600); err != nil {
		return fmt.Errorf("writing the configuration: %w", err)
	}
	return nil
}

// runbookConfig names people and places, as a printed runbook should.
func (l *Lab) runbookConfig(say func(string, ...any)) {
	say("\n[runbook]")
	say("contacts = [ { name = \"Ana\", for = \"the hypervisors\", reach = \"+33 1 23 45 67 89\" } ]")
	say("[runbook.keys]")
	say("\"pbs.nas\" = \"the envelope in the safe: paperkey of %s.enc\"", storage)
	if l.repos != nil {
		say("\"restic.usb\" = \"the envelope in the safe\"\n\"restic.cloud\" = \"the envelope in the safe, and with Ana\"")
	}
}

func (l *Lab) resticConfig(say func(string, ...any), file func(string) string) {
	if l.repos == nil {
		return
	}
	q := strconv.Quote
	var paths []string
	for _, p := range l.sources() {
		paths = append(paths, q(p))
	}
	say("\n[restic.usb]")
	say("repository = %s\npassword = %s", q(l.repos.usb), file("restic"))
	say("binary = %s", q(l.repos.program))
	say("paths = [%s]\ndisk = \"usb\"", strings.Join(paths, ", "))
	say("every = \"24h\"\nkeep = { daily = 5 }")
	say("\n[restic.cloud]")
	say("repository = %s\npassword = %s", q(l.cloudURL()), file("restic"))
	say("binary = %s", q(l.repos.program))
	say("site = \"rest.example.net\"\ncopy_from = \"usb\"")
	say("every = \"7d\"\nkeep = { weekly = 4 }")
}

func (l *Lab) postgresConfig(say func(string, ...any), file func(string) string) {
	if l.db == nil {
		return
	}
	q := strconv.Quote
	at := func(name string) string { return q(l.dir.at("usb", "pg", name)) }
	say("\n[postgres.erp]")
	say("dsn = \"host=127.0.0.1 port=%d user=cairn dbname=postgres\"\npassword = %s", l.db.port, file("pg"))
	say("act = { user = \"cairn_act\", password = %s }", file("pg-act"))
	say("dump = { databases = [\"openprod\", \"jasper\"], dir = %s, every = \"24h\", keep = { daily = 7, weekly = 4 } }", at("erp"))
	say("base = { dir = %s, every = \"7d\", keep = { weekly = 2 } }", at("base"))
	say("wal = { dir = %s, max_gap = \"15m\" }\ndisk = \"usb\"", at("wal"))
	say("\n[asset.erp]")
	say("members = [\"postgres.erp/openprod\", %s, \"guest:home/101\"]", q("path:"+l.dir.at("host", "srv", "ged")))
	say("skew = \"2h\"")
}

func (l *Lab) diskConfig(say func(string, ...any)) {
	if !l.has(USB) {
		return
	}
	say("\n[disk.usb]")
	say("mount = %s", strconv.Quote(l.dir.usb()))
	say("disks = [ { name = \"a\", uuid = %s } ]", strconv.Quote(l.uuid))
	say("fill = { warning = 0.80, critical = 0.90 }")
}

// configCopy is where a configuration lies on the backup host; a lab of servers
// alone has no such host.
func (l *Lab) configCopy(of string) string {
	if !l.has(Datastore) && !l.has(Restic) || of == "cairn" && !l.has(Restic) {
		return "none"
	}
	return l.dir.at("host", "etc", of)
}
