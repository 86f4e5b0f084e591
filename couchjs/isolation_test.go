package couchjs

import (
	"context"
	"fmt"
	"strings"
	"testing"
)

func TestNoHostIsReachable(t *testing.T) {
	t.Parallel()
	p := newPool(t, Options{Processes: 1})
	names := []string{"std", "os", "print", "console", "bjson", "process", "setTimeout", "fetch", "XMLHttpRequest", "Worker", "load", "scriptArgs",
		"SharedArrayBuffer", "Atomics", "WebAssembly", "require", "module"}
	err := validate(p, fmt.Sprintf(`function(n) {
		var found = [], global = (0, eval)("globalThis");
		for (var name of %q.split(",")) if (name in global) found.push(name);
		throw({forbidden: found}) }`, strings.Join(names, ",")), "{}")
	wantThrown(t, err, "forbidden", "[]")
	// A dynamic import gives a promise, which nobody fulfils.
	seen := `function(n) { if (globalThis.got) throw({forbidden: got}); import("os").then(function(os) { globalThis.got = "os" }) }`
	for range 3 {
		if err := validate(p, seen, "{}"); err != nil {
			t.Error(err)
		}
	}
}

// TestPollution lets functions break what they can, and looks whether others notice.
func TestPollution(t *testing.T) {
	t.Parallel()
	p := newPool(t, Options{Processes: 1})
	const good = `function(n) { if (typeof leak !== "undefined" || JSON.stringify(n) !== "{\"a\":1}") throw({forbidden: "polluted"}); if (!n.a) throw({forbidden: "no a"}) }`
	if err := validate(p, good, `{"a":1}`); err != nil {
		t.Fatal(err)
	}
	for _, body := range []string{
		`JSON.parse = function() { return {} }; JSON.stringify = function() { return "x" }`,
		`leak = n; globalThis.leak = n`,
		`Object.prototype.a = 0; Array.prototype.push = null; Function.prototype.call = null; Function.prototype.apply = null`,
		`Object.prototype.toJSON = function() { return "owned" }`,
		`Object.defineProperty(Array.prototype, "0", {set: function() { throw 1 }, get: function() { return "x" }})`,
		`String = Reflect = Object = Array = JSON = eval = undefined`,
		`Object.freeze(Object.prototype); Object.freeze(globalThis)`,
		`String.prototype.split = String.prototype.slice = function() { throw 1 }`,
		`Error.prototype.name = "Fake"; Error.prepareStackTrace = function() { throw 1 }`,
	} {
		// What a function does to its own later calls is its own affair; it may only not crash.
		polluter := "function(n) { " + body + " }"
		for range 2 {
			_ = validate(p, polluter, `{"a":1}`)
		}
		if err := validate(p, good, `{"a":1}`); err != nil {
			t.Errorf("after %s: %v", body, err)
		}
	}
	wantThrown(t, validate(p, good, `{}`), "forbidden", `"polluted"`)
}

// TestOwnPollution shows that the frame around a function holds when the function has replaced all that it could use.
func TestOwnPollution(t *testing.T) {
	t.Parallel()
	p := newPool(t, Options{Processes: 1})
	function := `function(n) {
		if (n.refuse) throw({forbidden: n.refuse});
		JSON.parse = function() { return {} };
		JSON.stringify = function() { return "x" };
		Array.isArray = Reflect.apply = Function.prototype.call = Function.prototype.bind = Function.prototype.apply = null;
		Object.prototype.hasOwnProperty = Object.keys = Object.freeze = String.prototype.slice = null }`
	if err := validate(p, function, `{}`); err != nil {
		t.Fatal(err)
	}
	wantThrown(t, validate(p, function, `{"refuse":{"why":1}}`), "forbidden", `{"why":1}`)
}

func TestScopesShareNothing(t *testing.T) {
	t.Parallel()
	p := newPool(t, Options{Processes: 1})
	ctx := context.Background()
	const function = `function(n) { globalThis.seen = (globalThis.seen || "") + n.who; throw({forbidden: seen}) }`
	call := func(scope, who string) error {
		return p.In(scope).Validate(ctx, function, nil, []byte(`{"who":"`+who+`"}`), []byte("null"), []byte("{}"), []byte("{}"))
	}
	wantThrown(t, call("one", "a"), "forbidden", `"a"`)
	wantThrown(t, call("two", "b"), "forbidden", `"b"`)
	wantThrown(t, call("one", "c"), "forbidden", `"ac"`)
}

func TestMoreFunctionsThanAreKept(t *testing.T) {
	t.Parallel()
	p := newPool(t, Options{Processes: 1})
	for i := range maxKnown + 2 {
		wantThrown(t, validate(p, fmt.Sprintf(`function(n) { throw({forbidden: %d + n.a}) }`, i), `{"a":1}`), "forbidden", fmt.Sprint(i+1))
	}
	// The first of them has been dropped by the child, and the parent does not know.
	for i := range 2 {
		wantThrown(t, validate(p, fmt.Sprintf(`function(n) { throw({forbidden: %d + n.a}) }`, i), `{"a":2}`), "forbidden", fmt.Sprint(i+2))
	}
	if len(p.idle) != 1 || len(p.idle[0].known) > maxKnown {
		t.Errorf("the parent remembers too much")
	}
}
