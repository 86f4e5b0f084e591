package main

import (
	"fmt"
	"io"
	"log/slog"

	"github.com/parlordb/parlor/config"
)

// logLevels are CouchDB's names for levels of logging.
var logLevels = map[string]slog.Level{
	"debug": slog.LevelDebug, "info": slog.LevelInfo, "notice": slog.LevelInfo, "warn": slog.LevelWarn, "warning": slog.LevelWarn,
	"err": slog.LevelError, "error": slog.LevelError, "critical": slog.LevelError, "crit": slog.LevelError, "alert": slog.LevelError,
	"emerg": slog.LevelError, "emergency": slog.LevelError, "none": slog.LevelError + 100,
}

// logLevel reads [log] level.
func logLevel(s *config.Snapshot) (slog.Level, error) {
	name := s.String("info", "level", "log")
	level, ok := logLevels[name]
	if !ok {
		return 0, invalid("[log] level: %q is none of debug, info, notice, warning, error, critical, alert, emergency and none", name)
	}
	return level, nil
}

// newLogger writes to w in the format that the settings name, from level on, which may change.
func newLogger(w io.Writer, s *config.Snapshot, level *slog.LevelVar) (*slog.Logger, error) {
	o := &slog.HandlerOptions{Level: level}
	switch format := s.String("text", "format", "log"); format {
	case "text":
		return slog.New(slog.NewTextHandler(w, o)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, o)), nil
	default:
		return nil, fmt.Errorf("[log] format: %q is neither text nor json", format)
	}
}
