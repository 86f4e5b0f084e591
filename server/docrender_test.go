package server

import (
	"errors"
	"testing"

	"github.com/parlordb/parlor/rev"
	"github.com/parlordb/parlor/store"
)

func TestAttachmentsTooLargeForAList(t *testing.T) {
	t.Parallel()
	doc := &store.Doc{ID: "x", Rev: rev.ID{Gen: 1, Hash: "a"}, Body: []byte("{}"), Attachments: []store.Attachment{{Length: maxInline}, {Length: 1}}}
	_, err := new(Server).appendDoc(nil, nil, nil, doc, shown{attachments: true})
	var refused *Error
	if !errors.As(err, &refused) || refused.Status != 413 {
		t.Errorf("taken into memory: %v", err)
	}
	if _, err := new(Server).appendDoc(nil, nil, nil, doc, shown{}); err != nil {
		t.Errorf("as stubs: %v", err)
	}
}

func TestAppendDoc(t *testing.T) {
	t.Parallel()
	for want, doc := range map[string]store.Doc{
		`{"_id":"a\"b","_rev":"1-a"}`:                        {ID: `a"b`, Rev: rev.ID{Gen: 1, Hash: "a"}, Body: []byte("{}")},
		`{"_id":"x","_rev":"2-\"\\é","_deleted":true}`:       {ID: "x", Rev: rev.ID{Gen: 2, Hash: `"\é`}, Body: []byte("{}"), Deleted: true},
		`{"_id":"x","_rev":"1-a", "b" : 1 ,"_deleted":true}`: {ID: "x", Rev: rev.ID{Gen: 1, Hash: "a"}, Body: []byte(`{ "b" : 1 }`), Deleted: true},
	} {
		got, err := new(Server).appendDoc([]byte("before "), nil, nil, &doc, shown{})
		if err != nil || string(got) != "before "+want {
			t.Errorf("got %s, %v, want %s", got, err, want)
		}
	}
}
