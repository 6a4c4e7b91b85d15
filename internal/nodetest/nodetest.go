// Package nodetest installs what tests need of npm's packages, once.
package nodetest

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Install returns a folder with the scripts of another one, and with the packages that
// its package-lock.json names. It is the repository's .cache that they are installed
// into, so the first time takes npm its registry. A test that cannot have node or npm is
// skipped; in CI it fails.
func Install(tb testing.TB, from string, scripts ...string) string {
	tb.Helper()
	for _, program := range [...][2]string{{"node", "nodejs"}, {"npm", "npm"}} {
		if _, err := exec.LookPath(program[0]); err != nil {
			missing(tb, fmt.Sprintf("%s is missing: install Debian's package %s", program[0], program[1]))
		}
	}
	files := append([]string{"package.json", "package-lock.json"}, scripts...)
	sum, contents := sha256.New(), make(map[string][]byte)
	for _, name := range files {
		content, err := os.ReadFile(filepath.Join(from, name))
		if err != nil {
			tb.Fatal(err)
		}
		sum.Write(content)
		contents[name] = content
	}
	root, err := findRoot()
	if err != nil {
		tb.Fatal(err)
	}
	cache := filepath.Join(root, ".cache", "node")
	into := filepath.Join(cache, fmt.Sprintf("%x", sum.Sum(nil)[:8]))
	if _, err := os.Stat(into); err != nil {
		install(tb, cache, into, contents)
	}
	return into
}

// install makes the folder as a whole: another test may be making it too.
func install(tb testing.TB, cache, into string, contents map[string][]byte) {
	tb.Helper()
	if err := os.MkdirAll(cache, 0o755); err != nil {
		tb.Fatal(err)
	}
	folder, err := os.MkdirTemp(cache, "new-")
	if err != nil {
		tb.Fatal(err)
	}
	defer os.RemoveAll(folder)
	for name, content := range contents {
		if err := os.WriteFile(filepath.Join(folder, name), content, 0o600); err != nil {
			tb.Fatal(err)
		}
	}
	npm := exec.CommandContext(tb.Context(), "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	npm.Dir = folder
	if out, err := npm.CombinedOutput(); err != nil {
		missing(tb, fmt.Sprintf("npm cannot install the packages: %v\n%s", err, out))
	}
	if err := os.Rename(folder, into); err != nil && !errors.Is(err, fs.ErrExist) {
		tb.Fatal(err)
	}
}

// findRoot finds the repository from the folder that tests of it run in.
func findRoot() (string, error) {
	folder, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("finding the repository: %w", err)
	}
	for ; ; folder = filepath.Dir(folder) {
		if _, err := os.Stat(filepath.Join(folder, "go.mod")); err == nil {
			return folder, nil
		}
		if folder == filepath.Dir(folder) {
			return "", errors.New("finding the repository: no go.mod above this folder")
		}
	}
}

// missing skips a test that cannot have what it needs; in CI it fails.
func missing(tb testing.TB, what string) {
	tb.Helper()
	if os.Getenv("CI") == "true" {
		tb.Fatal(what)
	}
	tb.Skip(what)
}
