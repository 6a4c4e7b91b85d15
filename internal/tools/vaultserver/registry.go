package main

import (
	"maps"
	"slices"

	"github.com/hashicorp/vault/sdk/helper/consts"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/hashicorp/vault/vault/plugincatalog"
)

// registry tells Vault's plugin catalogue which backends are built in. Vault's
// own registry would link all of them.
type registry struct {
	secrets map[string]logical.Factory
	auths   map[string]logical.Factory
}

func (r registry) of(t consts.PluginType) map[string]logical.Factory {
	switch t {
	case consts.PluginTypeSecrets:
		return r.secrets
	case consts.PluginTypeCredential:
		return r.auths
	default:
		return nil
	}
}

// Contains reports whether the backend is built in.
func (r registry) Contains(name string, t consts.PluginType) bool {
	_, ok := r.of(t)[name]
	return ok
}

// Get returns a function that returns the backend's factory.
func (r registry) Get(name string, t consts.PluginType) (func() (any, error), bool) {
	f, ok := r.of(t)[name]
	return func() (any, error) { return f, nil }, ok
}

// Keys lists the backends of a type.
func (r registry) Keys(t consts.PluginType) []string {
	return slices.Sorted(maps.Keys(r.of(t)))
}

// DeprecationStatus is the same for all backends: supported.
func (r registry) DeprecationStatus(name string, t consts.PluginType) (consts.DeprecationStatus, bool) {
	return consts.Supported, r.Contains(name, t)
}

// IsBuiltinEntPlugin is false: nothing of Vault Enterprise is here.
func (r registry) IsBuiltinEntPlugin(string, consts.PluginType) bool { return false }

var _ plugincatalog.BuiltinRegistry = registry{}
