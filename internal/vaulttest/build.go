package vaulttest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// toolDir is the server's source folder, from the top of the repository.
const toolDir = "internal/tools/vaultserver"

// buildFlags are part of the cache's key: a change of them is a new program.
var buildFlags = []string{"build", "-tags", "minimal", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w"}

// errUnbuildable marks a failure that is the machine's, not the sources'.
var errUnbuildable = errors.New("the Vault server cannot be built here")

// executable returns the server's program, built if need be, or ends the test.
func executable(tb testing.TB) string {
	tb.Helper()
	ctx, cancel := buildContext(tb)
	defer cancel()
	wd, err := os.Getwd()
	if err != nil {
		tb.Fatalf("vaulttest: finding the working directory: %v", err)
	}
	root, err := findRoot(wd)
	if err != nil {
		tb.Fatalf("vaulttest: %v", err)
	}
	path, err := build(ctx, root, tb.Logf)
	switch {
	case err == nil:
		return path
	case ctx.Err() != nil:
		tb.Fatalf("vaulttest: the time of the test ran out while the Vault server was built; "+
			"build it once with: go test -timeout 30m ./internal/vaulttest/\n%v", err)
	case errors.Is(err, errUnbuildable) && os.Getenv("CI") != "true":
		tb.Skipf("vaulttest: %v", err)
	default:
		tb.Fatalf("vaulttest: %v", err)
	}
	return ""
}

// buildContext ends shortly before the test's own time does, so that the test
// can say why.
func buildContext(tb testing.TB) (context.Context, context.CancelFunc) {
	if t, ok := tb.(interface{ Deadline() (time.Time, bool) }); ok {
		if deadline, ok := t.Deadline(); ok {
			return context.WithDeadline(tb.Context(), deadline.Add(-5*time.Second))
		}
	}
	return context.WithCancel(tb.Context())
}

// findRoot walks up from dir to the top of the repository. The path of the
// running source would not do: -trimpath takes it away.
func findRoot(dir string) (string, error) {
	for d := dir; ; d = filepath.Dir(d) {
		if _, err := os.Stat(filepath.Join(d, toolDir, "go.mod")); err == nil {
			return d, nil
		}
		if d == filepath.Dir(d) {
			return "", fmt.Errorf("finding the repository: no %s above %s", toolDir, dir)
		}
	}
}

// build returns the cached program for the sources below root, building it if
// it is not there yet.
func build(ctx context.Context, root string, logf func(string, ...any)) (string, error) {
	tool := filepath.Join(root, toolDir)
	key, err := cacheKey(tool)
	if err != nil {
		return "", err
	}
	cache := filepath.Join(root, ".cache", "vaultserver")
	path := filepath.Join(cache, key, "vaultserver")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", fmt.Errorf("making the cache: %w", err)
	}
	unlock, err := lock(ctx, filepath.Join(cache, "lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	if _, err := os.Stat(path); err == nil {
		return path, nil // built by another process while we waited
	}

	logf("building the Vault server; the first time takes some minutes")
	tmp := path + ".tmp" // no other process is here: we hold the lock
	defer os.Remove(tmp)
	if err := runGo(ctx, tool, slices.Concat(buildFlags, []string{"-o", tmp, "."})); err != nil {
		return "", err
	}
	if err := os.Rename(tmp, path); err != nil {
		return "", fmt.Errorf("moving the Vault server into the cache: %w", err)
	}
	return path, nil
}

// runGo runs the go command in dir, free of the settings meant for the main
// module.
func runGo(ctx context.Context, dir string, args []string) error {
	goCmd, err := exec.LookPath("go")
	if err != nil {
		return fmt.Errorf("%w: %w", errUnbuildable, err)
	}
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, goCmd, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(),
		"CGO_ENABLED=0", "GOWORK=off", "GOFLAGS=-mod=readonly",
		"GOOS="+runtime.GOOS, "GOARCH="+runtime.GOARCH)
	cmd.Stdout, cmd.Stderr = &out, &out
	// The compilers that a killed go command leaves behind hold its output.
	cmd.WaitDelay = time.Second
	if err := cmd.Run(); err != nil {
		if unbuildable(out.String()) {
			return fmt.Errorf("%w: %w\n%s", errUnbuildable, err, &out)
		}
		return fmt.Errorf("building the Vault server: %w\n%s", err, &out)
	}
	return nil
}

// unbuildable reports whether the go command's output is that of a machine
// without the network or the toolchain, rather than of wrong sources.
func unbuildable(output string) bool {
	for _, sign := range []string{
		"dial tcp", "no such host", "network is unreachable", "i/o timeout", "TLS handshake timeout",
		"module lookup disabled by GOPROXY=off", "toolchain not available", "GOTOOLCHAIN=local",
	} {
		if strings.Contains(output, sign) {
			return true
		}
	}
	return false
}

// cacheKey hashes all that decides what the program is: the module files, the
// sources (the stubs are modules too), the flags and the platform.
func cacheKey(tool string) (string, error) {
	h := sha256.New()
	fmt.Fprintf(h, "%q %s/%s\n", buildFlags, runtime.GOOS, runtime.GOARCH)
	err := filepath.WalkDir(tool, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name := d.Name()
		if name != "go.mod" && name != "go.sum" && filepath.Ext(name) != ".go" {
			return nil
		}
		rel, err := filepath.Rel(tool, path)
		if err != nil {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		fmt.Fprintf(h, "%q %d\n%s", filepath.ToSlash(rel), len(content), content)
		return nil
	})
	if err != nil {
		return "", fmt.Errorf("reading the Vault server's sources: %w", err)
	}
	return hex.EncodeToString(h.Sum(nil))[:16], nil
}

// lock takes the lock that all test processes share. It asks rather than
// waits, so that ctx can end it.
func lock(ctx context.Context, path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("opening the build lock: %w", err)
	}
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil // closing unlocks
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			f.Close()
			return nil, fmt.Errorf("taking the build lock: %w", err)
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, fmt.Errorf("waiting for another build: %w", context.Cause(ctx))
		case <-time.After(100 * time.Millisecond):
		}
	}
}
