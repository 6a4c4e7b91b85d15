package caddymodule_test

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/caddymodule"
	"github.com/nowpay-gateway/nowpay-gateway/internal/gatewaytest"
	"github.com/nowpay-gateway/nowpay-gateway/simulator"
)

// samples are the gateway's own series with their values, as scraped.
type samples map[string]float64

// parseSamples reads Prometheus' text. No series may be there twice.
func parseSamples(text string) (samples, error) {
	all := make(samples)
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "nowpay_") {
			continue
		}
		series, number, _ := strings.Cut(strings.TrimSpace(line), " ")
		value, err := strconv.ParseFloat(number, 64)
		if err != nil {
			return nil, fmt.Errorf("line %q: %w", line, err)
		}
		if _, twice := all[series]; twice {
			return nil, fmt.Errorf("%s is there twice", series)
		}
		all[series] = value
	}
	return all, nil
}

func scrape(t *testing.T, g *gatewaytest.Gateway) samples {
	t.Helper()
	all, err := parseSamples(g.Metrics())
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// labels are the label names of each metric.
func (s samples) labels() map[string]string {
	name := regexp.MustCompile(`([a-z_]+)="`)
	found := make(map[string]string)
	for series := range s {
		metric, rest, _ := strings.Cut(series, "{")
		for _, part := range []string{"_bucket", "_sum", "_count"} {
			metric = strings.TrimSuffix(metric, part)
		}
		var names []string
		for _, match := range name.FindAllStringSubmatch(rest, -1) {
			if match[1] != "le" {
				names = append(names, match[1])
			}
		}
		found[metric] = strings.Join(names, " ")
	}
	return found
}

// documentedMetrics are the metrics of the README's table, with their labels.
func documentedMetrics(t *testing.T) map[string]string {
	t.Helper()
	readme, err := os.ReadFile(filepath.Join(repository, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	documented := make(map[string]string)
	words := func(cell string) []string {
		return strings.FieldsFunc(cell, func(r rune) bool { return !(r == '_' || 'a' <= r && r <= 'z') })
	}
	for _, row := range regexp.MustCompile("(?m)^\\| (`nowpay_[^|]*) \\|([^|]*)\\|").FindAllStringSubmatch(string(readme), -1) {
		labels := words(row[2])
		slices.Sort(labels) // as Prometheus has them
		for _, metric := range words(row[1]) {
			documented[metric] = strings.Join(labels, " ")
		}
	}
	if len(documented) == 0 {
		t.Fatal("the README has no table of metrics")
	}
	return documented
}

// TestMetricsAreDocumented holds the README against what is scraped.
func TestMetricsAreDocumented(t *testing.T) {
	down := newMerchantApp(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	g := startCallbacks(t, gatewaytest.Options{Nowpay: asks(byRequestID, "pending"), Shop: down.notify(t)})
	if err := g.Simulator.SettlePending(pend(t, g, "d0").ProviderID, simulator.StateSuccess); err != nil {
		t.Fatal(err)
	}
	gatewaytest.Eventually(t, "a notification that waits", func() bool {
		return g.Metric(`nowpay_notifications_total{merchant="shop",result="waiting"}`) > 0 && g.Metric(`nowpay_notifications_waiting{merchant="shop"}`) > 0
	})
	worked(t, g)
	for range 2 { // the second is a repeat, and asks what became of the first
		g.Must(gatewaytest.Call{Body: strings.Replace(gatewaytest.Payout("d1", "1.50"), "Asha Rao", "sim:other-id", 1)})
	}
	caddymodule.ObserveTransit("main")
	documented, scraped := documentedMetrics(t), scrape(t, g).labels()
	if !maps.Equal(documented, scraped) {
		t.Errorf("documented are\n%v\nand scraped\n%v", documented, scraped)
	}
	for metric := range scraped {
		if !regexp.MustCompile(`(?m)^# HELP ` + metric + ` \S`).MatchString(g.Metrics()) {
			t.Errorf("%s has no help", metric)
		}
	}
}

func TestMetricsMove(t *testing.T) {
	const slow = 300 * time.Millisecond
	g := gatewaytest.Start(t, gatewaytest.Options{})
	pay := func(kind simulator.Kind) func() {
		return func() {
			if err := g.Simulator.AddFault(simulator.Fault{Kind: kind, Times: 1, Delay: slow}); err != nil {
				t.Fatal(err)
			}
			g.Must(gatewaytest.Call{Body: gatewaytest.Payout("m"+strconv.Itoa(len(g.Simulator.Requests())), "1.50")})
		}
	}
	refused := func(c gatewaytest.Call) func() { return func() { g.Must(c) } }
	for _, test := range []struct {
		name string
		do   func()
		want []string // that rise by one; all other counters stay
	}{
		{"success", pay(simulator.Success), ended("success")},
		{"failed", pay(simulator.Failed), ended("failed")},
		{"refused by Nowpay", pay(simulator.WrongKey), ended("refused")},
		{"pending", pay(simulator.Pending), ended("pending")},
		{"unknown", pay(simulator.ResetAfterDebit), ended("unknown")},
		{"other id", pay(simulator.OtherID), ended("unknown", "request-id")},
		{"slow", pay(simulator.Slow), ended("success")},
		{"balance", refused(gatewaytest.Call{Path: "/api/common/balance", Body: "{}"}), []string{
			`nowpay_decisions_total{merchant="shop",reason="allowed"}`,
			`nowpay_exchanges_total{merchant="shop",operation="common/balance",outcome="success"}`,
			`nowpay_gateway_duration_seconds_count{operation="common/balance"}`,
			`nowpay_provider_duration_seconds_count{operation="common/balance"}`,
		}},
		{"no token", refused(gatewaytest.Call{Token: "-"}), []string{`nowpay_decisions_total{merchant="",reason="unauthenticated"}`}},
		{"not allowed", refused(gatewaytest.Call{Token: gatewaytest.KioskToken}), []string{`nowpay_decisions_total{merchant="kiosk",reason="operation-not-allowed"}`}},
		{"malformed", refused(gatewaytest.Call{Body: "{"}), []string{`nowpay_decisions_total{merchant="shop",reason="malformed-body"}`}},
		{"the list", refused(gatewaytest.Call{Method: http.MethodGet, Path: "/operations"}), []string{`nowpay_decisions_total{merchant="shop",reason="allowed"}`}},
		{"health", refused(gatewaytest.Call{Method: http.MethodGet, Path: "/health/ready"}), nil},
		{"unsent", func() { g.StopProvider(); g.Must(gatewaytest.Call{Body: gatewaytest.Payout("unsent", "1.50")}) }, []string{
			`nowpay_decisions_total{merchant="shop",reason="not-sent"}`,
			`nowpay_exchanges_total{merchant="shop",operation="bank/payout",outcome="unsent"}`,
			`nowpay_gateway_duration_seconds_count{operation="bank/payout"}`,
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			before := scrape(t, g)
			test.do()
			after := scrape(t, g)
			var risen []string
			for series, value := range after {
				counts := strings.Contains(series, "_total{") || strings.Contains(series, "_count{")
				switch value - before[series] {
				case 0:
				case 1:
					if counts {
						risen = append(risen, series)
					}
				default:
					if counts {
						t.Errorf("%s went from %v to %v", series, before[series], value)
					}
				}
			}
			slices.Sort(risen)
			if want := slices.Sorted(slices.Values(test.want)); !slices.Equal(risen, want) {
				t.Errorf("risen\n%s\nwant\n%s", strings.Join(risen, "\n"), strings.Join(want, "\n"))
			}
			if test.name == "slow" {
				const provider, own = `nowpay_provider_duration_seconds_sum{operation="bank/payout"}`, `nowpay_gateway_duration_seconds_sum{operation="bank/payout"}`
				if took := after[provider] - before[provider]; took < slow.Seconds() {
					t.Errorf("the provider's part took %v s, want at least %v", took, slow)
				}
				if took := after[own] - before[own]; took < 0 || took > slow.Seconds() {
					t.Errorf("our part took %v s: the provider's is in it", took)
				}
			}
		})
	}
}

// ended are the counters of a payout of shop that went to the provider.
func ended(outcome string, findings ...string) []string {
	series := []string{
		`nowpay_decisions_total{merchant="shop",reason="allowed"}`,
		`nowpay_exchanges_total{merchant="shop",operation="bank/payout",outcome="` + outcome + `"}`,
		`nowpay_gateway_duration_seconds_count{operation="bank/payout"}`,
		`nowpay_provider_duration_seconds_count{operation="bank/payout"}`,
	}
	for _, finding := range findings {
		series = append(series, `nowpay_integrity_failures_total{kind="`+finding+`",operation="bank/payout"}`)
	}
	return series
}

// TestStateMetrics are those that are read at the scrape.
func TestStateMetrics(t *testing.T) {
	const (
		available = `nowpay_credential_available{account="main"}`
		age       = `nowpay_credential_age_seconds{account="main"}`
		version   = `nowpay_credential_version{account="main"}`
	)
	door := newDoor(t)
	g := gatewaytest.Start(t, gatewaytest.Options{Provider: door.wrap, LocalAddress: gatewaytest.EgressIP + " 203.0.113.77"})
	now := scrape(t, g)
	if now[available] != 1 || now[version] != 1 || now[age] < 0 || now[age] > 60 {
		t.Errorf("credential: available %v, version %v, age %v", now[available], now[version], now[age])
	}
	if up, ok := now[`nowpay_egress_address_up{address="203.0.113.77"}`]; !ok || up != 0 || now[`nowpay_egress_address_up{address="`+gatewaytest.EgressIP+`"}`] != 1 {
		t.Errorf("egress addresses: %v", now)
	}
	// The file is read once a second, so that two scrapes may be on either side.
	gatewaytest.Eventually(t, "the credential to get older", func() bool {
		first := g.Metric(age)
		return g.Metric(age) > first && first > 0
	})

	release := door.hold()
	end := begin(t.Context(), t, g, "h2", gatewaytest.Call{Body: gatewaytest.Payout("s1", "1.50")})
	<-door.arrived
	if n := g.Metric("nowpay_in_flight"); n != 1 {
		t.Errorf("in flight: %v, want 1", n)
	}
	release()
	if _, err := end(); err != nil {
		t.Error(err)
	}
	gatewaytest.Eventually(t, "nothing to be in flight", func() bool { return g.Metric("nowpay_in_flight") == 0 })

	g.WriteSecret(gatewaytest.Username, "another key")
	gatewaytest.Eventually(t, "the next version", func() bool { return g.Metric(version) == 2 })
	if err := os.Remove(g.SecretFile); err != nil {
		t.Fatal(err)
	}
	gatewaytest.Eventually(t, "the credential to be gone", func() bool { return g.Metric(available) == 0 })
	now = scrape(t, g)
	if _, ok := now[age]; ok {
		t.Errorf("there is no credential, and it is %v s old", now[age])
	}
}

// TestMetricsSurviveReloads and forget the merchants that are gone.
func TestMetricsSurviveReloads(t *testing.T) {
	g := gatewaytest.Start(t, gatewaytest.Options{})
	mustPay(t, g, gatewaytest.ShopToken, "r1")
	g.Must(gatewaytest.Call{Token: gatewaytest.KioskToken, Path: "/api/common/balance", Body: "{}"})
	counters := func() samples {
		all := scrape(t, g)
		maps.DeleteFunc(all, func(series string, _ float64) bool {
			return strings.Contains(series, "credential_age") || strings.Contains(series, "nowpay_journal_") // which count looks for what is due
		})
		return all
	}
	before := counters()
	if before[`nowpay_exchanges_total{merchant="kiosk",operation="common/balance",outcome="success"}`] < 1 {
		t.Fatalf("kiosk's exchange was not counted: %v", before)
	}
	for range 3 {
		mustReload(t, g, gatewaytest.Options{})
	}
	if after := counters(); !maps.Equal(before, after) {
		t.Errorf("before the reloads\n%v\nand after\n%v", before, after)
	}

	mustReload(t, g, gatewaytest.Options{}, withoutKiosk)
	maps.DeleteFunc(before, func(series string, _ float64) bool { return strings.Contains(series, `merchant="kiosk"`) })
	if after := counters(); !maps.Equal(before, after) {
		t.Errorf("without kiosk\n%v\nwant\n%v", after, before)
	}
	mustReload(t, g, gatewaytest.Options{})
	g.Must(gatewaytest.Call{Token: gatewaytest.KioskToken, Path: "/api/common/balance", Body: "{}"})
	if n := g.Metric(`nowpay_exchanges_total{merchant="kiosk",operation="common/balance",outcome="success"}`); n != 1 {
		t.Errorf("kiosk is back with %v exchanges, want 1", n)
	}
}

// TestLabelsAreBounded: callers cannot make series.
func TestLabelsAreBounded(t *testing.T) {
	g := gatewaytest.Start(t, gatewaytest.Options{})
	odd := func(n int) {
		for _, c := range []gatewaytest.Call{
			{Token: fmt.Sprintf("npg_%d", n)},
			{Token: "-", Path: fmt.Sprintf("/api/made/up%d", n)},
			{Path: fmt.Sprintf("/api/made/up%d", n)},
			{Path: fmt.Sprintf("/made/up%d", n)},
			{Path: fmt.Sprintf("/api/bank/payout?n=%d", n)},
			{Method: fmt.Sprintf("M%d", n), Path: "/api/bank/payout"},
			{Body: fmt.Sprintf(`{"f%d":1}`, n)},
			{Body: gatewaytest.Payout(fmt.Sprintf("b%d", n), fmt.Sprintf("%d.00", n+1)), Header: http.Header{"X-Forwarded-For": {fmt.Sprintf("10.0.0.%d", n)}}},
		} {
			g.Must(c)
		}
	}
	odd(0)
	before := slices.Sorted(maps.Keys(scrape(t, g)))
	for n := 1; n < 10; n++ {
		odd(n)
	}
	if after := slices.Sorted(maps.Keys(scrape(t, g))); !slices.Equal(before, after) {
		t.Errorf("callers made series:\n%s\nfrom\n%s", strings.Join(after, "\n"), strings.Join(before, "\n"))
	}
}

// TestScrapeDuringReloads: two configurations are live for a moment.
func TestScrapeDuringReloads(t *testing.T) {
	g := gatewaytest.Start(t, gatewaytest.Options{})
	var stop atomic.Bool
	var scrapers sync.WaitGroup
	var good atomic.Int32
	for _, url := range []string{g.MetricsURL, g.AdminURL + "/metrics"} {
		client := g.Client("http/1.1")
		client.Transport.(*http.Transport).DisableKeepAlives = true
		scrapers.Go(func() {
			for !stop.Load() {
				response, err := client.Get(url)
				// See TestReloadUnderLoad for what may become of connections.
				if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) {
					continue
				}
				if err != nil {
					t.Errorf("scraping: %v", err)
					return
				}
				text, err := io.ReadAll(response.Body)
				_ = response.Body.Close()
				if err == nil {
					_, err = parseSamples(string(text))
				}
				if err != nil || response.StatusCode != http.StatusOK {
					t.Errorf("scraping: %s %v: %s", response.Status, err, text)
				}
				good.Add(1)
			}
		})
	}
	for i := range 15 {
		before := good.Load()
		gatewaytest.Eventually(t, "scrapes", func() bool { return good.Load() >= before+4 || t.Failed() })
		o := gatewaytest.Options{}
		if i%2 == 1 {
			o.Nowpay = second
		}
		mustReload(t, g, o)
	}
	stop.Store(true)
	scrapers.Wait()
}
