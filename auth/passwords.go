package auth

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"net/http"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/parlordb/parlor/auth/password"
)

// Bounds on how many requests wait for a slow hash, in all and from one address. At 100 ms a hash, whoever comes after them would wait for minutes.
const (
	maxWaiting     = 1000
	maxWaitingEach = 100
)

// PasswordLogin says who may sign in with a password.
type PasswordLogin int

const (
	PasswordsForAll    PasswordLogin = iota
	PasswordsForAdmins               // server admins from the configuration: User.Admin
	PasswordsForNobody
)

// ParsePasswordLogin reads "all", "admins" or "none".
func ParsePasswordLogin(text string) (PasswordLogin, error) {
	switch text {
	case "all":
		return PasswordsForAll, nil
	case "admins":
		return PasswordsForAdmins, nil
	case "none":
		return PasswordsForNobody, nil
	}
	return 0, fmt.Errorf("%q is not one of all, admins and none", text)
}

// PasswordOptions say how Passwords works. The zero value is CouchDB's default.
type PasswordOptions struct {
	// Login says whose passwords are taken. Under PasswordsForAdmins everyone else is refused as an unknown name is, right password or not: so
	// nobody learns who is an admin, nor what is somebody's password.
	Login PasswordLogin

	Policy    password.Policy
	NoCache   bool          // compute the slow hash each time
	CacheSize int           // how many passwords are remembered; 0: 10,000
	CacheIdle time.Duration // for how long one that is not used is; 0: 10 minutes

	// Upgrade is called after a password, with the second factor where there is one, has let a user in against a hash that Policy calls outdated, by the
	// goroutine of the request; it should do its work quickly or elsewhere. It may drop the work: while the password is remembered and the hash stays
	// as it is, it is called again after an hour, otherwise at the next sign-on. The password is not to be kept. nil: nothing is upgraded.
	// Server admins from the configuration are not passed to it.
	Upgrade func(ctx context.Context, u *User, password string)

	// Lockout counts failures and refuses who has had too many. nil: nobody is locked out.
	Lockout *Lockout

	// Client returns who a request with Basic credentials is from, for Lockout and a fair share of slow hashes; who is believed about that is its
	// business. nil: the peer of the connection. Callers of Verify say it with WithClient.
	Client func(r *http.Request) netip.Addr

	Now func() time.Time // nil: time.Now
}

// Passwords checks names and passwords against a Users directory, for Basic and for login forms. It is safe for concurrent use.
//
// A password that verified is remembered: the next request with it costs a keyed digest (HMAC-SHA256) instead of the slow hash. The key of an entry
// covers name, password and the whole stored hash, so an entry of a changed password cannot be hit; entries of an old configuration are dropped.
// The same password presented many times at once by one client is hashed once, and at most as many hashes as there are CPUs run at the same time,
// those of new passwords (Hash) among them. Clients that wait for one take turns, so that a flood from one address does not keep the others waiting.
type Passwords struct {
	users    Users
	secret   [32]byte // keys the digests that the cache is addressed by; made anew by each process
	macs     sync.Pool
	settings atomic.Pointer[passwordSettings]
	hashing  *turns // a slot for each slow hash

	mu      sync.Mutex
	flights map[flightKey]*flight
}

// credentialKey is a keyed digest of a name, a password and the hash it is checked against.
type credentialKey [sha256.Size]byte

// passwordSettings is immutable, but for the cache, which goes with its policy: what was remembered under one is never asked under another.
type passwordSettings struct {
	PasswordOptions
	decoy password.Hash
	cache *otter.Cache[credentialKey, *remembered] // nil: none
}

// remembered is a password that verified. Its times are in Unix seconds.
type remembered struct {
	lastUsed atomic.Int64
	upgraded atomic.Int64 // when Upgrade was called last; 0: never
}

// flightKey keeps those apart who are under different policies, or at different addresses, which are locked out each for itself.
type flightKey struct {
	settings   *passwordSettings
	credential credentialKey
	client     netip.Prefix
}

// flight is a slow hash under way that others wait for. err may be read when done is closed.
type flight struct {
	done chan struct{}
	err  error
}

// NewPasswords returns a verifier over a directory.
func NewPasswords(users Users, o PasswordOptions) *Passwords {
	p := &Passwords{
		users:   users,
		hashing: newTurns(runtime.GOMAXPROCS(0), maxWaiting, maxWaitingEach),
		flights: make(map[flightKey]*flight),
	}
	rand.Read(p.secret[:])
	p.macs.New = func() any { return &keyedDigest{mac: hmac.New(sha256.New, p.secret[:])} }
	p.Configure(o)
	return p
}

// Configure replaces the options, atomically. The passwords that were remembered are forgotten unless the Policy, the CacheSize and whether
// there is an Upgrade stay the same.
func (p *Passwords) Configure(o PasswordOptions) {
	if o.CacheSize <= 0 {
		o.CacheSize = 10_000
	}
	if o.CacheIdle <= 0 {
		o.CacheIdle = 10 * time.Minute
	}
	if o.Client == nil {
		o.Client = Peer
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	s := &passwordSettings{PasswordOptions: o, decoy: o.Policy.Decoy()}
	switch old := p.settings.Load(); {
	case o.NoCache:
	case old != nil && old.cache != nil && old.PasswordOptions.Policy == o.Policy && old.CacheSize == o.CacheSize && (old.Upgrade == nil) == (o.Upgrade == nil):
		s.cache = old.cache
	default:
		s.cache = otter.Must(&otter.Options[credentialKey, *remembered]{
			MaximumSize: o.CacheSize,
			// Entries carry their own age, so the cache needs no goroutine: not to expire them, and not to keep its bound.
			Executor: func(f func()) { f() },
		})
	}
	p.settings.Store(s)
}

// Policy returns the one in force, to make new hashes by; Hash does so at others' request.
func (p *Passwords) Policy() password.Policy { return p.settings.Load().Policy }

// Hash makes the hash of a new password under the Policy in force, with the given salt or, for "", a fresh one. It takes its turn with the sign-ons, as one
// of ctx's client (WithClient). It fails with a *Refusal, 503, when too many are waiting, with ctx's error when ctx has ended, and as [password.Policy.New] does.
func (p *Passwords) Hash(ctx context.Context, pass, salt string) (password.Hash, error) {
	release, err := p.hashing.take(ctx, Client(ctx))
	if err != nil {
		return password.Hash{}, err
	}
	defer release()
	return p.Policy().New(pass, salt)
}

// Verify returns the user of that name when the password is right. Otherwise it fails with a *Refusal: 401 with the same text for a
// wrong password, an unknown or empty name, and a user with a second factor (whom a password alone does not let in); 403 for a hash that the
// Policy does not take, for a disabled user whose password is right, for everyone under PasswordsForNobody and, with Retry-After, for one who is locked out; 503
// when too many are waiting.
// It fails with ctx's error when ctx ends while it waits, and with the directory's own errors. The Refusal's User is name.
//
// It is safe to call from many goroutines; unknown names take as long as wrong passwords of hashes that are no costlier than the Policy's.
func (p *Passwords) Verify(ctx context.Context, name, pass string) (*User, error) {
	return p.VerifyBoth(ctx, name, pass, nil)
}

// VerifyBoth is Verify for where a second factor can be given. second is called for a user who has one, and whose password is right; it fails with a
// *Refusal, 401 for a factor that is missing or wrong. Only both together count as a success towards the Lockout, and either can be a failure.
func (p *Passwords) VerifyBoth(ctx context.Context, name, pass string, second func(u *User) error) (*User, error) {
	s := p.settings.Load()
	if s.Login == PasswordsForNobody {
		return nil, passwordsOff().About("", name, "")
	}
	if name == "" {
		return nil, s.explained(incorrect())
	}
	u, err := p.verify(ctx, s, name, pass, second)
	if err != nil {
		return nil, about(s.explained(err), "", name, "")
	}
	return u, nil
}

// explained adds to the answer to every failed sign-on, whatever is wrong with it, that passwords may be the wrong way in.
func (s *passwordSettings) explained(err error) error {
	refusal, ok := err.(*Refusal)
	if !ok || s.Login != PasswordsForAdmins || refusal.Status != http.StatusUnauthorized {
		return err
	}
	told := *refusal
	told.Reason += " Only administrators sign in with a password here."
	return &told
}

// passwordsOff is told to everyone, whoever they claim to be.
func passwordsOff() *Refusal {
	return forbidden("Passwords are switched off on this server. Sign in at a provider, or with an access token; administrators also through the socket in the data directory.")
}

func (p *Passwords) verify(ctx context.Context, s *passwordSettings, name, pass string, second func(u *User) error) (*User, error) {
	u, err := p.users.User(ctx, name)
	if err != nil && !errors.Is(err, ErrUnknownUser) {
		return nil, err
	}
	if u != nil && !u.Admin && s.Login == PasswordsForAdmins {
		u = nil
	}
	a := attempt{user: u, name: name, pass: pass, stored: s.decoy}
	if u != nil {
		a.salt = u.Password.Salt
		if u.Password != (password.Hash{}) {
			a.stored = u.Password
		}
	}
	if err := s.Lockout.Check(ctx, name, a.salt); err != nil {
		return nil, err
	}
	a.key = p.key(name, pass, &a.stored)
	if !s.recall(a.key) {
		if err := p.hashOnce(ctx, s, &a); err != nil {
			return nil, err
		}
	}
	switch {
	case u == nil:
		return nil, incorrect()
	case u.TOTP:
		if err := s.verifySecond(ctx, &a, second); err != nil {
			return nil, err
		}
	default:
		s.Lockout.Succeeded(ctx, name, a.salt)
	}
	if u.Disabled {
		return nil, disabled()
	}
	s.upgrade(ctx, &a)
	return u, nil
}

// attempt is a name and a password, and what they are checked against.
type attempt struct {
	user       *User // nil: unknown
	name, pass string
	salt       string
	stored     password.Hash // the user's, or a decoy
	key        credentialKey
}

// errHalf ends an attempt that is neither a success nor a failure yet: the password is right, and a second factor is wanted.
var errHalf = errors.New("second factor is wanted")

// verifySecond asks for the second factor of a user whose password is right.
func (s *passwordSettings) verifySecond(ctx context.Context, a *attempt, second func(u *User) error) error {
	end, err := s.Lockout.Begin(ctx, a.name, a.salt)
	if err != nil {
		return err
	}
	outcome := error(incorrect())
	defer func() { end(outcome) }()
	if second != nil {
		outcome = second(a.user)
	}
	return outcome
}

// hashOnce verifies the slow way, together with whoever else presents the same name and password now.
func (p *Passwords) hashOnce(ctx context.Context, s *passwordSettings, a *attempt) error {
	key := flightKey{s, a.key, network(Client(ctx))}
	for {
		p.mu.Lock()
		f, underWay := p.flights[key]
		if !underWay {
			if s.recall(a.key) { // a flight has landed since the caller looked
				p.mu.Unlock()
				return nil
			}
			f = &flight{done: make(chan struct{}), err: context.Canceled}
			p.flights[key] = f
		}
		p.mu.Unlock()
		if !underWay {
			return p.lead(ctx, key, f, a)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-f.done:
		}
		// The one who hashed may have gone away before it was done: then it is another's turn.
		if !errors.Is(f.err, context.Canceled) && !errors.Is(f.err, context.DeadlineExceeded) {
			return f.err
		}
	}
}

// lead runs the flight f and lands it, even when the hash panics. It is one attempt towards the Lockout, however many wait for it.
func (p *Passwords) lead(ctx context.Context, key flightKey, f *flight, a *attempt) error {
	defer func() {
		p.mu.Lock()
		delete(p.flights, key)
		p.mu.Unlock()
		close(f.done)
	}()
	s := key.settings
	end, err := s.Lockout.Begin(ctx, a.name, a.salt)
	if err != nil {
		f.err = err
		return err
	}
	outcome := f.err
	defer func() { end(outcome) }()
	f.err = p.slow(ctx, s, &a.stored, a.pass)
	switch outcome = f.err; {
	case outcome != nil:
	case a.user == nil: // nobody has the decoy's password; but should one find it, they have found nothing
		outcome = incorrect()
	case a.user.TOTP:
		outcome = errHalf
	}
	if f.err == nil {
		s.remember(a.key)
	}
	return f.err
}

// slow waits for its turn and computes the hash.
func (p *Passwords) slow(ctx context.Context, s *passwordSettings, stored *password.Hash, pass string) error {
	release, err := p.hashing.take(ctx, Client(ctx))
	if err != nil {
		return err
	}
	defer release()

	err = s.Policy.Verify(*stored, pass)
	if errors.Is(err, password.ErrMismatch) || errors.Is(err, password.ErrBadHash) {
		if rest, more := s.rest(stored); more {
			_ = password.Policy{}.Verify(rest, pass) // only the time that it takes counts
		}
	}
	for _, config := range []error{password.ErrIterLow, password.ErrIterHigh, password.ErrPRF, password.ErrArgon2} {
		if errors.Is(err, config) {
			return forbidden(config.Error())
		}
	}
	if err != nil {
		return incorrect()
	}
	return nil
}

// rest is what remains of the decoy's work after stored has been tried, if anything: a wrong password for an old, cheap hash, or for one that cannot
// be read, must not be refused sooner than an unknown name. Work of two kinds cannot be set off against each other, so then it is all of it.
func (s *passwordSettings) rest(stored *password.Hash) (rest password.Hash, more bool) {
	rest = s.decoy
	switch rest.Scheme {
	case password.PBKDF2, password.SimplePBKDF2:
		if stored.Scheme == password.PBKDF2 || stored.Scheme == password.SimplePBKDF2 {
			rest.Iterations -= stored.Iterations
		}
		return rest, rest.Iterations > 0
	case password.Argon2id:
		work := func(h *password.Hash) int { return h.Argon2.Memory * h.Argon2.Time }
		return rest, stored.Scheme != password.Argon2id || work(stored) < work(&rest)
	default:
		return rest, false // it costs next to nothing
	}
}

// recall reports whether a password is remembered, and marks it as used.
func (s *passwordSettings) recall(key credentialKey) bool {
	if s.cache == nil {
		return false
	}
	e, ok := s.cache.GetIfPresent(key)
	if !ok {
		return false
	}
	now := s.Now().Unix()
	if last := e.lastUsed.Load(); now-last > int64(s.CacheIdle/time.Second) {
		return false
	} else if now != last {
		e.lastUsed.Store(now)
	}
	return true
}

func (s *passwordSettings) remember(key credentialKey) {
	if s.cache == nil {
		return
	}
	e := new(remembered)
	e.lastUsed.Store(s.Now().Unix())
	s.cache.Set(key, e)
}

// upgradeAgain is how long a remembered password waits for the next Upgrade: the one before may have been dropped, or have failed.
const upgradeAgain = time.Hour

// upgrade has the hash of a password that has let its user in made anew, if it is outdated.
func (s *passwordSettings) upgrade(ctx context.Context, a *attempt) {
	if s.Upgrade == nil || a.user.Admin || !s.Policy.Outdated(a.stored) {
		return
	}
	if s.cache != nil {
		if e, ok := s.cache.GetIfPresent(a.key); ok && !e.upgradeDue(s.Now().Unix()) {
			return
		}
	}
	s.Upgrade(ctx, a.user, a.pass)
}

// upgradeDue reports whether it is time for an Upgrade, to one of those who ask at the same time.
func (e *remembered) upgradeDue(now int64) bool {
	last := e.upgraded.Load()
	if last != 0 && now-last < int64(upgradeAgain/time.Second) {
		return false
	}
	return e.upgraded.CompareAndSwap(last, now)
}

// keyedDigest is an HMAC with the memory that it needs, reused from one request to the next.
type keyedDigest struct {
	mac hash.Hash
	buf []byte
	sum [sha256.Size]byte
}

// key digests name, password and hash under the process's secret. Lengths keep the fields apart, whatever bytes they hold.
func (p *Passwords) key(name, pass string, h *password.Hash) (key credentialKey) {
	d := p.macs.Get().(*keyedDigest)
	buf := d.buf[:0]
	for _, field := range [...]string{name, pass, string(h.Scheme), h.PRF, h.Salt, h.Key} {
		buf = binary.AppendUvarint(buf, uint64(len(field)))
		buf = append(buf, field...)
	}
	for _, number := range [...]int{h.Iterations, h.Argon2.Memory, h.Argon2.Time, h.Argon2.Parallelism} {
		buf = binary.AppendVarint(buf, int64(number))
	}
	d.mac.Reset()
	d.mac.Write(buf)
	d.mac.Sum(d.sum[:0])
	key = d.sum
	clear(buf) // the password does not stay in the pool
	if d.buf = buf; cap(buf) <= 4096 {
		p.macs.Put(d)
	}
	return key
}
