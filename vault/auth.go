package vault

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode"

	"github.com/hashicorp/vault/api"
	"github.com/hashicorp/vault/api/auth/approle"
)

// maxLoginFile bounds token and secret ID files.
const maxLoginFile = 16 << 10

// Auth is a way to log in to Vault. Its String method names it for logs and
// holds no secret. The methods are those of this package.
type Auth interface {
	fmt.Stringer
	// validate checks the settings, without looking at files.
	validate() error
	// login returns a token, how long it lives (0: for ever) and whether it is
	// renewable, in the Auth part. Files are read anew each time. The error holds
	// no secret.
	login(ctx context.Context, client *api.Client) (*api.Secret, error)
}

// TokenAuth uses the token in a file, as an agent beside the gateway keeps it.
// The file is read again when the token is about to expire or is refused.
func TokenAuth(file string) Auth { return tokenAuth{file: file} }

type tokenAuth struct{ file string }

func (tokenAuth) String() string { return "token" }

func (a tokenAuth) validate() error {
	if a.file == "" {
		return errors.New("no token file given")
	}
	return nil
}

// login asks Vault for the token's lifetime, which a token in a file does not
// tell.
func (a tokenAuth) login(ctx context.Context, client *api.Client) (*api.Secret, error) {
	token, err := readLoginFile(a.file)
	if err != nil {
		return nil, fmt.Errorf("reading the token file: %w", err)
	}
	client.SetToken(token)
	self, err := client.Auth().Token().LookupSelfWithContext(ctx)
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

// AppRoleAuth logs in with a role ID and the secret ID in a file, at the mount
// "approle". The file is read at each login, so that the secret ID can be
// replaced while the gateway runs.
func AppRoleAuth(roleID, secretIDFile string) Auth {
	return appRoleAuth{roleID: roleID, secretIDFile: secretIDFile}
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

func (a appRoleAuth) login(ctx context.Context, client *api.Client) (*api.Secret, error) {
	secretID, err := readLoginFile(a.secretIDFile)
	if err != nil {
		return nil, fmt.Errorf("reading the secret ID file: %w", err)
	}
	method, err := approle.NewAppRoleAuth(a.roleID, &approle.SecretID{FromString: secretID})
	if err != nil {
		return nil, explain(err, secretID, a.roleID)
	}
	login, err := method.Login(ctx, client)
	if err != nil {
		return nil, explain(err, secretID, a.roleID)
	}
	if login == nil || login.Auth == nil || login.Auth.ClientToken == "" {
		return nil, fmt.Errorf("looking for the token: %w", errAnswer)
	}
	return login, nil
}

// readLoginFile returns a file's one line, without the white space around it
// that editors and mounts of secrets like to add.
func readLoginFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxLoginFile+1))
	defer clear(b)
	if err != nil {
		return "", fmt.Errorf("reading all of it: %w", err)
	}
	if len(b) > maxLoginFile {
		return "", fmt.Errorf("%s is longer than %d bytes", path, maxLoginFile)
	}
	text := strings.TrimSpace(string(b))
	if text == "" {
		return "", fmt.Errorf("%s is empty", path)
	}
	if strings.ContainsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }) {
		return "", fmt.Errorf("%s holds more than one word", path)
	}
	return text, nil
}
