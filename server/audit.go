package server

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/parlordb/parlor/auth"
	"github.com/parlordb/parlor/config"
	"github.com/parlordb/parlor/store"
)

// audit writes one line of the audit trail: what happened, who made the request and from where. The pairs in more say the rest; never a secret.
// The lines have the message "audit" and the level info.
func (s *Server) audit(r *request, event string, more ...any) {
	line := append([]any{"event", event, "request", r.id, "address", r.set.proxies.Address(r.Request), "by", r.who.Name}, more...)
	s.log.Info("audit", line...)
}

// auditRefusal notes a sign-in that was refused, with what it claimed: nothing of that is proved. Other errors are none.
func (s *Server) auditRefusal(r *request, method string, err error) {
	refusal, ok := errors.AsType[*auth.Refusal](err)
	if !ok {
		return
	}
	if refusal.Method != "" {
		method = refusal.Method
	}
	s.counters.refused.Add(1)
	s.audit(r, "sign-in refused", "method", method, "user", refusal.User, "credential", refusal.Credential,
		"status", refusal.Status, "reason", refusal.Reason)
}

// AuditLock is the Report of an auth.Lockout: it notes that a user is locked out, or with the mode warn would be.
func (s *Server) AuditLock(_ context.Context, l auth.Lock, mode auth.LockoutMode) {
	event := "lockout began"
	if mode == auth.LockoutWarn {
		event = "lockout would begin"
	} else {
		s.counters.lockouts.Add(1)
	}
	s.log.Info("audit", "event", event, "address", prefixText(l.Address), "user", l.User, "failures", l.Failures, "until", l.Until.UTC())
}

// auditSetting notes a change of the configuration. The value is not in it.
func (s *Server) auditSetting(r *request, section, key, change string) {
	s.audit(r, settingKind(section)+" "+change, "section", section, "key", key, "persistent", r.persistent())
}

// settingKind says what the settings of a section are to the audit trail.
func settingKind(section string) string {
	switch section {
	case "admins":
		return "admin"
	case "jwt_keys", "oauth_consumer_secrets", "oauth_token_secrets", "oauth_token_users":
		return "key"
	}
	return "setting"
}

// AuditReload notes what reading the settings files again has changed, when no request asked for it; of nothing it says nothing.
func (s *Server) AuditReload(before, after *config.Snapshot) {
	reloaded := false
	note := func(event string, more ...any) {
		s.log.Info("audit", append([]any{"event", event, "address", "", "by", "auto_reload_secs"}, more...)...)
	}
	noteChanges(before, after, func(event string, more ...any) {
		if !reloaded {
			note("settings reloaded")
			reloaded = true
		}
		note(event, more...)
	})
}

// noteChanges calls note for each setting that differs, in the order of names. The values are not in it.
func noteChanges(before, after *config.Snapshot, note func(event string, more ...any)) {
	for _, section := range slices.Compact(slices.Sorted(slices.Values(append(before.Sections(), after.Sections()...)))) {
		was, is := before.Section(section), after.Section(section)
		keys := slices.AppendSeq(slices.Collect(maps.Keys(was)), maps.Keys(is))
		for _, key := range slices.Compact(slices.Sorted(slices.Values(keys))) {
			_, had := was[key]
			value, has := is[key]
			switch {
			case !has:
				note(settingKind(section)+" removed", "section", section, "key", key)
			case !had, value != was[key]:
				note(settingKind(section)+" changed", "section", section, "key", key)
			}
		}
	}
}

// userEvents gathers what a write to _users does to whom, while its documents are checked, and notes it when they have been stored.
type userEvents map[string][]string // by document id

// over returns a check that sees what check lets pass.
func (e userEvents) over(check store.Check) store.Check {
	return func(ctx context.Context, old, doc *store.Doc) error {
		if check != nil {
			if err := check(ctx, old, doc); err != nil {
				return err
			}
		}
		if strings.HasPrefix(doc.ID, userPrefix) {
			e[doc.ID] = eventsOf(old, doc)
		}
		return nil
	}
}

// eventsOf names what happens to a user when doc takes the place of old.
func eventsOf(old, doc *store.Doc) []string {
	existed := old != nil && !old.Deleted
	switch {
	case doc.Deleted && existed:
		return []string{"user removed"}
	case doc.Deleted:
		return nil
	case !existed:
		return []string{"user added"}
	}
	before, err1 := parseUser(old.Body)
	after, err2 := parseUser(doc.Body)
	if errors.Join(err1, err2) != nil {
		return []string{"user changed"}
	}
	var events []string
	if before.hash != after.hash {
		events = append(events, "password changed")
	}
	if !slices.Equal(before.roles, after.roles) {
		events = append(events, "roles changed")
	}
	if before.disabled != after.disabled || before.totp != after.totp || before.second != after.second || before.oauth != after.oauth ||
		!slices.Equal(before.identities, after.identities) {
		events = append(events, "credentials changed")
	}
	return events
}

// note writes the lines for the writes that succeeded.
func (e userEvents) note(s *Server, r *request, writes []store.Write, results []store.Result) {
	for i := range results {
		if results[i].Err != nil {
			continue
		}
		id := writes[i].Doc.ID
		for _, event := range e[id] {
			s.audit(r, event, "user", strings.TrimPrefix(id, userPrefix))
		}
		delete(e, id)
	}
}
