package rev

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// ids makes a path from texts such as "3-c 2-b 1-a".
func ids(t *testing.T, text string) []ID {
	t.Helper()
	var path []ID
	for _, s := range strings.Fields(text) {
		id, err := Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		path = append(path, id)
	}
	return path
}

// grow merges paths into a tree, one a line; a line that ends in " x" is a tombstone. Refs are 1, 2, …
func grow(t *testing.T, lines ...string) *Tree {
	t.Helper()
	tree := new(Tree)
	for i, line := range lines {
		line, deleted := strings.CutSuffix(line, " x")
		tree.Merge(ids(t, line), deleted, uint64(i+1))
	}
	return tree
}

func (t *Tree) dump() string {
	var b strings.Builder
	for _, n := range t.nodes {
		parent := "."
		if n.Parent >= 0 {
			parent = t.nodes[n.Parent].ID.String()
		}
		fmt.Fprintf(&b, "%v<%s ", n.ID, parent)
	}
	return b.String()
}

func texts(t *Tree, index []int) string {
	var s []string
	for _, i := range index {
		s = append(s, t.nodes[i].ID.String())
	}
	return strings.Join(s, " ")
}

func TestLeaves(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, want string
		lines      []string
	}{
		{"one", "1-a", []string{"1-a"}},
		{"higher generation wins", "2-a 1-z", []string{"1-z", "2-a 1-b"}},
		{"higher hash wins", "2-b 2-a", []string{"2-a 1-a", "2-b 1-a"}},
		{"a tombstone loses to the living", "2-a 3-z", []string{"2-a 1-a", "3-z 2-z 1-a x"}},
		{"all deleted", "3-z 2-a", []string{"2-a 1-a x", "3-z 2-z 1-a x"}},
	} {
		tree := grow(t, c.lines...)
		if got := texts(tree, tree.Leaves()); got != c.want {
			t.Errorf("%s: leaves %s, want %s", c.name, got, c.want)
		}
		if got, want := tree.Winner(), tree.Leaves()[0]; got != want {
			t.Errorf("%s: winner %d, want %d", c.name, got, want)
		}
	}
}

func TestMerge(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		lines []string
		path  string
		out   Outcome
		want  string
	}{
		{"first", nil, "1-a", NewLeaf, "1-a<. "},
		{"first with ancestors", nil, "3-c 2-b", NewLeaf, "2-b<. 3-c<2-b "},
		{"extends", []string{"1-a"}, "2-b 1-a", NewLeaf, "1-a<. 2-b<1-a "},
		{"extends far", []string{"1-a"}, "3-c 2-b 1-a", NewLeaf, "1-a<. 2-b<1-a 3-c<2-b "},
		{"known", []string{"2-b 1-a"}, "2-b 1-a", Known, "1-a<. 2-b<1-a "},
		{"known, with new ancestors", []string{"3-c"}, "3-c 2-b 1-a", Known, "1-a<. 2-b<1-a 3-c<2-b "},
		{"conflict", []string{"2-b 1-a"}, "2-c 1-a", NewBranch, "1-a<. 2-b<1-a 2-c<1-a "},
		{"second root", []string{"2-b 1-a"}, "5-e 4-d", NewBranch, "1-a<. 2-b<1-a 4-d<. 5-e<4-d "},
		{"known as an ancestor only", []string{"2-b 1-a"}, "1-a", Interior, "1-a<. 2-b<1-a "},
		{"two roots joined", []string{"1-a", "3-c"}, "3-c 2-b 1-a", Known, "1-a<. 2-b<1-a 3-c<2-b "},
		{"another parent is not believed", []string{"2-b 1-a"}, "2-b 1-z", Known, "1-a<. 2-b<1-a "},
	} {
		tree := grow(t, c.lines...)
		i, out := tree.Merge(ids(t, c.path), false, 99)
		if out != c.out || tree.dump() != c.want || tree.Node(i).ID != ids(t, c.path)[0] {
			t.Errorf("%s: %v %s", c.name, out, tree.dump())
		}
	}
}

func TestMergeBodies(t *testing.T) {
	t.Parallel()
	tree := grow(t, "2-b 1-a")
	if tree.Merge(ids(t, "1-a"), false, 9); tree.Node(0).Ref != 0 {
		t.Error("an ancestor without a body got one")
	}
	if tree.Merge(ids(t, "2-b 1-a"), false, 9); tree.Node(1).Ref != 1 {
		t.Error("a known body was replaced")
	}
	tree.SetRef(1, 0)
	if tree.Merge(ids(t, "2-b 1-a"), false, 9); tree.Node(1).Ref != 9 {
		t.Error("a leaf whose body was missing did not get it")
	}
}

func TestStem(t *testing.T) {
	t.Parallel()
	tree := grow(t, "1-a", "2-b 1-a", "3-c 2-b", "4-d 3-c", "2-x 1-a")
	if refs := tree.Stem(2); !slices.Equal(refs, []uint64{2}) {
		t.Errorf("gave up %v", refs)
	}
	// 1-a stays for its near leaf 2-x; 3-c lost its parent.
	if got := tree.dump(); got != "1-a<. 2-x<1-a 3-c<. 4-d<3-c " {
		t.Error(got)
	}
	if refs := tree.Stem(2); refs != nil {
		t.Errorf("stemming again gave up %v", refs)
	}
}

func TestReaches(t *testing.T) {
	t.Parallel()
	tree := grow(t, "4-d 3-c 2-b", "3-x 2-y 1-z")
	for path, want := range map[string]bool{
		"4-d":             false,
		"4-d 3-c 2-b":     false,
		"4-d 3-c 2-b 1-a": true,
		"3-c 2-b 1-z":     true,
		"4-d 3-q 2-b 1-a": false, // another parent is not believed
		"2-b 1-a":         true,
		"3-x 2-y 1-z":     false,
		"5-e 4-d":         false,
	} {
		if got := tree.Reaches(ids(t, path)); got != want {
			t.Errorf("%s: %v", path, got)
		}
	}
}

func TestPrune(t *testing.T) {
	t.Parallel()
	tree := grow(t, "1-a", "2-b 1-a", "3-c 2-b", "2-x 1-a")
	for _, id := range []string{"2-b", "9-z"} {
		if pruned, _ := tree.Prune(ids(t, id)...); pruned != nil {
			t.Errorf("%s is no leaf, yet it was pruned", id)
		}
	}
	pruned, refs := tree.Prune(ids(t, "3-c")[0])
	if len(pruned) != 1 || !slices.Equal(refs, []uint64{2, 3}) || tree.dump() != "1-a<. 2-x<1-a " {
		t.Error(pruned, refs, tree.dump())
	}
	pruned, refs = tree.Prune(ids(t, "2-x")[0])
	if len(pruned) != 1 || !slices.Equal(refs, []uint64{1, 4}) || tree.Len() != 0 {
		t.Error(pruned, refs, tree.dump())
	}
}

// TestPruneInTurn: several are pruned as if one after the other.
func TestPruneInTurn(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		paths, dead := universe(t)
		tree := new(Tree)
		for i, path := range paths {
			tree.Merge(path, dead[path[0]], uint64(i+1))
		}
		var which []ID
		for range rapid.IntRange(1, 6).Draw(t, "how many") {
			which = append(which, tree.nodes[rapid.IntRange(0, tree.Len()-1).Draw(t, "which")].ID)
		}
		one := tree.Clone()
		var want []ID
		var wantRefs []uint64
		for _, id := range which {
			pruned, refs := one.Prune(id)
			want, wantRefs = append(want, pruned...), append(wantRefs, refs...)
		}
		got, refs := tree.Prune(which...)
		slices.Sort(wantRefs)
		slices.Sort(refs)
		if !slices.Equal(got, want) || !slices.Equal(refs, wantRefs) || !tree.Equal(&one) {
			t.Fatalf("%v: %v %v made %s, want %v %v %s", which, got, refs, tree.dump(), want, wantRefs, one.dump())
		}
	})
}

func TestLatestAndAncestors(t *testing.T) {
	t.Parallel()
	tree := grow(t, "1-a", "2-b 1-a", "3-c 2-b x", "2-x 1-a")
	at := func(s string) int { i, _ := tree.Find(ids(t, s)[0]); return i }
	for from, want := range map[string]string{"1-a": "2-x 3-c", "2-b": "3-c", "3-c": "3-c", "2-x": "2-x"} {
		if got := texts(tree, tree.Latest(at(from))); got != want {
			t.Errorf("latest of %s: %s, want %s", from, got, want)
		}
	}
	if got := tree.PossibleAncestors(ID{3, "zz"}); !slices.Equal(got, ids(t, "2-x")) {
		t.Error(got)
	}
	if got := tree.Path(at("3-c")); !slices.Equal(got, ids(t, "3-c 2-b 1-a")) {
		t.Error(got)
	}
}

// universe draws a history, and paths out of it as replicators may send them: each a revision with some of its ancestors.
func universe(t *rapid.T) (paths [][]ID, dead map[ID]bool) {
	type node struct {
		id     ID
		parent int
	}
	var nodes []node
	dead = make(map[ID]bool)
	for i := range rapid.IntRange(1, 20).Draw(t, "nodes") {
		parent := rapid.IntRange(-1, i-1).Draw(t, "parent")
		id := ID{1, fmt.Sprintf("%02d", rapid.IntRange(0, 99).Draw(t, "hash")) + fmt.Sprint(i)}
		if rapid.Bool().Draw(t, "hex") {
			id.Hash = strings.Repeat("0", 32-len(id.Hash)) + id.Hash
		}
		if parent >= 0 {
			id.Gen = nodes[parent].id.Gen + 1
		}
		nodes = append(nodes, node{id, parent})
		dead[id] = rapid.Bool().Draw(t, "deleted")
	}
	for range rapid.IntRange(1, 12).Draw(t, "paths") {
		var path []ID
		i := rapid.IntRange(0, len(nodes)-1).Draw(t, "from")
		for n := rapid.IntRange(1, 20).Draw(t, "length"); i >= 0 && n > 0; n-- {
			path = append(path, nodes[i].id)
			i = nodes[i].parent
		}
		paths = append(paths, path)
	}
	return paths, dead
}

func TestMergeInAnyOrder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		paths, dead := universe(t)
		build := func() *Tree {
			tree := new(Tree)
			for _, path := range paths {
				tree.Merge(path, dead[path[0]], 1)
			}
			return tree
		}
		one := build()
		shuffle := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		shuffle.Shuffle(len(paths), func(i, j int) { paths[i], paths[j] = paths[j], paths[i] })
		other := build()
		if one.dump() != other.dump() {
			t.Fatalf("%s\n%s", one.dump(), other.dump())
		}
		if texts(one, one.Leaves()) != texts(other, other.Leaves()) || one.Winner() != other.Winner() {
			t.Fatalf("leaves %s, %s", texts(one, one.Leaves()), texts(other, other.Leaves()))
		}
		if one.Winner() != one.Leaves()[0] {
			t.Fatalf("winner %d, leaves %v", one.Winner(), one.Leaves())
		}
	})
}

// TestReachesTellsWhatMergeLearns: where it is false, merging a known revision changes nothing.
func TestReachesTellsWhatMergeLearns(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		paths, dead := universe(t)
		tree := new(Tree)
		for _, path := range paths[1:] {
			tree.Merge(path, dead[path[0]], 1)
		}
		if _, known := tree.Find(paths[0][0]); !known {
			return
		}
		reaches, before := tree.Reaches(paths[0]), tree.dump()
		tree.Merge(paths[0], false, 1)
		if reaches == (tree.dump() == before) {
			t.Fatalf("reaches %v: %v made %s of %s", reaches, paths[0], tree.dump(), before)
		}
	})
}

func TestTreeStaysSound(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		paths, dead := universe(t)
		tree := new(Tree)
		for i, path := range paths {
			tree.Merge(path, dead[path[0]], uint64(i)*7+1)
			switch rapid.IntRange(0, 9).Draw(t, "then") {
			case 0:
				tree.Stem(rapid.IntRange(1, 5).Draw(t, "limit"))
			case 1:
				tree.Prune(tree.nodes[tree.Winner()].ID)
			}
			back, err := Decode(tree.Append(nil))
			if err != nil || !slices.Equal(back.nodes, tree.nodes) {
				t.Fatalf("%v: %s became %s", err, tree.dump(), back.dump())
			}
			for _, n := range tree.nodes {
				if n.Parent >= 0 && tree.nodes[n.Parent].ID.Gen != n.ID.Gen-1 {
					t.Fatalf("a generation is skipped: %s", tree.dump())
				}
			}
		}
	})
}

func TestStemKeepsLeaves(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		paths, dead := universe(t)
		tree := new(Tree)
		for _, path := range paths {
			tree.Merge(path, dead[path[0]], 1)
		}
		limit := rapid.IntRange(1, 6).Draw(t, "limit")
		before := tree.Clone()
		tree.Stem(limit)
		if texts(tree, tree.Leaves()) != texts(&before, before.Leaves()) {
			t.Fatalf("leaves changed: %s to %s", before.dump(), tree.dump())
		}
		for _, i := range tree.Leaves() {
			j, _ := before.Find(tree.nodes[i].ID)
			full := before.Path(j)
			got := tree.Path(i)
			if len(got) < min(limit, len(full)) || !slices.Equal(got, full[:len(got)]) {
				t.Fatalf("path %v became %v", full, got)
			}
		}
	})
}

func FuzzDecode(f *testing.F) {
	seed := new(Tree)
	seed.Merge([]ID{{3, "917fa2381192822767f010b95b45325b"}, {2, "x"}}, true, 300)
	seed.Merge([]ID{{3, "a"}, {2, "x"}, {1, "b"}}, false, 0)
	f.Add(seed.Append(nil))
	f.Add([]byte{})
	f.Add([]byte{0})
	f.Fuzz(func(t *testing.T, b []byte) {
		tree, err := Decode(b)
		if err != nil {
			return
		}
		if again := tree.Append(nil); !bytes.Equal(again, b) {
			t.Fatalf("%x was read as %s, which is %x", b, tree.dump(), again)
		}
		if tree.Len() > 0 && tree.Winner() != tree.Leaves()[0] {
			t.Fatalf("winner of %s", tree.dump())
		}
	})
}

func BenchmarkDecode1000(b *testing.B) {
	tree := new(Tree)
	path := []ID{{1, fmt.Sprintf("%032x", 1)}}
	tree.Merge(path, false, 1)
	for i := 2; i <= 1000; i++ {
		tree.Merge([]ID{{i, fmt.Sprintf("%032x", i)}, tree.nodes[len(tree.nodes)-1].ID}, false, uint64(i))
	}
	enc := tree.Append(nil)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Decode(enc); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkMergeConflicts merges revisions that know no ancestor, in no order.
func BenchmarkMergeConflicts(b *testing.B) {
	for _, n := range []uint64{1000, 4000, 16_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				tree := new(Tree)
				for i := range n {
					tree.Merge([]ID{{1, fmt.Sprintf("%032x", i*0x9e3779b97f4a7c15)}}, false, i+1)
					tree.Stem(1000)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/revision")
		})
	}
}
