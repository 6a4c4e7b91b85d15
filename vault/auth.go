package vault

import (
	"context"
	"fmt"
	"io"
	"strings"
	"unicode"

	"github.com/hashicorp/vault/api"
)

// maxLoginFile bounds the files that logins read.
const maxLoginFile = 16 << 10

// Auth is a way to log in to Vault. Its String method names it for logs and
// holds no secret. The methods are those of this package. Several sources may
// use one Auth: they share what it has unwrapped.
type Auth interface {
	fmt.Stringer
	// validate checks the settings, without looking at files.
	validate() error
	// login returns a token, how long it lives (0: for ever) and whether it is
	// renewable, in the Auth part. Files are read anew each time. The error holds
	// no secret.
	login(ctx context.Context, d door) (*api.Secret, error)
}

// defaultMount is where Vault has the auth method unless told otherwise; empty:
// the method has no mount.
func defaultMount(a Auth) string {
	if _, ok := a.(*tokenAuth); ok {
		return ""
	}
	return a.String()
}

// door is where logins happen.
type door struct {
	client    *api.Client
	mount     string // of the auth method
	namespace string
}

// login sends body to the mount's login. The error shows none of the secrets.
func (d door) login(ctx context.Context, body map[string]any, secrets ...string) (*api.Secret, error) {
	login, err := d.client.Logical().WriteWithContext(ctx, "auth/"+d.mount+"/login", body)
	if err != nil {
		return nil, explain(err, secrets...)
	}
	if login == nil || login.Auth == nil || login.Auth.ClientToken == "" {
		return nil, fmt.Errorf("looking for the token: %w", errAnswer)
	}
	return login, nil
}

// readWord returns the one word that is in a file.
func readWord(path string) (string, error) {
	text, err := readLoginFile(path)
	if err != nil {
		return "", err
	}
	return word(path, text)
}

// word refuses a file's text if it is more than one word.
func word(path, text string) (string, error) {
	if strings.ContainsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }) {
		return "", fmt.Errorf("%s holds more than one word", path)
	}
	return text, nil
}

// readLoginFile returns a file's text, without the white space around it that
// editors and mounts of secrets like to add.
func readLoginFile(path string) (string, error) {
	f, _, err := openRegular(path)
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
	return text, nil
}
