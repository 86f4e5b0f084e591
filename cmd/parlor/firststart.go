package main

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"

	"github.com/parlordb/parlor/config"
)

// firstStart writes into the settings what a server needs and cannot have by default: an id of its own, the secret that signs cookies, and an
// administrator. password is the new administrator's, "" when there was one before. The store is locked by the caller, so two servers do not
// do this at the same time.
func firstStart(c *config.Settings) (password string, err error) {
	if c.Snapshot().String("", "uuid", "couchdb") == "" {
		if err := setRandom(c, "couchdb", "uuid"); err != nil {
			return "", err
		}
	}
	if c.Snapshot().String("", "secret", "chttpd_auth", "couch_httpd_auth") == "" {
		if err := setRandom(c, "chttpd_auth", "secret"); err != nil {
			return "", err
		}
	}
	if len(admins(c.Snapshot())) > 0 {
		return "", nil
	}
	password = rand.Text()
	if _, err := c.Set("admins", firstAdmin, password, true); err != nil {
		return "", fmt.Errorf("[admins] %s: %w", firstAdmin, err)
	}
	return password, nil
}

// firstAdmin is the administrator that a server without one is given.
const firstAdmin = "admin"

// setRandom gives a key 16 random bytes in hex.
func setRandom(c *config.Settings, section, key string) error {
	b := make([]byte, 16)
	rand.Read(b)
	if _, err := c.Set(section, key, hex.EncodeToString(b), true); err != nil {
		return fmt.Errorf("[%s] %s: %w", section, key, err)
	}
	return nil
}
