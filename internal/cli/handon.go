package cli

import (
	"fmt"
	"io"
	"os"
	"strings"

	sys "golang.org/x/sys/unix"

	"cairn/internal/command"
	"cairn/internal/config"
	"cairn/internal/secret"
)

// handOn gives a worker what it would not have of ours: a child gets a clean
// environment. Secrets, typed or of our environment, go by a file in memory that it
// inherits; nil where there are none.
func handOn(c *config.Config, asked *secret.Asked, work *command.Spec) (*os.File, error) {
	work.Env = append(work.Env, "STATE_DIRECTORY="+c.StateDir) // where the operation lies, if the configuration does not say
	names := secretNames(c)
	for _, set := range os.Environ() {
		name, _, _ := strings.Cut(set, "=")
		switch ofPostgres := len(c.Postgres) > 0 && strings.HasPrefix(name, "PG"); {
		case ofPostgres && strings.HasSuffix(name, "PASSWORD"):
			names = append(names, name)
		case ofPostgres:
			work.Env = append(work.Env, set)
		}
	}
	asked.Carry(names, os.Getenv)
	text, err := asked.Pack()
	if err != nil || text == nil {
		return nil, err
	}
	file, err := command.SecretFile(text)
	if err != nil {
		return nil, fmt.Errorf("handing the secrets to the worker: %w", err)
	}
	work.ExtraFiles = append(work.ExtraFiles, file)
	work.Argv = append(work.Argv, "--secrets-fd", fmt.Sprint(2+len(work.ExtraFiles))) // 0, 1 and 2 come first
	return file, nil
}

// secretNames are the variables that secrets are read from: those that hold one, and
// the one that says where systemd keeps its credentials, which only what systemd
// started together can read.
func secretNames(c *config.Config) (names []string) {
	for _, s := range c.Sources() {
		switch {
		case s.Env != "":
			names = append(names, s.Env)
		case s.Credential != "":
			names = append(names, "CREDENTIALS_DIRECTORY")
		}
	}
	return names
}

// handedOn reads what the process that started us handed on by a descriptor, and
// closes it: no child of ours inherits it. What is of its environment is put into
// ours, which no child gets and nobody else can read.
func handedOn(descriptor int) (*secret.Asked, error) {
	if descriptor == 0 {
		return &secret.Asked{}, nil
	}
	sys.CloseOnExec(descriptor)
	f := os.NewFile(uintptr(descriptor), "handed-on secrets")
	if f == nil {
		return nil, fmt.Errorf("descriptor %d is none", descriptor)
	}
	defer f.Close()
	text, err := io.ReadAll(f)
	if err != nil {
		return nil, fmt.Errorf("reading the secrets that were handed on: %w", err)
	}
	asked, err := secret.Unpack(text)
	if err != nil {
		return nil, err
	}
	for name, value := range asked.Carried() {
		if err := os.Setenv(name, value.Reveal()); err != nil {
			return nil, fmt.Errorf("taking over the variable %s: %w", name, err)
		}
	}
	return asked, nil
}
