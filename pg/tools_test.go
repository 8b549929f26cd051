package pg

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cairn/internal/backup"
)

func said(t testing.TB, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "tools", name))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestWhatOtherToolsSay(t *testing.T) {
	backups, problems, err := parsePgBackRest(said(t, "pgbackrest-info.json"), "lab")
	if err != nil || len(problems) != 0 || len(backups) != 2 || backups[0].Kind != "incr" || backups[0].Needs[0] != backups[1].Label ||
		backups[1].Finished.Unix() != 1795290708 || backups[1].Size != 60453296 || backups[0].State != backup.Complete {
		t.Errorf("%+v %v %v", backups, problems, err)
	}
	for _, name := range []string{"pgbackrest-info-no-backup.json", "pgbackrest-info-no-stanza.json"} {
		if backups, problems, err := parsePgBackRest(said(t, name), "lab"); err != nil || len(backups) != 0 || len(problems) != 1 {
			t.Errorf("%s: %+v %v %v", name, backups, problems, err)
		}
	}
	backups, _, err = parseBarman(said(t, "barman-list-backup.json"), "lab")
	if err != nil || len(backups) != 1 || backups[0].Finished.Unix() != 1795291171 || backups[0].Size != 991689068 {
		t.Errorf("%+v %v", backups, err)
	}
	if failed, err := parseBarmanCheck(said(t, "barman-check-before.json"), "lab"); err != nil || !strings.Contains(strings.Join(failed, "\n"), "wal archive: please make sure WAL shipping is setup") {
		t.Errorf("%v %v", failed, err)
	}
	if failed, err := parseBarmanCheck(said(t, "barman-check-ok.json"), "lab"); err != nil || len(failed) != 0 {
		t.Errorf("%v %v", failed, err)
	}
	for _, name := range []string{"walg-backup-list-detail.json", "walg-backup-list.json"} {
		if backups, _, err := parseWALG(said(t, name), ""); err != nil || len(backups) != 2 || backups[0].Label != "base_000000010000000000000082" || backups[0].Started.IsZero() {
			t.Errorf("%s: %+v %v", name, backups, err)
		}
	}
}

func TestVerifyThatEndsWellAndFoundDamage(t *testing.T) {
	bad := parsePgBackRestVerify(said(t, "pgbackrest-verify-bad-text.out"))
	if bad.OK || !strings.Contains(strings.Join(bad.Findings, "\n"), "backup 20261121-195140F is invalid") {
		t.Errorf("%+v", bad)
	}
	if good := parsePgBackRestVerify(said(t, "pgbackrest-verify-walgap-verbose.txt")); !good.OK {
		t.Errorf("%+v", good)
	}
	if silent := parsePgBackRestVerify(nil); silent.OK {
		t.Error("silence is not ok")
	}
}

func FuzzWhatOtherToolsSay(f *testing.F) {
	entries, err := os.ReadDir(filepath.Join("testdata", "tools"))
	if err != nil {
		f.Fatal(err)
	}
	for _, e := range entries {
		f.Add(said(f, e.Name()))
	}
	f.Add([]byte(`[{"name":"lab","backup":[{"timestamp":{"start":"x"}}]}]`))
	f.Add([]byte(`{"lab":null}`))
	f.Add([]byte(`{"cairn_dump":1,"database":{"name":"x"},"files":[{"path":"../x"}]}`))
	f.Fuzz(func(_ *testing.T, text []byte) {
		_, _, _ = parsePgBackRest(text, "lab")
		_, _, _ = parseBarman(text, "lab")
		_, _ = parseBarmanCheck(text, "lab")
		_, _, _ = parseWALG(text, "")
		_ = parsePgBackRestVerify(text)
		_, _ = parseDumpManifest(text)
		_, _ = parseBaseManifest(text)
		_ = recoveryEnd(string(text))
		_ = roleStatements(string(text), []string{"x"})
		_ = splitList(string(text))
		_, _ = ParseTarget(string(text), paris)
	})
}
