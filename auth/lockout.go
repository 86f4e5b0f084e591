package auth

import (
	"cmp"
	"container/list"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// LockoutMode says what a Lockout does when a user's failures are too many.
type LockoutMode int

const (
	LockoutEnforce LockoutMode = iota // refuse
	LockoutWarn                       // report only
	LockoutOff                        // do not even count
)

// ParseLockoutMode reads CouchDB's names: enforce, warn, off. CouchDB takes any other text for off; here it is an error, so that a
// slip of the pen opens nothing.
func ParseLockoutMode(s string) (LockoutMode, error) {
	switch s {
	case "enforce":
		return LockoutEnforce, nil
	case "warn":
		return LockoutWarn, nil
	case "off":
		return LockoutOff, nil
	}
	return LockoutEnforce, fmt.Errorf("lockout mode %q is none of enforce, warn and off", s)
}

// LockoutOptions say how many failures are too many. The zero value is CouchDB's default.
type LockoutOptions struct {
	Mode        LockoutMode
	Threshold   int           // so many failures lock; 0: 5
	MaxObjects  int           // how many counters are kept; the oldest goes first; 0: 10,000
	MaxLifetime time.Duration // how long a counter is kept from its first failure on; 0: 5 minutes

	// Address returns the client of the request that ctx belongs to; who is believed about that is its business. It is quick, and calls no
	// Lockout. The zero Addr: the client is unknown, and shares its counters with all who are. nil: Client, which says what WithClient was told.
	Address func(ctx context.Context) netip.Addr

	// Report is told of each lock when the failure that makes it has been counted, in the modes enforce and warn. It is called by the goroutine of
	// the request. nil: nobody is told.
	Report func(ctx context.Context, l Lock, mode LockoutMode)

	Now func() time.Time // nil: time.Now
}

const maxLockoutName = 256 // bytes of a name that is kept as it is

// Lock is a counter that has reached the threshold.
type Lock struct {
	User     string       // one of more than 256 bytes is cut, with its digest behind
	Address  netip.Prefix // one IPv4 address or the /64 of an IPv6 one; the zero Prefix: unknown
	Failures int
	Until    time.Time
}

// Lockout counts failed sign-ons with a password or a second factor, and refuses further ones when they are too many (spec §8).
//
// Counters are for a user name and an address, so that nobody can lock others out from elsewhere, and for a salt: a new password begins anew.
// IPv6 addresses count by their /64, which one client has to itself. Names that do not exist are counted like those that do. The counter begins
// with the first failure and ends MaxLifetime later, or with a success.
//
// A sign-on goes like this, as Passwords does it when it is given a Lockout:
//
//	if err := l.Check(ctx, name, salt); err != nil {
//		return err // locked, even for the right password
//	}
//	end, err := l.Begin(ctx, name, salt) // before the slow hash
//	if err != nil {
//		return err
//	}
//	err = verify(name, password)
//	end(err)
//	return err
//
// Attempts that have begun count until they end, so that no more than Threshold guesses are ever under way at once. A sign-on with two factors is
// a success only when both are right: else each right password would forget the wrong codes.
//
// The counters are this process's own, in memory. A Lockout is safe for concurrent use; a nil one lets everything pass.
type Lockout struct {
	mu       sync.Mutex
	o        LockoutOptions
	counters map[lockoutKey]*list.Element // of *counter
	byAge    list.List                    // the oldest first, which is also the first to end
	begun    map[lockoutKey]int           // attempts under way
}

type lockoutKey struct {
	user, salt string
	address    netip.Prefix
}

type counter struct {
	key      lockoutKey
	failures int
	first    time.Time
}

// NewLockout returns a Lockout without counters.
func NewLockout(o LockoutOptions) *Lockout {
	l := &Lockout{counters: make(map[lockoutKey]*list.Element), begun: make(map[lockoutKey]int)}
	l.Configure(o)
	return l
}

// Configure replaces the options. Counters are kept and judged by the new ones.
func (l *Lockout) Configure(o LockoutOptions) {
	if o.Threshold <= 0 {
		o.Threshold = 5
	}
	if o.MaxObjects <= 0 {
		o.MaxObjects = 10_000
	}
	if o.MaxLifetime <= 0 {
		o.MaxLifetime = 5 * time.Minute
	}
	if o.Address == nil {
		o.Address = Client
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.o = o
	l.trim(o.Now())
}

// Check refuses with a *Refusal, 403 with Retry-After, when the user is locked.
func (l *Lockout) Check(ctx context.Context, user, salt string) error {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.o.Mode != LockoutEnforce || len(l.counters) == 0 {
		return nil
	}
	return l.check(l.key(ctx, user, salt), l.o.Now())
}

func (l *Lockout) check(key lockoutKey, now time.Time) error {
	if c := l.find(key, now); c != nil && c.failures >= l.o.Threshold {
		return locked(c.first.Add(l.o.MaxLifetime).Sub(now))
	}
	return nil
}

// find returns a counter that has not ended, nil when there is none.
func (l *Lockout) find(key lockoutKey, now time.Time) *counter {
	l.trim(now)
	e, ok := l.counters[key]
	if !ok {
		return nil
	}
	c := e.Value.(*counter)
	if !now.Before(c.first.Add(l.o.MaxLifetime)) {
		l.remove(key) // one that trim did not come to, since the clock was set back
		return nil
	}
	return c
}

// Begin is Check, and also refuses when attempts under way could make the failures too many. Otherwise end must be called once, with what the attempt
// came to: nil forgets the failures, a *Refusal with 401 is one more, and any other error is neither, for then nothing was tried.
func (l *Lockout) Begin(ctx context.Context, user, salt string) (end func(outcome error), err error) {
	if l == nil {
		return func(error) {}, nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.o.Mode == LockoutOff {
		return func(error) {}, nil
	}
	key := l.key(ctx, user, salt)
	if l.o.Mode == LockoutEnforce {
		now := l.o.Now()
		if err := l.check(key, now); err != nil {
			return nil, err
		}
		underWay := l.begun[key]
		if c := l.find(key, now); c != nil {
			underWay += c.failures
		}
		if underWay >= l.o.Threshold {
			return nil, locked(time.Second)
		}
	}
	l.begun[key]++
	return func(outcome error) {
		l.mu.Lock()
		if l.begun[key]--; l.begun[key] == 0 {
			delete(l.begun, key)
		}
		l.settle(ctx, key, outcome)
	}, nil
}

// settle counts an outcome. It is called with the lock held, and gives it back, for nothing foreign runs under it.
func (l *Lockout) settle(ctx context.Context, key lockoutKey, outcome error) {
	var report func()
	if outcome == nil {
		l.remove(key)
	} else if refusal, ok := errors.AsType[*Refusal](outcome); ok && refusal.Status == http.StatusUnauthorized {
		report = l.failed(ctx, key)
	}
	l.mu.Unlock()
	if report != nil {
		report()
	}
}

// Succeeded forgets the failures of a user who signed in without an attempt, such as with a password that is remembered.
func (l *Lockout) Succeeded(ctx context.Context, user, salt string) {
	if l == nil {
		return
	}
	l.mu.Lock()
	if len(l.counters) == 0 {
		l.mu.Unlock()
		return
	}
	l.settle(ctx, l.key(ctx, user, salt), nil)
}

// Failed counts a failure that was no attempt of its own, such as a right password where a second factor is wanted.
func (l *Lockout) Failed(ctx context.Context, user, salt string) {
	if l == nil {
		return
	}
	l.mu.Lock()
	l.settle(ctx, l.key(ctx, user, salt), incorrect())
}

// failed counts one failure, and returns what there is to report.
func (l *Lockout) failed(ctx context.Context, key lockoutKey) func() {
	if l.o.Mode == LockoutOff {
		return nil
	}
	now := l.o.Now()
	c := l.find(key, now)
	if c == nil {
		key.user = strings.Clone(key.user) // the rest of the text that it was cut from may be the password
		c = &counter{key: key, first: now}
		l.counters[key] = l.byAge.PushBack(c)
		l.trim(now)
	}
	c.failures++
	if c.failures != l.o.Threshold || l.o.Report == nil {
		return nil
	}
	report, lock, mode := l.o.Report, l.lock(c), l.o.Mode
	return func() { report(ctx, lock, mode) }
}

// trim drops the counters that have ended, and the oldest of those that are too many.
func (l *Lockout) trim(now time.Time) {
	for e := l.byAge.Front(); e != nil; e = l.byAge.Front() {
		c := e.Value.(*counter)
		if now.Before(c.first.Add(l.o.MaxLifetime)) && len(l.counters) <= l.o.MaxObjects {
			return
		}
		l.remove(c.key)
	}
}

func (l *Lockout) remove(key lockoutKey) {
	if e, ok := l.counters[key]; ok {
		l.byAge.Remove(e)
		delete(l.counters, key)
	}
}

// key bounds what a counter holds: names come from strangers.
func (l *Lockout) key(ctx context.Context, user, salt string) lockoutKey {
	if len(user) > maxLockoutName {
		user = fmt.Sprintf("%s… (SHA-256 %x)", strings.ToValidUTF8(user[:maxLockoutName/4], ""), sha256.Sum256([]byte(user)))
	}
	return lockoutKey{user: user, salt: salt, address: network(l.o.Address(ctx))}
}

func (l *Lockout) lock(c *counter) Lock {
	return Lock{User: c.key.user, Address: c.key.address, Failures: c.failures, Until: c.first.Add(l.o.MaxLifetime)}
}

// List returns the locks that hold now, in the order of user and address.
func (l *Lockout) List() []Lock {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.o.Now()
	l.trim(now)
	var locks []Lock
	for e := l.byAge.Front(); e != nil; e = e.Next() {
		if lock := l.lock(e.Value.(*counter)); lock.Failures >= l.o.Threshold && now.Before(lock.Until) {
			locks = append(locks, lock)
		}
	}
	slices.SortStableFunc(locks, func(a, b Lock) int {
		return cmp.Or(cmp.Compare(a.User, b.User), a.Address.Addr().Compare(b.Address.Addr()))
	})
	return locks
}

// Clear forgets all failures of a user, from any address, those below the threshold too, and returns how many counters that were. A
// user of "" means everyone.
func (l *Lockout) Clear(user string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	cleared := 0
	for e := l.byAge.Front(); e != nil; {
		next := e.Next()
		if c := e.Value.(*counter); user == "" || c.key.user == user {
			l.remove(c.key)
			cleared++
		}
		e = next
	}
	return cleared
}

// network is what stands for a client: its IPv4 address, or the /64 that its IPv6 address is in.
func network(a netip.Addr) netip.Prefix {
	if !a.IsValid() {
		return netip.Prefix{}
	}
	a = a.Unmap().WithZone("")
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}

// locked is CouchDB's refusal, with the time to wait.
func locked(wait time.Duration) *Refusal {
	refusal := forbidden("Account is temporarily locked due to multiple authentication failures")
	refusal.Header = retryAfter(wait)
	return refusal
}

// retryAfter rounds up: who comes back then must not come too early.
func retryAfter(wait time.Duration) http.Header {
	seconds := max(1, (wait+time.Second-1)/time.Second)
	return http.Header{"Retry-After": {strconv.FormatInt(int64(seconds), 10)}}
}
