package vaulttest

import (
	"time"

	"github.com/hashicorp/vault/api"
)

// RoleOptions are the settings that all roles have. Zero values are Vault's
// defaults.
type RoleOptions struct {
	// Mount is where the auth method is, which is enabled there with its first
	// role; empty: under its own name.
	Mount string
	// Policies are given to the role's tokens, beside "default".
	Policies []string
	// TokenTTL is how long a token lives unless it is renewed.
	TokenTTL time.Duration
	// TokenMaxTTL is how long a token can live with renewals.
	TokenMaxTTL time.Duration
}

// settings are those of a role in Vault's words, with more of its method's own.
func (o RoleOptions) settings(more map[string]any) map[string]any {
	more["token_policies"] = o.Policies
	more["token_ttl"] = o.TokenTTL.String()
	more["token_max_ttl"] = o.TokenMaxTTL.String()
	return more
}

// enableAuth mounts an auth method unless it is there, and returns the path of
// the mount.
func (s *Server) enableAuth(method, mount string) string {
	s.tb.Helper()
	if mount == "" {
		mount = method
	}
	sys := s.Client().Sys()
	mounts, err := sys.ListAuthWithContext(s.ctx())
	if err != nil {
		s.tb.Fatalf("vaulttest: listing the auth methods: %v", err)
	}
	if _, ok := mounts[mount+"/"]; !ok {
		if err := sys.EnableAuthWithOptionsWithContext(s.ctx(), mount, &api.MountInput{Type: method}); err != nil {
			s.tb.Fatalf("vaulttest: enabling %s: %v", method, err)
		}
	}
	return "auth/" + mount
}

// write writes to a path with the root token.
func (s *Server) write(path string, data map[string]any) *api.Secret {
	s.tb.Helper()
	secret, err := s.Client().Logical().WriteWithContext(s.ctx(), path, data)
	if err != nil {
		s.tb.Fatalf("vaulttest: writing %s: %v", path, err)
	}
	return secret
}

// AppRoleOptions are the settings of a role of AppRole.
type AppRoleOptions struct {
	// Mount, Policies, TokenTTL and TokenMaxTTL are those of RoleOptions.
	Mount                 string
	Policies              []string
	TokenTTL, TokenMaxTTL time.Duration
	// SecretIDNumUses is how many logins a secret ID is good for; zero is any
	// number.
	SecretIDNumUses int
}

// AppRole writes a role of the approle auth method, mounted with the first one,
// and returns its ID and a new secret ID. Called again for the same role, it
// keeps the ID.
func (s *Server) AppRole(name string, opts AppRoleOptions) (roleID, secretID string) {
	s.tb.Helper()
	common := RoleOptions{Policies: opts.Policies, TokenTTL: opts.TokenTTL, TokenMaxTTL: opts.TokenMaxTTL}
	role := s.enableAuth("approle", opts.Mount) + "/role/" + name
	s.write(role, common.settings(map[string]any{"secret_id_num_uses": opts.SecretIDNumUses}))
	id, err := s.Client().Logical().ReadWithContext(s.ctx(), role+"/role-id")
	if err != nil {
		s.tb.Fatalf("vaulttest: reading the ID of the role %s: %v", name, err)
	}
	secret := s.write(role+"/secret-id", nil)
	return id.Data["role_id"].(string), secret.Data["secret_id"].(string)
}

// WrappedSecretID returns a wrapping token for a new secret ID of a role that
// AppRole wrote at the mount (empty: approle).
func (s *Server) WrappedSecretID(mount, name string, ttl time.Duration) (token string) {
	s.tb.Helper()
	if mount == "" {
		mount = "approle"
	}
	return s.Wrapped("auth/"+mount+"/role/"+name+"/secret-id", nil, ttl).Token
}

// Wrapped writes to a path and has the answer wrapped.
func (s *Server) Wrapped(path string, data map[string]any, ttl time.Duration) *api.SecretWrapInfo {
	s.tb.Helper()
	client := s.Client()
	client.SetWrappingLookupFunc(func(string, string) string { return ttl.String() })
	secret, err := client.Logical().WriteWithContext(s.ctx(), path, data)
	if err != nil || secret == nil || secret.WrapInfo == nil {
		s.tb.Fatalf("vaulttest: writing %s with a wrapped answer: %v", path, err)
	}
	return secret.WrapInfo
}

// Unwrap uses a wrapping token up, and returns what was in it.
func (s *Server) Unwrap(token string) *api.Secret {
	s.tb.Helper()
	secret, err := s.ClientWithToken(token).Logical().UnwrapWithContext(s.ctx(), "")
	if err != nil {
		s.tb.Fatalf("vaulttest: unwrapping: %v", err)
	}
	return secret
}
