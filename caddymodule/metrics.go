package caddymodule

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/nowpay-gateway/nowpay-gateway/gateway"
	"github.com/nowpay-gateway/nowpay-gateway/journal"
	"github.com/nowpay-gateway/nowpay-gateway/vault"
)

// metrics outlive configurations, so that counters do not restart at a reload.
// Each configuration registers the same collectors with its own registry.
//
// All labels have few values: names from the configuration, and constants.
var metrics = newMetricSet()

// metricSet is every metric of the gateway.
type metricSet struct {
	exchanges  *prometheus.CounterVec
	repeats    *prometheus.CounterVec
	asked      *prometheus.CounterVec
	decisions  *prometheus.CounterVec
	integrity  *prometheus.CounterVec
	callbacks  *prometheus.CounterVec
	worked     *prometheus.CounterVec
	notified   *prometheus.CounterVec
	own        *prometheus.HistogramVec
	provider   *prometheus.HistogramVec
	transitIn  *prometheus.HistogramVec
	transitOf  *prometheus.HistogramVec
	inFlight   prometheus.Gauge
	state      *stateCollector
	collectors []prometheus.Collector
}

func newMetricSet() *metricSet {
	const namespace = "nowpay"
	// From a refusal without I/O to a provider that takes its full 90 s.
	ownBuckets := []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .5, 1}
	transitBuckets := []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5}
	providerBuckets := []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 90}

	m := &metricSet{
		exchanges: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "exchanges_total",
			Help: "Exchanges that came as far as signing, by what became of them.",
		}, []string{"merchant", "operation", "outcome"}),
		repeats: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "repeats_total",
			Help: "Requests whose request ID was known: nothing was sent, by what is known of the first one.",
		}, []string{"merchant", "operation", "outcome"}),
		asked: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "status_calls_total",
			Help: "Questions to the provider about what became of a transaction, by who wanted to know and what it says; `none` means that there was no call or no answer.",
		}, []string{"operation", "cause", "provider_says"}),
		decisions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "decisions_total",
			Help: "Requests by the gateway's decision: allowed, or the code of the problem.",
		}, []string{"merchant", "reason"}),
		integrity: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "integrity_failures_total",
			Help: "Provider answers that failed a check, by kind; key-leak means that the answer held the key.",
		}, []string{"operation", "kind"}),
		callbacks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "callbacks_total",
			Help: "Callback requests, by what became of them: recorded, refused (wrong address or secret), broken, forgotten (one of very many of no transaction), or lost (the journal could not record it).",
		}, []string{"result"}),
		worked: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "callbacks_worked_total",
			Help: "Looks at recorded callbacks, by form and by what came of them: waiting (looked at again), done, or dead (of no use).",
		}, []string{"shape", "result"}),
		notified: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "notifications_total",
			Help: "Attempts to notify merchants, by what came of them: done (delivered), waiting (tried again), or dead (given up).",
		}, []string{"merchant", "result"}),
		own: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: namespace, Name: "gateway_duration_seconds",
			Help: "Time of an exchange that the gateway itself took, without the provider's.", Buckets: ownBuckets,
		}, []string{"operation"}),
		provider: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: namespace, Name: "provider_duration_seconds",
			Help: "Time from the first byte sent to the provider to the last byte of its answer.", Buckets: providerBuckets,
		}, []string{"operation"}),
		transitIn: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: namespace, Name: "transit_duration_seconds",
			Help: "Time of a signature or a verification by Vault's transit engine, with waiting for other requests, by result: ok, or failed.", Buckets: transitBuckets,
		}, []string{"account", "result"}),
		transitOf: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: namespace, Name: "transit_batch_size",
			Help: "Signatures or verifications that shared a request to Vault's transit engine.", Buckets: []float64{1, 2, 4, 8, 16, 32, 64, 100},
		}, []string{"account"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: namespace, Name: "in_flight",
			Help: "Requests of merchants that are being served.",
		}),
		state: newStateCollector(namespace),
	}
	m.collectors = []prometheus.Collector{m.exchanges, m.repeats, m.asked, m.decisions, m.integrity, m.callbacks, m.worked, m.notified, m.own, m.provider, m.transitIn, m.transitOf, m.inFlight, m.state}
	return m
}

// register adds the collectors to a configuration's registry, which is new.
func (m *metricSet) register(registry prometheus.Registerer) error {
	for _, collector := range m.collectors {
		if err := registry.Register(collector); err != nil {
			return fmt.Errorf("registering metrics: %w", err)
		}
	}
	return nil
}

// record counts an exchange.
func (m *metricSet) record(r *gateway.Record) {
	reason := string(r.Problem)
	if reason == "" {
		reason = "allowed"
	}
	m.decisions.WithLabelValues(r.Merchant, reason).Inc()
	if r.Outcome == "" {
		return
	}
	if r.Repeat {
		m.repeats.WithLabelValues(r.Merchant, r.Operation, string(r.Outcome)).Inc()
		return
	}
	m.exchanges.WithLabelValues(r.Merchant, r.Operation, string(r.Outcome)).Inc()
	m.own.WithLabelValues(r.Operation).Observe((r.Duration - r.ProviderDuration).Seconds())
	if r.ProviderDuration > 0 {
		m.provider.WithLabelValues(r.Operation).Observe(r.ProviderDuration.Seconds())
	}
	for _, finding := range r.Findings {
		m.integrity.WithLabelValues(r.Operation, string(finding)).Inc()
	}
}

// observe counts a question about a transaction.
func (m *metricSet) observe(c gateway.StatusCall) {
	says := string(c.Outcome)
	if c.Err != nil {
		says = none
	}
	m.asked.WithLabelValues(c.Operation, string(c.Cause), says).Inc()
	for _, finding := range c.Findings {
		m.integrity.WithLabelValues(c.Operation, string(finding)).Inc()
	}
}

func (m *metricSet) calledBack(result string) { m.callbacks.WithLabelValues(result).Inc() }

// transit observes what is asked of Vault's transit engine for an account.
func (m *metricSet) transit(account string) vault.TransitOptions {
	return vault.TransitOptions{
		Called: func(took time.Duration, err error) {
			m.transitIn.WithLabelValues(account, transitResult(err)).Observe(took.Seconds())
		},
		Sent: func(calls int) { m.transitOf.WithLabelValues(account).Observe(float64(calls)) },
	}
}

// posted counts what came of working on a message.
func (m *metricSet) posted(after journal.Message) {
	if after.Box == journal.Inbox {
		m.worked.WithLabelValues(after.Kind, string(after.State)).Inc()
		return
	}
	m.notified.WithLabelValues(after.Lane, string(after.State)).Inc()
}

// left lists the merchants of one configuration that are not in the next.
func left(previous, next *runtime) []string {
	if previous.gateway == nil || next == nil {
		return nil
	}
	stays := make(map[string]bool)
	for _, merchant := range next.gateway.Policy.Merchants() {
		stays[merchant.Name] = true
	}
	var gone []string
	for _, merchant := range previous.gateway.Policy.Merchants() {
		if !stays[merchant.Name] {
			gone = append(gone, merchant.Name)
		}
	}
	return gone
}

// forget drops the series of merchants that are no longer configured.
func (m *metricSet) forget(merchants []string) {
	for _, name := range merchants {
		labels := prometheus.Labels{"merchant": name}
		m.exchanges.DeletePartialMatch(labels)
		m.repeats.DeletePartialMatch(labels)
		m.decisions.DeletePartialMatch(labels)
		m.notified.DeletePartialMatch(labels)
	}
}
