package rev

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
	nodes []Node
}

// Len is the number of revisions known.
func (t *Tree) Len() int { panic("todo") }

// Node returns the revision at index i.
func (t *Tree) Node(i int) Node { panic("todo") }

// SetRef notes where the body of the revision at index i is kept, 0 for nowhere.
func (t *Tree) SetRef(i int, ref uint64) { panic("todo") }

// Find returns the index of id, and whether it is known.
func (t *Tree) Find(id ID) (int, bool) { panic("todo") }

// Leaves returns the indices of the revisions that nothing replaces, the winner first, then in the order of preference:
// not deleted before deleted, higher generation first, higher hash first.
func (t *Tree) Leaves() []int { panic("todo") }

// Winner returns the index of the leaf that every server prefers. It must not be called on an empty tree.
func (t *Tree) Winner() int { panic("todo") }

// IsLeaf reports whether no known revision replaces the one at i.
func (t *Tree) IsLeaf(i int) bool { panic("todo") }

// Path returns the ids from the revision at i back to its oldest known ancestor.
func (t *Tree) Path(i int) []ID { panic("todo") }

// Latest returns the leaves that descend from the revision at i, or i itself when it is a leaf.
func (t *Tree) Latest(i int) []int { panic("todo") }

// PossibleAncestors returns the leaves whose generation is lower than id's: what a sender may hold an edit of. It follows
// CouchDB's _revs_diff.
func (t *Tree) PossibleAncestors(id ID) []ID { panic("todo") }

// Outcome says what Merge did.
type Outcome int

const (
	Known     Outcome = iota // the revision was there already: nothing changed but perhaps a missing Ref
	NewLeaf                  // it extends a leaf
	NewBranch                // it starts a branch: a conflict, or a second root
	Interior                 // it was known as an ancestor only, or lies below a known revision
)

// Merge adds the revision path[0] with its ancestors path[1:], newest first, each one generation below the one before.
// Ancestors that the tree lacks are added without a body. It returns the revision's index.
func (t *Tree) Merge(path []ID, deleted bool, ref uint64) (int, Outcome) { panic("todo") }

// Stem forgets revisions that lie more than limit generations above every leaf that descends from them, and returns the
// Refs of the bodies that this gives up.
func (t *Tree) Stem(limit int) (refs []uint64) { panic("todo") }

// Prune removes the leaf id, and its ancestors that lead to no other leaf: a purge. It returns the Refs of the bodies
// that this gives up, and whether id was a leaf.
func (t *Tree) Prune(id ID) (refs []uint64, ok bool) { panic("todo") }

// Append writes the tree in the form that Decode reads.
func (t *Tree) Append(dst []byte) []byte { panic("todo") }

// Decode reads what Append wrote. It never panics; a text that Append cannot have written is an error.
func Decode(b []byte) (Tree, error) { panic("todo") }
