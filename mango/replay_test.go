package mango

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
)

// recordedStep is a request to CouchDB 3.5.2 and what it answered, as far as selectors are concerned.
type recordedStep struct {
	Title, Path, Body string
	Status            any
	Answer            json.RawMessage
}

func recordedSteps(t *testing.T) []recordedStep {
	t.Helper()
	file, err := os.ReadFile("testdata/find.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	var steps []recordedStep
	for line := range bytes.Lines(file) {
		var s recordedStep
		if err := json.Unmarshal(line, &s); err != nil {
			t.Fatal(err)
		}
		steps = append(steps, s)
	}
	return steps
}

// TestRecordedAnswers asks a matcher what CouchDB was asked, over the same documents.
func TestRecordedAnswers(t *testing.T) {
	t.Parallel()
	var docs []json.RawMessage
	compared := 0
	for _, s := range recordedSteps(t) {
		if s.Path == "_bulk_docs" {
			var body struct{ Docs []json.RawMessage }
			if err := json.Unmarshal([]byte(s.Body), &body); err != nil {
				t.Fatal(err)
			}
			docs = append(docs, body.Docs...)
			continue
		}
		if s.Status == 200.0 {
			checkIDs(t, s, docs)
		} else {
			checkRefusal(t, s)
		}
		compared++
	}
	if compared < 90 || len(docs) != 7 {
		t.Fatalf("compared %d answers over %d documents", compared, len(docs))
	}
}

func checkIDs(t *testing.T, s recordedStep, docs []json.RawMessage) {
	t.Helper()
	q, err := ParseQuery([]byte(s.Body))
	if err != nil {
		t.Errorf("%s: %v", s.Title, err)
		return
	}
	var answer struct{ Docs []json.RawMessage }
	if err := json.Unmarshal(s.Answer, &answer); err != nil {
		t.Fatal(err)
	}
	var got [][]byte
	for _, doc := range docs {
		if q.Selector.Match(doc) {
			got = append(got, doc)
		}
	}
	byID, err := ParseSort([]byte(`["_id"]`))
	if err != nil {
		t.Fatal(err)
	}
	slices.SortStableFunc(got, byID.Compare)
	if q.Sort.Descending {
		slices.Reverse(got)
	}
	slices.SortStableFunc(got, q.Sort.Compare)
	got = got[min(q.Skip, len(got)):]
	got = got[:min(q.Limit, len(got))]
	if len(got) != len(answer.Docs) {
		t.Errorf("%s: %d documents %s, CouchDB found %d", s.Title, len(got), got, len(answer.Docs))
		return
	}
	for i := range got {
		if want := withoutRev(t, answer.Docs[i]); !sameJSON(t, q.Projection.Apply(got[i]), want) {
			t.Errorf("%s: document %d is %s, CouchDB says %s", s.Title, i, q.Projection.Apply(got[i]), want)
		}
	}
}

// withoutRev removes the revision, which the documents of the recording do not have yet.
func withoutRev(t *testing.T, doc []byte) []byte {
	t.Helper()
	var members map[string]json.RawMessage
	if err := json.Unmarshal(doc, &members); err != nil {
		t.Fatal(err)
	}
	delete(members, "_rev")
	b, err := json.Marshal(members)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func sameJSON(t *testing.T, a, b []byte) bool {
	t.Helper()
	var va, vb any
	if err := errors.Join(json.Unmarshal(a, &va), json.Unmarshal(b, &vb)); err != nil {
		t.Fatalf("%s and %s: %v", a, b, err)
	}
	ca, _ := json.Marshal(va)
	cb, _ := json.Marshal(vb)
	return bytes.Equal(ca, cb)
}

// ofIndexes are the errors that say something about indexes, and so are the server's to find.
var ofIndexes = []string{"no_usable_index", "invalid_index", "invalid_bookmark"}

func checkRefusal(t *testing.T, s recordedStep) {
	t.Helper()
	var want struct{ Error, Reason string }
	if s.Status != "4xx" {
		if err := json.Unmarshal(s.Answer, &want); err != nil {
			t.Fatal(err)
		}
	}
	_, err := ParseQuery([]byte(s.Body))
	if slices.Contains(ofIndexes, want.Error) {
		if err != nil {
			t.Errorf("%s: %v", s.Title, err)
		}
		return
	}
	var refusal *SelectorError
	if !errors.As(err, &refusal) {
		t.Errorf("%s: error %v, CouchDB says %q", s.Title, err, want)
		return
	}
	if s.Status == "4xx" {
		return
	}
	if refusal.Name != want.Error || want.Reason != "<any>" && refusal.Reason != want.Reason {
		t.Errorf("%s: %q, CouchDB says %q", s.Title, *refusal, want)
	}
	if want.Reason == "<any>" && strings.TrimSpace(refusal.Reason) == "" {
		t.Errorf("%s: no reason", s.Title)
	}
}
