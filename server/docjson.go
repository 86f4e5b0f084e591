package server

import (
	"bytes"
	"encoding/base64"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/parlordb/parlor/rev"
	"github.com/parlordb/parlor/store"
)

// incoming is a document as a client sent it, taken apart.
type incoming struct {
	ID        string // "" when the body names none
	HasID     bool
	Rev       rev.ID   // "_rev", zero when absent
	Revisions []rev.ID // "_revisions", newest first; nil when absent
	Deleted   bool
	// Body is one JSON object: the document's members but for those that CouchDB takes out, byte for byte and in their order. Of
	// members that begin with an underscore it holds "_access" and "_replication_…" alone.
	Body []byte
	// Attachments in the order sent; Data of each is where its content comes from.
	Attachments []incomingAttachment
}

// incomingAttachment is a member of "_attachments". Length, Stored and Digest are what the client says, -1 and zero where it says nothing.
type incomingAttachment struct {
	store.Attachment
	Data    jsontext.Value // base64 in a JSON string; nil for stubs and for what follows in a multipart body
	Follows bool
}

var errDocNotObject = badRequest("Document must be a JSON object")

func badMember(name string) *Error {
	return &Error{Status: 400, Kind: "doc_validation", Reason: "Bad special document member: " + name}
}

func docValidation(reason string) *Error {
	return &Error{Status: 400, Kind: "doc_validation", Reason: reason}
}

// parseDoc takes a document apart. value has passed checkJSON; the result shares its memory. What it refuses, it refuses in CouchDB's words: a document
// that is no object (bad_request), an id that may not be (illegal_docid), a malformed revision or attachment (bad_request), an unknown member with an
// underscore (doc_validation).
func parseDoc(value jsontext.Value) (*incoming, error) {
	if len(value) == 0 || value[0] != '{' {
		return nil, errDocNotObject
	}
	var space [24]jsonMember
	list := cutMembers(space[:0], value)
	doc := &incoming{}
	whole := markDuplicates(list) == 0
	for i := range list {
		m := &list[i]
		if m.dropped || len(m.name) == 0 || m.name[0] != '_' {
			continue
		}
		inBody, err := doc.special(string(m.name), m.value)
		if err != nil {
			return nil, err
		}
		if !inBody {
			m.dropped, whole = true, false
		}
	}
	switch {
	case len(list) == 0:
		doc.Body = []byte("{}")
	case whole:
		doc.Body = value
	default:
		doc.Body = joinMembers(value, list)
	}
	return doc, nil
}

// special takes a member whose name begins with an underscore; inBody says that it stays in the body.
func (doc *incoming) special(name string, value jsontext.Value) (inBody bool, err error) {
	switch name {
	case "_id":
		doc.HasID = true
		doc.ID, err = parseID(value)
	case "_rev":
		s, ok := text(value)
		if !ok {
			return false, errBadRev
		}
		doc.Rev, err = rev.Parse(s)
	case "_revisions":
		doc.Revisions, err = parseRevisions(value)
	case "_deleted":
		doc.Deleted = string(value) == "true"
		if !doc.Deleted && string(value) != "false" {
			err = badMember(name)
		}
	case "_attachments":
		doc.Attachments, err = parseAttachments(value)
	case "_revs_info", "_local_seq", "_conflicts", "_deleted_conflicts":
		// What a GET adds comes back with a PUT; it says nothing.
	case "_access", "_replication_id", "_replication_state", "_replication_state_time", "_replication_state_reason", "_replication_stats":
		inBody = true
	default:
		err = badMember(name)
	}
	return inBody, err
}

// parseID reads "_id" and judges it as CouchDB does.
func parseID(value jsontext.Value) (string, error) {
	id, ok := text(value)
	if !ok {
		return "", illegalID("Document id must be a string")
	}
	return id, checkID(id, 0)
}

// checkID refuses ids that no document may have (illegal_docid), also those longer than max bytes, 0 for no limit.
func checkID(id string, max int) error {
	switch {
	case id == "":
		return illegalID("Document id must not be empty")
	case !utf8.ValidString(id):
		return illegalID("Document id must be valid UTF-8")
	case id == "_design/" || id == "_local/":
		return illegalID("Illegal document id `" + id + "`")
	case id[0] == '_' && !strings.HasPrefix(id, "_design/") && !strings.HasPrefix(id, "_local/"):
		return illegalID("Only reserved document ids may start with underscore.")
	case max > 0 && len(id) > max:
		return illegalID("Document id is too long")
	}
	return nil
}

// parseRevisions reads "_revisions", {"start": generation, "ids": [hash, its parent's, …]}. No ids are nil.
func parseRevisions(value jsontext.Value) ([]rev.ID, error) {
	if value[0] != '{' {
		return nil, badMember("_revisions")
	}
	var start, ids jsontext.Value
	var space [4]jsonMember
	for _, m := range cutMembers(space[:0], value) {
		switch string(m.name) {
		case "start":
			start = m.value
		case "ids":
			ids = m.value
		}
	}
	gen, err := strconv.ParseUint(string(start), 10, 63)
	if err != nil || gen > rev.MaxGeneration {
		return nil, docValidation("_revisions.start isn't an integer.")
	}
	if ids == nil || ids[0] != '[' {
		return nil, docValidation("_revisions.ids isn't a array.")
	}
	var path []rev.ID
	for hash := range cutElements(ids) {
		s, ok := text(hash)
		if !ok {
			return nil, docValidation("RevId isn't a string")
		}
		if uint64(len(path)) >= gen {
			return nil, docValidation("_revisions.start is lower than the number of _revisions.ids.")
		}
		id, err := rev.Parse(strconv.FormatUint(gen-uint64(len(path)), 10) + "-" + s)
		if err != nil {
			return nil, err
		}
		path = append(path, id)
	}
	return path, nil
}

// parseAttachments reads "_attachments". As in CouchDB, a value that is no object is passed over.
func parseAttachments(value jsontext.Value) ([]incomingAttachment, error) {
	if value[0] != '{' {
		return nil, badMember("_attachments")
	}
	list := cutMembers(nil, value)
	markDuplicates(list)
	atts := make([]incomingAttachment, 0, len(list))
	for _, m := range list {
		if m.dropped || m.value[0] != '{' {
			continue
		}
		a, err := parseAttachment(string(m.name), m.value)
		if err != nil {
			return nil, err
		}
		atts = append(atts, a)
	}
	return atts, nil
}

func parseAttachment(name string, value jsontext.Value) (incomingAttachment, error) {
	a := incomingAttachment{Attachment: store.Attachment{Name: name, Type: "application/octet-stream", Length: -1, Stored: -1}}
	if err := checkAttachmentName(name); err != nil {
		return a, err
	}
	var space [8]jsonMember
	for _, m := range cutMembers(space[:0], value) {
		ok := true
		switch string(m.name) {
		case "stub":
			a.Stub = string(m.value) == "true"
		case "follows":
			a.Follows = string(m.value) == "true"
		case "data":
			a.Data = m.value
		case "content_type":
			a.Type, ok = text(m.value)
		case "revpos":
			var n int64
			n, ok = parseCount(m.value)
			a.RevPos = int(n)
			ok = ok && n <= rev.MaxGeneration
		case "length":
			a.Length, ok = parseCount(m.value)
		case "encoded_length":
			a.Stored, ok = parseCount(m.value)
		case "encoding":
			a.Encoding, ok = text(m.value)
			ok = ok && (a.Encoding == "gzip" || a.Encoding == "identity")
		case "digest":
			a.Digest, ok = parseDigest(m.value)
		}
		if !ok {
			return a, badRequest("Invalid " + string(m.name) + " of attachment " + name)
		}
	}
	if a.Encoding == "identity" {
		a.Encoding = ""
	}
	switch {
	case a.Stub, a.Follows:
		a.Data = nil
	case a.Data == nil || a.Data[0] != '"':
		return a, errAttachmentData(name)
	}
	return a, nil
}

func errAttachmentData(name string) *Error {
	return badRequest("Invalid attachment data for " + name)
}

// checkAttachmentName refuses names that would be taken for something of CouchDB's own.
func checkAttachmentName(name string) error {
	if !utf8.ValidString(name) {
		return badRequest("Attachment name is not UTF-8 encoded")
	}
	if strings.HasPrefix(name, "_") {
		return badRequest("Attachment name '" + name + "' starts with prohibited character '_'")
	}
	return nil
}

// parseCount reads a JSON number that counts something.
func parseCount(value jsontext.Value) (int64, bool) {
	n, err := strconv.ParseInt(string(value), 10, 64)
	return n, err == nil && n >= 0
}

// parseDigest reads "md5-" and 16 bytes in base64. A digest of another kind is not known, which is no error.
func parseDigest(value jsontext.Value) (digest [16]byte, ok bool) {
	s, ok := text(value)
	if !ok {
		return digest, false
	}
	coded, isMD5 := strings.CutPrefix(s, "md5-")
	if !isMD5 {
		return digest, true
	}
	sum, err := base64.StdEncoding.DecodeString(coded)
	if err != nil || len(sum) != len(digest) {
		return digest, false
	}
	return [16]byte(sum), true
}

// jsonMember is a member of a JSON object, cut out of its text.
type jsonMember struct {
	name       []byte // decoded
	value      jsontext.Value
	start, end int  // the member from its name's quote to its value's end
	dropped    bool // it is not part of the body
}

// cutMembers appends the members of a JSON object that checkJSON has passed. It is the hot path of every write: since the text is
// known to be good, finding where a value ends is all there is to do.
func cutMembers(dst []jsonMember, object []byte) []jsonMember {
	i := skipSpace(object, 1)
	for object[i] != '}' {
		m := jsonMember{start: i}
		i = skipString(object, i)
		m.name = object[m.start+1 : i-1]
		if bytes.IndexByte(m.name, '\\') >= 0 {
			m.name, _ = jsontext.AppendUnquote(nil, object[m.start:i])
		}
		i = skipSpace(object, skipSpace(object, i)+1)
		m.end = skipValue(object, i)
		m.value = object[i:m.end:m.end]
		dst = append(dst, m)
		if i = skipSpace(object, m.end); object[i] == ',' {
			i = skipSpace(object, i+1)
		}
	}
	return dst
}

// cutElements yields the elements of a JSON array that checkJSON has passed.
func cutElements(array []byte) func(yield func(jsontext.Value) bool) {
	return func(yield func(jsontext.Value) bool) {
		for i := skipSpace(array, 1); array[i] != ']'; {
			end := skipValue(array, i)
			if !yield(array[i:end:end]) {
				return
			}
			if i = skipSpace(array, end); array[i] == ',' {
				i = skipSpace(array, i+1)
			}
		}
	}
}

func skipSpace(b []byte, i int) int {
	for b[i] <= ' ' {
		i++
	}
	return i
}

// skipString returns the index behind the string that begins at i.
func skipString(b []byte, i int) int {
	for i++; ; i++ {
		i += bytes.IndexByte(b[i:], '"')
		// The quote ends the string unless an odd number of backslashes stands before it.
		n := i
		for b[n-1] == '\\' {
			n--
		}
		if (i-n)%2 == 0 {
			return i + 1
		}
	}
}

// skipValue returns the index behind the value that begins at i.
func skipValue(b []byte, i int) int {
	switch b[i] {
	case '"':
		return skipString(b, i)
	case '{', '[':
		for depth := 0; ; i++ {
			switch b[i] {
			case '"':
				i = skipString(b, i) - 1
			case '{', '[':
				depth++
			case '}', ']':
				if depth--; depth == 0 {
					return i + 1
				}
			}
		}
	}
	for ; i < len(b); i++ {
		switch b[i] {
		case ',', '}', ']', ' ', '\t', '\n', '\r':
			return i
		}
	}
	return i
}

// fewMembers is how many members are compared each with each; beyond, a table of names is cheaper.
const fewMembers = 24

// markDuplicates drops all but the last of the members of one name, and returns how many it dropped.
func markDuplicates(list []jsonMember) (dropped int) {
	if len(list) > fewMembers {
		last := make(map[string]int, len(list))
		for i := range list {
			if j, ok := last[string(list[i].name)]; ok {
				list[j].dropped = true
				dropped++
			}
			last[string(list[i].name)] = i
		}
		return dropped
	}
	for i := range list {
		for j := i + 1; j < len(list); j++ {
			if bytes.Equal(list[i].name, list[j].name) {
				list[i].dropped = true
				dropped++
				break
			}
		}
	}
	return dropped
}

// joinMembers writes the members that were not dropped as one object.
func joinMembers(object []byte, list []jsonMember) []byte {
	body := append(make([]byte, 0, len(object)), '{')
	for i := range list {
		if list[i].dropped {
			continue
		}
		if len(body) > 1 {
			body = append(body, ',')
		}
		body = append(body, object[list[i].start:list[i].end]...)
	}
	return append(body, '}')
}
