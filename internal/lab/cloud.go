package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"cairn/internal/command"
)

// restServer is the server in front of the off-site repository.
type restServer struct {
	server  *command.Server
	address string
	log     *lockedBuffer
}

// lockedBuffer may be read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// startCloud serves the directory "cloud" over HTTP: by rest-server, else by
// rclone. With neither the off-site repository is a plain directory.
func (l *Lab) startCloud(ctx context.Context) error {
	if !l.has(Restic) {
		return nil
	}
	dir := l.dir.at("cloud")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("making the cloud: %w", err)
	}
	rest := firstOf(l.options.RestServer, pinned("rest-server", "rest-server"), "rest-server")
	rclone := firstOf("rclone")
	for range 3 {
		port, err := freePort()
		if err != nil {
			return err
		}
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		var argv []string
		switch {
		case rest != "":
			argv = []string{rest, "--no-auth", "--listen", address, "--path", dir}
		case rclone != "":
			argv = []string{rclone, "serve", "restic", "--addr", address, dir}
		default:
			l.note("The repository \"cloud\" is a plain directory: neither rest-server (make tools builds it) nor rclone is installed.")
			return nil
		}
		c := &restServer{address: address, log: &lockedBuffer{}}
		if c.server, err = command.Start(command.Spec{Argv: argv, Dir: "/"}, c.log); err != nil {
			return err
		}
		if err := c.ready(ctx); err == nil {
			l.cloud = c
			return nil
		}
		c.stop()
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return errors.New("the server of the off-site repository does not start")
}

// ready waits until the server takes connections, or has ended.
func (c *restServer) ready(ctx context.Context) error {
	limit := time.NewTimer(10 * time.Second)
	defer limit.Stop()
	for {
		if conn, err := net.DialTimeout("tcp", c.address, time.Second); err == nil {
			return conn.Close()
		}
		select {
		case <-c.server.Done():
			return fmt.Errorf("it ended: %s", strings.TrimSpace(c.log.String()))
		case <-ctx.Done():
			return ctx.Err()
		case <-limit.C:
			return errors.New("it does not answer after 10 s")
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func (c *restServer) stop() { c.server.Stop(syscall.SIGTERM, 3*time.Second) }
