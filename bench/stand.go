package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"github.com/nowpay-gateway/nowpay-gateway/bench/internal/caddy"
	"github.com/nowpay-gateway/nowpay-gateway/bench/internal/machine"
	"github.com/nowpay-gateway/nowpay-gateway/bench/internal/wrk"
)

// stand is what all variants stand on: built programs, the upstream, a folder.
type stand struct {
	folder   string
	caddy    string // the program
	vegeta   string // the program
	upstream *machine.Child
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
	if err := wrk.Look(); err != nil {
		return s, err
	}
	if s.folder, err = os.MkdirTemp("", "bench-"); err != nil {
		return s, fmt.Errorf("making a folder: %w", err)
	}
	s.ends(func() error { return os.RemoveAll(s.folder) })
	s.caddy, s.vegeta = filepath.Join(s.folder, "bin", "caddy"), filepath.Join(s.folder, "bin", "vegeta")
	fmt.Fprintln(os.Stderr, "building Caddy and vegeta")
	if err := caddy.Build(ctx, s.caddy); err != nil {
		return s, err
	}
	build := exec.CommandContext(ctx, "go", "build", "-modfile=internal/tools/vegeta/go.mod", "-o", s.vegeta, "github.com/tsenart/vegeta/v12")
	if out, err := build.CombinedOutput(); err != nil {
		return s, fmt.Errorf("building vegeta: %w\n%s", err, out)
	}
	s.upstream, err = s.startChild(asUpstream)
	return s, err
}

// ends has close call f.
func (s *stand) ends(f func() error) { s.closing = append(s.closing, f) }

// startChild starts this command as something else.
func (s *stand) startChild(args ...string) (*machine.Child, error) {
	c, err := machine.StartChild(args...)
	if err == nil {
		s.ends(c.Stop)
	}
	return c, err
}

// close ends what runs, the last first, and removes what was written.
func (s *stand) close() error {
	var errs []error
	for _, f := range slices.Backward(s.closing) {
		errs = append(errs, f())
	}
	return errors.Join(errs...)
}

// describe tells of the machine and the programs.
func (s *stand) describe(ctx context.Context) machine.Machine {
	m := machine.Describe("go run ./bench", s.folder)
	m.Add("Caddy", caddy.Version(s.caddy))
	if nginx, err := findNginx(); err == nil {
		m.Add("nginx", machine.Says(ctx, `nginx/(\S+)`, nginx, "-v"))
	}
	m.Add("wrk", machine.Says(ctx, `^wrk (?:debian/)?([^-\s]+)`, "wrk", "-v"))
	m.Add("vegeta", machine.Dependency(s.vegeta, "github.com/tsenart/vegeta/v12"))
	return m
}
