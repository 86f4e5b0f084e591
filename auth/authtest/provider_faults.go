package authtest

import (
	"bytes"
	"net/http"
	"strconv"
)

// Garbage answers 200 with n bytes that are not JSON, under a JSON content type.
func Garbage(n int64) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", strconv.FormatInt(n, 10))
		chunk := bytes.Repeat([]byte("garbage\n"), 4096)
		for left := n; left > 0; {
			part := chunk[:min(left, int64(len(chunk)))]
			if _, err := w.Write(part); err != nil {
				return // the client has seen enough
			}
			left -= int64(len(part))
		}
	})
}

// Answer answers with a status and a JSON body.
func Answer(status int, body string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body)) // a client that has gone away does not wait for it
	})
}

// RedirectTo sends the client elsewhere.
func RedirectTo(url string) http.Handler { return http.RedirectHandler(url, http.StatusFound) }

// Down cuts the connection without an answer.
func Down() http.Handler {
	return http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
}

// Hang is a handler for Break that answers nothing until the client gives up or the Provider ends.
func (p *Provider) Hang() http.Handler {
	return http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-p.closing:
		}
		panic(http.ErrAbortHandler)
	})
}

// Wait is a handler for Break that answers as the Provider would, but not before release is closed.
func (p *Provider) Wait(release <-chan struct{}) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
			p.answer(w, r)
		case <-r.Context().Done():
			panic(http.ErrAbortHandler)
		case <-p.closing:
			panic(http.ErrAbortHandler)
		}
	})
}
