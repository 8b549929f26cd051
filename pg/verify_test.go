package pg

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cairn/internal/backup"
	"cairn/internal/secret"
)

// TestVerifyDumpsOfScripts reads each kind of dump to its end: whole, cut, and
// with a byte flipped where its format notices that.
func TestVerifyDumpsOfScripts(t *testing.T) {
	c := running(t)
	dir := dumps(t, c)
	client := New("lab", Config{DSN: c.dsn("")}, secret.Reader{Getenv: os.Getenv})
	defer client.Close()
	all, _ := scan(t, dir)
	for name, d := range all {
		e, err := client.VerifyCopy(t.Context(), d.Path, Work{})
		if err != nil || e.Ours || e.Bytes == 0 || e.Text == "" {
			t.Errorf("%s: %+v %v", name, e, err)
		}
		path := d.Path
		if d.Format == "directory" {
			files, err := filepath.Glob(filepath.Join(d.Path, "*.dat.gz"))
			if err != nil || len(files) == 0 {
				t.Fatal(err)
			}
			path = files[0]
			for _, one := range files { // the largest: what is flipped in it is data
				if info, err := os.Stat(one); err == nil && info.Size() > 200 {
					path = one
				}
			}
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		put(t, path, text[:len(text)*6/10])
		var bad *Damage
		if _, err := client.VerifyCopy(t.Context(), d.Path, Work{}); !errors.As(err, &bad) || bad.Why == "" || !strings.Contains(err.Error(), "is damaged") {
			t.Errorf("%s, cut: %v", name, err)
		}
		if strings.HasSuffix(path, ".gz") || strings.HasSuffix(path, ".zst") || strings.HasSuffix(path, ".lz4") || strings.HasSuffix(path, ".xz") {
			flipped := append([]byte{}, text...)
			flipped[len(text)*7/10] ^= 0x10
			put(t, path, flipped)
			if _, err := client.VerifyCopy(t.Context(), d.Path, Work{}); !errors.As(err, &bad) {
				t.Errorf("%s, flipped: %v", name, err)
			}
		}
		if d.Format != "directory" {
			put(t, path, nil)
			if _, err := client.VerifyCopy(t.Context(), d.Path, Work{}); !errors.As(err, &bad) || !strings.Contains(bad.Why, "it is empty") {
				t.Errorf("%s, empty: %v", name, err)
			}
		}
		put(t, path, text)
	}
	put(t, filepath.Join(dir, "shop_2026-11-21.sql.gpg"), []byte("secret"))
	var bad *Damage
	if _, err := client.VerifyCopy(t.Context(), filepath.Join(dir, "shop_2026-11-21.sql.gpg"), Work{}); err == nil || errors.As(err, &bad) || !strings.Contains(err.Error(), "encrypted") {
		t.Errorf("what nobody can read is not damaged: %v", err)
	}
	if _, err := client.VerifyCopy(t.Context(), filepath.Join(dir, "nowhere"), Work{}); err == nil || errors.As(err, &bad) {
		t.Errorf("what is not there is not damaged: %v", err)
	}
}

// TestVerifyOurDump: every byte against the manifest, what is found is kept beside
// it, and a later look that finds it well again lifts that.
func TestVerifyOurDump(t *testing.T) {
	c := running(t)
	c.withDatabase(t, "verified")
	client := acting(t, c)
	_, dir, err := client.Dump(t.Context(), "verified", Work{})
	if err != nil {
		t.Fatal(err)
	}
	state := func() Dump {
		t.Helper()
		f, err := client.Survey(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Dumps.Value {
			if d.Path == dir {
				return d
			}
		}
		t.Fatal("it is not listed")
		return Dump{}
	}
	verify := func() error {
		t.Helper()
		e, err := client.VerifyCopy(t.Context(), dir, Work{})
		if err == nil && (!e.Ours || e.Bytes == 0) {
			t.Errorf("%+v", e)
		}
		if err := KeepVerdict(dir, err, now); err != nil {
			t.Fatal(err)
		}
		return err
	}
	if err := verify(); err != nil {
		t.Fatal(err)
	}
	if d := state(); d.State != backup.Complete || d.Proofs[len(d.Proofs)-1].Level != backup.EveryByteRead {
		t.Errorf("%+v", d)
	}
	file := filepath.Join(dir, globalsFile)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	bad := append([]byte{}, text...)
	bad[len(bad)/2] ^= 1
	put(t, file, bad)
	if err := verify(); err == nil || !strings.Contains(err.Error(), globalsFile) {
		t.Errorf("a flipped bit: %v", err)
	}
	if d := state(); d.State != backup.Damaged || !strings.Contains(d.Why, "verified on 2026-11-") || !strings.Contains(d.Why, globalsFile) {
		t.Errorf("%+v", d)
	}
	if f, err := client.Survey(t.Context()); err != nil {
		t.Fatal(err)
	} else if d, _, err := f.PickDump("verified", func(Dump) bool { return true }); err == nil {
		t.Errorf("a damaged dump is offered for a restore: %+v", d)
	}
	put(t, file, text)
	if err := verify(); err != nil {
		t.Error(err)
	}
	if d := state(); d.State != backup.Complete {
		t.Errorf("it is well again: %+v", d)
	}
}
