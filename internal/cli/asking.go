package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/charmbracelet/x/term"
	sys "golang.org/x/sys/unix"

	"cairn/internal/secret"
)

// askHere asks for a secret on our terminal, without showing what is typed.
func (a *app) askHere(ctx context.Context, purpose string) (secret.Secret, error) {
	if !isTerminal(a.env.In) {
		return secret.Secret{}, fmt.Errorf("%w: run it in a terminal", secret.ErrAsk)
	}
	fd := a.env.In.Fd()
	restore, err := hide(int(fd))
	if err != nil {
		return secret.Secret{}, fmt.Errorf("asking for %s: %w", purpose, err)
	}
	fmt.Fprintf(a.env.Err, "Type %s (it is not shown): ", purpose)
	text, err := await(ctx, func() ([]byte, error) { return term.ReadPassword(fd) })
	fmt.Fprintln(a.env.Err)
	if err = errors.Join(err, restore()); err != nil {
		return secret.Secret{}, fmt.Errorf("asking for %s: %w", purpose, err)
	}
	return secret.New(string(text)), nil
}

// hide drops what was typed so far and shows nothing that is typed from now on,
// until restore: before the question, because a person may be quick.
func hide(fd int) (restore func() error, err error) {
	before, err := sys.IoctlGetTermios(fd, sys.TCGETS)
	if err != nil {
		return nil, err
	}
	quiet := *before
	quiet.Lflag &^= sys.ECHO
	if err := sys.IoctlSetTermios(fd, sys.TCSETSF, &quiet); err != nil {
		return nil, err
	}
	return func() error { return sys.IoctlSetTermios(fd, sys.TCSETS, before) }, nil
}

// askLine reads one line that is typed after the question was shown: what was
// typed before is dropped.
func (a *app) askLine(ctx context.Context, question string) (string, error) {
	if err := sys.IoctlSetInt(int(a.env.In.Fd()), sys.TCFLSH, sys.TCIFLUSH); err != nil {
		return "", fmt.Errorf("dropping what was typed too early: %w", err)
	}
	fmt.Fprint(a.env.Out, question)
	line, err := await(ctx, func() (string, error) { return bufio.NewReader(a.env.In).ReadString('\n') })
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return line, err
}

// await returns what read returns, or ctx's error when that ends first: a read
// from a terminal cannot be stopped, and is left behind by a program that ends.
func await[T any](ctx context.Context, read func() (T, error)) (T, error) {
	type answer struct {
		value T
		err   error
	}
	came := make(chan answer, 1)
	go func() {
		v, err := read()
		came <- answer{v, err}
	}()
	select {
	case got := <-came:
		return got.value, got.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}
