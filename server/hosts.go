package server

import (
	"slices"

	"github.com/parlordb/parlor/auth"
	"github.com/parlordb/parlor/config"
)

// hostSettings are the names by which clients may call this server (spec §0): others come from pages that have their own name point here.
type hostSettings struct {
	validate bool
	names    []string
}

func newHosts(snap *config.Snapshot) (hostSettings, error) {
	h := hostSettings{
		validate: snap.Bool(false, "validate_host", "chttpd", "httpd"),
		names:    list(snap.String("", "valid_hosts", "chttpd", "httpd")),
	}
	if h.validate && len(h.names) == 0 {
		return h, &config.ValueError{Reason: "[chttpd] validate_host: valid_hosts is empty, so every request would be refused; set it first"}
	}
	return h, nil
}

// checkHost refuses a request that calls the server by another name. It is not asked of those who come through a Unix socket, which has none.
func (r *request) checkHost() error {
	if h := &r.set.hosts; h.validate && !slices.Contains(h.names, hostname(r.Host)) && auth.Peer(r.Request).IsValid() {
		return badRequest("Invalid host header")
	}
	return nil
}
