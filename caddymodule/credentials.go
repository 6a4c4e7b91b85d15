package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// origin is where an account's credential comes from.
type origin struct {
	source  string        // the module's name, such as vault
	where   string        // for people
	overlap time.Duration // for how long the credential before is known
}

func newOrigin(a accountSettings) origin {
	o := origin{where: a.secret.Where(), overlap: a.overlap}
	if module, ok := a.secret.(caddy.Module); ok {
		o.source = module.CaddyModule().ID.Name()
	}
	return o
}

// keepPrevious tells the sources of accounts for how long they know the credential
// before. Accounts that share a source share the longest time of theirs. As long as
// another configuration may have to go on, nil: none, its time counts too: what is
// dropped is lost.
func (r *runtime) keepPrevious(other *runtime) {
	longest := make(map[*pooledSource]time.Duration)
	for _, configuration := range []*runtime{r, other} {
		if configuration == nil {
			continue
		}
		for name, source := range configuration.accounts {
			longest[source] = max(longest[source], configuration.origins[name].overlap)
		}
	}
	for source, overlap := range longest {
		source.Keep(overlap)
	}
}

// credentialState is how an account's credential stands, as operators see it. It
// holds no part of the credential.
type credentialState struct {
	Account    string    `json:"account"`
	Source     string    `json:"source"` // such as vault
	Where      string    `json:"where"`
	Available  bool      `json:"available"`
	Version    int64     `json:"version,omitempty"`   // of the one held, even if it is too old
	Since      time.Time `json:"since,omitzero"`      // when this version was first read
	Confirmed  time.Time `json:"confirmed,omitzero"`  // when it was last read
	AgeSeconds float64   `json:"age_seconds"`         // since then
	Previous   int64     `json:"previous,omitempty"`  // version of the one before, while it is known
	KeptUntil  time.Time `json:"kept_until,omitzero"` // when that ends
	Error      string    `json:"error,omitempty"`     // why there is none, or none that could be confirmed lately
}

// credentials are those of all accounts.
func (r *runtime) credentials() []credentialState {
	all := make([]credentialState, 0, len(r.accounts))
	for _, name := range slices.Sorted(maps.Keys(r.accounts)) {
		status, from := r.accounts[name].Status(), r.origins[name]
		state := credentialState{
			Account: name, Source: from.source, Where: from.where, Available: status.Available,
			Version: status.Version, Since: status.Since.UTC(), Confirmed: status.FetchedAt.UTC(), AgeSeconds: status.Age.Seconds(),
			Previous: status.Previous, KeptUntil: status.KeptUntil.UTC(),
		}
		if status.Err != nil {
			state.Error = status.Err.Error()
		}
		all = append(all, state)
	}
	return all
}

// refreshed is what came of reading an account's credential.
type refreshed struct {
	Account   string `json:"account"`
	Before    int64  `json:"before,omitempty"` // version that was held; absent: none
	After     int64  `json:"after,omitempty"`
	Changed   bool   `json:"changed"`   // it is another one, if under the same version
	Available bool   `json:"available"` // the one after it can be used
	Error     string `json:"error,omitempty"`
}

// errNoAccount means that an operator names one that is not there.
var errNoAccount = errors.New("the configuration has no account")

// refreshCredentials reads those of the accounts, or of all if none is named, side by
// side.
func (r *runtime) refreshCredentials(ctx context.Context, accounts []string) ([]refreshed, error) {
	for _, name := range accounts {
		if r.accounts[name] == nil {
			return nil, fmt.Errorf("%w %q", errNoAccount, name)
		}
	}
	names := slices.Compact(slices.Sorted(slices.Values(accounts)))
	if len(names) == 0 {
		names = slices.Sorted(maps.Keys(r.accounts))
	}
	all := make([]refreshed, len(names))
	var reading sync.WaitGroup
	for i, name := range names {
		reading.Go(func() { all[i] = r.refreshCredential(ctx, name) })
	}
	reading.Wait()
	return all, nil
}

func (r *runtime) refreshCredential(ctx context.Context, name string) refreshed {
	source := r.accounts[name]
	before := source.Status()
	err := source.Refresh(ctx)
	after := source.Status()
	came := refreshed{
		Account: name, Before: before.Version, After: after.Version,
		Changed: !after.Since.Equal(before.Since), Available: after.Available,
	}
	if err != nil {
		came.Error = err.Error()
		r.logger.WarnContext(ctx, "an operator had a credential read, which failed", "account", name, "error", err)
	} else {
		r.logger.InfoContext(ctx, "an operator had a credential read", "account", name, "before", came.Before, "version", came.After, "changed", came.Changed)
	}
	return came
}

// credentialRoutes are those about credentials.
func credentialRoutes() []caddy.AdminRoute {
	return []caddy.AdminRoute{
		{Pattern: "/nowpay/credentials", Handler: operatorRoute{http.MethodGet: (*operatorCall).credentials}},
		{Pattern: "/nowpay/credentials/refresh", Handler: operatorRoute{http.MethodPost: (*operatorCall).refreshCredentials}},
	}
}

func (c *operatorCall) credentials(context.Context) error {
	if err := c.takesNoQuery(); err != nil {
		return err
	}
	return c.write(c.rt.credentials(), nil)
}

// refreshOf is the body of a request to read credentials: those of the accounts, or
// of all if none is named.
type refreshOf struct {
	Accounts []string `json:"accounts"`
}

// refreshTime bounds a reading that an operator asks for. One that was under way
// already comes before it.
const refreshTime = 90 * time.Second

func (c *operatorCall) refreshCredentials(ctx context.Context) error {
	if err := c.takesNoQuery(); err != nil {
		return err
	}
	var of refreshOf
	if len(c.body) > 0 {
		if err := c.read(&of); err != nil {
			return err
		}
	}
	ctx, done := c.untilReload(ctx)
	defer done()
	ctx, cancel := context.WithTimeout(ctx, refreshTime)
	defer cancel()
	all, err := c.rt.refreshCredentials(ctx, of.Accounts)
	return c.write(all, err)
}
