package pg

import (
	"archive/tar"
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"cairn/internal/secret"
)

// Barman is told of no target, whatever its configuration says: it would fetch WAL
// by itself, or leave out what came in late.
func TestBarmanRestoresAllWAL(t *testing.T) {
	c := New("lab", Config{Barman: &BarmanConfig{Server: "lab", Config: "/b.conf"}}, secret.Reader{Getenv: os.Getenv, Scrubber: new(secret.Scrubber)})
	r := Recovery{Tool: ToolBarman, Label: "20261121T120000", Dir: "/r", Spaces: []string{"far"}, Target: Target{Time: time.Now()}}
	got := c.ShowRestore(r)
	if want := "barman --config /b.conf recover --no-get-wal --target-tli latest --recovery-staging-path /r/staging --tablespace far:/r/tablespaces/far lab 20261121T120000 /r/data"; got != want {
		t.Errorf("%s", got)
	}
}

// Without a target Barman puts WAL into pg_wal, past the script that looks at it.
func TestWALThatBarmanRestored(t *testing.T) {
	for _, own := range []bool{true, false} {
		r := Recovery{Dir: t.TempDir()}
		put(t, filepath.Join(r.data(), pgWAL, "archive_status/x.done"), nil)
		wal(t, filepath.Join(r.data(), pgWAL), 1, 2, 3)
		put(t, filepath.Join(r.data(), pgWAL, "00000002.history"), []byte("1\t0/700000\tx\n"))
		put(t, filepath.Join(r.staging(), "base.tar.gz"), []byte("x"))
		want := []string{"00000002.history", segment{1, 2}.name(mib), segment{1, 3}.name(mib)}
		if own {
			wal(t, r.barmanWAL(), 1, 9)
			want = []string{segment{1, 9}.name(mib)}
		}
		if err := r.settleBarman(); err != nil {
			t.Fatal(err)
		}
		entries, err := os.ReadDir(r.barmanWAL())
		var got []string
		for _, e := range entries {
			got = append(got, e.Name())
		}
		slices.Sort(want)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("by itself %v: %v %v", own, got, err)
		}
		if exists(r.staging()) {
			t.Error("what it unpacked from is left")
		}
	}
}

// While the server is down that is said once, and not what follows from it.
func TestBarmanWhileTheServerIsDown(t *testing.T) {
	got, err := parseBarmanCheck([]byte(`{"lab":{"postgresql":{"hint":"","status":"FAILED"},"pg_basebackup_compatible":{"hint":"PostgreSQL version: None, pg_basebackup version: 15.18","status":"FAILED"},
		"wal_maximum_age":{"hint":"latest archived wal 3 days old","status":"FAILED"}}}`), "lab")
	if err != nil || strings.Join(got, "|") != "it does not reach the server|wal maximum age: latest archived wal 3 days old" {
		t.Errorf("%q %v", got, err)
	}
}

// tgz makes a compressed tar file of one file.
func tgz(t *testing.T, name, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	err := w.WriteHeader(&tar.Header{Name: name, Size: int64(len(text)), Mode: 0o600})
	if err == nil {
		_, err = w.Write([]byte(text))
	}
	if err = errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return gz(t, b.Bytes())
}

// A backup that Barman compressed is read by us: pg_verifybackup would miss all of it.
func TestVerifyOfWhatBarmanCompressed(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "barman.conf")
	put(t, file, []byte("[lab]\nbackup_directory = "+dir+"\n"))
	cfg := &BarmanConfig{Server: "lab", Config: file}
	data := cfg.dataOf("20261121T120000")
	if data != filepath.Join(dir, "base/20261121T120000/data") {
		t.Fatal(data)
	}
	put(t, filepath.Join(data, "base.tar.gz"), tgz(t, "PG_VERSION", "123456789"))
	const sum = "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225" // SHA-256 of "123456789"
	for file, bad := range map[string]string{"PG_VERSION": "", "base/1/2": "1 files are missing"} {
		putManifest(t, data, file, 9, "SHA256", sum)
		c := New("lab", Config{Barman: cfg}, secret.Reader{Getenv: os.Getenv, Scrubber: new(secret.Scrubber)})
		f, known, err := c.verifyByBarman(t.Context(), asked{}, "20261121T120000", Work{})
		if err != nil || !known || f.Read != (bad == "") || !strings.Contains(f.Bad, bad) || bad == "" && f.Bad != "" {
			t.Errorf("%s: %+v %v %v", file, f, known, err)
		}
	}
}
