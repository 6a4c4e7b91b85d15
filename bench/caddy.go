package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"text/template"
)

//go:embed Caddyfile.tmpl
var caddyfileText string

var caddyfileTemplate = template.Must(template.New("Caddyfile").Parse(caddyfileText))

// logFile is Caddy's log in its folder; Caddyfile.tmpl has it too.
const logFile = "log.json"

// caddyfile is what Caddyfile.tmpl is made a Caddyfile with. The zero value is
// plain Caddy.
type caddyfile struct {
	Level      string // of the log; empty: Caddy's default, at which the gateway tells of each exchange
	AccessLog  bool
	Journal    string     // empty: SQLite
	Signed     bool       // by httpsig
	Operations []string   // that move no money
	Merchants  []merchant // none: plain Caddy

	// Filled in by startCaddy.
	Admin, Site, Upstream, Folder string
}

type merchant struct {
	Name, Hash string
	From       []string
}

// gateway is a small configuration.
func gateway() caddyfile { return caddyfile{}.of(5, 5, 5) }

// with is a copy that is changed.
func (c caddyfile) with(change func(*caddyfile)) caddyfile {
	change(&c)
	return c
}

// of is a copy with so much in it, all of which is gone through before what is
// called here: the merchant, its source and the operation are the last.
func (c caddyfile) of(merchants, sources, operations int) caddyfile {
	c.Merchants, c.Operations = nil, nil
	for i := range operations - 1 {
		c.Operations = append(c.Operations, fmt.Sprintf("bank/quote%d", i))
	}
	c.Operations = append(c.Operations, quote)
	for i := range merchants {
		m := merchant{Name: fmt.Sprintf("shop%d", i), Hash: hash(fmt.Sprint("npg_", i))}
		for j := range sources / merchants {
			n := i*sources/merchants + j
			m.From = append(m.From, fmt.Sprintf("10.%d.%d.0/24", n>>8, n&255))
		}
		c.Merchants = append(c.Merchants, m)
	}
	last := &c.Merchants[merchants-1]
	last.Hash, last.From[len(last.From)-1] = hash(token), "127.0.0.0/8"
	return c
}

// hash is that of a token.
func hash(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

// startCaddy starts Caddy with that configuration.
func startCaddy(c caddyfile) func(context.Context, *stand, variant) (*subject, error) {
	return func(ctx context.Context, s *stand, v variant) (_ *subject, err error) {
		c.Upstream, c.Folder = s.upstream.address, filepath.Join(s.folder, v.name)
		for _, address := range []*string{&c.Admin, &c.Site} {
			if *address, err = freeAddress(); err != nil {
				return nil, err
			}
		}
		if err := c.write(); err != nil {
			return nil, err
		}
		cmd := exec.Command(s.caddy, "run", "--adapter", "caddyfile", "--config", filepath.Join(c.Folder, "Caddyfile"))
		cmd.Env = append(os.Environ(), "HOME="+c.Folder, "XDG_DATA_HOME="+c.Folder, "XDG_CONFIG_HOME="+c.Folder)
		p, err := s.startProcess(cmd)
		if err != nil {
			return nil, err
		}
		if err := c.await(ctx, p); err != nil {
			return nil, err
		}
		return &subject{
			url: "http://" + c.Site, process: p,
			counters: func(ctx context.Context) (counts, error) {
				text, err := get(ctx, "http://"+c.Admin+"/metrics")
				return parseMetrics(string(text)), err
			},
		}, nil
	}
}

// await waits until it serves.
func (c caddyfile) await(ctx context.Context, p *process) error {
	ready := listening(c.Site)
	if len(c.Merchants) > 0 {
		ready = func(ctx context.Context) error {
			_, err := get(ctx, "http://"+c.Site+"/health/ready")
			return err
		}
	}
	if err := p.await(ctx, ready); err != nil {
		log, _ := os.ReadFile(filepath.Join(c.Folder, logFile)) // it says why, if it was written
		return fmt.Errorf("%w%s", err, log)
	}
	return nil
}

// write writes the Caddyfile and the secret into the folder.
func (c caddyfile) write() error {
	var text bytes.Buffer
	if err := caddyfileTemplate.Execute(&text, c); err != nil {
		return fmt.Errorf("making a Caddyfile: %w", err)
	}
	if err := os.Mkdir(c.Folder, 0o700); err != nil {
		return fmt.Errorf("making a folder: %w", err)
	}
	for name, text := range map[string]string{
		"Caddyfile":   text.String(),
		"secret.json": fmt.Sprintf(`{"username":%q,"key":%q}`, username, key),
	} {
		if err := os.WriteFile(filepath.Join(c.Folder, name), []byte(text), 0o600); err != nil {
			return fmt.Errorf("writing the configuration: %w", err)
		}
	}
	return nil
}

// counts is what a process has done since it started; NaN where it does not count.
type counts struct{ mallocs, bytes, commits, successes float64 }

var unknown = counts{math.NaN(), math.NaN(), math.NaN(), math.NaN()}

// parseMetrics reads what Prometheus would.
func parseMetrics(text string) counts {
	c := unknown
	for line := range strings.Lines(text) {
		series, value, _ := cutLast(strings.TrimSpace(line), " ")
		n, err := strconv.ParseFloat(value, 64)
		name, labels, _ := strings.Cut(series, "{")
		switch {
		case err != nil: // a comment
		case name == "go_memstats_mallocs_total":
			c.mallocs = n
		case name == "go_memstats_alloc_bytes_total":
			c.bytes = n
		case name == "nowpay_journal_commits_total":
			c.commits = n
		case name == "nowpay_exchanges_total" && strings.Contains(labels, `outcome="success"`):
			if math.IsNaN(c.successes) {
				c.successes = 0
			}
			c.successes += n
		}
	}
	return c
}
