package caddymodule_test

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/nowpay-gateway/nowpay-gateway/gateway"
	"github.com/nowpay-gateway/nowpay-gateway/internal/gatewaytest"
	"github.com/nowpay-gateway/nowpay-gateway/simulator"
)

// awkwardKey is written differently in every notation.
const awkwardKey = `k"e\y/+%41&=<é> 7f`

// keyShown counts answers of the provider with the key.
const keyShown = `nowpay_integrity_failures_total{kind="key-leak",operation="bank/payout"}`

// canary is a gateway that everything happens to, while all it says is gathered.
type canary struct {
	*gatewaytest.Gateway
	t        *testing.T
	said     *search
	client   *http.Client
	door     *door
	provider *moody
	options  gatewaytest.Options
	key      string
	payments int
	shown    float64 // how often the provider had shown the key before

	problems, outcomes map[string]bool
}

func newCanary(t *testing.T, key string, o gatewaytest.Options) *canary {
	t.Helper()
	c := &canary{
		t: t, said: new(search), door: newDoor(t), provider: new(moody), key: key,
		problems: make(map[string]bool), outcomes: make(map[string]bool),
	}
	o.Upstream += "\ntimeout 250ms"
	o.Provider = func(next http.Handler) http.Handler { return c.door.wrap(c.provider.wrap(next)) }
	o.Simulator = func(s *simulator.Config) { s.Key = key }
	c.options = o
	c.Gateway = gatewaytest.Start(t, o)
	c.WriteSecret(gatewaytest.Username, key)
	c.load(o)
	client := c.Client("http/1.1")
	client.Transport.(*http.Transport).DisableKeepAlives = true // reloads close what is kept
	c.client = c.said.through(client)
	c.shown = c.Metric(keyShown)
	gatewaytest.Eventually(t, "the key to be there", func() bool { return c.pay().Outcome() == "success" })
	return c
}

// load is a reload that must work.
func (c *canary) load(o gatewaytest.Options) {
	c.t.Helper()
	if err := c.Load(o); err != nil {
		c.t.Fatal(err)
	}
}

// call sends what a merchant may send.
func (c *canary) call(call gatewaytest.Call) gatewaytest.Answer {
	c.t.Helper()
	return c.callBy(c.client, c.URL, call)
}

func (c *canary) callBy(client *http.Client, base string, call gatewaytest.Call) gatewaytest.Answer {
	c.t.Helper()
	answer, err := c.Do(client, base, call)
	if err != nil {
		c.t.Fatalf("%s: %v", call.Path, err)
	}
	c.problems[answer.Problem()] = true
	c.outcomes[answer.Outcome()] = true
	return answer
}

func (c *canary) pay() gatewaytest.Answer {
	c.t.Helper()
	c.payments++
	return c.call(gatewaytest.Call{Body: gatewaytest.Payout(fmt.Sprintf("p%d", c.payments), "1.50")})
}

func (c *canary) balance() gatewaytest.Answer {
	c.t.Helper()
	return c.call(gatewaytest.Call{Path: "/api/common/balance", Body: "{}"})
}

// refusals provokes every problem that a request can provoke by itself. In some
// the merchant still has the key, from the time before the gateway.
func (c *canary) refusals() {
	c.t.Helper()
	key, err := json.Marshal(c.key)
	if err != nil {
		c.t.Fatal(err)
	}
	stillKey := fmt.Sprintf(`{"username":"2000","key":%s,`, key) + gatewaytest.Payout("old", "1.50")[1:]
	for _, call := range []gatewaytest.Call{
		{Token: "-"},
		{Token: "npg_nobody"},
		{Path: "/api/bank/register", Body: "{}"},
		{Path: "/api/bank/nothing", Body: "{}"},
		{Path: "/elsewhere", Body: "{}"},
		{Method: http.MethodGet},
		{Body: "{"},
		{Body: stillKey},
		{Body: stillKey[:len(stillKey)-1]},
		{Body: stillKey + stillKey},
		{Body: fmt.Sprintf(`{"key":%s,"key":%s}`, key, key)},
		{Body: string(key)},
		{Body: strings.Replace(stillKey, `"key"`, `"Key"`, 1)},
		{Body: gatewaytest.Payout("a b", "1.50")},
		{Body: gatewaytest.Payout("x1", "1e3")},
		{Body: gatewaytest.Payout("x2", "9999.00")},
		{Body: "{" + strings.Repeat(" ", 70_000) + "}"},
		{Body: "a=b", Header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}},
		{Body: "key=" + url.QueryEscape(c.key), Path: "/api/aeps/be", Header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}},
		{Body: gatewaytest.Payout("early", "1.50"), Header: http.Header{"Early-Data": {"1"}}},
		{Method: http.MethodGet, Path: "/operations"},
		{Method: http.MethodPost, Path: "/operations"},
		{Method: http.MethodGet, Path: "/health/live", Token: "-"},
		{Method: http.MethodGet, Path: "/health/ready", Token: "-"},
	} {
		c.call(call)
	}
	c.callBy(c.said.through(c.ClientFrom("http/1.1", "127.0.0.8")), c.URL, gatewaytest.Call{})
	c.callBy(c.said.through(c.Client("h2")), c.TLSURL, gatewaytest.Call{Body: stillKey})
}

// legacy sends the key where Nowpay never wanted it. Caddy's access log has
// paths and headers, so this is for gateways without one.
func (c *canary) legacy() {
	c.t.Helper()
	query := url.QueryEscape(c.key)
	for _, call := range []gatewaytest.Call{
		{Path: "/api/index.php?route=/api/bank/payout&key=" + query, Body: "{}"},
		{Path: "/api/bank/payout?key=" + query, Body: "{}"},
		{Path: "/api/bank/" + query, Body: "{}"},
		{Header: http.Header{"X-Api-Key": {c.key}, "Cookie": {"key=" + query}, "Referer": {"http://x/?key=" + query}}, Body: gatewaytest.Payout("legacy", "1.50")},
		{Header: http.Header{"Content-Type": {"application/json; key=" + query}}},
		{Token: c.key},
	} {
		c.call(call)
	}
}

// faults lets the provider misbehave in every way, for an operation that moves
// money and for one that does not.
func (c *canary) faults() {
	c.t.Helper()
	for _, kind := range simulator.Kinds() {
		if err := c.Simulator.AddFault(simulator.Fault{Kind: kind}); err != nil {
			c.t.Fatal(err)
		}
		c.pay()
		c.balance()
		c.Simulator.ClearFaults()
	}
	for _, answer := range hostile {
		c.provider.answer.Store(&answer)
		c.pay()
		c.balance()
	}
	c.provider.answer.Store(nil)
}

// brokenSecrets tries files that hold the key and are no credential.
func (c *canary) brokenSecrets() {
	c.t.Helper()
	key, err := json.Marshal(c.key)
	if err != nil {
		c.t.Fatal(err)
	}
	whole := fmt.Sprintf(`{"username":"2000","key":%s}`, key)
	for i, secret := range []struct {
		content string
		mode    os.FileMode
	}{
		{whole, 0o644},
		{whole[:len(whole)-1], 0o600},
		{whole[:len(whole)-2], 0o600},
		{whole + whole, 0o600},
		{c.key, 0o600},
		{string(key), 0o600},
		{"[" + whole + "]", 0o600},
		{fmt.Sprintf(`{"username":"2000","key":%s,"extra":%s}`, key, key), 0o600},
		{fmt.Sprintf(`{"username":"2000","key":%s,"key":%s}`, key, key), 0o600},
		{fmt.Sprintf(`{"username":"2000",%s:1}`, key), 0o600},
		{fmt.Sprintf(`{"username":"2000","key":[%s]}`, key), 0o600},
		{fmt.Sprintf(`{"username":"","key":%s}`, key), 0o600},
		{fmt.Sprintf(`{"username":"2000","key":%s}`, strings.Replace(string(key), `"`, `"\n`, 1)), 0o600},
		{fmt.Sprintf(`{"username":"2000","key":%s}`, strings.Replace(string(key), `"`, `"\ud800`, 1)), 0o600},
		{fmt.Sprintf(`{"username":"2000","key":"%s%s}`, strings.Repeat("x", 300), key[1:]), 0o600},
	} {
		file := filepath.Join(c.t.TempDir(), fmt.Sprintf("broken%d.json", i))
		if err := os.WriteFile(file, []byte(secret.content), secret.mode); err != nil {
			c.t.Fatal(err)
		}
		o := c.options
		o.Secret = "secret file " + file
		c.load(o) // reads it at once
		if answer := c.pay(); answer.Problem() != string(gateway.CredentialUnavailable) {
			c.t.Errorf("secret file %s: %d %s", secret.content, answer.StatusCode, answer.Body)
		}
		c.call(gatewaytest.Call{Method: http.MethodGet, Path: "/health/ready", Token: "-"})
	}
	c.load(c.options)
}

// unreachable takes away the provider and the way to it.
func (c *canary) unreachable() {
	c.t.Helper()
	o := c.options
	o.LocalAddress = "203.0.113.77"
	c.load(o)
	c.pay()
	c.load(c.options)

	config, err := c.Adapt(c.options)
	if err != nil {
		c.t.Fatal(err)
	}
	overTLS := bytes.Replace(config, []byte("http://"+c.ProviderAddress), []byte("https://"+c.ProviderAddress), 1)
	if err := c.LoadJSON(overTLS); err != nil {
		c.t.Fatal(err)
	}
	c.pay()
	c.load(c.options)
	c.StopProvider()
	c.pay()
	c.balance()
}

// failedLoads tries configurations that Caddy refuses, with all the errors that
// this makes.
func (c *canary) failedLoads() {
	c.t.Helper()
	for _, bad := range []gatewaytest.Options{
		{Nowpay: "account other {\nsecret file {env.NOT_SET_ANYWHERE}\n}"},
		{Upstream: "ca " + c.SecretFile},
		{Upstream: "pin sha256/" + base64.StdEncoding.EncodeToString([]byte("short"))},
		{Shop: "token sha256:00"},
	} {
		err := c.Load(bad)
		if err == nil {
			c.t.Errorf("%+v was loaded", bad)
			continue
		}
		c.said.add("the error of a configuration", []byte(err.Error()))
	}
	c.load(c.options)
}

// rotate changes the key, and returns the old one.
func (c *canary) rotate(next string) (old string) {
	c.t.Helper()
	old, c.key = c.key, next
	c.Simulator.SetKeys(next)
	c.WriteSecret(gatewaytest.Username, next)
	gatewaytest.Eventually(c.t, "the new key to be used", func() bool { return c.pay().Outcome() == "success" })
	return old
}

// adminPaths are what Caddy's admin endpoint shows.
var adminPaths = []string{
	"/config/", "/config/apps/nowpay", "/nowpay/credentials", "/metrics", "/debug/vars", "/reverse_proxy/upstreams", "/pki/ca/local",
	"/debug/pprof/", "/debug/pprof/goroutine?debug=2", "/debug/pprof/goroutine?debug=1", "/debug/pprof/goroutine",
	"/debug/pprof/heap?debug=1", "/debug/pprof/heap", "/debug/pprof/allocs", "/debug/pprof/block?debug=1",
	"/debug/pprof/mutex?debug=1", "/debug/pprof/threadcreate?debug=1", "/debug/pprof/cmdline",
	"/debug/pprof/trace?seconds=0.1",
}

// admin looks at everything, while a signed request is under way.
func (c *canary) admin() {
	c.t.Helper()
	release := c.door.hold()
	defer release()
	c.payments++
	id := fmt.Sprintf("watched%d", c.payments)
	end := begin(c.t.Context(), c.t, c.Gateway, "http/1.1", gatewaytest.Call{Body: gatewaytest.Payout(id, "1.50")})
	<-c.door.arrived
	c.door.pass()
	c.call(gatewaytest.Call{Body: gatewaytest.Payout(id, "1.50")})
	c.call(gatewaytest.Call{Body: gatewaytest.Payout(id, "2.50")})
	c.call(gatewaytest.Call{Method: http.MethodGet, Path: "/transactions/" + id})
	for _, path := range adminPaths {
		answer := c.callBy(c.client, c.AdminURL, gatewaytest.Call{Method: http.MethodGet, Path: path, Token: "-"})
		// No certificate authority of Caddy's own is in use.
		if answer.StatusCode != http.StatusOK && path != "/pki/ca/local" {
			c.t.Errorf("admin endpoint %s: %d %s", path, answer.StatusCode, answer.Body)
		}
	}
	adapt := gatewaytest.Call{Path: "/adapt", Token: "-", Body: c.Caddyfile, Header: http.Header{"Content-Type": {"text/caddyfile"}}}
	if answer := c.callBy(c.client, c.AdminURL, adapt); answer.StatusCode != http.StatusOK {
		c.t.Errorf("adapt: %d %s", answer.StatusCode, answer.Body)
	}
	c.callBy(c.client, strings.TrimSuffix(c.MetricsURL, "/metrics"), gatewaytest.Call{Method: http.MethodGet, Path: "/metrics", Token: "-"})
	release()
	_, _ = end() // answered or timed out: both are fine here
}

// files adds the logs and whatever else lies in the gateway's folder.
func (c *canary) files() {
	c.t.Helper()
	count := 0
	err := filepath.WalkDir(filepath.Dir(c.SecretFile), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || path == c.SecretFile {
			return err
		}
		content, err := os.ReadFile(path)
		c.said.add("the file "+filepath.Base(path), content)
		count++
		return err
	})
	if err != nil || count == 0 || len(c.Log()) == 0 {
		c.t.Errorf("reading %d files: %v", count, err)
	}
}

// TestCanary lets everything happen to gateways whose key is known, and then
// looks for it.
func TestCanary(t *testing.T) {
	const hash = "NPG_CANARY_HASH"
	t.Setenv(hash, gatewaytest.TokenHash("npg_test_from_env"))
	merchant := "merchant other {\naccount main\ntoken {env." + hash + "}\nfrom anywhere\nallow bank/*\n}"
	for _, test := range []struct {
		name      string
		key, next string
		options   gatewaytest.Options
	}{
		{"access log", gatewaytest.Key, awkwardKey, gatewaytest.Options{Nowpay: merchant, Site: "log"}},
		{"debug", awkwardKey, gatewaytest.Key, gatewaytest.Options{Nowpay: merchant, Global: "debug"}},
		{"strip credentials", awkwardKey, gatewaytest.Key, gatewaytest.Options{Nowpay: merchant, Shop: "strip_credentials", Site: "log\nencode gzip"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := newCanary(t, test.key, test.options)
			c.refusals()
			if test.options.Site == "" {
				c.legacy()
			}
			c.admin()
			c.faults()
			c.brokenSecrets()
			c.failedLoads()
			old := c.rotate(test.next)
			c.faults()
			c.admin()
			c.unreachable()
			config, err := c.Adapt(test.options)
			if err != nil {
				t.Fatal(err)
			}
			c.said.add("the adapted configuration", config)
			c.files()

			c.mustHaveSeen(test.options)
			c.said.mustBeSilent(t, map[string]string{
				"the key": old, "the new key": c.key, "shop's token": gatewaytest.ShopToken, "kiosk's token": gatewaytest.KioskToken,
			})
			if !bytes.Contains(config, []byte("{env."+hash+"}")) || bytes.Contains(c.get("/config/"), []byte(os.Getenv(hash))) {
				t.Error("the configuration shows what a placeholder stands for")
			}
		})
	}
}

func (c *canary) get(path string) []byte {
	c.t.Helper()
	return []byte(c.callBy(c.client, c.AdminURL, gatewaytest.Call{Method: http.MethodGet, Path: path, Token: "-"}).Body)
}

// mustHaveSeen checks that there was something to be silent about.
func (c *canary) mustHaveSeen(o gatewaytest.Options) {
	c.t.Helper()
	for _, code := range []gateway.Code{
		gateway.Unauthenticated, gateway.SourceNotAllowed, gateway.OperationNotAllowed, gateway.UnknownOperation,
		gateway.MethodNotAllowed, gateway.MalformedBody, gateway.CredentialInRequest, gateway.InvalidField,
		gateway.AmountNotAllowed, gateway.BodyTooLarge, gateway.UnsupportedMediaType, gateway.NotSent,
		gateway.CredentialUnavailable, gateway.EgressUnavailable, gateway.BadGateway, gateway.GatewayTimeout, gateway.NotFound, gateway.TooEarly,
		gateway.InFlight, gateway.RequestIDReused,
	} {
		stripped := code == gateway.CredentialInRequest && strings.Contains(o.Shop, "strip_credentials")
		if !c.problems[string(code)] && !stripped {
			c.t.Errorf("the problem %s was not provoked, but %v", code, slices.Sorted(maps.Keys(c.problems)))
		}
	}
	for _, outcome := range []string{"success", "failed", "refused", "pending", "unknown", "unsent"} {
		if !c.outcomes[outcome] {
			c.t.Errorf("the outcome %s was not provoked", outcome)
		}
	}
	log := string(c.Log())
	if c.Metric(keyShown) < c.shown+20 {
		c.t.Error("the provider has not shown the key")
	}
	if strings.Contains(o.Site, "log") != strings.Contains(log, `"Authorization":["REDACTED"]`) {
		c.t.Error("the access log does not show that it redacts tokens, or there is one that should not be")
	}
}

// TestCanarySearch plants the key, to see that the search finds it in each place.
func TestCanarySearch(t *testing.T) {
	c := newCanary(t, gatewaytest.Key, gatewaytest.Options{
		Site: "log\nheader X-Planted " + gatewaytest.Key,
	})
	c.call(gatewaytest.Call{Header: http.Header{"X-Key": {c.key}}, Body: gatewaytest.Payout("planted", "1.50")})
	c.admin()
	c.files()
	var zipped bytes.Buffer
	writer := gzip.NewWriter(&zipped)
	_, _ = writer.Write([]byte(gatewaytest.Key))
	_ = writer.Close()
	c.said.add("a gzipped text", zipped.Bytes())
	c.said.add("two texts", []byte("a: "+c.key[:len(c.key)/2]), []byte(c.key[len(c.key)/2:]))
	c.said.add("base64", []byte(base64.URLEncoding.EncodeToString([]byte("1"+c.key))))
	c.said.add("nothing", []byte(c.key[1:]))

	leaks := c.said.leaks(c.key)
	for _, where := range []string{
		"the answer to POST /api/bank/payout", "the answer to GET /config/", "the answer to POST /adapt",
		"the file caddy.log", "a gzipped text", "two texts", "base64",
	} {
		if !slices.Contains(leaks, where) {
			t.Errorf("the key in %s was not found", where)
		}
	}
	for _, where := range []string{"nothing", "the answer to GET /metrics", "the answer to GET /debug/vars"} {
		if slices.Contains(leaks, where) {
			t.Errorf("a key was found in %s", where)
		}
	}
}

// TestCanaryCommand searches what the command prints: the server with its log
// on standard error, and those that work on a configuration.
func TestCanaryCommand(t *testing.T) {
	said := new(search)
	g := gatewaytest.Start(t, gatewaytest.Options{Global: "debug", Site: "log"})
	g.Caddyfile = strings.Replace(g.Caddyfile, "output file "+filepath.Join(filepath.Dir(g.SecretFile), "caddy.log"), "output stderr", 1)
	p := asProcess(t, g)
	client := said.through(g.Client("http/1.1"))
	stillKey := fmt.Sprintf(`{"key":%q,`, gatewaytest.Key) + gatewaytest.Payout("old", "1.50")[1:]
	bodies := []string{gatewaytest.Payout("fine", "1.50"), stillKey, stillKey[1:]}
	for _, kind := range []simulator.Kind{simulator.KeyEcho, simulator.KeyEchoBase64, simulator.KeyEchoHeader, simulator.KeyEchoSplit, simulator.ResetAfterDebit} {
		bodies = append(bodies, fmt.Sprintf(`{"note":"sim:%s",`, kind)+gatewaytest.Payout(fmt.Sprintf("p%d", len(bodies)), "1.50")[1:])
	}
	for _, body := range bodies {
		if _, err := g.Do(client, g.URL, gatewaytest.Call{Body: body}); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(g.SecretFile, 0o644); err != nil {
		t.Fatal(err)
	}
	gatewaytest.Eventually(t, "the open secret file to be refused", func() bool { return !isReady(g)() })
	p.reload()
	commands := func() {
		file := filepath.Join(t.TempDir(), "Caddyfile")
		if err := os.WriteFile(file, []byte(p.Caddyfile), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, args := range [][]string{
			{"adapt", "--pretty", "--validate", "--config", file},
			{"validate", "--config", file},
			{"fmt", file},
			{"nowpay", "check", "--config", file},
			{"nowpay", "explain", "--config", file, "--merchant", "shop", "--from", "127.0.0.1", "--target", "/api/bank/payout"},
		} {
			r := command{args: args}.run(t)
			if r.stdout+r.stderr == "" {
				t.Errorf("caddy %v printed nothing", args)
			}
			said.add(fmt.Sprintf("what caddy %v printed", args[:2]), []byte(r.stdout), []byte(r.stderr))
		}
	}
	commands() // with a secret file that is refused, and then with a good one
	g.WriteSecret(gatewaytest.Username, gatewaytest.Key)
	gatewaytest.Eventually(t, "the gateway to be ready again", isReady(g))
	commands()
	if code := p.signal(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d", code)
	}
	log := p.logs.String()
	said.add("standard error", []byte(log))
	said.add("standard output", []byte(p.out.String()))
	for _, text := range []string{`"msg":"exchange"`, `"findings":["key-leak"]`, "chmod 600", `"Authorization":["REDACTED"]`} {
		if !strings.Contains(log, text) {
			t.Errorf("standard error has no %s: %s", text, log)
		}
	}
	said.mustBeSilent(t, map[string]string{"the key": gatewaytest.Key, "shop's token": gatewaytest.ShopToken})
}
