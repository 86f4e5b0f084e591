package jwt

import (
	"math"
	"net/http"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// rules are what a token's claims must hold, and how far clocks may differ.
type rules struct {
	required Claims
	leeway   time.Duration
	nbfNow   bool // a token is good from nbf on (RFC 7519 §4.1.5), where CouchDB wants nbf to be past
}

// check is steps 8 to 12 of spec §4.2, then the claims that only Parlor can require. A time that is not there is NaN.
func (r rules) check(h *header, claims object, now int64) (exp, nbf float64, err error) {
	if claim := r.required.find("iss"); claim != nil {
		if err := checkClaim(claims.get("iss"), claim); err != nil {
			return 0, 0, err
		}
	}
	if r.required.find("iat") != nil {
		switch v := claims.get("iat"); {
		case v == nil:
			return 0, 0, refuse(http.StatusBadRequest, "Missing iat claim")
		case !integer(v):
			return 0, 0, refuse(http.StatusBadRequest, "Invalid iat claim")
		}
	}
	if nbf, err = r.time(claims, "nbf"); err != nil {
		return 0, 0, err
	}
	if err := r.inTime(math.NaN(), nbf, now); err != nil {
		return 0, 0, err
	}
	if exp, err = r.time(claims, "exp"); err != nil {
		return 0, 0, err
	}
	if err := r.inTime(exp, math.NaN(), now); err != nil {
		return 0, 0, err
	}
	if claim := r.required.find("kid"); claim != nil {
		if !h.hasKid {
			return 0, 0, refuse(http.StatusBadRequest, "Missing kid claim")
		}
		if claim.Values != nil && !oneOf(h.members.get("kid"), claim.Values, false) {
			return 0, 0, refuse(http.StatusBadRequest, "Invalid kid claim")
		}
	}
	for i := range r.required {
		switch claim := &r.required[i]; claim.Name {
		case "typ", "iss", "iat", "nbf", "exp", "kid":
		default:
			if err := checkClaim(claims.get(claim.Name), claim); err != nil {
				return 0, 0, err
			}
		}
	}
	return exp, nbf, nil
}

// checkClaim holds a claim's value against what is required of it.
func checkClaim(v jsontext.Value, claim *Claim) error {
	if v == nil {
		return refuse(http.StatusBadRequest, "Missing "+claim.Name+" claim")
	}
	valid := string(v) != "null"
	if claim.Name == "iss" {
		issuer, ok := str(v)
		valid = ok && issuer != ""
	}
	if claim.Values != nil {
		valid = oneOf(v, claim.Values, claim.Name == "aud")
	}
	if !valid {
		return refuse(http.StatusBadRequest, "Invalid "+claim.Name+" claim")
	}
	return nil
}

// subject reads the claim sub, whose user the token is for.
func subject(claims object) (string, error) {
	v := claims.get("sub")
	if v == nil {
		return "", refuse(http.StatusUnauthorized, "Token missing sub claim.")
	}
	sub, _ := str(v)
	if sub == "" { // or no string at all
		return "", refuse(http.StatusBadRequest, "Invalid sub claim")
	}
	return sub, nil
}

// time reads a NumericDate (RFC 7519 §2), NaN when it is neither there nor required.
func (r rules) time(claims object, name string) (float64, error) {
	v := claims.get(name)
	if v == nil {
		if r.required.find(name) != nil {
			return 0, refuse(http.StatusBadRequest, "Missing "+name+" claim")
		}
		return math.NaN(), nil
	}
	seconds, ok := number(v)
	if !ok {
		return 0, refuse(http.StatusBadRequest, "Invalid "+name+" claim")
	}
	return seconds, nil
}

// inTime compares with whole seconds, strictly on both sides, as CouchDB does, but for nbfNow. No comparison with NaN holds.
func (r rules) inTime(exp, nbf float64, now int64) error {
	leeway := r.seconds()
	// CouchDB's nbf must be before now; with a leeway, before now and the leeway.
	if begins := float64(now) + leeway; nbf > begins || nbf == begins && !r.nbfNow {
		return refuse(http.StatusUnauthorized, "nbf not in past")
	}
	if exp <= float64(now)-leeway {
		return refuse(http.StatusUnauthorized, "exp not in future")
	}
	return nil
}

// seconds is the leeway in whole seconds, as the times that it is added to.
func (r rules) seconds() float64 { return float64(r.leeway / time.Second) }

// expires is when a token with this exp is taken for the last time; none, and one beyond the year 9999, is the zero Time: it does not end.
func (r rules) expires(exp float64) time.Time {
	const year10000 = 253402300800
	exp += r.seconds()
	if math.IsNaN(exp) || exp >= year10000 {
		return time.Time{}
	}
	whole, fraction := math.Modf(exp)
	return time.Unix(int64(whole), int64(fraction*1e9))
}
