package couchjs

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"runtime"
	"runtime/debug"
)

// maxRealms is how many functions a child keeps ready.
const maxRealms = 16

// maxLog bounds what is kept of a call's log.
const maxLog = 64 << 10

// Main is the child's program: it serves calls on standard input and output until the input ends, and returns the exit code.
// It takes rights and resources away from the process, so the process must do nothing else.
func Main() int {
	// One goroutine runs JavaScript, another watches the input.
	runtime.GOMAXPROCS(2)
	debug.SetGCPercent(50)
	in := bufio.NewReaderSize(os.Stdin, 64<<10)
	op, _, parts, err := readFrame(in, maxRequest)
	if err != nil || op != opHello || len(parts) != 1 || len(parts[0]) != 8 {
		return 2
	}
	c := child{memory: int64(binary.BigEndian.Uint64(parts[0])), realms: map[functionKey]*realm{}}
	confine(c.memory)
	if !c.reply(answer{status: statusOK}) {
		return 1
	}
	frames := make(chan frame)
	go watch(in, frames)
	for f := range frames {
		if !c.reply(c.serve(f)) {
			return 1
		}
	}
	return 0
}

type frame struct {
	op    byte
	flag  byte
	parts [][]byte
}

// watch reads frames, and ends the process as soon as the input ends, also while a function runs: the parent is gone then.
func watch(in *bufio.Reader, frames chan<- frame) {
	for {
		op, flag, parts, err := readFrame(in, maxRequest)
		switch {
		case errors.Is(err, io.EOF):
			os.Exit(0)
		case err != nil:
			os.Exit(1)
		}
		frames <- frame{op, flag, parts}
	}
}

// child is the state of a child process.
type child struct {
	memory int64
	realms map[functionKey]*realm
	recent []functionKey // the keys of realms, the one used last at the end
}

func (c *child) reply(a answer) bool {
	flag := byte(0)
	if a.retire {
		flag = flagSet
	}
	parts := [][]byte{[]byte(a.text), []byte(a.log)}
	if a.status == statusError {
		parts = [][]byte{[]byte(a.name), []byte(a.reason), []byte(a.log)}
	}
	_, err := os.Stdout.Write(newFrame(a.status, flag, parts...))
	return err == nil
}

func (c *child) serve(f frame) answer {
	if len(f.parts) == 0 || len(f.parts[0]) != len(functionKey{}) {
		return answer{status: statusError, name: processError, reason: "malformed request", retire: true}
	}
	key := functionKey(f.parts[0])
	args := f.parts[1:]
	function, modules := "", ""
	if f.flag == flagSet && len(args) >= 2 {
		function, modules, args = string(args[0]), string(args[1]), args[2:]
	}
	if f.op == opCompile {
		r, a := newRealm(function, modules, c.memory)
		if r != nil {
			r.close()
		}
		return a
	}
	r, ok := c.realms[key]
	if !ok {
		if f.flag != flagSet {
			return answer{status: statusUnknown}
		}
		var a answer
		if r, a = newRealm(function, modules, c.memory); r == nil {
			return a
		}
		c.realms[key] = r
	}
	c.use(key)
	return r.serve(f.op, args)
}

// use notes that a realm is used, and closes the one that has not been for longest when there are too many.
func (c *child) use(key functionKey) {
	for i, k := range c.recent {
		if k == key {
			c.recent = append(c.recent[:i], c.recent[i+1:]...)
			break
		}
	}
	c.recent = append(c.recent, key)
	if len(c.recent) > maxRealms {
		oldest := c.recent[0]
		c.recent = c.recent[1:]
		c.realms[oldest].close()
		delete(c.realms, oldest)
	}
}

// serve performs a request. Documents are handed to the function one at a time, so that only one is in its heap.
func (r *realm) serve(op byte, args [][]byte) answer {
	switch {
	case op == opValidate && len(args) == 4:
		return r.do("validate", string(args[0]), string(args[1]), string(args[2]), string(args[3]))
	case op == opFilter && len(args) >= 1:
		a := r.do("request", string(args[0]))
		if a.status != statusOK {
			return a
		}
		return r.serveEach("filter", args[1:])
	case op == opEmits:
		return r.serveEach("emits", args)
	}
	return answer{status: statusError, name: processError, reason: "malformed request", retire: true}
}

func (r *realm) serveEach(operation string, docs [][]byte) answer {
	all := answer{status: statusOK}
	truths := make([]byte, 0, len(docs))
	for _, doc := range docs {
		a := r.do(operation, string(doc))
		if len(all.log) < maxLog {
			all.log += a.log
		}
		if a.status != statusOK {
			a.log = all.log
			return a
		}
		truths = append(truths, a.text...)
	}
	all.text = string(truths)
	return all
}
