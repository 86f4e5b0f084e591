package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

const (
	fewSessions    = 100
	sessionsOfUser = 100
	keptInTurns    = 10_000 // sessions that the server remembers all of
	cookieOfNobody = "AuthSession=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
)

// manySessions measures how a session is looked up among a few and among many: one again and again, as many in turns as the server remembers, and all of them
// in turns, most of which it must read each time.
func (b *bench) manySessions(ctx context.Context) error {
	few, err := b.makeSessions(ctx, 0, fewSessions)
	if err != nil {
		return err
	}
	if err := b.lookUp(ctx, few, 1, fewSessions); err != nil {
		return err
	}
	more, err := b.makeSessions(ctx, fewSessions, b.sessions-fewSessions)
	if err != nil {
		return err
	}
	many := append(few, more...)
	stored, err := b.srv.Memory("VmRSS")
	if err != nil {
		return err
	}
	b.t.memory(fmt.Sprintf("%d sessions stored", len(many)), stored, 300)
	// Once a minute it is noted that a session is in use, which is a write. All of these are younger when they are looked up for the first time.
	if err := b.lookUp(ctx, many, len(many), min(keptInTurns, len(many)), 1); err != nil {
		return err
	}
	stranger := session(fmt.Sprintf("%d stored, a cookie of nobody's", len(many)), "Cookie: "+cookieOfNobody)
	stranger.nobody, stranger.target = true, 0
	if err := b.compare(ctx, stranger); err != nil {
		return err
	}
	used, err := b.srv.Memory("VmRSS")
	if err != nil {
		return err
	}
	b.t.memory("after all of them were used", used, 300)
	most, err := b.srv.Memory("VmHWM")
	if err != nil {
		return err
	}
	b.t.memory("the most at any moment", most, 300)
	return nil
}

// makeSessions trades tokens of an issuer's users for n sessions, and returns their cookies. The users are numbered from the one of the session numbered from.
func (b *bench) makeSessions(ctx context.Context, from, n int) ([]string, error) {
	tokens := make([]string, (n+sessionsOfUser-1)/sessionsOfUser)
	for i := range tokens {
		var err error
		if tokens[i], err = b.keys.issuer.mint("ES256", "user-"+strconv.Itoa(from/sessionsOfUser+i), "session"); err != nil {
			return nil, err
		}
	}
	cookies := make([]string, n)
	rate, err := spread(n, func(i int) (err error) {
		cookies[i], err = b.c.newSession(ctx, tokens[i/sessionsOfUser], "")
		return err
	})
	if err == nil {
		b.t.figure(fmt.Sprintf("making %d sessions with POST /_session", n), rate, "sessions/s", 0, false)
	}
	return cookies, err
}

// lookUp drives the servers with the first so many of the sessions, in turns, for each number.
func (b *bench) lookUp(ctx context.Context, cookies []string, inTurns ...int) error {
	for _, n := range inTurns {
		file := filepath.Join(b.wrk.dir, "cookies")
		if err := os.WriteFile(file, []byte(strings.Join(cookies[:n], "\n")+"\n"), 0o600); err != nil {
			return err
		}
		l := session(fmt.Sprintf("%d sessions stored, %d in turns", len(cookies), n), "Cookie: "+cookies[0])
		l.turns, l.script, l.target = file, turnsScript, 0
		if err := b.compare(ctx, l); err != nil {
			return err
		}
	}
	return nil
}
