package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/callback"
	"github.com/nowpay-gateway/nowpay-gateway/journal"
	"github.com/nowpay-gateway/nowpay-gateway/secret"
	"github.com/nowpay-gateway/nowpay-gateway/signer"
	"github.com/nowpay-gateway/nowpay-gateway/signer/httpsig"
)

// called is a gateway that takes callbacks, whose clock stands.
type called struct {
	*hooks
	results []string
}

func newCalled(t *testing.T, settle bool) *called {
	t.Helper()
	c := &called{hooks: newHooks(t)}
	shapes, err := callback.NewTable(nil)
	if err != nil {
		t.Fatal(err)
	}
	c.Callbacks = &Callbacks{From: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}, Settle: settle, Shapes: shapes}
	c.CalledBack = func(result string) { c.results = append(c.results, result) }
	return c
}

// call makes a callback request and returns its status.
func (c *called) call(t *testing.T, source string, body io.Reader) int {
	t.Helper()
	return c.Callback(t.Context(), CallbackRequest{
		Source: netip.MustParseAddr(source), Method: http.MethodPost, Path: "/", Body: body,
		Header: http.Header{"Content-Type": {"application/json"}},
	}).Status
}

// workDue works on what is due now, once, and returns what came of it.
func (c *called) workDue(t *testing.T) (after []journal.Message) {
	t.Helper()
	for _, m := range c.inbox.claim(t.Context()) {
		c.inbox.one(t.Context(), m)
		now, err := c.Journal.Message(t.Context(), m.ID)
		if err != nil {
			t.Fatal(err)
		}
		after = append(after, now)
	}
	return after
}

// begin makes a transaction that is under way.
func (c *called) begin(t *testing.T, account, requestID string) journal.Transaction {
	t.Helper()
	begun, err := c.Journal.Begin(t.Context(), c.intent(account, requestID))
	if err != nil {
		t.Fatal(err)
	}
	return begun.Transaction
}

func (c *called) intent(account, requestID string) journal.Intent {
	return journal.Intent{
		ID: "01T" + account + requestID, Account: account, RequestID: requestID, Merchant: "shop", Operation: "bank/payout", Amount: 150,
		Canonical: []byte("{}"), Deadline: c.clock.time().Add(time.Minute), Next: never,
	}
}

func (c *called) settleUnsent(t *testing.T, tx journal.Transaction) {
	t.Helper()
	change := journal.Change{State: journal.Unsent, Cause: journal.ByExchange, Attempt: 1, Next: never}
	if _, err := c.Journal.Settle(t.Context(), tx.ID, change); err != nil {
		t.Fatal(err)
	}
}

// open makes a transaction that is pending, or unknown if the provider's id is "".
func (c *called) open(t *testing.T, requestID, providerID string) journal.Transaction {
	t.Helper()
	begun := c.begin(t, "main", requestID)
	state := journal.Pending
	if providerID == "" {
		state = journal.Unknown
	}
	after, err := c.Journal.Settle(t.Context(), begun.ID, journal.Change{
		State: state, Cause: journal.ByExchange, Attempt: 1, ProviderID: providerID, Next: never,
	})
	if err != nil {
		t.Fatal(err)
	}
	return after
}

func says(status, requestID, providerID string) io.Reader {
	return strings.NewReader(`{"status":"` + status + `","result":{"orderId":"` + requestID + `","paytmOrderId":"` + providerID + `","rrn":"4299"}}`)
}

// What a callback does to a transaction about which the provider cannot be asked.
func TestCallbackBelieved(t *testing.T) {
	for name, test := range map[string]struct {
		settle     bool
		before     journal.State // success: settled by the exchange
		providerID string        // that is known
		status, id string        // that the callback says
		want       journal.State
		person     bool
		note       string
	}{
		"pending, both ids":            {true, journal.Pending, "P1", "SUCCESS", "P1", journal.Success, false, "settled by it"},
		"failed, both ids":             {true, journal.Pending, "P1", "FAILED", "P1", journal.Failed, false, "settled by it"},
		"only a hint":                  {false, journal.Pending, "P1", "SUCCESS", "P1", journal.Pending, true, "left to a person"},
		"unknown, whose id nobody has": {true, journal.Unknown, "", "SUCCESS", "P1", journal.Unknown, true, "not both ids are known and the same; left to a person"},
		"still pending":                {true, journal.Pending, "P1", "PENDING", "P1", journal.Pending, false, "it says what is known"},
		"another state":                {true, journal.Pending, "P1", "DONE", "P1", journal.Pending, true, "its state is none that is known; left to a person"},
		"another state and id":         {true, journal.Unknown, "", "DONE", "P1", journal.Unknown, false, "its state is none that is known"},
		"against what was not sent":    {true, journal.Unsent, "", "SUCCESS", "P1", journal.Unsent, true, "it contradicts what is final; a person decides"},
		"another id":                   {true, journal.Pending, "P1", "SUCCESS", "P2", journal.Pending, false, "no transaction has these ids and this amount"},
		"what is known":                {true, journal.Success, "P1", "SUCCESS", "P1", journal.Success, false, "it says what is known"},
		"against what is final":        {true, journal.Success, "P1", "FAILED", "P1", journal.Success, true, "it contradicts what is final; a person decides"},
		"pending, though it is final":  {true, journal.Success, "P1", "PENDING", "P1", journal.Success, true, "it contradicts what is final; a person decides"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCalled(t, test.settle)
			c.serve(t, "shop", func(http.ResponseWriter, *http.Request) {})
			tx := c.open(t, "1001", test.providerID)
			switch test.before {
			case journal.Success:
				c.change(t, tx, journal.Success, false)
			case journal.Unsent:
				tx = c.begin(t, "main", "1002")
				test.id = "P1"
				c.settleUnsent(t, tx)
			}
			if status := c.call(t, "203.0.113.7", says(test.status, tx.RequestID, test.id)); status != http.StatusOK {
				t.Fatalf("HTTP %d", status)
			}
			after := c.workDue(t)
			if len(after) != 1 || after[0].Note != test.note || after[0].State == journal.Waiting {
				t.Errorf("%+v, want %q", after, test.note)
			}
			got, err := c.Journal.Get(t.Context(), tx.ID)
			if err != nil || got.State != test.want || got.Attention.IsZero() == test.person || got.Reversed != "" {
				t.Errorf("%s, reversed %q, person %v, %v", got.State, got.Reversed, !got.Attention.IsZero(), err)
			}
			told := len(messagesOf(t, c.Journal, journal.MessageFilter{Box: journal.Outbox}))
			if moved := test.note == "settled by it"; told != map[bool]int{true: 1}[moved] {
				t.Errorf("%d notifications", told)
			}
		})
	}
}

// A callback that overtakes the answer waits for it.
func TestCallbackWaits(t *testing.T) {
	c := newCalled(t, true)
	begun := c.begin(t, "main", "1001")
	c.call(t, "203.0.113.7", says("SUCCESS", "1001", "P1"))
	if after := c.workDue(t); len(after) != 1 || after[0].State != journal.Waiting || !after[0].Due.After(c.clock.time()) {
		t.Fatalf("%+v", after)
	}
	if _, err := c.Journal.Settle(t.Context(), begun.ID, journal.Change{
		State: journal.Pending, Cause: journal.ByExchange, Attempt: 1, ProviderID: "P1", Next: never,
	}); err != nil {
		t.Fatal(err)
	}
	c.clock.pass(10 * time.Second)
	if after := c.workDue(t); len(after) != 1 || after[0].Note != "settled by it" {
		t.Errorf("%+v", after)
	}
}

// Who may not call, and what does not arrive, leaves nothing behind; what cannot
// be recorded is not acknowledged.
func TestCallbackRefused(t *testing.T) {
	c := newCalled(t, true)
	for _, source := range []string{"192.0.2.1", "::ffff:192.0.2.1", "2001:db8::1"} {
		if status := c.call(t, source, says("SUCCESS", "1001", "P1")); status != http.StatusForbidden {
			t.Errorf("from %s: HTTP %d", source, status)
		}
	}
	if status := c.call(t, "::ffff:203.0.113.7", says("SUCCESS", "1001", "P1")); status != http.StatusOK {
		t.Errorf("mapped: HTTP %d", status)
	}
	early := CallbackRequest{Source: netip.MustParseAddr("203.0.113.7"), Early: true, Method: "GET", Body: strings.NewReader("")}
	if status := c.Callback(t.Context(), early).Status; status != http.StatusForbidden {
		t.Errorf("early: HTTP %d", status)
	}
	if status := c.call(t, "203.0.113.7", iotest.ErrReader(errors.New("gone"))); status != http.StatusBadRequest {
		t.Errorf("broken: HTTP %d", status)
	}
	large := strings.NewReader(`{"status":"` + strings.Repeat("x", callback.MaxBody) + `"}`)
	if status := c.call(t, "203.0.113.7", large); status != http.StatusOK {
		t.Errorf("too large: HTTP %d", status)
	}
	recorded := messagesOf(t, c.Journal, journal.MessageFilter{})
	for _, m := range recorded {
		if m.Transaction != "" || len(m.Sealed) > 2*callback.MaxBody {
			t.Errorf("%+v", m)
		}
	}
	if len(recorded) != 2 {
		t.Errorf("%d are recorded, want 2", len(recorded))
	}
	if err := c.Journal.Close(); err != nil {
		t.Fatal(err)
	}
	if status := c.call(t, "203.0.113.7", says("SUCCESS", "1002", "P1")); status != http.StatusServiceUnavailable {
		t.Errorf("without a journal: HTTP %d", status)
	}
}

// Callbacks of no transaction are recorded up to a bound, and acknowledged beyond.
func TestCallbackStrays(t *testing.T) {
	c := newCalled(t, true)
	tx := c.open(t, "1001", "P1")
	for range strayBurst + 50 {
		if status := c.call(t, "203.0.113.7", says("SUCCESS", "9"+c.NewID()+time.Duration(len(c.results)).String(), "P9")); status != http.StatusOK {
			t.Fatalf("HTTP %d", status)
		}
	}
	forgotten := 0
	for _, result := range c.results {
		if result == CallbackForgotten {
			forgotten++
		}
	}
	if forgotten == 0 || forgotten > 50 {
		t.Errorf("%d are forgotten", forgotten)
	}
	// One that is of a transaction is not forgotten.
	c.call(t, "203.0.113.7", says("SUCCESS", "1001", "P1"))
	for range 20 {
		c.workDue(t)
	}
	if got, err := c.Journal.Get(t.Context(), tx.ID); err != nil || got.State != journal.Success {
		t.Errorf("%s, %v", got.State, err)
	}
}

// One transaction takes so many callbacks, and no more.
func TestCallbackCrowd(t *testing.T) {
	c := newCalled(t, true)
	c.open(t, "1001", "P1")
	for i := range maxCallbacks + 5 {
		body := strings.NewReader(fmt.Sprintf(`{"status":"PENDING","n":%d,"result":{"orderId":"1001"}}`, i))
		if status := c.call(t, "203.0.113.7", body); status != http.StatusOK {
			t.Fatalf("HTTP %d", status)
		}
	}
	if n := len(messagesOf(t, c.Journal, journal.MessageFilter{})); n != maxCallbacks {
		t.Errorf("%d are recorded, want %d", n, maxCallbacks)
	}
	// One with both ids is not kept out by those.
	c.call(t, "203.0.113.7", says("SUCCESS", "1001", "P1"))
	for range maxCallbacks {
		c.workDue(t)
	}
	if got, err := c.Journal.Find(t.Context(), journal.RequestKey{Account: "main", RequestID: "1001"}); err != nil || got.State != journal.Success {
		t.Errorf("%s, %v", got.State, err)
	}
}

// A transaction of another account with the same request ID is not meant.
func TestCallbackOfSeveralAccounts(t *testing.T) {
	c := newCalled(t, true)
	c.settleUnsent(t, c.begin(t, "other", "1001"))
	tx := c.open(t, "1001", "P1")
	c.call(t, "203.0.113.7", says("SUCCESS", "1001", "P1"))
	if after := c.workDue(t); len(after) != 1 || after[0].Note != "settled by it" || after[0].Transaction != tx.ID {
		t.Errorf("%+v", after)
	}
}

// What a callback says was sent is not sent again before a person has decided.
func TestCallbackOfUnsent(t *testing.T) {
	c := newCalled(t, true)
	tx := c.begin(t, "main", "1001")
	c.settleUnsent(t, tx)
	c.call(t, "203.0.113.7", says("SUCCESS", "1001", "P1"))
	c.workDue(t)
	again, err := c.Journal.Begin(t.Context(), c.intent("main", "1001"))
	if err != nil || again.Fresh || again.Transaction.Attention.IsZero() {
		t.Errorf("it begins again: %+v, %v", again, err)
	}
	_, after, err := c.SettleByHand(t.Context(), tx.ID, ByHand{State: journal.Failed, Actor: "asha", Reason: "Nowpay knows nothing of it"})
	if err != nil || after.State != journal.Failed || !after.Attention.IsZero() {
		t.Errorf("settled by hand: %+v, %v", after, err)
	}
}

// requestVerifier says whose callbacks are signed.
type requestVerifier struct {
	verifierFunc
	err error
}

func (v requestVerifier) VerifyRequest(context.Context, *httpsig.Message, []byte, []*secret.Credential) error {
	return v.err
}

// A callback that is signed for one account settles nothing of another, also if that
// comes with a signature later; and one that nobody can verify now is to come again.
func TestSignedCallbackOfAccount(t *testing.T) {
	c := newCalled(t, true)
	c.Callbacks.Signed = true
	tx := c.open(t, "1001", "P1") // of account main
	signedBy := func(main, other error) {
		c.Accounts["main"] = Account{Secret: c.Accounts["main"].Secret, Sign: signer.Credentials{}, Verify: requestVerifier{err: main}}
		c.Accounts["other"] = Account{Secret: c.Accounts["main"].Secret, Sign: signer.Credentials{}, Verify: requestVerifier{err: other}}
	}
	for _, step := range []struct {
		main, other error
		status      int
		want        journal.State
	}{
		{signer.ErrUnverified, signer.ErrUnverified, http.StatusForbidden, journal.Pending},
		{secret.ErrUnavailable, signer.ErrUnverified, http.StatusServiceUnavailable, journal.Pending},
		{signer.ErrUnverified, secret.ErrUnavailable, http.StatusServiceUnavailable, journal.Pending},
		{signer.ErrUnverified, nil, http.StatusOK, journal.Pending},
		{nil, signer.ErrUnverified, http.StatusOK, journal.Failed},
	} {
		signedBy(step.main, step.other)
		if status := c.call(t, "203.0.113.7", says("FAILED", "1001", "P1")); status != step.status {
			t.Errorf("main %v, other %v: %d, want %d", step.main, step.other, status, step.status)
		}
		c.workDue(t)
		after, err := c.Journal.Get(t.Context(), tx.ID)
		if err != nil || after.State != step.want {
			t.Errorf("main %v, other %v: %s, %v, want %s", step.main, step.other, after.State, err, step.want)
		}
	}
}
