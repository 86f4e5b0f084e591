package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
)

const vaultHelp = `Usage: parlor vault list|share|unshare|rm|undelete [flags] [VAULT]

Keeps the vaults of a running server: databases that belong to a user, such as alice-notes.

  parlor vault list                    print vaults, their owners, sizes and shares, a vault a line
  parlor vault share VAULT USER        let another user read and write a vault; with -read only read
  parlor vault unshare VAULT USER      end that
  parlor vault rm VAULT                delete a vault; a copy is kept for some days
  parlor vault list -deleted           print the copies that are kept
  parlor vault undelete VAULT          bring a deleted vault back; with -as under another name
  parlor vault rm -copy VAULT          remove the kept copy of a deleted vault for good

With -url, owners keep their own vaults so. 'parlor vault list -h' and so on list the flags.
`

func (p *program) vault(ctx context.Context, args []string) error {
	return p.choose(ctx, "vault", vaultHelp, []action{
		{"list", (*program).vaultList},
		{"share", (*program).vaultShare},
		{"unshare", (*program).vaultUnshare},
		{"rm", (*program).vaultRemove},
		{"undelete", (*program).vaultUndelete},
	}, args)
}

// listedVault is a vault, or the kept copy of one, in a list.
type listedVault struct {
	Name    string            `json:"name"`
	Owner   string            `json:"owner"` // "" for nobody
	Bytes   uint64            `json:"bytes"`
	Shares  map[string]string `json:"shares"`
	Deleted string            `json:"deleted"`
	Expires string            `json:"expires"`
}

func (p *program) vaultList(ctx context.Context, args []string) error {
	f := newFlags("vault list", "", `Prints the vaults, a line each, with tabs between: the name, the owner, the bytes, and with whom it is shared.
With -deleted the copies of deleted vaults: the name, the owner, the bytes, since when and until when they are kept.`)
	deleted := f.Bool("deleted", false, "deleted vaults whose copies are kept")
	user := f.String("user", "", "only those of this user, or shared with this user")
	c, _, err := p.asking(f, args, 0, 0)
	if err != nil {
		return err
	}
	query := url.Values{}
	if *deleted {
		query.Set("deleted", "true")
	}
	if *user != "" {
		query.Set("user", *user)
	}
	for {
		var page struct {
			Vaults []listedVault `json:"vaults"`
			Next   string        `json:"next"`
		}
		if err := c.ask(ctx, "/_vaults?"+query.Encode(), &page); err != nil {
			return err
		}
		for i := range page.Vaults {
			if _, err := fmt.Fprintln(p.stdout, page.Vaults[i].line(*deleted)); err != nil {
				return err
			}
		}
		if page.Next == "" {
			return nil
		}
		query.Set("after", page.Next)
	}
}

// line is what is printed of a vault.
func (v *listedVault) line(deleted bool) string {
	owner := "-"
	if v.Owner != "" {
		owner = printable(v.Owner)
	}
	line := fmt.Sprintf("%s\t%s\t%d\t", printable(v.Name), owner, v.Bytes)
	if deleted {
		return line + printable(v.Deleted) + "\t" + printable(v.Expires)
	}
	var shares []string
	for _, user := range slices.Sorted(maps.Keys(v.Shares)) {
		shares = append(shares, printable(user)+":"+printable(v.Shares[user]))
	}
	return line + strings.Join(shares, ",")
}

func (p *program) vaultShare(ctx context.Context, args []string) error {
	f := newFlags("vault share", "VAULT USER", "Lets another user read and write a vault. LiveSync needs both.")
	read := f.Bool("read", false, "let the user only read")
	return p.changeShare(ctx, f, args, func(c *client, path, vault, user string) error {
		access := map[bool]string{false: "write", true: "read"}[*read]
		answer, err := c.get(ctx, http.MethodPut, path, `{"access":"`+access+`"}`)
		if err != nil {
			return noVault(vault, err)
		}
		fmt.Fprintf(p.stderr, "%s is shared with %s\n", printable(vault), printable(user))
		var told struct {
			Exists *bool `json:"user_exists"` // for administrators alone
		}
		if err := json.Unmarshal(answer, &told); err != nil {
			return err
		}
		if told.Exists != nil && !*told.Exists {
			fmt.Fprintf(p.stderr, "there is no user %s yet; whoever gets that name has the vault\n", printable(user))
		}
		return nil
	})
}

func (p *program) vaultUnshare(ctx context.Context, args []string) error {
	f := newFlags("vault unshare", "VAULT USER", "Ends that a vault is shared with a user. Feeds of changes that the user has open are cut.")
	return p.changeShare(ctx, f, args, func(c *client, path, vault, user string) error {
		_, err := c.get(ctx, http.MethodDelete, path, "")
		var answer *answerError
		if errors.As(err, &answer) && answer.Kind == "not_shared" {
			return fmt.Errorf("%s is not shared with %s", printable(vault), printable(user))
		}
		if err != nil {
			return noVault(vault, err)
		}
		fmt.Fprintf(p.stderr, "%s is no longer shared with %s\n", printable(vault), printable(user))
		return nil
	})
}

// changeShare reads the arguments of a command about a vault and a user, and has the share at path changed.
func (p *program) changeShare(ctx context.Context, f *flags, args []string, change func(c *client, path, vault, user string) error) error {
	c, args, err := p.asking(f, args, 2, 2)
	if err != nil {
		return err
	}
	return change(c, "/"+pathSegment(args[0])+"/_vault/shares/"+pathSegment(args[1]), args[0], args[1])
}

// noVault says what to do about a vault that is not there.
func noVault(name string, err error) error {
	return unlessMissing(err, "there is no vault %s; 'parlor vault list' shows which there are", name)
}

// noCopy says what to do about a copy that is not there.
func noCopy(name string, err error) error {
	return unlessMissing(err, "no copy of %s is kept; 'parlor vault list -deleted' shows of which there are some", name)
}

// unlessMissing is err, or what the format says of a name when err is that the server has none.
func unlessMissing(err error, format, name string) error {
	var answer *answerError
	if errors.As(err, &answer) && answer.Status == http.StatusNotFound {
		return fmt.Errorf(format, printable(name))
	}
	return err
}

func (p *program) vaultRemove(ctx context.Context, args []string) error {
	f := newFlags("vault rm", "VAULT", `Deletes a vault. A copy of it is kept for as many days as [parlor_vaults] undelete_days says; 'parlor vault undelete' brings it back.
With -copy the kept copy of a vault that was deleted before is removed, for good.`)
	kept := f.Bool("copy", false, "remove the kept copy of a deleted vault, for good")
	c, args, err := p.asking(f, args, 1, 1)
	if err != nil {
		return err
	}
	name := args[0]
	if *kept {
		if _, err := c.get(ctx, http.MethodDelete, "/_vaults/"+pathSegment(name), ""); err != nil {
			return noCopy(name, err)
		}
		fmt.Fprintf(p.stderr, "the copy of %s is gone\n", printable(name))
		return nil
	}
	// What is no vault would be deleted for good.
	if _, err := c.get(ctx, http.MethodGet, "/"+pathSegment(name)+"/_vault", ""); err != nil {
		return noVault(name, err)
	}
	if _, err := c.get(ctx, http.MethodDelete, "/"+pathSegment(name), ""); err != nil {
		return err
	}
	fmt.Fprintf(p.stderr, "%s deleted; 'parlor vault list -deleted' shows how long it can be brought back\n", printable(name))
	return nil
}

func (p *program) vaultUndelete(ctx context.Context, args []string) error {
	f := newFlags("vault undelete", "VAULT", "Brings a deleted vault back, with its documents, shares and _security. Its devices sync with it again.")
	as := f.String("as", "", "another `name` for it, such as when there is a vault of the old name again")
	c, args, err := p.asking(f, args, 1, 1)
	if err != nil {
		return err
	}
	body, err := json.Marshal(struct {
		Action string `json:"action"`
		As     string `json:"as,omitempty"`
	}{"undelete", *as})
	if err != nil {
		return err
	}
	answer, err := c.get(ctx, http.MethodPost, "/_vaults/"+pathSegment(args[0]), string(body))
	var refusal *answerError
	if errors.As(err, &refusal) && refusal.Status == http.StatusPreconditionFailed {
		return fmt.Errorf("there is a database of that name; 'parlor vault undelete -as OTHER %s' brings the deleted one back beside it", printable(args[0]))
	}
	if err != nil {
		return noCopy(args[0], err)
	}
	var back listedVault
	if err := json.Unmarshal(answer, &back); err != nil {
		return err
	}
	fmt.Fprintf(p.stderr, "%s is back\n", printable(back.Name))
	return nil
}
