package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/parlordb/parlor/auth/password"
	"github.com/parlordb/parlor/config"
	"github.com/parlordb/parlor/server"
)

// prepare makes of a value what is stored. An administrator's password becomes its hash (spec §7.2); line ends in a PEM block, which the dialect
// does not have, become the two characters "\n". What else a change must satisfy is found out by building what it asks for: see wiring.apply.
func prepare(s *config.Snapshot, section, key, value string, deleted bool) (string, error) {
	switch {
	case deleted:
		return "", nil
	case section == "jwt_keys", section == "oauth_consumer_secrets":
		return oneLine(value), nil
	case section == "admins":
		return prepareAdmin(s, key, value)
	}
	return value, nil
}

// oneLine writes a key without line ends: as the two characters "\n" in a PEM block, as CouchDB wants it, and as blanks in a JWK or base64.
func oneLine(value string) string {
	end := " "
	if strings.Contains(value, "-----BEGIN") {
		end = `\n`
	}
	return strings.NewReplacer("\r\n", end, "\n", end).Replace(value)
}

func prepareAdmin(s *config.Snapshot, key, value string) (string, error) {
	if value == "" {
		return "", &config.ValueError{Reason: "An administrator needs a password."}
	}
	if strings.ContainsFunc(value, unicode.IsControl) {
		return "", &config.ValueError{Reason: "Invalid configuration value"}
	}
	_, hashed, err := password.ParseAdmin(value)
	if err != nil {
		return "", invalid("the hash of the administrator %s: %v", key, err)
	}
	if hashed {
		return value, nil
	}
	h, err := server.PasswordPolicy(s).New(value, "")
	if err != nil {
		return "", invalid("the password of the administrator %s cannot be hashed: %v", key, err)
	}
	return password.FormatAdmin(h), nil
}

// reloadOften reads the settings files again every [config] auto_reload_secs seconds, while there is such a number, until ctx ends or stop is called,
// which waits for the last of it.
func (w *wiring) reloadOften(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() { atIntervals(ctx, w.reloadEvery, w.reload) })
	return func() {
		cancel()
		running.Wait()
	}
}

// askReload says how often the settings files are to be read again. Calls do not overlap.
func (w *wiring) askReload(s *config.Snapshot) {
	seconds := s.Int(0, "auto_reload_secs", "config")
	if seconds < 0 || seconds > 1<<31 {
		seconds = 0
	}
	select {
	case <-w.reloadEvery: // nobody has seen it yet
	default:
	}
	w.reloadEvery <- time.Duration(seconds) * time.Second
}

// atIntervals calls do as often as every said last, until ctx ends: not at all before it says something, and when it says 0.
func atIntervals(ctx context.Context, every <-chan time.Duration, do func()) {
	var now time.Duration
	var tick <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case next := <-every:
			// What stays the same is not begun anew, or changes of other settings would put it off.
			if next == now {
				continue
			}
			if now, tick = next, nil; next > 0 {
				tick = time.Tick(next)
			}
		case <-tick:
			do()
		}
	}
}

// reload reads the settings files again. What cannot be used leaves in force what was.
func (w *wiring) reload() {
	before := w.settings.Snapshot()
	if err := w.settings.Reload(); err != nil {
		w.log.Error("the settings files cannot be used; what was in force stays", "error", err)
		return
	}
	w.server.AuditReload(before, w.settings.Snapshot())
}

// invalid is a refusal of a change.
func invalid(format string, args ...any) error {
	return &config.ValueError{Reason: fmt.Sprintf(format, args...)}
}

// refused makes a *config.ValueError of any error that is about a setting.
func refused(section, key string, err error) error {
	var value *config.ValueError
	if err == nil || errors.As(err, &value) {
		return err
	}
	return invalid("[%s] %s: %v", section, key, err)
}

// admins returns the names in [admins] whose hashes can be read.
func admins(s *config.Snapshot) []string {
	var names []string
	for name, value := range s.Section("admins") {
		if _, ok, err := password.ParseAdmin(value); ok && err == nil {
			names = append(names, name)
		}
	}
	return names
}
