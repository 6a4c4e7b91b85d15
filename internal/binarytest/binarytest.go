// Package binarytest builds the command caddy for tests that run it as a process
// of its own, as for a release.
package binarytest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/gofrs/flock"
)

// Path returns the path of the built command, or ends the test. It is built anew
// only where something has changed.
func Path(tb testing.TB) string {
	tb.Helper()
	path, err := build()
	if err != nil {
		tb.Fatalf("building ./cmd/caddy: %v", err)
	}
	return path
}

var build = sync.OnceValues(func() (string, error) {
	root, err := findRoot()
	if err != nil {
		return "", err
	}
	folder := filepath.Join(root, ".cache", "test")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return "", err
	}
	// The tests of other packages may be building it too.
	lock := flock.New(filepath.Join(folder, "caddy.lock"))
	if err := lock.Lock(); err != nil {
		return "", fmt.Errorf("waiting for another build: %w", err)
	}
	defer lock.Close()
	path := filepath.Join(folder, "caddy")
	command := exec.Command("internal/tools/release.sh", "go", "build", "-o", path, "./cmd/caddy")
	command.Dir = root
	if out, err := command.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return path, nil
})

// findRoot walks up to the top of the repository.
func findRoot() (string, error) {
	start, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for dir := start; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("finding the repository: no go.mod above %s", start)
		}
	}
}
