package jwt

import (
	"encoding/base64"
	"errors"
	"net/http"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/parlordb/parlor/auth"
)

// maxToken bounds the tokens that are looked at, in bytes. Issuers that list many groups make tokens of some thousands.
const maxToken = 32 << 10

const malformed = "Malformed authentication token"

// refuse makes a refusal with the challenge of RFC 6750 §3, which opens no browser's log-in window.
func refuse(status int, reason string) *auth.Refusal {
	kind := map[int]string{
		http.StatusBadRequest:   "bad_request",
		http.StatusUnauthorized: "unauthorized",
		http.StatusNotFound:     "not_found",
	}[status]
	challenge := `Bearer error="invalid_token", error_description="` + strings.Map(descriptionRune, reason) + `"`
	return &auth.Refusal{Status: status, Kind: kind, Reason: reason, Header: http.Header{"Www-Authenticate": {challenge}}}
}

// descriptionRune keeps what RFC 6750 §3 allows in an error_description: a reason may quote a claim's name from the settings.
func descriptionRune(r rune) rune {
	if r < 0x20 || r > 0x7e || r == '"' || r == '\\' {
		return '?'
	}
	return r
}

// header is a token's JOSE header (RFC 7515 §4), as far as it counts. jwk, jku, x5u and x5c are never looked at: a token does not bring its own key.
type header struct {
	members object
	alg     algorithm
	algName string
	kid     string // "_default" when there is none
	hasKid  bool
}

// keyName is the name in a set of the key that the header selects.
func (h *header) keyName() string { return string(h.alg.family) + ":" + h.kid }

// given is the kid that the header holds, "" for none.
func (h *header) given() string {
	if !h.hasKid {
		return ""
	}
	return h.kid
}

// split takes a token apart at its two dots.
func split(token string) (head, payload, signature string, ok bool) {
	head, rest, ok := strings.Cut(token, ".")
	if !ok {
		return "", "", "", false
	}
	payload, signature, ok = strings.Cut(rest, ".")
	return head, payload, signature, ok && strings.IndexByte(signature, '.') < 0
}

// decodePart reads a header or payload.
func decodePart(text string) (object, error) {
	o, _, err := decodeWhole(text)
	return o, err
}

// decodeWhole is decodePart that also returns the JSON, of which the members' values are parts.
func decodeWhole(text string) (object, jsontext.Value, error) {
	data, err := decodeBase64(text)
	if err != nil {
		return nil, nil, refuse(http.StatusBadRequest, malformed)
	}
	o, err := parseObject(data)
	switch {
	case err == nil:
		return o, data, nil
	case errors.Is(err, errNotObject):
		return nil, nil, refuse(http.StatusBadRequest, "Not an object")
	case errors.Is(err, errTooDeep):
		return nil, nil, refuse(http.StatusBadRequest, "Authentication token is nested too deep")
	case errors.Is(err, jsontext.ErrDuplicateName):
		return nil, nil, refuse(http.StatusBadRequest, "Duplicate member in authentication token")
	default:
		return nil, nil, refuse(http.StatusBadRequest, malformed)
	}
}

// decodeBase64 is base64url without padding (RFC 7515 §2). There is one text for each value: Go's decoder by itself would skip line ends.
func decodeBase64(text string) ([]byte, error) {
	if strings.ContainsAny(text, "\r\n") {
		return nil, errors.New("line end in base64url")
	}
	return base64.RawURLEncoding.Strict().DecodeString(text)
}

// parseHeader checks the header in CouchDB's order (spec §4.2 steps 4 to 6), and then what CouchDB does not look at.
func parseHeader(text string, required Claims) (h header, err error) {
	if h.members, err = decodePart(text); err != nil {
		return h, err
	}
	if claim := required.find("typ"); claim != nil {
		if err := checkType(h.members.get("typ"), claim); err != nil {
			return h, err
		}
	}
	v := h.members.get("alg")
	if v == nil {
		return h, refuse(http.StatusBadRequest, "Missing alg header parameter")
	}
	h.algName, _ = str(v)
	var known bool
	if h.alg, known = algorithms[h.algName]; !known {
		return h, refuse(http.StatusBadRequest, "Invalid alg header parameter")
	}
	// A critical extension that is not understood must be refused (RFC 7515 §4.1.11), and none is understood.
	if h.members.get("crit") != nil {
		return h, refuse(http.StatusBadRequest, "Invalid crit header parameter")
	}
	if v := h.members.get("b64"); v != nil && v.Kind() != 't' {
		return h, refuse(http.StatusBadRequest, "Invalid b64 header parameter")
	}
	h.kid = "_default"
	if v := h.members.get("kid"); v != nil {
		if h.kid, h.hasKid = str(v); !h.hasKid {
			return h, refuse(http.StatusBadRequest, "Invalid kid header parameter")
		}
	}
	return h, nil
}

func checkType(v jsontext.Value, claim *Claim) error {
	if v == nil {
		return refuse(http.StatusBadRequest, "Missing typ header parameter")
	}
	values := claim.Values
	if values == nil {
		values = []string{"JWT"}
	}
	if !oneOf(v, values, false) {
		return refuse(http.StatusBadRequest, "Invalid typ header parameter")
	}
	return nil
}

// oneOf reports whether v is one of the values or, where lists count, an array of strings that holds one.
func oneOf(v jsontext.Value, values []string, lists bool) bool {
	var have []string
	if s, ok := str(v); ok {
		have = []string{s}
	} else if lists {
		have, _ = strs(v)
	}
	for _, s := range have {
		for _, want := range values {
			if s == want {
				return true
			}
		}
	}
	return false
}
