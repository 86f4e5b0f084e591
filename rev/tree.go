package rev

import "slices"

// Node is one revision in a Tree.
type Node struct {
	ID      ID
	Parent  int  // index of the parent in the same tree, -1 when none is known
	Deleted bool // the revision is a tombstone
	// Ref is where the caller keeps the revision's body. 0: the revision is known by its id alone, because it came as
	// somebody's ancestor or because compaction took the body.
	Ref uint64
}

// Tree is the known history of one document, possibly with several roots. The zero Tree is empty.
//
// A node is named by its index, which stays valid until the tree changes.
type Tree struct {
	// nodes is in the order of ID.Compare. A parent is one generation below its child and therefore comes first: one pass
	// forwards goes from ancestors to descendants, one pass backwards from leaves to roots.
	nodes []Node
}

// Len is the number of revisions known.
func (t *Tree) Len() int { return len(t.nodes) }

// Node returns the revision at index i.
func (t *Tree) Node(i int) Node { return t.nodes[i] }

// SetRef notes where the body of the revision at index i is kept, 0 for nowhere.
func (t *Tree) SetRef(i int, ref uint64) { t.nodes[i].Ref = ref }

// Clone returns a copy that shares nothing with t that can change.
func (t *Tree) Clone() Tree { return Tree{nodes: slices.Clone(t.nodes)} }

// Equal reports whether two trees hold the same, Refs included.
func (t *Tree) Equal(other *Tree) bool { return slices.Equal(t.nodes, other.nodes) }

// Find returns the index of id, and whether it is known.
func (t *Tree) Find(id ID) (int, bool) {
	return slices.BinarySearchFunc(t.nodes, id, func(n Node, id ID) int { return n.ID.Compare(id) })
}

// inner tells of each node whether a known revision replaces it.
func (t *Tree) inner() []bool {
	inner := make([]bool, len(t.nodes))
	for _, n := range t.nodes {
		if n.Parent >= 0 {
			inner[n.Parent] = true
		}
	}
	return inner
}

// Leaves returns the indices of the revisions that nothing replaces, the winner first, then in the order of preference:
// not deleted before deleted, higher generation first, higher hash first.
func (t *Tree) Leaves() []int {
	inner := t.inner()
	var live, dead []int
	for i := len(t.nodes) - 1; i >= 0; i-- {
		switch {
		case inner[i]:
		case t.nodes[i].Deleted:
			dead = append(dead, i)
		default:
			live = append(live, i)
		}
	}
	return append(live, dead...)
}

// Winner returns the index of the leaf that every server prefers. It must not be called on an empty tree.
func (t *Tree) Winner() int {
	last := len(t.nodes) - 1
	// The highest id is always a leaf, and it wins unless it is deleted.
	if !t.nodes[last].Deleted {
		return last
	}
	inner := t.inner()
	for i := last; i >= 0; i-- {
		if !inner[i] && !t.nodes[i].Deleted {
			return i
		}
	}
	return last
}

// IsLeaf reports whether no known revision replaces the one at i.
func (t *Tree) IsLeaf(i int) bool {
	gen := t.nodes[i].ID.Gen + 1
	from, _ := t.Find(ID{Gen: gen}) // a child is one generation above
	for _, n := range t.nodes[from:] {
		if n.Parent == i {
			return false
		}
		if n.ID.Gen > gen {
			break
		}
	}
	return true
}

// Path returns the ids from the revision at i back to its oldest known ancestor.
func (t *Tree) Path(i int) []ID {
	var path []ID
	for ; i >= 0; i = t.nodes[i].Parent {
		path = append(path, t.nodes[i].ID)
	}
	return path
}

// Reaches reports whether path, newest first, goes beyond where the known ancestry of its first revision ends: then Merge may learn
// ancestors from it. Of an unknown revision it is false.
func (t *Tree) Reaches(path []ID) bool {
	i, ok := t.Find(path[0])
	for _, id := range path[1:] {
		if !ok {
			return false
		}
		if i = t.nodes[i].Parent; i < 0 {
			return true
		}
		ok = t.nodes[i].ID == id
	}
	return false
}

// Latest returns the leaves that descend from the revision at i, or i itself when it is a leaf. They are in the order of
// Leaves.
func (t *Tree) Latest(i int) []int {
	below := make([]bool, len(t.nodes))
	below[i] = true
	for j := i + 1; j < len(t.nodes); j++ {
		if p := t.nodes[j].Parent; p >= 0 && below[p] {
			below[j] = true
		}
	}
	return slices.DeleteFunc(t.Leaves(), func(j int) bool { return !below[j] })
}

// PossibleAncestors returns the leaves whose generation is lower than id's: what a sender may hold an edit of. It follows
// CouchDB's _revs_diff.
func (t *Tree) PossibleAncestors(id ID) []ID {
	var ids []ID
	for _, i := range t.Leaves() {
		if t.nodes[i].ID.Gen < id.Gen {
			ids = append(ids, t.nodes[i].ID)
		}
	}
	return ids
}

// Outcome says what Merge did.
type Outcome int

const (
	Known     Outcome = iota // the revision was there already: nothing changed but perhaps a leaf's missing Ref
	NewLeaf                  // it extends a leaf, or is the first of the tree
	NewBranch                // it starts a branch: a conflict, or a second root
	Interior                 // it is known as an ancestor without a body, and stays so
)

// Merge adds the revision path[0] with its ancestors path[1:], newest first, each one generation below the one before
// and none below 1. Ancestors that the tree lacks are added without a body, also when path[0] itself is known. It returns the
// revision's index.
//
// The parent that is known of a revision stays its parent, whatever a later path says.
func (t *Tree) Merge(path []ID, deleted bool, ref uint64) (int, Outcome) {
	meet, at := len(path), -1 // path[meet] is the newest revision of path that the tree has, at index at
	for k, id := range path {
		if i, ok := t.Find(id); ok {
			meet, at = k, i
			break
		}
	}
	outcome, known := t.judge(meet, at), len(t.nodes)
	if outcome == Known && t.nodes[at].Ref == 0 {
		t.nodes[at].Ref = ref
		t.nodes[at].Deleted = deleted
	}
	if meet < len(path) {
		t.graftAncestors(at, path[meet+1:])
	}
	parent := at
	for k := len(path) - 1; k >= 0; k-- {
		if k >= meet {
			continue
		}
		n := Node{ID: path[k], Parent: parent}
		if k == 0 {
			n.Deleted, n.Ref = deleted, ref
		}
		parent = len(t.nodes)
		t.nodes = append(t.nodes, n)
	}
	t.sort(known)
	i, _ := t.Find(path[0])
	return i, outcome
}

// judge says what adding a path means that meets the tree, after meet new revisions, at index at (-1: nowhere).
func (t *Tree) judge(meet, at int) Outcome {
	switch {
	case at < 0 && len(t.nodes) > 0:
		return NewBranch
	case at < 0:
		return NewLeaf
	case meet == 0 && (t.nodes[at].Ref != 0 || t.IsLeaf(at)):
		return Known
	case meet == 0:
		return Interior
	case t.IsLeaf(at):
		return NewLeaf
	}
	return NewBranch
}

// graftAncestors adds what path tells of the ancestors of the revision at i, newest first: a path may know what was stemmed
// here, or join what were two roots. New nodes go to the end; sort must follow.
func (t *Tree) graftAncestors(i int, path []ID) {
	known := len(t.nodes) // Find works on the sorted part alone
	for _, id := range path {
		if p := t.nodes[i].Parent; p >= 0 {
			if t.nodes[p].ID != id {
				return
			}
			i = p
			continue
		}
		sorted := Tree{nodes: t.nodes[:known]}
		p, ok := sorted.Find(id)
		if !ok {
			p = len(t.nodes)
			t.nodes = append(t.nodes, Node{ID: id, Parent: -1})
		}
		t.nodes[i].Parent = p
		i = p
	}
}

// newcomer is a node that sort puts in its place.
type newcomer struct {
	Node
	from int // its index so far
	at   int // how many of the known nodes come before it
}

// sort brings the nodes in order again after some were appended to the first known ones. Those are in order and are only moved: one conflict more
// must cost little where there are thousands.
func (t *Tree) sort(known int) {
	byID := func(a, b Node) int { return a.ID.Compare(b.ID) }
	if slices.IsSortedFunc(t.nodes[max(known-1, 0):], byID) {
		return
	}
	sorted := Tree{nodes: t.nodes[:known]}
	fresh := make([]newcomer, 0, len(t.nodes)-known)
	for i, n := range t.nodes[known:] {
		at, _ := sorted.Find(n.ID)
		fresh = append(fresh, newcomer{n, known + i, at})
	}
	slices.SortFunc(fresh, func(a, b newcomer) int { return byID(a.Node, b.Node) })
	place := make([]int, len(fresh)) // place[i] is where the node at known+i goes
	end := known
	for k := len(fresh) - 1; k >= 0; k-- {
		n := fresh[k]
		copy(t.nodes[n.at+k+1:], t.nodes[n.at:end])
		t.nodes[n.at+k] = n.Node
		place[n.from-known] = n.at + k
		end = n.at
	}
	for i := end; i < len(t.nodes); i++ {
		switch p := t.nodes[i].Parent; {
		case p >= known:
			t.nodes[i].Parent = place[p-known]
		case p >= end:
			before, _ := slices.BinarySearchFunc(fresh, p+1, func(n newcomer, p int) int { return n.at - p })
			t.nodes[i].Parent = p + before
		}
	}
}

// Stem forgets revisions that lie more than limit generations above every leaf that descends from them (a leaf itself counts
// as the first), and returns the Refs of the bodies that this gives up.
func (t *Tree) Stem(limit int) (refs []uint64) {
	// A path skips no generation, so none is longer than the tree is high.
	if last := len(t.nodes) - 1; last < limit || t.nodes[last].ID.Gen-t.nodes[0].ID.Gen < limit {
		return nil
	}
	height := make([]int, len(t.nodes)) // 1 + generations to the nearest leaf below; 0 for a leaf until its turn
	gone, some := make([]bool, len(t.nodes)), false
	for i := len(t.nodes) - 1; i >= 0; i-- {
		if height[i] == 0 {
			height[i] = 1
		}
		if p := t.nodes[i].Parent; p >= 0 && (height[p] == 0 || height[p] > height[i]+1) {
			height[p] = height[i] + 1
		}
		gone[i] = height[i] > limit
		some = some || gone[i]
	}
	if !some {
		return nil
	}
	return t.remove(gone)
}

// Prune removes those of ids that are leaves when their turn comes, each with its ancestors that lead to no other leaf: a purge. It returns which they
// were, and the Refs of the bodies that this gives up.
func (t *Tree) Prune(ids ...ID) (pruned []ID, refs []uint64) {
	children := make([]int, len(t.nodes))
	for _, n := range t.nodes {
		if n.Parent >= 0 {
			children[n.Parent]++
		}
	}
	gone := make([]bool, len(t.nodes))
	for _, id := range ids {
		i, ok := t.Find(id)
		if !ok || gone[i] || children[i] > 0 {
			continue
		}
		pruned = append(pruned, id)
		for i >= 0 && children[i] == 0 {
			gone[i] = true
			if i = t.nodes[i].Parent; i >= 0 {
				children[i]--
			}
		}
	}
	if len(pruned) == 0 {
		return nil, nil
	}
	return pruned, t.remove(gone)
}

// remove takes out the nodes marked gone. What loses its parent becomes a root.
func (t *Tree) remove(gone []bool) (refs []uint64) {
	place := make([]int, len(t.nodes))
	var kept []Node
	for i, n := range t.nodes {
		if gone[i] {
			place[i] = -1
			if n.Ref != 0 {
				refs = append(refs, n.Ref)
			}
			continue
		}
		place[i] = len(kept)
		if n.Parent >= 0 {
			n.Parent = place[n.Parent]
		}
		kept = append(kept, n)
	}
	t.nodes = kept
	return refs
}
