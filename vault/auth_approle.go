package vault

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/hashicorp/vault/api"
)

// AppRoleAuth logs in with a role ID and the secret ID in a file. The file is
// read at each login, so that the secret ID can be replaced while the gateway
// runs.
func AppRoleAuth(roleID, secretIDFile string) Auth {
	return appRoleAuth{roleID: roleID, secretIDFile: secretIDFile}
}

// WrappedAppRoleAuth is AppRoleAuth with a file that holds a response-wrapping
// token in place of the secret ID. It is unwrapped as soon as it is seen, once,
// and the secret ID kept in memory. If it cannot be unwrapped, that of the token
// before is used on.
func WrappedAppRoleAuth(roleID, tokenFile string) Auth {
	return &wrappedAppRoleAuth{
		appRoleAuth: appRoleAuth{roleID: roleID, secretIDFile: tokenFile},
		wrapped:     newWrapped(),
	}
}

type appRoleAuth struct{ roleID, secretIDFile string }

func (appRoleAuth) String() string { return "approle" }

func (a appRoleAuth) validate() error {
	switch {
	case a.roleID == "":
		return errors.New("no role ID given")
	case a.secretIDFile == "":
		return errors.New("no secret ID file given")
	}
	return nil
}

func (a appRoleAuth) login(ctx context.Context, d door) (*api.Secret, error) {
	secretID, err := readWord(a.secretIDFile)
	if err != nil {
		return nil, fmt.Errorf("reading the secret ID file: %w", err)
	}
	return a.loginWith(ctx, d, secretID)
}

func (a appRoleAuth) loginWith(ctx context.Context, d door, secretID string) (*api.Secret, error) {
	return d.login(ctx, map[string]any{"role_id": a.roleID, "secret_id": secretID}, secretID, a.roleID)
}

type wrappedAppRoleAuth struct {
	appRoleAuth
	wrapped *wrapped
}

// look implements looker.
func (a *wrappedAppRoleAuth) look(ctx context.Context, d door) (renewed bool, err error) {
	token, err := readWord(a.secretIDFile)
	switch {
	case errors.Is(err, fs.ErrNotExist) && a.wrapped.last() != "":
		return false, nil // somebody clears away what is of no more use
	case err != nil:
		return false, fmt.Errorf("reading the file with the wrapping token: %w", err)
	}
	return a.wrapped.unwrap(ctx, d, token, unwrapping{
		file: a.secretIDFile, what: "secret ID",
		origin: func(path string) bool { return isSecretIDPath(path, d.mount) },
		take:   func(s *api.Secret) string { id, _ := s.Data["secret_id"].(string); return id },
	})
}

func (a *wrappedAppRoleAuth) login(ctx context.Context, d door) (*api.Secret, error) {
	_, doubt := a.look(ctx, d)
	secretID := a.wrapped.last()
	if secretID == "" {
		return nil, doubt
	}
	login, err := a.loginWith(ctx, d, secretID)
	switch {
	case err == nil:
		return login, nil // the doubt is told by the look after it
	case doubt != nil:
		return nil, fmt.Errorf("with the secret ID unwrapped before: %w; and %w", err, doubt)
	}
	return nil, fmt.Errorf("with the secret ID unwrapped before (if it is not good any more, put a new wrapping token into %s): %w",
		a.secretIDFile, err)
}

// isSecretIDPath reports whether Vault makes secret IDs at the path:
// auth/<mount>/role/<name>/secret-id.
func isSecretIDPath(path, mount string) bool {
	role, ok := strings.CutPrefix(path, "auth/"+mount+"/role/")
	name, end, _ := strings.Cut(role, "/")
	return ok && name != "" && end == "secret-id"
}

var _ looker = (*wrappedAppRoleAuth)(nil)
