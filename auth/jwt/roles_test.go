package jwt_test

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/parlordb/parlor/auth/authtest"
	"github.com/parlordb/parlor/auth/jwt"
)

func TestRoles(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, path, claims string
		roles              []string
		status             int
		reason             string
	}{
		{"", "", `{}`, nil, 0, ""},
		{"", "", `{"roles":["x"],"_couchdb":{"roles":["y"]}}`, nil, 0, ""},
		{"", "", `{"_couchdb.roles":["a","b"]}`, []string{"a", "b"}, 0, ""},
		{"", "", `{"_couchdb.roles":["_admin"]}`, []string{"_admin"}, 0, ""},
		{"", "", `{"_couchdb.roles":[]}`, nil, 0, ""},
		{"", "", `{"_couchdb.roles":"a , b,c"}`, []string{"a", "b", "c"}, 0, ""},
		{"", "", `{"_couchdb.roles":""}`, []string{""}, 0, ""},
		{"", "", `{"_couchdb.roles":" a "}`, []string{" a "}, 0, ""},
		{"", "", `{"_couchdb.roles":" a,b ,, c ,,"}`, []string{" a", "b", "", "c"}, 0, ""},
		{"", "", `{"_couchdb.roles":","}`, nil, 0, ""},
		{"groups", "", `{"groups":["g"],"_couchdb.roles":["a"]}`, []string{"g"}, 0, ""},
		{"groups", `my.nested._couchdb\.roles`, `{"groups":["g"],"my":{"nested":{"_couchdb.roles":["n1","n2"]}}}`, []string{"n1", "n2"}, 0, ""},
		{"", `my.nested._couchdb\.roles`, `{"my":{"nested":{"_couchdb.roles":"a,b"}}}`, []string{"a", "b"}, 0, ""},
		{"", `foo.bar\.zonk.baz\.buu.baa.baa\.bee.roles`, `{"foo":{"bar.zonk":{"baz.buu":{"baa":{"baa.bee":{"roles":["x"]}}}}}}`, []string{"x"}, 0, ""},
		{"", `a\.b`, `{"a.b":["x"]}`, []string{"x"}, 0, ""},
		{"", `a\.`, `{"a.":["x"]}`, []string{"x"}, 0, ""},
		{"", "realm_access.roles", `{}`, nil, 404, "missing json key: realm_access"},
		{"", `my.nested._couchdb\.roles`, `{"my":{"nested":{}}}`, nil, 404, "missing json key: _couchdb.roles"},
		{"", "my.nested", `{"my":"x"}`, nil, 404, "json_mismatch"},
		{"", "my.nested", `{"my":[{"nested":["x"]}]}`, nil, 404, "json_mismatch"},
		{"", "my.nested", `{"my":null}`, nil, 404, "json_mismatch"},
		{"", "my.nested", `{"my":{"nested":{"_admin":1}}}`, nil, 400, "Malformed token"},
		{"", "my", `{"my":[1]}`, nil, 400, "Malformed token"},
	}
	s := authtest.NewSigner(t, "HS256", "k")
	for _, tt := range tests {
		b := newBearer(t, jwt.Options{Required: jwt.Claims{}, RolesName: tt.name, RolesPath: tt.path}, s)
		claims := map[string]json.RawMessage{"sub": json.RawMessage(`"anna"`)}
		if err := json.Unmarshal([]byte(tt.claims), &claims); err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(claims)
		if err != nil {
			t.Fatal(err)
		}
		id, err := b.Verify(s.Sign(t, header, string(text)))
		if tt.status != 0 {
			wantRefusal(t, tt.claims, err, tt.status, tt.reason)
			continue
		}
		if err != nil || !slices.Equal(id.Roles, tt.roles) || id.Roles == nil {
			t.Errorf("%s %s in %s: %q, %v, want %q", tt.name, tt.path, tt.claims, id.Roles, err, tt.roles)
		}
		if id.Admin() != slices.Contains(tt.roles, "_admin") {
			t.Errorf("%s: admin %v", tt.claims, id.Admin())
		}
	}
}

// TestReasonCannotBreakTheChallenge: a reason may quote a name from the settings.
func TestReasonCannotBreakTheChallenge(t *testing.T) {
	t.Parallel()
	s := authtest.NewSigner(t, "HS256", "k")
	b := newBearer(t, jwt.Options{RolesPath: "a\", realm=\"x\\\r\né"}, s)
	_, err := b.Verify(s.Sign(t, header, `{"sub":"anna","exp":4102444800}`))
	want := `Bearer error="invalid_token", error_description="missing json key: a?, realm=?x????"`
	if got := challengeOf(err); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
