package postgrestest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"syscall"
)

// errMissing marks a machine that cannot run the server.
var errMissing = errors.New("PostgreSQL cannot be run here")

// programs returns the folder with the server's programs, or ends the test.
func programs(tb TB) string {
	tb.Helper()
	dir, err := findPrograms("/usr/lib/postgresql")
	if err != nil {
		unable(tb, err)
	}
	return dir
}

// unable ends a test that cannot have its real part.
func unable(tb TB, err error) {
	tb.Helper()
	if os.Getenv("CI") == "true" {
		tb.Fatalf("postgrestest: %v", err)
	}
	tb.Skipf("postgrestest: %v", err)
}

// findPrograms looks for the newest version where Debian installs them, since
// its PATH has only wrappers; then on the PATH.
func findPrograms(debian string) (string, error) {
	if runtime.GOOS != "linux" {
		return "", fmt.Errorf("%w: the tests find its processes in /proc, which is Linux's", errMissing)
	}
	found, err := filepath.Glob(filepath.Join(debian, "*", "bin", "initdb"))
	if err != nil {
		return "", fmt.Errorf("looking for PostgreSQL: %w", err)
	}
	if len(found) > 0 {
		newest := slices.MaxFunc(found, func(a, b string) int { return version(a) - version(b) })
		return filepath.Dir(newest), nil
	}
	initdb, err := exec.LookPath("initdb")
	if err != nil {
		return "", fmt.Errorf("%w: it is not installed; on Debian: apt-get install postgresql", errMissing)
	}
	return filepath.Dir(initdb), nil
}

// version is that of a program in …/15/bin; 0 if it is no number.
func version(program string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(program))))
	return n
}

// unprivileged returns whom the server runs as: nil for who we are, unless that
// is root.
func unprivileged() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	account, err := user.Lookup("postgres")
	if err != nil {
		account, err = user.Lookup("nobody")
	}
	if err != nil {
		return nil, fmt.Errorf("finding an unprivileged user: %w", err)
	}
	uid, err := strconv.ParseUint(account.Uid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("reading the user's number: %w", err)
	}
	gid, err := strconv.ParseUint(account.Gid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("reading the group's number: %w", err)
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
}
