package simulator_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/simulator"
)

// seen is what a fault looks like from outside.
type seen struct {
	answer answer
	err    error
}

// is checks an answer's success and message.
func is(success, message string) func(*testing.T, seen) {
	return func(t *testing.T, s seen) {
		t.Helper()
		if s.err != nil || s.answer.status != http.StatusOK || s.answer.text("success") != success || s.answer.text("message") != message {
			t.Errorf("got %v %d %s, want success %q and message %q", s.err, s.answer.status, s.answer.body, success, message)
		}
	}
}

// fails checks that the exchange ended with an error.
func fails(want error) func(*testing.T, seen) {
	return func(t *testing.T, s seen) {
		t.Helper()
		if !errors.Is(s.err, want) {
			t.Errorf("got %v (%s), want %v", s.err, s.answer.body, want)
		}
	}
}

// holds checks a text in the body.
func holds(texts ...string) func(*testing.T, seen) {
	return func(t *testing.T, s seen) {
		t.Helper()
		for _, text := range texts {
			if s.err != nil || !strings.Contains(s.answer.body, text) {
				t.Errorf("got %v %s, want %s in it", s.err, s.answer.body, text)
			}
		}
	}
}

// lacks checks that a member is absent from a success.
func lacks(names ...string) func(*testing.T, seen) {
	return func(t *testing.T, s seen) {
		t.Helper()
		for _, name := range names {
			if _, there := s.answer.json[name]; there || s.answer.text("success") != "1" {
				t.Errorf("got %s, want a success without %s", s.answer.body, name)
			}
		}
	}
}

// page checks status and a header.
func page(status int, name, value string) func(*testing.T, seen) {
	return func(t *testing.T, s seen) {
		t.Helper()
		if s.err != nil || s.answer.status != status || s.answer.header.Get(name) != value {
			t.Errorf("got %v %d %v, want status %d and %s %q", s.err, s.answer.status, s.answer.header, status, name, value)
		}
	}
}

func hexOf(s string) string { return hex.EncodeToString([]byte(s)) }

func percent(s string) string {
	var b strings.Builder
	for i := range len(s) {
		fmt.Fprintf(&b, "%%%02X", s[i])
	}
	return b.String()
}

func unicodeEscapes(s string) string {
	var b strings.Builder
	for _, r := range s {
		fmt.Fprintf(&b, `\u%04x`, r)
	}
	return b.String()
}

const (
	executed = 1
	nothing  = 0
	credited = -1 // executed, and the money is back
)

// wire says of each kind what a payout meets: on the wire, and in the books.
var wire = map[simulator.Kind]struct {
	books int
	check func(*testing.T, seen)
}{
	simulator.Success:            {executed, is("1", "Transaction Successful")},
	simulator.Failed:             {credited, is("0", "Transaction Failed")},
	simulator.Refused:            {nothing, is("0", "Service Not Assigned")},
	simulator.Pending:            {executed, is("2", "Transaction Pending")},
	simulator.PendingThenSuccess: {executed, is("2", "Transaction Pending")},
	simulator.PendingThenFailed:  {executed, is("2", "Transaction Pending")},
	simulator.Ambiguous:          {executed, lacks("rrn", "beneficiaryName")},
	simulator.FlippedFinal:       {credited, is("1", "Transaction Successful")},

	simulator.WrongKey:          {nothing, is("0", "Invalid Username Or Key")},
	simulator.WrongIP:           {nothing, is("0", "Invalid IP Address 127.0.0.10")},
	simulator.LowBalance:        {nothing, is("0", "Insufficient Balance")},
	simulator.DuplicateRefused:  {executed, is("1", "Transaction Successful")}, // the first
	simulator.DuplicateAccepted: {executed, is("1", "Transaction Successful")},

	simulator.TimeoutBeforeDebit: {nothing, fails(context.DeadlineExceeded)},
	simulator.TimeoutAfterDebit:  {executed, fails(context.DeadlineExceeded)},
	simulator.ResetBefore:        {nothing, fails(syscall.ECONNRESET)},
	simulator.ResetAfterDebit:    {executed, fails(syscall.ECONNRESET)},
	simulator.CloseAfterDebit:    {executed, fails(io.EOF)},
	simulator.KeepAliveDeath:     {executed, is("1", "Transaction Successful")}, // the first
	simulator.Slow:               {executed, is("1", "Transaction Successful")},
	simulator.Truncated:          {executed, fails(io.ErrUnexpectedEOF)},

	simulator.HTTP500:          {executed, page(http.StatusInternalServerError, "Content-Type", "text/html; charset=iso-8859-1")},
	simulator.Redirect:         {executed, page(http.StatusFound, "Location", "/elsewhere")},
	simulator.Redirect307:      {executed, page(http.StatusTemporaryRedirect, "Location", "/api/index.php?route=/api/bank/payout")},
	simulator.Gzip:             {executed, gunzips},
	simulator.WrongContentType: {executed, page(http.StatusOK, "Content-Type", "text/html; charset=UTF-8")},
	simulator.ReservedHeaders: {executed, func(t *testing.T, s seen) {
		page(http.StatusOK, "Nowpay-Gateway-Outcome", "success")(t, s)
		page(http.StatusOK, "Idempotent-Replayed", "true")(t, s)
		page(http.StatusOK, "Set-Cookie", "PHPSESSID=0123456789abcdef; path=/")(t, s)
	}},

	simulator.JunkBeforeJSON: {executed, holds(`{"accountnumber":"001122334455","name":"Asha Rao","email"`, `}{"success":"1"`)},
	simulator.HTMLWarning:    {executed, holds("<b>Warning</b>", "\n"+`{"success":"1"`)},
	simulator.TooLarge: {executed, func(t *testing.T, s seen) {
		if n := len(s.answer.body); n < 2<<20 || s.answer.text("success") != "1" || s.answer.header.Get("Content-Length") != "" {
			t.Errorf("%v, %d bytes, length announced: %q", s.err, n, s.answer.header.Get("Content-Length"))
		}
	}},
	simulator.DeepJSON:        {executed, holds(strings.Repeat("[", 100) + strings.Repeat("]", 100) + "}")},
	simulator.DuplicateNames:  {executed, holds(`{"success":"0","success":"1",`)},
	simulator.SuccessAsNumber: {executed, holds(`{"success":1,`)},
	simulator.UnknownSuccess:  {executed, is("7", "Transaction Successful")},
	simulator.IDCollision:     {executed, is("1", "Transaction Successful")}, // the first
	simulator.OtherID:         {executed, holds(`"yourrequestid":"a10"`)},
	simulator.OtherAmount:     {executed, holds(`"amount":"151.50"`)},
	simulator.NoProviderID:    {executed, lacks("ourrequestid")},
	simulator.HistoryEmpty:    {executed, is("1", "Transaction Successful")}, // no query, as the next two
	simulator.HistoryPrefix:   {executed, is("1", "Transaction Successful")},

	simulator.StatusContradicts: {executed, is("1", "Transaction Successful")},

	simulator.KeyEcho:          {executed, is("1", "Debug key="+key)},
	simulator.KeyEchoBase64:    {executed, is("1", "Debug "+base64.StdEncoding.EncodeToString([]byte(username+":"+key)))},
	simulator.KeyEchoBase64URL: {executed, is("1", "Debug "+base64.RawURLEncoding.EncodeToString([]byte(key)))},
	simulator.KeyEchoHex:       {executed, is("1", "Debug "+hexOf(key))},
	simulator.KeyEchoURL:       {executed, is("1", "Debug "+percent(key))},
	simulator.KeyEchoJSON:      {executed, holds(`"message":"Debug ` + unicodeEscapes(key) + `"`)},
	simulator.KeyEchoHeader:    {executed, page(http.StatusOK, "X-Debug", key)},
	simulator.KeyEchoSplit: {executed, func(t *testing.T, s seen) {
		if got := s.answer.header.Get("X-Debug-1") + s.answer.header.Get("X-Debug-2"); got != key {
			t.Errorf("headers hold %q", got)
		}
	}},

	// What they do with JWE is in jwe_test.go.
	simulator.JWEPlain:          {executed, is("1", "Transaction Successful")},
	simulator.JWEWrongKey:       {executed, is("1", "Transaction Successful")},
	simulator.JWEWrongAlgorithm: {executed, is("1", "Transaction Successful")},
	simulator.JWETampered:       {executed, is("1", "Transaction Successful")},

	// What they do with signatures is in signatures_test.go.
	simulator.SignatureMissing:        {executed, is("1", "Transaction Successful")},
	simulator.SignatureEmpty:          {executed, is("1", "Transaction Successful")},
	simulator.SignatureWrongKey:       {executed, is("1", "Transaction Successful")},
	simulator.SignatureUnknownKey:     {executed, is("1", "Transaction Successful")},
	simulator.SignatureWrongAlgorithm: {executed, is("1", "Transaction Successful")},
	simulator.SignatureStale:          {executed, is("1", "Transaction Successful")},
	simulator.SignatureUnbound:        {executed, is("1", "Transaction Successful")},
	simulator.SignatureReplayed:       {executed, is("1", "Transaction Successful")},
	simulator.DigestWrong:             {executed, is("1", "Transaction Successful")},
}

func gunzips(t *testing.T, s seen) {
	t.Helper()
	page(http.StatusOK, "Content-Encoding", "gzip")(t, s)
	z, err := gzip.NewReader(strings.NewReader(s.answer.body))
	if err != nil {
		t.Fatalf("body: %v", err)
	}
	text, err := io.ReadAll(z)
	if err != nil || !bytes.HasPrefix(text, []byte(`{"success":"1"`)) {
		t.Errorf("body: %s, %v", text, err)
	}
}

// TestWire: each fault over a real connection, added by the API and chosen by
// the request.
func TestWire(t *testing.T) {
	for _, kind := range simulator.Kinds() {
		for _, chosen := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s chosen %v", kind, chosen), func(t *testing.T) {
				want, ok := wire[kind]
				if !ok {
					t.Fatal("this kind is not in the table")
				}
				b := start(t)
				members := payout("a1")
				switch {
				case !chosen:
					b.fault(simulator.Fault{Kind: kind, Operation: "bank/payout", Delay: 20 * time.Millisecond})
				case kind == simulator.JunkBeforeJSON:
					members = members.with("note", "sim:"+string(kind))
				default:
					members = members.with("name", "sim:"+string(kind)+":20ms")
				}
				ctx := t.Context()
				if kind == simulator.TimeoutAfterDebit || kind == simulator.TimeoutBeforeDebit {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, 50*time.Millisecond)
					defer cancel()
				}
				var s seen
				s.answer, s.err = try(client(t, "127.0.0.10"), b.request("bank/payout", members).WithContext(ctx))
				want.check(t, s)
				if s.err == nil && s.answer.header.Get(simulator.Header) == "" {
					t.Error("the answer does not say that it is a simulator's")
				}
				checkBooks(t, b, kind, want.books)
			})
		}
	}
}

func checkBooks(t *testing.T, b *bench, kind simulator.Kind, want int) {
	t.Helper()
	l := b.Ledger()
	entries, balance := 1, 100_000_00-150_50
	switch want {
	case nothing:
		entries, balance = 0, 100_000_00
	case credited:
		balance = 100_000_00
	}
	if len(l.Entries) != entries || int(l.AEPSBalance) != balance || l.TradeBalance != 100_000_00 {
		t.Errorf("%d entries and %v in the wallet, want %d and %d paise", len(l.Entries), l.AEPSBalance, entries, balance)
	}
	if l.Executions["a1"] != entries {
		t.Errorf("executions %v, want %d", l.Executions, entries)
	}
	if r := b.Requests(); len(r) != 1 || r[0].Fault != kind || !r[0].KeyRight {
		t.Errorf("remembered %+v, want the fault in it", r)
	}
}

// TestEndings tells a reset from a close, and a hang from both, on the bytes.
func TestEndings(t *testing.T) {
	tests := []struct {
		kind simulator.Kind
		want error
	}{
		{simulator.ResetBefore, syscall.ECONNRESET},
		{simulator.ResetAfterDebit, syscall.ECONNRESET},
		{simulator.CloseAfterDebit, io.EOF},
		{simulator.TimeoutBeforeDebit, os.ErrDeadlineExceeded},
		{simulator.TimeoutAfterDebit, os.ErrDeadlineExceeded},
	}
	for _, tt := range tests {
		t.Run(string(tt.kind), func(t *testing.T) {
			b := start(t)
			b.fault(simulator.Fault{Kind: tt.kind})
			var d net.Dialer
			conn, err := d.DialContext(t.Context(), "tcp", b.host)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			if err := b.request("bank/payout", payout("a")).Write(conn); err != nil {
				t.Fatal(err)
			}
			_ = conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
			if n, err := conn.Read(make([]byte, 1)); n != 0 || !errors.Is(err, tt.want) {
				t.Errorf("read %d bytes and %v, want %v", n, err, tt.want)
			}
		})
	}
}

// TestKeepAliveDeath: the first request on the connection is answered, the
// second is executed and not answered. Another connection begins anew.
func TestKeepAliveDeath(t *testing.T) {
	b := start(t)
	b.fault(simulator.Fault{Kind: simulator.KeepAliveDeath, Times: 1})
	var d net.Dialer
	conn, err := d.DialContext(t.Context(), "tcp", b.host)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	reader := bufio.NewReader(conn)
	send := func(id string) error {
		r := b.request("bank/payout", payout(id))
		if err := r.Write(conn); err != nil {
			return err
		}
		resp, err := http.ReadResponse(reader, r)
		if err != nil {
			return err
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		return resp.Body.Close()
	}
	if err := send("a1"); err != nil {
		t.Errorf("the first request: %v", err)
	}
	if err := send("a2"); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("the second request: %v, want the end of the stream", err)
	}
	if a := b.call("bank/payout", payout("a3")); a.text("success") != "1" {
		t.Errorf("on another connection: %s", a.body)
	}
	if got := b.Ledger().Executions; got["a1"] != 1 || got["a2"] != 1 || got["a3"] != 1 {
		t.Errorf("executions %v, want each once", got)
	}
	r := b.Requests()
	if r[0].Remote != r[1].Remote || r[1].Remote == r[2].Remote {
		t.Error("the connections are not told apart")
	}
}

// TestKeepAliveDeathIsOver: a later connection from the same port is a new one.
func TestKeepAliveDeathIsOver(t *testing.T) {
	sim, err := simulator.New(simulator.Config{Username: username, Key: "0123456789abcdef"})
	if err != nil {
		t.Fatal(err)
	}
	if err := sim.AddFault(simulator.Fault{Kind: simulator.KeepAliveDeath, Times: 1}); err != nil {
		t.Fatal(err)
	}
	for range 3 { // all from the same peer, says httptest
		post(sim.Handler(), "bank/payout", "a", "1", "")
	}
	requests := sim.Requests()
	met := make([]simulator.Kind, 0, len(requests))
	for _, r := range requests {
		met = append(met, r.Fault)
	}
	if want := []simulator.Kind{simulator.KeepAliveDeath, simulator.KeepAliveDeath, ""}; !slices.Equal(met, want) {
		t.Errorf("faults %q, want %q", met, want)
	}
}

// TestTLS: a reset is one beneath TLS too.
func TestTLS(t *testing.T) {
	b := start(t)
	server := httptest.NewTLSServer(b.Handler())
	defer server.Close()
	for kind, want := range map[simulator.Kind]error{
		simulator.ResetAfterDebit: syscall.ECONNRESET, simulator.CloseAfterDebit: io.EOF,
	} {
		r := b.request("bank/payout", payout("a").with("name", "sim:"+string(kind)))
		r.URL.Scheme, r.URL.Host = "https", server.Listener.Addr().String()
		if _, err := try(server.Client(), r); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", kind, err, want)
		}
	}
}

// TestHTTP2: where the connection is shared, the stream is aborted.
func TestHTTP2(t *testing.T) {
	tr := &http.Transport{Protocols: new(http.Protocols)}
	tr.Protocols.SetUnencryptedHTTP2(true)
	defer tr.CloseIdleConnections()
	b := start(t)
	for _, kind := range []simulator.Kind{simulator.ResetAfterDebit, simulator.CloseAfterDebit, simulator.Truncated} {
		a, err := try(&http.Client{Transport: tr}, b.request("bank/payout", payout("a").with("name", "sim:"+string(kind))))
		if err == nil || !strings.Contains(err.Error(), "stream error") {
			t.Errorf("%s: %v %v, want a stream error", kind, a, err)
		}
	}
	if n := b.Ledger().Executions["a"]; n != 3 {
		t.Errorf("executed %d times, want 3", n)
	}
	if p := b.Requests()[0].Proto; p != "HTTP/2.0" {
		t.Errorf("remembered as %s", p)
	}
}

// TestDuplicates: paid twice by default, refused where asked for; either can be
// had for a single request.
func TestDuplicates(t *testing.T) {
	for _, refuse := range []bool{false, true} {
		b := start(t, func(c *simulator.Config) { c.RefuseDuplicates = refuse })
		b.call("bank/payout", payout("a"))
		want := "1"
		if refuse {
			want = "0"
		}
		if a := b.call("bank/payout", payout("a")); a.text("success") != want {
			t.Errorf("refuse %v: %s", refuse, a.body)
		}
		if a := b.call("bank/payout", payout("a").with("name", "sim:duplicate-refused")); a.text("message") != "Duplicate Request Id" {
			t.Errorf("refuse %v, duplicate-refused: %s", refuse, a.body)
		}
		if a := b.call("bank/payout", payout("a").with("name", "sim:duplicate-accepted")); a.text("success") != "1" {
			t.Errorf("refuse %v, duplicate-accepted: %s", refuse, a.body)
		}
		found := b.Ledger().Find("a")
		if last := found[len(found)-1]; last.Execution != len(found) {
			t.Errorf("refuse %v: the last is execution %d of %d", refuse, last.Execution, len(found))
		}
	}
}

// TestIDCollision: two transactions under one id.
func TestIDCollision(t *testing.T) {
	b := start(t)
	first := b.call("bank/payout", payout("a")).text("ourrequestid")
	second := b.call("bank/payout", payout("b").with("name", "sim:id-collision")).text("ourrequestid")
	third := b.call("bank/payout", payout("c")).text("ourrequestid")
	if first != second || second == third {
		t.Errorf("ids %s, %s, %s: want the first two equal", first, second, third)
	}
}

// TestChoice: which request meets which fault.
func TestChoice(t *testing.T) {
	b := start(t)
	b.fault(simulator.Fault{Kind: simulator.Success, RequestID: "spared"})
	b.fault(simulator.Fault{Kind: simulator.Failed, RequestID: "a", Times: 2})
	b.fault(simulator.Fault{Kind: simulator.Refused, Operation: "common/balance"})
	b.fault(simulator.Fault{Kind: simulator.Pending, Operation: "bank/payout"})
	for _, tt := range []struct{ operation, id, want string }{
		{"bank/payout", "spared", "1"},
		{"bank/payout", "a", "0"},
		{"bank/payout", "b", "2"},
		{"bank/payout", "a", "0"},
		{"bank/payout", "a", "2"},
		{"common/balance", "", "0"},
		{"bank/upi_verify", "b", "1"},
	} {
		members := payout(tt.id).with("beneficiaryVPA", "a@upi")
		if a := b.call(tt.operation, members); a.text("success") != tt.want {
			t.Errorf("%s %s: success %q, want %s", tt.operation, tt.id, a.text("success"), tt.want)
		}
	}
	if left := b.Faults(); len(left) != 3 {
		t.Errorf("faults left: %+v, want 3", left)
	}
	b.ClearFaults()
	if a := b.call("bank/payout", payout("b")); a.text("success") != "1" || len(b.Faults()) != 0 {
		t.Errorf("after ClearFaults: %s", a.body)
	}
}

func TestAddFaultRefuses(t *testing.T) {
	b := start(t)
	for _, f := range []simulator.Fault{
		{},
		{Kind: "nonsense"},
		{Kind: simulator.Failed, Times: -1},
		{Kind: simulator.Failed, Probability: 1.1},
		{Kind: simulator.Failed, Probability: -0.1},
		{Kind: simulator.Slow, Delay: -1},
		{Kind: simulator.CallbackRepeated, Copies: -1},
		{Kind: simulator.CallbackRepeated, Copies: 101},
		{Kind: simulator.CallbackSent, Copies: 2},
		{Kind: simulator.CallbackSent, From: netip.MustParseAddr("127.0.0.1")},
		{Kind: simulator.CallbackSent, Shape: "xml"},
		{Kind: simulator.Slow, Shape: simulator.Flat},
	} {
		if err := b.AddFault(f); err == nil {
			t.Errorf("AddFault(%+v) = nil, want an error", f)
		}
	}
	if len(b.Faults()) != 0 {
		t.Error("a wrong fault was added")
	}
}

// TestClose: a request that hangs or waits ends with the simulator, and what
// comes later does not begin to hang.
func TestClose(t *testing.T) {
	for _, fault := range []simulator.Fault{
		{Kind: simulator.TimeoutAfterDebit}, {Kind: simulator.TimeoutBeforeDebit}, {Kind: simulator.Slow, Delay: time.Hour},
	} {
		t.Run(string(fault.Kind), func(t *testing.T) {
			arrived := make(chan struct{}, 100)
			b := start(t, func(c *simulator.Config) {
				now := c.Now
				c.Now = func() time.Time { arrived <- struct{}{}; return now() }
			})
			b.fault(fault)
			result := make(chan error, 1)
			go func() {
				_, err := try(client(t, "127.0.0.10"), b.request("bank/payout", payout("a")))
				result <- err
			}()
			<-arrived
			b.Close()
			b.Close()
			if err := <-result; !errors.Is(err, io.EOF) {
				t.Errorf("the request that hung: %v, want its connection closed", err)
			}
			if _, err := try(client(t, "127.0.0.10"), b.request("bank/payout", payout("b"))); !errors.Is(err, io.EOF) {
				t.Errorf("a later request: %v, want its connection closed", err)
			}
		})
	}
}

// TestEveryKindIsDocumented: in the package's documentation, and in the order
// of Kinds and CallbackKinds.
func TestEveryKindIsDocumented(t *testing.T) {
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(doc), "//\tkind ")
	rest := table
	for _, kind := range append(simulator.Kinds(), simulator.CallbackKinds()...) {
		var found bool
		if _, rest, found = strings.Cut(rest, "\n//\t"+string(kind)+" "); !found {
			t.Errorf("%s is not in the table of doc.go, or not in its place", kind)
			rest = table
		}
		rest = "\n" + strings.TrimLeft(rest, "\n")
		if kind.Doc() == "" {
			t.Errorf("%s has no Doc", kind)
		}
	}
	if len(wire) != len(simulator.Kinds()) || len(callbackWire) != len(simulator.CallbackKinds()) {
		t.Errorf("the tables of tests have %d and %d kinds, there are %d and %d",
			len(wire), len(callbackWire), len(simulator.Kinds()), len(simulator.CallbackKinds()))
	}
	if simulator.Kind("nonsense").Doc() != "" {
		t.Error("an unknown kind has a Doc")
	}
}

func TestFaultJSON(t *testing.T) {
	want := simulator.Fault{Kind: simulator.Slow, Operation: "bank/payout", RequestID: "a", Times: 2, Probability: 0.5, Delay: 3 * time.Second}
	text, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	if s := string(text); s != `{"kind":"slow","operation":"bank/payout","request_id":"a","times":2,"probability":0.5,"delay":"3s"}` {
		t.Errorf("written as %s", s)
	}
	var got simulator.Fault
	if err := json.Unmarshal(text, &got); err != nil || got != want {
		t.Errorf("read as %+v, %v", got, err)
	}
	want = simulator.Fault{Kind: simulator.CallbackWrongSource, Copies: 2, From: netip.MustParseAddr("127.0.0.9"), Shape: simulator.FlatGet}
	text, err = json.Marshal(want)
	if s := string(text); err != nil || s != `{"kind":"callback-wrong-source","copies":2,"from":"127.0.0.9","shape":"flat-get"}` {
		t.Errorf("written as %s, %v", s, err)
	}
	if err := json.Unmarshal(text, &got); err != nil || got != want {
		t.Errorf("read as %+v, %v", got, err)
	}
	for _, bad := range []string{`{"kind":"slow","delay":"3"}`, `{"kind":"slow","dleay":"3s"}`, `[]`} {
		if err := json.Unmarshal([]byte(bad), &got); err == nil {
			t.Errorf("%s was read", bad)
		}
	}
}
