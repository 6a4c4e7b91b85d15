package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"text/template"

	"github.com/nowpay-gateway/nowpay-gateway/bench/internal/caddy"
)

//go:embed Caddyfile.tmpl
var caddyfileText string

var caddyfileTemplate = template.Must(template.New("Caddyfile").Parse(caddyfileText))

// caddyfile is what Caddyfile.tmpl is made a Caddyfile with. The zero value is
// plain Caddy.
type caddyfile struct {
	Level      string // of the log; empty: Caddy's default, at which the gateway tells of each exchange
	AccessLog  bool
	Journal    string     // empty: SQLite
	Signed     bool       // by httpsig
	Operations []string   // that move no money
	Merchants  []merchant // none: plain Caddy

	// Filled in when it is started.
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
	return func(ctx context.Context, s *stand, v variant) (*subject, error) {
		c.Upstream, c.Folder = s.upstream.Address, filepath.Join(s.folder, v.name)
		server, err := caddy.Start(ctx, caddy.Config{
			Program: s.caddy, Folder: c.Folder, Text: c.text, Gateway: len(c.Merchants) > 0,
		})
		if err != nil {
			return nil, err
		}
		s.ends(server.Stop)
		return &subject{
			url: "http://" + server.Site, process: server.Process, proves: len(c.Merchants) > 0,
			counters: func(ctx context.Context) (counts, error) {
				metrics, err := server.Metrics(ctx)
				return countsOf(metrics), err
			},
		}, nil
	}
}

// text is the Caddyfile.
func (c caddyfile) text(admin, site string) (string, error) {
	c.Admin, c.Site = admin, site
	var text bytes.Buffer
	err := caddyfileTemplate.Execute(&text, c)
	return text.String(), err
}

// counts is what a process has done since it started; NaN where it does not count.
type counts struct{ mallocs, bytes, commits, successes float64 }

var unknown = counts{math.NaN(), math.NaN(), math.NaN(), math.NaN()}

func countsOf(metrics []caddy.Metric) counts {
	c := unknown
	for _, m := range metrics {
		switch {
		case m.Name == "go_memstats_mallocs_total":
			c.mallocs = m.Value
		case m.Name == "go_memstats_alloc_bytes_total":
			c.bytes = m.Value
		case m.Name == "nowpay_journal_commits_total":
			c.commits = m.Value
		case m.Name == "nowpay_exchanges_total" && strings.Contains(m.Labels, `outcome="success"`):
			if math.IsNaN(c.successes) {
				c.successes = 0
			}
			c.successes += m.Value
		}
	}
	return c
}
