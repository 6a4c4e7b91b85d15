package caddymodule

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/journal"
)

// parseFilter reads a filter from a query. What it does not know it refuses: a
// filter that was mistyped would show too much.
func parseFilter(query url.Values, now time.Time) (journal.Filter, error) {
	var f journal.Filter
	err := readQuery(query, func(name, value string) error { return setFilter(&f, name, value, now) }, "state")
	return f, err
}

// readQuery has every parameter of a query set, once, but for those of which there
// may be several.
func readQuery(query url.Values, set func(name, value string) error, several ...string) error {
	for _, name := range slices.Sorted(maps.Keys(query)) {
		values := query[name]
		if len(values) > 1 && !slices.Contains(several, name) {
			return fmt.Errorf("%s: is there more than once", name)
		}
		for _, value := range values {
			err := errors.New("has no value")
			if value != "" {
				err = set(name, value)
			}
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	return nil
}

var errNoFilter = errors.New("there is no such filter")

func setFilter(f *journal.Filter, name, value string, now time.Time) (err error) {
	switch name {
	case "state":
		state, known := parseState(value)
		if !known {
			return fmt.Errorf("there is no state %q", value)
		}
		f.States = append(f.States, state)
	case "account":
		f.Account = value
	case "merchant":
		f.Merchant = value
	case "operation":
		f.Operation = value
	case "request_id":
		f.RequestID = value
	case "provider_id":
		f.ProviderID = value
	case "since":
		f.Since, err = parseTime(value, now)
	case "until":
		f.Until, err = parseTime(value, now)
	case "needs_person":
		f.Attention, err = parseTrue(value)
	case "reversed":
		f.Reversed, err = parseTrue(value)
	case "before":
		f.Before = value
	case "limit":
		f.Limit, err = parseCount(value, "transactions")
	default:
		return errNoFilter
	}
	return err
}

// filterQuery is the query that parseFilter reads as the filter.
func filterQuery(f journal.Filter) url.Values {
	query := make(url.Values)
	for name, value := range map[string]string{
		"account": f.Account, "merchant": f.Merchant, "operation": f.Operation,
		"request_id": f.RequestID, "provider_id": f.ProviderID, "before": f.Before,
	} {
		if value != "" {
			query.Set(name, value)
		}
	}
	for _, state := range f.States {
		query.Add("state", string(state))
	}
	for name, at := range map[string]time.Time{"since": f.Since, "until": f.Until} {
		if !at.IsZero() {
			query.Set(name, at.UTC().Format(time.RFC3339Nano))
		}
	}
	for name, set := range map[string]bool{"needs_person": f.Attention, "reversed": f.Reversed} {
		if set {
			query.Set(name, "true")
		}
	}
	if f.Limit > 0 {
		query.Set("limit", strconv.Itoa(f.Limit))
	}
	return query
}

func parseState(text string) (journal.State, bool) {
	switch state := journal.State(text); state {
	case journal.Created, journal.Sent, journal.Success, journal.Failed, journal.Refused,
		journal.Pending, journal.Unknown, journal.Unsent:
		return state, true
	default:
		return "", false
	}
}

// parseTime reads a time: how long ago, a date in India, or a time of RFC 3339.
func parseTime(text string, now time.Time) (time.Time, error) {
	if ago, err := time.ParseDuration(text); err == nil {
		if ago < 0 {
			return time.Time{}, fmt.Errorf("%q is in the future", text)
		}
		return now.Add(-ago), nil
	}
	india := time.FixedZone("IST", 5*60*60+30*60) // by whose days transactions count
	if day, err := time.ParseInLocation(time.DateOnly, text, india); err == nil {
		return day, nil
	}
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return time.Time{}, fmt.Errorf("%q is neither a duration (24h), nor a date (2026-11-26), nor a time (2026-11-26T10:00:00+05:30)", text)
	}
	return at, nil
}

func parseCount(text, of string) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%q is no number of %s", text, of)
	}
	return n, nil
}

// parseTrue reads a word that only widens what is asked for if it is left out.
func parseTrue(text string) (bool, error) {
	if text != "true" {
		return false, fmt.Errorf("%q is not true", text)
	}
	return true, nil
}
