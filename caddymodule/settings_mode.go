package caddymodule

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/nowpay-gateway/nowpay-gateway/egress"
)

// What an account is: real money moves with a live one.
const (
	modeLive = "live"
	modeTest = "test"
)

// modeOf names what an account is.
func modeOf(live bool) string {
	if live {
		return modeLive
	}
	return modeTest
}

// modes decides what each account is, and refuses one that the upstream is not for.
func (a *App) modes(s *settings) error {
	hosts, err := a.liveHosts()
	if err != nil {
		return err
	}
	host := hostOf(s.egress.URL)
	atLive := slices.Contains(hosts, host)
	for _, name := range slices.Sorted(maps.Keys(s.accounts)) {
		account := s.accounts[name]
		if account.live, err = a.Accounts[name].mode(host, atLive, s.egress); err != nil {
			return fmt.Errorf("account %q: %w", name, err)
		}
		s.accounts[name] = account
	}
	return nil
}

// mode reports whether the account is live; atLive, whether the upstream's host is.
func (a *Account) mode(host string, atLive bool, upstream egress.Config) (live bool, err error) {
	r := newResolver()
	switch mode := r.text("mode", a.Mode); {
	case r.err != nil:
		return false, r.err
	case mode != "" && mode != modeLive && mode != modeTest:
		return false, errors.New("mode: is `live` or `test`")
	case mode == modeLive && !atLive:
		return false, fmt.Errorf("it is live, but the upstream's host %[1]s is not one of the live ones: "+
			"write `test` in the account, or, if money is real there, `live_hosts %[1]s` in the nowpay block", host)
	case mode == modeTest && atLive:
		return false, fmt.Errorf("it is a test account, but the upstream's host %s is a live one: write `live` in the account, or another upstream", host)
	case atLive && upstream.URL.Scheme == "http" && !upstream.InsecureHTTP:
		return false, errors.New("it is live, and the upstream has no https: write `upstream https://…`, or allow it with `insecure_http` in the upstream block")
	}
	return atLive, nil
}

// defaultLiveHost is the provider's own.
const defaultLiveHost = "nowpay.in"

// liveHosts are the hosts at which money is real, as hostOf has them.
func (a *App) liveHosts() ([]string, error) {
	if len(a.LiveHosts) == 0 {
		return []string{defaultLiveHost}, nil
	}
	r := newResolver()
	hosts := parseEach(r, "live_hosts", a.LiveHosts, parseLiveHost)
	return hosts, r.err
}

// parseLiveHost reads a host with or without a port. It is a host and nothing else:
// what matches by a mistake, or never does, would be a live host that is not known.
func parseLiveHost(s string) (string, error) {
	u, err := url.Parse("https://" + s)
	const letters = "abcdefghijklmnopqrstuvwxyz0123456789-_.[:]"
	if err != nil || u.Host != s || u.Hostname() == "" || strings.HasSuffix(s, ":") ||
		strings.HasSuffix(u.Hostname(), ".") || strings.Trim(strings.ToLower(s), letters) != "" {
		return "", fmt.Errorf("%q is not a host: write a name such as %s, with its port if that is not the usual one", s, defaultLiveHost)
	}
	return hostOf(u), nil
}

// hostOf is the host of a URL in lower case, with its port unless that is one of
// the two usual ones: a host that is live by https is so without.
func hostOf(u *url.URL) string {
	host := strings.ToLower(u.Host)
	for _, usual := range []string{":443", ":80"} {
		if port := u.Port(); port != "" && ":"+port == usual {
			return strings.TrimSuffix(host, usual)
		}
	}
	return host
}
