package command

import (
	"errors"
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// Server is a child that runs on: a database, a file server, a worker.
type Server struct {
	cmd  *exec.Cmd
	done chan struct{}
	err  error
}

// Start starts s and returns at once; its output goes to log (nil: nowhere).
// Argv, Env, Dir, Stdin and ExtraFiles of s count. The child gets a SIGTERM when
// this process dies, unless it changes its user first; otherwise it runs until
// Stop.
func Start(s Spec, log io.Writer) (*Server, error) {
	cmd, err := serve(s)
	if err != nil {
		return nil, err
	}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr.Pdeathsig = syscall.SIGTERM
	return launch(cmd, func() { endGroup(cmd.Process.Pid, time.Now().Add(defaultGrace)) })
}

func serve(s Spec) (*exec.Cmd, error) {
	if len(s.Argv) == 0 || s.Argv[0] == "" {
		return nil, errors.New("no program to run")
	}
	cmd := exec.Command(lookup(s.Argv[0]), s.Argv[1:]...)
	cmd.Env = append(Base(), s.Env...)
	cmd.Dir, cmd.Stdin, cmd.ExtraFiles = s.Dir, s.Stdin, s.ExtraFiles
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.WaitDelay = time.Second
	return cmd, nil
}

// launch starts cmd on a thread that waits for it: the kernel sends the death
// signal when the thread that forked ends, which for a thread of Go's can be
// long before the process does. after runs once the child has ended.
func launch(cmd *exec.Cmd, after func()) (*Server, error) {
	s := &Server{cmd: cmd, done: make(chan struct{})}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			s.err = cmd.Wait()
			after()
			close(s.done)
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("starting %s: %w", cmd.Args[0], err)
	}
	return s, nil
}

// Pid is the child's process id, and that of its group and session.
func (s *Server) Pid() int { return s.cmd.Process.Pid }

// Done is closed when the child has ended.
func (s *Server) Done() <-chan struct{} { return s.done }

// Err says how the child ended; nil while it runs, and when it ended with 0.
func (s *Server) Err() error {
	select {
	case <-s.done:
	default:
		return nil
	}
	var exit *exec.ExitError
	switch {
	case errors.As(s.err, &exit):
		return &ExitError{Program: s.cmd.Args[0], Code: exitCode(s.cmd), Signal: ended(s.cmd)}
	case errors.Is(s.err, exec.ErrWaitDelay):
		return nil // something that it left behind holds its log open
	}
	return s.err
}

// Stop sends signal to the child's group and SIGKILL after grace, and returns
// when the child and its group have ended.
func (s *Server) Stop(signal syscall.Signal, grace time.Duration) {
	select {
	case <-s.done:
		return // its number may be another's by now
	default:
	}
	_ = syscall.Kill(-s.Pid(), signal)
	limit := time.NewTimer(grace)
	defer limit.Stop()
	select {
	case <-s.done:
	case <-limit.C:
		_ = syscall.Kill(-s.Pid(), syscall.SIGKILL)
		<-s.done
	}
}
