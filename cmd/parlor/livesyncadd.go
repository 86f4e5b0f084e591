package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/parlordb/parlor/livesync"
)

const livesyncAddHelp = `Gives a device its way into a vault. Makes the user, without a password, and the vault when they are not there yet; makes the device a
credential of its own, for this vault alone; and prints a Setup URI with everything in it, its passphrase, and, on a terminal, a QR code of it.
In the plugin choose "Use a Setup URI", or scan the code with the phone's camera, and type the passphrase.

The first device of a new vault also gets the passphrase that the vault is encrypted with from end to end. It is printed once and the server never
learns it: keep it, for without it nobody can read the vault. For every further device it is asked for, by a prompt or on standard input, or taken
from PARLOR_VAULT_PASSPHRASE, or from an earlier Setup URI of this vault with -from.

The URI, the passphrases and the code go to standard output, and everything else to standard error.`

// newDevice is what 'parlor livesync add' is told.
type newDevice struct {
	user, owner, vault, label string
	algorithm                 string // of the device's key; "" for a password
	lifetime                  time.Duration
	publicURL                 string
	qr                        qrFlags
	from                      string
}

func parseNewDevice(args []string) (*newDevice, serverFlags, error) {
	d := new(newDevice)
	f := newFlags("livesync add", "", livesyncAddHelp)
	f.StringVar(&d.user, "user", "", "the user whose device it is")
	f.StringVar(&d.vault, "vault", "", "the vault, in lower-case letters, digits and _$()+-; not needed where [parlor_vaults] pattern gives each user one")
	f.StringVar(&d.owner, "owner", "", "the owner of the vault, when it is shared with the user; without it the user")
	f.StringVar(&d.label, "device", "", "what the device is called in lists, such as \"Alice's phone\"")
	kind := f.String("auth", "password", "what the device signs in with: password, the simplest, or a key for "+strings.Join(livesync.Algorithms(), ", "))
	expires := f.String("expires", "", "how long it may do so, such as 90d or 12h; without it until it is revoked")
	f.StringVar(&d.publicURL, "public-url", "", "the server's URL for devices; without it [parlor] public_url")
	f.BoolVar(&d.qr.text, "qr", false, "print the QR code though standard output is no terminal, or is a narrow one")
	f.BoolVar(&d.qr.none, "no-qr", false, "print no QR code")
	f.StringVar(&d.qr.file, "png", "", "write the QR code as a picture to this new `FILE`, instead of printing it")
	f.StringVar(&d.from, "from", "", "take the vault's passphrase and settings from an earlier Setup URI of it, in this `FILE`, or - for a prompt or standard input")
	at := f.server()
	if _, err := f.parse(args, 0, 0); err != nil {
		return nil, at, err
	}
	if d.owner == "" {
		d.owner = d.user
	}
	if *kind != "password" {
		d.algorithm = *kind
	}
	var err error
	if *expires != "" {
		d.lifetime, err = parseLifetime(*expires)
	}
	if err == nil {
		err = d.check()
	}
	if err != nil {
		return nil, at, &usageError{f.Name(), false, err.Error()}
	}
	return d, at, nil
}

// vaultName is what a vault may be called: what may follow in a database's name, but for the "/" that LiveSync takes for a path's.
var vaultName = regexp.MustCompile(`^[a-z0-9_$()+-]+$`)

// maxLabel is how long a credential's label may be, in bytes.
const maxLabel = 256

func (d *newDevice) check() error {
	switch {
	case d.user == "":
		return errors.New("-user is missing")
	case d.vault != "" && !vaultName.MatchString(d.vault):
		return fmt.Errorf("-vault %q is no name for a vault: take lower-case letters, digits and _$()+-", d.vault)
	case strings.TrimSpace(d.label) == "":
		return errors.New("-device is missing: say what the device is called, so that it can be told apart when it is lost")
	case len(d.label) > maxLabel:
		return fmt.Errorf("-device is longer than %d bytes", maxLabel)
	case d.qr.text && d.qr.none:
		return errors.New("-qr and -no-qr cannot both be meant")
	case d.algorithm != "":
		return livesync.CheckDevice(d.user, d.algorithm)
	}
	return nil
}

// parseLifetime is time.ParseDuration with days, as 90d.
func parseLifetime(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if number, ok := strings.CutSuffix(text, "d"); ok {
		var days int
		days, err = strconv.Atoi(number)
		d = time.Duration(days) * 24 * time.Hour
		if days > 36500 {
			err = strconv.ErrRange
		}
	}
	if err != nil || d < time.Second {
		return 0, fmt.Errorf("-expires %q is no time such as 90d or 12h", text)
	}
	return d, nil
}

func (p *program) livesyncAdd(ctx context.Context, args []string) error {
	d, at, err := parseNewDevice(args)
	if err != nil {
		return err
	}
	c, err := p.client(at)
	if err != nil {
		return err
	}
	server, err := p.deviceServer(ctx, c, d.publicURL)
	if err != nil {
		return err
	}
	found, err := c.lookForVault(ctx, d)
	if err != nil {
		return err
	}
	vault, err := p.vaultOf(d, found, server)
	if err != nil {
		return err
	}
	// Whatever can fail before there is a credential does so now.
	out := &handout{server: server, vault: vault, fresh: !found.used}
	if out.picture, err = d.qr.newPicture(); err != nil {
		return err
	}
	if out.picture != nil {
		defer out.picture.Close()
	}
	if err = p.addDevice(ctx, c, d, found, out); err != nil && out.picture != nil {
		os.Remove(d.qr.file)
	}
	return err
}

// addDevice makes what is missing, and a credential, and hands it out. When that fails, the credential is revoked: nobody has it. The user and the vault stay,
// and are found when the command runs again.
func (p *program) addDevice(ctx context.Context, c *client, d *newDevice, found *foundVault, out *handout) error {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	if !found.userExists {
		if err := c.addPasswordless(ctx, d.user); err != nil {
			return err
		}
		fmt.Fprintf(p.stderr, "user %s added, without a password: only devices sign in\n", printable(d.user))
	}
	if !found.exists || found.unowned {
		if err := c.addVault(ctx, found, d.owner); err != nil {
			return err
		}
		fmt.Fprintf(p.stderr, "vault %s %s\n", found.database, map[bool]string{false: "added", true: "given to " + printable(d.owner)}[found.exists])
	}
	device, id, err := c.addCredential(ctx, d, found)
	if err != nil {
		return err
	}
	device.Server, device.Name = out.server, cmp.Or(d.vault, found.database)+" on "+hostOf(out.server)
	if err = p.handOut(d, device, out); err == nil {
		err = ctx.Err() // interrupted: what was printed is of no use then
	}
	if err != nil {
		return errors.Join(err, c.revoke(ctx, id))
	}
	fmt.Fprintf(p.stderr, "%s has the credential %s; 'parlor token rm %s' ends it\n", printable(d.label), id, id)
	p.nextSteps(out)
	return nil
}

// nextSteps says what the user does now.
func (p *program) nextSteps(out *handout) {
	switch {
	case out.fresh && out.vault.Passphrase != "":
		fmt.Fprint(p.stderr, `Keep the passphrase of the vault, in a password manager or on paper: further devices need it, and the server does not have it.
This is the vault's first device: when the plugin asks, it sets up a new server, or "rebuilds".
`)
	default:
		fmt.Fprint(p.stderr, "The vault has other devices: when the plugin asks, this one joins, or \"fetches\".\n")
	}
}

// deviceServer is the server's URL for devices.
func (p *program) deviceServer(ctx context.Context, c *client, given string) (string, error) {
	if given == "" {
		answer, err := c.setting(ctx, "parlor", "public_url")
		if err != nil {
			return "", err
		}
		given = answer
	}
	if given == "" {
		return "", errors.New("the server does not know its URL for devices; start it with 'parlor serve -public-url https://HOST', or give it here with -public-url")
	}
	u, err := livesync.CheckServer(given)
	if err != nil {
		return "", err
	}
	if u.Scheme == "https" {
		return u.String(), nil
	}
	if !isPrivate(u.Hostname()) {
		return "", fmt.Errorf("the server's URL for devices is %s: over the internet the notes' credentials need https; docs/livesync.md says how to get it", u)
	}
	risk := "everyone in this network can read the device's credential"
	if isLoopback(u.Hostname()) {
		risk = "no other device reaches this one"
	}
	fmt.Fprintf(p.stderr, "warning: the server's URL for devices is %s. Phones sync over https only, and %s\n", u, risk)
	return u.String(), nil
}

// isPrivate reports whether a host is this machine, or one of a private network.
func isPrivate(host string) bool {
	ip := net.ParseIP(host)
	return isLoopback(host) || strings.HasSuffix(host, ".local") || ip != nil && (ip.IsPrivate() || ip.IsLinkLocalUnicast())
}

// hostOf is the host of a URL, which may hold a password; "" for what is no URL.
func hostOf(server string) string {
	u, err := url.Parse(server)
	if err != nil {
		return ""
	}
	return strings.ToLower(u.Host)
}

// setting reads a setting of the server; "" when it is not set.
func (c *client) setting(ctx context.Context, section, key string) (value string, err error) {
	err = c.ask(ctx, "/_node/_local/_config/"+url.PathEscape(section)+"/"+url.PathEscape(key), &value)
	if isStatus(err, http.StatusNotFound) {
		return "", nil
	}
	return value, err
}

// isStatus reports whether err is an answer of a status.
func isStatus(err error, status int) bool {
	var answer *answerError
	return errors.As(err, &answer) && answer.Status == status
}

// vaultOf is the vault as its devices have it: a new one, or the one that the other devices share.
func (p *program) vaultOf(d *newDevice, found *foundVault, server string) (livesync.Vault, error) {
	switch {
	case d.from != "":
		vault, err := p.earlierVault(d, found, server)
		if err != nil {
			return vault, fmt.Errorf("-from: %w", err)
		}
		return vault, nil
	case !found.used:
		return livesync.NewVault(found.database, livesync.VaultPassphrase()), nil
	}
	fmt.Fprintf(p.stderr, "the vault %s has devices or documents already: this device needs the passphrase that was printed for the first of them.\n"+
		"Should that one never have synced, revoke what 'parlor token list' shows of the vault, and it gets a new passphrase\n", found.database)
	passphrase, err := p.known(vaultPassphraseEnv, "Passphrase of the vault "+found.database)
	if err != nil {
		return livesync.Vault{}, fmt.Errorf("%w; or take it from an earlier Setup URI with -from", err)
	}
	return livesync.NewVault(found.database, passphrase), nil
}

// earlierVault is the vault of an earlier Setup URI. One of another server or database may be of the same vault before it moved or was undeleted; whether it
// is nobody but the user knows. Of such a URI too the passphrase and the tuning are taken, and nothing else.
func (p *program) earlierVault(d *newDevice, found *foundVault, server string) (livesync.Vault, error) {
	settings, err := p.setupSettings(d.from)
	if err != nil {
		return livesync.Vault{}, err
	}
	vault, err := livesync.VaultOf(settings)
	if err != nil {
		return vault, err
	}
	if was, is := hostOf(vault.Server), hostOf(server); was != is || vault.Database != found.database {
		fmt.Fprintf(p.stderr, "warning: that Setup URI is of the database %s at %s, and the vault is %s at %s. If it is not the same vault, which has moved,\n"+
			"revoke this device's credential: it could not read the notes\n", printable(vault.Database), printable(was), found.database, is)
	}
	if vault.Passphrase == "" {
		fmt.Fprintln(p.stderr, "warning: the vault is not encrypted from end to end, so the server's administrator can read it")
	}
	vault.Server, vault.Database = "", found.database
	return vault, nil
}

// handout is what a device gets.
type handout struct {
	server  string
	vault   livesync.Vault
	fresh   bool     // nobody has the passphrase of the vault yet
	picture *os.File // nil for none
}

// handOut writes the Setup URI with what belongs to it.
func (p *program) handOut(d *newDevice, device livesync.Device, out *handout) error {
	settings, err := out.vault.Settings(device)
	if err != nil {
		return err
	}
	passphrase := livesync.URIPassphrase()
	uri, err := livesync.Encode(settings, passphrase)
	if err != nil {
		return err
	}
	text := setupURILabel + uri + "\n" + setupPassphraseLabel + passphrase + "\n"
	if out.fresh && out.vault.Passphrase != "" {
		text += vaultPassphraseLabel + out.vault.Passphrase + "\n"
	}
	if _, err := fmt.Fprint(p.stdout, text); err != nil {
		return err
	}
	return p.drawQR(d.qr, uri, out.picture)
}
