package oauth1_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/parlordb/parlor/auth/oauth1"
)

func TestForms(t *testing.T) {
	t.Parallel()
	const form = "name=anna&password=a+b%26c"
	post := func(c *client, body, contentType string, signed url.Values) *http.Request {
		r := httptest.NewRequest("POST", "/_session", strings.NewReader(body))
		r.Header.Set("Content-Type", contentType)
		params := c.params()
		params.Set("oauth_signature", c.signature("POST", "http://example.com/_session", params, signed))
		r.Header.Set("Authorization", header(params))
		return r
	}
	values, err := url.ParseQuery(form)
	if err != nil {
		t.Fatal(err)
	}
	const urlencoded = "application/x-www-form-urlencoded"
	v, c, _ := started(t, func(o *oauth1.Options) { o.Form = oauth1.FormBody(64) })
	for _, contentType := range []string{urlencoded, "Application/X-WWW-Form-URLEncoded; charset=utf-8"} {
		r := post(c, form, contentType, values)
		id, err := v.Authenticate(r)
		if err != nil || id.Name != "anna" {
			t.Errorf("%s: %+v, %v", contentType, id, err)
		}
		if body, err := io.ReadAll(r.Body); err != nil || string(body) != form || r.Body.Close() != nil {
			t.Errorf("%s: the handler reads %q, %v", contentType, body, err)
		}
	}
	r := post(c, "{}", "application/json", nil)
	if _, err := v.Authenticate(r); err != nil {
		t.Errorf("JSON: %v", err)
	}
	id, err := v.Authenticate(post(c, form+"&x=y", urlencoded, values))
	refused(t, "form that was changed", id, err, 401, "")
	id, err = v.Authenticate(post(c, form, urlencoded, nil))
	refused(t, "form that was not signed", id, err, 401, "")
	id, err = v.Authenticate(post(c, "a="+strings.Repeat("x", 63), urlencoded, nil))
	refused(t, "form that is too long", id, err, 413, "")
	id, err = v.Authenticate(post(c, "a=%zz", urlencoded, nil))
	refused(t, "form that cannot be read", id, err, 400, "")
	id, err = v.Authenticate(post(c, "oauth_token=token3", urlencoded, url.Values{"oauth_token": {"token3"}}))
	refused(t, "token in the form", id, err, 400, "")

	v, c, _ = started(t, nil)
	r = post(c, form, urlencoded, nil)
	r.Body = io.NopCloser(unreadable{t})
	if _, err := v.Authenticate(r); err != nil {
		t.Errorf("without Form: %v", err)
	}
}

type unreadable struct{ t *testing.T }

func (u unreadable) Read([]byte) (int, error) {
	u.t.Error("the body was read")
	return 0, io.EOF
}

func TestOriginBehindProxy(t *testing.T) {
	t.Parallel()
	v, c, _ := started(t, func(o *oauth1.Options) {
		o.Origin = func(*http.Request) (string, string) { return "https", "Couch.Example.org:443" }
	})
	r := httptest.NewRequest("GET", "/db", nil)
	params := c.params()
	params.Set("oauth_signature", c.signature("GET", "https://couch.example.org/db", params))
	r.Header.Set("Authorization", strings.Replace(header(params), "OAuth", "oauth", 1))
	if id, err := v.Authenticate(r); err != nil || id.Name != "anna" {
		t.Errorf("%+v, %v", id, err)
	}
}

func TestQueryParameters(t *testing.T) {
	t.Parallel()
	v, c, _ := started(t, nil)
	params := c.params()
	params.Set("limit", "5")
	params.Set("oauth_signature", c.signature("GET", "http://example.com/db", params))
	if id, err := v.Authenticate(httptest.NewRequest("GET", "/db?"+params.Encode(), nil)); err != nil || id.Name != "anna" {
		t.Errorf("%+v, %v", id, err)
	}
}
