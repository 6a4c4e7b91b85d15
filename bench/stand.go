package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
)

// errMissing marks a variant for which something is not installed.
var errMissing = errors.New("is not installed")

// stand is what all variants stand on: built programs, the upstream, a folder.
type stand struct {
	folder   string
	caddy    string // the program
	vegeta   string // the program
	upstream *child
	postgres string         // its version, once it runs
	closing  []func() error // in the order of opening
}

// newStand builds what is needed, and starts the upstream.
func newStand(ctx context.Context) (s *stand, err error) {
	s = &stand{}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if _, err := exec.LookPath("wrk"); err != nil {
		return s, fmt.Errorf("looking for wrk (Debian: apt-get install wrk): %w", err)
	}
	if s.folder, err = os.MkdirTemp("", "bench-"); err != nil {
		return s, fmt.Errorf("making a folder: %w", err)
	}
	s.closing = append(s.closing, func() error { return os.RemoveAll(s.folder) })
	s.caddy, s.vegeta = filepath.Join(s.folder, "bin", "caddy"), filepath.Join(s.folder, "bin", "vegeta")
	for _, build := range []*exec.Cmd{
		exec.CommandContext(ctx, "internal/tools/release.sh", "go", "build", "-o", s.caddy, "./cmd/caddy"),
		exec.CommandContext(ctx, "go", "build", "-modfile=internal/tools/vegeta/go.mod", "-o", s.vegeta, "github.com/tsenart/vegeta/v12"),
	} {
		fmt.Fprintln(os.Stderr, "building", build.Args[len(build.Args)-1])
		if out, err := build.CombinedOutput(); err != nil {
			return s, fmt.Errorf("building (from the top of the repository?): %w\n%s", err, out)
		}
	}
	s.upstream, err = s.startChild(asUpstream)
	return s, err
}

// close ends what runs, the last first, and removes what was written.
func (s *stand) close() error {
	var errs []error
	for _, f := range slices.Backward(s.closing) {
		errs = append(errs, f())
	}
	return errors.Join(errs...)
}

// freeAddress is one that was free a moment ago. Its port lies below those that the
// system gives to outgoing connections, of which there are many here.
func freeAddress() (address string, err error) {
	const lowest, highest, tries = 10_000, 30_000, 100
	for range tries {
		var listener net.Listener
		address = fmt.Sprintf("127.0.0.1:%d", lowest+rand.IntN(highest-lowest))
		if listener, err = net.Listen("tcp", address); err == nil {
			return address, listener.Close()
		}
	}
	return "", fmt.Errorf("finding a free port: %w", err)
}
