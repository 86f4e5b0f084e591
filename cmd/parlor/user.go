package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"unicode"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

const userHelp = `Usage: parlor user add|passwd|list|rm [flags] [NAME]

Keeps the users of a running server, in its _users database.

  parlor user add NAME [-role ROLE]...   make a user
  parlor user passwd NAME                give a user another password
  parlor user list                       print names and roles, a user a line
  parlor user rm NAME                    remove a user; what the user wrote stays

Passwords come from a prompt, from standard input, or from PARLOR_PASSWORD. 'parlor user add -h' and so on list the flags.
`

func (p *program) user(ctx context.Context, args []string) error {
	return p.choose(ctx, "user", userHelp, []action{
		{"add", (*program).userAdd},
		{"passwd", (*program).userPasswd},
		{"list", (*program).userList},
		{"rm", (*program).userRemove},
	}, args)
}

// userID is the id of a user's document; userPath is where it is.
const userID = "org.couchdb.user:"

func userPath(name string) string {
	return "/_users/" + pathSegment(userID+name)
}

func (p *program) userAdd(ctx context.Context, args []string) error {
	f := newFlags("user add", "NAME", "Makes a user.")
	var roles list
	f.Var(&roles, "role", "a role of the user; may be given several times")
	c, args, err := p.asking(f, args, 1, 1)
	if err != nil {
		return err
	}
	name := args[0]
	secret, err := p.secret("Password of " + printable(name))
	if err != nil {
		return err
	}
	if roles == nil {
		roles = list{}
	}
	doc, err := json.Marshal(struct {
		Name     string   `json:"name"`
		Type     string   `json:"type"`
		Roles    []string `json:"roles"`
		Password string   `json:"password"`
	}{name, "user", roles, secret})
	if err != nil {
		return err
	}
	_, err = c.get(ctx, http.MethodPut, userPath(name), string(doc))
	var answer *answerError
	if errors.As(err, &answer) && answer.Status == http.StatusConflict {
		return fmt.Errorf("the user %s exists; 'parlor user passwd' gives another password", printable(name))
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(p.stderr, "user %s added\n", printable(name))
	return nil
}

func (p *program) userPasswd(ctx context.Context, args []string) error {
	f := newFlags("user passwd", "NAME", "Gives a user another password. Sessions that began with the old one end.")
	c, name, doc, err := p.namedUser(ctx, f, args)
	if err != nil {
		return err
	}
	secret, err := p.secret("New password of " + printable(name))
	if err != nil {
		return err
	}
	if doc, err = withPassword(doc, secret); err != nil {
		return err
	}
	if _, err := c.get(ctx, http.MethodPut, userPath(name), string(doc)); err != nil {
		return err
	}
	fmt.Fprintf(p.stderr, "user %s has another password\n", printable(name))
	return nil
}

// namedUser reads the arguments of a command about one user, and the user's document from the server.
func (p *program) namedUser(ctx context.Context, f *flags, args []string) (c *client, name string, doc jsontext.Value, err error) {
	if c, args, err = p.asking(f, args, 1, 1); err != nil {
		return nil, "", nil, err
	}
	doc, err = c.userDoc(ctx, args[0])
	return c, args[0], doc, err
}

// withPassword appends the member password to a user's document, which is otherwise kept as it is. The server takes the hash out, and the last of
// two members of a name.
func withPassword(doc jsontext.Value, secret string) (jsontext.Value, error) {
	quoted, err := jsontext.AppendQuote(nil, secret)
	if err != nil {
		return nil, errors.New("the password is not UTF-8")
	}
	doc, ok := bytes.CutSuffix(bytes.TrimSpace(doc), []byte("}"))
	if !ok {
		return nil, errors.New("the server's answer is no document")
	}
	doc = append(bytes.Clone(doc), `,"password":`...)
	return append(append(doc, quoted...), '}'), nil
}

func (p *program) userRemove(ctx context.Context, args []string) error {
	f := newFlags("user rm", "NAME", "Removes a user. What the user wrote stays.")
	c, name, doc, err := p.namedUser(ctx, f, args)
	if err != nil {
		return err
	}
	var meta struct {
		Rev string `json:"_rev"`
	}
	if err := json.Unmarshal(doc, &meta, jsontext.AllowDuplicateNames(true)); err != nil {
		return err
	}
	if _, err := c.get(ctx, http.MethodDelete, userPath(name)+"?rev="+url.QueryEscape(meta.Rev), ""); err != nil {
		return err
	}
	fmt.Fprintf(p.stderr, "user %s removed\n", printable(name))
	return nil
}

// userDoc returns a user's document.
func (c *client) userDoc(ctx context.Context, name string) (jsontext.Value, error) {
	doc, err := c.get(ctx, http.MethodGet, userPath(name), "")
	var answer *answerError
	if errors.As(err, &answer) && answer.Status == http.StatusNotFound {
		return nil, fmt.Errorf("there is no user %s; 'parlor user list' shows who there is", printable(name))
	}
	return doc, err
}

// userPage is how many users are asked for at a time.
const userPage = 1000

func (p *program) userList(ctx context.Context, args []string) error {
	f := newFlags("user list", "", "Prints the users, a line each: the name, a tab, the roles with commas between.")
	c, _, err := p.asking(f, args, 0, 0)
	if err != nil {
		return err
	}
	from, skip := userID, 0
	for {
		page, err := c.userPage(ctx, from, skip)
		if err != nil {
			return err
		}
		for _, row := range page {
			name := strings.TrimPrefix(row.ID, userID)
			roles := make([]string, len(row.Doc.Roles))
			for i, role := range row.Doc.Roles {
				roles[i] = printable(role)
			}
			if _, err := fmt.Fprintf(p.stdout, "%s\t%s\n", printable(name), strings.Join(roles, ",")); err != nil {
				return err
			}
		}
		if len(page) < userPage {
			return nil
		}
		from, skip = page[len(page)-1].ID, 1
	}
}

type userRow struct {
	ID  string `json:"id"`
	Doc struct {
		Roles []string `json:"roles"`
	} `json:"doc"`
}

func (c *client) userPage(ctx context.Context, from string, skip int) ([]userRow, error) {
	start, err := jsontext.AppendQuote(nil, from)
	if err != nil {
		return nil, err
	}
	query := url.Values{
		"startkey":     {string(start)},
		"endkey":       {`"org.couchdb.user;"`}, // the byte after ":" is ";"
		"limit":        {strconv.Itoa(userPage)},
		"skip":         {strconv.Itoa(skip)},
		"include_docs": {"true"},
	}
	answer, err := c.get(ctx, http.MethodGet, "/_users/_all_docs?"+query.Encode(), "")
	if err != nil {
		return nil, err
	}
	var page struct {
		Rows []userRow `json:"rows"`
	}
	err = json.Unmarshal(answer, &page, jsontext.AllowDuplicateNames(true))
	return page.Rows, err
}

// printable quotes what would confuse a terminal or the reader of a list.
func printable(s string) string {
	if s == "" || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }) {
		return strconv.Quote(s)
	}
	return s
}
