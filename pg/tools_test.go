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
	bad, understood := parsePgBackRestVerify(said(t, "pgbackrest-verify-bad-text.out"))
	if !understood || len(bad) != 2 || bad[0].Label != "" || !strings.Contains(bad[0].Bad, "backup 20261121-195140F is invalid") || bad[1].Label != "20261121-195140F" || bad[1].Bad == "" || bad[1].Read {
		t.Errorf("%+v", bad)
	}
	good, understood := parsePgBackRestVerify(said(t, "pgbackrest-verify-walgap-verbose.txt"))
	if !understood || len(good) != 3 || good[0].Bad != "" || good[2].Bad != "" || !good[2].Read {
		t.Errorf("%+v", good)
	}
	if _, understood := parsePgBackRestVerify(nil); understood {
		t.Error("silence is not ok")
	}
	if f, known := barmanFinding("20261121T195920", said(t, "barman-verify-backup.txt")); !known || f.Bad != "" || !f.Read {
		t.Errorf("%+v", f)
	}
	if f, known := barmanFinding("x", said(t, "pg_verifybackup-corrupt.txt")); !known || !strings.Contains(f.Bad, "checksum mismatch") || f.Read {
		t.Errorf("%+v", f)
	}
	if f, known := barmanFinding("x", []byte("ERROR: Unknown backup 'x'\n")); known || !strings.Contains(f.Text, "Unknown backup") {
		t.Errorf("%+v", f)
	}
	if all, ok := parseWALGVerify(said(t, "walg-wal-verify.json")); !ok || len(all) != 1 || all[0].Bad != "" || all[0].Read {
		t.Errorf("%+v", all)
	}
	if all, ok := parseWALGVerify(said(t, "walg-wal-verify-gap.json")); !ok || all[0].Bad != "integrity is WARNING (1 missing_uploading from 000000010000000000000080 to 000000010000000000000080)" {
		t.Errorf("%+v", all)
	}
	if _, ok := parseWALGVerify([]byte("{}")); ok {
		t.Error("silence is not ok")
	}
}

func TestBackupsThatRestOnOthers(t *testing.T) {
	all := rested([]ToolBackup{
		{Label: "i2", Needs: []string{"f", "i1"}, State: backup.Complete}, {Label: "i1", Needs: []string{"f"}, State: backup.Complete}, {Label: "f", State: backup.Damaged, Why: "bad"},
		{Label: "base_000000010000000000000084_D_000000010000000000000082", Needs: []string{"base_000000010000000000000082"}, State: backup.Complete},
		{Label: "base_000000010000000000000082_D_000000010000000000000080", State: backup.Complete},
		{Label: "lonely", Needs: []string{"gone"}, State: backup.Complete},
	})
	for label, why := range map[string]string{"i2": "it rests on f, which is damaged", "i1": "it rests on f, which is damaged", "lonely": "it rests on gone, which is not there",
		"base_000000010000000000000084_D_000000010000000000000082": ""} {
		for _, b := range all {
			if b.Label == label && (b.Why != why || (b.State == backup.Damaged) != (why != "")) {
				t.Errorf("%+v", b)
			}
		}
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
		_, _ = parsePgBackRestVerify(text)
		_, _ = parseWALGVerify(text)
		_, _ = barmanFinding("x", text)
		_, _ = parseDumpManifest(text)
		_, _ = parseBaseManifest(text)
		_ = recoveryEnd(string(text))
		var g globals
		for line := range strings.SplitSeq(string(text), "\n") {
			g.take(line)
		}
		_ = g.statements(g.roles)
		_ = splitList(string(text))
		_, _ = ParseTarget(string(text), paris)
	})
}
