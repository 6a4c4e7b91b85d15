package vault

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/hashicorp/vault/api"
)

// TokenAuth uses the token in a file, as an agent beside the gateway keeps it.
// The file is read again when the token is about to expire or is refused.
//
// The file may also hold a response-wrapped token in the JSON form that Vault
// Agent's sinks have. It is unwrapped as soon as it is seen, once, and the token
// kept in memory.
func TokenAuth(file string) Auth { return &tokenAuth{file: file, wrapped: newWrapped()} }

type tokenAuth struct {
	file    string
	wrapped *wrapped
}

func (*tokenAuth) String() string { return "token" }

func (a *tokenAuth) validate() error {
	if a.file == "" {
		return errors.New("no token file given")
	}
	return nil
}

// look implements looker.
func (a *tokenAuth) look(ctx context.Context, d door) (renewed bool, err error) {
	text, err := readLoginFile(a.file)
	if err != nil || !strings.HasPrefix(text, "{") {
		return false, nil // it is read at the next login
	}
	return a.unwrap(ctx, d, text)
}

// unwrap takes the token out of a sink's JSON form.
func (a *tokenAuth) unwrap(ctx context.Context, d door, sink string) (renewed bool, err error) {
	wrapping, err := parseSink(sink)
	if err != nil {
		return false, fmt.Errorf("reading the token file: %w", err)
	}
	return a.wrapped.unwrap(ctx, d, wrapping, unwrapping{file: a.file, what: "token", origin: tokenOrigin, take: tokenOf})
}

// login asks Vault for the token's lifetime, which a token in a file does not
// tell.
func (a *tokenAuth) login(ctx context.Context, d door) (*api.Secret, error) {
	token, err := a.token(ctx, d)
	if err != nil {
		return nil, err
	}
	d.client.SetToken(token)
	self, err := d.client.Auth().Token().LookupSelfWithContext(ctx)
	if err != nil {
		return nil, fmt.Errorf("looking the token up: %w", explain(err, token))
	}
	if self == nil || self.Data["ttl"] == nil { // nil would count as for ever
		return nil, fmt.Errorf("looking the token up: %w", errAnswer)
	}
	ttl, err := self.TokenTTL()
	if err != nil {
		return nil, fmt.Errorf("looking the token up: reading its ttl: %w", errAnswer)
	}
	renewable, err := self.TokenIsRenewable()
	if err != nil {
		return nil, fmt.Errorf("looking the token up: reading whether it is renewable: %w", errAnswer)
	}
	if ttl <= 0 && self.Data["expire_time"] != nil {
		return nil, errors.New("looking the token up: it is about to expire: put a new one into the file")
	}
	return &api.Secret{Auth: &api.SecretAuth{
		ClientToken:   token,
		LeaseDuration: int(ttl.Seconds()),
		Renewable:     renewable,
	}}, nil
}

// token returns the token in the file, or the one that it stands for.
func (a *tokenAuth) token(ctx context.Context, d door) (string, error) {
	text, err := readLoginFile(a.file)
	if err != nil {
		return "", fmt.Errorf("reading the token file: %w", err)
	}
	if !strings.HasPrefix(text, "{") {
		token, err := word(a.file, text)
		if err != nil {
			return "", fmt.Errorf("reading the token file: %w", err)
		}
		return token, nil
	}
	_, err = a.unwrap(ctx, d, text)
	if token := a.wrapped.last(); token != "" {
		return token, nil
	}
	return "", err
}

// parseSink returns the wrapping token of a sink's JSON form.
func parseSink(text string) (string, error) {
	var wrapping, path string
	err := members([]byte(text), func(name string, v jsontext.Value) error {
		for member, to := range map[string]*string{"token": &wrapping, "creation_path": &path} {
			if name == member && v.Kind() == '"' {
				b, err := jsontext.AppendUnquote(nil, v)
				if err != nil {
					return errNotObject
				}
				*to = string(b)
			}
		}
		return nil
	})
	if err != nil || wrapping == "" || path == "" {
		return "", errors.New(`it is JSON, but not that of a response-wrapped token, with "token" and "creation_path"`)
	}
	return wrapping, nil
}

// tokenOrigin accepts what Vault Agent wraps: a token, or the answer to a login.
func tokenOrigin(path string) bool {
	return path == "sys/wrapping/wrap" || strings.HasPrefix(path, "auth/")
}

func tokenOf(s *api.Secret) string {
	if s.Auth != nil {
		return s.Auth.ClientToken
	}
	token, _ := s.Data["token"].(string)
	return token
}

var _ looker = (*tokenAuth)(nil)
