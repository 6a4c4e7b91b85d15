package caddymodule

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/nowpay-gateway/nowpay-gateway/secret"
	"github.com/nowpay-gateway/nowpay-gateway/signer"
	"github.com/nowpay-gateway/nowpay-gateway/signer/httpsig"
)

const (
	// minSharedKey is the length of the shortest shared key, in bytes: 128 bits
	// written in hex.
	minSharedKey = 32
	maxSharedKey = 4096
	// What is fresh unless it is said otherwise.
	defaultMaxAge = caddy.Duration(time.Minute)
	defaultSkew   = caddy.Duration(30 * time.Second)
)

// merchantKeys are the keys with which merchants sign.
type merchantKeys struct {
	byID   map[string][]httpsig.VerifyingKey
	shared []*sharedKeyFile // of them, to be loaded
}

// signatures are what verifies the signatures of merchants; nil if none signs.
func (a *App) signatures() (*signer.Requests, []*sharedKeyFile, error) {
	keys := merchantKeys{byID: make(map[string][]httpsig.VerifyingKey)}
	for _, name := range slices.Sorted(maps.Keys(a.Merchants)) {
		if a.Merchants[name] == nil {
			continue
		}
		for _, key := range a.Merchants[name].Signatures {
			if err := keys.add(key); err != nil {
				return nil, nil, fmt.Errorf("merchant %q: signature: %w", name, err)
			}
		}
	}
	fresh := a.Signatures
	if fresh == nil {
		fresh = new(Signatures)
	}
	switch {
	case fresh.MaxAge < 0 || fresh.Skew < 0:
		return nil, nil, errors.New("signatures: max_age and skew must not be negative")
	case cmp.Or(fresh.MaxAge, defaultMaxAge)+cmp.Or(fresh.Skew, defaultSkew) > caddy.Duration(signer.MaxFresh):
		return nil, nil, fmt.Errorf("signatures: max_age and skew together must be at most %v, for which nonces are remembered", signer.MaxFresh)
	case len(keys.byID) == 0:
		return nil, nil, nil
	}
	return &signer.Requests{
		Keys:      func(id string) []httpsig.VerifyingKey { return keys.byID[id] },
		NeedNonce: true, MaxAge: time.Duration(cmp.Or(fresh.MaxAge, defaultMaxAge)), Skew: time.Duration(cmp.Or(fresh.Skew, defaultSkew)),
	}, keys.shared, nil
}

// signatureKeys are the names of the keys with which a merchant signs.
func (m *Merchant) signatureKeys(r *resolver) (names []string) {
	for _, key := range m.Signatures {
		if key != nil {
			names = append(names, r.text("signature", key.ID))
		}
	}
	return names
}

func (k *merchantKeys) add(key *SignatureKey) error {
	if key == nil {
		key = new(SignatureKey)
	}
	r := newResolver()
	algorithm := parseOne(r, "algorithm", key.Algorithm, parseAlgorithm)
	id, file := parseOne(r, "id", key.ID, parseSignatureText), r.text("file", key.File)
	switch {
	case r.err != nil:
		return r.err
	case algorithm == "" || id == "" || file == "":
		return errors.New("needs an algorithm, a name and a file: `signature <algorithm> <keyid> <file>`")
	case k.byID[id] != nil:
		return fmt.Errorf("the key %q is there twice: give each key a name of its own", id)
	case algorithm == httpsig.HMACSHA256:
		shared := &sharedKeyFile{path: file}
		k.shared = append(k.shared, shared)
		k.byID[id] = []httpsig.VerifyingKey{shared}
		return nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("key %q: %w", id, err)
	}
	public, err := httpsig.ParsePublicKey(text, algorithm)
	if err != nil {
		return fmt.Errorf("key %q: %s: %w", id, file, err)
	}
	k.byID[id] = []httpsig.VerifyingKey{public}
	return nil
}

// sharedKeyFile is a shared key in a file. It verifies nothing before it is loaded.
type sharedKeyFile struct {
	path string
	key  atomic.Pointer[secret.Value]
}

var errKeyNotLoaded = errors.New("the shared key is not loaded yet")

// Algorithm implements [httpsig.VerifyingKey].
func (*sharedKeyFile) Algorithm() httpsig.Algorithm { return httpsig.HMACSHA256 }

// Verify implements [httpsig.VerifyingKey].
func (f *sharedKeyFile) Verify(ctx context.Context, base, signature []byte) error {
	key := f.key.Load()
	if key == nil {
		return errKeyNotLoaded
	}
	return httpsig.HMAC(key.Reveal()).Verify(ctx, base, signature)
}

// load reads the file.
func (f *sharedKeyFile) load() error {
	file, err := os.Open(f.path)
	if err != nil {
		return fmt.Errorf("reading a shared key: %w", err)
	}
	defer file.Close()
	info, err := file.Stat()
	switch {
	case err != nil:
		return fmt.Errorf("reading a shared key: %w", err)
	case !info.Mode().IsRegular():
		return fmt.Errorf("reading the shared key %s: it is not a regular file", f.path)
	case info.Mode().Perm()&0o007 != 0:
		return fmt.Errorf("reading the shared key %s: its mode %04o lets everybody at it: run chmod o=", f.path, info.Mode().Perm())
	}
	content := make([]byte, maxSharedKey+1) // never grown, which would leave copies
	n, err := io.ReadFull(file, content)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		clear(content)
		return fmt.Errorf("reading the shared key %s: %w", f.path, err)
	}
	text := bytes.TrimRight(content[:n], "\r\n")
	if len(text) < minSharedKey || n > maxSharedKey || bytes.ContainsAny(text, "\r\n") {
		clear(content)
		return fmt.Errorf("reading the shared key %s: it must be one line of %d to %d characters, such as `openssl rand -hex 32` makes", f.path, minSharedKey, maxSharedKey)
	}
	key := secret.New(text)
	f.key.Store(&key)
	return nil
}
