package main

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/parlordb/parlor/auth"
	"github.com/parlordb/parlor/auth/jwt"
	"github.com/parlordb/parlor/auth/oidc"
	"github.com/parlordb/parlor/config"
	"github.com/parlordb/parlor/server"
)

// The sections of those who vouch for users: an issuer whose tokens are taken, and a provider at which users log in besides.
const (
	issuerPrefix = "jwt_issuer:"
	oidcPrefix   = "oidc:"
)

// outside is what the sections [jwt_issuer:NAME] and [oidc:NAME] come to.
type outside struct {
	sections  map[string]map[string]string // as they were read, with a keyDigest where there is a jwks_file
	issuers   *oidc.Issuers
	providers []*oidc.Provider
	keys      map[keyPlace]*oidc.KeySet
}

// keyPlace is where a key set comes from. Sections that name the same place share what was fetched, and so do the settings before and after a change.
type keyPlace struct {
	issuer, url, jwks      string
	file, digest           string // of jwks_file, and what is in it
	insecure, allowPrivate bool
}

// keyDigest stands among the values of a section for what its jwks_file holds, so that another content is another section.
const keyDigest = "jwks_file content"

// names are the names of all issuers and providers.
func (o *outside) names() []string {
	var names []string
	for section := range o.sections {
		_, name, _ := strings.Cut(section, ":")
		names = append(names, name)
	}
	return names
}

// newOutside makes what the sections say; the present one, which remembers tokens, when nothing about them has changed.
func (w *wiring) newOutside(s *config.Snapshot, p *server.Proxies) (*outside, error) {
	o := &outside{sections: map[string]map[string]string{}, keys: map[keyPlace]*oidc.KeySet{}}
	for _, section := range s.Sections() {
		// Without an issuer a section is one that is being written key by key, or was taken out: nobody signs in by it.
		if (strings.HasPrefix(section, issuerPrefix) || strings.HasPrefix(section, oidcPrefix)) && s.String("", "issuer", section) != "" {
			o.sections[section] = s.Section(section)
			if err := w.digestKeyFile(section, o.sections[section]); err != nil {
				return nil, err
			}
		}
	}
	if now := w.outside; now != nil && p.Equal(w.proxies) && maps.EqualFunc(o.sections, now.sections, maps.Equal) {
		return now, nil
	}
	var issuers []*oidc.Issuer
	for _, section := range slices.Sorted(maps.Keys(o.sections)) {
		r := &outsider{wiring: w, s: s, section: section, digest: o.sections[section][keyDigest], proxies: p}
		issuer, provider, err := r.read(o.keys)
		if err != nil {
			o.close(w.outside)
			return nil, err
		}
		issuers = append(issuers, issuer)
		if provider != nil {
			o.providers = append(o.providers, provider)
		}
	}
	var err error
	if o.issuers, err = oidc.NewIssuers(issuers); err != nil {
		o.close(w.outside)
		return nil, invalid("[jwt_issuer:…] and [oidc:…]: %v", err)
	}
	return o, nil
}

// digestKeyFile adds to the values of a section what its jwks_file holds. A file in force that cannot be used now counts as one that is as it was.
func (w *wiring) digestKeyFile(section string, values map[string]string) error {
	file := values["jwks_file"]
	if file == "" {
		return nil
	}
	text, err := oidc.ReadKeyFile(file)
	var set *jwt.Set
	if err == nil {
		set, _, err = jwt.ParseSet(text)
	}
	var present map[string]string
	if w.outside != nil && w.outside.sections[section]["jwks_file"] == file {
		present = w.outside.sections[section]
	}
	switch {
	case err != nil && present != nil:
		w.log.Warn("the key set in a file cannot be used; the keys before stay", "section", section, "file", file, "error", err)
		values[keyDigest] = present[keyDigest]
		return nil
	case err == nil && present == nil && set.Len() == 0:
		err = errors.New("no key in it can be used")
	}
	values[keyDigest] = fmt.Sprintf("%x", sha256.Sum256(text))
	return refused(section, "jwks_file", err)
}

// close ends the key sets that keep does not have too. Either may be nil.
func (o *outside) close(keep *outside) {
	if o == nil {
		return
	}
	for place, keys := range o.keys {
		if keep == nil || keep.keys[place] != keys {
			keys.Close()
		}
	}
}

// endOutside ends the requests that the issuers of before have let in, where after has not the same ones. Sessions from one that is gone are refused.
func (w *wiring) endOutside(before, after *outside) {
	for section, values := range before.sections {
		if _, name, _ := strings.Cut(section, ":"); !maps.Equal(values, after.sections[section]) {
			w.revocations.End(auth.Match{Provider: name})
		}
	}
}

// outsider reads one section.
type outsider struct {
	*wiring
	s       *config.Snapshot
	section string
	digest  string // of its jwks_file
	proxies *server.Proxies
}

func (r *outsider) get(key string) string { return r.s.String("", key, r.section) }

func (r *outsider) is(key string) bool { return r.s.Bool(false, key, r.section) }

// list is nil for a key that is not there.
func (r *outsider) list(key string) []string {
	if r.given(key) == "" {
		return nil
	}
	return split(r.get(key))
}

// given returns key when it has a value, else "".
func (r *outsider) given(key string) string {
	if r.get(key) == "" {
		return ""
	}
	return key
}

// refused is a refusal of the whole section, or of one key where the error does not say it.
func (r *outsider) refused(key string, err error) error {
	if err != nil && key == "" {
		return invalid("[%s] %v", r.section, err)
	}
	return refused(r.section, key, err)
}

// read makes the issuer of a section, and the provider where it is one.
func (r *outsider) read(shared map[keyPlace]*oidc.KeySet) (*oidc.Issuer, *oidc.Provider, error) {
	kind, name, _ := strings.Cut(r.section, ":")
	o := oidc.IssuerOptions{
		Name: name, Issuer: r.get("issuer"), Audience: r.list("audience"), Algorithms: r.list("algorithms"),
		Directory: r.users, Budget: r.budget, Client: r.proxies.Client, Now: r.now,
	}
	login := kind+":" == oidcPrefix
	if id := r.get("client_id"); login && id != "" && !slices.Contains(o.Audience, id) {
		o.Audience = append(o.Audience, id)
	}
	leeway, err := number(r.s, 0, 0, maxLeeway, "leeway", r.section)
	if err != nil {
		return nil, nil, err
	}
	o.Leeway = time.Duration(leeway) * time.Second
	if text := r.get("required_claims"); text != "" {
		if o.Required, err = jwt.ParseClaims(text); err != nil {
			return nil, nil, r.refused("required_claims", err)
		}
	}
	if o.Mapping, err = r.mapping(); err != nil {
		return nil, nil, err
	}
	client := oidc.NewClient(oidc.ClientOptions{Insecure: r.is("insecure"), AllowPrivate: r.is("allow_private")})
	if o.Keys, err = r.keySet(client, shared); err != nil {
		return nil, nil, err
	}
	issuer, err := oidc.NewIssuer(o)
	if err != nil || !login {
		return issuer, nil, r.refused("", err)
	}
	provider, err := r.provider(name, issuer, o.Keys, client)
	return issuer, provider, err
}

// mapping reads who somebody is.
func (r *outsider) mapping() (m oidc.Mapping, err error) {
	m = oidc.Mapping{
		UsernameClaim: r.get("username_claim"), RolesPath: r.get("roles_claim_path"), RolesPrefix: r.get("roles_prefix"),
		AllowServerAdmin: r.is("allow_server_admin"), LinkExisting: r.is("link_existing"), Unknown: oidc.UnknownUsers(r.get("unknown_users")),
	}
	if prefix, ok := r.s.Get(r.section, "user_prefix"); ok {
		m.UserPrefix = &prefix
	}
	m.RolesMap, err = parseRoles(r.get("roles_map"))
	return m, r.refused("roles_map", err)
}

// parseRoles reads "claim value = role, …". A value may be there several times, for several roles. It returns nil for an empty text.
func parseRoles(text string) (map[string][]string, error) {
	var roles map[string][]string
	for pair := range strings.SplitSeq(text, ",") {
		if strings.TrimSpace(pair) == "" {
			continue
		}
		i := strings.LastIndexByte(pair, '=')
		value, role := strings.TrimSpace(pair[:max(i, 0)]), strings.TrimSpace(pair[i+1:])
		if value == "" || role == "" {
			return nil, errors.New(`expected "claim value = role", with commas between such pairs`)
		}
		if roles == nil {
			roles = map[string][]string{}
		}
		roles[value] = append(roles[value], role)
	}
	return roles, nil
}

// keySet returns the key set of a section, which others may have too.
func (r *outsider) keySet(client *http.Client, shared map[keyPlace]*oidc.KeySet) (*oidc.KeySet, error) {
	place := keyPlace{
		issuer: r.get("issuer"), url: r.get("jwks_uri"), jwks: r.get("jwks"), file: r.get("jwks_file"), digest: r.digest,
		insecure: r.is("insecure"), allowPrivate: r.is("allow_private"),
	}
	key := cmp.Or(r.given("jwks"), r.given("jwks_file"), r.given("jwks_uri"), "issuer")
	given := 0
	for _, other := range []string{"jwks", "jwks_file", "jwks_uri"} {
		if r.given(other) != "" {
			given++
		}
	}
	if given > 1 {
		return nil, invalid("[%s] jwks, jwks_file and jwks_uri: there may be one of them", r.section)
	}
	if keys := shared[place]; keys != nil {
		return keys, nil
	}
	if r.outside != nil && r.outside.keys[place] != nil {
		shared[place] = r.outside.keys[place]
		return shared[place], nil
	}
	o := oidc.KeySetOptions{Issuer: place.issuer, URL: place.url, File: place.file, Client: client, Log: r.log, Now: r.now}
	if place.jwks != "" {
		o.JWKS = []byte(place.jwks)
	}
	keys, err := oidc.NewKeySet(o)
	if err != nil {
		return nil, r.refused(key, err)
	}
	shared[place] = keys
	return keys, nil
}

// provider reads what a login needs besides.
func (r *outsider) provider(name string, issuer *oidc.Issuer, keys *oidc.KeySet, client *http.Client) (*oidc.Provider, error) {
	order, err := number(r.s, 0, -1<<31, 1<<31, "order", r.section)
	if err != nil {
		return nil, err
	}
	provider, err := oidc.NewProvider(oidc.ProviderOptions{
		Name: name, Label: r.get("label"), Order: int(order), Issuer: issuer, Keys: keys,
		ClientID: r.get("client_id"), ClientSecret: r.get("client_secret"), PrivateKey: strings.ReplaceAll(r.get("private_key_jwt"), `\n`, "\n"),
		Scopes: r.list("scope"), CallbackURL: r.get("callback_url"), ReturnTo: r.list("return_to"), NoSession: r.is("disable_session"),
		Client: client, Logins: r.logins, Now: r.now,
	})
	return provider, r.refused("", err)
}
