// Package program builds the parlor command and runs it as a process, for tests and measurements that meet it as its
// users do: over a port, with settings in a file, stopped by a signal.
//
//	bin, err := program.Build(ctx, dir, program.Race)
//	srv, err := program.Start(ctx, program.Options{Binary: bin, Data: dir, Config: []string{"server.ini"}})
//	… requests to srv.URL …
//	err = srv.Stop()
//
// Build once and start often: a start takes some milliseconds.
package program

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// listening begins the line of standard error that tells the address.
const listening = "parlor: listening on "

const (
	startLimit = 60 * time.Second // a program built with -race on a busy machine starts slowly
	stopLimit  = 60 * time.Second
	logLimit   = 1 << 20 // bytes of the log that are kept for Log
)

// Build compiles cmd/parlor into dir and returns the path of the program. With race it has the race detector, and needs cgo.
func Build(ctx context.Context, dir string, race bool) (string, error) {
	bin := filepath.Join(dir, "parlor")
	args := []string{"build", "-o", bin}
	if race {
		args = append(args, "-race")
	}
	cmd := exec.CommandContext(ctx, "go", append(args, "github.com/parlordb/parlor/cmd/parlor")...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return bin, nil
}

// Options says what to start.
type Options struct {
	Binary string   // from Build
	Data   string   // the data directory
	Config []string // ini files, in order; none: the one in Data
	Addr   string   // "": a free port of 127.0.0.1
	Env    []string // added to the environment
}

// Server is a running program. Its methods may be called concurrently.
type Server struct {
	URL  string // such as http://127.0.0.1:40123, without a slash at the end
	Addr string // such as 127.0.0.1:40123

	cmd    *exec.Cmd
	exited chan struct{} // closed when the process has ended and its log is read
	err    error         // of the process; read after exited

	mu  sync.Mutex
	log strings.Builder
}

// Start runs the program and returns when it listens. The process ends with Stop, Kill or ctx.
func Start(ctx context.Context, o Options) (*Server, error) {
	addr := o.Addr
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	args := []string{"serve", "-data", o.Data, "-addr", addr}
	for _, c := range o.Config {
		args = append(args, "-config", c)
	}
	cmd := exec.CommandContext(ctx, o.Binary, args...)
	cmd.Env = append(os.Environ(), o.Env...)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s := &Server{cmd: cmd, exited: make(chan struct{})}
	address := make(chan string, 1)
	go func() {
		defer close(s.exited)
		s.readLog(stderr, address)
		s.err = cmd.Wait()
	}()
	timer := time.NewTimer(startLimit)
	defer timer.Stop()
	select {
	case s.URL = <-address:
		s.Addr = strings.TrimPrefix(s.URL, "http://")
		return s, nil
	case <-s.exited:
		return nil, fmt.Errorf("parlor serve ended before it listened: %w\n%s", s.err, s.Log())
	case <-timer.C:
		return nil, errors.Join(fmt.Errorf("parlor serve did not listen within %s\n%s", startLimit, s.Log()), s.Kill())
	}
}

// readLog keeps the program's standard error and sends the address on which it listens, once.
func (s *Server) readLog(r io.Reader, address chan<- string) {
	sent := false
	in := bufio.NewReader(r)
	for {
		line, err := in.ReadString('\n')
		s.mu.Lock()
		if s.log.Len() < logLimit {
			s.log.WriteString(line)
		}
		s.mu.Unlock()
		if url, ok := strings.CutPrefix(strings.TrimSpace(line), listening); ok && !sent {
			address <- strings.TrimSuffix(url, "/")
			sent = true
		}
		if err != nil {
			return
		}
	}
}

// Log returns what the program has written to standard error so far, its first MiB.
func (s *Server) Log() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.String()
}

// Pid is the number of the process.
func (s *Server) Pid() int { return s.cmd.Process.Pid }

// Stop asks the program to end by SIGTERM and waits for it. An exit status other than 0 is an error, and so is a
// program that does not end within a minute: it is then killed. After the program has ended Stop tells how.
func (s *Server) Stop() error {
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	timer := time.NewTimer(stopLimit)
	defer timer.Stop()
	select {
	case <-s.exited:
	case <-timer.C:
		return errors.Join(fmt.Errorf("parlor serve did not end within %s of SIGTERM\n%s", stopLimit, s.Log()), s.Kill())
	}
	if s.err != nil {
		return fmt.Errorf("parlor serve: %w\n%s", s.err, s.Log())
	}
	return nil
}

// Kill ends the program at once, as a crash would, and waits for it.
func (s *Server) Kill() error {
	if err := s.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-s.exited
	return nil
}
