//go:build linux

package powercut

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"text/template"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/internal/binarytest"
)

// The two operations whose transactions the gateway can ask about, and one of
// which it cannot.
const (
	payout          = "bank/payout"
	accountTransfer = "bank/account_transfer"
	walletTransfer  = "bank/wallet_transfer"
	statusOperation = "bank/payout_status"
)

// kioskPrefix is put before the request IDs of merchant kiosk.
const kioskPrefix = "K"

// caddyfile has short times, so that what is unknown is settled within the test.
var caddyfile = template.Must(template.New("Caddyfile").Parse(`{
	admin off
	persist_config off
	auto_https off
	storage file_system {{.Folder}}/storage
	log {
		level ERROR
	}
	nowpay {
		account main {
			secret file {{.Folder}}/secret.json
		}
		upstream http://{{.Provider}} {
			local_address {{.Egress}}
			timeout 1s
		}
		journal {{.Journal}} {
			key_file {{.KeyFile}}
		}
		reconcile {
			status_timeout 1s
			status_rate 1000/1s 1000
			person_after 1h
			daily_check off
		}
		{{if .Hook}}callbacks {
			from {{.ProviderIP}}
		}
		{{end}}{{if not .NoStatus}}operation bank/payout_status {
			moves_money off
			optional yourrequestid alphanumeric 50
		}
		operation bank/payout {
			{{template "status"}}
			revalidate pending
		}
		operation bank/account_transfer {
			{{template "status"}}
			revalidate always
		}
		{{end}}merchant shop {
			account main
			token {{.Shop}}
			from 127.0.0.1
			allow bank/*
			max_amount 5000
			daily_amount 100000000
			{{with index .Notify "shop"}}{{.}}{{end}}
		}
		merchant kiosk {
			account main
			token {{.Kiosk}}
			from 127.0.0.1
			allow bank/*
			request_id_prefix {{.Prefix}}
			{{with index .Notify "kiosk"}}{{.}}{{end}}
		}
	}
}

http://{{.Address}} {
	bind {{.IP}}
	nowpay_gateway
}
{{if .Hook}}
http://{{.Hook}} {
	bind {{.IP}}
	nowpay_callback
}

http://{{.Metrics}} {
	bind {{.IP}}
	metrics
}
{{end}}{{define "status"}}status bank/payout_status {
				send yourrequestid request_id
				rows data
				match yourrequestid request_id
				match ourrequestid provider_id
				match amount amount
				state status
				success 1
				failed 0
				pending 2
				provider_id ourrequestid
				reference rrn
			}{{end}}`))

// gateway is one that is killed and started again, on the same files.
type gateway struct {
	t       *testing.T
	address string
	hook    string // the address for callbacks; "": none are taken
	metrics string
	binary  string
	folder  string
	log     tail

	// Of the goroutine that kills.
	process *process // the newest
	kills   int
}

// settings are what gateways differ in.
type settings struct {
	ip, journal, keyFile, provider string // the journal is that of the Caddyfile: "sqlite <path>" or "postgres <dsn>"

	callbacks bool              // takes callbacks, and shows its metrics
	noStatus  bool              // nobody can be asked what became of a transaction
	notify    map[string]string // lines of the merchants
}

// newGateway makes the files of a gateway.
func newGateway(t *testing.T, ip, journal, keyFile, provider string) *gateway {
	t.Helper()
	return settings{ip: ip, journal: journal, keyFile: keyFile, provider: provider}.gateway(t)
}

func (s settings) gateway(t *testing.T) *gateway {
	t.Helper()
	free := freeAddresses(t, s.ip, 3)
	g := &gateway{t: t, address: free[0], binary: binarytest.Path(t), folder: t.TempDir()}
	if s.callbacks {
		g.hook, g.metrics = free[1], free[2]
	}
	secret := `{"username":"` + username + `","key":"` + key + `"}`
	if err := os.WriteFile(filepath.Join(g.folder, "secret.json"), []byte(secret), 0o600); err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	err := caddyfile.Execute(&text, map[string]any{
		"Folder": g.folder, "Provider": s.provider, "Egress": egressIP, "Journal": s.journal, "KeyFile": s.keyFile,
		"Shop": tokenHash(tokens[""]), "Kiosk": tokenHash(tokens[kioskPrefix]), "Prefix": kioskPrefix,
		"Address": g.address, "IP": s.ip, "Hook": g.hook, "Metrics": g.metrics, "ProviderIP": providerIP,
		"NoStatus": s.noStatus, "Notify": s.notify,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(g.folder, "Caddyfile"), text.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if g.process != nil {
			g.process.kill()
		}
		if g.log.bug != "" {
			t.Errorf("the gateway at %s has a bug:\n%s", g.address, g.log.bug)
		}
		if t.Failed() {
			t.Logf("the gateway at %s logged at last:\n%s", g.address, &g.log)
		}
	})
	return g
}

func tokenHash(token string) string {
	sum := sha256.Sum256([]byte(token))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// start returns at once.
func (g *gateway) start() {
	command := exec.Command(g.binary, "run", "--config", filepath.Join(g.folder, "Caddyfile"))
	command.Dir = g.folder
	command.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + g.folder, "XDG_CONFIG_HOME=" + g.folder, "XDG_DATA_HOME=" + g.folder,
	}
	command.Stdout, command.Stderr = &g.log, &g.log
	process, err := startProcess(command)
	if err != nil {
		g.t.Errorf("starting the gateway: %v", err)
	}
	g.process = process
}

// serves waits until it answers. It reports false if it has ended by itself, or
// takes too long.
func (g *gateway) serves() bool { return g.answers("/health/live") }

// ready waits until it can serve merchants, also if that takes more than itself.
func (g *gateway) ready() bool { return g.answers("/health/ready") }

func (g *gateway) answers(path string) bool {
	const patience, pause = 30 * time.Second, 2 * time.Millisecond
	status := "none"
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	for end := time.Now().Add(patience); time.Now().Before(end) && !g.process.ended(); time.Sleep(pause) {
		response, err := client.Get("http://" + g.address + path)
		if err != nil {
			continue
		}
		_ = response.Body.Close()
		if status = response.Status; response.StatusCode == http.StatusOK {
			return true
		}
	}
	g.t.Errorf("the gateway at %s does not answer %s as it should; its last answer: %s", g.address, path, status)
	return false
}

// cut ends it as a power cut does. It must have run until then.
func (g *gateway) cut() {
	if g.process.ended() {
		g.t.Errorf("the gateway at %s ended by itself", g.address)
	}
	g.process.kill()
	g.kills++
}

// stop ends it in order.
func (g *gateway) stop() {
	if code := g.process.terminate(); code != 0 {
		g.t.Errorf("the gateway at %s ended with exit code %d", g.address, code)
	}
}

// process is one run of a gateway.
type process struct {
	command *exec.Cmd
	exited  chan struct{} // closed when it has ended
}

func (p *process) ended() bool {
	select {
	case <-p.exited:
		return true
	default:
		return false
	}
}

func (p *process) kill() {
	_ = p.command.Process.Kill() // fails only if it has ended
	<-p.exited
}

func (p *process) terminate() (exitCode int) {
	_ = p.command.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.exited:
	case <-time.After(time.Minute):
		p.kill()
	}
	return p.command.ProcessState.ExitCode()
}

// tail keeps the end of what is written to it.
type tail struct {
	mu  sync.Mutex
	buf []byte
	bug string // the first that was told of, kept longer
}

const tailLength = 16 << 10

func (l *tail) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.buf = append(l.buf, b...)
	if over := len(l.buf) - tailLength; over > 0 {
		l.buf = append(l.buf[:0], l.buf[over:]...)
	}
	if l.bug == "" && (bytes.Contains(b, []byte("panic")) || bytes.Contains(b, []byte("fatal error"))) {
		l.bug = string(b)
	}
	return len(b), nil
}

func (l *tail) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.buf)
}
