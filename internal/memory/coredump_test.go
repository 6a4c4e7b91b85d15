//go:build linux

package memory

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/nowpay-gateway/nowpay-gateway/internal/binarytest"
)

// nobody is a user without rights, to whom alone a process that is not dumpable is
// closed.
const nobody = 65534

const crashKey = "7c1e5d09ab42f6638d70e15bc9"

// crashing is the built binary at work, under a user without rights if the test may
// choose.
type crashing struct {
	*process
	folder string
}

func startCrashing(t *testing.T, words string) *crashing {
	t.Helper()
	folder, err := os.MkdirTemp("", "nowpay-memory-") // the test's own is closed to other users
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	address := freeAddress(t)
	write(t, filepath.Join(folder, "secret.json"), secretFile("2000", crashKey))
	write(t, filepath.Join(folder, "Caddyfile"), fmt.Sprintf(`{
	admin off
	persist_config off
	nowpay {
		account main {
			secret file %[1]s/secret.json
		}
		upstream http://127.0.0.9:8490
		journal sqlite %[1]s/journal.db
		merchant shop {
			account main
			user shop
			from 127.0.0.1
			allow bank/payout
		}
		%[2]s
	}
}

http://%[3]s {
	metrics /metrics
	nowpay_gateway
}
`, folder, words, address))
	binary := filepath.Join(folder, "binary")
	content, err := os.ReadFile(binarytest.Path(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(binary, content, 0o700); err != nil {
		t.Fatal(err)
	}
	// What the system allows by itself is to be no reason why there is no dump.
	cmd := exec.Command("sh", "-c", `ulimit -c unlimited && exec "$@"`, "sh", binary, "run", "--config", "Caddyfile")
	cmd.Dir = folder
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "GOTRACEBACK=crash",
		"HOME=" + folder, "XDG_CONFIG_HOME=" + folder, "XDG_DATA_HOME=" + folder,
	}
	if os.Getuid() == 0 {
		for _, name := range []string{"", "binary", "Caddyfile", "secret.json"} {
			if err := os.Chown(filepath.Join(folder, name), nobody, nobody); err != nil {
				t.Fatal(err)
			}
		}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	return &crashing{start(t, cmd, address), folder}
}

// dumpable reports whether the process's memory is open to its own user: then the
// system's files of it are that user's.
func (c *crashing) dumpable() bool {
	c.t.Helper()
	info, err := os.Stat(c.proc("mem"))
	if err != nil {
		c.t.Fatal(err)
	}
	return info.Sys().(*syscall.Stat_t).Uid != 0
}

// limits are those of the size of core dumps, soft and hard.
func (c *crashing) limits() string {
	c.t.Helper()
	limits, err := os.ReadFile(c.proc("limits"))
	if err != nil {
		c.t.Fatal(err)
	}
	found := regexp.MustCompile(`(?m)^Max core file size +(\S+) +(\S+)`).FindSubmatch(limits)
	if found == nil {
		c.t.Fatalf("no limit of core dumps in:\n%s", limits)
	}
	return fmt.Sprintf("%s %s", found[1], found[2])
}

// crash ends the process with a signal that dumps core, and returns the dump; nil if
// there is none.
func (c *crashing) crash(signal syscall.Signal) []byte {
	c.t.Helper()
	if err := c.cmd.Process.Signal(signal); err != nil {
		c.t.Fatal(err)
	}
	c.end()
	// After a SIGQUIT Go's runtime ends the process itself.
	if status := c.cmd.ProcessState.Sys().(syscall.WaitStatus); signal == syscall.SIGABRT && status.Signal() != signal {
		c.t.Fatalf("it has not crashed: %v", c.cmd.ProcessState)
	}
	files, err := filepath.Glob(filepath.Join(c.folder, "core*"))
	if err != nil || len(files) == 0 {
		return nil
	}
	dump, err := os.ReadFile(files[0])
	if err != nil {
		c.t.Fatal(err)
	}
	return dump
}

// TestNoCoreDump looks at the built binary: it is not dumpable, may not dump core,
// and does not when it crashes. What it does with the system's files of itself still
// works.
func TestNoCoreDump(t *testing.T) {
	t.Parallel()
	for _, signal := range []syscall.Signal{syscall.SIGABRT, syscall.SIGQUIT} {
		t.Run(signal.String(), func(t *testing.T) {
			t.Parallel()
			c := startCrashing(t, "")
			if os.Getuid() == 0 && c.dumpable() {
				t.Error("the process is dumpable")
			}
			if got := c.limits(); got != "0 0" {
				t.Errorf("the limits of core dumps are %s", got)
			}
			if text := c.log.String(); strings.Contains(text, "core dump") {
				t.Errorf("it logs of core dumps:\n%s", text)
			}
			c.mustMeasureItself()
			// Not dumpable alone is enough, where the test may take the limit away.
			unlimited := &unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY}
			if err := unix.Prlimit(c.cmd.Process.Pid, unix.RLIMIT_CORE, unlimited, nil); err != nil {
				t.Logf("the limit stays: lifting it: %v", err)
			}
			if dump := c.crash(signal); dump != nil {
				t.Errorf("it has left a core dump of %d bytes", len(dump))
			}
		})
	}
}

// mustMeasureItself looks for what Prometheus' collector reads of the process.
func (c *crashing) mustMeasureItself() {
	c.t.Helper()
	status, metrics, err := c.get("/metrics")
	if err != nil || status != http.StatusOK {
		c.t.Fatalf("metrics: %d, %v", status, err)
	}
	for _, name := range []string{"process_open_fds", "process_max_fds", "process_resident_memory_bytes", "process_start_time_seconds"} {
		if !regexp.MustCompile(`(?m)^` + name + ` [1-9]`).MatchString(metrics) {
			c.t.Errorf("there is no metric %s", name)
		}
	}
}

// TestCoreDump leaves them on. Then the key is in them: what the test above looks for
// is there to be found.
func TestCoreDump(t *testing.T) {
	t.Parallel()
	c := startCrashing(t, "core_dumps")
	if !c.dumpable() && os.Getuid() == 0 {
		t.Error("the process is not dumpable")
	}
	if got := c.limits(); got != "unlimited "+"unlimited" {
		t.Errorf("the limits of core dumps are %s", got)
	}
	if text := c.log.String(); !strings.Contains(text, "the key is in a core dump") {
		t.Errorf("it logs nothing of the danger:\n%s", text)
	}
	pattern, err := os.ReadFile("/proc/sys/kernel/core_pattern")
	if err != nil {
		t.Fatal(err)
	}
	dump := c.crash(syscall.SIGABRT)
	if !bytes.HasPrefix(pattern, []byte("core")) {
		t.Logf("core dumps of this system go to %q: they are not looked at", bytes.TrimSpace(pattern))
		return
	}
	if !bytes.Contains(dump, []byte(crashKey)) {
		t.Errorf("the key is not in the core dump, which has %d bytes", len(dump))
	}
}
