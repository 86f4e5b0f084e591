package couchjs

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"time"
)

// processError is the name that CouchDB gives to failures of the process rather than of the function.
const processError = "os_process_error"

// process is a child as its parent sees it. One goroutine at a time uses it.
type process struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Reader
	stderr tail
	known  map[functionKey]bool // functions whose text the child has been sent
	used   bool                 // it has answered a call before
	since  time.Time            // when it became idle
}

// errGone says that a child ended, or wrote what no child of ours writes.
var errGone = errors.New("couchjs: the process is gone")

// errLate is the cause of a context that ended because the call took too long.
var errLate = errors.New("couchjs: the call took too long")

// maxKnown bounds what the parent remembers of a child. More than that it cannot hold anyway.
const maxKnown = 2 * maxRealms

// startLimit is how long a child may take to start.
const startLimit = 20 * time.Second

// start starts a child and waits for its greeting. It fails with *Error, or ctx's error.
func start(ctx context.Context, command []string, memory int64) (*process, error) {
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env = []string{}
	cmd.Dir = "/"
	cmd.SysProcAttr = processAttributes()
	p := &process{cmd: cmd, known: map[functionKey]bool{}}
	cmd.Stderr = &p.stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, &Error{Name: processError, Reason: "the process does not start: " + err.Error()}
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, &Error{Name: processError, Reason: "the process does not start: " + err.Error()}
	}
	if err := cmd.Start(); err != nil {
		return nil, &Error{Name: processError, Reason: "the process does not start: " + err.Error()}
	}
	p.in, p.out = in, bufio.NewReaderSize(out, 16<<10)
	hello := newFrame(opHello, 0, binary.BigEndian.AppendUint64(nil, uint64(memory)))
	a, err := p.exchange(ctx, startLimit, hello)
	if err == nil && a.status != statusOK {
		err = errGone
	}
	if err != nil {
		p.end()
		if errors.Is(err, errGone) {
			err = &Error{Name: processError, Reason: "the process does not start as it should"}
		}
		return nil, err
	}
	return p, nil
}

// end kills the child and waits for it. What it has written to its standard error is complete then.
func (p *process) end() {
	// The child may have ended by itself, and its exit code says nothing that matters.
	_ = p.cmd.Process.Kill()
	_ = p.in.Close()
	_ = p.cmd.Wait()
}

// call makes a call. It fails with errGone, errLate or ctx's error, after which the process can only be ended.
func (p *process) call(ctx context.Context, limit time.Duration, r *request) (answer, error) {
	withText := r.op == opCompile || !p.known[r.key]
	a, err := p.exchange(ctx, limit, r.frame(withText))
	if err == nil && a.status == statusUnknown && !withText {
		a, err = p.exchange(ctx, limit, r.frame(true))
	}
	if err != nil {
		return answer{}, err
	}
	if a.status == statusUnknown {
		return answer{}, errGone
	}
	if len(p.known) >= maxKnown {
		clear(p.known)
	}
	if r.op != opCompile {
		p.known[r.key] = true
	}
	p.used = true
	return a, nil
}

// exchange sends a frame and reads the answer. The child is killed when the limit is over or ctx ends, which ends reading and
// writing too.
func (p *process) exchange(ctx context.Context, limit time.Duration, frame []byte) (answer, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errLate)
	defer cancel()
	killed := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		_ = p.cmd.Process.Kill()
		close(killed)
	})
	a, err := p.converse(frame)
	if !stop() {
		<-killed
		if err == nil {
			// The answer was complete before the end came, but there is no process to go on with.
			a.retire = true
			return a, nil
		}
		return answer{}, context.Cause(ctx)
	}
	return a, err
}

func (p *process) converse(frame []byte) (answer, error) {
	if _, err := p.in.Write(frame); err != nil {
		return answer{}, errGone
	}
	status, flag, parts, err := readFrame(p.out, maxAnswer)
	if err != nil {
		return answer{}, errGone
	}
	a := answer{status: status, retire: flag == flagSet}
	switch {
	case status == statusError && len(parts) == 3:
		a.name, a.reason, a.log = string(parts[0]), string(parts[1]), string(parts[2])
	case status != statusError && len(parts) == 2:
		a.text, a.log = string(parts[0]), string(parts[1])
	default:
		return answer{}, errGone
	}
	// Nothing may follow: an answer to no question would be taken for the answer to the next.
	if p.out.Buffered() > 0 {
		return answer{}, errGone
	}
	return a, nil
}

func lateError(limit time.Duration) *Error {
	return &Error{Name: processError, Reason: fmt.Sprintf("OS process timed out: the function took longer than %v.", limit)}
}

// tail is a writer that keeps the last of what is written to it.
type tail struct{ b []byte }

// maxTail is how much of a child's standard error is kept. It ends with what killed the child.
const maxTail = 4 << 10

func (t *tail) Write(b []byte) (int, error) {
	t.b = append(t.b, b[max(0, len(b)-maxTail):]...)
	if extra := len(t.b) - maxTail; extra > 0 {
		t.b = append(t.b[:0], t.b[extra:]...)
	}
	return len(b), nil
}
