package lab

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"syscall"
	"testing"

	"cairn/internal/testkit"
)

// child makes the test binary keep a lab until SIGTERM; for tests of what happens when a lab is killed, and of one without root.
const child = "CAIRN_LAB_TEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(child) != "" {
		os.Exit(keep())
	}
	code := m.Run()
	if err := stopShared(); err != nil {
		fmt.Fprintln(os.Stderr, "stopping the lab:", err)
		code = 1
	}
	os.Exit(code)
}

func keep() int {
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer cancel()
	parts, err := strconv.Atoi(os.Getenv(child))
	if err != nil {
		panic(err)
	}
	dir := os.Getenv("CAIRN_LAB_TEST_DIR")
	l, err := Start(ctx, Options{Parts: Part(parts), Dir: dir, Cache: dir + "/cache"})
	if err != nil {
		fmt.Println("error:", err)
		return 1
	}
	for _, n := range l.Notes {
		fmt.Println("note:", n)
	}
	fmt.Println("config:", l.ConfigPath())
	<-ctx.Done()
	if err := l.Stop(); err != nil {
		fmt.Println("error:", err)
		return 1
	}
	return 0
}

var shared struct {
	once sync.Once
	lab  *Lab
	err  error
}

// whole returns a lab with all of its parts, one for all tests that only look.
func whole(t *testing.T) *Lab {
	t.Helper()
	shared.once.Do(func() { shared.lab, shared.err = Start(context.Background(), Options{Restic: newest(t)}) })
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.lab
}

func newest(t *testing.T) string { return testkit.Tool(t, "restic-0.19", "restic") }

func stopShared() error {
	if shared.lab == nil {
		return nil
	}
	dir := shared.lab.Dir()
	if err := shared.lab.Stop(); err != nil {
		return err
	}
	return nothingLeft(dir)
}

// nothingLeft says what of a lab is still there: its directory, mounts below
// it, a loop device of it, a process that names it.
func nothingLeft(dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return fmt.Errorf("%s is still there", dir)
	}
	if mounts, err := mountsBelow(dir); err != nil || len(mounts) > 0 {
		return fmt.Errorf("mounted still: %v %v", mounts, err)
	}
	if loops := loopsOf(dir); len(loops) > 0 {
		return fmt.Errorf("loop devices still: %v", loops)
	}
	if pids := processesOf(dir); len(pids) > 0 {
		return fmt.Errorf("processes still: %v", pids)
	}
	return nil
}

// anyones returns a directory that every user may enter, unlike t.TempDir.
func anyones(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "cairn-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	return dir
}
