package main

import (
	"errors"
	"fmt"

	"github.com/parlordb/parlor/auth/password"
	"github.com/parlordb/parlor/config"
	"github.com/parlordb/parlor/server"
)

// prepare replaces an administrator's password by its hash before anything is stored (spec §7.2). What else a change must satisfy is found out
// by building what it asks for: see wiring.apply.
func prepare(s *config.Snapshot, section, key, value string, deleted bool) (string, error) {
	if section != "admins" || deleted {
		return value, nil
	}
	if value == "" {
		return "", &config.ValueError{Reason: "An administrator needs a password."}
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
