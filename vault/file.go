package vault

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/secret"
)

const (
	// pollFile is how often a file is looked at.
	pollFile = time.Second
	// maxFile bounds a file's size.
	maxFile = 64 << 10
)

var (
	errBeingReplaced = errors.New("they have changed: used if they are the same in a second")
	errNotRegular    = errors.New("it is not a regular file")
)

// The modes that files may have.
const (
	ownerOnly  = 0o077 // forbids all bits of group and others
	groupReads = 0o037 // lets the group read
)

// File keeps a credential from a file, or from wherever else this process can
// read it, current. It is looked at once a second; a change counts at once, even
// one to something that is no credential. Its methods are safe for concurrent
// use.
//
// It is for Unix: where a file's mode says nothing, Start refuses the file.
type File struct {
	*keeper
	// read returns what there is now. The error is a StepError; it wraps errGone
	// if what was there before must not be used any more.
	read func() (*secret.Credential, error)
}

// NewFile returns a source that reads a file with one JSON object,
// {"username":"…","key":"…"}, whose mode lets nobody but its owner at it, whoever that
// is. It is for development. The source has not started and does not look at the file
// yet, as with the other ones.
func NewFile(path string, opts Options) *File { return newFile(path, ownerOnly, opts) }

// NewSharedFile is NewFile for a file that a program beside the gateway keeps:
// its group may read it, too.
func NewSharedFile(path string, opts Options) *File { return newFile(path, groupReads, opts) }

func newFile(path string, forbidden fs.FileMode, opts Options) *File {
	return newReader(opts, func() (*secret.Credential, error) {
		content, err := readFile(path, forbidden)
		if err != nil {
			return nil, gone(StepRead, path, err)
		}
		defer clear(content)
		c, err := fields{username: defaultUsernameField, key: defaultKeyField, only: true}.credential(content, 0)
		if err != nil {
			return nil, gone(StepFields, path, err)
		}
		return c, nil
	}, "source", "file", "path", path)
}

// NewFilePair returns a source that reads the username and the key from a file
// each, without one line end behind them. The group of the files may read them.
// A change counts when it is seen a second time: until then one of the files may
// be the old one. What is there at the start counts at once: put both there before.
func NewFilePair(usernamePath, keyPath string, opts Options) *File {
	var used, seen [sha256.Size]byte
	return newReader(opts, func() (*secret.Credential, error) {
		username, err := readFile(usernamePath, groupReads)
		if err != nil {
			return nil, gone(StepRead, usernamePath, err)
		}
		key, err := readFile(keyPath, groupReads)
		if err != nil {
			clear(username)
			return nil, gone(StepRead, keyPath, err)
		}
		both := sha256.Sum256(fmt.Appendf(nil, "%x %x", sha256.Sum256(username), sha256.Sum256(key)))
		c, err := secret.NewCredential(withoutLineEnd(username), withoutLineEnd(key), 0)
		if err != nil {
			return nil, gone(StepFields, usernamePath+" and "+keyPath, err)
		}
		if used != [sha256.Size]byte{} && both != used && both != seen {
			seen = both
			c.Release()
			return nil, &StepError{Step: StepRead, Subject: usernamePath + " and " + keyPath, Err: errBeingReplaced}
		}
		used = both
		return c, nil
	}, "source", "file", "path", keyPath)
}

// NewEnvironment returns a source that reads variables of this process's
// environment. It is for development: everyone who may look at the process can
// read them, and they stay in memory as long as it lives.
func NewEnvironment(usernameVariable, keyVariable string, opts Options) *File {
	return newReader(opts, func() (*secret.Credential, error) {
		for _, name := range []string{usernameVariable, keyVariable} {
			if _, ok := os.LookupEnv(name); !ok {
				return nil, gone(StepRead, "the environment variable "+name, errors.New("it is not set"))
			}
		}
		c, err := secret.NewCredential([]byte(os.Getenv(usernameVariable)), []byte(os.Getenv(keyVariable)), 0)
		if err != nil {
			return nil, gone(StepFields, "the environment variables "+usernameVariable+" and "+keyVariable, err)
		}
		return c, nil
	}, "source", "env", "username", usernameVariable, "key", keyVariable)
}

func newReader(opts Options, read func() (*secret.Credential, error), attrs ...any) *File {
	return &File{keeper: newKeeper(0, opts.withDefaults(), attrs...), read: read}
}

// Start reads the file, and looks after it in the background until Close. It
// fails if the file is missing, unreadable, open to others than it may be, or
// malformed; the background work goes on all the same. A source can be started
// once.
func (f *File) Start(ctx context.Context) error { return f.start(ctx, f.first, f.run) }

// first is a reading whose failure is the caller's to report.
func (f *File) first(ctx context.Context) error {
	if err := f.refresh(); err != nil {
		f.last, _ = f.situation()
		return err
	}
	f.report(ctx)
	return nil
}

// run need not be woken: whoever asks has not long to wait for the next look.
func (f *File) run(ctx context.Context) {
	ticker := time.NewTicker(pollFile)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			f.answer(f.refresh) // reported as a change, if it is one
			f.report(ctx)
		}
	}
}

// refresh reads the file and stores what came of it.
func (f *File) refresh() error {
	c, err := f.read()
	f.settle(c, err)
	return err
}

// gone says that there is no credential, and why.
func gone(step Step, subject string, err error) error {
	if !errors.Is(err, errGone) {
		err = fmt.Errorf("%w: %w", errGone, err)
	}
	return &StepError{Step: step, Subject: subject, Err: err}
}

// readFile returns all that the file holds: it is small, and time stamps are
// too coarse to tell every change. The caller wipes it.
func readFile(path string, forbidden fs.FileMode) ([]byte, error) {
	file, mode, err := openRegular(path)
	if err != nil {
		return nil, withoutPath(err)
	}
	defer file.Close()
	if mode.Perm()&forbidden != 0 {
		return nil, fmt.Errorf("its mode %04o lets others at it: run chmod %o", mode.Perm(), 0o677&^forbidden)
	}
	content, err := readAll(io.LimitReader(file, maxFile+1))
	if err != nil {
		return nil, withoutPath(err)
	}
	if len(content) > maxFile {
		clear(content)
		return nil, fmt.Errorf("it is longer than %d bytes", maxFile)
	}
	return content, nil
}

// openRegular opens a file to be read, and returns its mode. It takes regular files
// only and never blocks, as a pipe that nobody writes to would.
func openRegular(path string) (*os.File, fs.FileMode, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, 0, err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &os.PathError{Op: "open", Path: path, Err: errNotRegular}
	}
	if err != nil {
		_ = file.Close()
		return nil, 0, err
	}
	return file, info.Mode(), nil
}

// readRegular is os.ReadFile for regular files.
func readRegular(path string) ([]byte, error) {
	file, _, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return readAll(file)
}

// withoutLineEnd takes away the line end that tools like to put behind a text.
func withoutLineEnd(b []byte) []byte {
	if text, ok := bytes.CutSuffix(b, []byte("\n")); ok {
		return bytes.TrimSuffix(text, []byte("\r"))
	}
	return b
}

// withoutPath keeps the path from being said twice.
func withoutPath(err error) error {
	if p, ok := errors.AsType[*os.PathError](err); ok {
		return p.Err
	}
	return err
}

var _ secret.Source = (*File)(nil)
