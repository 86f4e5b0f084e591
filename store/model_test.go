package store

import (
	"bytes"
	"context"
	"crypto/md5"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/parlordb/parlor/rev"
)

// model is what a database should hold, in plain maps.
type model struct {
	docs   map[string]*modelDoc
	locals map[string]modelLocal
	seq    uint64
	purges uint64
}

type modelLocal struct {
	n    uint64
	body string
}

type modelDoc struct {
	seq    uint64
	tree   rev.Tree // Refs number bodies
	bodies []modelBody
}

type modelBody struct {
	json  string
	files map[string]string
}

func newModel() *model {
	return &model{docs: make(map[string]*modelDoc), locals: make(map[string]modelLocal)}
}

// own does what Write should do with an own edit, except for the id of the revision: it returns the parent.
func (m *model) own(id string, base rev.ID) (parent rev.ID, ok bool) {
	d := m.docs[id]
	if d == nil {
		return base, true
	}
	w := d.tree.Node(d.tree.Winner())
	if base.IsZero() {
		return w.ID, w.Deleted
	}
	i, found := d.tree.Find(base)
	return base, found && d.tree.IsLeaf(i) && !w.Deleted
}

// store merges a revision.
func (m *model) store(id string, path []rev.ID, deleted bool, body modelBody, limit int) {
	d := m.docs[id]
	if d == nil {
		d = &modelDoc{}
		m.docs[id] = d
	}
	before := d.shape()
	d.bodies = append(d.bodies, body)
	i, _ := d.tree.Merge(path, deleted, uint64(len(d.bodies)))
	stored := d.tree.Node(i).Ref == uint64(len(d.bodies))
	d.tree.Stem(limit)
	if stored || before != d.shape() {
		m.seq++
		d.seq = m.seq
	}
}

// shape is which revisions there are, and which replaces which.
func (d *modelDoc) shape() string {
	var b strings.Builder
	for i := range d.tree.Len() {
		n := d.tree.Node(i)
		fmt.Fprint(&b, n.ID, n.Parent, " ")
	}
	return b.String()
}

func (m *model) purge(id string, revs []rev.ID) (purged []rev.ID) {
	d := m.docs[id]
	if d == nil {
		return nil
	}
	for _, r := range revs {
		one, _ := d.tree.Prune(r)
		purged = append(purged, one...)
	}
	if len(purged) == 0 {
		return nil
	}
	m.purges++
	if d.tree.Len() == 0 {
		delete(m.docs, id)
		return purged
	}
	m.seq++
	d.seq = m.seq
	return purged
}

// player does random things to a database and to its model.
type player struct {
	t     *testing.T
	rnd   *rand.Rand
	db    *DB
	model *model
	limit int
	// compacted says that bodies which are no leaves' may be gone.
	compacted bool
}

func (p *player) id() string { return fmt.Sprintf("doc%d", p.rnd.IntN(12)) }

// known returns a revision of the document, most often a leaf, or one that does not exist.
func (p *player) known(id string) rev.ID {
	d := p.model.docs[id]
	switch {
	case d == nil || p.rnd.IntN(20) == 0:
		return rev.ID{Gen: 1 + p.rnd.IntN(4), Hash: fmt.Sprintf("x%d", p.rnd.IntN(5))}
	case p.rnd.IntN(5) == 0:
		return d.tree.Node(p.rnd.IntN(d.tree.Len())).ID
	}
	leaves := d.tree.Leaves()
	return d.tree.Node(leaves[p.rnd.IntN(len(leaves))]).ID
}

// files makes attachments for a document: new ones, stubs, and those of another document.
func (p *player) files(id string, old *modelBody) (list []Attachment, want map[string]string, drop []*AttachmentWriter) {
	want = make(map[string]string)
	for range max(0, p.rnd.IntN(5)-2) {
		name := fmt.Sprintf("file%d", len(list))
		switch stub := old != nil && old.files[name] != ""; {
		case stub && p.rnd.IntN(2) == 0:
			list = append(list, Attachment{Name: name, Stub: true})
			want[name] = old.files[name]
		case p.rnd.IntN(3) == 0:
			other, err := p.db.Doc(p.id())
			if err != nil || len(other.Attachments) == 0 {
				continue
			}
			a := other.Attachments[0]
			text := p.read(a)
			a.Name = name
			list, want[name] = append(list, a), text
		default:
			text := fmt.Sprintf("%d of %s", p.rnd.Uint32(), id)
			a, w := attach(p.t, p.db, text)
			a.Name, a.Type = name, "text/plain"
			list, want[name], drop = append(list, a), text, append(drop, w)
		}
	}
	return list, want, drop
}

func (p *player) read(a Attachment) string {
	p.t.Helper()
	r, err := p.db.OpenAttachment(a, 0)
	if err != nil {
		p.t.Fatalf("opening an attachment: %v", err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil || md5.Sum(b) != a.Digest {
		p.t.Fatalf("reading an attachment: %v, digest %x", err, a.Digest)
	}
	return string(b)
}

// attach makes an attachment that a Write can take.
func attach(t testing.TB, db *DB, text string) (Attachment, *AttachmentWriter) {
	t.Helper()
	w, err := db.NewAttachment(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	a, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	return a, w
}

// bodyOf returns the body that a stub would refer to.
func (m *model) bodyOf(id string, revs ...rev.ID) *modelBody {
	if d := m.docs[id]; d != nil {
		for _, r := range revs {
			if i, ok := d.tree.Find(r); ok && d.tree.Node(i).Ref != 0 {
				return &d.bodies[d.tree.Node(i).Ref-1]
			}
		}
	}
	return nil
}

func allow(context.Context, *Doc, *Doc) error { return nil }

func (p *player) own() {
	id := p.id()
	var base rev.ID
	if p.rnd.IntN(3) > 0 {
		base = p.known(id)
	}
	parent, ok := p.model.own(id, base)
	var old *modelBody
	if ok {
		old = p.model.bodyOf(id, parent)
	}
	files, want, drop := p.files(id, old)
	w := Write{Doc: Doc{ID: id, Body: fmt.Appendf(nil, `{"n":%d}`, p.rnd.Uint32()), Deleted: p.rnd.IntN(5) == 0, Attachments: files}, Base: base}
	var check Check
	if p.rnd.IntN(2) == 0 {
		check = allow
	}
	got, err := p.db.Put(context.Background(), w, check)
	for _, d := range drop {
		d.Discard()
	}
	if ok != (err == nil) || err != nil && !errors.Is(err, ErrConflict) {
		p.t.Fatalf("own edit of %s on %v: %v, want success %v", id, base, err, ok)
	}
	if !ok {
		return
	}
	path := []rev.ID{got}
	if !parent.IsZero() {
		path = append(path, parent)
	}
	p.model.store(id, path, w.Doc.Deleted, modelBody{string(w.Doc.Body), want}, p.limit)
}

// history draws the path of a revision that another server may send of a document.
func (p *player) history(id string) []rev.ID {
	from := p.known(id)
	path := []rev.ID{from}
	if d := p.model.docs[id]; d != nil {
		if i, ok := d.tree.Find(from); ok {
			path = d.tree.Path(i)
		}
	}
	for range p.rnd.IntN(3) {
		path = slices.Insert(path, 0, rev.ID{Gen: path[0].Gen + 1, Hash: fmt.Sprintf("x%d", p.rnd.IntN(5))})
	}
	if path[len(path)-1].Gen > 1 && p.rnd.IntN(4) == 0 {
		path = append(path, rev.ID{Gen: path[len(path)-1].Gen - 1, Hash: "early"})
	}
	return path
}

func (p *player) replicated() {
	id := p.id()
	path := p.history(id)
	var old *modelBody
	if !p.compacted {
		old = p.model.bodyOf(id, path[1:]...)
	}
	files, want, drop := p.files(id, old)
	w := Write{Doc: Doc{ID: id, Body: fmt.Appendf(nil, `{"r":%d}`, p.rnd.Uint32()), Deleted: p.rnd.IntN(5) == 0, Attachments: files}, History: path}
	_, err := p.db.Put(context.Background(), w, nil)
	for _, d := range drop {
		d.Discard()
	}
	if err != nil {
		p.t.Fatalf("replicating %s %v: %v", id, path, err)
	}
	p.model.store(id, path, w.Doc.Deleted, modelBody{string(w.Doc.Body), want}, p.limit)
}

// bulk replicates several revisions of few documents in one call.
func (p *player) bulk() {
	ids := []string{p.id(), p.id()}
	var writes []Write
	for range 2 + p.rnd.IntN(8) {
		id := ids[p.rnd.IntN(len(ids))]
		body := fmt.Appendf(nil, `{"b":%d}`, p.rnd.Uint32())
		writes = append(writes, Write{Doc: Doc{ID: id, Body: body, Deleted: p.rnd.IntN(5) == 0}, History: p.history(id)})
	}
	results, err := p.db.Write(context.Background(), writes, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	for i, w := range writes {
		if results[i].Err != nil || results[i].Rev != w.History[0] {
			p.t.Fatalf("replicating %s %v: %+v", w.Doc.ID, w.History, results[i])
		}
		p.model.store(w.Doc.ID, w.History, w.Doc.Deleted, modelBody{json: string(w.Doc.Body)}, p.limit)
	}
}

func (p *player) purge() {
	id := p.id()
	revs := []rev.ID{p.known(id), p.known(id), p.known(id)}
	got, seq, err := p.db.Purge(context.Background(), []string{id}, [][]rev.ID{revs})
	if err != nil {
		p.t.Fatal(err)
	}
	if want := p.model.purge(id, revs); !slices.Equal(got[0], want) || seq != p.model.purges {
		p.t.Fatalf("purged %v %d, want %v %d", got, seq, want, p.model.purges)
	}
}

func (p *player) local() {
	id := p.id()
	now := p.model.locals[id]
	base := now.n
	if p.rnd.IntN(4) == 0 {
		base = uint64(p.rnd.IntN(3))
	}
	body := fmt.Appendf(nil, `{"l":%d}`, p.rnd.Uint32())
	if p.rnd.IntN(4) == 0 {
		body = nil
	}
	n, err := p.db.PutLocal(context.Background(), id, base, body)
	switch {
	case base != now.n:
		if !errors.Is(err, ErrConflict) {
			p.t.Fatalf("local %s on %d instead of %d: %v", id, base, now.n, err)
		}
	case body == nil && now.n == 0:
		if !errors.Is(err, ErrNotFound) {
			p.t.Fatalf("deleting no local %s: %v", id, err)
		}
	case err != nil:
		p.t.Fatal(err)
	case body == nil:
		delete(p.model.locals, id)
	default:
		p.model.locals[id] = modelLocal{n, string(body)}
	}
}

func (p *player) step() {
	switch k := p.rnd.IntN(100); {
	case k < 45:
		p.own()
	case k < 72:
		p.replicated()
	case k < 80:
		p.bulk()
	case k < 86:
		p.purge()
	case k < 96:
		p.local()
	case k < 98:
		p.limit = 1 + p.rnd.IntN(6)
		if err := p.db.SetRevsLimit(context.Background(), p.limit); err != nil {
			p.t.Fatal(err)
		}
	default:
		if err := p.db.Compact(context.Background()); err != nil {
			p.t.Fatal(err)
		}
		p.compacted = true
	}
}

// compare reads everything in every way, and holds it against the model.
func (p *player) compare() {
	p.t.Helper()
	info, err := p.db.Info()
	if err != nil {
		p.t.Fatal(err)
	}
	var live, dead uint64
	for _, d := range p.model.docs {
		if d.tree.Node(d.tree.Winner()).Deleted {
			dead++
		} else {
			live++
		}
	}
	if info.DocCount != live || info.DelCount != dead || info.UpdateSeq != p.model.seq || info.PurgeSeq != p.model.purges {
		p.t.Fatalf("info %+v, want %d, %d, seq %d, purge %d", info, live, dead, p.model.seq, p.model.purges)
	}
	for id, d := range p.model.docs {
		p.compareDoc(id, d)
	}
	p.compareFeeds(live)
	p.compareLocals()
}

func (p *player) compareDoc(id string, d *modelDoc) {
	p.t.Helper()
	r, err := p.db.Record(id)
	if err != nil {
		p.t.Fatal(err)
	}
	if r.Seq != d.seq || r.Tree.Len() != d.tree.Len() {
		p.t.Fatalf("%s: seq %d of %d, %d revisions of %d", id, r.Seq, d.seq, r.Tree.Len(), d.tree.Len())
	}
	for i := range r.Tree.Len() {
		got, want := r.Tree.Node(i), d.tree.Node(i)
		if got.ID != want.ID || got.Parent != want.Parent || got.Deleted != want.Deleted {
			p.t.Fatalf("%s: revision %+v, want %+v", id, got, want)
		}
		doc, err := p.db.Revision(r, i)
		switch {
		case want.Ref == 0 && !errors.Is(err, ErrMissing):
			p.t.Fatalf("%s %v: %v, want no body", id, want.ID, err)
		case want.Ref != 0 && err == nil:
			p.compareBody(doc, d.bodies[want.Ref-1])
		case want.Ref != 0 && (r.Tree.IsLeaf(i) || !p.compacted):
			p.t.Fatalf("%s %v: %v", id, want.ID, err)
		}
	}
	doc, err := p.db.Doc(id)
	winner := d.tree.Node(d.tree.Winner())
	if winner.Deleted != errors.Is(err, ErrDeleted) || err == nil && doc.Rev != winner.ID {
		p.t.Fatalf("%s: %v, %v, want %+v", id, doc, err, winner)
	}
}

func (p *player) compareBody(doc *Doc, want modelBody) {
	p.t.Helper()
	if string(doc.Body) != want.json || len(doc.Attachments) != len(want.files) {
		p.t.Fatalf("%s: %s %v, want %v", doc.ID, doc.Body, doc.Attachments, want)
	}
	for _, a := range doc.Attachments {
		if got := p.read(a); got != want.files[a.Name] {
			p.t.Fatalf("%s/%s: %q, want %q", doc.ID, a.Name, got, want.files[a.Name])
		}
	}
}

func (p *player) compareFeeds(live uint64) {
	p.t.Helper()
	inOrder := slices.SortedFunc(maps.Keys(p.model.docs), func(a, b string) int {
		return int(p.model.docs[a].seq) - int(p.model.docs[b].seq)
	})
	for since := range p.model.seq + 2 {
		var got []string
		err := p.db.Changes(since, false, 1000, func(c *Change) bool {
			got = append(got, c.ID)
			return true
		})
		var want []string
		for _, id := range inOrder {
			if p.model.docs[id].seq > since {
				want = append(want, id)
			}
		}
		n, countErr := p.db.ChangesAfter(since)
		if err != nil || countErr != nil || !slices.Equal(got, want) || n != uint64(len(want)) {
			p.t.Fatalf("changes since %d: %v (%d, %v, %v), want %v", since, got, n, err, countErr, want)
		}
	}
	p.compareBackwards(inOrder)
	byID := slices.Sorted(maps.Keys(p.model.docs))
	var got []string
	if err := p.db.Docs(Range{Deleted: true}, func(r *Row) bool {
		got = append(got, r.ID)
		return true
	}); err != nil || !slices.Equal(got, byID) {
		p.t.Fatalf("docs %v, want %v", got, byID)
	}
	if n, ok, err := p.db.CountBefore("~", false, 1000); err != nil || !ok || uint64(n) != live {
		p.t.Fatalf("%d documents, %v, %v, want %d", n, ok, err, live)
	}
}

// compareBackwards reads the feed from its new end, in pages of each size.
func (p *player) compareBackwards(inOrder []string) {
	p.t.Helper()
	want := slices.Clone(inOrder)
	slices.Reverse(want)
	for limit := 1; limit <= len(want)+1; limit++ {
		var got []string
		for since, rows := uint64(0), limit; rows == limit; {
			rows = 0
			if err := p.db.Changes(since, true, limit, func(c *Change) bool {
				got = append(got, c.ID)
				since = c.Seq
				rows++
				return true
			}); err != nil {
				p.t.Fatal(err)
			}
		}
		if !slices.Equal(got, want) {
			p.t.Fatalf("descending in pages of %d: %v, want %v", limit, got, want)
		}
	}
}

func (p *player) compareLocals() {
	p.t.Helper()
	got := make(map[string]modelLocal)
	err := p.db.Locals(Range{}, func(l *Local) bool {
		got[l.ID] = modelLocal{l.N, string(l.Body)}
		return true
	})
	if err != nil || !maps.Equal(got, p.model.locals) {
		p.t.Fatalf("locals %v, want %v", got, p.model.locals)
	}
	for id, want := range p.model.locals {
		if l, err := p.db.Local(id); err != nil || l.N != want.n || !bytes.Equal(l.Body, []byte(want.body)) {
			p.t.Fatalf("local %s: %+v, %v", id, l, err)
		}
	}
}

func TestRandomOperations(t *testing.T) {
	t.Parallel()
	for seed := range uint64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			s := open(t, Options{})
			p := &player{t: t, rnd: rand.New(rand.NewPCG(seed, 1)), db: create(t, s, "db"), model: newModel(), limit: defaultRevsLimit}
			for i := range 300 {
				p.step()
				if i%50 == 49 {
					p.compare()
					verify(t, s)
				}
			}
		})
	}
}
