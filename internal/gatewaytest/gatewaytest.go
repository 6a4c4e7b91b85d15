// Package gatewaytest runs what users run, for tests: a Caddy with the gateway,
// configured by a Caddyfile, in this process, and a simulated Nowpay on real
// sockets. Caddy is one per process, so tests that use it must not be parallel.
package gatewaytest

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"text/template"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard" // the Caddyfile adapter, http, tls, metrics

	_ "github.com/nowpay-gateway/nowpay-gateway/caddymodule"
	"github.com/nowpay-gateway/nowpay-gateway/simulator"
)

// The account at the simulated Nowpay, and the merchants of the default
// configuration: shop may call bank/*, pan/* and common/balance up to 5000
// rupees, kiosk only common/balance and bank/upi_verify.
const (
	Username   = "2000"
	Key        = "0f1e2d3c4b5a69788796a5b4c3"
	ShopToken  = "npg_test_shop"
	KioskToken = "npg_test_kiosk"
)

// Addresses on loopback that tell the parts apart.
const (
	ProviderIP = "127.0.0.9"
	EgressIP   = "127.0.0.5"
)

// Options say what differs from the default configuration.
type Options struct {
	// Secret is the secret of account main, as Caddyfile lines. Default: a file
	// with Username and Key.
	Secret string
	// LocalAddress is the egress address. Default: EgressIP.
	LocalAddress string
	// Upstream are further lines of the upstream block.
	Upstream string
	// Journal is the journal line, with its block. Default: a SQLite file and a
	// key in the test's folder, see JournalFile and JournalKeyFile.
	Journal string
	// Reconcile are lines of the reconcile block.
	Reconcile string
	// Callbacks are lines of the callbacks block. With them there is a site that
	// takes callbacks, see CallbackURL.
	Callbacks string
	// Nowpay are further lines of the nowpay block: operations, merchants.
	Nowpay string
	// Shop are further lines of merchant shop.
	Shop string
	// Global are further lines of the global options.
	Global string
	// Site are further lines in the sites, before nowpay_gateway.
	Site string
	// ClientAuth is the mode of client_auth in the site with TLS, which trusts
	// the test's own authority. Default: none.
	ClientAuth string
	// ProviderTLS lets the simulated Nowpay speak https.
	ProviderTLS bool
	// ProviderServer changes the server of the simulated Nowpay, if set.
	ProviderServer func(*http.Server)
	// Provider is wrapped around the simulated Nowpay's handler, if set.
	Provider func(http.Handler) http.Handler
	// Simulator changes the simulator's configuration, if set.
	Simulator func(*simulator.Config)
}

// Gateway is a running gateway.
type Gateway struct {
	// URL and TLSURL are where merchants call it, with HTTP/1.1 and with TLS.
	// The latter has a name: Caddy's client_auth goes by the server name, and
	// clients send none for an address.
	URL, TLSURL string
	// CallbackURL is where Nowpay's callbacks are taken.
	CallbackURL string
	// AdminURL is Caddy's admin API, MetricsURL what Prometheus scrapes.
	AdminURL, MetricsURL string
	// Simulator is the provider, ProviderAddress where it listens.
	Simulator       *simulator.Simulator
	ProviderAddress string
	// SecretFile holds the credential, unless Options.Secret is set.
	SecretFile string
	// JournalFile and JournalKeyFile are the journal's, unless Options.Journal is
	// set.
	JournalFile, JournalKeyFile string
	// Caddyfile is the configuration that runs.
	Caddyfile string
	// Authorities vouch for the test's own certificates.
	Authorities *x509.CertPool

	// StopProvider closes the simulated Nowpay: nobody listens there any more.
	StopProvider func()

	tb      testing.TB
	own     *http.Client // for what is not a merchant's request
	dir     string
	options Options
	certs   certificates
	ports   map[string]string
}

// Start runs a gateway and its provider until the test ends.
func Start(tb testing.TB, o Options) *Gateway {
	tb.Helper()
	g := &Gateway{tb: tb, dir: tb.TempDir(), options: o}
	g.certs = newCertificates(tb, g.dir, "127.0.0.1", ProviderIP)
	g.Authorities = g.certs.authorities
	g.startProvider()
	g.SecretFile = filepath.Join(g.dir, "secret.json")
	g.WriteSecret(Username, Key)
	g.JournalFile, g.JournalKeyFile = filepath.Join(g.dir, "journal.db"), filepath.Join(g.dir, "journal.key")
	g.own = g.Client("http/1.1")
	tb.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			tb.Errorf("stopping Caddy: %v", err)
		}
	})
	err := g.start()
	for tries := 5; err != nil && tries > 0 && strings.Contains(err.Error(), "address already in use"); tries-- {
		err = g.start() // somebody else was quicker
	}
	if err != nil {
		tb.Fatalf("starting the gateway: %v", err)
	}
	return g
}

// start loads the configuration with ports that are free.
func (g *Gateway) start() error {
	g.ports = freePorts(g.tb, "plain", "tls", "admin", "metrics", "callback")
	g.URL, g.TLSURL = "http://127.0.0.1:"+g.ports["plain"], "https://localhost:"+g.ports["tls"]
	g.AdminURL, g.MetricsURL = "http://127.0.0.1:"+g.ports["admin"], "http://127.0.0.1:"+g.ports["metrics"]+"/metrics"
	g.CallbackURL = "http://127.0.0.1:" + g.ports["callback"] + "/nowpay"
	return g.Load(g.options)
}

// startProvider serves the simulated Nowpay on ProviderIP.
func (g *Gateway) startProvider() {
	config := simulator.Config{
		Username: Username, Key: Key, Now: time.Now, Seed: 1,
		AllowedIPs: []netip.Prefix{netip.MustParsePrefix(EgressIP + "/32")},
	}
	if g.options.Simulator != nil {
		g.options.Simulator(&config)
	}
	sim, err := simulator.New(config)
	if err != nil {
		g.tb.Fatalf("making the simulator: %v", err)
	}
	handler := sim.Handler()
	if g.options.Provider != nil {
		handler = g.options.Provider(handler)
	}
	listener, err := net.Listen("tcp", ProviderIP+":0")
	if err != nil {
		g.tb.Fatalf("opening the simulator's address: %v", err)
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: time.Minute}
	if g.options.ProviderServer != nil {
		g.options.ProviderServer(server)
	}
	done := make(chan error, 1)
	if g.options.ProviderTLS {
		server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{g.certs.server}}
		go func() { done <- server.ServeTLS(listener, "", "") }()
	} else {
		go func() { done <- server.Serve(listener) }()
	}
	g.StopProvider = sync.OnceFunc(func() {
		sim.Close()
		_ = server.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			g.tb.Errorf("serving the simulator: %v", err)
		}
	})
	g.tb.Cleanup(g.StopProvider)
	g.Simulator, g.ProviderAddress = sim, listener.Addr().String()
}

// caddyfile is the configuration; its sites differ only in how they are reached.
var caddyfile = template.Must(template.New("Caddyfile").Parse(`{
	admin 127.0.0.1:{{.Port.admin}}
	persist_config off
	skip_install_trust
	auto_https disable_redirects
	storage file_system {{.Dir}}/storage
	log {
		output file {{.LogFile}}
		format json
		level DEBUG
	}
	{{.Global}}
	nowpay {
		account main {
			{{.Secret}}
		}
		upstream {{.UpstreamURL}} {
			local_address {{.LocalAddress}}
			{{.Upstream}}
		}
		journal {{.Journal}}
		{{if .Reconcile}}reconcile {
			{{.Reconcile}}
		}{{end}}
		merchant shop {
			account main
			token {{.ShopHash}}
			from 127.0.0.1
			allow bank/* pan/* common/balance
			deny bank/register
			max_amount 5000
			{{.Shop}}
		}
		merchant kiosk {
			account main
			token {{.KioskHash}}
			from 127.0.0.1
			allow common/balance bank/upi_verify
		}
		{{if .Callbacks}}callbacks {
			{{.Callbacks}}
		}{{end}}
		{{.Nowpay}}
	}
}
{{if .Callbacks}}
http://127.0.0.1:{{.Port.callback}} {
	nowpay_callback
}
{{end}}

http://127.0.0.1:{{.Port.plain}} {
	{{.Site}}
	nowpay_gateway
}

https://localhost:{{.Port.tls}} {
	tls {{.Dir}}/server.pem {{.Dir}}/server-key.pem {
		{{if .ClientAuth}}client_auth {
			mode {{.ClientAuth}}
			trust_pool file {{.Dir}}/ca.pem
		}{{end}}
	}
	{{.Site}}
	nowpay_gateway
}

http://127.0.0.1:{{.Port.metrics}} {
	metrics
}
`))

// Load gives the running Caddy another configuration, forced even if it is the
// same.
func (g *Gateway) Load(o Options) error {
	config, err := g.Adapt(o)
	if err != nil {
		return err
	}
	return g.LoadJSON(config)
}

// LoadJSON is Load of Caddy's own JSON.
func (g *Gateway) LoadJSON(config []byte) error {
	g.tb.Helper()
	before := accepting()
	err := caddy.Load(config, true)
	settle(g.tb, before, err == nil)
	if err != nil {
		return fmt.Errorf("loading the configuration: %w", err)
	}
	return nil
}

// Adapt makes Caddy's JSON of the Caddyfile with the given options.
func (g *Gateway) Adapt(o Options) ([]byte, error) {
	scheme := "http://"
	if g.options.ProviderTLS {
		scheme, o.Upstream = "https://", "ca "+filepath.Join(g.dir, "ca.pem")+"\n"+o.Upstream
	}
	if o.Secret == "" {
		o.Secret = "secret file " + g.SecretFile
	}
	if o.LocalAddress == "" {
		o.LocalAddress = EgressIP
	}
	if o.Journal == "" {
		o.Journal = fmt.Sprintf("sqlite %s {\nkey_file %s\n}", g.JournalFile, g.JournalKeyFile)
	}
	var text bytes.Buffer
	err := caddyfile.Execute(&text, struct {
		Options
		Dir, LogFile, UpstreamURL, ShopHash, KioskHash string
		Port                                           map[string]string
	}{o, g.dir, g.logFile(), scheme + g.ProviderAddress, TokenHash(ShopToken), TokenHash(KioskToken), g.ports})
	if err != nil {
		return nil, fmt.Errorf("writing the Caddyfile: %w", err)
	}
	g.Caddyfile = text.String()
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt(text.Bytes(), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		return nil, fmt.Errorf("adapting the Caddyfile: %w", err)
	}
	return config, nil
}

// WriteSecret replaces the secret file as a careful administrator would.
func (g *Gateway) WriteSecret(username, key string) {
	g.tb.Helper()
	raw, err := json.Marshal(map[string]string{"username": username, "key": key})
	if err != nil {
		g.tb.Fatal(err)
	}
	temporary := g.SecretFile + ".new"
	if err := os.WriteFile(temporary, raw, 0o600); err != nil {
		g.tb.Fatal(err)
	}
	if err := os.Rename(temporary, g.SecretFile); err != nil {
		g.tb.Fatal(err)
	}
}

func (g *Gateway) logFile() string { return filepath.Join(g.dir, "caddy.log") }

// Log is all that Caddy and the gateway have logged, at debug level.
func (g *Gateway) Log() []byte {
	g.tb.Helper()
	raw, err := os.ReadFile(g.logFile())
	if err != nil {
		g.tb.Fatalf("reading the log: %v", err)
	}
	return raw
}

// Records are the decision records of all exchanges so far.
func (g *Gateway) Records() []map[string]any { return g.RecordsOf("") }

// RecordsOf are the decision records that mention a text, such as an exchange
// id.
func (g *Gateway) RecordsOf(text string) []map[string]any {
	g.tb.Helper()
	var records []map[string]any
	for line := range strings.Lines(string(g.Log())) {
		if !strings.Contains(line, text) {
			continue
		}
		var entry map[string]any
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			g.tb.Fatalf("log line %q: %v", line, err)
		}
		if entry["msg"] == "exchange" {
			records = append(records, entry)
		}
	}
	return records
}

// LastRecord is the decision record of the exchange that ended last.
func (g *Gateway) LastRecord() map[string]any {
	g.tb.Helper()
	records := g.Records()
	if len(records) == 0 {
		g.tb.Fatal("no decision record in the log")
	}
	return records[len(records)-1]
}

// Metrics is what Prometheus would scrape.
func (g *Gateway) Metrics() string {
	g.tb.Helper()
	return string(g.get(g.MetricsURL))
}

// Metric is the value of one series, written as Prometheus has it:
// name{label="value"}. One that is not there is 0.
func (g *Gateway) Metric(series string) float64 {
	g.tb.Helper()
	for line := range strings.Lines(g.Metrics()) {
		text, ok := strings.CutPrefix(line, series+" ")
		if !ok {
			continue
		}
		value, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
		if err != nil {
			g.tb.Fatalf("metric %s: %v", series, err)
		}
		return value
	}
	return 0
}

func (g *Gateway) get(url string) []byte {
	g.tb.Helper()
	response, err := g.own.Get(url)
	if err != nil {
		g.tb.Fatalf("GET %s: %v", url, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		g.tb.Fatalf("GET %s: %v", url, err)
	}
	return body
}
