package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const (
	token       = "npg_bench"
	signedToken = "npg_bench_signed" // of the merchant whose account signs
	key         = "0123456789abcdef0123456789"
	quote       = "bank/quote" // bank/payout without money
	providerIP  = "127.0.0.9"
	ready       = 30 * time.Second
)

// caddyfile is for the provider's address, the folder, the hashes of the tokens, and
// two addresses of the gateway: of the admin endpoint and of the merchants'.
const caddyfile = `{
	admin %[5]s
	log {
		output file %[2]s/log.json
	}
	metrics
	nowpay {
		account main {
			secret file %[2]s/secret.json
			sign credentials
		}
		account signed {
			secret file %[2]s/secret.json
			sign httpsig
			verify httpsig
		}
		upstream http://%[1]s {
			local_address 127.0.0.5
		}
		journal sqlite %[2]s/journal.db
		operation ` + quote + ` {
			moves_money off
			field accountnumber text
			field ifsc text
			field amount amount
			field yourrequestid alphanumeric 50
			field name text
			field transferMode choice IMPS NEFT
			request_id yourrequestid
			provider_id ourrequestid
			amount amount
			personal accountnumber ifsc name rrn
		}
		merchant shop {
			account main
			token sha256:%[3]s
			from 127.0.0.0/8
			allow bank/*
		}
		merchant signed {
			account signed
			token sha256:%[4]s
			from 127.0.0.0/8
			allow bank/*
		}
	}
}

http://%[6]s {
	nowpay_gateway
}
`

// gateway is one that runs, with its provider.
type gateway struct {
	folder   string
	admin    string
	url      string
	process  *exec.Cmd
	provider *exec.Cmd
	hangUp   io.Closer // ends the provider
}

// state is what the gateway has done so far.
type state struct {
	cpu                time.Duration
	successes, commits float64
}

// start builds the gateway and starts it and the provider.
func start(ctx context.Context) (g *gateway, err error) {
	g = &gateway{}
	defer func() {
		if err != nil {
			err = errors.Join(err, g.close())
		}
	}()
	if g.folder, err = os.MkdirTemp("", "bench-"); err != nil {
		return g, fmt.Errorf("making a folder: %w", err)
	}
	binary := filepath.Join(g.folder, "caddy")
	build := exec.CommandContext(ctx, "go", "build", "-o", binary, "./cmd/caddy")
	if out, err := build.CombinedOutput(); err != nil {
		return g, fmt.Errorf("building ./cmd/caddy: %w\n%s", err, out)
	}
	provider, err := g.startProvider()
	if err != nil {
		return g, err
	}
	var addresses [2]string
	for i := range addresses {
		if addresses[i], err = freeAddress(); err != nil {
			return g, err
		}
	}
	g.admin, g.url = addresses[0], "http://"+addresses[1]
	for name, text := range map[string]string{
		"secret.json": `{"username":"2000","key":"` + key + `"}`,
		"Caddyfile":   fmt.Sprintf(caddyfile, provider, g.folder, hash(token), hash(signedToken), addresses[0], addresses[1]),
	} {
		if err := os.WriteFile(filepath.Join(g.folder, name), []byte(text), 0o600); err != nil {
			return g, fmt.Errorf("writing the configuration: %w", err)
		}
	}
	return g, g.startCaddy(ctx, binary)
}

// hash is that of a token.
func hash(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

func (g *gateway) startProvider() (address string, err error) {
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("finding this command: %w", err)
	}
	g.provider = exec.Command(self, asProvider) // it ends with its input
	in, err := g.provider.StdinPipe()
	if err != nil {
		return "", fmt.Errorf("starting the provider: %w", err)
	}
	out, err := g.provider.StdoutPipe()
	if err != nil {
		return "", fmt.Errorf("starting the provider: %w", err)
	}
	if err := g.provider.Start(); err != nil {
		return "", fmt.Errorf("starting the provider: %w", err)
	}
	g.hangUp = in
	address, err = bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("reading the provider's address: %w", err)
	}
	return strings.TrimSpace(address), nil
}

// startCaddy starts the gateway and waits until it is ready.
func (g *gateway) startCaddy(ctx context.Context, binary string) error {
	g.process = exec.Command(binary, "run", "--config", filepath.Join(g.folder, "Caddyfile")) // close ends it
	var said strings.Builder
	g.process.Stderr = &said
	if err := g.process.Start(); err != nil {
		return fmt.Errorf("starting the gateway: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, ready)
	defer cancel()
	for {
		if _, err := get(ctx, g.url+"/health/ready"); err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for the gateway: %w\n%s", ctx.Err(), said.String())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// close ends what runs, and removes what was written.
func (g *gateway) close() error {
	var errs []error
	if g.process != nil && g.process.Process != nil {
		errs = append(errs, g.process.Process.Signal(os.Interrupt), g.process.Wait())
	}
	if g.hangUp != nil {
		errs = append(errs, g.hangUp.Close(), g.provider.Wait())
	}
	return errors.Join(append(errs, os.RemoveAll(g.folder))...)
}

// read reads what the gateway has done so far.
func (g *gateway) read(ctx context.Context) (s state, err error) {
	// The 14th and 15th field of proc_pid_stat(5), in hundredths of a second.
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", g.process.Process.Pid))
	if err != nil {
		return s, fmt.Errorf("reading the gateway's CPU time: %w", err)
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	for _, ticks := range strings.Fields(rest)[11:13] {
		n, err := strconv.Atoi(ticks)
		if err != nil {
			return s, fmt.Errorf("reading the gateway's CPU time: %w", err)
		}
		s.cpu += time.Duration(n) * 10 * time.Millisecond
	}
	metrics, err := get(ctx, "http://"+g.admin+"/metrics")
	if err != nil {
		return s, err
	}
	for line := range strings.Lines(metrics) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "} ")
		if !strings.Contains(name, "{") {
			name, value, _ = strings.Cut(strings.TrimSpace(line), " ")
		}
		n, err := strconv.ParseFloat(value, 64)
		switch {
		case err != nil:
		case name == "nowpay_journal_commits_total":
			s.commits = n
		case strings.HasPrefix(name, "nowpay_exchanges_total") && strings.Contains(name, `outcome="success"`):
			s.successes += n
		}
	}
	return s, nil
}

// freeAddress is one that was free a moment ago.
func freeAddress() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("finding a free port: %w", err)
	}
	return listener.Addr().String(), listener.Close()
}

func get(ctx context.Context, url string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", fmt.Errorf("asking %s: %w", url, err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", fmt.Errorf("asking %s: %w", url, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("HTTP %d: %s", response.StatusCode, body)
	}
	if err != nil {
		return "", fmt.Errorf("asking %s: %w", url, err)
	}
	return string(body), nil
}
