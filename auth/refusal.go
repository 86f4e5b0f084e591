package auth

import (
	"encoding/json"
	"net/http"
	"strings"
)

// Refusal is a request that was recognised and turned away. Status, Kind, Reason and Header are for the client, in CouchDB's words. The other fields
// are for the operator's log and are never sent: they say what the request claimed, which nothing has proved. None holds a secret, and no one is to be
// let in or locked out by them.
//
// A Refusal may be shared: whoever has been given one must not change it. See About.
type Refusal struct {
	Status int
	Kind   string // CouchDB's "error" member, such as "unauthorized"
	Reason string
	Header http.Header // to add to the answer, such as Retry-After; may be nil

	Method     string // the Method that refused
	User       string // whom the request claimed to be from; "" when it did not say
	Credential string // which credential it claimed to hold, such as a key id; "" when there are none to tell apart
}

func (e *Refusal) Error() string { return e.Kind + ": " + e.Reason }

// maxClaimed bounds the names that a Refusal keeps, in bytes: a stranger chose them.
const maxClaimed = 256

// About returns a copy of e whose fields for the operator are filled in where they are empty. Long names are cut.
func (e *Refusal) About(method, user, credential string) *Refusal {
	told := *e
	for _, field := range [...]struct {
		to   *string
		from string
	}{{&told.Method, method}, {&told.User, user}, {&told.Credential, credential}} {
		if *field.to == "" {
			*field.to = field.from
		}
		if len(*field.to) > maxClaimed {
			// A character that the cut goes through is dropped. The clone lets go of the rest of the request's text.
			*field.to = strings.Clone(strings.ToValidUTF8((*field.to)[:maxClaimed], ""))
		}
	}
	return &told
}

// about is About for an error that may be a Refusal; other errors, and Refusals that are wrapped in more words, stay as they are.
func about(err error, method, user, credential string) error {
	if refusal, ok := err.(*Refusal); ok {
		return refusal.About(method, user, credential)
	}
	return err
}

// ServeHTTP answers with the refusal as CouchDB does: its status, its headers, and {"error":…,"reason":…} with a line feed.
func (e *Refusal) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	h := w.Header()
	for name, values := range e.Header {
		h[http.CanonicalHeaderKey(name)] = append(h[http.CanonicalHeaderKey(name)], values...)
	}
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "must-revalidate")
	w.WriteHeader(e.Status)
	body := json.NewEncoder(w)
	body.SetEscapeHTML(false)
	// A client that has gone away is no one to report this error to.
	_ = body.Encode(struct {
		Error  string `json:"error"`
		Reason string `json:"reason"`
	}{e.Kind, e.Reason})
}

func badRequest(reason string) *Refusal {
	return &Refusal{Status: http.StatusBadRequest, Kind: "bad_request", Reason: reason}
}

func unauthorized(reason string) *Refusal {
	return &Refusal{Status: http.StatusUnauthorized, Kind: "unauthorized", Reason: reason}
}

func forbidden(reason string) *Refusal {
	return &Refusal{Status: http.StatusForbidden, Kind: "forbidden", Reason: reason}
}

// incorrect is the one answer to every failed sign-on with a password, whatever is wrong with it.
func incorrect() *Refusal { return unauthorized("Name or password is incorrect.") }

// disabled is told only to those who have proved who they are.
func disabled() *Refusal { return forbidden("This account is disabled.") }
