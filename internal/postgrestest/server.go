package postgrestest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	// startTimeout bounds the time to the server's first answer, also after a
	// crash, from which it recovers first.
	startTimeout = 60 * time.Second
	// stopTimeout bounds the time that an orderly stop may take.
	stopTimeout = 20 * time.Second
	// pollInterval is how often a state is asked for.
	pollInterval = 10 * time.Millisecond
	// logLimit bounds how much of the log a failed test shows.
	logLimit = 64 << 10
)

// Server is a running PostgreSQL server of one test. Its methods end the test
// when they fail, so they are for the test's own goroutine, and one at a time.
type Server struct {
	// Address is the server's host and port. It stays the same over restarts.
	Address string

	tb        TB
	programs  string // the folder
	dir       string // with the data, and whom the server runs as owns it
	as        *syscall.Credential
	password  string
	settings  []string
	proc      *process // nil while stopped
	databases int
	unmounts  []func() error
}

// Option changes how Start starts a server.
type Option func(*Server)

// With sets one of the server's parameters, such as max_connections. By default
// fsync is off, for speed.
func With(parameter, value string) Option {
	return func(s *Server) { s.settings = append(s.settings, "-c", parameter+"="+value) }
}

// Start runs a new, empty server. It is stopped when the test ends.
func Start(tb TB, opts ...Option) *Server {
	tb.Helper()
	s := &Server{
		tb:       tb,
		programs: programs(tb),
		password: rand.Text(),
		settings: []string{
			"-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=",
			"-c", "shared_buffers=32MB", "-c", "max_connections=50", "-c", "fsync=off",
		},
	}
	for _, opt := range opts {
		opt(s)
	}
	var err error
	if s.as, err = unprivileged(); err != nil {
		tb.Fatalf("postgrestest: %v", err)
	}
	// No folder of the test's: only we may look into those.
	if s.dir, err = os.MkdirTemp("", "postgrestest-"); err != nil {
		tb.Fatalf("postgrestest: making the folder: %v", err)
	}
	tb.Cleanup(s.cleanUp)
	if err := s.initialise(); err != nil {
		tb.Fatalf("postgrestest: %v", err)
	}
	s.Address = freeAddress(tb)
	s.start()
	return s
}

// cleanUp ends the server and removes all it had.
func (s *Server) cleanUp() {
	if s.proc != nil {
		s.proc.kill()
	}
	if s.tb.Failed() {
		log, _ := os.ReadFile(s.logFile())
		s.tb.Logf("log of the PostgreSQL server:\n%s", log[max(0, len(log)-logLimit):])
	}
	for _, unmount := range s.unmounts {
		if err := unmount(); err != nil {
			s.tb.Errorf("postgrestest: unmounting: %v", err)
			return // its files are not ours to remove
		}
	}
	if err := os.RemoveAll(s.dir); err != nil {
		s.tb.Errorf("postgrestest: removing the folder: %v", err)
	}
}

func (s *Server) dataDir() string { return filepath.Join(s.dir, "data") }
func (s *Server) logFile() string { return filepath.Join(s.dir, "log") }

// initialise makes the data folder.
func (s *Server) initialise() error {
	passwordFile := filepath.Join(s.dir, "password")
	if err := os.WriteFile(passwordFile, []byte(s.password), 0o600); err != nil {
		return fmt.Errorf("writing the password: %w", err)
	}
	if s.as != nil {
		for _, path := range []string{s.dir, passwordFile} {
			if err := os.Chown(path, int(s.as.Uid), int(s.as.Gid)); err != nil {
				return fmt.Errorf("giving the folder away: %w", err)
			}
		}
	}
	cmd := s.command("initdb", "-D", s.dataDir(), "-U", "postgres", "--pwfile", passwordFile,
		"-A", "scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("making the data folder: %w\n%s", err, out)
	}
	return nil
}

// command is one of the server's programs, run as whom the data belongs to.
func (s *Server) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(s.programs, name), args...)
	cmd.Dir = s.dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "TZ=UTC"}
	// A group of its own: a terminal's Ctrl-C is for the tests.
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.as, Setpgid: true}
	return cmd
}

// start runs the server and waits until it answers. It tries again when the
// server ends at once: what a killed one left behind may still be there, and
// another program may have the port for a moment.
func (s *Server) start() {
	s.tb.Helper()
	_, port, _ := net.SplitHostPort(s.Address)
	var err error
	for deadline := time.Now().Add(startTimeout); time.Now().Before(deadline); time.Sleep(pollInterval) {
		if s.proc == nil || s.proc.ended() {
			args := append([]string{"-D", s.dataDir(), "-p", port}, s.settings...)
			if s.proc, err = startProcess(s.command("postgres", args...), s.logFile()); err != nil {
				s.tb.Fatalf("postgrestest: %v", err)
			}
		}
		if err = s.Exec("SELECT 1"); err == nil {
			return
		}
	}
	s.tb.Fatalf("postgrestest: waiting for the server to answer: %v", err)
}

// Exec runs a statement as the server's administrator.
func (s *Server) Exec(statement string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.tb.Context()), startTimeout)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.dsn("postgres"))
	if err != nil {
		return fmt.Errorf("connecting as the administrator: %w", err)
	}
	_, err = conn.Exec(ctx, statement)
	return errors.Join(err, conn.Close(ctx))
}

// NewDatabase makes an empty database and returns its DSN, a URL with a
// password. Whom it names may do everything.
func (s *Server) NewDatabase(tb TB) (dsn string) {
	tb.Helper()
	s.databases++
	name := "test" + strconv.Itoa(s.databases)
	if err := s.Exec("CREATE DATABASE " + name); err != nil {
		tb.Fatalf("postgrestest: making a database: %v", err)
	}
	return s.dsn(name)
}

func (s *Server) dsn(database string) string {
	u := url.URL{
		Scheme: "postgres", Host: s.Address, Path: "/" + database,
		User:     url.UserPassword("postgres", s.password),
		RawQuery: "sslmode=disable",
	}
	return u.String()
}

// Version is the server's, such as 15.18.
func (s *Server) Version() string {
	out, err := s.command("postgres", "--version").Output()
	if err != nil {
		s.tb.Fatalf("postgrestest: asking for the version: %v", err)
	}
	_, version, _ := strings.Cut(string(out), ") ") // postgres (PostgreSQL) 15.18 (Debian …)
	version, _, _ = strings.Cut(version, " ")
	return strings.TrimSpace(version)
}

// Password is the one in the DSNs.
func (s *Server) Password() string { return s.password }

// Stop ends the server in order: it breaks all connections and writes down what
// it holds. Stopping a stopped server does nothing.
func (s *Server) Stop() {
	s.tb.Helper()
	if s.proc == nil {
		return
	}
	s.Resume()
	_ = syscall.Kill(s.proc.pid, syscall.SIGINT) // fails only if it has ended
	select {
	case <-s.proc.exited:
	case <-time.After(stopTimeout):
		s.proc.kill()
		s.tb.Errorf("postgrestest: the server did not stop within %v", stopTimeout)
	}
	s.proc = nil
}

// Kill ends the server at once, as a machine that fails would.
func (s *Server) Kill() {
	if s.proc != nil {
		s.proc.kill()
		s.proc = nil
	}
}

// Restart starts the server again on the same address and data, and stops it
// first if it runs. The options are added to those it had.
func (s *Server) Restart(opts ...Option) {
	s.tb.Helper()
	s.Stop()
	for _, opt := range opts {
		opt(s)
	}
	s.start()
}

// SmallTablespace makes a tablespace on a disk of that size, which a test can
// fill. That needs root, and is skipped without unless CI=true.
func (s *Server) SmallTablespace(tb TB, name string, mebibytes int) {
	tb.Helper()
	dir := filepath.Join(s.dir, name)
	if err := os.Mkdir(dir, 0o700); err != nil {
		tb.Fatalf("postgrestest: making the folder: %v", err)
	}
	if s.as == nil {
		unable(tb, fmt.Errorf("%w: mounting a small file system needs root", errMissing))
	}
	unmount, err := mountSmall(dir, mebibytes, s.as)
	if err != nil {
		unable(tb, err)
	}
	s.unmounts = append(s.unmounts, unmount)
	if err := s.Exec(fmt.Sprintf("CREATE TABLESPACE %s LOCATION '%s'", name, dir)); err != nil {
		tb.Fatalf("postgrestest: making the tablespace: %v", err)
	}
}

// RestartAsStandby restarts the server as one that waits for a primary, which
// never comes: it answers queries and refuses to write. Promote ends that.
func (s *Server) RestartAsStandby() {
	s.tb.Helper()
	if err := os.WriteFile(filepath.Join(s.dataDir(), "standby.signal"), nil, 0o644); err != nil {
		s.tb.Fatalf("postgrestest: making a standby: %v", err)
	}
	s.Restart()
}

// Promote makes the primary of a standby, and returns when it is that.
func (s *Server) Promote() {
	s.tb.Helper()
	if err := s.Exec("SELECT pg_promote()"); err != nil {
		s.tb.Fatalf("postgrestest: promoting: %v", err)
	}
}

// Pause freezes the server: connections stay, new ones are even accepted by the
// kernel, and nothing answers.
func (s *Server) Pause() {
	if s.proc != nil {
		_ = syscall.Kill(s.proc.pid, syscall.SIGSTOP) // first, so that it forks no more
		s.proc.signalAll(syscall.SIGSTOP)
	}
}

// Resume ends a Pause.
func (s *Server) Resume() {
	if s.proc != nil {
		s.proc.signalAll(syscall.SIGCONT)
	}
}

// freeAddress is one that was free a moment ago. It lies below those ports that
// systems give to outgoing connections, which would otherwise take it while the
// server is stopped.
func freeAddress(tb TB) string {
	tb.Helper()
	const lowest, highest, tries = 10_000, 30_000, 1000
	for range tries {
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(lowest+mathrand.IntN(highest-lowest))))
		if err == nil {
			defer l.Close()
			return l.Addr().String()
		}
	}
	tb.Fatal("postgrestest: no free ports")
	return ""
}
