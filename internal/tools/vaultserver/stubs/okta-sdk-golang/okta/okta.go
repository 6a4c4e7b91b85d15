// Package okta stands in for Okta's client library, a very large generated
// package that Vault's core uses only for Okta push logins. It declares what
// the core names; every request fails.
package okta

import (
	"context"
	"errors"
	"net/http"
)

// errStub answers every request: the test server has no Okta logins.
var errStub = errors.New("okta is left out of the test server")

// Configuration is the client's configuration.
type Configuration struct{ Context context.Context }

// ConfigSetter sets one field of a Configuration.
type ConfigSetter func(*Configuration)

// WithToken is accepted and ignored.
func WithToken(string) ConfigSetter { return func(*Configuration) {} }

// WithOrgUrl is accepted and ignored.
func WithOrgUrl(string) ConfigSetter { return func(*Configuration) {} } //nolint:revive // Okta's spelling

// WithCache is accepted and ignored.
func WithCache(bool) ConfigSetter { return func(*Configuration) {} }

// NewConfiguration refuses: no client can be had.
func NewConfiguration(...ConfigSetter) (*Configuration, error) { return nil, errStub }

// APIClient is a client whose every request fails.
type APIClient struct {
	UserAPI       UserAPI
	UserFactorAPI UserFactorAPI
	cfg           *Configuration
}

// NewAPIClient returns a client whose every request fails.
func NewAPIClient(cfg *Configuration) *APIClient { return &APIClient{cfg: cfg} }

// GetConfig returns the configuration the client was made with.
func (c *APIClient) GetConfig() *Configuration { return c.cfg }

// Request is a prepared request for a T.
type Request[T any] struct{}

// Filter is accepted and ignored.
func (r Request[T]) Filter(string) Request[T] { return r }

// Execute fails.
func (Request[T]) Execute() (T, *http.Response, error) {
	var zero T
	return zero, nil, errStub
}

// UserAPI finds users.
type UserAPI struct{}

// ListUsers prepares a request that fails.
func (UserAPI) ListUsers(context.Context) Request[[]User] { return Request[[]User]{} }

// UserFactorAPI verifies second factors.
type UserFactorAPI struct{}

// ListFactors prepares a request that fails.
func (UserFactorAPI) ListFactors(context.Context, string) Request[[]Factor] {
	return Request[[]Factor]{}
}

// VerifyFactor prepares a request that fails.
func (UserFactorAPI) VerifyFactor(context.Context, string, string) Request[*Verification] {
	return Request[*Verification]{}
}

// GetFactorTransactionStatus prepares a request that fails.
func (UserFactorAPI) GetFactorTransactionStatus(context.Context, string, string, string) Request[*TransactionStatus] {
	return Request[*TransactionStatus]{}
}

// User is a user of Okta.
type User struct{}

// GetId returns no id.
func (User) GetId() string { return "" } //nolint:revive // Okta's spelling

// Factor is one of the kinds of second factor.
type Factor struct{ UserFactorPush *UserFactorPush }

// UserFactorPush is a push factor.
type UserFactorPush struct{}

// GetId returns no id.
func (*UserFactorPush) GetId() string { return "" } //nolint:revive // Okta's spelling

// Verification is the answer to a started verification.
type Verification struct{ Links map[string]any }

// GetFactorResult returns no result.
func (*Verification) GetFactorResult() string { return "" }

// TransactionStatus has one field set, by status.
type TransactionStatus struct {
	UserFactorPushTransactionWaiting  *struct{}
	UserFactorPushTransaction         *struct{}
	UserFactorPushTransactionRejected *struct{}
	UserFactorPushTransactionTimeout  *struct{}
}
