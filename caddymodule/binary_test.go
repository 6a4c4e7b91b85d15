package caddymodule_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/nowpay-gateway/nowpay-gateway/internal/binarytest"
	"github.com/nowpay-gateway/nowpay-gateway/internal/gatewaytest"
)

// repository is the top of it, from this folder.
const repository = ".."

// command is a run of the binary.
type command struct {
	args      []string
	dir       string   // where it runs; default: a new folder
	env       []string // beside what every run has
	stdin     string
	namespace string // the network that it is in; default: the test's own
}

// make prepares the run, with an environment and a home of its own.
func (c command) make(t *testing.T) *exec.Cmd {
	t.Helper()
	path := binarytest.Path(t)
	home := t.TempDir()
	if c.dir == "" {
		c.dir = home
	}
	args := append([]string{path}, c.args...)
	if c.namespace != "" {
		args = append([]string{"ip", "netns", "exec", c.namespace}, args...) // becomes the command
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = c.dir
	cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + home, "XDG_CONFIG_HOME=" + home, "XDG_DATA_HOME=" + home,
	}, c.env...)
	cmd.Stdin = strings.NewReader(c.stdin)
	return cmd
}

// result is what a command that ended has left.
type result struct {
	code           int
	stdout, stderr string
}

// run waits for the end of a command.
func (c command) run(t *testing.T) result {
	t.Helper()
	cmd := c.make(t)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatalf("running %v: %v", c.args, err)
	}
	return result{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// runNowpay runs `caddy nowpay` with arguments.
func runNowpay(t *testing.T, args ...string) result {
	t.Helper()
	return command{args: append([]string{"nowpay"}, args...)}.run(t)
}

// running is a command that stays up.
type running struct {
	t    *testing.T
	cmd  *exec.Cmd
	end  func() // waits for the end
	out  output // what it prints
	logs output // what it logs
}

// start returns at once. The command is killed when the test ends, if it still
// runs then.
func (c command) start(t *testing.T) *running {
	t.Helper()
	r := &running{t: t, cmd: c.make(t)}
	r.cmd.Stdout, r.cmd.Stderr = &r.out, &r.logs
	if err := r.cmd.Start(); err != nil {
		t.Fatalf("starting %v: %v", c.args, err)
	}
	r.end = sync.OnceFunc(func() { _ = r.cmd.Wait() }) // the exit code tells more
	t.Cleanup(func() {
		_ = r.cmd.Process.Kill() // fails only if it has ended
		r.end()
		if t.Failed() {
			t.Logf("%v printed:\n%s\nand logged:\n%s", c.args, &r.out, &r.logs)
		}
	})
	return r
}

// prints waits until it has printed a text.
func (r *running) prints(text string) {
	r.t.Helper()
	gatewaytest.Eventually(r.t, fmt.Sprintf("%v to print %q", r.cmd.Args[1:], text), func() bool {
		return strings.Contains(r.out.String(), text)
	})
}

// signal sends one, waits for the end and returns the exit code.
func (r *running) signal(s os.Signal) int {
	r.t.Helper()
	if err := r.cmd.Process.Signal(s); err != nil {
		r.t.Fatalf("ending %v: %v", r.cmd.Args[1:], err)
	}
	r.end()
	return r.cmd.ProcessState.ExitCode()
}

// output gathers what is written while it may be read.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// freeAddress is one of loopback that was free a moment ago.
func freeAddress(t *testing.T) string {
	t.Helper()
	return "127.0.0.1:" + gatewaytest.FreePort(t)
}

func listen(t *testing.T, address string) net.Listener {
	t.Helper()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	return listener
}

// needPart skips the test where a part is missing; in CI it fails.
func needPart(t *testing.T, there bool, part string) {
	t.Helper()
	switch {
	case there:
	case os.Getenv("CI") == "true":
		t.Fatalf("this test needs %s", part)
	default:
		t.Skipf("this test needs %s", part)
	}
}

// exampleAddresses are where the parts of Caddyfile.example listen.
var exampleAddresses = []string{"127.0.0.1:8480", "127.0.0.1:8488", "127.0.0.1:8489", "127.0.0.9:8490", "127.0.0.9:8491"}

// needExampleAddresses waits for a demo that somebody else is showing.
func needExampleAddresses(t *testing.T) {
	t.Helper()
	for _, address := range exampleAddresses {
		gatewaytest.Eventually(t, address+" to be free, which Caddyfile.example needs; is a demo running?", func() bool {
			listener, err := net.Listen("tcp", address)
			if err != nil {
				return false
			}
			return listener.Close() == nil
		})
	}
}

// write makes a file in a new folder.
func write(t *testing.T, name, content string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// read returns a file of the repository.
func read(t *testing.T, name string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(repository, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

var _ io.Writer = (*output)(nil)
