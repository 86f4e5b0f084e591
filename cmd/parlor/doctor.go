package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

const doctorHelp = `Tries what Obsidian's LiveSync on a phone or a computer would do, at a server of CouchDB or Parlor, and says for each thing whether it
works, what is wrong and what to do. URL is the server's, as in LiveSync's settings, without the vault. What needs a vault writes a
scratch _local document there, which is never synced, and removes it.

  parlor doctor https://sync.example.org -user alice -vault alice-notes

The password is taken from PARLOR_PASSWORD, asked for, or read from standard input; PARLOR_TOKEN may hold a bearer token instead. Users of
'parlor livesync add' have none but those of devices: 'parlor token add alice -db alice-notes -days 1' makes one for the purpose. The
exit code is 1 when something failed, and 0 when there are warnings alone.`

func (p *program) doctor(ctx context.Context, args []string) error {
	f := newFlags("doctor", "URL", doctorHelp)
	user := f.String("user", "", "the user that a device signs in as; without one, what needs a user is left out")
	vault := f.String("vault", "", "the vault's database; without one, what needs a vault is left out")
	quick := f.Bool("quick", false, "hold the long poll for 5 seconds, not for 65: proxies that cut it later are not found")
	asJSON := f.Bool("json", false, "print the findings as JSON")
	args, err := f.parse(args, 1, 1)
	if err != nil {
		return err
	}
	d, err := p.newDoctor(args[0], *user, *vault)
	if err != nil {
		return err
	}
	if *quick {
		d.hold, d.heartbeat = 5*time.Second, time.Second
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	if !*asJSON {
		d.told = func(at finding) { p.tell(at) }
		if d.vault != "" && !*quick {
			fmt.Fprintf(p.stderr, "this takes a little more than %s; -quick is quicker\n", d.hold)
		}
	}
	d.examine(ctx)
	if err := ctx.Err(); err != nil {
		return errors.New("interrupted")
	}
	if *asJSON {
		if err := p.tellJSON(d); err != nil {
			return err
		}
	}
	if d.failed() {
		return errFound
	}
	return nil
}

// newDoctor reads what the command line and the environment say of a server.
func (p *program) newDoctor(raw, user, vault string) (*doctor, error) {
	base, err := url.Parse(raw)
	if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" || base.RawQuery != "" || base.Fragment != "" {
		// The URL may hold a password, so it is not repeated.
		return nil, errors.New("the server's URL is not of the form https://HOST")
	}
	d := &doctor{
		base: base, user: user, vault: vault, token: p.getenv("PARLOR_TOKEN"), now: time.Now,
		hold: 65 * time.Second, heartbeat: 30 * time.Second, grace: 15 * time.Second, patience: 30 * time.Second,
	}
	given := false
	if base.User != nil {
		d.user = base.User.Username()
		d.password, given = base.User.Password()
		base.User = nil
	}
	base.Path = strings.TrimRight(base.Path, "/")
	if d.user != "" && !given && d.token == "" {
		if d.password, err = p.known("PARLOR_PASSWORD", "Password of "+printable(d.user)); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// status is what became of a check.
type status string

const (
	isOK      status = "ok"
	isWarning status = "warning" // it works, but not as well or as safely as it could
	isFailed  status = "failed"
	isSkipped status = "skipped" // what it needs was not given, or has failed
)

// finding is what came of one check.
type finding struct {
	Check  string `json:"check"`
	Status status `json:"status"`
	Found  string `json:"found"`            // what is so
	Advice string `json:"advice,omitempty"` // what to do about it
}

// doctor examines one server as a device of a user would meet it.
type doctor struct {
	base     *url.URL // without user info and without a slash at the end
	user     string
	password string
	token    string // a bearer token, over the password
	vault    string // "": none

	now       func() time.Time
	hold      time.Duration // how long the long poll is to be held
	heartbeat time.Duration // that is asked for
	grace     time.Duration // by which a heartbeat may be late
	patience  time.Duration // for any other answer

	transport *http.Transport // nil: one of its own
	told      func(finding)   // may be nil
	findings  []finding

	http *http.Client
}

func (d *doctor) note(check string, s status, found, advice string) {
	at := finding{check, s, found, advice}
	d.findings = append(d.findings, at)
	if d.told != nil {
		d.told(at)
	}
}

func (d *doctor) ok(check, found string)           { d.note(check, isOK, found, "") }
func (d *doctor) warn(check, found, advice string) { d.note(check, isWarning, found, advice) }
func (d *doctor) fail(check, found, advice string) { d.note(check, isFailed, found, advice) }
func (d *doctor) skip(check, found string)         { d.note(check, isSkipped, found, "") }

func (d *doctor) failed() bool {
	for _, at := range d.findings {
		if at.Status == isFailed {
			return true
		}
	}
	return false
}

// examine makes all checks, in the order in which a device depends on them. No password is sent before the server's certificate is found good.
func (d *doctor) examine(ctx context.Context) {
	d.client()
	defer d.http.CloseIdleConnections()
	d.checkAddress()
	if !d.checkReach(ctx) {
		return
	}
	d.checkCORS(ctx)
	if !d.checkSignIn(ctx) || !d.checkVault(ctx) {
		return
	}
	d.checkSignedInCORS(ctx)
	d.checkConfig(ctx)
	if d.checkWrite(ctx) {
		d.checkLocal(ctx)
		d.checkLargeBody(ctx)
	} else {
		// A reader may make _local documents, the checkpoints of replicators, and not remove them.
		d.skip("_local", "this user may not write to the vault")
		d.skip("large body", "this user may not write to the vault")
	}
	d.checkStreaming(ctx)
	d.checkLongPoll(ctx)
}

// tell prints a finding for people.
func (p *program) tell(at finding) {
	w := tabwriter.NewWriter(p.stdout, 10, 0, 1, ' ', 0)
	fmt.Fprintf(w, "%s\t%s: %s\n", at.Status, at.Check, printable(at.Found))
	if at.Advice != "" {
		fmt.Fprintf(w, "\t→ %s\n", at.Advice)
	}
	w.Flush()
}

func (p *program) tellJSON(d *doctor) error {
	text, err := json.Marshal(struct {
		URL      string    `json:"url"`
		OK       bool      `json:"ok"`
		Findings []finding `json:"findings"`
	}{d.base.String(), !d.failed(), d.findings}, jsontext.Multiline(true), jsontext.AllowInvalidUTF8(true))
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(p.stdout, "%s\n", text)
	return err
}
