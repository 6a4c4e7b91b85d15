package vault

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/nowpay-gateway/nowpay-gateway/secret"
)

// looker is an Auth whose file must be looked at between logins, since what it
// may hold, a wrapping token, does not live for long.
type looker interface {
	// look unwraps what is new in the file, and reports whether there is something
	// to log in with anew.
	look(ctx context.Context, d door) (renewed bool, err error)
}

// wrapped keeps what the wrapping token in a file stood for: it can be unwrapped
// only once. It is safe for concurrent use.
type wrapped struct {
	turn chan struct{} // has room for the one who unwraps

	mu    sync.Mutex        // never held for long
	token [sha256.Size]byte // its hash
	value secret.Value
}

func newWrapped() *wrapped { return &wrapped{turn: make(chan struct{}, 1)} }

// patience is how long is waited for another account that unwraps, if there is
// something to go on with.
const patience = 2 * time.Second

// unwrapping says what to expect of a wrapping token.
type unwrapping struct {
	file string // it is from
	what string // it stands for
	// origin reports whether Vault answers with such things at the path.
	origin func(path string) bool
	// take returns what the answer holds, "" if it does not.
	take func(*api.Secret) string
}

var errUnwrap = errors.New("not a valid wrapping token")

// unwrap exchanges the wrapping token for what it stands for, unless it is the
// one that was exchanged last. Before, it asks Vault where the token is from:
// somebody could have put something of their own into the file.
func (w *wrapped) unwrap(ctx context.Context, d door, token string, u unwrapping) (renewed bool, err error) {
	hash := sha256.Sum256([]byte(token))
	if w.has(hash) {
		return false, nil
	}
	if err := w.await(ctx); err != nil {
		return false, fmt.Errorf("waiting for another account that unwraps the token in %s: %w", u.file, err)
	}
	defer func() { <-w.turn }()
	if w.has(hash) {
		return false, nil
	}
	// Without the session's token, which is not good for it: a shallow copy.
	client := d.client.WithRequestCallbacks()
	client.ClearToken()
	info, err := client.Logical().WriteWithContext(ctx, "sys/wrapping/lookup", map[string]any{"token": token})
	if err != nil {
		return false, fmt.Errorf("looking up the wrapping token in %s: %w", u.file, explainUnwrap(err, token, u.what))
	}
	var path string
	if info != nil {
		path, _ = info.Data["creation_path"].(string)
	}
	if !u.origin(trimNamespace(path, d.namespace)) {
		return false, fmt.Errorf("looking up the wrapping token in %s: it is from %q and stands for no %s: find out who put it there",
			u.file, clean(path, []string{token}), u.what)
	}
	// The answer comes only once, and is of use to others even if this source ends.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), requestTimeout)
	defer cancel()
	client.SetToken(token)
	answer, err := client.Logical().WriteWithContext(ctx, "sys/wrapping/unwrap", nil)
	if err != nil {
		return false, fmt.Errorf("unwrapping the token in %s: %w", u.file, explainUnwrap(err, token, u.what))
	}
	var value string
	if answer != nil {
		value = u.take(answer)
	}
	if value == "" {
		return false, fmt.Errorf("unwrapping the token in %s: %w", u.file, errAnswer)
	}
	w.keep(hash, value)
	return true, nil
}

// await takes the turn, which the caller gives back.
func (w *wrapped) await(ctx context.Context) error {
	if w.last() != "" {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, patience)
		defer cancel()
	}
	select {
	case w.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// has reports whether the token with the hash is the one that was exchanged last.
func (w *wrapped) has(hash [sha256.Size]byte) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return hash == w.token
}

func (w *wrapped) keep(hash [sha256.Size]byte, value string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.value.Wipe()
	w.token, w.value = hash, secret.New([]byte(value))
}

// last returns what was unwrapped last, "" if there is nothing yet.
func (w *wrapped) last() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return string(w.value.Reveal())
}

// trimNamespace makes a path one below the namespace, as those of requests are.
func trimNamespace(path, namespace string) string {
	if namespace = strings.Trim(namespace, "/"); namespace == "" {
		return path
	}
	return strings.TrimPrefix(path, namespace+"/")
}

// explainUnwrap tells a token that Vault does not take from passing failures:
// that of one used before is a sign of theft.
func explainUnwrap(err error, token, what string) error {
	explained := explain(err, token)
	refused, ok := errors.AsType[*api.ResponseError](err)
	if !ok || refused.StatusCode != http.StatusBadRequest && refused.StatusCode != http.StatusForbidden {
		return explained
	}
	return fmt.Errorf("%w: it has expired, or was used before. "+
		"If not by this gateway, somebody else may have the %s: revoke it. Then put a new wrapping token into the file (%w)",
		errUnwrap, what, explained)
}
