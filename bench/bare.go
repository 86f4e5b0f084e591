package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
)

// bareCommand is the argument that makes this program the bare server.
const bareCommand = "bare"

// answer is 150 bytes, about what /_session says.
const answer = `{"ok":true,"userCtx":{"name":"bench","roles":["reader","write"]},"info":{"authentication_handlers":["jwt","cookie","default"],"authenticated":"jwt"}}` + "\n"

// serveBare answers every request with 150 bytes of JSON, until its standard input ends.
func serveBare() error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println("http://" + l.Addr().String())
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(answer)) // a client that has gone is no concern of a benchmark
	})}
	go func() {
		_, _ = bufio.NewReader(os.Stdin).ReadByte()
		_ = srv.Close()
	}()
	if err := srv.Serve(l); err != http.ErrServerClosed {
		return err
	}
	return nil
}

// bareServer is the bare server in its own process.
type bareServer struct {
	url  string
	stop func() error
}

func startBare(ctx context.Context) (*bareServer, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, bareCommand)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	stop := func() error {
		if err := in.Close(); err != nil {
			return err
		}
		return cmd.Wait()
	}
	url, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return nil, fmt.Errorf("the bare server does not start: %w", err)
	}
	return &bareServer{url: strings.TrimSpace(url), stop: stop}, nil
}
