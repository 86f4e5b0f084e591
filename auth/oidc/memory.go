package oidc

import (
	"context"
	"slices"
	"sync"

	"github.com/parlordb/parlor/auth"
)

var _ Directory = (*Memory)(nil)

// Memory is a Directory in memory. The zero Memory is empty and ready for use; it is safe for concurrent use.
type Memory struct {
	auth.Memory
	change sync.Mutex // held where what is written depends on what was read
}

// ServerAdmin implements Directory: a server admin is a user who was put there as Admin.
func (m *Memory) ServerAdmin(name string) bool {
	u, err := m.User(context.Background(), name)
	return err == nil && u.Admin
}

// Link implements Directory.
func (m *Memory) Link(ctx context.Context, name string, id auth.ForeignIdentity) error {
	m.change.Lock()
	defer m.change.Unlock()
	u, err := m.User(ctx, name)
	if err != nil || slices.Contains(u.Identities, id) {
		return err
	}
	if slices.ContainsFunc(u.Identities, func(other auth.ForeignIdentity) bool { return other.Issuer == id.Issuer }) {
		return forbidden("This account is linked to somebody else of the provider.")
	}
	linked := *u
	linked.Identities = append(slices.Clone(u.Identities), id)
	m.Put(linked)
	return nil
}

// Register implements Directory.
func (m *Memory) Register(ctx context.Context, name string, id auth.ForeignIdentity) error {
	m.change.Lock()
	defer m.change.Unlock()
	if _, err := m.User(ctx, name); err == nil {
		return ErrUserExists
	}
	m.Put(auth.User{Name: name, Identities: []auth.ForeignIdentity{id}})
	return nil
}
