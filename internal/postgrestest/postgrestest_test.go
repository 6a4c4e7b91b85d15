package postgrestest

import (
	"bufio"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

func connect(t *testing.T, dsn string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

func mustExec(t *testing.T, conn *pgx.Conn, statement string) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// count returns how many rows the table notes has.
func count(t *testing.T, conn *pgx.Conn) (n int) {
	t.Helper()
	if err := conn.QueryRow(t.Context(), "SELECT count(*) FROM notes").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestDatabasesAreApart(t *testing.T) {
	s := Start(t)
	first, second := connect(t, s.NewDatabase(t)), connect(t, s.NewDatabase(t))
	mustExec(t, first, "CREATE TABLE notes (n BIGINT)")
	if _, err := second.Exec(t.Context(), "SELECT * FROM notes"); err == nil {
		t.Error("the second database has the table of the first")
	}
}

func TestPasswordIsAsked(t *testing.T) {
	s := Start(t)
	wrong := strings.Replace(s.NewDatabase(t), s.Password(), "wrong", 1)
	if conn, err := pgx.Connect(t.Context(), wrong); err == nil {
		conn.Close(t.Context())
		t.Error("a wrong password was accepted")
	}
}

func TestWith(t *testing.T) {
	s := Start(t, With("max_connections", "7"))
	shown := func(parameter string) (value string) {
		if err := connect(t, s.dsn("postgres")).QueryRow(t.Context(), "SHOW "+parameter).Scan(&value); err != nil {
			t.Fatal(err)
		}
		return value
	}
	if got := shown("max_connections"); got != "7" {
		t.Errorf("max_connections is %s, want 7", got)
	}
	if got := shown("fsync"); got != "off" {
		t.Errorf("fsync is %s, want off", got)
	}
	s.Restart(With("fsync", "on"))
	if got := shown("fsync"); got != "on" {
		t.Errorf("fsync is %s after a restart with it, want on", got)
	}
}

// What was committed is there after a stop and after a crash, on the same
// address; connections break.
func TestStopAndKill(t *testing.T) {
	s := Start(t, With("fsync", "on"))
	dsn := s.NewDatabase(t)
	conn := connect(t, dsn)
	mustExec(t, conn, "CREATE TABLE notes (n BIGINT)")
	for want, end := range []func(){s.Stop, s.Kill, s.Kill} {
		mustExec(t, conn, "INSERT INTO notes VALUES (1)")
		end()
		if _, err := conn.Exec(t.Context(), "SELECT 1"); err == nil {
			t.Error("a stopped server answered")
		}
		if c, err := net.Dial("tcp", s.Address); err == nil {
			c.Close()
			t.Error("a stopped server accepts connections")
		}
		s.Restart()
		conn = connect(t, dsn)
		if got := count(t, conn); got != want+1 {
			t.Errorf("there are %d rows, want %d", got, want+1)
		}
	}
}

func TestPause(t *testing.T) {
	s := Start(t)
	conn, other := connect(t, s.dsn("postgres")), connect(t, s.dsn("postgres"))
	s.Pause()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := conn.Exec(ctx, "SELECT 1"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a frozen server: %v, want a timeout", err)
	}
	s.Resume()
	mustExec(t, other, "SELECT 1")
}

func TestStandby(t *testing.T) {
	s := Start(t)
	dsn := s.NewDatabase(t)
	mustExec(t, connect(t, dsn), "CREATE TABLE notes (n BIGINT)")
	s.RestartAsStandby()
	conn := connect(t, dsn)
	if got := count(t, conn); got != 0 {
		t.Errorf("the standby has %d rows, want none", got)
	}
	if _, err := conn.Exec(t.Context(), "INSERT INTO notes VALUES (1)"); err == nil {
		t.Error("the standby writes")
	}
	s.Promote()
	mustExec(t, conn, "INSERT INTO notes VALUES (1)")
}

func TestSmallTablespace(t *testing.T) {
	s := Start(t)
	s.SmallTablespace(t, "small", 4)
	conn := connect(t, s.NewDatabase(t))
	mustExec(t, conn, "CREATE TABLE notes (text TEXT) TABLESPACE small")
	_, err := conn.Exec(t.Context(), "INSERT INTO notes SELECT repeat('x', 1000) FROM generate_series(1, 10000)")
	if err == nil || !strings.Contains(err.Error(), "53100") {
		t.Errorf("writing 10 MB to a disk of 4: %v, want that it is full", err)
	}
}

// A paused server can be stopped.
func TestStopPaused(t *testing.T) {
	s := Start(t)
	s.Pause()
	s.Stop()
	s.Restart()
	s.Pause()
	s.Kill()
}

// The server ends with a test that crashed.
func TestCrashOfTheTest(t *testing.T) {
	const child = "POSTGRESTEST_CRASH"
	if os.Getenv(child) != "" {
		s := Start(t)
		os.Stdout.WriteString(strconv.Itoa(s.proc.pid) + " " + s.dir + "\n")
		select {}
	}
	programs(t) // skips here, not there
	cmd := exec.Command(os.Args[0], "-test.run=^TestCrashOfTheTest$")
	cmd.Env = append(os.Environ(), child+"=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	pid, dir, ok := strings.Cut(strings.TrimSpace(line), " ")
	server, convErr := strconv.Atoi(pid)
	if !ok || convErr != nil || !strings.Contains(dir, "postgrestest-") {
		_ = cmd.Process.Kill()
		t.Fatalf("read %q (%v) from the child", line, err)
	}
	defer os.RemoveAll(dir)
	family := append(children(server), server)
	if len(family) < 2 {
		t.Errorf("the server has the processes %v, want some more", family)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(pollInterval) {
		var alive []int
		for _, pid := range family {
			if runs(pid) {
				alive = append(alive, pid)
			}
		}
		if len(alive) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the processes %v outlived the test", alive)
		}
	}
}

// runs reports whether there is such a process that is more than a zombie.
func runs(pid int) bool {
	if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return false
	}
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	return err == nil && !strings.Contains(string(stat), ") Z ")
}

func TestFindPrograms(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	if _, err := findPrograms(dir); !errors.Is(err, errMissing) {
		t.Errorf("finding nothing: %v, want %v", err, errMissing)
	}
	install := func(folder string) {
		t.Helper()
		if err := os.MkdirAll(folder, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, "initdb"), nil, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	install(dir)
	if got, err := findPrograms(dir); got != dir || err != nil {
		t.Errorf("finding what is on the PATH: %q, %v", got, err)
	}
	for _, v := range []string{"9.6", "15", "17"} {
		install(filepath.Join(dir, v, "bin"))
	}
	if got, err := findPrograms(dir); got != filepath.Join(dir, "17", "bin") || err != nil {
		t.Errorf("finding the newest: %q, %v", got, err)
	}
}
