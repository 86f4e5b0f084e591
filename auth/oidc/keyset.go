package oidc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/parlordb/parlor/auth/jwt"
)

var _ jwt.Refetcher = (*KeySet)(nil)

// KeySetOptions say where a key set comes from: JWKS, else File, else URL, else the jwks_uri of Issuer's discovery document.
type KeySetOptions struct {
	Issuer string // OpenID Connect Discovery 1.0 §4
	URL    string // jwks_uri
	File   string // a file's name: it is read again as a URL that may be kept for a minute is fetched again
	JWKS   []byte // an inline set: no keys are fetched

	Client *http.Client     // from NewClient; nil: one of the zero ClientOptions
	Log    *slog.Logger     // nil: nothing is logged
	Now    func() time.Time // nil: time.Now
}

// KeySet is a provider's key set (RFC 7517 §5). It is fetched when it is first needed and kept as long as HTTP says (from a minute to a day; an hour when it does not say),
// and fetched again ahead of its end while requests go on. A token that names a key which is not there, or names none and was signed by none, has it fetched once more, but no more than once in 30 seconds,
// whatever strangers send. While the provider fails, the old keys stay. A key that the provider has taken away is not trusted any more after the next fetch.
//
// It implements jwt.KeySource, and go-oidc's KeySet with VerifySignature. It is safe for concurrent use.
type KeySet struct {
	o        KeySetOptions
	fixed    *jwt.Set           // JWKS; nil without
	keys     *remote[*jwt.Set]  // nil with JWKS
	metadata *remote[*Metadata] // nil without Issuer
}

// NewKeySet returns a KeySet that has fetched nothing yet. It fails for a JWKS without a usable key, for a File that holds no set and for a URL that may not
// be fetched. Its Candidates fail with an error that says why as long as there is nothing.
func NewKeySet(o KeySetOptions) (*KeySet, error) {
	if o.Client == nil {
		o.Client = NewClient(ClientOptions{})
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	k := &KeySet{o: o}
	issuer := checkIssuer(o)
	if issuer == nil {
		k.metadata = &remote[*Metadata]{what: "discovery document of " + o.Issuer, fetch: k.discover, now: o.Now, log: o.Log}
	}
	switch {
	case o.JWKS != nil:
		set, skipped, err := jwt.ParseSet(o.JWKS)
		if err == nil && set.Len() == 0 {
			err = errors.Join(append([]error{errors.New("no key in it can be used")}, skipped...)...)
		}
		if err != nil {
			return nil, fmt.Errorf("key set: %w", err)
		}
		k.fixed = set
		return k, nil
	case o.File != "":
		k.keys = &remote[*jwt.Set]{what: "key set in " + o.File, fetch: k.readKeys, now: o.Now, log: o.Log}
		set, lifetime, err := k.readKeys(context.Background())
		if err != nil {
			return nil, fmt.Errorf("key set: %w", err)
		}
		k.keys.ended(set, lifetime, nil)
		return k, nil
	case o.URL != "":
		if _, err := parseURL(o.URL, o.Client); err != nil {
			return nil, fmt.Errorf("jwks_uri: %w", err)
		}
	case issuer != nil:
		return nil, fmt.Errorf("issuer: %w; one without a discovery document needs a jwks_uri or keys", issuer)
	}
	k.keys = &remote[*jwt.Set]{what: "key set of " + k.whose(), fetch: k.fetchKeys, now: o.Now, log: o.Log}
	return k, nil
}

// checkIssuer says why an issuer has no discovery document. That is no error by itself: an iss need not be a URL (RFC 7519 §4.1.1).
func checkIssuer(o KeySetOptions) error {
	u, err := parseURL(o.Issuer, o.Client)
	if err == nil && (u.RawQuery != "" || u.Fragment != "") {
		err = errors.New("a URL with a query or a fragment")
	}
	return err
}

// whose names the set in logs, without what may be secret in a URL.
func (k *KeySet) whose() string {
	if k.o.Issuer != "" {
		return k.o.Issuer
	}
	return host(k.o.URL)
}

func host(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return "?"
	}
	return u.Scheme + "://" + u.Host
}

// Close ends what is being fetched, and waits for it. Keys that are there stay.
func (k *KeySet) Close() {
	if k.keys != nil {
		k.keys.close()
	}
	if k.metadata != nil {
		k.metadata.close()
	}
	k.o.Client.CloseIdleConnections()
}

// Candidates implements jwt.KeySource.
func (k *KeySet) Candidates(ctx context.Context, alg, kid string) ([]any, error) {
	if k.fixed != nil {
		return k.fixed.Candidates(ctx, alg, kid)
	}
	set, err := k.keys.get(ctx)
	if err != nil {
		return nil, err
	}
	found, err := set.Candidates(ctx, alg, kid)
	if len(found) > 0 || err != nil || (kid != "" && set.Has(kid)) {
		return found, err
	}
	return k.keys.again(ctx, set).Candidates(ctx, alg, kid)
}

// Refetch implements jwt.Refetcher, within the same 30 seconds as unknown kids.
func (k *KeySet) Refetch(ctx context.Context) bool {
	if k.fixed != nil {
		return false
	}
	set, err := k.keys.get(ctx)
	return err == nil && k.keys.again(ctx, set) != set
}

// VerifySignature implements go-oidc's KeySet: it returns the payload of a signed token.
func (k *KeySet) VerifySignature(ctx context.Context, token string) ([]byte, error) {
	return jwt.VerifySignature(ctx, k, token)
}

// Metadata is a provider's discovery document, as far as Parlor uses it.
type Metadata struct {
	Issuer                string   `json:"issuer"`
	AuthorizationEndpoint string   `json:"authorization_endpoint"`
	TokenEndpoint         string   `json:"token_endpoint"`
	EndSessionEndpoint    string   `json:"end_session_endpoint"`
	JWKSURI               string   `json:"jwks_uri"`
	Algorithms            []string `json:"id_token_signing_alg_values_supported"`
	TokenAuthMethods      []string `json:"token_endpoint_auth_methods_supported"`
	Scopes                []string `json:"scopes_supported"`
	ResponseIss           bool     `json:"authorization_response_iss_parameter_supported"` // RFC 9207
}

// Metadata returns the discovery document of Issuer, cached and refreshed as the keys are. It must not be changed. It fails without an Issuer that is a URL.
func (k *KeySet) Metadata(ctx context.Context) (*Metadata, error) {
	if k.metadata == nil {
		return nil, errors.New("without an issuer that is a URL there is no discovery document")
	}
	return k.metadata.get(ctx)
}

// discover fetches the discovery document (OpenID Connect Discovery 1.0 §4).
func (k *KeySet) discover(ctx context.Context) (*Metadata, time.Duration, error) {
	body, lifetime, err := k.download(ctx, strings.TrimSuffix(k.o.Issuer, "/")+"/.well-known/openid-configuration")
	if err != nil {
		return nil, 0, err
	}
	m := new(Metadata)
	if err := json.Unmarshal(body, m); err != nil {
		return nil, 0, errors.New("the discovery document is not one")
	}
	// One that speaks for another issuer would bring that one's keys (§4.3).
	if m.Issuer != k.o.Issuer {
		return nil, 0, fmt.Errorf("the discovery document is of the issuer %.200q", m.Issuer)
	}
	for name, text := range map[string]string{
		"authorization_endpoint": m.AuthorizationEndpoint, "token_endpoint": m.TokenEndpoint, "end_session_endpoint": m.EndSessionEndpoint, "jwks_uri": m.JWKSURI,
	} {
		if text == "" {
			continue // whoever needs it says so
		}
		if _, err := parseURL(text, k.o.Client); err != nil {
			return nil, 0, fmt.Errorf("the discovery document's %s: %w", name, err)
		}
	}
	return m, lifetime, nil
}

func (k *KeySet) fetchKeys(ctx context.Context) (*jwt.Set, time.Duration, error) {
	from := k.o.URL
	if from == "" {
		m, err := k.metadata.get(ctx)
		if err != nil {
			return nil, 0, err
		}
		if from = m.JWKSURI; from == "" {
			k.metadata.stale()
			return nil, 0, errors.New("the discovery document has no jwks_uri")
		}
	}
	body, lifetime, err := k.download(ctx, from)
	if err == nil {
		var set *jwt.Set
		if set, err = k.parse(body); err == nil {
			return set, lifetime, nil
		}
	}
	if k.o.URL == "" {
		k.metadata.stale() // it may have moved
	}
	return nil, 0, err
}

// readKeys reads File.
func (k *KeySet) readKeys(context.Context) (*jwt.Set, time.Duration, error) {
	text, err := ReadKeyFile(k.o.File)
	if err != nil {
		return nil, 0, err
	}
	set, err := k.parse(text)
	return set, minLifetime, err
}

// ReadKeyFile reads what may be the text of a key set. A file that is larger than a provider's answer may be is refused.
func ReadKeyFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxAnswer+1))
	if err == nil && len(text) > maxAnswer {
		err = errors.New("the file is larger than a key set can be")
	}
	return text, err
}

func (k *KeySet) parse(text []byte) (*jwt.Set, error) {
	set, skipped, err := jwt.ParseSet(text)
	for _, why := range skipped {
		k.o.Log.Debug("provider's key not used", "what", k.keys.what, "err", why)
	}
	return set, err
}

func (k *KeySet) download(ctx context.Context, from string) (body []byte, life time.Duration, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return nil, 0, errors.New("not an absolute https URL")
	}
	r.Header.Set("Accept", "application/json")
	answer, err := k.o.Client.Do(r)
	if err != nil {
		if outer, ok := errors.AsType[*url.Error](err); ok {
			err = outer.Err // without the URL, which may have a secret in it
		}
		return nil, 0, fmt.Errorf("%s: %w", host(from), err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, 0, fmt.Errorf("%s answers %d", host(from), answer.StatusCode)
	}
	body, err = io.ReadAll(io.LimitReader(answer.Body, maxAnswer+1))
	if err == nil && len(body) > maxAnswer {
		err = fmt.Errorf("the answer is larger than %d bytes", maxAnswer)
	}
	if err != nil {
		return nil, 0, fmt.Errorf("%s: %w", host(from), err)
	}
	return body, lifetime(answer.Header, k.o.Now()), nil
}
