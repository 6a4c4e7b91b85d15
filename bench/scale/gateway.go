package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	providerIP = "127.0.0.9"
	ready      = 2 * time.Minute // with a million transactions, or thousands of merchants
)

// row is one line of a table: a gateway, its provider, and who calls it.
type row struct {
	name         string
	merchants    int
	connections  int
	latency      time.Duration
	maxInFlight  int // 0: the default
	transactions int // in the journal beforehand
	pays         bool
}

// gateway is one that runs, with its provider.
type gateway struct {
	row      row
	folder   string
	admin    string
	url      string
	process  *exec.Cmd
	provider *exec.Cmd
	hangUp   io.Closer // ends the provider
	idle     state     // before the first exchange
}

// start starts the gateway and the provider of a row.
func start(ctx context.Context, binary string, r row) (g *gateway, err error) {
	g = &gateway{row: r}
	defer func() {
		if err != nil {
			err = errors.Join(err, g.close())
		}
	}()
	if g.folder, err = os.MkdirTemp("", "scale-"); err != nil {
		return g, fmt.Errorf("making a folder: %w", err)
	}
	provider, err := g.startProvider()
	if err != nil {
		return g, err
	}
	admin, site, err := freeAddresses()
	if err != nil {
		return g, err
	}
	g.admin, g.url = admin, "http://"+site
	for name, text := range map[string]string{
		"secret.json": `{"username":"2000","key":"0123456789abcdef0123456789"}`,
		"Caddyfile":   g.caddyfile(provider),
	} {
		if err := os.WriteFile(filepath.Join(g.folder, name), []byte(text), 0o600); err != nil {
			return g, fmt.Errorf("writing the configuration: %w", err)
		}
	}
	if err := g.startCaddy(ctx, binary); err != nil {
		return g, err
	}
	if r.transactions > 0 { // into the journal that it has made
		if err := errors.Join(g.stopCaddy(), fill(ctx, filepath.Join(g.folder, "journal.db"), r.transactions), g.startCaddy(ctx, binary)); err != nil {
			return g, err
		}
	}
	g.idle, err = g.read(ctx)
	return g, err
}

// caddyfile has for each merchant ten source ranges, the last of which is the one
// that it calls from, and an operation of its own.
func (g *gateway) caddyfile(provider string) string {
	var b strings.Builder
	bound := ""
	if g.row.maxInFlight > 0 {
		bound = fmt.Sprintf("\t\tmax_in_flight %d\n", g.row.maxInFlight)
	}
	fmt.Fprintf(&b, "{\n\tadmin %s\n\tpersist_config off\n\tmetrics\n\tlog {\n\t\toutput file %s/log.json\n\t}\n\tnowpay {\n"+
		"\t\taccount main {\n\t\t\tsecret file %s/secret.json\n\t\t}\n\t\tupstream http://%s {\n\t\t\tlocal_address 127.0.0.5\n\t\t}\n\t\tjournal sqlite %s/journal.db\n%s",
		g.admin, g.folder, g.folder, provider, g.folder, bound)
	for i := range g.row.merchants {
		fmt.Fprintf(&b, "\t\toperation own%d/quote {\n\t\t\tmoves_money off\n\t\t\tfield accountnumber text\n\t\t\tfield ifsc text\n\t\t\tfield amount amount\n"+
			"\t\t\tfield yourrequestid alphanumeric 50\n\t\t\tfield name text\n\t\t\tfield transferMode choice IMPS NEFT\n\t\t\trequest_id yourrequestid\n"+
			"\t\t\tprovider_id ourrequestid\n\t\t\tamount amount\n\t\t\tpersonal accountnumber ifsc name rrn\n\t\t}\n", i)
		fmt.Fprintf(&b, "\t\tmerchant m%d {\n\t\t\taccount main\n\t\t\ttoken sha256:%x\n\t\t\tfrom", i, sha256.Sum256(fmt.Appendf(nil, "npg_scale_%d", i)))
		for j := range 9 {
			fmt.Fprintf(&b, " 10.%d.%d.%d/28", i>>8&255, i&255, j*16)
		}
		fmt.Fprintf(&b, " 127.0.0.0/8\n\t\t\tallow own%d/* bank/payout\n\t\t\tdeny bank/register\n", i)
		if g.row.maxInFlight > 0 { // or it would have half of the places
			fmt.Fprintf(&b, "\t\t\tmax_in_flight %d\n", g.row.maxInFlight)
		}
		b.WriteString("\t\t}\n")
	}
	fmt.Fprintf(&b, "\t}\n}\n\n%s {\n\tnowpay_gateway\n}\n", g.url)
	return b.String()
}

func (g *gateway) startProvider() (address string, err error) {
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("finding this command: %w", err)
	}
	provider := exec.Command(self, asProvider, g.row.latency.String()) // it ends with its input
	in, err := provider.StdinPipe()
	if err != nil {
		return "", fmt.Errorf("starting the provider: %w", err)
	}
	out, err := provider.StdoutPipe()
	if err != nil {
		return "", fmt.Errorf("starting the provider: %w", err)
	}
	if err := provider.Start(); err != nil {
		return "", fmt.Errorf("starting the provider: %w", err)
	}
	g.provider, g.hangUp = provider, in
	address, err = bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("reading the provider's address: %w", err)
	}
	return strings.TrimSpace(address), nil
}

// startCaddy starts the gateway and waits until it is ready.
func (g *gateway) startCaddy(ctx context.Context, binary string) error {
	process := exec.Command(binary, "run", "--config", filepath.Join(g.folder, "Caddyfile")) // close ends it
	var said strings.Builder
	process.Stderr = &said
	if err := process.Start(); err != nil {
		return fmt.Errorf("starting the gateway: %w", err)
	}
	g.process = process
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

func (g *gateway) stopCaddy() error {
	process := g.process
	if g.process = nil; process == nil {
		return nil
	}
	return errors.Join(process.Process.Signal(os.Interrupt), process.Wait())
}

// close ends what runs, and removes what was written.
func (g *gateway) close() error {
	errs := []error{g.stopCaddy()}
	if g.hangUp != nil {
		errs = append(errs, g.hangUp.Close(), g.provider.Wait())
	}
	return errors.Join(append(errs, os.RemoveAll(g.folder))...)
}

// freeAddresses are two that were free a moment ago. They lie below those that
// Linux gives to outgoing connections, of which there will be thousands.
func freeAddresses() (a, b string, err error) {
	const lowest, highest = 10_000, 30_000
	var free []string
	for len(free) < 2 {
		listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", lowest+rand.IntN(highest-lowest)))
		if errors.Is(err, syscall.EADDRINUSE) {
			continue
		}
		if err != nil {
			return "", "", fmt.Errorf("finding a free port: %w", err)
		}
		defer listener.Close() // at the end, so that they differ
		free = append(free, listener.Addr().String())
	}
	return free[0], free[1], nil
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

// state is what the gateway has done so far, and what it holds.
type state struct {
	cpu        time.Duration
	resident   float64 // MiB
	goroutines float64
	inFlight   float64
	successes  float64
	refusals   float64 // limit-exceeded
	commits    float64 // of the journal
	journal    float64 // bytes
}

// read reads the state.
func (g *gateway) read(ctx context.Context) (s state, err error) {
	if s.cpu, s.resident, err = usage(g.process.Process.Pid); err != nil {
		return s, err
	}
	if g.row.pays {
		if s.journal, err = pages(ctx, filepath.Join(g.folder, "journal.db")); err != nil {
			return s, err
		}
	}
	metrics, err := get(ctx, "http://"+g.admin+"/metrics")
	if err != nil {
		return s, err
	}
	for line := range strings.Lines(metrics) {
		line = strings.TrimSpace(line)
		space := strings.LastIndexByte(line, ' ')
		n, err := strconv.ParseFloat(line[space+1:], 64)
		if err != nil || space < 0 {
			continue
		}
		switch name := line[:space]; {
		case name == "go_goroutines":
			s.goroutines = n
		case name == "nowpay_in_flight":
			s.inFlight = n
		case name == "nowpay_journal_commits_total":
			s.commits = n
		case strings.HasPrefix(name, "nowpay_exchanges_total{") && strings.Contains(name, `outcome="success"`):
			s.successes += n
		case strings.HasPrefix(name, "nowpay_decisions_total{") && strings.Contains(name, `reason="limit-exceeded"`):
			s.refusals += n
		}
	}
	return s, nil
}

// usage reads a process's CPU time and resident memory: the 14th, 15th and 24th
// field of proc_pid_stat(5), in hundredths of a second and in pages.
func usage(pid int) (cpu time.Duration, resident float64, err error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0, fmt.Errorf("reading what the gateway uses: %w", err)
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(rest)
	var numbers [3]int
	for i, at := range []int{11, 12, 21} {
		if numbers[i], err = strconv.Atoi(fields[at]); err != nil {
			return 0, 0, fmt.Errorf("reading what the gateway uses: %w", err)
		}
	}
	cpu = time.Duration(numbers[0]+numbers[1]) * 10 * time.Millisecond
	return cpu, float64(numbers[2]) * float64(os.Getpagesize()) / (1 << 20), nil
}
