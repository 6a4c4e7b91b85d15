//go:build linux

package memory

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/internal/gatewaytest"
)

// process is a gateway that runs as one, on a Caddyfile of its folder.
type process struct {
	t       *testing.T
	cmd     *exec.Cmd
	address string // of its one site
	log     output
	end     func() // waits for the end
	ask     io.Writer
	answers *bufio.Reader
}

// start starts a command that runs a gateway, and waits until it is ready. It is
// killed when the test ends.
func start(t *testing.T, cmd *exec.Cmd, address string) *process {
	t.Helper()
	p := &process{t: t, cmd: cmd, address: address}
	cmd.Stderr = &p.log
	var err error
	if p.ask, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.answers = bufio.NewReader(out)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.end = sync.OnceFunc(func() { _ = cmd.Wait() }) // how it ended is in its state
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // fails only if it has ended
		p.end()
		if t.Failed() {
			t.Logf("the gateway logged:\n%s", &p.log)
		}
	})
	gatewaytest.Eventually(t, "the gateway to be ready", func() bool {
		status, _, err := p.get("/health/ready")
		return err == nil && status == http.StatusOK
	})
	return p
}

func (p *process) get(path string) (status int, body string, err error) {
	return p.call(http.MethodGet, path, "", "")
}

// call is one request over a connection of its own.
func (p *process) call(method, path, token, body string) (int, string, error) {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 30 * time.Second}
	request, err := http.NewRequestWithContext(p.t.Context(), method, "http://"+p.address+path, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := client.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	return response.StatusCode, string(answer), err
}

// proc is a file that the system has of the process.
func (p *process) proc(name string) string {
	return filepath.Join("/proc", strconv.Itoa(p.cmd.Process.Pid), name)
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

// write makes a file for its owner alone.
func write(t *testing.T, file, content string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// secretFile is the content of one.
func secretFile(username, key string) string {
	return fmt.Sprintf(`{"username":%q,"key":%q}`, username, key)
}
