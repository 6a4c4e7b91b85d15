package notify

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
)

// maxFile bounds a secret file in bytes.
const maxFile = 4 << 10

// SecretFile takes the secrets of an endpoint from a file: one in a line, newest
// first, at most two. Blank lines and those that begin with '#' do not count. The
// file must not be accessible to everybody on the machine. Its methods are safe
// for concurrent use.
//
// The file is read whenever it is asked for: it is small, and its time, size and
// inode do not tell every change.
type SecretFile struct {
	path string

	mu   sync.Mutex
	good []Secret // the last that were read; empty: none
	err  error    // of the last reading
}

// NewSecretFile returns the secrets in the file at path. It does not look at it.
func NewSecretFile(path string) *SecretFile { return &SecretFile{path: path} }

// Secrets returns what is in the file now or, if that cannot be used, the last
// that could: late beats never. It fails only while there was none. Fits
// [Endpoint.Secrets].
func (f *SecretFile) Secrets() ([]Secret, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	read, err := f.read()
	f.err = err
	if err == nil {
		f.good = read
	}
	if len(f.good) == 0 {
		return nil, f.err
	}
	return slices.Clone(f.good), nil
}

// Err says why the file could not be used when Secrets was last called; nil if
// it could, or was not asked for. It tells the path and nothing of the content.
func (f *SecretFile) Err() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

func (f *SecretFile) read() ([]Secret, error) {
	content, err := f.content()
	if err != nil {
		return nil, fmt.Errorf("reading secret file %s: %w", f.path, withoutPath(err))
	}
	defer clear(content)
	secrets, err := parseSecrets(content)
	if err != nil {
		return nil, fmt.Errorf("reading secret file %s: %w", f.path, err)
	}
	return secrets, nil
}

func (f *SecretFile) content() ([]byte, error) {
	// Not blocking, in case it is a pipe that nobody writes to.
	file, err := os.OpenFile(f.path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	switch {
	case err != nil:
		return nil, fmt.Errorf("looking at it: %w", withoutPath(err))
	case !info.Mode().IsRegular():
		return nil, errors.New("it is not a regular file")
	case info.Mode().Perm()&0o007 != 0:
		return nil, fmt.Errorf("its mode %04o lets everybody at it: run chmod o=", info.Mode().Perm())
	}
	content := make([]byte, maxFile+1) // never grown, which would leave copies
	n, err := io.ReadFull(file, content)
	switch {
	case err == nil:
		clear(content)
		return nil, fmt.Errorf("it is longer than %d bytes", maxFile)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return content[:n], nil
	}
	clear(content)
	return nil, fmt.Errorf("taking its content: %w", withoutPath(err))
}

// parseSecrets reads the content of a secret file. Its errors name lines and
// quote nothing.
func parseSecrets(content []byte) ([]Secret, error) {
	var secrets []Secret
	number := 0
	for line := range strings.Lines(string(content)) {
		number++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		secret, err := ParseSecret(line)
		switch {
		case err != nil:
			return nil, fmt.Errorf("line %d: %w", number, err)
		case len(secrets) == maxSecrets:
			return nil, fmt.Errorf("line %d: there are more than %d secrets", number, maxSecrets)
		case len(secrets) > 0 && bytes.Equal(secrets[0].Reveal(), secret.Reveal()):
			return nil, fmt.Errorf("line %d: both secrets are the same", number)
		}
		secrets = append(secrets, secret)
	}
	if len(secrets) == 0 {
		return nil, errors.New("there is no secret in it")
	}
	return secrets, nil
}

// withoutPath keeps the path from being said twice.
func withoutPath(err error) error {
	if p, ok := errors.AsType[*os.PathError](err); ok {
		return p.Err
	}
	return err
}
