package caddymodule

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/gateway"
	"github.com/nowpay-gateway/nowpay-gateway/whitelist"
)

const (
	defaultPersonAfter   = 24 * time.Hour
	defaultStatusTimeout = 15 * time.Second
	defaultDailyCheck    = "06:00"
)

// settings of a block that is not given are the defaults.
func (c *Reconcile) settings() (gateway.Reconcile, error) {
	if c == nil {
		c = new(Reconcile)
	}
	r := newResolver()
	s := gateway.Reconcile{
		PersonAfter:   cmp.Or(time.Duration(c.PersonAfter), defaultPersonAfter),
		StatusRate:    whitelist.Rate{Requests: 5, Per: time.Second, Burst: 10},
		StatusTimeout: cmp.Or(time.Duration(c.StatusTimeout), defaultStatusTimeout),
		DailyCheck:    -1,
	}
	if at := cmp.Or(r.text("daily_check", c.DailyCheck), defaultDailyCheck); at != "off" {
		s.DailyCheck = parseOne(r, "daily_check", at, parseTimeOfDay)
	}
	switch {
	case r.err != nil:
		return s, r.err
	case s.PersonAfter < 0:
		return s, errors.New("person_after: must not be negative")
	case s.StatusTimeout < 0:
		return s, errors.New("status_timeout: must not be negative")
	case c.StatusRate == nil:
		return s, nil
	}
	var err error
	if s.StatusRate, err = c.StatusRate.settings(); err != nil {
		return s, fmt.Errorf("status_rate: %w", err)
	}
	return s, nil
}

// parseTimeOfDay gives the time since midnight.
func parseTimeOfDay(s string) (time.Duration, error) {
	const layout = "15:04"
	t, err := time.Parse(layout, s)
	if err != nil || len(s) != len(layout) {
		return 0, fmt.Errorf("takes a time of day such as `06:00`, or `off`; not %q", s)
	}
	return time.Duration(t.Hour())*time.Hour + time.Duration(t.Minute())*time.Minute, nil
}
