package secret

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/BurntSushi/toml"
)

func write(t *testing.T, content string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil { // whatever the umask
		t.Fatal(err)
	}
	return path
}

func TestFilesThatHoldASecret(t *testing.T) {
	for content, want := range map[string]string{
		"hunter2": "hunter2", "hunter2\n": "hunter2", "hunter2\r\n": "hunter2", "hunter2\n\n": "hunter2",
		" hunter 2 \n": " hunter 2 ", "two\nlines\n": "two\nlines", "\ufeffhunter2\r\n": "hunter2", "pässwörd": "pässwörd",
	} {
		scrubber := new(Scrubber)
		got, err := Reader{Scrubber: scrubber}.Read(t.Context(), Source{File: write(t, content, 0o600)}, "a password")
		if err != nil || got.Reveal() != want {
			t.Errorf("%q gave %q, %v", content, got.Reveal(), err)
		}
		if scrubber.String("x"+want+"x") != "x[secret]x" {
			t.Errorf("the scrubber does not know %q", want)
		}
	}
	for name, content := range map[string]string{"empty": "", "blank": "\r\n\n", "binary": "a\x00b", "too long": strings.Repeat("x", maxSize+1)} {
		_, err := Reader{}.Read(t.Context(), Source{File: write(t, content, 0o600)}, "the password of restic usb")
		if err == nil || !strings.HasPrefix(err.Error(), "reading the password of restic usb: ") || strings.Contains(err.Error(), "xxx") {
			t.Errorf("%s: %.200v", name, err)
		}
	}
}

func TestFilesThatOthersCouldReadOrSwap(t *testing.T) {
	dir := t.TempDir()
	good := write(t, hunterText, 0o400)
	link := filepath.Join(dir, "link")
	if err := os.Symlink(good, link); err != nil {
		t.Fatal(err)
	}
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		write(t, hunterText, 0o640): "chmod 600", write(t, hunterText, 0o604): "chmod 600", write(t, hunterText, 0o620): "chmod 600",
		write(t, hunterText, 0o666): "mode 0666", link: "is a symlink", dir: "is a directory", pipe: "no regular file",
		filepath.Join(dir, "none"): "no such file", "/dev/null": "no regular file",
	} {
		source := Source{File: path}
		check := source.Check()
		_, read := Reader{}.Read(t.Context(), source, "a password")
		for _, err := range []error{check, read} {
			if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), hunterText) {
				t.Errorf("%s: %v does not say %q", path, err, want)
			}
		}
	}
	if err := (Source{File: good}).Check(); err != nil {
		t.Error(err)
	}
}

const hunterText = "hunter2"

// owned is a file of another user.
type owned struct {
	fs.FileInfo
	mode os.FileMode
	uid  uint32
}

func (o owned) Mode() fs.FileMode { return o.mode }
func (o owned) Sys() any          { return &syscall.Stat_t{Uid: o.uid} }

func TestOwner(t *testing.T) {
	for _, c := range []struct {
		uid  uint32
		user int
		ok   bool
	}{{0, 1000, true}, {1000, 1000, true}, {1001, 1000, false}, {1000, 0, false}, {0, 0, true}} {
		if err := private("/x", owned{mode: 0o600, uid: c.uid}, c.user); (err == nil) != c.ok {
			t.Errorf("file of %d, read by %d: %v", c.uid, c.user, err)
		}
	}
}

func TestCredentials(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "pbs"), []byte(hunterText), 0o440); err != nil { // as systemd does for a user
		t.Fatal(err)
	}
	r := Reader{Getenv: func(name string) string { return map[string]string{"CREDENTIALS_DIRECTORY": dir}[name] }}
	if got, err := r.Read(t.Context(), Source{Credential: "pbs"}, "x"); err != nil || got.Reveal() != hunterText {
		t.Error(got.Reveal(), err)
	}
	for _, name := range []string{"../pbs", "a/b", "..", ".", "none", "/etc/hostname"} {
		if _, err := r.Read(t.Context(), Source{Credential: name}, "x"); err == nil {
			t.Errorf("credential %q was read", name)
		}
	}
	if _, err := (Reader{}).Read(t.Context(), Source{Credential: "pbs"}, "x"); err == nil || !strings.Contains(err.Error(), "LoadCredential=pbs") {
		t.Errorf("%v", err)
	}
}

func TestOtherPlaces(t *testing.T) {
	var argv []string
	r := Reader{
		Run:    func(_ context.Context, a []string) ([]byte, error) { argv = a; return []byte("hunter2\nurl: x\n"), nil },
		Ask:    func(_ context.Context, prompt string) (Secret, error) { return New("typed for " + prompt), nil },
		Getenv: func(name string) string { return map[string]string{"PW": hunterText}[name] },
	}
	for _, c := range []struct {
		source Source
		want   string
	}{
		{Source{Command: []string{"pass", "show", "a b; $(x)"}}, hunterText},
		{Source{Env: "PW"}, hunterText},
		{Source{Ask: true}, "typed for the key"},
	} {
		if got, err := r.Read(t.Context(), c.source, "the key"); err != nil || got.Reveal() != c.want {
			t.Errorf("%+v: %q %v", c.source, got.Reveal(), err)
		}
	}
	if len(argv) != 3 || argv[2] != "a b; $(x)" {
		t.Errorf("ran %q: arguments are passed as they are, through no shell", argv)
	}
	if _, err := r.Read(t.Context(), Source{Env: "NONE"}, "x"); err == nil || !strings.Contains(err.Error(), "NONE is not set") {
		t.Errorf("%v", err)
	}
	r.Run = func(context.Context, []string) ([]byte, error) { return []byte("\nsecond"), nil }
	if got, err := r.Read(t.Context(), Source{Command: []string{"pass"}}, "x"); err == nil {
		t.Errorf("the second line is no secret: %q", got.Reveal())
	}
	r.Run = func(context.Context, []string) ([]byte, error) { return nil, errors.New("no such entry") }
	if _, err := r.Read(t.Context(), Source{Command: []string{"pass"}}, "x"); err == nil || !strings.Contains(err.Error(), "running pass: no such entry") {
		t.Errorf("%v", err)
	}
	for _, s := range []Source{{Command: []string{"pass"}}, {}, {Env: "PW"}} {
		if _, err := (Reader{}).Read(t.Context(), s, "x"); err == nil {
			t.Errorf("%+v was read from nothing", s)
		}
	}
	if _, err := (Reader{}).Read(t.Context(), Source{Ask: true}, "x"); !errors.Is(err, ErrAsk) {
		t.Errorf("%v", err)
	}
}

func TestCheckNamesOnePlace(t *testing.T) {
	for _, c := range []struct {
		source Source
		ok     bool
	}{
		{Source{}, false}, {Source{Ask: true}, true}, {Source{Env: "X"}, true}, {Source{Credential: "x"}, true},
		{Source{Command: []string{"pass"}}, true}, {Source{Env: "X", Ask: true}, false}, {Source{Env: "X", Command: []string{"x"}}, false},
	} {
		if err := c.source.Check(); (err == nil) != c.ok {
			t.Errorf("%+v: %v", c.source, err)
		}
	}
	if !(Source{}).IsZero() || (Source{Ask: true}).IsZero() {
		t.Error("IsZero")
	}
}

func TestSourceInTOML(t *testing.T) {
	var cfg struct{ Password Source }
	if _, err := toml.Decode(`password = { command = ["pass", "show", "x"] }`, &cfg); err != nil || len(cfg.Password.Command) != 3 {
		t.Error(cfg, err)
	}
}
