package auth_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/parlordb/parlor/auth"
)

func TestScopeAllows(t *testing.T) {
	t.Parallel()
	reads := &auth.Scope{}
	writes := &auth.Scope{Write: true}
	notes := &auth.Scope{Databases: []string{"notes", "forms"}}
	for _, tt := range []struct {
		what     string
		scope    *auth.Scope
		database string
		write    bool
		want     bool
	}{
		{"a read-only scope", reads, "notes", true, false},
		{"a read-only scope, of no database", reads, "", true, false},
		{"another database", notes, "letters", false, false},
		{"the part of a name", notes, "note", false, false},
		{"other case", notes, "Notes", false, false},
		{"a write where it reads", notes, "notes", true, false},
		{"one of the databases", notes, "forms", false, true},
		{"of no database", notes, "", false, true},
		{"a read-only scope that reads", reads, "notes", false, true},
		{"a scope that writes", writes, "notes", true, true},
		{"no scope", nil, "notes", true, true},
	} {
		if got := tt.scope.Allows(tt.database, tt.write); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.what, got, tt.want)
		}
	}
}

// TestScopeIsNeverAdmin: however wide it is, and whatever the roles say.
func TestScopeIsNeverAdmin(t *testing.T) {
	t.Parallel()
	id := auth.Identity{Name: "root", Roles: []string{"_admin"}, Scope: &auth.Scope{Write: true}}
	if id.Admin() {
		t.Error("a server admin with a scope")
	}
	if id.Scope = nil; !id.Admin() {
		t.Error("no server admin without one")
	}
}

func TestFirst(t *testing.T) {
	t.Parallel()
	broken := errors.New("the directory is gone")
	none := fixed{err: auth.ErrNoCredentials}
	wrapped := fixed{err: errors.Join(auth.ErrNoCredentials)}
	anna := fixed{id: auth.Identity{Name: "anna"}}
	for what, tt := range map[string]struct {
		methods []auth.Method
		name    string
		err     error
	}{
		"nobody is asked":           {nil, "", auth.ErrNoCredentials},
		"none recognises it":        {[]auth.Method{none, wrapped}, "", auth.ErrNoCredentials},
		"a refusal ends it":         {[]auth.Method{none, fixed{err: broken}, anna}, "", broken},
		"the first that recognises": {[]auth.Method{none, wrapped, anna, fixed{id: auth.Identity{Name: "bob"}}}, "anna", nil},
	} {
		m := auth.First("default", tt.methods...)
		id, err := m.Authenticate(httptest.NewRequest(http.MethodGet, "/", nil))
		if m.Name() != "default" || id.Name != tt.name || !errors.Is(err, tt.err) {
			t.Errorf("%s: %q: %+v, %v", what, m.Name(), id, err)
		}
	}
}
