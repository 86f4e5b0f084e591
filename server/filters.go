package server

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/parlordb/parlor/couchjs"
	"github.com/parlordb/parlor/mango"
	"github.com/parlordb/parlor/store"
)

// changesFilter says which changes a feed tells of. The zero value lets all pass.
type changesFilter struct {
	byID func(id string) bool // nil: any id passes
	// byDoc judges documents rendered as shown says; nil: any document passes.
	byDoc    func(ctx context.Context, docs [][]byte) ([]bool, error)
	shown    shown
	projects bool // documents are reduced to fields
	fields   mango.Projection
	size     int64 // about how many bytes it holds for as long as the feed lives
}

// changesFilter makes the filter that a request for changes names. body is nil where there is none.
func (s *Server) changesFilter(r *request, q changesQuery, body jsontext.Value) (changesFilter, error) {
	switch {
	case q.filter == "":
		return changesFilter{}, nil
	case q.filter == "_doc_ids":
		return idsFilter(r, body)
	case q.filter == "_selector":
		return selectorFilter(r, body)
	case q.filter == "_design":
		return changesFilter{byID: func(id string) bool { return strings.HasPrefix(id, designPrefix) }}, nil
	case q.filter == "_view":
		return s.viewFilter(r, q.view)
	case q.filter[0] == '_':
		return changesFilter{}, badRequest("unknown builtin filter name")
	}
	return s.functionFilter(r, q.filter, body)
}

// idsFilter lets the documents pass whose ids the body names, or the query of a GET.
func idsFilter(r *request, body jsontext.Value) (changesFilter, error) {
	bad := badRequest("`doc_ids` filter parameter is not a list of doc ids.")
	list := objectMemberOf(body, "doc_ids")
	if r.Method != http.MethodPost && r.hasParam("doc_ids") {
		var err error
		if list, err = checkJSON([]byte(r.param("doc_ids"))); err != nil {
			return changesFilter{}, err
		}
	}
	if list == nil || list[0] != '[' {
		return changesFilter{}, bad
	}
	const overhead = 64 // of an entry in a map of strings
	ids, size := map[string]struct{}{}, int64(0)
	err := elements(list, func(value jsontext.Value) error {
		id, ok := text(value)
		if !ok {
			return bad
		}
		ids[id] = struct{}{}
		size += overhead + int64(len(id))
		return nil
	})
	return changesFilter{byID: func(id string) bool { _, ok := ids[id]; return ok }, size: size}, err
}

// objectMemberOf is objectMember of an object that may be missing.
func objectMemberOf(object jsontext.Value, name string) jsontext.Value {
	if object == nil {
		return nil
	}
	return objectMember(object, name)
}

// parsedSize is about how many bytes a byte of a selector takes when it is parsed.
const parsedSize = 16

// selectorFilter lets the documents pass that a Mango selector in the body selects.
func selectorFilter(r *request, body jsontext.Value) (filter changesFilter, err error) {
	if r.Method != http.MethodPost {
		return filter, badRequest("Selector must be specified in POST payload")
	}
	source := objectMemberOf(body, "selector")
	if source == nil || source[0] != '{' {
		return filter, badRequest("Selector error: expected a JSON object")
	}
	selector, err := mango.Parse(source)
	if err != nil {
		return filter, asBadRequest(err)
	}
	filter.byDoc = func(ctx context.Context, docs [][]byte) ([]bool, error) {
		passed := make([]bool, len(docs))
		for i, doc := range docs {
			passed[i] = selector.Match(doc)
		}
		return passed, ctx.Err()
	}
	filter.size = parsedSize * int64(len(source))
	fields := objectMemberOf(body, "fields")
	if fields == nil || string(fields) == "null" {
		return filter, nil
	}
	names, err := parseStrings(fields, "Selector error: fields must be JSON array")
	if err != nil {
		return filter, err
	}
	filter.projects, filter.size = true, filter.size+parsedSize*int64(len(fields))
	if filter.fields, err = mango.ParseFields(names); err != nil {
		return filter, asBadRequest(err)
	}
	return filter, nil
}

// asBadRequest gives a mistake in a selector the kind that CouchDB gives it in _changes.
func asBadRequest(err error) error {
	var wrong *mango.SelectorError
	if errors.As(err, &wrong) {
		return badRequest(wrong.Reason)
	}
	return err
}

// functionFilter lets the documents pass that a filter function of a design document returns true for.
func (s *Server) functionFilter(r *request, name string, body jsontext.Value) (changesFilter, error) {
	design, function, ok := twoNames(name)
	if !ok {
		return changesFilter{}, badRequest("`filter` must be of the form `designname/filtername`")
	}
	code, modules, err := s.designFunction(r.db, design, "filters", function)
	if err != nil {
		return changesFilter{}, err
	}
	req, err := s.filterRequest(r, body)
	if err != nil {
		return changesFilter{}, err
	}
	size := int64(len(code) + len(modules) + len(req))
	return changesFilter{size: size, shown: shown{revisions: true}, byDoc: func(ctx context.Context, docs [][]byte) ([]bool, error) {
		passed, err := s.js.In(r.db.Name()).Filter(ctx, code, modules, docs, req)
		return filtered(passed, err, len(docs))
	}}, nil
}

// viewFilter lets the documents pass for which the map function of a view emits something.
func (s *Server) viewFilter(r *request, name string) (changesFilter, error) {
	if name == "" {
		return changesFilter{}, badRequest("`view` filter parameter is not provided.")
	}
	design, view, ok := twoNames(name)
	if !ok {
		return changesFilter{}, badRequest("`view` must be of the form `designname/viewname`")
	}
	code, modules, err := s.designFunction(r.db, design, "views", view, "map")
	if err != nil {
		return changesFilter{}, err
	}
	size := int64(len(code) + len(modules))
	return changesFilter{size: size, shown: shown{revisions: true}, byDoc: func(ctx context.Context, docs [][]byte) ([]bool, error) {
		passed, err := s.js.In(r.db.Name()).Emits(ctx, code, modules, docs)
		return filtered(passed, err, len(docs))
	}}, nil
}

// filtered makes a function that fails the client's mistake: 400. A child process that failed is the server's.
func filtered(passed []bool, err error, want int) ([]bool, error) {
	var wrong *couchjs.Error
	switch {
	case errors.As(err, &wrong) && !processFailed(wrong):
		return nil, &Error{Status: http.StatusBadRequest, Kind: wrong.Name, Reason: wrong.Reason}
	case err != nil:
		return nil, err
	case len(passed) != want:
		return nil, errors.New("couchjs answered for another number of documents")
	}
	return passed, nil
}

// twoNames splits "design/function", each of which may be escaped once more.
func twoNames(name string) (design, function string, ok bool) {
	parts := slices.DeleteFunc(strings.Split(name, "/"), func(part string) bool { return part == "" })
	if len(parts) != 2 {
		return "", "", false
	}
	for i, part := range parts {
		if plain, err := url.PathUnescape(part); err == nil {
			parts[i] = plain
		}
	}
	return parts[0], parts[1], true
}

// designFunction reads the text of a function out of a design document, and the document itself for require().
func (s *Server) designFunction(db *store.DB, design string, path ...string) (code string, modules []byte, err error) {
	doc, err := db.Doc(designPrefix + design)
	if err != nil {
		return "", nil, err
	}
	if modules, err = s.appendDoc(nil, db, nil, doc, shown{}); err != nil {
		return "", nil, err
	}
	if language, ok := text(objectMember(doc.Body, "language")); ok && language != "javascript" {
		return "", nil, badRequest("The functions of " + doc.ID + " are not in JavaScript.")
	}
	value := jsontext.Value(doc.Body)
	for _, name := range path {
		if value[0] != '{' {
			value = nil
		} else {
			value = objectMember(value, name)
		}
		if value == nil {
			return "", nil, &Error{Status: http.StatusNotFound, Kind: "not_found", Reason: "missing json key: " + name}
		}
	}
	code, ok := text(value)
	if !ok {
		return "", nil, badRequest(strings.Join(path, ".") + " of " + doc.ID + " must be a string.")
	}
	return code, modules, nil
}

// credentialHeaders are not shown to functions: whoever may write a design document may not thereby collect others' credentials. Nor is
// the header that [chttpd_auth] x_auth_token names.
var credentialHeaders = []string{"Authorization", "Cookie", "Proxy-Authorization"}

// filterRequest is the request object of a filter function, with the members that CouchDB gives it. Credentials are left out.
func (s *Server) filterRequest(r *request, body jsontext.Value) ([]byte, error) {
	info, err := r.db.Info()
	if err != nil {
		return nil, err
	}
	dst := append([]byte(`{"info":`), appendInfo(nil, r.db, info)...)
	dst = append(dst, `,"uuid":`...)
	dst = appendString(dst, newUUID())
	dst = append(dst, `,"id":null,"method":`...)
	dst = appendString(dst, r.Method)
	for _, name := range []string{"requested_path", "path"} {
		dst = append(append(dst, `,"`...), name...)
		dst = append(dst, `":[`...)
		for _, segment := range r.segments {
			dst = appendString(appendComma(dst), segment)
		}
		dst = append(dst, ']')
	}
	dst = append(dst, `,"raw_path":`...)
	dst = appendString(dst, r.RequestURI)
	dst = appendQuery(append(dst, `,"query":`...), r)
	dst = appendHeaders(append(dst, `,"headers":`...), r)
	dst = append(dst, `,"body":`...)
	if body == nil {
		dst = append(dst, `"undefined"`...)
	} else {
		dst = append(dst, body...)
	}
	peer, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		peer = r.RemoteAddr
	}
	dst = append(dst, `,"peer":`...)
	dst = appendString(dst, peer)
	dst = append(dst, `,"form":{},"cookie":{},"userCtx":`...)
	dst = appendUserCtx(dst, r)
	dst = append(dst, `,"secObj":`...)
	return append(append(dst, r.sec.raw...), '}'), nil
}

// appendQuery appends the query as an object.
func appendQuery(dst []byte, r *request) []byte {
	dst = append(dst, '{')
	for name := range r.params {
		dst = append(appendString(appendComma(dst), name), ':')
		dst = appendQueryValue(dst, name, r.param(name))
	}
	return append(dst, '}')
}

// appendHeaders appends the headers as an object, without credentials.
func appendHeaders(dst []byte, r *request) []byte {
	dst = appendString(append(dst, `{"Host":`...), r.Host)
	token := http.CanonicalHeaderKey(r.set.snap.String("X-Auth-CouchDB-Token", "x_auth_token", "chttpd_auth", "couch_httpd_auth"))
	for name, values := range r.Header {
		if name != token && !slices.Contains(credentialHeaders, name) {
			dst = append(appendString(append(dst, ','), name), ':')
			dst = appendString(dst, strings.Join(values, ", "))
		}
	}
	return append(dst, '}')
}

// appendQueryValue appends a query parameter as functions see it: keys are JSON, all else is text.
func appendQueryValue(dst []byte, name, value string) []byte {
	switch name {
	case "startkey", "endkey", "key", "descending":
		if parsed, err := checkJSON([]byte(value)); err == nil {
			return append(dst, parsed...)
		}
	}
	return appendString(dst, value)
}

// appendUserCtx appends the caller as functions see him.
func appendUserCtx(dst []byte, r *request) []byte {
	dst = append(dst, `{"db":`...)
	dst = appendString(dst, r.db.Name())
	dst = append(dst, `,"name":`...)
	if r.who.Name == "" {
		dst = append(dst, "null"...)
	} else {
		dst = appendString(dst, r.who.Name)
	}
	dst = append(dst, `,"roles":[`...)
	for _, role := range r.who.Roles {
		dst = appendString(appendComma(dst), role)
	}
	return append(dst, "]}"...)
}
