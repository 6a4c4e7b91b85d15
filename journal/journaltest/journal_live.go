package journaltest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/nowpay-gateway/nowpay-gateway/journal"
	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
)

// living are the tests with random lives of transactions.
var living = []journalTest{{name: "Live", run: testLive}}

// testLive compares the journal with a few facts in memory, over random
// sequences of what merchants, the provider, operators, clocks and crashes do.
// All sequences share the database: each has an account and merchants of its
// own.
func testLive(t *testing.T, w *world) {
	l := &life{world: w}
	l.restart(t, 0)
	l.restart(t, 1)
	defer func() {
		for _, g := range l.gateways {
			g.end(t)
		}
	}()
	rapid.Check(t, func(t *rapid.T) {
		l.sequence++
		l.facts, l.nonces = map[string]*fact{}, map[string]time.Time{}
		t.Repeat(map[string]func(*rapid.T){
			"begin":    l.begin,
			"repeat":   l.begin,
			"exchange": func(t *rapid.T) { l.say(t, journal.ByExchange) },
			"ask":      func(t *rapid.T) { l.say(t, journal.ByRevalidation) },
			"operator": func(t *rapid.T) { l.say(t, journal.ByOperator) },
			"claim":    l.claim,
			"nonce":    l.use,
			"prune":    l.prune,
			"wait":     l.wait,
			"crash":    l.crash,
		})
		l.compare(t)
	})
	l.gateways[0].checkHonest(t)
}

// life is one sequence.
type life struct {
	*world
	sequence int
	gateways [2]*gateway          // one and the same, if the store is not shared
	facts    map[string]*fact     // by request ID
	nonces   map[string]time.Time // when those that were used expire
}

// fact is what the journal should know of a transaction.
type fact struct {
	id, merchant  string
	body          int
	amount        nowpay.Paise
	day           int
	state         journal.State
	reversed      journal.State
	attention     bool
	attempt       int
	events        int
	deadline, due time.Time
	answered      bool
}

// crash ends a gateway now and then, whatever is under way, and starts it again.
func (l *life) crash(t *rapid.T) {
	if n := rapid.IntRange(0, 31).Draw(t, "gateway"); n < 2 {
		l.restart(t, n)
	}
}

func (l *life) restart(t tb, n int) {
	if n == 1 && !l.Shared {
		l.gateways[1] = l.gateways[0]
		return
	}
	if l.gateways[n] != nil {
		l.gateways[n].end(t)
	}
	g, err := l.try(t.Context(), fmt.Sprintf("gateway-%d", n), l.keyFile)
	if err != nil {
		t.Fatalf("Start() = %v", err)
	}
	l.gateways[n] = g
	if !l.Shared {
		l.gateways[1] = g
	}
}

func (l *life) gateway(t *rapid.T) *gateway {
	return rapid.SampledFrom(l.gateways[:]).Draw(t, "gateway")
}

func (l *life) wait(t *rapid.T) {
	l.pass(rapid.SampledFrom([]time.Duration{time.Second, deadline, again, 9 * time.Hour}).Draw(t, "time"))
}

// use uses a nonce that may have been used.
func (l *life) use(t *rapid.T) {
	n := journal.Nonce{Scope: l.account(), Value: fmt.Sprint(rapid.IntRange(1, 5).Draw(t, "nonce"))}
	n.Expires = l.now().Add(rapid.SampledFrom([]time.Duration{0, time.Second, deadline, time.Hour}).Draw(t, "life"))
	err := l.gateway(t).UseNonce(t.Context(), n)
	if n.Expires.After(l.now()) && !l.nonces[n.Value].After(l.now()) {
		if err != nil {
			t.Fatalf("UseNonce() = %v", err)
		}
		l.nonces[n.Value] = n.Expires
		return
	}
	checkError(t, "UseNonce", err, journal.ErrReplayed)
}

// prune deletes nonces; nobody sees that.
func (l *life) prune(t *rapid.T) {
	if _, err := l.gateway(t).PruneNonces(t.Context(), l.now(), rapid.IntRange(1, 3).Draw(t, "limit")); err != nil {
		t.Fatalf("PruneNonces() = %v", err)
	}
}

func (l *life) account() string { return fmt.Sprintf("account%d", l.sequence) }

func (l *life) merchants() []string {
	return []string{fmt.Sprintf("shop%d", l.sequence), fmt.Sprintf("kiosk%d", l.sequence)}
}

func (l *life) today() int {
	at := l.now().Add(5*time.Hour + 30*time.Minute)
	return at.Year()*10000 + int(at.Month())*100 + at.Day()
}

// spent sums up what a merchant spends today.
func (l *life) spent(merchant string) (sum nowpay.Paise) {
	for _, f := range l.facts {
		notPaid := f.state == journal.Failed || f.state == journal.Refused || f.state == journal.Unsent
		if f.merchant == merchant && f.day == l.today() && !notPaid {
			sum += f.amount
		}
	}
	return sum
}

// expire makes unknown what is beyond its deadline.
func (l *life) expire(f *fact) {
	if f.state == journal.Sent && !l.now().Before(f.deadline) {
		f.state, f.answered = journal.Unknown, false
		f.events++
		f.due = l.now().Add(again)
	}
}

// begin records an intent or repeats one, which may be another than before.
func (l *life) begin(t *rapid.T) {
	requestID := fmt.Sprintf("R%d", rapid.IntRange(1, 5).Draw(t, "request"))
	f := l.facts[requestID]
	want := fact{
		merchant: l.merchants()[rapid.SampledFrom([]int{0, 0, 0, 1}).Draw(t, "merchant")],
		body:     rapid.SampledFrom([]int{0, 0, 0, 1}).Draw(t, "body"),
		day:      l.today(), state: journal.Sent, attempt: 1, events: 1,
		deadline: l.now().Add(deadline), due: l.now().Add(deadline),
	}
	want.amount = nowpay.Paise(100 * (want.body + 1))
	limit := nowpay.Paise(rapid.SampledFrom([]int{0, 300, 400}).Draw(t, "limit"))
	affords := limit == 0 || l.spent(want.merchant)+want.amount <= limit

	in := l.intent(requestID)
	in.Account, in.Merchant, in.Amount, in.DailyLimit = l.account(), want.merchant, want.amount, limit
	in.Canonical = fmt.Appendf(nil, "%d", want.body)
	begun, err := l.gateway(t).Begin(t.Context(), in)
	switch {
	case f == nil && affords:
		want.id = in.ID
		l.facts[requestID] = &want
		l.begun(t, requestID, begun, err, true)
	case f == nil:
		checkError(t, "Begin", err, journal.ErrDailyLimit)
	case f.merchant != want.merchant || f.body != want.body:
		checkError(t, "Begin", err, journal.ErrReused)
	case f.state == journal.Unsent && f.reversed == "" && affords:
		want.id, want.attempt, want.events = f.id, f.attempt+1, f.events+1
		*f = want
		l.begun(t, requestID, begun, err, true)
	case f.state == journal.Unsent && f.reversed == "":
		checkError(t, "Begin", err, journal.ErrDailyLimit)
	default:
		l.expire(f)
		l.begun(t, requestID, begun, err, false)
	}
}

func (l *life) begun(t *rapid.T, requestID string, begun journal.Begun, err error, fresh bool) {
	if err != nil || begun.Fresh != fresh {
		t.Fatalf("Begin(%s) = fresh %t, %v; want fresh %t", requestID, begun.Fresh, err, fresh)
	}
	l.facts[requestID].check(t, l.now(), begun.Transaction)
}

// drawn is one of the transactions that are there.
func (l *life) drawn(t *rapid.T) *fact {
	if len(l.facts) == 0 {
		t.Skip("there are no transactions yet")
	}
	var requests []string
	for requestID := range l.facts {
		requests = append(requests, requestID)
	}
	slices.Sort(requests)
	return l.facts[rapid.SampledFrom(requests).Draw(t, "request")]
}

// say makes somebody tell what became of a transaction, an exchange perhaps of
// an attempt that is over.
func (l *life) say(t *rapid.T, cause journal.Cause) {
	f := l.drawn(t)
	said := rapid.IntRange(0, 5).Draw(t, "state")
	change := l.says(cause, []journal.State{
		journal.Success, journal.Failed, journal.Refused, journal.Pending, journal.Unknown, journal.Unsent,
	}[said])
	if cause == journal.ByExchange {
		change.Attempt = rapid.IntRange(max(1, f.attempt-1), f.attempt).Draw(t, "attempt")
	}
	if rapid.Bool().Draw(t, "answer") {
		change.Answer = &journal.Answer{Body: []byte(secretAnswer)}
	}
	after, err := l.gateway(t).Settle(t.Context(), f.id, change)
	if cause == journal.ByOperator {
		l.expire(f)
	}
	verdict := transitions[f.state][cause][said]
	if cause == journal.ByOperator && f.state == journal.Unsent && f.reversed != "" && said < 3 {
		verdict = 'M' // the provider knows of it: a person must be able to decide
	}
	if change.Attempt != 0 && change.Attempt != f.attempt {
		verdict = '-'
	}
	if verdict == '-' {
		checkError(t, "Settle", err, journal.ErrTransition)
		return
	}
	if err != nil {
		t.Fatalf("Settle() = %v", err)
	}
	f.hear(change, verdict, l.now())
	f.check(t, l.now(), after)
}

// hear changes what is known, as the table of transitions says.
func (f *fact) hear(c journal.Change, verdict byte, now time.Time) {
	moves := verdict >= 'A' && verdict <= 'Z'
	confirms := verdict >= 'a' && c.Cause == journal.ByOperator && (f.reversed != "" || f.attention)
	switch {
	case moves || confirms:
		if moves {
			f.answered = c.Answer != nil
		}
		f.state, f.reversed, f.attention = c.State, "", false
		f.events++
	case verdict == '!' && f.reversed != c.State:
		f.reversed, f.attention = c.State, true
		f.events++
	}
	f.due = now.Add(again)
	if f.state == journal.Sent {
		f.due = f.deadline
	}
	if f.state.Final() {
		f.due = time.Time{}
	}
}

// claim takes all that is due.
func (l *life) claim(t *rapid.T) {
	claimed, err := l.gateway(t).Claim(t.Context(), journal.Claim{
		Accounts: []string{l.account()}, Limit: 10, Lease: lease, Next: l.next,
	})
	if err != nil {
		t.Fatalf("Claim() = %v", err)
	}
	due := 0
	for requestID, f := range l.facts {
		if f.due.IsZero() || f.due.After(l.now()) {
			continue
		}
		due++
		l.expire(f)
		f.due = l.now().Add(lease)
		i := slices.IndexFunc(claimed, func(row journal.Transaction) bool { return row.ID == f.id })
		if i < 0 {
			t.Errorf("%s is due, and was not claimed", requestID)
			continue
		}
		f.check(t, l.now(), claimed[i])
	}
	if due != len(claimed) {
		t.Errorf("%d were claimed, and %d due", len(claimed), due)
	}
}

// check compares a row with what is known.
func (f *fact) check(t *rapid.T, now time.Time, row journal.Transaction) {
	t.Helper()
	got := fact{
		id: row.ID, merchant: row.Merchant, body: f.body, amount: row.Amount, day: row.Day, state: row.State,
		reversed: row.Reversed, attention: !row.Attention.IsZero(), attempt: row.Attempt, events: row.Version,
		deadline: row.Deadline.UTC(), due: row.NextCheck.UTC(), answered: f.answered,
	}
	want := *f
	if want.state == journal.Sent && !now.Before(want.deadline) {
		want.state = journal.Unknown // as it is shown, though it is not written yet
	}
	if got != want {
		t.Errorf("transaction %s is\n%+v, want\n%+v", row.RequestID, got, want)
	}
}

// compare looks at all of the sequence.
func (l *life) compare(t *rapid.T) {
	for requestID, f := range l.facts {
		g := l.gateways[len(requestID)%2]
		row, err := g.Find(t.Context(), journal.RequestKey{Account: l.account(), RequestID: requestID})
		if err != nil {
			t.Fatalf("Find(%s) = %v", requestID, err)
		}
		f.check(t, l.now(), row)
		if answered := g.content(t, row).Answer != nil; answered != f.answered {
			t.Errorf("%s has an answer: %t, want %t", requestID, answered, f.answered)
		}
		events, err := g.Events(t.Context(), row.ID)
		if err != nil || len(events) != f.events+1 {
			t.Errorf("%s has %d events, want %d: %v", requestID, len(events), f.events+1, err)
		}
	}
	for _, name := range l.merchants() {
		got, err := l.gateways[0].Spent(t.Context(), name)
		if err != nil || got.Amount != l.spent(name) {
			t.Errorf("%s spends %v, %v; want %v", name, got.Amount, err, l.spent(name))
		}
	}
}
