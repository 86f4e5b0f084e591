package auth

import (
	"encoding/json"
	"net/http"
)

// Refusal is a request that was recognised and turned away. Error and Reason are for the client, in CouchDB's words.
type Refusal struct {
	Status int
	Kind   string // CouchDB's "error" member, such as "unauthorized"
	Reason string
	Header http.Header // to add to the answer, such as Retry-After; may be nil
}

func (e *Refusal) Error() string { return e.Kind + ": " + e.Reason }

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
