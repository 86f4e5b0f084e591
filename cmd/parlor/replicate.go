package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/parlordb/parlor/replicate"
)

const replicateHelp = `Copies the database SOURCE into TARGET: every document with its conflicts, deletions and attachments, and the _local documents, where
Obsidian's LiveSync keeps the salt of a vault's key. Each is a URL of a database on CouchDB, PouchDB Server or Parlor, or the bare name of
a database of the server of the data directory. A copy that was interrupted goes on where it was; one that is repeated copies what is new.

  parlor replicate -create-target -owner alice https://admin@old.example.org:6984/notes alice-notes

A database that is to be a user's vault is one from the start, with -owner: vaults take documents that are too large for other databases.

The password of a user without one in the URL is taken from PARLOR_SOURCE_PASSWORD or PARLOR_TARGET_PASSWORD, or asked for. Instead of a user,
PARLOR_SOURCE_TOKEN or PARLOR_TARGET_TOKEN may hold an access token. The exit code is 1 when a document was refused;
the next run tries it again.`

func (p *program) replicate(ctx context.Context, args []string) error {
	f := newFlags("replicate", "SOURCE TARGET", replicateHelp)
	create := f.Bool("create-target", false, "make the target when it is not there")
	owner := f.String("owner", "", "the user whose vault the target is, and is made as")
	continuous := f.Bool("continuous", false, "go on with changes as they come, until interrupted")
	noLocal := f.Bool("no-local", false, "leave the _local documents out")
	security := f.Bool("security", false, "copy who may read and write the database too, over what the target says")
	data := f.String("data", defaultData, "the data directory of the server that a bare name is a database of")
	args, err := f.parse(args, 2, 2)
	if err != nil {
		return err
	}
	o := replicate.Options{CreateTarget: *create, Owner: *owner, Continuous: *continuous, LocalAll: !*noLocal, Security: *security}
	if o.Source, err = p.peer("source", args[0], *data); err != nil {
		return err
	}
	if o.Target, err = p.peer("target", args[1], *data); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	show := newReplicationShow(p.stderr)
	o.OnProgress, o.OnRefused, o.OnRetry = show.progress, show.refused, show.retry
	result, err := replicate.Replicate(ctx, o)
	show.end()
	return p.replicated(ctx, result, err, *continuous)
}

// peer is a database that a command line names.
func (p *program) peer(side, name, data string) (replicate.Peer, error) {
	if !strings.Contains(name, "://") {
		if name == "" || strings.ContainsAny(name, ":@?#") {
			// It may hold a password, so it is not repeated.
			return replicate.Peer{}, fmt.Errorf("the %s is neither a URL, as http://HOST:PORT/DATABASE, nor the name of a database of this machine's server", side)
		}
		c, err := socketClient(filepath.Join(data, socketName))
		if err != nil {
			return replicate.Peer{}, err
		}
		return replicate.Peer{URL: c.base.String() + "/" + url.PathEscape(name), Client: c.http}, nil
	}
	u, err := url.Parse(name)
	if err != nil {
		return replicate.Peer{}, fmt.Errorf("the %s's URL is not of the form http://HOST:PORT/DATABASE", side)
	}
	env := "PARLOR_" + strings.ToUpper(side)
	peer := replicate.Peer{URL: name}
	if u.User == nil {
		peer.Token = p.getenv(env + "_TOKEN")
		return peer, nil
	}
	peer.User = u.User.Username()
	var given bool
	if peer.Password, given = u.User.Password(); given {
		return peer, nil
	}
	peer.Password, err = p.known(env+"_PASSWORD", fmt.Sprintf("Password of %s at the %s", printable(peer.User), side))
	return peer, err
}

// known reads a password that exists already: from the environment, else by a prompt, else the first line of standard input.
func (p *program) known(env, what string) (string, error) {
	if s := p.getenv(env); s != "" {
		return s, nil
	}
	fd := int(p.stdin.Fd())
	if term.IsTerminal(fd) {
		return p.prompt(fd, what+": ")
	}
	s, err := firstLine(p.stdin)
	if err != nil {
		return "", fmt.Errorf("%s is needed: set %s, or write it to standard input", strings.ToLower(what[:1])+what[1:], env)
	}
	return s, nil
}

// replicated tells what a run has done, and returns why the command fails.
func (p *program) replicated(ctx context.Context, result replicate.Result, err error, continuous bool) error {
	if result.Checked > 0 || result.Local > 0 || result.Created || err == nil {
		p.summary(result)
	}
	var answer *replicate.AnswerError
	switch {
	case errors.Is(err, context.Canceled) && ctx.Err() != nil && continuous:
	case errors.Is(err, context.Canceled) && ctx.Err() != nil:
		return errors.New("interrupted; the same command goes on from here")
	case errors.Is(err, replicate.ErrNoTarget):
		return errors.New("there is no such database at the target; -create-target makes it")
	case errors.Is(err, replicate.ErrOwner):
		return fmt.Errorf("%w; copy into another name, or have an administrator give it to the owner by PUT /DATABASE/_vault", err)
	case errors.As(err, &answer) && answer.Status == http.StatusUnauthorized:
		return fmt.Errorf("%w; is the password right? Name a user as in http://USER@HOST:PORT/DATABASE, with the password in PARLOR_%s_PASSWORD", err, strings.ToUpper(answer.Side))
	case errors.As(err, &answer) && answer.Status == http.StatusForbidden:
		return fmt.Errorf("%w; the user may sign in, but has no right to this at the %s", err, answer.Side)
	case err != nil:
		return err
	}
	if result.Refused > 0 {
		return fmt.Errorf("documents that were refused are not in the target: %d; the same command tries them again", result.Refused)
	}
	return nil
}

func (p *program) summary(result replicate.Result) {
	if result.Created {
		fmt.Fprintln(p.stderr, "the target was made")
	}
	if result.Resumed {
		fmt.Fprintln(p.stderr, "went on from where an earlier copy had come")
	}
	fmt.Fprintf(p.stdout, "revisions %d\ndeletions %d\nconflicts %d\nattachments %d\nattachment-bytes %d\nlocal %d\nrefused %d\n",
		result.Written, result.Deletions, result.Conflicts, result.Attachments, result.AttachmentBytes, result.Local, result.Refused)
	for _, id := range result.LocalKept {
		fmt.Fprintf(p.stderr, "the target has its own %s, which was kept\n", printable(id))
	}
	if result.ReadOnly {
		fmt.Fprintln(p.stderr, "the source takes no checkpoint from this user: the next copy compares everything again")
	}
}

// maxToldRefusals is how many refused documents are named.
const maxToldRefusals = 100

// replicationShow shows how far a replication is: a bar on a terminal, else a line now and then.
type replicationShow struct {
	to   io.Writer
	bar  *progressbar.ProgressBar // nil: lines
	last time.Time                // of the last line
	told int                      // refusals
}

const progressLine = 5 * time.Second // between lines

func newReplicationShow(stderr io.Writer) *replicationShow {
	s := &replicationShow{to: stderr, last: time.Now()}
	if f, ok := stderr.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		s.bar = progressbar.NewOptions64(-1, progressbar.OptionSetWriter(stderr), progressbar.OptionSetDescription("copying"),
			progressbar.OptionShowCount(), progressbar.OptionSetItsString("changes"), progressbar.OptionShowIts(), progressbar.OptionThrottle(100*time.Millisecond),
			progressbar.OptionFullWidth(), progressbar.OptionClearOnFinish())
	}
	return s
}

func (s *replicationShow) progress(at replicate.Progress) {
	if s.bar != nil {
		if at.Total > 0 && s.bar.GetMax64() != max(at.Total, at.Checked) {
			s.bar.ChangeMax64(max(at.Total, at.Checked))
		}
		_ = s.bar.Set64(at.Checked)
		return
	}
	if time.Since(s.last) < progressLine {
		return
	}
	s.last = time.Now()
	of := ""
	if at.Total > 0 {
		of = fmt.Sprintf(" of %d (%d %%)", at.Total, int(math.Floor(100*float64(at.Checked)/float64(max(at.Total, at.Checked)))))
	}
	fmt.Fprintf(s.to, "%d changes%s done, %d revisions and %d attachments written\n", at.Checked, of, at.Written, at.Attachments)
}

func (s *replicationShow) refused(r replicate.Refusal) {
	if s.told++; s.told > maxToldRefusals {
		return
	}
	s.line("refused: %s %s: %s: %s\n", printable(r.ID), r.Rev, printable(r.Kind), printable(r.Reason))
	if s.told == maxToldRefusals {
		s.line("further refused documents are only counted\n")
	}
}

func (s *replicationShow) retry(err error, pause time.Duration) {
	s.line("%v; trying again in %s\n", err, pause.Round(100*time.Millisecond))
}

// line writes a line where the bar is.
func (s *replicationShow) line(format string, values ...any) {
	if s.bar != nil {
		_ = s.bar.Clear()
	}
	fmt.Fprintf(s.to, format, values...)
}

func (s *replicationShow) end() {
	if s.bar != nil {
		_ = s.bar.Finish()
	}
}
