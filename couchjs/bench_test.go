package couchjs

import (
	"context"
	"fmt"
	"testing"
)

var benchDoc = []byte(`{"_id":"note:1","_rev":"3-0123456789abcdef0123456789abcdef","type":"note","owner":"ann","title":"a title of some words","tags":["a","b"],"n":17}`)

func BenchmarkValidate(b *testing.B) {
	p := newPool(b, Options{Processes: 1})
	ctx := context.Background()
	const function = `function(newDoc, oldDoc, userCtx, secObj) {
		if (oldDoc && oldDoc.owner !== userCtx.name) throw({forbidden: "not yours"});
		if (!newDoc.type) throw({forbidden: "no type"});
	}`
	userCtx, secObj := []byte(`{"db":"notes","name":"ann","roles":["staff"]}`), []byte(`{"admins":{"names":[],"roles":[]},"members":{"names":[],"roles":[]}}`)
	for b.Loop() {
		if err := p.Validate(ctx, function, nil, benchDoc, benchDoc, userCtx, secObj); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkFilter100(b *testing.B) {
	p := newPool(b, Options{Processes: 1})
	ctx := context.Background()
	var docs [][]byte
	for i := range 100 {
		docs = append(docs, fmt.Appendf(nil, `{"_id":"note:%d","type":"note","owner":"ann","title":"a title of some words","n":%d}`, i, i))
	}
	for b.Loop() {
		if _, err := p.Filter(ctx, `function(doc, req) { return doc.type == req.query.type }`, nil, docs, []byte(`{"query":{"type":"note"}}`)); err != nil {
			b.Fatal(err)
		}
	}
}
