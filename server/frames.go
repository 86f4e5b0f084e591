package server

import (
	"slices"

	"github.com/parlordb/parlor/config"
)

// frameSettings say whether pages of other sites may show this server's answers in a frame (spec §12.2).
type frameSettings struct {
	enabled    bool
	sameOrigin bool
	hosts      []string // origins, or "*" for all
}

func newFrames(snap *config.Snapshot) frameSettings {
	return frameSettings{
		enabled:    snap.Bool(false, "enable_xframe_options", "chttpd", "httpd"),
		sameOrigin: snap.Bool(false, "same_origin", "x_frame_options"),
		hosts:      list(snap.String("", "hosts", "x_frame_options")),
	}
}

// frameOptions marks an answer with X-Frame-Options.
func (r *request) frameOptions() {
	f := &r.set.frames
	if !f.enabled {
		return
	}
	origin := r.absolute("")
	value := "DENY"
	switch {
	case f.sameOrigin:
		value = "SAMEORIGIN"
	case slices.Contains(f.hosts, origin), slices.Contains(f.hosts, "*"):
		value = "ALLOW-FROM " + origin
	}
	r.w.Header().Set("X-Frame-Options", value)
}
