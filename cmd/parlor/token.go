package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
)

const tokenHelp = `Usage: parlor token add|list|rm [flags] [NAME|ID]

Keeps the access tokens of a running server's users: each is a random text for one app or device, good as a bearer token or in place of the user's password,
and can be revoked without touching the others.

  parlor token add NAME                  make a token for a user, and print it this once
  parlor token list [NAME]               print all tokens, or a user's, a token a line
  parlor token rm ID                     revoke a token or a device's key
  parlor token rm -user NAME             revoke all of a user

'parlor token add -h' and so on list the flags.
`

func (p *program) token(ctx context.Context, args []string) error {
	return p.choose(ctx, "token", tokenHelp, []action{
		{"add", (*program).tokenAdd},
		{"list", (*program).tokenList},
		{"rm", (*program).tokenRemove},
	}, args)
}

// accessToken is one as the server tells of it.
type accessToken struct {
	ID        string   `json:"id"`
	Type      string   `json:"type"`
	User      string   `json:"user"`
	Label     string   `json:"label"`
	Scopes    []string `json:"scopes"`
	Databases []string `json:"databases"`
	Expires   string   `json:"expires"`
	LastUsed  string   `json:"last_used"`
	Token     string   `json:"token"`
}

func (p *program) tokenAdd(ctx context.Context, args []string) error {
	f := newFlags("token add", "NAME", "Makes an access token for the user NAME and prints it. It is shown this once; the server keeps only a hash of it.")
	label := f.String("label", "", "what the token is for, such as the name of a device")
	readOnly := f.Bool("read-only", false, "it only reads")
	var databases list
	f.Var(&databases, "db", "a database that it is good for; may be given several times (default all that the user may enter)")
	days := f.Int("days", 0, "days after which it ends (default never)")
	at := f.server()
	args, err := f.parse(args, 1, 1)
	if err != nil {
		return err
	}
	if *days < 0 || f.given("days") && *days == 0 || *days > 36500 {
		return &usageError{"token add", false, "-days must be from 1 to 36500"}
	}
	c, err := p.client(at)
	if err != nil {
		return err
	}
	asked := struct {
		User      string   `json:"user"`
		Label     string   `json:"label,omitempty"`
		Scopes    []string `json:"scopes"`
		Databases []string `json:"databases,omitempty"`
		ExpiresIn int      `json:"expires_in,omitzero"`
	}{args[0], *label, []string{"read", "write"}, databases, *days * 24 * 3600}
	if *readOnly {
		asked.Scopes = asked.Scopes[:1]
	}
	body, err := json.Marshal(asked)
	if err != nil {
		return err
	}
	answer, err := c.get(ctx, http.MethodPost, "/_tokens", string(body))
	if err != nil {
		return err
	}
	var made accessToken
	if err := json.Unmarshal(answer, &made); err != nil {
		return err
	}
	fmt.Fprintf(p.stderr, "token %s made for %s; 'parlor token rm %[1]s' revokes it\n", made.ID, printable(made.User))
	_, err = fmt.Fprintln(p.stdout, made.Token)
	return err
}

func (p *program) tokenList(ctx context.Context, args []string) error {
	f := newFlags("token list", "[NAME]", `Prints tokens and device keys, a line each with tabs between: id, user, password or key, what it may do, databases (* for all), when it ends,
when it was last used, label. What is not known is -.`)
	c, args, err := p.asking(f, args, 0, 1)
	if err != nil {
		return err
	}
	query := url.Values{"limit": {"1000"}}
	if len(args) == 1 {
		query.Set("user", args[0])
	}
	for {
		answer, err := c.get(ctx, http.MethodGet, "/_tokens?"+query.Encode(), "")
		if err != nil {
			return err
		}
		var page struct {
			Tokens []accessToken `json:"tokens"`
			Next   string        `json:"next"`
		}
		if err := json.Unmarshal(answer, &page); err != nil {
			return err
		}
		for i := range page.Tokens {
			if _, err := fmt.Fprintln(p.stdout, page.Tokens[i].line()); err != nil {
				return err
			}
		}
		if page.Next == "" {
			return nil
		}
		query.Set("after", page.Next)
	}
}

// line is a token in a list.
func (t *accessToken) line() string {
	databases := "*"
	if len(t.Databases) > 0 {
		databases = strings.Join(t.Databases, ",")
	}
	known := func(text string) string {
		if text == "" {
			return "-"
		}
		return printable(text)
	}
	return strings.Join([]string{
		t.ID, printable(t.User), t.Type, strings.Join(t.Scopes, ","), databases, known(t.Expires), known(t.LastUsed), known(t.Label),
	}, "\t")
}

func (p *program) tokenRemove(ctx context.Context, args []string) error {
	f := newFlags("token rm", "[ID]", "Revokes a token or a device key, or with -user all of a user. What was signed in with it is cut off at once.")
	user := f.String("user", "", "the user whose tokens and device keys are all revoked")
	at := f.server()
	args, err := f.parse(args, 0, 1)
	if err != nil {
		return err
	}
	if (len(args) == 1) == (*user != "") {
		return &usageError{"token rm", false, "expected parlor token rm ID, or parlor token rm -user NAME"}
	}
	c, err := p.client(at)
	if err != nil {
		return err
	}
	path, what := "/_tokens?user="+url.QueryEscape(*user), "all tokens of "+printable(*user)
	if len(args) == 1 {
		path, what = "/_tokens/"+url.PathEscape(args[0]), "token "+strconv.Quote(args[0])
	}
	if _, err := c.get(ctx, http.MethodDelete, path, ""); err != nil {
		return err
	}
	fmt.Fprintf(p.stderr, "%s revoked\n", what)
	return nil
}
