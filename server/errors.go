package server

import (
	"context"
	"errors"
	"net/http"

	"github.com/parlordb/parlor/auth"
	"github.com/parlordb/parlor/config"
	"github.com/parlordb/parlor/couchjs"
	"github.com/parlordb/parlor/mango"
	"github.com/parlordb/parlor/rev"
	"github.com/parlordb/parlor/store"
)

// Error is an answer that is no success, in CouchDB's words. Kind is the member "error", Reason the text for the client.
type Error struct {
	Status int
	Kind   string
	Reason any // a string, or jsontext.Value for what a validation function threw
	Header http.Header
	Cause  error // for the log alone; may be nil
}

func (e *Error) Error() string {
	if text, ok := e.Reason.(string); ok {
		return e.Kind + ": " + text
	}
	return e.Kind
}

func (e *Error) Unwrap() error { return e.Cause }

var (
	errNoDatabase   = &Error{Status: 404, Kind: "not_found", Reason: "Database does not exist."}
	errFileExists   = &Error{Status: 412, Kind: "file_exists", Reason: "The database could not be created, the file already exists."}
	errMissing      = &Error{Status: 404, Kind: "not_found", Reason: "missing"}
	errDeleted      = &Error{Status: 404, Kind: "not_found", Reason: "deleted"}
	errConflict     = &Error{Status: 409, Kind: "conflict", Reason: "Document update conflict."}
	errTooLarge     = &Error{Status: 413, Kind: "too_large", Reason: "the request entity is too large"}
	errBadJSON      = badRequest("invalid UTF-8 JSON")
	errNotObject    = badRequest("Request body must be a JSON object")
	errBadRev       = badRequest("Invalid rev format")
	errContentType  = &Error{Status: 415, Kind: "bad_content_type", Reason: "Content-Type must be application/json"}
	errDiskFull     = &Error{Status: 507, Kind: "insufficient_storage", Reason: "The server's disk is full. Nothing was written."}
	errBusy         = &Error{Status: 503, Kind: "service_unavailable", Reason: "The server is busy with large requests; try again."}
	errShuttingDown = &Error{Status: 503, Kind: "service_unavailable", Reason: "The server is stopping."}
)

func badRequest(reason string) *Error {
	return &Error{Status: 400, Kind: "bad_request", Reason: reason}
}
func unauthorized(reason string) *Error {
	return &Error{Status: 401, Kind: "unauthorized", Reason: reason}
}
func forbidden(reason string) *Error { return &Error{Status: 403, Kind: "forbidden", Reason: reason} }
func queryError(reason string) *Error {
	return &Error{Status: 400, Kind: "query_parse_error", Reason: reason}
}
func illegalID(reason string) *Error {
	return &Error{Status: 400, Kind: "illegal_docid", Reason: reason}
}

func methodNotAllowed(allow string) *Error {
	return &Error{Status: 405, Kind: "method_not_allowed", Reason: "Only " + allow + " allowed", Header: http.Header{"Allow": {allow}}}
}

// asError finds the answer for an error of any package below. What it does not know is a 500 that tells the client nothing.
func asError(err error) *Error {
	var (
		own     *Error
		refusal *auth.Refusal
		stub    *store.StubError
		value   *config.ValueError
		sel     *mango.SelectorError
		thrown  *couchjs.Thrown
		js      *couchjs.Error
		tooBig  *http.MaxBytesError
	)
	switch {
	case errors.As(err, &own):
		return own
	case errors.As(err, &refusal):
		return &Error{Status: refusal.Status, Kind: refusal.Kind, Reason: refusal.Reason, Header: refusal.Header}
	case errors.As(err, &stub):
		return &Error{Status: 412, Kind: "missing_stub", Reason: stub.Error()}
	case errors.As(err, &value):
		return badRequest(value.Reason)
	case errors.As(err, &sel):
		return &Error{Status: 400, Kind: sel.Name, Reason: sel.Reason}
	case errors.As(err, &thrown):
		return thrownError(thrown)
	case errors.As(err, &js):
		return &Error{Status: 500, Kind: js.Name, Reason: js.Reason, Cause: err}
	case errors.As(err, &tooBig):
		return errTooLarge
	}
	for _, known := range []struct {
		is     error
		answer *Error
	}{
		{store.ErrConflict, errConflict},
		{store.ErrDeleted, errDeleted},
		{store.ErrNotFound, errMissing},
		{store.ErrMissing, errMissing},
		{store.ErrNoDatabase, errNoDatabase},
		{store.ErrDatabaseExists, errFileExists},
		{store.ErrNoAttachment, &Error{Status: 404, Kind: "not_found", Reason: "Document is missing attachment"}},
		{store.ErrFull, errDiskFull},
		{store.ErrClosed, errShuttingDown},
		{rev.ErrFormat, errBadRev},
		{config.ErrNotFound, &Error{Status: 404, Kind: "not_found", Reason: "unknown_config_value"}},
		{context.Canceled, &Error{Status: 499, Kind: "cancelled", Reason: "The client went away."}},
		{context.DeadlineExceeded, &Error{Status: 408, Kind: "timeout", Reason: "The request took too long to arrive."}},
	} {
		if errors.Is(err, known.is) {
			return known.answer
		}
	}
	return &Error{Status: 500, Kind: "internal_server_error", Reason: "The server failed; its log has the details.", Cause: err}
}
