//go:build linux

package memory

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard" // the Caddyfile adapter, http

	_ "github.com/nowpay-gateway/nowpay-gateway/caddymodule"
)

// childVariable names the folder of a gateway that this binary is to be, instead of
// a test.
const childVariable = "NOWPAY_MEMORY_CHILD"

func TestMain(m *testing.M) {
	if folder := os.Getenv(childVariable); folder != "" {
		if err := child(folder); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// child runs a gateway on the folder's Caddyfile, and does what it is told on its
// standard input: "collect" the garbage, or "dump" its heap into the folder.
func child(folder string) error {
	text, err := os.ReadFile(filepath.Join(folder, "Caddyfile"))
	if err != nil {
		return err
	}
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt(text, map[string]any{"filename": "Caddyfile"})
	if err != nil {
		return err
	}
	if err := caddy.Load(config, true); err != nil {
		return err
	}
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		err := errors.New("it does not know that")
		switch lines.Text() {
		case "collect":
			runtime.GC()
			runtime.GC() // what the first one found to be dead is free
			err = nil
		case "dump":
			err = dumpHeap(filepath.Join(folder, "heap"))
		}
		fmt.Println(err)
	}
	return caddy.Stop()
}

func dumpHeap(file string) error {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	debug.WriteHeapDump(f.Fd())
	return nil
}

// startChild runs a gateway on a Caddyfile. Further variables are of its environment.
func startChild(t *testing.T, caddyfile, address string, env ...string) (*process, string) {
	t.Helper()
	folder := t.TempDir()
	write(t, filepath.Join(folder, "Caddyfile"), strings.ReplaceAll(caddyfile, "{folder}", folder))
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Dir = folder
	cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), childVariable + "=" + folder,
		"HOME=" + folder, "XDG_CONFIG_HOME=" + folder, "XDG_DATA_HOME=" + folder,
	}, env...)
	return start(t, cmd, address), folder
}

// tell has the child do something, and waits for that.
func (p *process) tell(what string) {
	p.t.Helper()
	if _, err := fmt.Fprintln(p.ask, what); err != nil {
		p.t.Fatal(err)
	}
	if answer, err := p.answers.ReadString('\n'); err != nil || answer != "<nil>\n" {
		p.t.Fatalf("telling the gateway to %s: %v: %s", what, err, answer)
	}
}
