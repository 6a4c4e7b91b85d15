//go:build linux

package powercut

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/journal"
)

const (
	// restTime is how long it may take until nothing waits any more.
	restTime = 6 * time.Minute
	// leaseTime is more than a lease of those that gateways take.
	leaseTime = 150 * time.Second
	// restPatience is how long what is due may take.
	restPatience = 20 * time.Second
	// manyKills is from when on a test has the time to wait for leases itself.
	manyKills = 1000
)

// rest waits until no callback and no notification waits any more and all is
// settled that can be, and stops the gateways.
func (w *callbackWorld) rest() {
	w.t.Helper()
	w.awaitMetrics(func(m map[string]float64) bool { return m[`nowpay_transactions_open{state="sent"}`] == 0 })
	for begun := time.Now(); ; {
		for _, g := range w.gateways {
			g.stop()
		}
		left, open := w.left()
		if left == "" {
			return
		}
		if time.Since(begun) > restTime {
			w.t.Errorf("it does not come to rest: %s", left)
			return
		}
		if *killsFlag < manyKills || time.Since(begun) > leaseTime {
			w.hurry()
		}
		for _, g := range w.gateways {
			g.start()
			g.ready()
		}
		w.awaitMetrics(func(m map[string]float64) bool {
			waits := m["nowpay_callbacks_waiting"]
			for merchant := range hookSecrets {
				waits += m[`nowpay_notifications_waiting{merchant="`+merchant+`"}`]
			}
			unsettled := m[`nowpay_transactions_open{state="pending"}`] + m[`nowpay_transactions_open{state="unknown"}`]
			return waits == 0 && int(unsettled) <= open
		})
	}
}

// left says what of the journal is not at rest; "" if all is. open is how many
// transactions stay open for good reasons.
func (w *callbackWorld) left() (left string, open int) {
	w.t.Helper()
	j := w.openJournal(w.store(), w.keyFile)
	defer j.Close()
	stats, err := j.MessageStats(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	messages, unsettled := 0, 0
	for _, lane := range stats {
		messages += lane.Count
	}
	ledger := byRequest(w.provider.sim.Ledger())
	for t, err := range j.List(w.t.Context(), journal.Filter{States: []journal.State{journal.Sent, journal.Pending, journal.Unknown}}) {
		switch {
		case err != nil:
			w.t.Fatal(err)
		case t.State != journal.Sent && whyOpen(w.noStatus, t.Operation, ledger[t.RequestID]) != "":
			open++
		default:
			unsettled++
		}
	}
	if messages+unsettled > 0 {
		left = fmt.Sprintf("%d messages and %d transactions", messages, unsettled)
	}
	return left, open
}

// hurry makes due at once what waits for the lease of a gateway that was killed to
// end, or for its next try: the same happens without it, minutes or an hour later.
func (w *callbackWorld) hurry() {
	w.t.Helper()
	const all = 1 << 20
	store := w.store()
	defer store.Close()
	err := store.Open(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	var waiting []string
	for m, err := range store.Messages(w.t.Context(), journal.MessageFilter{State: journal.Waiting}) {
		if err != nil {
			w.t.Fatal(err)
		}
		waiting = append(waiting, m.ID)
	}
	err = store.Write(w.t.Context(), func(ctx context.Context, tx journal.Tx) error {
		now := time.Now().Truncate(time.Microsecond)
		messages, err := tx.LockMessages(ctx, waiting)
		if err != nil {
			return err
		}
		for i := range messages {
			messages[i].Due = now
		}
		if err := tx.UpdateMessages(ctx, messages); err != nil {
			return err
		}
		if w.noStatus {
			return nil // nothing happens by itself
		}
		rows, err := tx.LockDue(ctx, []string{"main"}, now.Add(24*time.Hour), all)
		if err != nil {
			return err
		}
		for i := range rows {
			if rows[i].State != journal.Sent {
				rows[i].NextCheck = now
			}
		}
		return tx.Update(ctx, rows)
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// awaitMetrics waits for the metrics of the first gateway, which are those of the
// journal that all share. What is not there then is found out afterwards.
func (w *callbackWorld) awaitMetrics(good func(map[string]float64) bool) {
	w.t.Helper()
	for end := time.Now().Add(restPatience); time.Now().Before(end); time.Sleep(betweenTimes) {
		metrics, err := w.metrics()
		if err != nil {
			w.t.Fatal(err)
		}
		if _, there := metrics["nowpay_callbacks_waiting"]; there && good(metrics) {
			return
		}
	}
}

func (w *callbackWorld) metrics() (map[string]float64, error) {
	request, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, "http://"+w.gateways[0].metrics+"/", nil)
	if err != nil {
		return nil, err
	}
	response, err := w.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	metrics := make(map[string]float64)
	lines := bufio.NewScanner(response.Body)
	for lines.Scan() {
		if name, text, ok := strings.Cut(lines.Text(), " "); ok {
			if value, err := strconv.ParseFloat(text, 64); err == nil {
				metrics[name] = value
			}
		}
	}
	return metrics, lines.Err()
}
