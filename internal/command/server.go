package command

import (
	"fmt"
	"io"
	"os/exec"
	"syscall"
	"time"
)

// Server is a child that runs until it is stopped: a database, a file server.
type Server struct {
	cmd  *exec.Cmd
	done chan struct{}
	err  error
}

// Start starts s and returns at once; its output goes to log (nil: nowhere).
// Env, Dir, Argv and ExtraFiles of s count. The child ends when Stop is called,
// and when this process dies (PR_SET_PDEATHSIG).
func Start(s Spec, log io.Writer) (*Server, error) {
	cmd := exec.Command(s.Argv[0], s.Argv[1:]...)
	cmd.Env = append(Base(), s.Env...)
	cmd.Dir, cmd.ExtraFiles = s.Dir, s.ExtraFiles
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", s.Argv[0], err)
	}
	server := &Server{cmd: cmd, done: make(chan struct{})}
	go func() {
		server.err = cmd.Wait()
		close(server.done)
	}()
	return server, nil
}

// Pid is the child's process id.
func (s *Server) Pid() int { return s.cmd.Process.Pid }

// Done is closed when the child has ended.
func (s *Server) Done() <-chan struct{} { return s.done }

// Stop sends signal to the child's group and SIGKILL after grace, and returns
// when the child has ended.
func (s *Server) Stop(signal syscall.Signal, grace time.Duration) {
	select {
	case <-s.done:
		return
	default:
	}
	_ = syscall.Kill(-s.Pid(), signal)
	select {
	case <-s.done:
	case <-time.After(grace):
		_ = syscall.Kill(-s.Pid(), syscall.SIGKILL)
		<-s.done
	}
}
