package auth

import (
	"context"
	"slices"
	"sync"
)

var _ Users = (*Memory)(nil)

// Memory is a Users directory in memory. The zero Memory is empty and ready for use; it is safe for concurrent use.
type Memory struct {
	mu    sync.RWMutex
	users map[string]*User
}

// User implements Users.
func (m *Memory) User(_ context.Context, name string) (*User, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if u, ok := m.users[name]; ok {
		return u, nil
	}
	return nil, ErrUnknownUser
}

// Put adds a user or replaces the one of that name. A user without a name is ignored: no request can be from one.
func (m *Memory) Put(u User) {
	if u.Name == "" {
		return
	}
	u.Roles = slices.Clone(u.Roles)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.users == nil {
		m.users = make(map[string]*User)
	}
	m.users[u.Name] = &u
}

// Delete removes a user; a name that is not there is no error.
func (m *Memory) Delete(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.users, name)
}
