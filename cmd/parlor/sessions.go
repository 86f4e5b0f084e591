package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/parlordb/parlor/auth"
	"github.com/parlordb/parlor/config"
	"github.com/parlordb/parlor/server"
)

// sweepEvery is how often sessions and tokens that have ended are removed.
const sweepEvery = 10 * time.Minute

// sessionPlan is what the settings say about sessions.
type sessionPlan struct {
	tracked bool // kept by the server; false: each is a cookie and nothing else
	options auth.SessionOptions
}

// readSessions reads [parlor_session], and of [chttpd_auth] what it says about cookies of either kind, which stands in c.
func readSessions(s *config.Snapshot, c auth.CookieOptions, p *server.Proxies) (plan sessionPlan, err error) {
	const section = "parlor_session"
	switch store := s.String("tracked", "store", section); store {
	case "tracked":
		plan.tracked = true
	case "cookie":
	default:
		return plan, invalid("[%s] store: %q is not one of tracked and cookie", section, store)
	}
	most, err := number(s, 1000, 1, 1_000_000, "max_per_user", section)
	if err != nil {
		return plan, err
	}
	plan.options = auth.SessionOptions{
		Timeout:     c.Timeout,
		BindToToken: s.Bool(false, "bind_to_token", section),
		MaxPerUser:  int(most),
		SessionOnly: c.SessionOnly,
		Domain:      c.Domain,
		SameSite:    c.SameSite,
		Secure:      c.Secure,
		Client:      p.Client,
		Now:         c.Now,
	}
	if s.Bool(false, "sync_gateway_api", "parlor") {
		plan.options.Alias = server.SyncGatewayCookie
	}
	return plan, nil
}

// signOn is what the server makes sessions with, and where users log in.
func (f *inForce) signOn(sessions *auth.Sessions) server.SignOn {
	if f.plan.tracked {
		return server.SignOn{Sessions: sessions, Providers: f.outside.providers}
	}
	return server.SignOn{Cookies: f.cookies, Providers: f.outside.providers}
}

// assemble makes the list of Methods: of those that share a name, the first that recognises its kind of credential decides.
func (w *wiring) assemble(f *inForce) []auth.Method {
	var cookie auth.Method = f.cookies
	if f.plan.tracked {
		cookie = w.sessions
	}
	return methodList(f.methods,
		auth.First("jwt", w.tokens.Bearer(), f.outside.issuers, f.devices, f.bearer),
		cookie, f.proxy, f.oauth,
		auth.First("default", w.tokens.Basic(), auth.NewBasic(w.checker)),
	)
}

// sweepOften removes what has ended of sessions and tokens: at once, what is left of users who went while nobody served, then every ten minutes until ctx
// ends or stop is called, which waits for the last of it.
func (w *wiring) sweepOften(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() {
		tick := time.NewTicker(sweepEvery)
		defer tick.Stop()
		for {
			w.sweep(ctx)
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	})
	return func() {
		cancel()
		running.Wait()
	}
}

func (w *wiring) sweep(ctx context.Context) {
	sessions, err1 := w.sessions.Sweep(ctx)
	tokens, err2 := w.tokens.Sweep(ctx)
	if err := errors.Join(err1, err2); err != nil && ctx.Err() == nil {
		w.log.Warn("sessions and tokens that have ended could not all be removed", "error", err)
	}
	if sessions+tokens > 0 {
		w.log.Debug("removed what had ended", "sessions", sessions, "tokens", tokens)
	}
}

// unstamped are the settings of a provider that do not say whom it vouches for, or how.
var unstamped = []string{"label", "order", "scope", "callback_url", "return_to", "disable_session", "client_secret", "private_key_jwt", "leeway"}

// stamps say of each section [oidc:NAME] and [jwt_issuer:NAME], and of each key in [jwt_keys], how it vouches for users. They tell values apart, and tell nothing
// of them to whoever reads sessions in a backup.
func (f *inForce) stamps() map[string]string {
	stamps := map[string]string{}
	for _, section := range slices.Sorted(maps.Keys(f.outside.sections)) {
		values := f.outside.sections[section]
		_, name, _ := strings.Cut(section, ":")
		said := sha256.New()
		fmt.Fprintf(said, "%q %q\n", stamps[name], section) // an issuer and a provider may share a name
		for _, key := range slices.Sorted(maps.Keys(values)) {
			if !slices.Contains(unstamped, key) {
				fmt.Fprintf(said, "%q %q\n", key, values[key])
			}
		}
		stamps[name] = stamp(said)
	}
	for name, value := range f.snapshot.Section("jwt_keys") {
		said := sha256.New()
		fmt.Fprintf(said, "%q", value)
		for _, key := range []string{"required_claims", "roles_claim_name", "roles_claim_path"} {
			fmt.Fprintf(said, " %q", f.snapshot.String("", key, "jwt_auth"))
		}
		stamps[name] = stamp(said)
	}
	return stamps
}

// stamp is as much of a hash as tells two values apart, and too little to try out what a secret might be.
func stamp(said hash.Hash) string { return hex.EncodeToString(said.Sum(nil)[:4]) }

// endStamped ends the sessions of what vouched for users otherwise before, for good.
func (w *wiring) endStamped(ctx context.Context, before, after *auth.SessionOptions) {
	if maps.Equal(before.Stamps, after.Stamps) && before.NoTokens == after.NoTokens {
		return
	}
	_, err := w.sessions.EndWhere(ctx, "", func(session *auth.Session) bool {
		return before.Stamps[session.Source] != after.Stamps[session.Source] || after.NoTokens && session.Method == "jwt"
	})
	if err != nil {
		w.log.Error("sessions of a provider or key that has changed could not all be ended", "error", err)
	}
}

// endAdmin ends what let an administrator in whose entry in [admins] has changed or gone.
func (w *wiring) endAdmin(ctx context.Context, name string) {
	w.revocations.End(auth.Match{User: name, Local: true})
	_, err := w.sessions.EndWhere(ctx, name, func(session *auth.Session) bool { return session.Local })
	if _, unknown := w.users.User(ctx, name); errors.Is(unknown, auth.ErrUnknownUser) {
		_, err1 := w.sessions.EndWhere(ctx, name, nil)
		err = errors.Join(err, err1, w.tokens.RevokeAll(ctx, name))
	}
	if err != nil {
		w.log.Error("sessions and tokens of an administrator could not all be ended", "user", name, "error", err)
	}
}
