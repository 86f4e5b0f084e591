package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"

	"golang.org/x/term"
)

// maxSecret bounds a password that is read from standard input.
const maxSecret = 4096

// secret reads a password: from PARLOR_PASSWORD, else by a prompt (twice, so that a slip is seen), else the first line of standard
// input. A password is never an argument, where every user of the machine could read it.
func (p *program) secret(what string) (string, error) {
	if s := p.getenv("PARLOR_PASSWORD"); s != "" {
		return s, nil
	}
	fd := int(p.stdin.Fd())
	if !term.IsTerminal(fd) {
		return firstLine(p.stdin)
	}
	first, err := p.prompt(fd, what+": ")
	if err != nil {
		return "", err
	}
	again, err := p.prompt(fd, "Once more: ")
	if err != nil {
		return "", err
	}
	if first != again {
		return "", errors.New("the two passwords differ; start again")
	}
	return first, nil
}

func (p *program) prompt(fd int, text string) (string, error) {
	fmt.Fprint(p.stderr, text)
	b, err := term.ReadPassword(fd)
	fmt.Fprintln(p.stderr)
	if err == nil && len(b) == 0 {
		err = errors.New("the password is empty")
	}
	return string(b), err
}

func firstLine(r io.Reader) (string, error) {
	line, err := bufio.NewReader(io.LimitReader(r, maxSecret+1)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
	switch {
	case line == "":
		return "", errors.New("there is no password on standard input; write one there, or set PARLOR_PASSWORD")
	case len(line) > maxSecret:
		return "", fmt.Errorf("the password is longer than %d bytes", maxSecret)
	}
	return line, nil
}
