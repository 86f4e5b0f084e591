package auth

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
)

// FuzzRecordKey: an ID that is taken is what comes back, can stand in a record's id, and shares its key with no other.
func FuzzRecordKey(f *testing.F) {
	for _, s := range []string{"", "a", "dev_AAAAAAAAAAAAAAAAAAAAAA", strings.Repeat("A", 43), strings.Repeat("A", 44), "a/b", "a\x00", "é", "a%2F"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, id string) {
		key, ok := idKey(id)
		if ok != (id != "" && len(id) <= 43 && strings.Trim(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") == "") {
			t.Fatalf("%q is taken: %v", id, ok)
		}
		if ok && key.id() != id {
			t.Fatalf("%q comes back as %q", id, key.id())
		}
		if again, ok := idKey(hashKey(id).id()); !ok || again != hashKey(id) {
			t.Fatalf("the hash of %q cannot be an ID", id)
		}
	})
}

// FuzzPresent: whatever a client writes, in a cookie, in the query or as a token, only the secrets let in, each for its own kind.
func FuzzPresent(f *testing.F) {
	users, state := new(Memory), new(MemoryState)
	users.Put(User{Name: "anna"})
	now := func() time.Time { return time.Unix(1795280400, 0) }
	sessions := NewSessions(state, users, new(Revocations))
	f.Cleanup(sessions.Close)
	if err := sessions.Configure(SessionOptions{Now: now, Alias: "Other"}); err != nil {
		f.Fatal(err)
	}
	session, _, err := sessions.Create(context.Background(), NewSession{Who: Identity{Name: "anna", Method: "default", Local: true}})
	if err != nil {
		f.Fatal(err)
	}
	tokens := NewTokens(state, users, new(Revocations), TokenOptions{Now: now})
	f.Cleanup(tokens.Close)
	token, _, err := tokens.Create(context.Background(), NewToken{User: "anna"})
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range []string{"", session, token, "parlor_", `"` + session + `"`, session + "; Other=" + token, "x; Other=" + session, "%" + session, "&one_time_session=" + session} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header["Cookie"] = []string{"AuthSession=" + text}
		if id, err := sessions.Authenticate(r); err == nil != (id.Name == "anna") || err == nil && !strings.Contains(text, session) {
			t.Fatalf("the cookie %q: %+v, %v", text, id, err)
		}
		r = httptest.NewRequest(http.MethodGet, "/", nil)
		r.URL.RawQuery = OneTimeParameter + "=" + text
		if id, err := sessions.Authenticate(r); err == nil || id.Name != "" {
			t.Fatalf("the query %q: %+v, %v", text, id, err)
		}
		for authorization, m := range map[string]Method{"Bearer " + text: tokens.Bearer(), "Basic " + text: tokens.Basic()} {
			r.Header = http.Header{"Authorization": {authorization}}
			id, err := m.Authenticate(r)
			if (err == nil) != (authorization == "Bearer "+token) || (id.Name == "anna") != (err == nil) {
				t.Fatalf("%q: %+v, %v", authorization, id, err)
			}
		}
	})
}

// FuzzStoredSession: what can be read is written the same again, and no record makes a session of nobody's.
func FuzzStoredSession(f *testing.F) {
	f.Add([]byte(`{"user":"anna","method":"jwt","created":"2026-11-21T17:00:00Z","expires":"2036-11-21T17:00:00Z","renewed":"2026-11-21T17:00:00Z","fixed":true,"roles":["a"]}`))
	f.Add([]byte(`{"user":"","expires":"9999-12-31T23:59:59Z","fixed":true}`))
	f.Add([]byte(`{"user":"anna","scope":{"write":true,"databases":["a"]},"address":"192.0.2.1"}`))
	f.Add([]byte(`{"user":"anna","user":"bob"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		s := newRecords(new(MemoryState), "session", finishSession)
		k, err := s.parse("x", Record{Body: body})
		if err != nil {
			return
		}
		text, err := json.Marshal(k.value)
		if err != nil {
			t.Fatalf("%s was read and cannot be written: %v", body, err)
		}
		again, err := s.parse("x", Record{Body: text})
		if err != nil {
			t.Fatalf("%s was written as %s: %v", body, text, err)
		}
		if text2, err := json.Marshal(again.value); err != nil || string(text2) != string(text) {
			t.Fatalf("%s came back as %s, %v", text, text2, err)
		}
		sessions := NewSessions(new(MemoryState), new(Memory), new(Revocations))
		defer sessions.Close()
		if err := sessions.Configure(SessionOptions{}); err != nil {
			t.Fatal(err)
		}
		id, err := sessions.identity(context.Background(), sessions.settings.Load(), k.value, time.Unix(1795280400, 0))
		if err == nil && id.Name == "" || err != nil && (id.Name != "" || !errors.Is(err, ErrNoRecord)) {
			t.Fatalf("%s: %+v, %v", body, id, err)
		}
	})
}
