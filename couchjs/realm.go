package couchjs

import (
	_ "embed"
	"encoding/json"
	"errors"

	"modernc.org/quickjs"
)

//go:embed realm.js
var realmSource string

// realm is an engine with one function in it. It serves one goroutine.
type realm struct {
	vm   *quickjs.VM
	call quickjs.Value
}

// newRealm makes an engine and compiles a function in it. The answer tells how that went; there is a realm only if it is statusOK.
func newRealm(function, modules string, memory int64) (*realm, answer) {
	vm, err := quickjs.NewVM()
	if err != nil {
		return nil, broken(err)
	}
	vm.SetMemoryLimit(uintptr(memory))
	call, err := vm.EvalValue(realmSource, quickjs.EvalGlobal)
	if err != nil {
		vm.Close()
		return nil, broken(err)
	}
	r := &realm{vm: vm, call: call}
	if a := r.do("compile", function, modules); a.status != statusOK {
		r.close()
		return nil, a
	}
	return r, answer{status: statusOK}
}

func (r *realm) close() {
	r.call.Free()
	// A failure to free the engine's memory is not worth more than the process, which is limited and replaced.
	_ = r.vm.Close()
}

// answer is what a child answers to a request.
type answer struct {
	status byte
	text   string // result, or what was thrown
	name   string // of an error
	reason string
	log    string
	retire bool // the engine, and with it the child, cannot be trusted to have its memory back
}

func broken(err error) answer {
	a := answer{status: statusError, name: "InternalError", reason: err.Error(), retire: true}
	var e *quickjs.Error
	if errors.As(err, &e) && e.Name != "" {
		a.name, a.reason = e.Name, e.Message
	}
	return a
}

// do performs an operation of realm.js.
func (r *realm) do(operation string, args ...string) answer {
	values := make([]any, 0, 5)
	values = append(values, operation)
	for _, arg := range args {
		values = append(values, arg)
	}
	result, err := r.call.Call(quickjs.UndefinedValue, values...)
	if err != nil {
		return broken(err)
	}
	text, ok := result.(string)
	if !ok || len(text) < 2 {
		return broken(errors.New("the engine gave no answer"))
	}
	a := answer{status: text[0], text: text[2:]}
	if text[1] == '1' {
		log, err := r.call.Call(quickjs.UndefinedValue, "log")
		if err != nil {
			return broken(err)
		}
		a.log, _ = log.(string)
	}
	if a.status == statusError {
		var e [2]string
		if err := json.Unmarshal([]byte(a.text), &e); err != nil {
			return broken(err)
		}
		a.name, a.reason = e[0], e[1]
		a.retire = a.name == "InternalError" && a.reason == "out of memory"
	}
	return a
}
