package auth_test

import (
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/parlordb/parlor/auth"
	"github.com/parlordb/parlor/auth/authtest"
)

func basic(pair string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(pair)) }

func withAuthorization(values ...string) func(*http.Request) {
	return func(r *http.Request) { r.Header["Authorization"] = values }
}

func TestBasicContract(t *testing.T) {
	t.Parallel()
	authtest.TestMethod(t, authtest.MethodCase{
		Method: auth.NewBasic(auth.NewPasswords(people(t), auth.PasswordOptions{Policy: cheap})),
		Good:   withAuthorization(basic("anna:apple")),
		Name:   "anna",
		Bad: map[string]func(*http.Request){
			"wrong password": withAuthorization(basic("anna:pear")),
			"not base64":     withAuthorization("Basic !!!"),
			"two headers":    withAuthorization(basic("anna:apple"), basic("anna:apple")),
		},
		Others: map[string]func(*http.Request){
			"bearer":     withAuthorization("Bearer " + base64.StdEncoding.EncodeToString([]byte("anna:apple"))),
			"lower case": withAuthorization("basic " + base64.StdEncoding.EncodeToString([]byte("anna:apple"))),
			"upper case": withAuthorization("BASIC " + base64.StdEncoding.EncodeToString([]byte("anna:apple"))),
			"no scheme":  withAuthorization("anna:apple"),
			"cookie":     func(r *http.Request) { r.Header.Set("Cookie", "AuthSession=abc") },
		},
	})
}

// TestBasic goes through spec §2 and the recorded answers of CouchDB.
func TestBasic(t *testing.T) {
	t.Parallel()
	const incorrect = "Name or password is incorrect."
	const invalid = "Authorization header has invalid base64 value"
	tests := []struct {
		header string
		status int // 0: no credentials; 200: signed in
		reason string
		name   string
	}{
		{"Basic", 0, "", ""},
		{"Basic ", 0, "", ""}, // the empty text has no colon
		{"Basic YWxpY2U=", 0, "", ""},
		{"Basic YWxpY2Vub2NvbG9u", 0, "", ""},
		{basic("_:_"), 0, "", ""},
		{"Basic YWxpY2U", 400, invalid, ""},
		{"Basic YWxpY2U6YXBwbGU", 400, invalid, ""}, // no padding
		{"Basic YW5uYTphcHBsZQ==x", 400, invalid, ""},
		{"Basic _-__", 400, invalid, ""}, // the other alphabet
		{"Basic \x00", 400, invalid, ""},
		{basic(":"), 401, incorrect, ""},
		{basic(":apple"), 401, incorrect, ""},
		{basic("anna:"), 401, incorrect, ""},
		{basic("nobody:apple"), 401, incorrect, ""},
		{basic("Anna:apple"), 401, incorrect, ""},
		{basic("anna\x00:apple"), 401, incorrect, ""},
		{basic("anna:apple\x00x"), 401, incorrect, ""}, // HMAC itself takes no notice of zero bytes at the end of a short key
		{basic("anna:apple:"), 401, incorrect, ""},
		{basic("col:on:x"), 401, incorrect, ""},
		{basic("unie\u0301:päss"), 401, incorrect, ""}, // another normal form
		{basic("unié:pa\u0308ss"), 401, incorrect, ""},
		{basic("totpy:apple"), 401, incorrect, ""},
		{basic("blank:"), 401, incorrect, ""},
		{basic("broken:apple"), 401, incorrect, ""},
		{basic("gone:pear"), 401, incorrect, ""},
		{basic("gone:apple"), 403, "This account is disabled.", ""},
		{basic("anna:apple"), 200, "", "anna"},
		{"Basic YW5u\tYTph cHBsZQ==", 200, "", "anna"},
		{basic("unié:päss"), 200, "", "unié"},
	}
	m := auth.NewBasic(auth.NewPasswords(people(t), auth.PasswordOptions{Policy: cheap}))
	for _, tt := range tests {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header["Authorization"] = []string{tt.header}
		id, err := m.Authenticate(r)
		switch {
		case tt.status == 0 && !errors.Is(err, auth.ErrNoCredentials):
			t.Errorf("%q: %v, want no credentials", tt.header, err)
		case tt.status >= 400:
			wantRefusal(t, tt.header, err, tt.status, tt.reason)
		case tt.status == 200 && (err != nil || id.Name != tt.name || !id.Local || id.Method != "default" || id.SetCookie != ""):
			t.Errorf("%q: %+v, %v", tt.header, id, err)
		}
	}
}

func TestBasicRoles(t *testing.T) {
	t.Parallel()
	m := auth.NewBasic(auth.NewPasswords(people(t), auth.PasswordOptions{Policy: cheap}))
	for name, want := range map[string][]string{"anna": {"dev", "ops"}, "root": {"_admin"}, "boss": {"_admin", "x"}} {
		r := httptest.NewRequest("GET", "/", nil)
		r.SetBasicAuth(name, "apple")
		id, err := m.Authenticate(r)
		if err != nil || !slices.Equal(id.Roles, want) || id.Admin() != (name != "anna") {
			t.Errorf("%s: %+v, %v", name, id, err)
		}
	}
}
