package oauth1_test

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/parlordb/parlor/auth/oauth1"
)

// TestVectors holds the vector of spec §16, the same by SHA-256, and the signed requests of RFC 5849 §1.2 that carry a token.
func TestVectors(t *testing.T) {
	t.Parallel()
	tests := []struct {
		method, scheme, target, header string
		consumerSecret, tokenSecret    string
		now                            int64
	}{
		{"GET", "http", "http://localhost:5984/_session?foo=bar%20baz", `OAuth oauth_consumer_key="key", oauth_token="foo", oauth_nonce="abc",
oauth_timestamp="1300000000", oauth_version="1.0", oauth_signature_method="HMAC-SHA1", oauth_signature="UcqvT%2FBKY%2FEJ6x3u31Ie534SxBs%3D"`,
			"sekr1t", "tokensekr1t", 1300000000},
		{"GET", "http", "http://localhost:5984/_session?foo=bar%20baz", `OAuth oauth_consumer_key="key", oauth_token="foo", oauth_nonce="abc",
oauth_timestamp="1300000000", oauth_version="1.0", oauth_signature_method="HMAC-SHA256", oauth_signature="vAJp3g9dWMjd6zKtfk%2BLUhISElLUuP%2FBZ5d3nwrCJPo%3D"`,
			"sekr1t", "tokensekr1t", 1300000000},
		{"GET", "http", "http://photos.example.net/photos?file=vacation.jpg&size=original", `OAuth realm="Photos", oauth_consumer_key="dpf43f3p2l4k3l03",
oauth_token="nnch734d00sl2jdk", oauth_signature_method="HMAC-SHA1", oauth_timestamp="137131202", oauth_nonce="chapoH", oauth_signature="MdpQcU8iPSUjWoN%2FUDMsK2sui9I%3D"`,
			"kd94hf93k423kf44", "pfkkdhi9sl3r4s00", 137131202},
		{"POST", "https", "https://photos.example.net/token", `OAuth realm="Photos", oauth_consumer_key="dpf43f3p2l4k3l03",
oauth_token="hh5s93j4hdidpola", oauth_signature_method="HMAC-SHA1", oauth_timestamp="137131201", oauth_nonce="walatlh", oauth_verifier="hfdp7dh39dks9884",
oauth_signature="gKgrFCywp7rO0OXSjdot%2FIHF7IU%3D"`,
			"kd94hf93k423kf44", "hdhd0244k9j7ao03", 137131201},
	}
	for _, tt := range tests {
		now := time.Unix(tt.now-1, 0)
		v, err := oauth1.NewVerifier(oauth1.Options{
			Credentials: fixed{User: "anna", ConsumerSecret: tt.consumerSecret, TokenSecret: tt.tokenSecret},
			Users:       users(),
			Origin:      func(r *http.Request) (string, string) { return tt.scheme, r.Host },
			Now:         func() time.Time { return now },
		})
		if err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequest(tt.method, tt.target, nil)
		r.Header.Set("Authorization", strings.ReplaceAll(tt.header, "\n", " "))
		if _, err := v.Authenticate(r); err != nil {
			t.Errorf("%s: %v", tt.target, err)
		}
	}
}

// TestForeignClient replays what npm's oauth-1.0a 2.2.6 signed with these secrets.
func TestForeignClient(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/oauth-1.0a.json")
	if err != nil {
		t.Fatal(err)
	}
	var requests []struct{ Method, URL, Form, Header string }
	if err := json.Unmarshal(text, &requests); err != nil || len(requests) != 12 {
		t.Fatalf("%d requests, %v", len(requests), err)
	}
	now := time.Unix(1699999990, 0)
	v, err := oauth1.NewVerifier(oauth1.Options{
		Credentials: fixed{User: "anna", ConsumerSecret: "sekr1t & ü", TokenSecret: "tok=en"},
		Users:       users(),
		Form:        oauth1.FormBody(1000),
		Now:         func() time.Time { return now },
		Origin: func(r *http.Request) (string, string) {
			if strings.Contains(r.Header.Get("Authorization"), "PLAINTEXT") {
				return "https", r.Host
			}
			return "http", r.Host
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, request := range requests {
		r := httptest.NewRequest(request.Method, request.URL, strings.NewReader(request.Form))
		r.Header.Set("Authorization", request.Header)
		if request.Form != "" {
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		if id, err := v.Authenticate(r); err != nil || id.Name != "anna" {
			t.Errorf("%s %s: %+v, %v", request.Method, request.URL, id, err)
		}
	}
}

// TestRSAVector is of the test cases that the authors of OAuth 1.0 published, with their key and their spelling.
func TestRSAVector(t *testing.T) {
	t.Parallel()
	der, err := base64.StdEncoding.DecodeString("MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQC0YjCwIfYoprq/FQO6lb3asXrxLlJFuCvtinTF5p0GxvQGu5O3gYytUvtC2JlYzypSRjVxwxrs" +
		"uRcP3e641SdASwfrmzyvIgP08N4S0IFzEURkV1wp/IpH7kH41EtbmUmrXSwfNZsnQRE5SYSOhh+LcK2wyQkdgcMv11l4KoBkcwIDAQAB")
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Unix(1196666511, 0)
	v, err := oauth1.NewVerifier(oauth1.Options{
		Credentials: fixed{User: "anna", RSAKey: public.(*rsa.PublicKey)},
		Users:       users(),
		Now:         func() time.Time { return now },
	})
	if err != nil {
		t.Fatal(err)
	}
	for file, status := range map[string]int{"vacation.jpg": 401, "vacaction.jpg": 0} {
		r := httptest.NewRequest("GET", "http://photos.example.net/photos?file="+file+"&size=original", nil)
		r.Header.Set("Authorization", `OAuth oauth_consumer_key="dpf43f3p2l4k3l03", oauth_nonce="13917289812797014437", oauth_signature_method="RSA-SHA1", `+
			`oauth_timestamp="1196666512", oauth_version="1.0", oauth_signature="jvTp%2FwX1TYtByB1m%2BPbyo0lnCOLIsyGCH7wke8AUs3BpnwZJtAuEJkvQL2%2F9n4s5`+
			`wUmUl4aCI4BwpraNx4RtEXMe5qg5T1LVTGliMRpKasKsW%2F%2Fe%2BRinhejgCuzoH26dyF8iY2ZZ%2F5D1ilgeijhV%2FvBka5twt399mXwaYdCwFYE%3D"`)
		id, err := v.Authenticate(r)
		if status != 0 {
			refused(t, file, id, err, status, "unauthorized")
		} else if err != nil || id.Name != "anna" {
			t.Errorf("%s: %+v, %v", file, id, err)
		}
	}
}
