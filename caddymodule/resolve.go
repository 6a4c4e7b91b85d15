package caddymodule

import (
	"fmt"
	"net/netip"

	"github.com/caddyserver/caddy/v2"

	"github.com/nowpay-gateway/nowpay-gateway/whitelist"
)

// resolver resolves the placeholders of a configuration. It keeps the first
// error and does nothing after it. It must never see what a caller sent.
type resolver struct {
	replacer *caddy.Replacer
	err      error
}

func newResolver() *resolver { return &resolver{replacer: caddy.NewReplacer()} }

// text resolves a value. An absent value stays absent; a placeholder that is
// unknown or empty is an error that names the field.
func (r *resolver) text(field, value string) string {
	if r.err != nil || value == "" {
		return ""
	}
	resolved, err := r.replacer.ReplaceOrErr(value, true, true)
	if err != nil {
		r.err = fmt.Errorf("%s: %w", field, err)
		return ""
	}
	return resolved
}

// texts resolves several values, none of which may be empty.
func (r *resolver) texts(field string, values []string) []string {
	return parseEach(r, field, values, func(s string) (string, error) { return s, nil })
}

// change resolves a value into a trait, if it is given at all; `none` empties
// the trait.
func (r *resolver) change(field, value string, trait *string) {
	switch resolved := r.text(field, value); resolved {
	case "":
	case none:
		*trait = ""
	default:
		*trait = resolved
	}
}

// parseOne resolves and parses a value. An absent value gives the zero T.
func parseOne[T any](r *resolver, field, value string, parse func(string) (T, error)) (parsed T) {
	resolved := r.text(field, value)
	if resolved == "" {
		return parsed
	}
	parsed, err := parse(resolved)
	if err != nil {
		r.err = fmt.Errorf("%s: %w", field, err)
	}
	return parsed
}

// parseEach resolves and parses several values.
func parseEach[T any](r *resolver, field string, values []string, parse func(string) (T, error)) (parsed []T) {
	for _, value := range values {
		if value == "" && r.err == nil {
			r.err = fmt.Errorf("%s: has an empty value", field)
		}
		parsed = append(parsed, parseOne(r, field, value, parse))
	}
	return parsed
}

// networks resolves and parses a list of networks, or the word `anywhere`.
func networks(r *resolver, field string, values []string) []netip.Prefix {
	resolved := r.texts(field, values)
	if r.err != nil {
		return nil
	}
	prefixes, err := whitelist.ParseNetworks(resolved)
	if err != nil {
		r.err = fmt.Errorf("%s: %w", field, err)
	}
	return prefixes
}
