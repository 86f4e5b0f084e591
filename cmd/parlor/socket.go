package main

import (
	"context"
	"net"
	"net/http"
	"os"
	"path/filepath"

	"github.com/parlordb/parlor/auth"
)

// socketName is the socket in the data directory, with mode 0600: who can open it is the server's own user, who could read and
// write the data without it. Its requests are therefore the server administrator's.
const socketName = "parlor.sock"

// socketUser is what logs and documents call whoever comes through the socket.
const socketUser = "parlor.sock"

// listenSocket makes the socket, in place of one that a killed server left. The caller holds the data directory's lock, removes the file in
// the end, and finds no other path than to it: the socket is made in a directory that nobody else can enter, so there is no
// moment at which its mode is not 0600.
func listenSocket(data string) (net.Listener, error) {
	private, err := os.MkdirTemp(data, ".s")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(private)
	made := filepath.Join(private, "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: made, Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false)
	if err = os.Chmod(made, 0o600); err == nil {
		err = os.Rename(made, filepath.Join(data, socketName))
	}
	if err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// socketKey marks the context of requests that came through the socket.
type socketKey struct{}

func throughSocket(ctx context.Context) context.Context {
	return context.WithValue(ctx, socketKey{}, true)
}

// socketMethod is the first Method of the list, which knows the socket's requests besides its own credentials. It has the name
// of the Method that it stands for, because the socket is none that the world should see in /_session.
type socketMethod struct{ auth.Method }

var _ auth.Method = socketMethod{}

func (m socketMethod) Authenticate(r *http.Request) (auth.Identity, error) {
	if r.Context().Value(socketKey{}) != nil {
		return auth.Identity{Name: socketUser, Roles: []string{"_admin"}, Method: "socket", Credential: "socket"}, nil
	}
	return m.Method.Authenticate(r)
}
