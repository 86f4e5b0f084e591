package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// Causes of a feed's end that this side has made.
var (
	errHeld   = errors.New("held long enough")
	errSilent = errors.New("silent for too long")
)

// watchedFeed is a feed that was watched.
type watchedFeed struct {
	status int
	said   string
	bytes  int
	held   time.Duration
	err    error // errHeld, errSilent, nil when the feed has ended by itself, or what has cut it
}

// why is how a feed has ended that should not have.
func (w watchedFeed) why() string {
	if w.err == nil || errors.Is(w.err, io.EOF) {
		return "the answer was complete"
	}
	return w.err.Error()
}

// nothing selects no document, so that nobody's writing ends the feed.
const nothing = `{"selector":{"_id":"parlor-doctor-no-such-document"}}`

// watchFeed holds a feed for a time, at most silence of which may pass without a byte. With first it is enough when a byte comes.
func (d *doctor) watchFeed(ctx context.Context, kind string, heartbeat, hold, silence time.Duration, first bool) watchedFeed {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	held := time.AfterFunc(hold, func() { cancel(errHeld) })
	defer held.Stop()
	silent := time.AfterFunc(silence, func() { cancel(errSilent) })
	defer silent.Stop()
	began := time.Now()
	path := fmt.Sprintf("/_changes?style=all_docs&feed=%s&heartbeat=%d&filter=_selector&since=now&limit=25", kind, heartbeat.Milliseconds())
	// A browser takes packed answers, and a proxy that packs may hold them back.
	res, err := d.open(ctx, ask{method: http.MethodPost, path: d.vaultPath(path), body: nothing, header: map[string]string{"Accept-Encoding": "gzip"}})
	if err != nil {
		return watchedFeed{held: time.Since(began), err: cause(ctx, err)}
	}
	defer res.Body.Close()
	w := watchedFeed{status: res.StatusCode}
	if res.StatusCode != http.StatusOK {
		w.said = told{status: res.StatusCode}.said()
		return w
	}
	buf := make([]byte, 4096)
	for {
		n, err := res.Body.Read(buf)
		if w.bytes += n; n > 0 {
			silent.Reset(silence)
			if first {
				cancel(errHeld)
				err = errHeld
			}
		}
		if err != nil {
			w.held, w.err = time.Since(began), cause(ctx, err)
			return w
		}
	}
}

// cause is the reason that this side has for an error, or the error.
func cause(ctx context.Context, err error) error {
	if own := context.Cause(ctx); own != nil {
		return own
	}
	return err
}

const feedAdvice = "a proxy in between ends what is silent or long: allow requests of several minutes (nginx: proxy_read_timeout 3600s). Behind Cloudflare's proxy " +
	"heartbeats must come within 100 seconds, and unbuffered"

// checkLongPoll holds the request with which a device waits for changes, as long as a proxy's usual limit and longer.
func (d *doctor) checkLongPoll(ctx context.Context) {
	const check = "long poll"
	w := d.watchFeed(ctx, "longpoll", d.heartbeat, d.hold, d.heartbeat+d.grace, false)
	switch {
	case w.status != 0 && w.status != http.StatusOK:
		d.fail(check, "it is answered "+w.said, "live sync needs _changes with filter=_selector, by POST; "+feedAdvice)
	case errors.Is(w.err, errHeld) && w.bytes > 0:
		d.ok(check, fmt.Sprintf("held for %s, with signs of life", d.hold))
	case errors.Is(w.err, errHeld), errors.Is(w.err, errSilent):
		d.fail(check, fmt.Sprintf("no sign of life came, though one was asked for every %s", d.heartbeat), feedAdvice)
	case ctx.Err() != nil:
	default:
		d.fail(check, fmt.Sprintf("it ended after %s: %s", w.held.Round(time.Second), w.why()), feedAdvice)
	}
}

// streamBeat is the pulse of the feed that must arrive as it is written.
const streamBeat = time.Second

// checkStreaming looks whether the beginning of a feed arrives before its end.
func (d *doctor) checkStreaming(ctx context.Context) {
	const check = "streaming"
	limit := streamBeat + d.grace
	w := d.watchFeed(ctx, "continuous", streamBeat, limit, limit, true)
	switch {
	case w.status != 0 && w.status != http.StatusOK:
		d.fail(check, "a continuous feed is answered "+w.said, "Fast Setup needs _changes with feed=continuous")
	case w.bytes > 0:
		d.ok(check, "answers arrive as they are written")
	case ctx.Err() != nil:
	case !errors.Is(w.err, errHeld) && !errors.Is(w.err, errSilent):
		d.fail(check, "a continuous feed breaks: "+w.why(), feedAdvice)
	default:
		d.fail(check, "nothing of a continuous feed arrives while it lasts", "a proxy buffers or packs answers: turn that off (nginx: proxy_buffering off; gzip off for the server's paths)")
	}
}
