package vault

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"net/url"
	"strings"
	"time"
	"unicode"
)

const (
	defaultUsernameField = "username"
	defaultKeyField      = "key"
	defaultRefresh       = 30 * time.Second
	defaultStaleFor      = 10 * time.Minute
)

// Config says where in Vault a credential is, and how to get at it.
type Config struct {
	// Address is Vault's URL, as in "https://vault.internal:8200". Plain http
	// is for loopback addresses only: token and key would travel readable.
	Address string
	// Namespace is sent with every request; empty: none (Vault Community
	// Edition has none).
	Namespace string
	// CAFile is a PEM file with the authorities that Vault's certificate must
	// come from, or a directory with such files; empty: those of the system. It
	// is read by New.
	CAFile string
	// TLSServerName is the name that Vault's certificate must have; empty: the
	// address's host.
	TLSServerName string
	// ClientCertFile and ClientKeyFile are the TLS client certificate and its
	// key, PEM, where Vault or a proxy in front of it demands one; empty: none.
	// They are read at each connection. CertAuth brings its own.
	ClientCertFile, ClientKeyFile string
	// Auth is how to log in.
	Auth Auth
	// AuthMount is where Vault has the auth method, as in "kubernetes/prod";
	// empty: under the method's own name. TokenAuth has none.
	AuthMount string
	// Path is mount and path of the secret, as `vault kv get` takes it:
	// "secret/nowpay/main". The mount may have several segments, and its KV
	// version need not be known.
	Path string
	// UsernameField and KeyField are the secret's fields; empty: "username" and
	// "key".
	UsernameField, KeyField string
	// NoKey says that there is no key, because Vault signs (see [Transit]): the
	// secret has a username only, and KeyField must be empty.
	NoKey bool
	// Refresh is how often the secret is read again, give or take a tenth.
	// 0: 30 seconds.
	Refresh time.Duration
	// StaleFor is how long a credential is used after Vault last confirmed it.
	// It must be longer than Refresh. 0: 10 minutes.
	StaleFor time.Duration
}

// Options are what a source takes from its surroundings. The zero value is
// usable.
type Options struct {
	// Logger is told of changes: that the credential is there, gone, of a new
	// version, not refreshed any more, refreshed again. Nil: nobody is.
	Logger *slog.Logger
	// Now is the clock by which a credential's age is told. Nil: time.Now.
	Now func() time.Time
	// Rand gives numbers in [0, 1) to spread requests in time. Nil: the
	// process-wide generator.
	Rand func() float64
}

func (o Options) withDefaults() Options {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Rand == nil {
		o.Rand = rand.Float64
	}
	return o
}

func (c Config) withDefaults() Config {
	if c.AuthMount == "" && c.Auth != nil {
		c.AuthMount = defaultMount(c.Auth)
	}
	if c.UsernameField == "" {
		c.UsernameField = defaultUsernameField
	}
	if c.KeyField == "" && !c.NoKey {
		c.KeyField = defaultKeyField
	}
	if c.Refresh == 0 {
		c.Refresh = defaultRefresh
	}
	if c.StaleFor == 0 {
		c.StaleFor = defaultStaleFor
	}
	return c
}

// validate checks a Config that has its defaults.
func (c Config) validate() error {
	if err := checkAddress(c.Address); err != nil {
		return fmt.Errorf("checking address: %w", err)
	}
	if strings.ContainsFunc(c.Namespace, unicode.IsControl) {
		return errors.New("checking namespace: it holds a control character")
	}
	if c.Auth == nil {
		return errors.New("checking auth: no login method given")
	}
	if err := c.Auth.validate(); err != nil {
		return fmt.Errorf("checking auth %s: %w", c.Auth, err)
	}
	if err := c.validateMount(); err != nil {
		return fmt.Errorf("checking auth_mount: %w", err)
	}
	if err := c.validateTLS(); err != nil {
		return err
	}
	if err := checkPath(c.Path); err != nil {
		return fmt.Errorf("checking path: %w", err)
	}
	if c.NoKey && c.KeyField != "" {
		return errors.New("checking fields: there is a field for the key, and there is to be no key")
	}
	if c.UsernameField == c.KeyField {
		return fmt.Errorf("checking fields: username and key are both %q", c.KeyField)
	}
	if c.Refresh < 0 {
		return fmt.Errorf("checking refresh: %v is negative", c.Refresh)
	}
	// Refreshes are up to a tenth late.
	if c.StaleFor <= c.Refresh+c.Refresh/10 {
		return fmt.Errorf("checking stale_for: %v must be clearly longer than refresh, %v", c.StaleFor, c.Refresh)
	}
	return nil
}

func (c Config) validateMount() error {
	switch mount := defaultMount(c.Auth); {
	case c.AuthMount == mount:
		return nil
	case mount == "":
		return fmt.Errorf("a %s has no mount", c.Auth)
	case strings.HasPrefix(c.AuthMount, "auth/"):
		return errors.New("it begins without auth/")
	}
	return checkSegments(strings.Split(c.AuthMount, "/"))
}

// validateTLS refuses settings that would have no effect.
func (c Config) validateTLS() error {
	plain := strings.HasPrefix(c.Address, "http:")
	_, byCert := c.Auth.(certAuth)
	ownPair := keyPair{cert: c.ClientCertFile, key: c.ClientKeyFile}
	switch {
	case plain && byCert:
		return errors.New("checking auth cert: the address must begin with https://: the certificate is shown in TLS")
	case plain && c.TLSServerName != "":
		return errors.New("checking tls_server_name: the address must begin with https://")
	case strings.ContainsAny(c.TLSServerName, ":/ "):
		return errors.New("checking tls_server_name: it must be a host name, without scheme and port")
	case ownPair == keyPair{}:
		return nil
	case plain:
		return errors.New("checking client_cert: the address must begin with https://")
	case byCert:
		return errors.New("checking client_cert: auth cert shows its own certificate: leave one out")
	}
	if err := ownPair.validate(); err != nil {
		return fmt.Errorf("checking client_cert: %w", err)
	}
	return nil
}

// clientPair are the files of the client certificate, if there is to be one.
func (c Config) clientPair() keyPair {
	if a, ok := c.Auth.(certAuth); ok {
		return a.pair
	}
	return keyPair{cert: c.ClientCertFile, key: c.ClientKeyFile}
}

// checkAddress never shows the address: someone may have put a password in it.
func checkAddress(address string) error {
	u, err := url.Parse(address)
	switch {
	case address == "":
		return errors.New("none given: write it like https://vault.internal:8200")
	case err != nil:
		return errors.New("not a URL: write it like https://vault.internal:8200")
	case u.Scheme != "https" && u.Scheme != "http":
		return errors.New("it must begin with https://")
	case u.Hostname() == "":
		return errors.New("it has no host")
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return errors.New("it must have no user, query or fragment")
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		return errors.New("plain http is for loopback addresses only, since token and key would travel readable: use https")
	}
	return nil
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

// checkPath accepts only what stays the same in a URL, so that the path in the
// configuration is the one in Vault's policies and audit log.
func checkPath(path string) error {
	segments := strings.Split(path, "/")
	if len(segments) < 2 {
		return errors.New("it must be a mount and a path, like secret/nowpay")
	}
	return checkSegments(segments)
}

func checkSegments(segments []string) error {
	for _, s := range segments {
		switch {
		case s == "":
			return errors.New("it must have no slash at either end and no two in a row")
		case s == "." || s == "..":
			return errors.New("it must have no segment that is . or .. only")
		case strings.ContainsAny(s, `%?#\+*`) || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsGraphic(r) }):
			return fmt.Errorf(`segment %q holds one of %%?#\+* or an unprintable character`, s)
		}
	}
	return nil
}
