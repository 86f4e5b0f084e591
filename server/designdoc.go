package server

import (
	"context"
	"errors"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/parlordb/parlor/couchjs"
	"github.com/parlordb/parlor/store"
)

// designField is a member of a design document and the kinds of JSON that it may be. "*" in a path stands for any member.
type designField struct {
	path  string
	kinds string // the first characters of values
	types string // for the message
}

// designFields are what CouchDB checks when a design document is stored.
func designFields() []designField {
	return []designField{
		{"filters", "{", "object"},
		{"filters.*", "\"{", "string or object"},
		{"language", "\"", "string"},
		{"lists", "{", "object"},
		{"lists.*", "\"{", "string or object"},
		{"options", "{", "object"},
		{"options.include_design", "tf", "boolean"},
		{"options.local_seq", "tf", "boolean"},
		{"options.partitioned", "tf", "boolean"},
		{"rewrites", "[\"", "array or string"},
		{"shows", "{", "object"},
		{"shows.*", "\"{", "string or object"},
		{"updates", "{", "object"},
		{"updates.*", "\"{", "string or object"},
		{"validate_doc_update", "{\"", "object or string"},
		{"views", "{", "object"},
		{"views.*", "{", "object"},
	}
}

func invalidDesign(reason string) *Error {
	return &Error{Status: 400, Kind: "invalid_design_doc", Reason: reason}
}

// checkDesign judges a design document: the types of its members, and whether its views compile.
func (s *Server) checkDesign(ctx context.Context, doc *store.Doc) error {
	if doc.Deleted {
		return nil
	}
	for _, f := range designFields() {
		if err := f.check(doc.Body); err != nil {
			return err
		}
	}
	language := "javascript"
	if value := objectMember(doc.Body, "language"); value != nil {
		language, _ = text(value)
	}
	views := objectMember(doc.Body, "views")
	if views == nil {
		return nil
	}
	return members(views, func(name string, view jsontext.Value) error {
		if name == "lib" {
			return nil
		}
		return s.checkView(ctx, name, view, language)
	})
}

// check judges one field of a design document's body.
func (f designField) check(body jsontext.Value) error {
	top, below, nested := strings.Cut(f.path, ".")
	value := objectMember(body, top)
	if value == nil {
		return nil
	}
	if !nested {
		return f.judge(top, value)
	}
	if value[0] != '{' {
		return nil
	}
	if below != "*" {
		if value = objectMember(value, below); value == nil {
			return nil
		}
		return f.judge(f.path, value)
	}
	return members(value, func(name string, v jsontext.Value) error { return f.judge(top+"."+name, v) })
}

func (f designField) judge(name string, value jsontext.Value) error {
	if strings.IndexByte(f.kinds, value[0]) < 0 {
		return invalidDesign("`" + name + "` field must have " + f.types + " type")
	}
	return nil
}

// checkView judges a view: it has a map function, and what is JavaScript compiles.
func (s *Server) checkView(ctx context.Context, name string, view jsontext.Value, language string) error {
	mapping, reduce := objectMember(view, "map"), objectMember(view, "reduce")
	if mapping == nil {
		return invalidDesign("View `" + name + "` must contain map function")
	}
	kind, types := byte('"'), "string"
	if language == "query" {
		kind, types = '{', "object"
	}
	if mapping[0] != kind {
		return invalidDesign("`views." + name + ".map` field must have " + types + " type")
	}
	if reduce != nil && reduce[0] != '"' {
		return invalidDesign("`views." + name + ".reduce` field must have string type")
	}
	source, _ := text(reduce)
	if strings.HasPrefix(source, "_") && !isBuiltinReduce(source) {
		return invalidDesign("`" + source + "` is not a supported reduce function.")
	}
	if language != "javascript" {
		return nil
	}
	if err := s.compile(ctx, "map", name, mapping); err != nil || reduce == nil || strings.HasPrefix(source, "_") {
		return err
	}
	return s.compile(ctx, "reduce", name, reduce)
}

// compile asks the JavaScript engine whether a function is one.
func (s *Server) compile(ctx context.Context, kind, view string, function jsontext.Value) error {
	source, _ := text(function)
	err := s.js.Compile(ctx, source)
	var wrong *couchjs.Error
	if !errors.As(err, &wrong) {
		return err
	}
	return &Error{Status: 400, Kind: "compilation_error", Reason: "Compilation of the " + kind + " function in the '" + view + "' view failed: " + wrong.Reason}
}

func isBuiltinReduce(source string) bool {
	for _, name := range []string{"_sum", "_count", "_stats", "_approx_count_distinct", "_first", "_last", "_top_", "_bottom_"} {
		if strings.HasPrefix(source, name) {
			return true
		}
	}
	return false
}
