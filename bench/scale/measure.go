package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/bench/internal/wrk"
)

// sample is what a row did in one round.
type sample struct {
	wrk.Answers
	exchanges  float64 // that ended with success, also after wrk had left
	refusals   float64
	cpu        float64 // µs of the gateway
	commits    float64
	journal    float64 // bytes that it grew by
	resident   float64 // MiB, in the middle of it
	goroutines float64 // the same, if it was watched
	places     float64 // the same: of max_in_flight that were taken
}

// length is how long a row is measured. All connections are opened anew, and the more
// there are, and the slower the provider is, the more exchanges have to pay for that;
// and each merchant is to call some times.
func (r row) length(of time.Duration) time.Duration {
	const inSecond = 500
	return max(of, (10 * r.latency).Round(time.Second), time.Duration(max(r.connections, r.merchants)/inSecond)*time.Second)
}

// measure loads one gateway, and looks at it meanwhile.
func (g *gateway) measure(ctx context.Context, length time.Duration) (s sample, err error) {
	before, err := g.read(ctx)
	if err != nil {
		return s, err
	}
	looked := make(chan error, 1)
	go func() { looked <- g.look(ctx, length*3/4, &s) }()
	answers, err := g.load(ctx, length)
	if err := errors.Join(err, <-looked); err != nil {
		return s, err
	}
	after, err := g.rest(ctx)
	if err != nil {
		return s, err
	}
	s.Answers = answers
	s.exchanges, s.refusals = after.successes-before.successes, after.refusals-before.refusals
	s.cpu, s.commits = float64((after.before - before.after).Microseconds()), after.commits-before.commits
	s.journal = after.journal - before.journal
	return s, s.check(g.row, before, after)
}

// look looks at what the gateway holds.
func (g *gateway) look(ctx context.Context, when time.Duration, s *sample) (err error) {
	if err := sleep(ctx, when); err != nil {
		return err
	}
	if g.row.watched {
		busy, err := g.read(ctx)
		if err != nil {
			return err
		}
		s.goroutines, s.places = busy.goroutines, busy.places
	}
	s.resident, _, err = g.server.Memory()
	return err
}

// check checks that what was not refused has been at the provider and is a success,
// and that no payment came there a second time.
func (s sample) check(r row, before, after state) error {
	answered, received := s.All-s.Refused, after.provider.Received-before.provider.Received
	switch {
	case s.Refused > 0 && (r.maxInFlight == 0 || float64(s.Refused) > s.refusals):
		return fmt.Errorf("%d answers are refusals, of which %.0f say limit-exceeded", s.Refused, s.refusals)
	case float64(answered) > s.exchanges:
		return fmt.Errorf("%d answers, of which %.0f say success", answered, s.exchanges)
	case answered > received || after.provider.Repeated > 0:
		return fmt.Errorf("%d answers, for %d requests at the provider, %d of which repeat a payment", answered, received, after.provider.Repeated)
	}
	return nil
}
