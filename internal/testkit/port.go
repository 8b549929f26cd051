package testkit

import (
	"fmt"
	"math/rand/v2"
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

// Port returns a port of 127.0.0.1 that nobody listens on, for a server that a test
// starts, or for none. It lies below those that the kernel gives away by itself, and no
// other test gets it as long as this process lives: not even of another package, whose
// servers start at the same time.
func Port(t testing.TB) int {
	t.Helper()
	for range 1000 {
		port := 20000 + rand.IntN(12000)
		if !take(port) {
			continue
		}
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue // somebody's who asks nobody
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		return port
	}
	t.Fatal("no port is free")
	return 0
}

// take makes a port this process's own: by a name of which there is one on the host,
// and which the kernel takes back when the process ends, however it does.
func take(port int) bool {
	s, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false
	}
	if err := unix.Bind(s, &unix.SockaddrUnix{Name: fmt.Sprintf("@cairn-test-port-%d", port)}); err != nil {
		_ = unix.Close(s)
		return false
	}
	return true
}

// Address is a port of Port with its host, as servers take it.
func Address(t testing.TB) string {
	t.Helper()
	return fmt.Sprintf("127.0.0.1:%d", Port(t))
}
