package vault

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/nowpay-gateway/nowpay-gateway/secret"
)

const (
	// fetchTimeout bounds one fetch: login, finding the mount, reading.
	fetchTimeout = 30 * time.Second
	// minBackoff and maxBackoff bound the time between fetches that fail.
	minBackoff = time.Second
	maxBackoff = 30 * time.Second
	// minSession is the least time between logins that tokens of a very short
	// life can cause.
	minSession = time.Second
	// minPause is the least time between a fetch and one that somebody asks for.
	minPause = time.Second
)

// Source keeps a credential from Vault current. Its methods are safe for
// concurrent use.
type Source struct {
	*keeper
	cfg    Config
	now    func() time.Time
	rand   func() float64
	client *api.Client
	guard  *guard // of client

	// For Transit: the token of the newest login, nil before the first one and after
	// the end; and tokens that Vault denied something else than the secret.
	token  atomic.Pointer[string]
	denied chan denial

	// Of the goroutine (and before it, of Start).
	session  *session  // nil: not logged in
	failures int       // fetches failed in a row
	fetched  time.Time // when the last fetch ended
}

// denial is a token that was denied something. Done is closed once the source has
// looked into it.
type denial struct {
	token string
	done  chan struct{}
}

// New returns a source that has not started. It checks the configuration and
// reads Config.CAFile; it reaches no network and reads no secret.
func New(cfg Config, opts Options) (*Source, error) {
	cfg, opts = cfg.withDefaults(), opts.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	client, guard, err := newClient(cfg)
	if err != nil {
		return nil, err
	}
	return &Source{
		keeper: newKeeper(cfg.StaleFor, opts, "source", "vault", "path", cfg.Path, "auth", cfg.Auth.String()),
		cfg:    cfg, now: opts.Now, rand: opts.Rand,
		client: client, guard: guard,
		denied: make(chan denial),
	}, nil
}

// Start logs in and fetches the credential, for as long as ctx allows, and then
// keeps it current in the background until Close. If the first fetch fails, the
// error says why (it wraps a *StepError), and the background work goes on all
// the same: the credential is there as soon as Vault gives it. A source can be
// started once.
func (s *Source) Start(ctx context.Context) error { return s.start(ctx, s.first, s.run) }

// first is a fetch whose failure is the caller's to report.
func (s *Source) first(ctx context.Context) error {
	err := s.refresh(ctx)
	if err != nil {
		s.last, _ = s.situation()
		return err
	}
	s.report(ctx)
	return nil
}

// run is the goroutine that alone talks to Vault, but for the renewals that it
// watches over.
func (s *Source) run(ctx context.Context) {
	defer s.token.Store(nil)
	defer s.logout()
	timer := time.NewTimer(s.delay())
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.session.over():
			age := s.now().Sub(s.session.since)
			s.logout()
			timer.Reset(min(max(minSession-age, 0), minSession))
		case d := <-s.denied:
			if s.reconsider(ctx, d.token) {
				timer.Reset(s.delay())
			}
			close(d.done)
		case <-s.wake:
			if !s.backsOff() {
				timer.Reset(s.pause())
			}
		case <-timer.C:
			s.answer(func() error { return s.refresh(ctx) })
			if ctx.Err() != nil {
				return
			}
			s.report(ctx)
			timer.Reset(s.delay())
		}
	}
}

// reconsider fetches at once if the token that was denied something may be of no
// use any more: a fetch finds out whether it was revoked. One that is good for the
// secret may still be older than its policies, and is replaced if it is not quite
// new. However often it is called, it asks Vault no more often than Refresh.
func (s *Source) reconsider(ctx context.Context, token string) bool {
	if newest := s.token.Load(); newest == nil || *newest != token {
		return false // replaced already
	}
	switch {
	case s.session != nil && s.now().Sub(s.session.since) >= maxBackoff:
		s.logout()
	case s.backsOff() || s.pause() > 0:
		return false
	}
	s.answer(func() error { return s.refresh(ctx) })
	s.report(ctx)
	return true
}

// deny tells the source that Vault denied the token something, and returns when
// there is a new token if there is to be one.
func (s *Source) deny(ctx context.Context, token string) {
	d := denial{token, make(chan struct{})}
	select {
	case s.denied <- d:
	case <-ctx.Done():
		return
	}
	select {
	case <-d.done:
	case <-ctx.Done():
	}
}

// delay is the time to the next fetch: the configured one, or while fetches
// fail a shorter one that grows.
func (s *Source) delay() time.Duration {
	refresh := time.Duration(float64(s.cfg.Refresh) * (0.9 + 0.2*s.rand()))
	if s.failures == 0 {
		return refresh
	}
	backoff := maxBackoff
	if doublings := s.failures - 1; doublings < 5 {
		backoff = min(minBackoff<<doublings, maxBackoff)
	}
	return min(refresh, backoff/2+time.Duration(float64(backoff/2)*s.rand()))
}

// backsOff reports whether the next fetch comes when it is due and no sooner,
// whoever asks: it would be another login, and the last one came to nothing.
func (s *Source) backsOff() bool { return s.session == nil && s.failures > 0 }

// pause is the time to a fetch that somebody asks for. However many ask, and
// however often, Vault is not asked more often.
func (s *Source) pause() time.Duration {
	return min(max(minPause-s.now().Sub(s.fetched), 0), minPause)
}

// refresh fetches the credential and stores what came of it.
func (s *Source) refresh(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	c, err := s.fetch(ctx)
	s.fetched = s.now()
	if err != nil {
		s.failures++
	} else {
		s.failures = 0
	}
	doubt := s.look(ctx)
	if err != nil && doubt != nil {
		err, doubt = fmt.Errorf("%w; and %w", err, doubt), nil
	}
	s.settle(c, err)
	if doubt != nil {
		s.store.Fail(doubt) // the credential is good, but the next login may not be
	}
	return err
}

// look has a login method that must look at its file between logins do so,
// whether or not there is a secret to be read. What it finds there is used from the
// next fetch on: the old secret ID may end with the new one.
func (s *Source) look(ctx context.Context) error {
	method, ok := s.cfg.Auth.(looker)
	if !ok || s.session == nil { // the next login looks
		return nil
	}
	renewed, err := method.look(ctx, s.door())
	if err != nil {
		return &StepError{Step: StepLogin, Subject: s.cfg.Auth.String(), Err: err}
	}
	if renewed {
		s.logout()
	}
	return nil
}

func (s *Source) door() door {
	return door{client: s.client, mount: s.cfg.AuthMount, namespace: s.cfg.Namespace}
}

// fetch reads the credential, logged in anew if need be. A token that is not
// good for it (any more) is given up: it may have been revoked, or be older
// than the policies. If it was an old one, a new one is tried at once.
func (s *Source) fetch(ctx context.Context) (*secret.Credential, error) {
	for {
		fresh := s.session == nil
		if fresh {
			if err := s.login(ctx); err != nil {
				return nil, &StepError{Step: StepLogin, Subject: s.cfg.Auth.String(), Err: err}
			}
		}
		c, err := s.session.kv.read(ctx)
		if errors.Is(err, errBehind) {
			s.guard.index.Store(nil) // perhaps no server ever gets there
		}
		if !errors.Is(err, errDenied) {
			return c, err
		}
		s.logout()
		if fresh {
			return nil, err
		}
	}
}

// session is the time between one login and the next.
type session struct {
	kv    kv
	since time.Time
	// Of a token that expires, else nil:
	ending chan struct{} // closed when it cannot be renewed any further and is near its end
	stop   func()        // ends the renewals and waits for that
}

// over returns a channel that is closed when it is time for a new login.
func (s *session) over() <-chan struct{} {
	if s == nil {
		return nil
	}
	return s.ending
}

func (s *Source) login(ctx context.Context) error {
	s.client.ClearToken() // one of the environment or of the last session is no part of a login
	s.guard.index.Store(nil)
	login, err := s.cfg.Auth.login(ctx, s.door())
	if err != nil {
		return err
	}
	token := login.Auth.ClientToken
	s.client.SetToken(token)
	next := &session{
		kv: kv{
			client: s.client,
			token:  token,
			path:   s.cfg.Path,
			fields: fields{username: s.cfg.UsernameField, key: s.cfg.KeyField, keyless: s.cfg.NoKey},
		},
		since: s.now(),
	}
	if login.Auth.LeaseDuration > 0 {
		if err := s.watch(ctx, next, login); err != nil {
			return err
		}
	}
	s.session = next
	s.token.Store(&token)
	return nil
}

// watch renews the session's token from now on, or where that is not possible
// waits, until about a third of its life is left.
func (s *Source) watch(ctx context.Context, next *session, login *api.Secret) error {
	watcher, err := s.client.NewLifetimeWatcher(&api.LifetimeWatcherInput{Secret: login})
	if err != nil {
		return fmt.Errorf("watching the token's lifetime: %w", err)
	}
	ctx, end := context.WithCancel(context.WithoutCancel(ctx))
	s.guard.onLogout = func(f func()) func() bool { return context.AfterFunc(ctx, f) }
	next.ending = make(chan struct{})
	go func() {
		defer close(next.ending)
		watcher.Start()
	}()
	next.stop = func() {
		watcher.Stop()
		end()
		<-next.ending
		s.guard.onLogout = nil
	}
	return nil
}

// logout forgets the token. Vault lets it expire: Transit uses it until the next
// login.
func (s *Source) logout() {
	if s.session == nil {
		return
	}
	if s.session.stop != nil {
		s.session.stop()
	}
	s.client.ClearToken()
	s.session = nil
}

var _ secret.Source = (*Source)(nil)
