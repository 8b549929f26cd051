package secret

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Source is where a secret is read from, as configured:
// { file = "…" }, { credential = "name" }, { command = ["pass", "show", "x"] },
// { env = "NAME" } or { ask = true }. Exactly one is set.
type Source struct {
	File       string   `toml:"file"`
	Credential string   `toml:"credential"` // a file of $CREDENTIALS_DIRECTORY (systemd)
	Command    []string `toml:"command"`    // argv, no shell; its first line of output
	Env        string   `toml:"env"`
	Ask        bool     `toml:"ask"` // a person types it when it is needed
}

// IsZero says whether no source is configured.
func (s Source) IsZero() bool { return s.places() == 0 }

// Check returns what is wrong with the configuration of s: none or several
// places, or a file that is not a private regular file.
func (s Source) Check() error {
	if n := s.places(); n != 1 {
		return fmt.Errorf("names %d places to read the secret from, of file, credential, command, env and ask: name one", n)
	}
	if s.File != "" {
		return checkFile(s.File)
	}
	return nil
}

func (s Source) places() int {
	n := 0
	for _, set := range []bool{s.File != "", s.Credential != "", len(s.Command) > 0, s.Env != "", s.Ask} {
		if set {
			n++
		}
	}
	return n
}

// ErrAsk is returned by a Reader that cannot ask anybody.
var ErrAsk = errors.New("this secret is typed by a person when it is needed, and nobody can be asked here")

// maxSize bounds what is read as a secret, in bytes.
const maxSize = 64 << 10

// byteOrderMark is what some editors put in front of a text.
const byteOrderMark = "\ufeff"

// Reader reads secrets from their sources and makes its Scrubber know them.
type Reader struct {
	Run      func(ctx context.Context, argv []string) ([]byte, error) // a command's standard output
	Ask      func(ctx context.Context, prompt string) (Secret, error) // nil: nobody can be asked
	Getenv   func(string) string                                      // nil: no environment
	Scrubber *Scrubber                                                // nil: none
}

// Read returns the secret that s names. purpose says what it is for, as an error
// or a prompt shows it: "the password of restic usb". No error holds the value.
func (r Reader) Read(ctx context.Context, s Source, purpose string) (Secret, error) {
	text, err := r.read(ctx, s, purpose)
	if err != nil {
		return Secret{}, fmt.Errorf("reading %s: %w", purpose, err)
	}
	value := New(strings.TrimRight(strings.TrimPrefix(string(text), byteOrderMark), "\r\n"))
	switch {
	case value.Empty():
		return Secret{}, fmt.Errorf("reading %s: it is empty", purpose)
	case strings.ContainsRune(value.Reveal(), 0):
		return Secret{}, fmt.Errorf("reading %s: it holds a zero byte, so it is no text", purpose)
	}
	r.Scrubber.Add(value)
	return value, nil
}

func (r Reader) read(ctx context.Context, s Source, purpose string) ([]byte, error) {
	switch {
	case s.File != "":
		return readFile(s.File)
	case s.Credential != "":
		return r.credential(s.Credential)
	case len(s.Command) > 0:
		return r.firstLine(ctx, s.Command)
	case s.Env != "":
		value := r.env(s.Env)
		if value == "" {
			return nil, fmt.Errorf("the environment variable %s is not set", s.Env)
		}
		return []byte(value), nil
	case s.Ask:
		if r.Ask == nil {
			return nil, ErrAsk
		}
		v, err := r.Ask(ctx, purpose)
		return []byte(v.Reveal()), err
	}
	return nil, errors.New("no place is configured to read it from")
}

func (r Reader) env(name string) string {
	if r.Getenv == nil {
		return ""
	}
	return r.Getenv(name)
}

func (r Reader) credential(name string) ([]byte, error) {
	if name != filepath.Base(name) || name == "." || name == ".." {
		return nil, fmt.Errorf("credential %q is no name: write the one that LoadCredential= gives it, without a directory", name)
	}
	dir := r.env("CREDENTIALS_DIRECTORY")
	if dir == "" {
		return nil, fmt.Errorf("credential %s: systemd gave no credentials ($CREDENTIALS_DIRECTORY is not set); add LoadCredential=%s:… to the unit", name, name)
	}
	f, _, err := open(filepath.Join(dir, name)) // systemd keeps the directory private
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readLimited(f)
}

func (r Reader) firstLine(ctx context.Context, argv []string) ([]byte, error) {
	if r.Run == nil {
		return nil, errors.New("no commands can be run here")
	}
	out, err := r.Run(ctx, argv)
	if err != nil {
		return nil, fmt.Errorf("running %s: %w", argv[0], err)
	}
	line, _, _ := strings.Cut(string(out), "\n")
	return []byte(line), nil
}

func readFile(path string) ([]byte, error) {
	f, info, err := open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := private(path, info, os.Geteuid()); err != nil {
		return nil, err
	}
	return readLimited(f)
}

func readLimited(f *os.File) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(f, maxSize+1))
	if err == nil && len(text) > maxSize {
		err = fmt.Errorf("%s holds over %d bytes: that is no secret", f.Name(), maxSize)
	}
	return text, err
}

// open opens a regular file and no other: it follows no symlink, and does not
// wait for a pipe. What it tells of the file is true of what was opened.
func open(path string) (*os.File, fs.FileInfo, error) {
	before, err := os.Lstat(path)
	if err != nil {
		return nil, nil, err
	}
	if err := regular(path, before); err != nil {
		return nil, nil, err
	}
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err == nil {
		err = regular(path, info)
	}
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return f, info, nil
}

func regular(path string, info fs.FileInfo) error {
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		return fmt.Errorf("%s is a symlink: name the file itself", path)
	case info.IsDir():
		return fmt.Errorf("%s is a directory: name the file itself", path)
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is no regular file: name one", path)
	}
	return nil
}

// checkFile refuses what others could read or swap.
func checkFile(path string) error {
	f, info, err := open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return private(path, info, os.Geteuid())
}

// private refuses any right for group or others, and another owner than user or
// root.
func private(path string, info fs.FileInfo, user int) error {
	if extra := info.Mode().Perm() & 0o077; extra != 0 {
		return fmt.Errorf("%s can be read by others (mode %04o): chmod 600 %s", path, info.Mode().Perm(), path)
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Uid != 0 && int(st.Uid) != user {
		return fmt.Errorf("%s belongs to user %d, not to you or root: chown it", path, st.Uid)
	}
	return nil
}
