package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/egress"
	"github.com/nowpay-gateway/nowpay-gateway/integrity"
	"github.com/nowpay-gateway/nowpay-gateway/journal"
	"github.com/nowpay-gateway/nowpay-gateway/journal/sqlite"
	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
	"github.com/nowpay-gateway/nowpay-gateway/secret"
	"github.com/nowpay-gateway/nowpay-gateway/signer"
	"github.com/nowpay-gateway/nowpay-gateway/whitelist"
)

const (
	testToken = "npg_test_shop"
	testKey   = "0f1e2d3c4b5a69788796a5b4c3"

	payoutBody = `{"accountnumber":"50100012345678","ifsc":"HDFC0000001","amount":"1.50","yourrequestid":"1001","name":"Asha Rao","transferMode":"IMPS"}`
	payoutDone = `{"success":"1","message":"Done","ourrequestid":"20261024pm103423000001","yourrequestid":"1001","rrn":"429910000001","amount":"1.50"}`
	balance    = `{"success":"1","message":"Done","tradebal":"1.00","aepsbal":"2.00"}`
)

// parts are a gateway whose surroundings the test sees and can replace.
type parts struct {
	*Gateway
	store    *secret.Store
	acquired atomic.Int32 // credentials taken
	received atomic.Int32 // requests that reached the provider

	refreshed    atomic.Int32 // how often the credential was asked for anew
	refresh      func()       // what that does; nil: nothing
	refreshFails error
	older        time.Duration // than the credential is

	answer  atomic.Pointer[http.HandlerFunc]
	records []Record
	log     bytes.Buffer
}

// answers sets what the provider does.
func (p *parts) answers(h http.HandlerFunc) { p.answer.Store(&h) }

// Acquire and Status are those of the store, counted.
func (p *parts) Acquire() (*secret.Credential, error) {
	p.acquired.Add(1)
	return p.store.Acquire()
}

func (p *parts) Status() secret.Status {
	status := p.store.Status()
	status.Age += p.older
	return status
}

func (p *parts) Known() []*secret.Credential { return p.store.Known() }

// Refresh has the source look again, which finds what refresh puts into the store.
func (p *parts) Refresh(context.Context) error {
	p.refreshed.Add(1)
	if p.refresh != nil {
		p.refresh()
	}
	if p.refreshFails != nil {
		return p.refreshFails
	}
	return nil
}

func newParts(t testing.TB) *parts {
	t.Helper()
	p := &parts{store: secret.NewStore(0, time.Now)}
	p.setCredential(t, 1)
	p.answers(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if strings.HasSuffix(r.RequestURI, "/common/balance") {
			_, _ = io.WriteString(w, balance)
			return
		}
		_, _ = io.WriteString(w, payoutDone)
	})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.received.Add(1)
		(*p.answer.Load())(w, r)
	}))
	t.Cleanup(server.Close)
	address, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	client, err := egress.New(egress.Config{URL: address})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	catalogue, err := nowpay.NewCatalogue(nowpay.Documented())
	if err != nil {
		t.Fatal(err)
	}
	policy := newPolicy(t)
	p.Gateway = New(Config{
		Catalogue: catalogue, Policy: policy, Egress: client, MaxBody: 4096, Journal: newJournal(t),
		Limits: NewLimits(policy.Merchants(), nil, time.Now), Places: NewPlaces(policy.Merchants(), 1000, nil),
		Reconcile: Reconcile{
			PersonAfter: time.Hour, StatusRate: whitelist.Rate{Requests: 100, Per: time.Second, Burst: 100},
			StatusTimeout: 5 * time.Second, DailyCheck: 6 * time.Hour,
		},
		Accounts: map[string]Account{"main": {Secret: p, Sign: signer.Credentials{}}},
		Logger:   slog.New(slog.NewJSONHandler(&p.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Record:   func(_ context.Context, r *Record) { p.records = append(p.records, *r) },
		Observed: func(StatusCall) {}, CalledBack: func(string) {}, Posted: func(journal.Message) {},
		NewID:  func() string { return "01EXCHANGE" },
		Now:    time.Now,
		Random: func() float64 { return 0.5 },
	})
	return p
}

// newJournal is one in a file of the test's.
func newJournal(t testing.TB) *journal.Journal {
	t.Helper()
	return newJournalAt(t, time.Now)
}

func newJournalAt(t testing.TB, now func() time.Time) *journal.Journal {
	t.Helper()
	dir := t.TempDir()
	j := journal.New(journal.Options{
		Store: sqlite.New(filepath.Join(dir, "journal.db")), KeyFile: filepath.Join(dir, "journal.key"), Gateway: "test", Now: now,
	})
	t.Cleanup(func() {
		if err := j.Close(); err != nil {
			t.Errorf("closing the journal: %v", err)
		}
	})
	if err := j.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return j
}

func (p *parts) setCredential(t testing.TB, version int64) {
	t.Helper()
	p.setKey(t, testKey, version)
}

func (p *parts) setKey(t testing.TB, key string, version int64) {
	t.Helper()
	credential, err := secret.NewCredential([]byte("2000"), []byte(key), version)
	if err != nil {
		t.Fatal(err)
	}
	p.store.Set(credential)
}

func newPolicy(t testing.TB) *whitelist.Policy {
	t.Helper()
	pattern := func(s string) whitelist.Pattern {
		parsed, err := whitelist.ParsePattern(s)
		if err != nil {
			t.Fatal(err)
		}
		return parsed
	}
	policy, err := whitelist.NewPolicy([]whitelist.Merchant{{
		Name: "shop", Account: "main", Tokens: [][32]byte{whitelist.HashToken(testToken)},
		From:  []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")},
		Allow: []whitelist.Pattern{pattern("bank/*"), pattern("common/*"), pattern("pan/*")}, Deny: []whitelist.Pattern{pattern("bank/register")},
		MaxAmount: 5000_00,
	}})
	if err != nil {
		t.Fatal(err)
	}
	return policy
}

// request is shop's, for a path.
func request(path, body string) Request {
	return Request{
		Caller: whitelist.Caller{Token: testToken, Source: netip.MustParseAddr("192.0.2.7")},
		Method: http.MethodPost, Target: path, Header: http.Header{"Content-Type": {"application/json"}}, Body: strings.NewReader(body),
	}
}

func problemOf(a Answer) string { return a.Header.Get("Nowpay-Gateway-Error") }

func TestExchange(t *testing.T) {
	p := newParts(t)
	answer := p.Exchange(t.Context(), request("/api/bank/payout", payoutBody))
	if answer.Status != http.StatusOK || string(answer.Body) != payoutDone || answer.Header.Get("Nowpay-Gateway-Outcome") != "success" {
		t.Errorf("%d %v %s", answer.Status, answer.Header, answer.Body)
	}
	if len(p.records) != 1 || p.acquired.Load() != 1 || p.received.Load() != 1 {
		t.Fatalf("%d records, %d credentials, %d requests, want one each", len(p.records), p.acquired.Load(), p.received.Load())
	}
	r := p.records[0]
	if r.ID != "01EXCHANGE" || r.Merchant != "shop" || !r.Admitted() || r.CredentialVersion != 1 || r.RequestID != "1001" || r.Amount != 150 ||
		r.ProviderID != "20261024pm103423000001" || r.ProviderStatus != 200 || r.Duration < r.ProviderDuration || r.ProviderDuration <= 0 {
		t.Errorf("record %+v", r)
	}
}

// TestRefusalsTakeNoCredential: whoever is refused costs no secret.
func TestRefusalsTakeNoCredential(t *testing.T) {
	p := newParts(t)
	stranger, elsewhere, nowhere, get, text := request("/api/bank/payout", payoutBody), request("/api/bank/payout", payoutBody),
		request("/api/bank/payout", payoutBody), request("/api/bank/payout", payoutBody), request("/api/bank/payout", payoutBody)
	stranger.Caller.Token = "npg_test_unknown"
	elsewhere.Caller.Source = netip.MustParseAddr("198.51.100.7")
	nowhere.Caller.Source = netip.Addr{}
	get.Method = http.MethodGet
	text.Header = http.Header{"Content-Type": {"text/plain"}}
	broken := request("/api/bank/payout", "")
	broken.Body = io.MultiReader(strings.NewReader(payoutBody[:20]), &failingReader{})
	for _, test := range []struct {
		code    Code
		request Request
	}{
		{Unauthenticated, stranger},
		{SourceNotAllowed, elsewhere},
		{SourceNotAllowed, nowhere},
		{OperationNotAllowed, request("/api/bank/register", "{}")},
		{OperationNotAllowed, request("/api/aeps/be", "")},
		{UnknownOperation, request("/api/no/such", "{}")},
		{NotFound, request("/", "")},
		{MethodNotAllowed, get},
		{UnsupportedMediaType, text},
		{BodyTooLarge, request("/api/bank/payout", payoutBody+strings.Repeat(" ", 4096))},
		{MalformedBody, request("/api/bank/payout", "[]")},
		{MalformedBody, broken},
		{CredentialInRequest, request("/api/bank/payout", `{"KEY":"x"}`)},
		{InvalidField, request("/api/bank/payout", "{}")},
		{AmountNotAllowed, request("/api/bank/payout", strings.Replace(payoutBody, "1.50", "5000.01", 1))},
		{AmountNotAllowed, request("/api/pan/managecoupon", `{"psaid":"1","type":"1","qty":"1","yourrequestid":"1"}`)},
	} {
		decided := len(p.records)
		answer := p.Exchange(t.Context(), test.request)
		if code := problemOf(answer); code != string(test.code) || answer.Status != problems[test.code].status {
			t.Errorf("%s: %d %s %s", test.code, answer.Status, code, answer.Body)
		}
		if len(p.records) != decided+1 || p.records[decided].Problem != test.code || p.records[decided].Rule == "" || p.records[decided].Outcome != "" {
			t.Errorf("%s: records %+v", test.code, p.records[decided:])
		}
	}
	if p.acquired.Load() != 0 || p.received.Load() != 0 {
		t.Errorf("%d credentials taken, %d requests sent, want none", p.acquired.Load(), p.received.Load())
	}
}

type failingReader struct{ panics any }

func (r *failingReader) Read([]byte) (int, error) {
	if r.panics != nil {
		panic(r.panics)
	}
	return 0, errors.New("connection reset")
}

// TestExplain: the same decision, and nothing else happens.
func TestExplain(t *testing.T) {
	p := newParts(t)
	allowed, unread := request("/api/bank/payout", payoutBody), request("/api/bank/payout", "")
	unread.Body = nil
	for _, test := range []struct {
		name    string
		request Request
		want    Code
	}{
		{"allowed", allowed, ""},
		{"without a body", unread, ""},
		{"bad body", request("/api/bank/payout", "{}"), InvalidField},
		{"denied", request("/api/bank/register", "{}"), OperationNotAllowed},
	} {
		record, problem := p.Explain(t.Context(), test.request)
		var code Code
		if problem != nil {
			code = problem.Code
		}
		if code != test.want || record.Rule == "" || record.Merchant != "shop" {
			t.Errorf("%s: %q, record %+v", test.name, code, record)
		}
	}
	if p.acquired.Load() != 0 || p.received.Load() != 0 || len(p.records) != 0 || p.log.Len() != 0 {
		t.Errorf("%d credentials taken, %d requests sent, %d records, log %q", p.acquired.Load(), p.received.Load(), len(p.records), p.log.String())
	}
}

// TestCancelledBeforehand: a merchant that is gone before anything was sent
// gets nothing sent.
func TestCancelledBeforehand(t *testing.T) {
	p := newParts(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	answer := p.Exchange(ctx, request("/api/bank/payout", payoutBody))
	if problemOf(answer) != "not-sent" || p.acquired.Load() != 0 || p.received.Load() != 0 || p.records[0].Outcome != nowpay.Unsent {
		t.Errorf("%s, %d credentials taken, %d requests sent, record %+v", problemOf(answer), p.acquired.Load(), p.received.Load(), p.records[0])
	}
}

// TestCancelledMeanwhile: what is under way is carried to its end.
func TestCancelledMeanwhile(t *testing.T) {
	for _, path := range []string{"/api/bank/payout", "/api/common/balance"} {
		p := newParts(t)
		ctx, cancel := context.WithCancel(t.Context())
		answer := *p.answer.Load()
		p.answers(func(w http.ResponseWriter, r *http.Request) {
			cancel()
			answer(w, r)
		})
		p.Exchange(ctx, request(path, payoutBody))
		if r := p.records[0]; r.Outcome != nowpay.Success || r.Err != nil {
			t.Errorf("%s: record %+v", path, r)
		}
	}
}

// signerFunc is a scheme.
type signerFunc func(signer.Request, *secret.Credential) (signer.Signed, error)

func (f signerFunc) Sign(_ context.Context, r signer.Request, c *secret.Credential) (signer.Signed, error) {
	return f(r, c)
}

// TestSigningFails: nothing is sent, and the credential is given back.
func TestSigningFails(t *testing.T) {
	p := newParts(t)
	var key secret.Value
	p.Accounts["main"] = Account{Secret: p, Sign: signerFunc(func(_ signer.Request, c *secret.Credential) (signer.Signed, error) {
		key = c.Key()
		return signer.Signed{}, signer.ErrEncoding
	})}
	answer := p.Exchange(t.Context(), request("/api/bank/payout", payoutBody))
	if problemOf(answer) != "not-sent" || p.received.Load() != 0 || p.records[0].Outcome != nowpay.Unsent {
		t.Errorf("%s, %d requests sent, record %+v", answer.Body, p.received.Load(), p.records[0])
	}
	if p.setCredential(t, 2); key.Reveal() != nil {
		t.Error("the credential was not given back")
	}
}

// TestPanics: a bug is answered as careful as an accident on the wire. What was
// perhaps sent is pending, nothing that a panic says is shown or logged, and
// the credential is given back.
func TestPanics(t *testing.T) {
	const transfer, query = "/api/bank/payout", "/api/common/balance"
	panics := func(signer.Request, *secret.Credential) (signer.Signed, error) { panic("signing with " + testKey) }
	for _, test := range []struct {
		name, path string
		prepare    func(*parts, *Request)
		status     int
		code       Code
		outcome    nowpay.Outcome
		received   int32
	}{
		{"reading the body", transfer, func(_ *parts, r *Request) {
			r.Body = &failingReader{panics: "body with " + testKey}
		}, 503, NotSent, nowpay.Unsent, 0},
		{"signing", transfer, func(p *parts, _ *Request) {
			p.Accounts["main"] = Account{Secret: p, Sign: signerFunc(panics)}
		}, 503, NotSent, nowpay.Unsent, 0},
		{"sending a payout", transfer, func(p *parts, _ *Request) { p.Egress = new(egress.Client) }, 200, "", nowpay.Unknown, 0},
		{"sending a query", query, func(p *parts, _ *Request) { p.Egress = new(egress.Client) }, 502, BadGateway, nowpay.Unknown, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := newParts(t)
			held, err := p.store.Acquire()
			if err != nil {
				t.Fatal(err)
			}
			key := held.Key()
			held.Release()
			r := request(test.path, payoutBody)
			test.prepare(p, &r)
			answer := p.Exchange(t.Context(), r)

			if answer.Status != test.status || problemOf(answer) != string(test.code) || answer.Header.Get("Nowpay-Gateway-Outcome") != string(test.outcome) {
				t.Errorf("got %d %q with outcome %q: %s", answer.Status, problemOf(answer), answer.Header.Get("Nowpay-Gateway-Outcome"), answer.Body)
			}
			if test.status == http.StatusOK {
				var body map[string]string
				if err := json.Unmarshal(answer.Body, &body); err != nil || body["success"] != "2" || body["yourrequestid"] != "1001" {
					t.Errorf("body %s: %v", answer.Body, err)
				}
			}
			if len(p.records) != 1 || p.records[0].Outcome != test.outcome {
				t.Errorf("records %+v", p.records)
			}
			if n := p.received.Load(); n != test.received {
				t.Errorf("requests that reached the provider: %d, want %d", n, test.received)
			}
			if log := p.log.String(); strings.Contains(log, testKey) || !strings.Contains(log, `"type":"`) || !strings.Contains(log, "steps.go") {
				t.Errorf("log of a panic: %s", log)
			}
			if strings.Contains(string(answer.Body), testKey) {
				t.Errorf("the answer holds the key: %s", answer.Body)
			}
			p.setCredential(t, 2)
			if key.Reveal() != nil {
				t.Error("the credential was not given back")
			}
		})
	}
}

// TestUnanswered: of an exchange that someone will have to settle with the
// provider, the record says from where it left and how long it took.
func TestUnanswered(t *testing.T) {
	p := newParts(t)
	p.answers(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	answer := p.Exchange(t.Context(), request("/api/bank/payout", payoutBody))
	r := p.records[0]
	if answer.Status != http.StatusOK || r.Outcome != nowpay.Unknown || p.received.Load() != 1 {
		t.Fatalf("%d with outcome %q, %d requests sent", answer.Status, r.Outcome, p.received.Load())
	}
	if r.EgressAddress != netip.MustParseAddr("127.0.0.1") || r.ProviderDuration <= 0 || r.ProviderDuration > r.Duration {
		t.Errorf("record: from %v, provider %v of %v", r.EgressAddress, r.ProviderDuration, r.Duration)
	}
}

// TestLeakedAnswerIsOverwritten: the copy with the key in it does not stay in
// memory, and what is passed on is another one.
func TestLeakedAnswerIsOverwritten(t *testing.T) {
	p := newParts(t)
	operation, _ := p.Catalogue.Lookup("bank/payout")
	x := &exchange{operation: operation, ownID: "1001", sent: integrity.Sent{Operation: operation, RequestID: "1001", Amount: 150}}
	leaked := []byte(strings.Replace(payoutDone, "Done", testKey, 1))
	response := integrity.Answer{Status: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}}, Body: leaked}
	answer, problem := p.check(x, response, secret.New([]byte(testKey)))
	if problem != nil || answer.Status != http.StatusOK || !strings.Contains(string(answer.Body), `"yourrequestid":"1001"`) {
		t.Fatalf("%d %s, problem %v", answer.Status, answer.Body, problem)
	}
	if strings.Trim(string(leaked), "\x00") != "" {
		t.Errorf("still in memory: %q", leaked)
	}
}
