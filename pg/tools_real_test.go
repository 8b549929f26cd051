package pg

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cairn/internal/backup"
	"cairn/internal/testkit"
)

func TestRealPgBackRest(t *testing.T) {
	testkit.Program(t, "pgbackrest")
	c := running(t)
	if major := majorOf(c.ask(t, "postgres", "SHOW server_version")); major > 15 { // Debian 12's is 2.45
		if text := c.run(t, "pgbackrest", "version"); strings.Contains(text, " 2.4") {
			testkit.Need(t, fmt.Sprintf("a pgBackRest that knows PostgreSQL %d", major))
		}
	}
	dir := filepath.Join(c.dir, "pgbackrest")
	c.run(t, "mkdir", "-p", dir+"/repo", dir+"/log", dir+"/lock")
	file := filepath.Join(dir, "pgbackrest.conf")
	text := fmt.Sprintf("[global]\nrepo1-path=%[1]s/repo\nlog-path=%[1]s/log\nlock-path=%[1]s/lock\nlog-level-file=off\ncompress-type=none\n\n[lab]\npg1-path=%[2]s\npg1-socket-path=%[3]s\npg1-port=%[4]d\npg1-user=postgres\n", dir, c.data(), c.dir, c.port)
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	client := acting(t, c, func(cfg *Config) { cfg.PgBackRest = &PgBackRestConfig{Stanza: "lab", Config: file} })
	f, err := client.Survey(t.Context())
	if err != nil || len(f.Others) != 1 || len(f.Others[0].Problems) != 1 || len(f.Others[0].Backups) != 0 {
		t.Fatalf("before its first backup: %+v %v", f.Others, err)
	}
	c.run(t, "pgbackrest", "--config="+file, "--stanza=lab", "stanza-create")
	c.run(t, "pgbackrest", "--config="+file, "--stanza=lab", "--no-archive-check", "--start-fast", "--type=full", "backup")
	if f, err = client.Survey(t.Context()); err != nil || len(f.Others[0].Backups) != 1 || f.Others[0].Err != "" || len(f.Others[0].Problems) != 0 {
		t.Fatalf("%+v %v", f.Others, err)
	}
	last := f.Copies[len(f.Copies)-1]
	if last.Asset.Kind != backup.Cluster || !strings.HasPrefix(last.ID, "pgbackrest:") || last.State != backup.Complete {
		t.Errorf("%+v", last)
	}
	found, err := client.VerifyTool(t.Context(), "pgbackrest", Work{})
	if err != nil || len(found) < 2 || found[1].Bad != "" || !found[1].Read || found[0].Bad != "" && !strings.Contains(found[0].Bad, "WAL") {
		t.Errorf("a good repository: %+v %v", found, err)
	}
	flipLargest(t, filepath.Join(dir, "repo", "backup"))
	found, err = client.VerifyTool(t.Context(), "pgbackrest", Work{})
	if err != nil || len(found) < 2 || !strings.Contains(found[0].Bad, "is invalid") || found[1].Bad == "" {
		t.Errorf("a flipped byte: %+v %v", found, err)
	}
}

// flipLargest changes a byte of the largest file below dir.
func flipLargest(t *testing.T, dir string) {
	t.Helper()
	var largest string
	var size int64
	if err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() || !strings.Contains(path, "pg_data/base") {
			return err
		}
		info, err := e.Info()
		if err == nil && info.Size() > size {
			largest, size = path, info.Size()
		}
		return err
	}); err != nil || largest == "" {
		t.Fatal(err, largest)
	}
	text, err := os.ReadFile(largest)
	if err != nil {
		t.Fatal(err)
	}
	text[len(text)/2] ^= 1
	if err := os.WriteFile(largest, text, 0o640); err != nil {
		t.Fatal(err)
	}
}
