// Package discover stands in for HashiCorp's cloud discovery library, which
// pulls in the SDK of every cloud and is reached only by a raft auto-join.
// It declares what Vault's core names and finds nothing.
package discover

import (
	"errors"
	"log"
)

// errStub answers every call: the test server never joins a raft cluster.
var errStub = errors.New("discovery is left out of the test server")

// Config is a parsed discovery string.
type Config map[string]string

// String returns nothing: no Config can be had.
func (Config) String() string { return "" }

// Provider finds addresses.
type Provider interface{}

// Providers is empty: there is nothing to discover with.
var Providers = map[string]Provider{}

// Option configures a Discover.
type Option func(*Discover) error

// Discover finds no addresses.
type Discover struct{}

// New returns a Discover that finds nothing.
func New(...Option) (*Discover, error) { return &Discover{}, nil }

// WithProviders is accepted and ignored.
func WithProviders(map[string]Provider) Option {
	return func(*Discover) error { return nil }
}

// Parse refuses every discovery string.
func Parse(string) (Config, error) { return nil, errStub }

// Addrs refuses every discovery string.
func (*Discover) Addrs(string, *log.Logger) ([]string, error) { return nil, errStub }
