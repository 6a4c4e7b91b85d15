package caddymodule

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/nowpay-gateway/nowpay-gateway/journal"
)

// stateCollector reads the state of the serving configuration at each scrape,
// so that ages are right to the moment.
type stateCollector struct {
	account   *prometheus.Desc
	available *prometheus.Desc
	age       *prometheus.Desc
	version   *prometheus.Desc
	previous  *prometheus.Desc
	egressUp  *prometheus.Desc
	underWay  *prometheus.Desc

	journalUp *prometheus.Desc
	writes    *prometheus.Desc
	commits   *prometheus.Desc
	open      *prometheus.Desc
	oldest    *prometheus.Desc
	attention *prometheus.Desc

	callbacksWait      *prometheus.Desc
	notificationsWait  *prometheus.Desc
	notificationOldest *prometheus.Desc
}

func newStateCollector(namespace string) *stateCollector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(prometheus.BuildFQName(namespace, "", name), help, labels, nil)
	}
	return &stateCollector{
		account:   desc("account_info", "1, with whether the account is live or test.", "account", "mode"),
		available: desc("credential_available", "1 if the account's credential can be used, 0 if there is none or it is too old.", "account"),
		age:       desc("credential_age_seconds", "Time since the account's credential was last read from its secret source.", "account"),
		version:   desc("credential_version", "Version of the account's credential in its secret source.", "account"),
		previous:  desc("credential_previous_kept", "1 while the account's credential before is known beside the current one.", "account"),
		egressUp:  desc("egress_address_up", "1 if the egress address is on this machine.", "address"),
		underWay:  desc("exchanges_in_flight", "Exchanges that hold one of the places of max_in_flight.", "merchant"),

		journalUp: desc("journal_up", "1 if transactions can be recorded; if not, money operations are refused."),
		writes:    desc("journal_writes_total", "Intents, outcomes and other writes of the journal that is open."),
		commits:   desc("journal_commits_total", "Durable commits of the journal that is open, each with many writes."),
		open:      desc("transactions_open", "Transactions that are not settled, by state.", "state"),
		oldest:    desc("transactions_open_oldest_seconds", "Age of the oldest transaction that is not settled; 0 if there is none."),
		attention: desc("transactions_need_person", "Transactions that could not be settled in time, or that the provider contradicts."),

		callbacksWait:      desc("callbacks_waiting", "Callbacks that are recorded and not worked off yet."),
		notificationsWait:  desc("notifications_waiting", "Notifications that are not delivered yet.", "merchant"),
		notificationOldest: desc("notifications_oldest_seconds", "Age of the oldest notification that is not delivered yet.", "merchant"),
	}
}

// Describe implements prometheus.Collector.
func (c *stateCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{
		c.account, c.available, c.age, c.version, c.previous, c.egressUp, c.underWay, c.journalUp, c.writes, c.commits, c.open, c.oldest, c.attention,
		c.callbacksWait, c.notificationsWait, c.notificationOldest,
	} {
		ch <- desc
	}
}

// Collect implements prometheus.Collector.
func (c *stateCollector) Collect(ch chan<- prometheus.Metric) {
	rt := serving.Load()
	if rt == nil {
		return
	}
	gauge := func(desc *prometheus.Desc, value float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
	}
	c.collectJournal(ch, rt.journal.Journal, gauge)
	for _, m := range rt.modes {
		gauge(c.account, 1, m.Name, m.Mode)
	}
	for name, source := range rt.accounts {
		status := source.Status()
		gauge(c.available, oneIf(status.Available), name)
		if !status.FetchedAt.IsZero() {
			gauge(c.age, status.Age.Seconds(), name)
			gauge(c.version, float64(status.Version), name)
		}
		gauge(c.previous, oneIf(status.Previous != 0), name)
	}
	for _, address := range rt.egress.Addresses() {
		gauge(c.egressUp, oneIf(address.Up), address.Addr.String())
	}
	for merchant, taken := range rt.gateway.Places.Taken() {
		gauge(c.underWay, float64(taken), merchant)
	}
}

// statsTime bounds how long a scrape waits for the journal.
const statsTime = 2 * time.Second

// collectJournal reads what the journal counts. What it cannot read is left out:
// an old figure would be worse.
func (c *stateCollector) collectJournal(ch chan<- prometheus.Metric, j *journal.Journal, gauge func(*prometheus.Desc, float64, ...string)) {
	gauge(c.journalUp, oneIf(j.Ready() == nil))
	writes, commits := j.Writes()
	ch <- prometheus.MustNewConstMetric(c.writes, prometheus.CounterValue, float64(writes))
	ch <- prometheus.MustNewConstMetric(c.commits, prometheus.CounterValue, float64(commits))
	ctx, cancel := context.WithTimeout(context.Background(), statsTime) //nolint:forbidigo // a scrape has none
	defer cancel()
	stats, err := j.Stats(ctx)
	if err != nil {
		return
	}
	for _, state := range []journal.State{journal.Sent, journal.Pending, journal.Unknown} {
		gauge(c.open, float64(stats.Open[state]), string(state))
	}
	gauge(c.attention, float64(stats.Attention))
	age := 0.0
	if !stats.Oldest.IsZero() {
		age = time.Since(stats.Oldest).Seconds()
	}
	gauge(c.oldest, age)
	waiting, err := j.MessageStats(ctx)
	if err != nil {
		return
	}
	callbacks := 0
	for _, lane := range waiting {
		if lane.Box == journal.Inbox {
			callbacks += lane.Count
			continue
		}
		gauge(c.notificationsWait, float64(lane.Count), lane.Lane)
		gauge(c.notificationOldest, time.Since(lane.Oldest).Seconds(), lane.Lane)
	}
	gauge(c.callbacksWait, float64(callbacks))
}

func oneIf(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// Interface guards
var _ prometheus.Collector = (*stateCollector)(nil)
