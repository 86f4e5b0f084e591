// Package parlor_test guards the architecture: which package may import which, and a few habits that keep
// the tree readable. The rules are data with their reasons beside them. A change of the architecture is a
// change of a table in this file, and of ARCHITECTURE.md.
package parlor_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/parlordb/parlor"

// maxFuncLines is the length, braces included, above which a function hides a second one.
const maxFuncLines = 80

// A house rule says which of our own packages a package may import.
type rule struct {
	pkg   string   // directory below the module root
	floor int      // imports point to a lower floor, or sideways where may says so
	may   []string // our own packages that it may import
	tests []string // our own packages that only its _test.go files may import besides
	why   string
}

var house = []rule{
	{pkg: "rev", floor: 0,
		why: "revision trees are pure functions: they can be tested and fuzzed with nothing around them"},
	{pkg: "config", floor: 0,
		why: "config does not know what its keys mean; cmd/parlor passes in what validates a change"},
	{pkg: "mango", floor: 0,
		why: "a selector matches JSON and nothing else; filters, validation and _find share it"},
	{pkg: "couchjs", floor: 0,
		why: "JavaScript runs in child processes, which must not reach the store"},
	{pkg: "auth/password", floor: 0,
		why: "hashing knows no user and no request"},
	{pkg: "auth", floor: 1, may: []string{"auth/password"}, tests: []string{"auth/authtest"},
		why: "any Go program can import the sign-on: it does not know that a database exists"},
	{pkg: "auth/jwt", floor: 1, may: []string{"auth"}, tests: []string{"auth/authtest"},
		why: "a method knows the contract of methods, not its neighbours"},
	{pkg: "auth/oauth1", floor: 1, may: []string{"auth"}, tests: []string{"auth/authtest"},
		why: "a method knows the contract of methods, not its neighbours"},
	{pkg: "auth/oidc", floor: 2, may: []string{"auth", "auth/jwt"}, tests: []string{"auth/authtest"},
		why: "providers vouch for users; what a login ends in is the server's to say"},
	{pkg: "livesync", floor: 2, may: []string{"auth", "auth/jwt"},
		why: "what LiveSync expects is known in one place, to the server and to the gateway alike"},
	{pkg: "replicate", floor: 2,
		why: "a replicator is a client: it meets its databases over HTTP, like everyone's"},
	{pkg: "auth/authtest", floor: 1, may: []string{"auth", "auth/password"},
		why: "the contract of a Method is tested from outside, so that foreign methods can use it"},
	{pkg: "store", floor: 2, may: []string{"rev"},
		why: "the store never sees a request nor a user"},
	{pkg: "server", floor: 3, tests: []string{"auth/authtest"},
		may: []string{"auth", "auth/jwt", "auth/oauth1", "auth/oidc", "auth/password", "config", "couchjs", "livesync", "mango", "rev", "store"},
		why: "server speaks HTTP over the floors below; nothing but the program sees it"},
	{pkg: "cmd/parlor", floor: 4, tests: []string{"auth/authtest"},
		may: []string{"auth", "auth/jwt", "auth/oauth1", "auth/oidc", "auth/password", "config", "couchjs", "livesync", "mango", "replicate", "rev", "server", "store"},
		why: "the program composes; nothing imports it"},
	{pkg: "test/program", floor: 0,
		why: "tests from outside meet the program as its users do: a process and a port"},
	{pkg: "test/node", floor: 0,
		why: "what is tested in JavaScript needs Node and packages, whatever it meets"},
	{pkg: "test/conformance", floor: 5, may: []string{"test/program"},
		why: "what CouchDB recorded is asked of the program, not of its packages"},
	{pkg: "test/livesync", floor: 5, may: []string{"test/program"},
		why: "what LiveSync sends is sent to the program, not to its packages"},
	{pkg: "test/gigabyte", floor: 5, may: []string{"test/program"},
		why: "memory is that of the program, as a process"},
	{pkg: "test/pouchdb", floor: 5, may: []string{"test/node", "test/program"},
		why: "real clients talk to the program, not to its packages"},
	{pkg: "test/replicate", floor: 5, may: []string{"replicate", "test/program"},
		why: "a replicator meets servers, which the program is"},
	{pkg: "test/oidc", floor: 5, may: []string{"test/node", "test/program"},
		why: "a browser and a provider meet the program, not its packages"},
	{pkg: "bench", floor: 5, may: []string{"test/program"},
		why: "what is measured is the program that people run"},
}

// A confinement names what only some packages may import, in files that are not tests.
type confinement struct {
	path string // import path, or the beginning of one that ends with "/"
	in   []string
	why  string
}

var confined = []confinement{
	{path: "github.com/cockroachdb/pebble/", in: []string{"store"},
		why: "there is one place that knows the layout on disk"},
	{path: "modernc.org/quickjs", in: []string{"couchjs"},
		why: "a hole in the engine must stay in a child process"},
	{path: "github.com/golang-jwt/jwt/", in: []string{"auth/jwt", "auth/authtest"},
		why: "one parser of tokens, with one list of algorithms"},
	{path: "net/http", in: []string{"auth", "auth/jwt", "auth/oauth1", "auth/oidc", "auth/authtest", "replicate", "server", "cmd/parlor", "bench",
		"test/program", "test/conformance", "test/gigabyte", "test/livesync", "test/oidc", "test/pouchdb", "test/replicate"},
		why: "the store, the revision trees, selectors, settings and password hashes never see HTTP"},
	{path: "unsafe", in: []string{"couchjs"},
		why: "only the system call that confines a child needs it; nothing else is worth a memory bug"},
}

// bannedNames are names, of packages and of files, that say nothing about what is inside.
var bannedNames = []string{"util", "utils", "common", "helpers", "helper", "misc"}

// A source is one parsed Go file.
type source struct {
	path string // slash-separated, below the module root
	file *ast.File
	fset *token.FileSet
}

func (s source) dir() string  { return path.Dir(s.path) }
func (s source) isTest() bool { return strings.HasSuffix(s.path, "_test.go") }

func (s source) imports(t *testing.T) []string {
	t.Helper()
	var out []string
	for _, spec := range s.file.Imports {
		p, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Fatalf("%s: %v", s.path, err)
		}
		out = append(out, p)
	}
	return out
}

// sources parses every Go file of the module.
func sources(t *testing.T) []source {
	t.Helper()
	var out []source
	fset := token.NewFileSet()
	err := filepath.WalkDir(".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if p != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "node_modules" || d.Name() == "testdata") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(p, ".go") {
			return nil
		}
		f, err := parser.ParseFile(fset, p, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		out = append(out, source{path: filepath.ToSlash(p), file: f, fset: fset})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(out) < 10 {
		t.Fatalf("found %d Go files: this test no longer sees the module", len(out))
	}
	return out
}

func TestImportsPointDown(t *testing.T) {
	t.Parallel()
	rules := make(map[string]rule)
	for _, r := range house {
		if r.why == "" {
			t.Errorf("the rule of %s has no reason", r.pkg)
		}
		rules[r.pkg] = r
	}
	for _, s := range sources(t) {
		if s.dir() == "." {
			continue // this file
		}
		r, ok := rules[s.dir()]
		if !ok {
			t.Errorf("%s: package %s has no floor; add it to the table with a reason", s.path, s.dir())
			continue
		}
		for _, p := range s.imports(t) {
			ours, found := strings.CutPrefix(p, module+"/")
			if !found || ours == s.dir() {
				continue
			}
			if !slices.Contains(r.may, ours) && (!s.isTest() || !slices.Contains(r.tests, ours)) {
				t.Errorf("%s imports %s: %s", s.path, ours, r.why)
			}
		}
	}
}

// TestTableIsAHouse checks the table itself: no rule lets a package import from a higher floor.
func TestTableIsAHouse(t *testing.T) {
	t.Parallel()
	floors := make(map[string]int)
	for _, r := range house {
		floors[r.pkg] = r.floor
	}
	for _, r := range house {
		for _, p := range r.may {
			floor, ok := floors[p]
			switch {
			case !ok:
				t.Errorf("%s may import %s, which has no floor", r.pkg, p)
			case floor > r.floor:
				t.Errorf("%s on floor %d may import %s on floor %d", r.pkg, r.floor, p, floor)
			}
			if slices.ContainsFunc(house, func(o rule) bool { return o.pkg == p && slices.Contains(o.may, r.pkg) }) {
				t.Errorf("%s and %s may import each other", r.pkg, p)
			}
		}
	}
}

func TestConfinedImports(t *testing.T) {
	t.Parallel()
	for _, s := range sources(t) {
		if s.isTest() {
			continue
		}
		for _, p := range s.imports(t) {
			for _, c := range confined {
				hit := p == strings.TrimSuffix(c.path, "/") || strings.HasSuffix(c.path, "/") && strings.HasPrefix(p, c.path)
				if hit && !slices.Contains(c.in, s.dir()) {
					t.Errorf("%s imports %s: %s", s.path, p, c.why)
				}
			}
		}
	}
}

func TestEveryPackageHasAComment(t *testing.T) {
	t.Parallel()
	commented := make(map[string]bool)
	for _, s := range sources(t) {
		commented[s.dir()] = commented[s.dir()] || s.file.Doc != nil
	}
	for _, dir := range slices.Sorted(maps.Keys(commented)) {
		if !commented[dir] {
			t.Errorf("package %s has no package comment: it is the manual of the package", dir)
		}
	}
}

func TestPackageNamesSayWhatIsInside(t *testing.T) {
	t.Parallel()
	for _, s := range sources(t) {
		name := strings.TrimSuffix(s.file.Name.Name, "_test")
		if slices.Contains(bannedNames, name) || slices.Contains(bannedNames, path.Base(s.dir())) {
			t.Errorf("%s: a package named %s becomes a junk drawer; name it by what it does", s.path, name)
		}
		if base := strings.TrimSuffix(path.Base(s.path), ".go"); slices.Contains(bannedNames, strings.TrimSuffix(base, "_test")) {
			t.Errorf("%s: name the file by its subject", s.path)
		}
	}
}

func TestFunctionsFitOnAScreen(t *testing.T) {
	t.Parallel()
	for _, s := range sources(t) {
		for _, d := range s.file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			from, to := s.fset.Position(f.Pos()).Line, s.fset.Position(f.End()).Line
			if n := to - from + 1; n > maxFuncLines {
				t.Errorf("%s:%d: %s has %d lines, more than %d", s.path, from, f.Name.Name, n, maxFuncLines)
			}
		}
	}
}

// TestNoInit keeps work out of package initialisation, where it can be neither configured nor tested.
func TestNoInit(t *testing.T) {
	t.Parallel()
	for _, s := range sources(t) {
		for _, d := range s.file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
				t.Errorf("%s: func init runs before anyone can say what they want; call it from main", s.path)
			}
		}
	}
}

// TestNoReplace keeps the module usable from outside: go ignores replace directives of a dependency, so what
// we test with one is not what others get.
func TestNoReplace(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	for i, line := range strings.Split(string(b), "\n") {
		if f := strings.Fields(line); len(f) > 0 && f[0] == "replace" {
			t.Errorf("go.mod:%d: %s", i+1, line)
		}
	}
}
