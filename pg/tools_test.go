package pg

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

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
		backups[1].Finished.Unix() != 1795290708 || backups[1].Size != 60453296 || backups[0].State != backup.Complete ||
		backups[0].Cluster != 1 || backups[0].SystemID != 7710714004821139535 || backups[0].Major != 15 {
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
		_ = g.statements(g.withGroups(g.roles), nil, 15)
		_ = splitList(string(text))
		_, _ = ParseTarget(string(text), paris)
	})
}

// pgBackRest ends well when it cannot read a repository, and lists no backup then:
// that is nothing known, not nothing there.
func TestRepositoriesThatPgBackRestCannotRead(t *testing.T) {
	const backup1 = `{"label":"20260101-010000F","type":"full","error":null,"reference":null,"prior":null,"timestamp":{"start":1767229200,"stop":1767229260},
		"archive":{"start":"000000010000000000000002","stop":"000000010000000000000003"},"database":{"id":1,"repo-key":1},"info":{"size":9,"repository":{"delta":7,"size-map":3}},"lsn":{"start":"0/2000028","stop":"0/3000050"},"annotation":{"by":"cron"}}`
	stanza := func(code int, message, repos, backups string) []byte {
		return fmt.Appendf(nil, `[{"name":"other","status":{"code":0,"message":"ok"}},{"name":"erp","cipher":"mixed","db":[{"id":1,"repo-key":1},{"id":2,"repo-key":1}],"repo":%s,"backup":%s,
			"status":{"code":%d,"lock":{"backup":{"held":true,"size":100,"size-cplt":10},"restore":{"held":false}},"message":%q}}]`, repos, backups, code, message)
	}
	const fails = `{"cipher":"none","key":2,"status":{"code":99,"message":"[HostConnectError] unable to connect to 'bucket.example:443'\nHINT: is it up?"}}`
	_, _, err := parsePgBackRest(stanza(99, "other", `[`+fails+`]`, `[]`), "erp")
	if !errors.Is(err, errUnread) || !strings.Contains(err.Error(), "unable to connect") || strings.Contains(err.Error(), "HINT") {
		t.Errorf("got %v", err)
	}
	if _, _, err = parsePgBackRest(stanza(99, "other", `null`, `[]`), "erp"); !errors.Is(err, errUnread) {
		t.Errorf("an older one without a list of repositories: %v", err)
	}
	all, problems, err := parsePgBackRest(stanza(4, "different across repos", `[{"cipher":"none","key":1,"status":{"code":0,"message":"ok"}},`+fails+`]`, `[`+backup1+`]`), "erp")
	if err != nil || len(all) != 1 || all[0].State != backup.Complete || all[0].Repository != 1 || len(problems) != 1 || !strings.HasPrefix(problems[0], "repository 2: [HostConnectError]") {
		t.Errorf("%+v %v %v", all, problems, err)
	}
	if all, problems, err = parsePgBackRest(stanza(0, "ok", `[{"key":1,"status":{"code":0,"message":"ok"}}]`, `[`+backup1+`]`), "erp"); err != nil || len(all) != 1 || len(problems) != 0 {
		t.Errorf("%+v %v %v", all, problems, err)
	}
	if _, problems, err = parsePgBackRest(stanza(2, "no valid backups", `[{"key":1,"status":{"code":2,"message":"no valid backups"}}]`, `[]`), "erp"); err != nil || len(problems) != 1 || problems[0] != "no valid backups" {
		t.Errorf("%v %v", problems, err)
	}
}

// A chain of deltas is worth nothing from where it is broken on.
func TestChainThatIsBrokenAtItsBegin(t *testing.T) {
	all, _, err := parseWALG([]byte(`[{"backup_name":"base_000000010000000000000004_D_000000010000000000000002","time":"2026-01-01T03:00:00+05:00"},
		{"backup_name":"base_000000010000000000000006_D_000000010000000000000004","time":"2026-01-02T03:00:00+05:00","wal_file_name":"x","storage_name":"failover"},
		{"backup_name":"base_000000010000000000000008_D_000000010000000000000006","time":"2026-01-03T03:00:00+05:00"},
		{"backup_name":"base_00000001000000000000000A","time":"2026-01-04T03:00:00+05:00","start_time":"0001-01-01T00:00:00Z","pg_version":180001}]`), "")
	if err != nil || len(all) != 4 {
		t.Fatalf("%+v %v", all, err)
	}
	if all[0].State != backup.Complete || all[0].Kind != "full" || !all[0].Started.Equal(time.Date(2026, 1, 3, 22, 0, 0, 0, time.UTC)) {
		t.Errorf("%+v", all[0])
	}
	for _, b := range all[1:] {
		if b.State != backup.Damaged || b.Why == "" {
			t.Errorf("%+v", b)
		}
	}
}

func TestBackupThatBarmanDidNotFinish(t *testing.T) {
	stuck, _, err := parseBarman([]byte(`{"erp":[{"backup_id":"20260104T030000","status":"STARTED"},{"backup_id":"20260103T030000","status":"SYNCING"},
		{"backup_id":"20260102T030000","status":"STARTED"},{"backup_id":"20260101T030000","status":"WAITING_FOR_WALS","end_time_timestamp":1767236460}]}`), "erp")
	want := []backup.State{backup.InFlight, backup.InFlight, backup.Torn, backup.Complete}
	for i, b := range stuck {
		if err != nil || b.State != want[i] {
			t.Errorf("%+v %v, want %s", b, err, want[i])
		}
	}
	all, _, err := parseBarman([]byte(`{"erp":[{"backup_id":"20260102T030000","status":"FAILED","backup_name":"nightly"},
		{"backup_id":"20260101T030000","end_time_timestamp":"1767236460","size_bytes":12,"status":"DONE","retention_status":"VALID","backup_type":"incremental","tablespaces":[]}]}`), "erp")
	if err != nil || len(all) != 2 || all[0].State != backup.Torn || !strings.Contains(all[0].Why, "FAILED") || all[1].State != backup.Complete {
		t.Errorf("%+v %v", all, err)
	}
}
