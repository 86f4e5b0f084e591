package couchjs

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
)

func TestWhatFunctionsThrow(t *testing.T) {
	t.Parallel()
	p := newPool(t, Options{Processes: 1})
	for _, c := range []struct{ body, kind, reason string }{
		{`throw({forbidden: "no"})`, "forbidden", `"no"`},
		{`throw({unauthorized: "who?"})`, "unauthorized", `"who?"`},
		{`throw({forbidden: {a: 1}})`, "forbidden", `{"a":1}`},
		{`throw({forbidden: null})`, "forbidden", `null`},
		{`throw({forbidden: undefined})`, "forbidden", `null`},
		{`throw({forbidden: "f", unauthorized: "u"})`, "forbidden", `"f"`},
		{`var e = new Error("x"); e.forbidden = "also"; throw e`, "forbidden", `"also"`},
		{`throw({forbidden: "é \ud800 \u0000"})`, "forbidden", "\"é \ufffd \\u0000\""},
		{`throw({forbidden: new Array(7e4).join("x")})`, "forbidden", `"the reason is too long to be shown"`},
	} {
		wantThrown(t, validate(p, "function(n) { "+c.body+" }", "{}"), c.kind, c.reason)
	}
	for _, c := range []struct{ body, name, reason string }{
		{`throw "just text"`, "unknown_error", "just text"},
		{`throw 7`, "unknown_error", "7"},
		{`throw null`, "unknown_error", "null"},
		{`throw undefined`, "unknown_error", "undefined"},
		{`throw {x: 1}`, "unknown_error", `{"x":1}`},
		{`throw new Error("an error")`, "Error", "an error"},
		{`n.a.b`, "TypeError", "undefined"},
		{`nothing.at.all`, "ReferenceError", "nothing"},
		{`throw ["error", "my_name", "my reason"]`, "my_name", "my reason"},
		{`throw {error: "old", reason: "style"}`, "old", "style"},
		{`throw {get forbidden() { throw 1 }}`, "unknown_error", ""},
		{`throw {name: Symbol("s"), get message() { throw 1 }}`, "unknown_error", "cannot be shown"},
		{`throw new Proxy({}, {get() { throw 1 }})`, "unknown_error", "cannot be shown"},
		{`require("x")`, "ReferenceError", "require"},
	} {
		wantError(t, validate(p, "function(n) { "+c.body+" }", "{}"), c.name, c.reason)
	}
}

func TestWhatFunctionsMayReturn(t *testing.T) {
	t.Parallel()
	p := newPool(t, Options{Processes: 1})
	for _, function := range []string{
		"function(n) { return false }",
		"function(n) { n.added = 1 }",
		"function(n) {};\n",
		"(function(n) {})",
		"n => { }",
		"function named(n) {} // a comment",
		"// first a comment\nfunction(n) {}",
		"var x = 1; (function(n) { return x })",
		"async function(n) { throw {forbidden: 1} }",
	} {
		if err := validate(p, function, `{"a":1}`); err != nil {
			t.Errorf("%s: %v", function, err)
		}
	}
}

func TestArguments(t *testing.T) {
	t.Parallel()
	p := newPool(t, Options{Processes: 1})
	err := p.Validate(context.Background(), "function() { throw({forbidden: Array.prototype.slice.call(arguments)}) }", nil,
		[]byte(`{"_id":"a","big":1e300,"s":"\u0000\"é😀"}`), []byte(`{"_id":"a"}`), []byte(`{"db":"d","name":null,"roles":["r"]}`), []byte(`{"admins":{}}`))
	wantThrown(t, err, "forbidden", `[{"_id":"a","big":1e+300,"s":"\u0000\"é😀"},{"_id":"a"},{"db":"d","name":null,"roles":["r"]},{"admins":{}}]`)
}

func TestCompile(t *testing.T) {
	t.Parallel()
	p := newPool(t, Options{Processes: 1})
	ctx := context.Background()
	for _, function := range []string{"function(doc) { emit(1) }", "(doc) => doc", "function f() {}\nf"} {
		if err := p.Compile(ctx, function); err != nil {
			t.Errorf("%s: %v", function, err)
		}
	}
	for function, reason := range map[string]string{
		"function(":      "SyntaxError",
		"":               "",
		"1":              "does not eval to a function",
		"{}":             "does not eval to a function",
		"throw 1":        "",
		"function(){}}{": "SyntaxError",
		"nothing":        "ReferenceError",
	} {
		wantError(t, p.Compile(ctx, function), "compilation_error", reason)
		wantError(t, validate(p, function, "{}"), "compilation_error", reason)
	}
}

func TestFilter(t *testing.T) {
	t.Parallel()
	p := newPool(t, Options{Processes: 1})
	ctx := context.Background()
	docs := [][]byte{[]byte(`{"type":"x"}`), []byte(`{"type":"y"}`), []byte(`{}`), []byte(`{"type":"x","_deleted":true}`)}
	for function, want := range map[string][]bool{
		`function(doc, req) { return doc.type == req.query.type }`:                       {true, false, false, true},
		`function(doc) { return "yes" }`:                                                 {true, true, true, true},
		`function(doc) { return 0 }`:                                                     {false, false, false, false},
		`function(doc) { return doc._deleted }`:                                          {false, false, false, true},
		`function(doc) { }`:                                                              {false, false, false, false},
		`function(doc, req) { req.query.type = "y"; return doc.type == req.query.type }`: {true, false, false, true},
		`function(doc, req) { req.n = (req.n || 0) + 1; return req.n > 1 }`:              {false, false, false, false},
	} {
		got, err := p.Filter(ctx, function, nil, docs, []byte(`{"query":{"type":"x"}}`))
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v, %v, want %v", function, got, err, want)
		}
	}
	_, err := p.Filter(ctx, `function(doc) { return doc.type.x.y }`, nil, docs, []byte(`{}`))
	wantError(t, err, "TypeError", "undefined")
	got, err := p.Filter(ctx, `function(doc) { throw 1 }`, nil, nil, []byte(`{}`))
	if err != nil || len(got) != 0 {
		t.Errorf("no documents: %v, %v", got, err)
	}
}

func TestFilterOfMoreThanOneBatch(t *testing.T) {
	t.Parallel()
	p := newPool(t, Options{Processes: 1})
	var docs [][]byte
	for i := range 4 {
		docs = append(docs, fmt.Appendf(nil, `{"n":%d,"s":"%s"}`, i, strings.Repeat("x", batchBytes/3)))
	}
	got, err := p.Filter(context.Background(), `function(doc) { return doc.n % 2 }`, nil, docs, []byte(`{}`))
	if want := []bool{false, true, false, true}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
}

func TestEmits(t *testing.T) {
	t.Parallel()
	p := newPool(t, Options{Processes: 1})
	docs := [][]byte{[]byte(`{"type":"x"}`), []byte(`{"type":"y"}`), []byte(`{"type":"x"}`)}
	got, err := p.Emits(context.Background(), `function(doc) { if (doc.type == "x") emit(doc._id, sum([1, 2])) }`, nil, docs)
	if want := []bool{true, false, true}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	_, err = p.Emits(context.Background(), `function(doc) { emit(doc.a.b) }`, nil, docs)
	wantError(t, err, "TypeError", "undefined")
}

func TestHelpers(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	p := newPool(t, Options{Processes: 1, Log: slog.New(slog.NewTextHandler(&out, nil))})
	err := validate(p, `function(n) { log("hello\nworld"); log({a: 1}); throw({forbidden: [toJSON(n), isArray([]), isArray({}), sum([1, 2, 3])]}) }`, `{"a":1}`)
	wantThrown(t, err, "forbidden", `["{\"a\":1}",true,false,6]`)
	if err := validate(p, `function(n) { for (var i = 0; i < 1e5; i++) log("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx") }`, `{}`); err != nil {
		t.Error(err)
	}
	for _, want := range []string{"msg=hello", "msg=world", `{\"a\":1}`} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("log lacks %s: %.300s", want, out.String())
		}
	}
	if out.Len() > 256<<10 {
		t.Errorf("one call logged %d bytes", out.Len())
	}
}

func TestModules(t *testing.T) {
	t.Parallel()
	p := newPool(t, Options{Processes: 1})
	ddoc := []byte(`{"_id":"_design/d","lib":{
		"a":"exports.name = 'a'; exports.b = require('./b').name; exports.id = module.id",
		"b":"exports.name = 'b'; exports.c = require('../other/c').name",
		"bad":"throw new Error('in bad')",
		"syntax":"function(",
		"loop":"exports.early = 1; exports.late = require('lib/loop').early",
		"number":1},
		"other":{"c":"module.exports = {name: 'c'}"}}`)
	run := func(body string) error {
		return p.Validate(context.Background(), "function(n) { "+body+" }", ddoc, []byte("{}"), []byte("null"), []byte("{}"), []byte("{}"))
	}
	wantThrown(t, run(`var a = require("lib/a"); throw({forbidden: [a.name, a.b, a.id, require("lib/b").c]})`), "forbidden", `["a","b","lib/a","c"]`)
	wantThrown(t, run(`throw({forbidden: require("lib/loop").late})`), "forbidden", "1")
	wantThrown(t, run(`throw({forbidden: this._id})`), "forbidden", `"_design/d"`)
	wantThrown(t, run(`this._id = "x"; throw({forbidden: this._id})`), "forbidden", `"_design/d"`)
	wantError(t, run(`require("lib/none")`), "invalid_require_path", "none")
	wantError(t, run(`require("lib/number")`), "invalid_require_path", "not: number")
	wantError(t, run(`require("lib")`), "invalid_require_path", "not: object")
	wantError(t, run(`require("../lib/a")`), "invalid_require_path", "no parent")
	wantError(t, run(`require("toString")`), "invalid_require_path", "toString")
	wantError(t, run(`require("__proto__/constructor")`), "invalid_require_path", "__proto__")
	wantError(t, run(`require("lib/bad")`), "compilation_error", "in bad")
	wantError(t, run(`require("lib/syntax")`), "compilation_error", "SyntaxError")
	for _, name := range []string{"fs", "std", "os", "qjs:std", "child_process"} {
		wantError(t, run(`require("`+name+`")`), "invalid_require_path", name)
	}
}
