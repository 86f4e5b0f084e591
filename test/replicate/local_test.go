package replicate

import (
	"encoding/json"
	"errors"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/parlordb/parlor/replicate"
)

// locals: all _local documents but checkpoints are copied, and what the target has of its own is kept.
func locals(t *testing.T, b bench) {
	b.want(201, "PUT", b.source+"/doc", obj{"n": 1})
	b.want(201, "PUT", b.source+salt, obj{"type": "sync-parameters", "protocolVersion": 2, "pbkdf2salt": "c2FsdA=="})
	b.want(201, "PUT", b.source+mile, obj{"locked": false})
	b.want(201, "PUT", b.source+"/_local/a%2Fb", obj{"note": json.Number("12345678901234567890")})
	b.want(201, "PUT", b.source+"/_local/mine", obj{"who": "source"})
	b.want(201, "PUT", b.source+"/_local/checkpoint", obj{"session_id": "s", "history": []obj{}, "last_seq": 3})
	b.want(201, "PUT", b.target, nil)
	b.want(201, "PUT", b.target+"/_local/mine", obj{"who": "target"})
	o := b.options()
	if got := b.replicate(o); got.Local != 0 {
		t.Errorf("copied unasked: %+v", got)
	}
	b.want(404, "GET", b.target+salt, nil)
	o.LocalAll = true
	got := b.replicate(o)
	if got.Local != 3 || !reflect.DeepEqual(got.LocalKept, []string{"_local/mine"}) {
		t.Errorf("%+v", got)
	}
	for _, id := range []string{salt, mile, "/_local/a%2Fb"} {
		if from, to := b.body(b.source+id), b.body(b.target+id); from != to {
			t.Errorf("%s is %s, want %s", id, to, from)
		}
	}
	b.want(404, "GET", b.target+"/_local/checkpoint", nil)
	if !strings.Contains(b.body(b.target+"/_local/mine"), "target") {
		t.Error("the target's own document was overwritten")
	}

	// What changes in the source follows, unless the target has changed it too.
	var doc obj
	if err := json.Unmarshal(b.want(200, "GET", b.source+mile, nil), &doc); err != nil {
		t.Fatal(err)
	}
	doc["locked"] = true
	b.want(201, "PUT", b.source+mile, doc)
	if got := b.replicate(o); got.Local != 1 || b.body(b.source+mile) != b.body(b.target+mile) {
		t.Errorf("a changed milestone: %+v", got)
	}
	if got := b.replicate(o); got.Local != 0 {
		t.Errorf("again: %+v", got)
	}

	// Named ones alone, and LiveSync's from a source that lists none.
	b.want(200, "DELETE", b.target, nil)
	o = b.options()
	o.LocalIDs = []string{"_local/a/b", "_local/none"}
	if got := b.replicate(o); got.Local != 1 {
		t.Errorf("by name: %+v", got)
	}
	o.LocalIDs, o.LocalAll = nil, true
	b.through(&o.Source, func(w http.ResponseWriter, r *http.Request) bool {
		return strings.HasSuffix(r.URL.Path, "/_local_docs") && answer(w, 404, "not_found")
	})
	if got := b.replicate(o); got.Local != 2 {
		t.Errorf("without a list: %+v", got)
	}
}

// body is a document without what a copy has of its own.
func (b bench) body(path string) string {
	b.t.Helper()
	var doc map[string]json.RawMessage
	if err := json.Unmarshal(b.want(200, "GET", path, nil), &doc); err != nil {
		b.t.Fatal(err)
	}
	delete(doc, "_rev")
	text, err := json.Marshal(doc)
	if err != nil {
		b.t.Fatal(err)
	}
	return string(text)
}

func salts(t *testing.T, b bench) {
	b.want(201, "PUT", b.source+"/doc", obj{"n": 1})
	b.want(201, "PUT", b.source+salt, obj{"pbkdf2salt": "c2FsdA=="})
	b.want(201, "PUT", b.target, nil)
	var made struct{ Rev string }
	if err := json.Unmarshal(b.want(201, "PUT", b.target+salt, obj{"pbkdf2salt": "b3RoZXI="}), &made); err != nil {
		t.Fatal(err)
	}
	o := b.options()
	o.LocalAll = true
	got, err := replicate.Replicate(t.Context(), o)
	if !errors.Is(err, replicate.ErrSalt) || got.Written != 0 {
		t.Errorf("%v, %+v", err, got)
	}
	b.want(404, "GET", b.target+"/doc", nil)
	if !strings.Contains(b.body(b.target+salt), "b3RoZXI=") {
		t.Error("the salt was overwritten")
	}

	// A device stores the document without a salt first; that is none yet.
	b.want(201, "PUT", b.target+salt, obj{"_rev": made.Rev, "pbkdf2salt": ""})
	if got := b.replicate(o); got.Local != 1 || got.Written != 1 || b.body(b.source+salt) != b.body(b.target+salt) {
		t.Errorf("over an empty salt: %+v", got)
	}

	// The salt is there before any document is.
	b.want(200, "DELETE", b.target, nil)
	o.Retries = -1
	b.through(&o.Target, func(w http.ResponseWriter, r *http.Request) bool {
		return strings.HasSuffix(r.URL.Path, "/_revs_diff") && answer(w, 503, "busy")
	})
	if _, err := replicate.Replicate(t.Context(), o); err == nil {
		t.Error("no failure")
	}
	if b.body(b.source+salt) != b.body(b.target+salt) {
		t.Error("an interrupted run leaves a database without the salt")
	}
}
