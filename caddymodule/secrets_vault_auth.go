package caddymodule

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/nowpay-gateway/nowpay-gateway/vault"
)

// VaultAuth is a way to log in to Vault. All files are read anew at each login.
type VaultAuth struct {
	// How to log in: `approle`, `cert`, `jwt`, `kubernetes` or `token`. Required.
	Method string `json:"method,omitempty"`

	// For `token`: a file with the token. It is read again when the token is about
	// to expire or is refused, so that an agent may keep it fresh. It may be what
	// Vault Agent's sink writes with `wrap_ttl`: such a token is unwrapped as soon
	// as it is seen.
	TokenFile string `json:"token_file,omitempty"`

	// For `approle`: the role id.
	RoleID string `json:"role_id,omitempty"`

	// For `approle`: a file with the secret id.
	SecretIDFile string `json:"secret_id_file,omitempty"`

	// For `approle`: the file holds not the secret id but a response-wrapping token
	// for it. The token is unwrapped as soon as it is seen, once, and the secret id
	// kept in memory. Default: `false`.
	Wrapped bool `json:"wrapped,omitempty"`

	// For `cert`, `jwt` and `kubernetes`: the role.
	Role string `json:"role,omitempty"`

	// For `jwt` and `kubernetes`: a file with the JWT. Default for `kubernetes`:
	// `/var/run/secrets/kubernetes.io/serviceaccount/token`.
	JWTFile string `json:"jwt_file,omitempty"`

	// For `cert`: a PEM file with the TLS client certificate and its chain. It is
	// shown at each connection, and may be renewed while the gateway runs.
	CertFile string `json:"cert_file,omitempty"`

	// For `cert`: a PEM file with the certificate's key.
	KeyFile string `json:"key_file,omitempty"`
}

// loginMethod is what a method takes: fields of VaultAuth, in the order of its
// line in the Caddyfile. Those beyond least may be left out.
type loginMethod struct {
	takes []string
	least int
	build func(VaultAuth) vault.Auth
}

func loginMethods() map[string]loginMethod {
	return map[string]loginMethod{
		"token": {[]string{"token_file"}, 1, func(a VaultAuth) vault.Auth {
			return vault.TokenAuth(a.TokenFile)
		}},
		"approle": {[]string{"role_id", "secret_id_file"}, 2, func(a VaultAuth) vault.Auth {
			if a.Wrapped {
				return vault.WrappedAppRoleAuth(a.RoleID, a.SecretIDFile)
			}
			return vault.AppRoleAuth(a.RoleID, a.SecretIDFile)
		}},
		"kubernetes": {[]string{"role", "jwt_file"}, 1, func(a VaultAuth) vault.Auth {
			return vault.KubernetesAuth(a.Role, a.JWTFile)
		}},
		"jwt": {[]string{"role", "jwt_file"}, 2, func(a VaultAuth) vault.Auth {
			return vault.JWTAuth(a.Role, a.JWTFile)
		}},
		"cert": {[]string{"role", "cert_file", "key_file"}, 3, func(a VaultAuth) vault.Auth {
			return vault.CertAuth(a.Role, a.CertFile, a.KeyFile)
		}},
	}
}

// fields are those that methods take, by their names in JSON.
func (a *VaultAuth) fields() map[string]*string {
	return map[string]*string{
		"token_file": &a.TokenFile, "role_id": &a.RoleID, "secret_id_file": &a.SecretIDFile,
		"role": &a.Role, "jwt_file": &a.JWTFile, "cert_file": &a.CertFile, "key_file": &a.KeyFile,
	}
}

// parse reads what follows the word auth.
func (a *VaultAuth) parse(d *caddyfile.Dispenser) error {
	methods := loginMethods()
	if !d.NextArg() {
		return d.Errf("auth takes one of: %s", commaList(maps.Keys(methods)))
	}
	a.Method = d.Val()
	method, ok := methods[a.Method]
	if !ok {
		return d.Errf("unknown auth method%s; there is: %s", repeated(a.Method), commaList(maps.Keys(methods)))
	}
	most := len(method.takes)
	if a.Method == "approle" {
		most++ // the word wrapped
	}
	args, err := values(d, method.least, most)
	if err != nil {
		return err
	}
	if len(args) > len(method.takes) {
		if args[len(args)-1] != "wrapped" {
			return d.Err("approle takes a role id and a file, and behind them at most the word `wrapped`")
		}
		a.Wrapped, args = true, args[:len(args)-1]
	}
	fields := a.fields()
	for i, arg := range args {
		*fields[method.takes[i]] = arg
	}
	return nil
}

// resolve returns a copy without placeholders.
func (a *VaultAuth) resolve(r *resolver) VaultAuth {
	if a == nil {
		return VaultAuth{}
	}
	resolved := *a
	resolved.Method = r.text("auth: method", a.Method)
	fields := resolved.fields()
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		*fields[name] = r.text("auth: "+name, *fields[name])
	}
	return resolved
}

// build makes the login of the method, nil if none is given.
func (a *VaultAuth) build() (vault.Auth, error) {
	if a.Method == "" {
		return nil, nil
	}
	methods := loginMethods()
	method, ok := methods[a.Method]
	if !ok {
		return nil, fmt.Errorf("unknown auth method %q; there is: %s", a.Method, commaList(maps.Keys(methods)))
	}
	for name, value := range a.fields() {
		if *value != "" && !slices.Contains(method.takes, name) {
			return nil, fmt.Errorf("%s takes %s and nothing else", a.Method, strings.Join(method.takes, ", "))
		}
	}
	if a.Wrapped && a.Method != "approle" {
		return nil, errors.New("wrapped is for approle only")
	}
	return method.build(*a), nil
}
