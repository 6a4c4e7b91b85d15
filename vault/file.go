package vault

import (
	"context"
	"errors"
	"fmt"
	"io"
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

// File keeps a credential from a file current, for development. The file holds
// one JSON object, {"username":"…","key":"…"}, and only its owner may read it.
// It is looked at once a second; a change counts at once, even one to something
// that is no credential. Its methods are safe for concurrent use.
//
// It is for Unix: where a file's mode says nothing, Start refuses the file.
type File struct {
	*keeper
	path string
}

// NewFile returns a source that has not started. It does not look at the file.
func NewFile(path string, opts Options) *File {
	opts = opts.withDefaults()
	return &File{keeper: newKeeper(0, opts, "source", "file", "path", path), path: path}
}

// Start reads the file, and looks after it in the background until Close. It
// fails if the file is missing, unreadable, open to others than its owner, or
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

// read returns what the file holds. It reads all of it each time: it is small,
// and time stamps are too coarse to tell every change. The error wraps errGone.
func (f *File) read() (*secret.Credential, error) {
	fail := func(step Step, err error) (*secret.Credential, error) {
		if !errors.Is(err, errGone) {
			err = fmt.Errorf("%w: %w", errGone, err)
		}
		return nil, &StepError{Step: step, Subject: f.path, Err: err}
	}
	// Not blocking, in case it is a pipe that nobody writes to.
	file, err := os.OpenFile(f.path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return fail(StepRead, withoutPath(err))
	}
	defer file.Close()
	info, err := file.Stat()
	switch {
	case err != nil:
		return fail(StepRead, withoutPath(err))
	case !info.Mode().IsRegular():
		return fail(StepRead, errors.New("it is not a regular file"))
	case info.Mode().Perm()&0o077 != 0:
		return fail(StepRead, fmt.Errorf("its mode %04o lets others than the owner at it: run chmod 600", info.Mode().Perm()))
	}
	content, err := readAll(io.LimitReader(file, maxFile+1))
	if err != nil {
		return fail(StepRead, withoutPath(err))
	}
	defer clear(content)
	if len(content) > maxFile {
		return fail(StepRead, fmt.Errorf("it is longer than %d bytes", maxFile))
	}
	c, err := fields{username: defaultUsernameField, key: defaultKeyField, only: true}.credential(content, 0)
	if err != nil {
		return fail(StepFields, err)
	}
	return c, nil
}

// withoutPath keeps the path from being said twice.
func withoutPath(err error) error {
	if p, ok := errors.AsType[*os.PathError](err); ok {
		return p.Err
	}
	return err
}

var _ secret.Source = (*File)(nil)
