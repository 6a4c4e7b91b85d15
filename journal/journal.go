package journal

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"
)

const (
	queueLength = 1024
	// waitTime bounds how long anybody waits for something to be written.
	waitTime = 10 * time.Second
	// openTime bounds one attempt to open the database.
	openTime = 10 * time.Second
	// keyInterval is the time between two looks at the key file.
	keyInterval = 30 * time.Second
)

// errClosed refuses what comes after Close.
var errClosed = fmt.Errorf("%w: it is closed", ErrUnavailable)

// Options are what a [Journal] is made of.
type Options struct {
	// Store keeps the rows. The journal opens and closes it.
	Store Store
	// KeyFile is the path of the file with the keys that encrypt what is
	// stored: lines with the base64 of 32 bytes, the current one first. It is
	// made if neither it nor anything encrypted is there.
	KeyFile string
	// Gateway names this process in its chain of events.
	Gateway string
	// Logger gets what happens to the journal itself. See [Journal.SetLogger].
	Logger *slog.Logger
	// Now is the clock. Nil: time.Now.
	Now func() time.Time
}

// Journal is the durable record of transactions. It is safe for concurrent use.
type Journal struct {
	options Options
	log     atomic.Pointer[slog.Logger]
	keys    *keyring
	health  atomic.Pointer[error] // why it cannot write; nil: it can
	commits atomic.Uint64
	writes  atomic.Uint64

	queue   chan *operation
	written chan struct{}   // closed when the writer has ended, or never begins
	running context.Context //nolint:containedctx // of the work in the background; ends with Close
	stop    context.CancelFunc
	life    context.Context //nolint:containedctx // of what is still to be written then; ends closeTime later
	end     context.CancelFunc
	absent  error // why no journal may be made where there is none; nil: it may
	opened  bool  // the store is; belongs to who opens
	work    sync.WaitGroup
	close   sync.Once
	timers  sync.Pool // of those who wait for the writer
}

// New makes a journal. It touches nothing; [Journal.Start] does.
func New(o Options) *Journal {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	j := &Journal{
		options: o,
		queue:   make(chan *operation, queueLength),
		written: make(chan struct{}),
	}
	j.keys = &keyring{data: make(map[int64]*dataKey), missing: j.loadKey}
	j.life, j.end = context.WithCancel(context.Background()) //nolint:forbidigo // it outlives every request
	j.running, j.stop = context.WithCancel(j.life)
	j.log.Store(o.Logger)
	j.health.Store(new(fmt.Errorf("%w: it was not opened yet", ErrUnavailable)))
	return j
}

// SetLogger replaces the logger, whose owner may be about to end.
func (j *Journal) SetLogger(logger *slog.Logger) { j.log.Store(logger) }

func (j *Journal) logger() *slog.Logger { return j.log.Load() }

// Start opens the journal and begins to write. If the database does not answer
// it returns an error that wraps [ErrUnavailable], and goes on trying: the
// journal then refuses intents until it succeeds. After any other error nothing
// goes on. It is called once.
func (j *Journal) Start(ctx context.Context) error {
	w, err := j.open(ctx)
	if err != nil && !errors.Is(err, ErrUnavailable) {
		close(j.written)
		return err
	}
	j.work.Go(func() { j.tend(w) })
	return err
}

// StartExisting is Start for who wants to look at a journal that is there. It
// makes neither a journal nor keys: where there is none it returns [ErrAbsent].
func (j *Journal) StartExisting(ctx context.Context) error {
	j.absent = ErrAbsent
	return j.Start(ctx)
}

// find refuses to open a journal that is to be there and is not.
func (j *Journal) find(ctx context.Context) error {
	if j.absent == nil {
		return nil
	}
	exists, err := j.options.Store.Exists(ctx)
	if err == nil && !exists {
		return j.absent
	}
	return err
}

// Close writes what must be written, as far as that is possible within ten
// seconds, ends all work and closes the store. It may be called more than once,
// and without Start.
func (j *Journal) Close() error {
	var err error
	j.close.Do(func() {
		j.stop()
		late := time.AfterFunc(closeTime, j.end)
		j.work.Wait()
		late.Stop()
		j.end()
		err = j.options.Store.Close()
	})
	if err != nil {
		return fmt.Errorf("closing the journal: %w", err)
	}
	return nil
}

// Ready tells why intents cannot be written now; nil if they can.
func (j *Journal) Ready() error {
	if err := j.health.Load(); err != nil {
		return *err
	}
	return nil
}

// Writes tells how many operations were written since the journal was made, in
// how many transactions of the database.
func (j *Journal) Writes() (operations, commits uint64) { return j.writes.Load(), j.commits.Load() }

// tend opens the journal if it is not open yet, runs the writer, and looks
// after the key file.
func (j *Journal) tend(w *writer) {
	for wait := newBackOff(); w == nil; {
		timer := time.NewTimer(wait.NextBackOff())
		select {
		case <-timer.C:
		case <-j.running.Done():
			timer.Stop()
			close(j.written)
			return
		}
		var err error
		if w, err = j.open(j.running); err != nil {
			j.logger().Error("opening the journal; trying again", "error", err)
		}
	}
	j.work.Go(w.write)
	ticker := time.NewTicker(keyInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			if err := j.RotateKeys(j.running); err != nil && j.running.Err() == nil {
				j.logger().Error("reading the journal's key file again; going on with the keys that were in it", "error", err)
			}
		case <-j.running.Done():
			return
		}
	}
}

func newBackOff() *backoff.ExponentialBackOff {
	wait := backoff.NewExponentialBackOff()
	wait.InitialInterval, wait.MaxInterval = 100*time.Millisecond, 2*time.Second
	return wait
}

// open opens the store and the keys, and sees whether the database can be written
// to. What an earlier attempt has opened it leaves open.
func (j *Journal) open(ctx context.Context) (w *writer, err error) {
	defer func() {
		if err != nil {
			j.health.Store(&err)
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, openTime)
	defer cancel()
	if !j.opened {
		if err := j.find(ctx); err != nil {
			return nil, err
		}
		if err := j.options.Store.Open(ctx); err != nil {
			return nil, err
		}
		j.opened = true
	}
	if err := j.openKeys(ctx); err != nil {
		return nil, err
	}
	if _, err := j.chains(ctx); err != nil { // that no chain could be opened behind
		return nil, err
	}
	if err := j.options.Store.Write(ctx, probe); err != nil {
		return nil, fmt.Errorf("trying to write to the journal: %w", err)
	}
	j.health.Store(nil)
	return &writer{Journal: j, wait: newBackOff()}, nil
}

// Begin records an intent, or finds the transaction that has its request ID.
// When it returns a fresh one, the record is durable. Its errors wrap
// [ErrReused], [ErrDailyLimit] or [ErrUnavailable], or say why the intent cannot
// be recorded at all; after any error nothing may be sent.
func (j *Journal) Begin(ctx context.Context, in Intent) (Begun, error) {
	o := &operation{begin: &in, done: make(chan struct{})}
	if err := j.submit(ctx, o); err != nil {
		return Begun{}, err
	}
	if o.err != nil {
		return Begun{}, o.err
	}
	return o.begun, nil
}

// Settle records what became of a transaction, and returns the row after it.
// The change is carried out even if the database does not answer now, unless the
// process ends before: after ctx, or ten seconds, Settle stops waiting for it
// and returns [ErrUnavailable]. Other errors: [ErrNotFound], [ErrTransition].
func (j *Journal) Settle(ctx context.Context, id string, c Change) (Transaction, error) {
	return j.submitChange(ctx, newChange(id, &c, true))
}

// Change is Settle for what can be found out again: it gives up with ctx.
func (j *Journal) Change(ctx context.Context, id string, c Change) (Transaction, error) {
	return j.submitChange(ctx, newChange(id, &c, false))
}

func (j *Journal) submitChange(ctx context.Context, o *operation) (Transaction, error) {
	if o.change.Cause == ByOperator && (o.change.Actor == "" || o.change.Reason == "") {
		return Transaction{}, errors.New("settling by hand takes a person's name and a reason")
	}
	if err := j.submit(ctx, o); err != nil {
		return Transaction{}, err
	}
	if o.err != nil {
		return Transaction{}, o.err
	}
	return o.begun.Transaction, nil
}

// Claim takes transactions that are due, for the time of the lease. Those whose
// deadline has passed are unknown afterwards.
func (j *Journal) Claim(ctx context.Context, c Claim) ([]Transaction, error) {
	o := &operation{claim: &c, done: make(chan struct{})}
	if err := j.submit(ctx, o); err != nil {
		return nil, err
	}
	for id, err := range o.stuck {
		j.logger().Error("a transaction cannot be made unknown, though its deadline has passed", "transaction", id, "error", err)
	}
	return o.claimed, o.err
}

// submit hands an operation to the writer and waits for it.
func (j *Journal) submit(ctx context.Context, o *operation) error {
	timer := j.timer() // costs less than a context that ends by itself
	defer j.timers.Put(timer)
	defer timer.Stop()
	hungUp, late := ctx.Done(), timer.C
	if o.must {
		hungUp, late = nil, nil // the writer takes it, or has ended
	}
	if j.running.Err() != nil {
		return errClosed
	}
	if err := j.health.Load(); err != nil && !o.must {
		return unavailable(*err)
	}
	select {
	case j.queue <- o:
	case <-hungUp:
		return unavailable(ctx.Err())
	case <-late:
		return unavailable(context.DeadlineExceeded)
	case <-j.written:
		return errClosed
	}
	select {
	case <-o.done:
		return nil
	case <-j.written:
		select {
		case <-o.done:
			return nil
		default:
			return errClosed
		}
	case <-ctx.Done():
	case <-timer.C:
	}
	o.late.Store(true)
	if o.must || o.taken.CompareAndSwap(false, true) {
		return unavailable(cmp.Or(ctx.Err(), context.DeadlineExceeded))
	}
	<-o.done // it is being written
	return nil
}

// timer is one that rings after waitTime.
func (j *Journal) timer() *time.Timer {
	if timer, ok := j.timers.Get().(*time.Timer); ok {
		timer.Reset(waitTime)
		return timer
	}
	return time.NewTimer(waitTime)
}

// Content decrypts what is stored of a transaction.
func (j *Journal) Content(t *Transaction) (Content, error) {
	key, err := j.keys.get(t.KeyID)
	if err != nil {
		return Content{}, err
	}
	return key.open(t)
}

// Get finds a transaction by its ID. A transaction whose deadline has passed is
// shown as unknown, which the journal will soon say too.
func (j *Journal) Get(ctx context.Context, id string) (Transaction, error) {
	t, err := j.options.Store.ByID(ctx, id)
	return j.view(t), err
}

// Find finds a transaction by its account and request ID.
func (j *Journal) Find(ctx context.Context, key RequestKey) (Transaction, error) {
	t, err := j.options.Store.ByRequest(ctx, key)
	return j.view(t), err
}

func (j *Journal) view(t Transaction) Transaction {
	if t.Expired(j.options.Now()) {
		t.State = Unknown
	}
	return t
}

// List yields transactions, newest first, as [Journal.Get] shows them. It ends
// after the first error.
func (j *Journal) List(ctx context.Context, f Filter) iter.Seq2[Transaction, error] {
	stored := f
	if len(f.States) > 0 { // some are stored as sent and shown as unknown
		stored.Limit = 0
	}
	if slices.Contains(f.States, Unknown) {
		stored.States = append(slices.Clip(f.States), Created, Sent)
	}
	return func(yield func(Transaction, error) bool) {
		found := 0
		for t, err := range j.options.Store.List(ctx, stored) {
			t = j.view(t)
			if err == nil && len(f.States) > 0 && !slices.Contains(f.States, t.State) {
				continue
			}
			if found++; !yield(t, err) || found == f.Limit {
				return
			}
		}
	}
}

// Events are the events of a transaction, in order.
func (j *Journal) Events(ctx context.Context, id string) ([]Event, error) {
	events, err := j.options.Store.Events(ctx, id)
	return timeline(events), err
}

// NewestEvents are the last events of a transaction, in order: at most limit of
// those that are stored.
func (j *Journal) NewestEvents(ctx context.Context, id string, limit int) ([]Event, error) {
	events, err := j.options.Store.NewestEvents(ctx, id, limit)
	return timeline(events), err
}

// timeline tells of both steps of an intent: that a transaction was created and
// that it may be sent is written as one event, and each event costs.
func timeline(events []Event) []Event {
	if len(events) == 0 || events[0].Seq != 1 || events[0].Kind != Kind(Sent) {
		return events
	}
	created := events[0]
	created.Seq, created.Kind = 0, Kind(Created)
	return slices.Insert(events, 0, created)
}

// Stats counts what is not settled.
func (j *Journal) Stats(ctx context.Context) (Stats, error) { return j.options.Store.Stats(ctx) }

// Spent is what a merchant spends today.
func (j *Journal) Spent(ctx context.Context, merchant string) (Spending, error) {
	return j.options.Store.Spent(ctx, merchant, day(j.options.Now()))
}
