package caddymodule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"net/http"
	"slices"
	"syscall"
)

// pathAccounts is where a running gateway tells what its accounts are.
const pathAccounts = "/nowpay/accounts"

// accountMode is what an account is, and where it is used.
type accountMode struct {
	Name     string `json:"name"`
	Mode     string `json:"mode"` // live or test
	Upstream string `json:"upstream"`
}

func (m accountMode) isLive() bool { return m.Mode != modeTest }

// modes are those of all accounts, by name.
func (s *settings) modes() []accountMode {
	all := make([]accountMode, 0, len(s.accounts))
	for _, name := range slices.Sorted(maps.Keys(s.accounts)) {
		all = append(all, accountMode{Name: name, Mode: modeOf(s.accounts[name].live), Upstream: hostOf(s.egress.URL)})
	}
	return all
}

func (c *operatorCall) accounts(context.Context) error { return c.write(c.rt.modes, nil) }

// liveOnes are the names of the accounts that are live.
func liveOnes(modes []accountMode) []string {
	var names []string
	for _, m := range modes {
		if m.isLive() {
			names = append(names, m.Name)
		}
	}
	return names
}

// LiveAccounts are the live accounts of a configuration in Caddy's JSON, by name.
// It reaches no network and reads no secret.
func LiveAccounts(config []byte) (names []string, err error) {
	err = withApp(config, func(app *App) error {
		names = liveOnes(app.rt.modes)
		return nil
	})
	return names, err
}

// ServingLiveAccounts are the live accounts of the gateway that serves in the Caddy
// with this admin endpoint, by name. There are none if nobody listens there, or a
// Caddy in which no gateway serves. An error means that it is not known, and says what
// to do.
func ServingLiveAccounts(ctx context.Context, address string) ([]string, error) {
	d, err := newAdminDesk(address)
	if err != nil {
		return nil, err
	}
	defer d.close()
	switch err := d.reach(ctx); {
	case nobodyListens(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("%w: call it as a user who may reach it, or name the endpoint of the gateway on this machine", err)
	}
	ctx, cancel := context.WithTimeout(ctx, reachTime)
	defer cancel()
	response, err := d.send(ctx, http.MethodGet, pathAccounts, nil)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	switch response.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound, http.StatusServiceUnavailable: // of a Caddy without the gateway, and of one in which none serves
		return nil, nil
	default:
		return nil, fmt.Errorf("what listens at %s does not tell whether it has a live account: HTTP %d", address, response.StatusCode)
	}
	var modes []accountMode
	if err := json.NewDecoder(io.LimitReader(response.Body, maxOperatorBody)).Decode(&modes); err != nil {
		return nil, fmt.Errorf("reading the accounts of the gateway at %s: %w", address, err)
	}
	return liveOnes(modes), nil
}

// nobodyListens reports whether it is sure that nobody does: the port is closed, or
// there is no such socket or host. Whoever may not look, or waits in vain, does not know.
func nobodyListens(err error) bool {
	unknown, ok := errors.AsType[*net.DNSError](err)
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, fs.ErrNotExist) || ok && unknown.IsNotFound
}
