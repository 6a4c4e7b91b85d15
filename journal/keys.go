package journal

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"
)

const keyBytes = 32 // of every key: AES-256, HMAC-SHA256

// masterKey is a key of the key file. It encrypts data keys and nothing else.
type masterKey struct {
	id   [4]byte // begins what it has wrapped
	aead cipher.AEAD
}

// dataKey encrypts what is stored. It never changes; several may be in use.
type dataKey struct {
	id          int64
	aead        cipher.AEAD
	fingerprint *macKey
	chain       *macKey
}

// keyring holds the keys. It is safe for concurrent use.
type keyring struct {
	mu      sync.RWMutex
	masters []masterKey // of the key file; the first one wraps, all unwrap
	data    map[int64]*dataKey
	current *dataKey // encrypts what is new
	rotated [4]byte  // the master key that was last seen to wrap all data keys

	// missing looks for a data key that another gateway may have added.
	missing func(id int64) error
}

// readKeyFile reads the master keys: lines of 32 bytes in base64, the current
// one first. Empty lines and those that begin with # are passed over.
func readKeyFile(path string) ([]masterKey, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKey, err)
	}
	defer clear(text)
	var masters []masterKey
	number := 0
	for line := range bytes.Lines(text) {
		number++
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		key := make([]byte, base64.StdEncoding.DecodedLen(len(line)))
		n, err := base64.StdEncoding.Decode(key, line)
		if err != nil || n != keyBytes {
			return nil, fmt.Errorf("%w: %s, line %d is not the base64 of 32 bytes", ErrKey, path, number)
		}
		master, err := newMasterKey(key[:n])
		clear(key)
		if err != nil {
			return nil, err
		}
		masters = append(masters, master)
	}
	if len(masters) == 0 {
		return nil, fmt.Errorf("%w: %s holds no key; `openssl rand -base64 32` makes one", ErrKey, path)
	}
	return masters, nil
}

// makeKeyFile writes a new key, unless there is a file already. It is there as a
// whole or not at all, whatever ends this process, and whoever else makes it.
func makeKeyFile(path string) error {
	folder := filepath.Dir(path)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return fmt.Errorf("making the folder of the journal's key file: %w", err)
	}
	if _, err := os.Lstat(path); err == nil {
		return nil
	}
	file, err := os.CreateTemp(folder, filepath.Base(path)+".*.new") // for its owner alone
	if err != nil {
		return fmt.Errorf("making the journal's key file: %w", err)
	}
	defer os.Remove(file.Name())
	key := make([]byte, keyBytes)
	_, _ = rand.Read(key) // never fails
	line := append(base64.StdEncoding.AppendEncode(nil, key), '\n')
	clear(key)
	_, err = file.Write(line)
	clear(line)
	if err == nil {
		err = file.Sync() // what it encrypts must not outlive it
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("writing the journal's key file: %w", err)
	}
	// Unlike a rename, a link replaces nothing.
	if err := os.Link(file.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("making the journal's key file: %w", err)
	}
	return syncFolder(folder)
}

func syncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("syncing the folder of the journal's key file: %w", err)
	}
	defer folder.Close()
	if err := folder.Sync(); err != nil {
		return fmt.Errorf("syncing the folder of the journal's key file: %w", err)
	}
	return nil
}

func newMasterKey(key []byte) (masterKey, error) {
	aead, err := newAEAD(key)
	if err != nil {
		return masterKey{}, err
	}
	sum := sha256.Sum256(append([]byte("nowpay journal key id:"), key...))
	return masterKey{id: [4]byte(sum[:4]), aead: aead}, nil
}

// newAEAD makes AES-256-GCM that chooses nonces at random and puts them in
// front. That is safe for 2^32 messages with one key (NIST SP 800-38D, 8.3).
func newAEAD(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("making a cipher: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("making a cipher: %w", err)
	}
	return aead, nil
}

// newDataKey derives what a data key is used for, so that each use has a key of
// its own.
func newDataKey(id int64, key []byte) (*dataKey, error) {
	derived := make([][]byte, 3)
	for i, use := range []string{"seal", "fingerprint", "chain"} {
		var err error
		if derived[i], err = hkdf.Key(sha256.New, key, nil, "nowpay journal "+use, keyBytes); err != nil {
			return nil, fmt.Errorf("deriving a key: %w", err)
		}
	}
	aead, err := newAEAD(derived[0])
	if err != nil {
		return nil, err
	}
	return &dataKey{id: id, aead: aead, fingerprint: newMACKey(derived[1]), chain: newMACKey(derived[2])}, nil
}

func (r *keyring) setMasters(masters []masterKey) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.masters = masters
}

func (r *keyring) masterKeys() []masterKey {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.masters
}

// isRotated reports whether all data keys were wrapped with the first master key
// before; setRotated notes that they are.
func (r *keyring) isRotated() bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.rotated == r.masters[0].id
}

func (r *keyring) setRotated() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rotated = r.masters[0].id
}

// wrap encrypts a data key with the first of the master keys.
func (r *keyring) wrap(id int64, key []byte) []byte {
	master := r.masterKeys()[0]
	return master.aead.Seal(bytes.Clone(master.id[:]), nil, key, dataKeyName(id)) //nolint:gosec // G407: it chooses the nonce itself
}

// unwrap decrypts a data key, and tells whether the first master key had
// wrapped it.
func (r *keyring) unwrap(wrapped DataKey) (key []byte, newest bool, err error) {
	for i, master := range r.masterKeys() {
		text, ours := bytes.CutPrefix(wrapped.Wrapped, master.id[:])
		if !ours {
			continue
		}
		if key, err := master.aead.Open(nil, nil, text, dataKeyName(wrapped.ID)); err == nil {
			return key, i == 0, nil
		}
	}
	return nil, false, fmt.Errorf("%w: data key %d was encrypted with a key that is not in it; put that key back, in a line of its own, or copy the key file of another gateway of this journal", ErrKey, wrapped.ID)
}

// load makes of a data key that is stored one that can be used.
func (r *keyring) load(wrapped DataKey) (*dataKey, error) {
	text, _, err := r.unwrap(wrapped)
	if err != nil {
		return nil, err
	}
	defer clear(text)
	return newDataKey(wrapped.ID, text)
}

func dataKeyName(id int64) []byte {
	return strconv.AppendInt([]byte("nowpay journal data key "), id, 10)
}

// add takes a data key in. The newest one is the current one.
func (r *keyring) add(key *dataKey) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.data[key.id] = key
	if r.current == nil || key.id > r.current.id {
		r.current = key
	}
}

func (r *keyring) get(id int64) (*dataKey, error) {
	if key := r.find(id); key != nil {
		return key, nil
	}
	if err := r.missing(id); err != nil {
		return nil, err
	}
	if key := r.find(id); key != nil {
		return key, nil
	}
	return nil, fmt.Errorf("%w: there is no data key %d", ErrKey, id)
}

func (r *keyring) find(id int64) *dataKey {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.data[id]
}

func (r *keyring) newest() *dataKey {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.current
}

// sum is the fingerprint of an operation and the canonical text of its body.
// It is keyed: bodies are easily guessed.
func (k *dataKey) sum(operation string, canonical []byte) []byte {
	return k.fingerprint.sum(func(e encoder) encoder {
		return append(append(append(e, operation...), 0), canonical...)
	})
}

// seal encrypts a content for this transaction, and no other.
func (k *dataKey) seal(t *Transaction, content Content) ([]byte, error) {
	text, err := json.Marshal(content)
	if err != nil {
		return nil, fmt.Errorf("encoding the content of transaction %s: %w", t.ID, err)
	}
	defer clear(text)
	return k.aead.Seal(nil, nil, text, t.identity()), nil //nolint:gosec // G407: it chooses the nonce itself
}

// open decrypts a content. Nothing sealed is an empty content.
func (k *dataKey) open(t *Transaction) (Content, error) {
	var content Content
	if len(t.Sealed) == 0 {
		return content, nil
	}
	text, err := k.aead.Open(nil, nil, t.Sealed, t.identity())
	if err != nil {
		return content, fmt.Errorf("%w: the content of transaction %s cannot be decrypted", ErrKey, t.ID)
	}
	defer clear(text)
	if err := json.Unmarshal(text, &content); err != nil {
		return Content{}, fmt.Errorf("decoding the content of transaction %s: %w", t.ID, err)
	}
	return content, nil
}
