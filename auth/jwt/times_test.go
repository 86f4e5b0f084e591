package jwt_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/parlordb/parlor/auth/authtest"
	"github.com/parlordb/parlor/auth/jwt"
)

// TestLeewayEdges asks at the last second that a token is refused and the first that it is taken, each with a token that nothing is remembered of.
func TestLeewayEdges(t *testing.T) {
	t.Parallel()
	s := authtest.NewSigner(t, "HS256", "k")
	const notYet, over = "nbf not in past", "exp not in future"
	for _, tt := range []struct {
		leeway time.Duration
		claims string // of a clock that shows 1795280400
		reason string // "": taken
	}{
		{0, `{"sub":"anna","exp":1795280400}`, over},
		{0, `{"sub":"anna","exp":1795280401}`, ""},
		{0, `{"sub":"anna","nbf":1795280400}`, notYet},
		{0, `{"sub":"anna","nbf":1795280399}`, ""},
		{30 * time.Second, `{"sub":"anna","exp":1795280370}`, over},
		{30 * time.Second, `{"sub":"anna","exp":1795280370.5}`, ""},
		{30 * time.Second, `{"sub":"anna","exp":1795280371}`, ""},
		{30 * time.Second, `{"sub":"anna","nbf":1795280430}`, notYet},
		{30 * time.Second, `{"sub":"anna","nbf":1795280429.5}`, ""},
		{30 * time.Second, `{"sub":"anna","nbf":1795280429}`, ""},
		{30 * time.Second, `{"sub":"anna","nbf":1795280429,"exp":1795280371}`, ""}, // it ends before it begins, but each within the leeway
		{30 * time.Second, `{"sub":"anna","nbf":1795280431,"exp":1795280369}`, notYet},
		{999 * time.Millisecond, `{"sub":"anna","exp":1795280400}`, over}, // whole seconds count
		{1999 * time.Millisecond, `{"sub":"anna","exp":1795280399}`, over},
		{1999 * time.Millisecond, `{"sub":"anna","exp":1795280400}`, ""},
		{time.Hour, `{"sub":"anna","exp":"1795280400"}`, "Invalid exp claim"},
		{1 << 62, `{"sub":"anna","exp":0}`, ""}, // a century: the operator's own choice
		{1 << 62, `{"sub":"anna","exp":-1e300}`, over},
	} {
		b := newBearer(t, jwt.Options{Leeway: tt.leeway, Required: jwt.Claims{}}, s)
		_, err := b.Verify(s.Sign(t, header, tt.claims))
		what := fmt.Sprintf("%s with a leeway of %v", tt.claims, tt.leeway)
		switch {
		case tt.reason == "" && err != nil:
			t.Errorf("%s: %v", what, err)
		case tt.reason == "Invalid exp claim":
			wantRefusal(t, what, err, 400, tt.reason)
		case tt.reason != "":
			wantRefusal(t, what, err, 401, tt.reason)
		}
	}
}

// TestExpiresIncludesLeeway: an Identity does not end before its token does.
func TestExpiresIncludesLeeway(t *testing.T) {
	t.Parallel()
	s := authtest.NewSigner(t, "HS256", "k")
	b := newBearer(t, jwt.Options{Leeway: 30 * time.Second}, s)
	for range 2 {
		id, err := b.Verify(s.Sign(t, header, `{"sub":"anna","exp":1795280380}`))
		if err != nil || !id.Expires.Equal(time.Unix(1795280410, 0)) {
			t.Errorf("%+v, %v", id, err)
		}
	}
}
