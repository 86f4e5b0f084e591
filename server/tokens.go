package server

import (
	"context"
	"encoding/base64"
	"errors"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/parlordb/parlor/auth"
	"github.com/parlordb/parlor/livesync"
)

var errNoSuchToken = &Error{Status: 404, Kind: "not_found", Reason: "There is no such token."}

// tokenRequest is the body of POST /_tokens. A member that is not known is refused: one that is misspelt would leave a token too strong.
type tokenRequest struct {
	User      string   `json:"user"`
	Label     string   `json:"label"`
	Type      string   `json:"type"`
	Scopes    []string `json:"scopes"`
	Databases []string `json:"databases"`
	Expires   string   `json:"expires"`
	ExpiresIn *float64 `json:"expires_in"`
	Algorithm string   `json:"algorithm"`
	PublicKey string   `json:"public_key"`
}

// postToken makes an access token, or a device's key. What is secret about it is in this answer and nowhere else.
func (s *Server) postToken(r *request) error {
	asked, err := s.tokenRequest(r)
	if err != nil {
		return err
	}
	made, err := asked.newToken(s.now())
	if err != nil {
		return err
	}
	if made.User, err = s.tokenOwner(r, asked.User); err != nil {
		return err
	}
	r.private()
	if asked.Type == "key" {
		return s.makeKey(r, asked, made)
	}
	var secret string
	var token auth.Token
	present, err := s.standing(r)
	if err != nil {
		return err
	}
	err = r.outliving(present, func() (err error) {
		secret, token, err = s.tokens.Create(r.Context(), made)
		return err
	}, func(ctx context.Context) error { return s.tokens.Revoke(ctx, token.ID) })
	if err != nil {
		return tokenError(err, made.User)
	}
	s.audit(r, "token made", "user", token.User, "token", token.ID, "label", token.Label)
	return s.sendToken(r, &token, "token", secret)
}

// tokenRequest reads the body.
func (s *Server) tokenRequest(r *request) (*tokenRequest, error) {
	if err := r.needJSON(); err != nil {
		return nil, err
	}
	data, release, err := s.body(r, maxLogin)
	if err != nil {
		return nil, err
	}
	defer release()
	object, err := checkJSON(data)
	if err != nil {
		return nil, err
	}
	if object[0] != '{' {
		return nil, errNotObject
	}
	asked := &tokenRequest{Type: "password"}
	if err := json.Unmarshal(object, asked, json.RejectUnknownMembers(true), decoderOptions); err != nil {
		reason := "a member of the body is of another type than it should be"
		if e, ok := errors.AsType[*json.SemanticError](err); ok {
			at := string(e.JSONPointer)
			if errors.Is(err, json.ErrUnknownName) {
				reason = "the body may not have the member " + at
			} else {
				reason = "the member " + at + " is of another type than it should be"
			}
		}
		return nil, badRequest(reason)
	}
	return asked, nil
}

// newToken reads what is asked for, but for the user.
func (a *tokenRequest) newToken(now time.Time) (n auth.NewToken, err error) {
	n.Label = a.Label
	if n.Scope, err = a.scope(); err != nil {
		return n, err
	}
	if n.Expires, err = a.expiry(now); err != nil {
		return n, err
	}
	switch {
	case a.Type != "password" && a.Type != "key":
		return n, badRequest("type must be password or key")
	case a.Type == "password" && a.Algorithm+a.PublicKey != "":
		return n, badRequest("algorithm and public_key are those of a key: type must be key")
	case a.Type == "key" && !slices.Contains([]string{"ES256", "ES512", "HS256", "HS512"}, a.Algorithm):
		return n, badRequest("algorithm must be ES256, ES512, HS256 or HS512")
	case strings.HasPrefix(a.Algorithm, "HS") && a.PublicKey != "":
		return n, badRequest("a key for " + a.Algorithm + " has no public_key: the server makes it")
	}
	return n, nil
}

// maxTokenDatabases bounds the databases that one token names.
const maxTokenDatabases = 100

// scope reads scopes and databases. A list that is empty is refused: it could be taken for nothing as well as for everything.
func (a *tokenRequest) scope() (auth.Scope, error) {
	scope := auth.Scope{Write: a.Scopes == nil || slices.Contains(a.Scopes, "write"), Databases: a.Databases}
	for _, s := range a.Scopes {
		if s != "read" && s != "write" {
			return scope, badRequest("scopes may hold read and write")
		}
	}
	switch {
	case a.Scopes != nil && !slices.Contains(a.Scopes, "read"):
		return scope, badRequest("scopes must hold read; leave it out for both read and write")
	case a.Databases != nil && len(a.Databases) == 0:
		return scope, badRequest("databases is empty; leave it out for all that the user may enter")
	case len(a.Databases) > maxTokenDatabases:
		return scope, badRequest("a token names at most 100 databases")
	}
	for _, name := range a.Databases {
		if isSystemDatabase(name) {
			return scope, badRequest("a token does not open system databases")
		}
		if err := checkDatabaseName(name); err != nil {
			return scope, err
		}
	}
	return scope, nil
}

// expiry reads expires or expires_in, in seconds.
func (a *tokenRequest) expiry(now time.Time) (time.Time, error) {
	switch {
	case a.Expires != "" && a.ExpiresIn != nil:
		return time.Time{}, badRequest("give expires or expires_in, not both")
	case a.ExpiresIn != nil:
		const century = 100 * 365 * 24 * 3600
		if *a.ExpiresIn < 1 || *a.ExpiresIn > century || *a.ExpiresIn != math.Trunc(*a.ExpiresIn) {
			return time.Time{}, badRequest("expires_in must be a number of seconds from 1 to 3153600000")
		}
		return now.Add(time.Duration(*a.ExpiresIn) * time.Second), nil
	case a.Expires == "":
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339, a.Expires)
	if err != nil || !t.After(now) {
		return time.Time{}, badRequest("expires must be a time to come, such as 2030-01-31T00:00:00Z")
	}
	return t, nil
}

// tokenOwner says whose the token is to be: the caller's own, or for server admins anyone's. A name that a token, a proxy or a signature vouches for is not
// thereby the user of that name in the directory; one that is linked to a provider is.
func (s *Server) tokenOwner(r *request, user string) (string, error) {
	switch {
	case r.who.Admin() && user != "":
		return user, nil
	case user != "" && user != r.who.Name:
		return "", forbidden("Only server admins make tokens for others.")
	case r.who.Method == "oauth" || r.who.Method == "socket":
	case r.who.Local:
		return r.who.Name, nil
	case r.who.Provider != "":
		u, err := s.users.User(r.Context(), r.who.Name)
		if err != nil && !errors.Is(err, auth.ErrUnknownUser) {
			return "", err
		}
		if err == nil && len(u.Identities) > 0 {
			return r.who.Name, nil
		}
	}
	return "", forbidden("Tokens are for users of this server who signed in with a password, a session of their own, or at a provider that they are linked to.")
}

// makeKey keeps a device's key: the public one that was sent, or one that is made here.
func (s *Server) makeKey(r *request, asked *tokenRequest, n auth.NewToken) error {
	// PEM in one line, as [jwt_keys] has it, is taken too.
	n.Algorithm, n.Public = asked.Algorithm, strings.ReplaceAll(asked.PublicKey, `\n`, "\n")
	private := ""
	if n.Public == "" {
		var err error
		if private, n.Public, err = livesync.GenerateKey(n.Algorithm); err != nil {
			return err
		}
		if strings.HasPrefix(n.Algorithm, "HS") {
			if n.Secret, err = base64.StdEncoding.DecodeString(private); err != nil {
				return err
			}
		}
	}
	var token auth.Token
	present, err := s.standing(r)
	if err != nil {
		return err
	}
	err = r.outliving(present, func() (err error) {
		token, err = s.tokens.AddKey(r.Context(), n)
		return err
	}, func(ctx context.Context) error { return s.tokens.Revoke(ctx, token.ID) })
	if err != nil {
		return tokenError(err, n.User)
	}
	s.audit(r, "device key made", "user", token.User, "token", token.ID, "label", token.Label)
	return s.sendToken(r, &token, "private_key", private)
}

// tokenError tells of a user who is not there.
func tokenError(err error, user string) error {
	if errors.Is(err, auth.ErrUnknownUser) {
		return &Error{Status: 404, Kind: "not_found", Reason: "There is no user " + user + "."}
	}
	return err
}

// sendToken answers with what was made, and what is secret about it under a name, "" for nothing.
func (s *Server) sendToken(r *request, t *auth.Token, name, secret string) error {
	body := appendToken([]byte(`{"ok":true,`), t)
	if t.Algorithm != "" {
		body = appendString(append(body, `,"kid":`...), t.ID)
		body = appendText(append(body, `,"public_key":`...), t.PublicKey)
	}
	if secret != "" {
		body = appendString(append(appendString(append(body, ','), name), ':'), secret)
	}
	r.w.Header().Set("Location", r.absolute("/_tokens/"+pathEscape(t.ID)))
	return r.send(http.StatusCreated, append(body, '}'))
}

// appendToken writes what may be told of a token, as members without braces.
func appendToken(dst []byte, t *auth.Token) []byte {
	kind := "password"
	if t.Algorithm != "" {
		kind = "key"
	}
	scopes := []string{"read"}
	if t.Scope.Write {
		scopes = append(scopes, "write")
	}
	dst = appendString(append(dst, `"id":`...), t.ID)
	dst = appendString(append(dst, `,"type":`...), kind)
	dst = appendString(append(dst, `,"user":`...), t.User)
	dst = appendText(append(dst, `,"label":`...), t.Label)
	dst = appendStrings(append(dst, `,"scopes":`...), scopes)
	dst = append(dst, `,"databases":`...)
	if len(t.Scope.Databases) == 0 {
		dst = append(dst, "null"...)
	} else {
		dst = appendStrings(dst, t.Scope.Databases)
	}
	dst = appendTime(append(dst, `,"created":`...), t.Created)
	dst = appendTime(append(dst, `,"expires":`...), t.Expires)
	if t.Algorithm != "" {
		dst = appendString(append(dst, `,"algorithm":`...), t.Algorithm)
	}
	return dst
}

// appendListed is appendToken as an object, with when the token was used.
func appendListed(dst []byte, t *auth.Token) []byte {
	dst = appendToken(append(dst, '{'), t)
	dst = appendTime(append(dst, `,"last_used":`...), t.LastUsed)
	return append(appendAddress(append(dst, `,"last_address":`...), t.LastFrom), '}')
}

// getTokens lists the caller's tokens and device keys, or for server admins all of them.
func (s *Server) getTokens(r *request) error {
	user, limit, err := r.asked()
	if err != nil {
		return err
	}
	list, err := s.tokens.List(r.Context(), user, r.param("after"), limit+1)
	if err != nil {
		return err
	}
	body, next := []byte(`{"tokens":[`), ""
	if len(list) > limit {
		list, next = list[:limit], list[limit-1].ID
	}
	for i := range list {
		body = appendListed(appendComma(body), &list[i])
	}
	return r.send(http.StatusOK, append(appendText(append(body, `],"next":`...), next), '}'))
}

// token finds the one that the path names, if the caller may see it.
func (s *Server) token(r *request) (*auth.Token, error) {
	t, err := s.tokens.Get(r.Context(), r.args[0])
	if errors.Is(err, auth.ErrNoRecord) || err == nil && !r.mayTouch(t.User) {
		return nil, errNoSuchToken
	}
	return &t, err
}

func (s *Server) getToken(r *request) error {
	t, err := s.token(r)
	if err != nil {
		return err
	}
	return r.send(http.StatusOK, appendListed(nil, t))
}

// deleteToken revokes one. Its feeds are cut when the answer arrives.
func (s *Server) deleteToken(r *request) error {
	t, err := s.token(r)
	if err != nil {
		return err
	}
	if err := s.tokens.Revoke(r.Context(), t.ID); errors.Is(err, auth.ErrNoRecord) {
		return errNoSuchToken
	} else if err != nil {
		return err
	}
	s.audit(r, "token revoked", "user", t.User, "token", t.ID, "label", t.Label)
	return r.ok(http.StatusOK)
}

// deleteTokens revokes all of one user.
func (s *Server) deleteTokens(r *request) error {
	user, err := r.named()
	if err != nil {
		return err
	}
	if err := s.tokens.RevokeAll(r.Context(), user); err != nil {
		return err
	}
	s.audit(r, "tokens revoked", "user", user)
	return r.ok(http.StatusOK)
}
