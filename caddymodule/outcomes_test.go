package caddymodule_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/nowpay-gateway/nowpay-gateway/integrity"
	"github.com/nowpay-gateway/nowpay-gateway/internal/gatewaytest"
	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
	"github.com/nowpay-gateway/nowpay-gateway/simulator"
)

// rechargeBlock adds an operation that the provider does not document. Its
// answer calls the request ID otherwise than the request does.
const rechargeBlock = `
	operation recharge/dorecharge {
		moves_money
		field number digits
		field operatorid digits
		field amount amount
		field yourreqid text 50
		request_id yourreqid yourrequestid
		provider_id ourrequestid
		amount amount
		personal number
	}
`

// witness keeps the bodies of the simulator's answers.
type witness struct {
	mu   sync.Mutex
	last []byte
}

func (w *witness) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		copied := &copyingWriter{ResponseWriter: rw}
		defer func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.last = copied.body.Bytes()
		}()
		next.ServeHTTP(copied, r)
	})
}

// take gives the body of the last answer.
func (w *witness) take() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return string(w.last)
}

type copyingWriter struct {
	http.ResponseWriter
	body bytes.Buffer
}

func (w *copyingWriter) Write(p []byte) (int, error) {
	w.body.Write(p)
	return w.ResponseWriter.Write(p)
}

// Unwrap lets the simulator take over the connection.
func (w *copyingWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// ending is how an exchange ends for the merchant.
type ending struct {
	outcome   string
	integrity string
	status    int
	problem   string
	body      string
}

// Whose body the merchant gets.
const (
	theirs   = "theirs"   // the provider's, byte for byte
	scrubbed = "scrubbed" // the provider's, without the key
	ours     = "ours"     // in the provider's shape
)

// TestOutcomes is section 5 of the design for every fault: in an operation
// that moves money (payout), one that may cost a fee (upi_verify), and one that
// only asks (balance).
func TestOutcomes(t *testing.T) {
	var (
		success = ending{"success", "verified", http.StatusOK, "", theirs}
		failed  = ending{"failed", "verified", http.StatusOK, "", theirs}
		refused = ending{"refused", "verified", http.StatusOK, "", theirs}
		pending = ending{"pending", "verified", http.StatusOK, "", theirs}
		unclear = ending{"pending", "unverified", http.StatusOK, "", ours}
		unknown = ending{"unknown", "unverified", http.StatusOK, "", ours}
		cleaned = ending{"success", "unverified", http.StatusOK, "", scrubbed}
		headed  = ending{"success", "unverified", http.StatusOK, "", theirs}
		halved  = ending{"success", "unverified", http.StatusOK, "", ours}
		bad     = ending{"unknown", "unverified", http.StatusBadGateway, "bad-gateway", ""}
		late    = ending{"unknown", "unverified", http.StatusGatewayTimeout, "gateway-timeout", ""}
	)
	table := []struct {
		kind                    simulator.Kind
		payout, verify, balance ending
	}{
		{simulator.Success, success, success, success},
		{simulator.Failed, failed, failed, refused}, // a balance has no id, so nothing was created
		{simulator.Refused, refused, refused, refused},
		{simulator.Pending, pending, pending, pending},
		{simulator.PendingThenSuccess, pending, pending, pending},
		{simulator.PendingThenFailed, pending, pending, pending},
		{simulator.Ambiguous, unclear, success, pending}, // only transfers promise an rrn
		{simulator.FlippedFinal, success, success, success},

		{simulator.WrongKey, refused, refused, refused},
		{simulator.WrongIP, refused, refused, refused},
		{simulator.LowBalance, refused, refused, refused},
		{simulator.DuplicateRefused, success, success, success}, // it is none
		{simulator.DuplicateAccepted, success, success, success},

		{simulator.TimeoutBeforeDebit, unknown, late, late},
		{simulator.TimeoutAfterDebit, unknown, late, late},
		{simulator.ResetBefore, unknown, bad, bad},
		{simulator.ResetAfterDebit, unknown, bad, bad},
		{simulator.CloseAfterDebit, unknown, bad, bad},
		{simulator.KeepAliveDeath, success, success, success}, // the next one on the connection dies: replay_test.go
		{simulator.Slow, success, success, success},
		{simulator.Truncated, unknown, bad, bad},

		{simulator.HTTP500, unknown, bad, bad},
		{simulator.Redirect, unknown, bad, bad},
		{simulator.Redirect307, unknown, bad, bad},
		{simulator.Gzip, unknown, bad, bad},
		{simulator.WrongContentType, unknown, bad, bad},
		{simulator.ReservedHeaders, success, success, success},

		{simulator.JunkBeforeJSON, unknown, bad, bad},
		{simulator.HTMLWarning, unknown, bad, bad},
		{simulator.TooLarge, unknown, bad, bad},
		{simulator.DeepJSON, unknown, bad, bad},
		{simulator.DuplicateNames, unknown, bad, bad},
		{simulator.SuccessAsNumber, success, success, success},
		{simulator.UnknownSuccess, unknown, bad, bad},
		{simulator.IDCollision, success, success, success},
		{simulator.OtherID, unknown, bad, success},
		{simulator.OtherAmount, unknown, success, success},
		{simulator.NoProviderID, unknown, bad, success},
		{simulator.HistoryEmpty, success, success, success},
		{simulator.HistoryPrefix, success, success, success},
		{simulator.StatusContradicts, success, success, success},

		{simulator.KeyEcho, cleaned, bad, bad},
		{simulator.KeyEchoBase64, cleaned, bad, bad},
		{simulator.KeyEchoBase64URL, cleaned, bad, bad},
		{simulator.KeyEchoHex, cleaned, bad, bad},
		{simulator.KeyEchoURL, cleaned, bad, bad},
		{simulator.KeyEchoJSON, cleaned, bad, bad},
		{simulator.KeyEchoHeader, headed, bad, bad},
		{simulator.KeyEchoSplit, halved, bad, bad},
	}
	missing := slices.DeleteFunc(simulator.Kinds(), ofScheme)
	answers := new(witness)
	for _, hanging := range []bool{false, true} {
		options := gatewaytest.Options{Provider: answers.wrap}
		if hanging {
			options.Upstream = "timeout 1s"
		}
		g := gatewaytest.Start(t, options)
		for _, row := range table {
			if (row.balance == late) != hanging {
				continue
			}
			missing = slices.DeleteFunc(missing, func(kind simulator.Kind) bool { return kind == row.kind })
			id := strings.ReplaceAll(string(row.kind), "-", "")
			for _, test := range []struct {
				operation, id, body string
				want                ending
			}{
				{"bank/payout", id, gatewaytest.Payout(id, "12.30"), row.payout},
				{"bank/upi_verify", "v" + id, fmt.Sprintf(`{"beneficiaryVPA":"asha@bank","yourrequestid":%q}`, "v"+id), row.verify},
				{"common/balance", "", "{}", row.balance},
			} {
				t.Run(string(row.kind)+"/"+test.operation, func(t *testing.T) {
					g.Simulator.ClearFaults() // of KeepAliveDeath
					reached := len(g.Simulator.Requests())
					series := fmt.Sprintf(`nowpay_exchanges_total{merchant="shop",operation=%q,outcome=%q}`, test.operation, test.want.outcome)
					counted := g.Metric(series)
					answer := g.Must(call{Path: "/api/" + test.operation, Body: faulty(test.body, row.kind)})
					if n := len(g.Simulator.Requests()) - reached; n != 1 {
						t.Errorf("requests that reached the provider: %d, want 1", n)
					}
					if n := g.Metric(series) - counted; n != 1 {
						t.Errorf("%s moved by %v, want 1", series, n)
					}
					test.want.check(t, answer, answers.take(), test.id)
					test.want.checkRecord(t, g, answer)
				})
			}
		}
	}
	if len(missing) > 0 {
		t.Errorf("the table has no row for %v", missing)
	}
}

// ofScheme reports whether a fault is one of a signing scheme: those are in
// jwe_test.go and httpsig_test.go.
func ofScheme(kind simulator.Kind) bool {
	return strings.HasPrefix(string(kind), "jwe-") || strings.HasPrefix(string(kind), "signature-") || kind == simulator.DigestWrong
}

// faulty gives a body one more member, by which the simulator misbehaves.
func faulty(body string, kind simulator.Kind) string {
	if kind == simulator.Slow {
		kind += ":20ms"
	}
	member := `{"note":"sim:` + string(kind) + `"`
	if body == "{}" {
		return member + "}"
	}
	return member + "," + body[1:]
}

// check compares an answer with what the table promises; provider is what the
// provider answered.
func (want ending) check(t *testing.T, answer gatewaytest.Answer, provider, id string) {
	got := ending{
		answer.Outcome(), answer.Header.Get("Nowpay-Gateway-Integrity"), answer.StatusCode, answer.Problem(), want.body,
	}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	var body map[string]any
	if err := json.Unmarshal([]byte(answer.Body), &body); err != nil {
		t.Fatalf("body %q: %v", answer.Body, err)
	}
	switch want.body {
	case theirs:
		if answer.Body != provider {
			t.Errorf("the merchant got\n%s\nthe provider said\n%s", answer.Body, provider)
		}
	case scrubbed:
		if body["success"] != "1" || body["yourrequestid"] != id || body["message"] != "[removed]" {
			t.Errorf("scrubbed body: %s", answer.Body)
		}
	case ours:
		success := map[string]string{"success": "1", "pending": "2", "unknown": "2"}[want.outcome]
		checkOurs(t, answer, success, "yourrequestid", id)
	}
}

// checkOurs looks at an answer that the gateway wrote in the provider's shape.
func checkOurs(t *testing.T, answer gatewaytest.Answer, success, idField, id string) {
	t.Helper()
	var body map[string]string
	if err := json.Unmarshal([]byte(answer.Body), &body); err != nil {
		t.Fatalf("body %q: %v", answer.Body, err)
	}
	if answer.StatusCode != http.StatusOK || body["success"] != success || body["message"] == "" || body[idField] != id || id == "" {
		t.Errorf("%d %s, want success %q and %s %q", answer.StatusCode, answer.Body, success, idField, id)
	}
	if got := answer.Header.Get("Content-Type"); got != "application/json" {
		t.Errorf("Content-Type %q", got)
	}
	delete(body, "ourrequestid")
	if len(body) != 3 {
		t.Errorf("more than success, message and ids: %s", answer.Body)
	}
}

// checkRecord looks for the one decision record of the exchange.
func (want ending) checkRecord(t *testing.T, g *gatewaytest.Gateway, answer gatewaytest.Answer) {
	records := g.RecordsOf(answer.Header.Get("Nowpay-Gateway-Transaction"))
	if len(records) != 1 {
		t.Fatalf("decision records: %d, want 1", len(records))
	}
	level := "info"
	switch {
	case strings.Contains(fmt.Sprint(records[0]["findings"]), string(integrity.KeyLeak)):
		level = "error"
	case want.integrity == "unverified", want.outcome == "refused":
		level = "warn"
	}
	for name, value := range map[string]any{
		"level": level, "merchant": "shop", "allowed": true, "outcome": want.outcome, "integrity": want.integrity, "problem": want.problem,
	} {
		if records[0][name] != value {
			t.Errorf("record: %s is %v, want %v", name, records[0][name], value)
		}
	}
}

// TestKeyEchoes: whatever the provider makes of the key, it stays here, and
// somebody is told.
func TestKeyEchoes(t *testing.T) {
	g := gatewaytest.Start(t, gatewaytest.Options{})
	var said [][]byte
	for _, kind := range simulator.Kinds() {
		if !strings.HasPrefix(string(kind), "key-echo") {
			continue
		}
		for _, c := range []call{
			{Path: "/api/bank/payout", Body: faulty(gatewaytest.Payout(fmt.Sprintf("k%d", len(said)), "1.50"), kind)},
			{Path: "/api/common/balance", Body: faulty("{}", kind)},
		} {
			operation := strings.TrimPrefix(c.Path, "/api/")
			series := fmt.Sprintf(`nowpay_integrity_failures_total{kind="key-leak",operation=%q}`, operation)
			counted := g.Metric(series)
			answer := g.Must(c)
			if n := g.Metric(series) - counted; n != 1 {
				t.Errorf("%s of %s: %s moved by %v, want 1", kind, operation, series, n)
			}
			record := g.LastRecord()
			if record["level"] != "error" || fmt.Sprint(record["findings"]) != "[key-leak]" {
				t.Errorf("%s of %s: record %v", kind, operation, record)
			}
			said = append(said, []byte(answer.Body))
			for name, values := range answer.Header {
				said = append(said, []byte(name))
				for _, value := range values {
					said = append(said, []byte(value))
				}
			}
		}
	}
	said = append(said, []byte(g.Metrics()), g.Log())
	for _, text := range said {
		if integrity.FindLeak([]byte(gatewaytest.Key), text) {
			t.Errorf("the key is in %.500q", text)
		}
	}
	if integrity.FindLeak([]byte(gatewaytest.Key), said[:len(said)-2]...) {
		t.Error("the key is in the answers, in pieces")
	}
}

// TestProviderHeadersStayThere: the merchant gets our headers and the
// provider's media type.
func TestProviderHeadersStayThere(t *testing.T) {
	g := gatewaytest.Start(t, gatewaytest.Options{})
	for i, kind := range []simulator.Kind{simulator.ReservedHeaders, simulator.KeyEchoHeader, simulator.Redirect, simulator.HTTP500} {
		answer := g.Must(call{Body: faulty(gatewaytest.Payout(fmt.Sprintf("h%d", i), "1.50"), kind)})
		got := slices.Sorted(maps.Keys(answer.Header))
		want := []string{
			"Cache-Control", "Content-Length", "Content-Type", "Date", "Nowpay-Gateway-Integrity", "Nowpay-Gateway-Outcome",
			"Nowpay-Gateway-Transaction", "Server", "X-Content-Type-Options",
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: headers %v, want %v", kind, got, want)
		}
		id := answer.Header.Get("Nowpay-Gateway-Transaction")
		if id == "forged" || len(g.RecordsOf(id)) != 1 || answer.Header.Get("Content-Type") != "application/json" || answer.Header.Get("Server") != "Caddy" {
			t.Errorf("%s: header %v", kind, answer.Header)
		}
	}
}

// TestOtherShapes has the operations whose pending answer looks otherwise.
func TestOtherShapes(t *testing.T) {
	g := gatewaytest.Start(t, gatewaytest.Options{Nowpay: merchants + rechargeBlock})
	for _, test := range []struct {
		operation, id, body, success, idField string
	}{
		{"pan/managecoupon", "c1", `{"psaid":"PSA1","type":"1","qty":"2","yourrequestid":"c1"}`, "21", "yourrequestid"},
		{"recharge/dorecharge", "c2", `{"number":"9876543210","operatorid":"1","amount":"10","yourreqid":"c2"}`, "2", "yourrequestid"},
		{"bank/account_transfer", "c3", `{"snumber":"9876543210","beneficiaryid":"1","remitterid":"2","amount":"10","yourrequestid":"c3","transferMode":"NEFT"}`, "2", "yourrequestid"},
		{"bank/wallet_transfer", "c4", `{"beneficiaryPhoneNo":"9876543210","amount":"10","yourrequestid":"c4","transferMode":"AMAZON"}`, "2", "yourrequestid"},
	} {
		answer := g.Must(call{Token: agentToken, Path: "/api/" + test.operation, Body: faulty(test.body, simulator.CloseAfterDebit)})
		if answer.Outcome() != "unknown" {
			t.Errorf("%s: outcome %q, want unknown", test.operation, answer.Outcome())
		}
		checkOurs(t, answer, test.success, test.idField, test.id)
		if n := g.Simulator.Ledger().Executions[test.id]; n != 1 {
			t.Errorf("%s was executed %d times", test.operation, n)
		}
	}
}

// TestEveryOperation calls all that is documented, and one that is not, once.
func TestEveryOperation(t *testing.T) {
	answers := new(witness)
	g := gatewaytest.Start(t, gatewaytest.Options{Nowpay: merchants + rechargeBlock, Provider: answers.wrap})
	bodies := map[string]string{
		"common/balance":        `{}`,
		"recharge/heavyrefresh": `{"operatorid":"1","number":"123456"}`,
		"recharge/dorecharge":   `{"number":"9876543210","operatorid":"1","amount":"10","yourreqid":"r-1"}`,
		"bank/register":         `{"snumber":"9876543210","sname":"Asha","spincode":"110001","semail":"asha@example.com"}`,
		"bank/account_transfer": `{"snumber":"9876543210","beneficiaryid":"1","remitterid":"2","amount":"10.5","yourrequestid":"t1","transferMode":"NEFT"}`,
		"bank/payout":           gatewaytest.Payout("p1", "12.30"),
		"bank/upi_verify":       `{"beneficiaryVPA":"asha@bank","yourrequestid":"u1"}`,
		"bank/wallet_verify":    `{"beneficiaryPhoneNo":"9876543210","transferMode":"PAYTM","yourrequestid":"w1"}`,
		"bank/wallet_transfer":  `{"beneficiaryPhoneNo":"9876543210","amount":"1","yourrequestid":"l1","transferMode":"AMAZON"}`,
		"pan/managepsa":         `{"psaphonenumber":"9876543210","psaname":"Asha","yourrequestid":"e1","psaemailid":"a@example.com","panno":"AAAAA0000A","shopname":"Shop","location":"Pune","state":"27","pin":"411001"}`,
		"pan/managecoupon":      `{"psaid":"PSA1","type":"0","qty":"1","yourrequestid":"c1"}`,
		"aeps/aeps_auth":        `{"mobilenumber":"9876543210","aepsid":"A1","channel":"1"}`,
		"aeps/be":               "mobilenumber=9876543210&uid=999999990019&yourrequestid=b1&PidData=%3CPid%2F%3E",
		"aeps/ms":               "mobilenumber=9876543210&uid=999999990019&yourrequestid=m1",
	}
	try := func(operation, body string) {
		t.Helper()
		c := call{Token: agentToken, Path: "/api/" + operation, Body: body}
		sent := `{"username":"2000","key":"[redacted]",` + strings.TrimPrefix(body, "{")
		switch {
		case !strings.HasPrefix(body, "{"):
			c.Header = http.Header{"Content-Type": {formType}}
			sent = "username=2000&key=[redacted]&" + body
		case body == "{}":
			sent = `{"username":"2000","key":"[redacted]"}`
		}
		reached := len(g.Simulator.Requests())
		answer := g.Must(c)
		if answer.StatusCode != http.StatusOK || answer.Outcome() != "success" || answer.Body != answers.take() {
			t.Errorf("%s: %d %s %s", operation, answer.StatusCode, answer.Outcome(), answer.Body)
		}
		requests := g.Simulator.Requests()[reached:]
		if len(requests) != 1 {
			t.Fatalf("%s: requests that reached the provider: %d, want 1", operation, len(requests))
		}
		if r := requests[0]; r.Operation != operation || !r.KeyRight || r.Body != sent || r.Header.Get("Content-Type") != "application/json" && c.Header == nil {
			t.Errorf("%s: the provider saw %+v", operation, r)
		}
	}
	for _, operation := range nowpay.Documented() {
		if bodies[operation.Name] == "" && operation.Name != "pan/coupon_status" {
			t.Errorf("no request for %s", operation.Name)
		}
	}
	for operation, body := range bodies {
		try(operation, body)
	}
	coupons := g.Simulator.Ledger().Find("c1")
	if len(coupons) != 1 {
		t.Fatalf("coupon purchases: %v", coupons)
	}
	try("pan/coupon_status", fmt.Sprintf(`{"ourrequestid":%q}`, coupons[0].ProviderID))
	for id, n := range g.Simulator.Ledger().Executions {
		if n != 1 {
			t.Errorf("%s was executed %d times", id, n)
		}
	}
}

// TestNeverFailedByMistake is the first promise: no fault of the provider makes
// the gateway say that a transaction failed which the provider has booked.
func TestNeverFailedByMistake(t *testing.T) {
	g := gatewaytest.Start(t, gatewaytest.Options{Nowpay: merchants + rechargeBlock, Upstream: "timeout 1s"})
	client := g.Client("http/1.1")
	bodies := map[string]string{
		"bank/payout":           gatewaytest.Payout("ID", "12.30"),
		"bank/account_transfer": `{"snumber":"9876543210","beneficiaryid":"1","remitterid":"2","amount":"10.5","yourrequestid":"ID","transferMode":"NEFT"}`,
		"bank/wallet_transfer":  `{"beneficiaryPhoneNo":"9876543210","amount":"1","yourrequestid":"ID","transferMode":"AMAZON"}`,
		"pan/managecoupon":      `{"psaid":"PSA1","type":"0","qty":"1","yourrequestid":"ID"}`,
		"recharge/dorecharge":   `{"number":"9876543210","operatorid":"1","amount":"10","yourreqid":"ID"}`,
	}
	for _, kind := range simulator.Kinds() {
		for operation, body := range bodies {
			t.Run(string(kind)+"/"+operation, func(t *testing.T) {
				t.Parallel() // of the others, so that connections meet many fates
				id := strings.NewReplacer("-", "", "/", "", "_", "").Replace(string(kind) + operation)
				c := call{Token: agentToken, Path: "/api/" + operation, Body: faulty(strings.Replace(body, "ID", id, 1), kind)}
				answer, err := g.Do(client, g.URL, c)
				if err != nil {
					t.Fatal(err)
				}
				checkNotFailedByMistake(t, answer, g.Simulator.Ledger().Find(id))
			})
		}
	}
}

// checkNotFailedByMistake holds an answer against the provider's books.
func checkNotFailedByMistake(t *testing.T, answer gatewaytest.Answer, booked []simulator.Entry) {
	if answer.Problem() == "not-sent" && len(booked) == 0 {
		return // a machine so busy that not even the connection was there in time
	}
	var said struct {
		Success json.Number `json:"success"`
	}
	if err := json.Unmarshal([]byte(answer.Body), &said); err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("%d %s: %v", answer.StatusCode, answer.Body, err)
	}
	if len(booked) > 1 {
		t.Errorf("executed %d times", len(booked))
	}
	failed, paid := said.Success == "0" || said.Success == "19", said.Success == "1" || said.Success == "17"
	if failed && len(booked) > 0 && booked[0].State != simulator.StateFailed {
		t.Errorf("said %s, and the provider has booked %s", answer.Body, booked[0].State)
	}
	if paid && len(booked) == 0 {
		t.Errorf("said %s, and the provider has booked nothing", answer.Body)
	}
}

// TestMerchantHangsUp: what was sent is carried on to its end and recorded.
func TestMerchantHangsUp(t *testing.T) {
	g := gatewaytest.Start(t, gatewaytest.Options{})
	for protocol, base := range map[string]string{"http/1.1": g.URL, "h2": g.TLSURL} {
		t.Run(protocol, func(t *testing.T) {
			id := "hangup" + protocol[:2]
			reached := len(g.Simulator.Requests())
			ctx, cancel := context.WithCancel(t.Context())
			gone := make(chan error, 1)
			go func() {
				// Slow enough for a cancelled exchange to end before its answer.
				body := `{"note":"sim:slow:1s",` + gatewaytest.Payout(id, "12.30")[1:]
				_, err := g.DoContext(ctx, g.Client(protocol), base, call{Body: body})
				gone <- err
			}()
			gatewaytest.Eventually(t, "the request is at the provider", func() bool { return len(g.Simulator.Requests()) > reached })
			cancel()
			if err := <-gone; err == nil {
				t.Fatal("the merchant did not hang up")
			}
			gatewaytest.Eventually(t, "the exchange is recorded", func() bool { return len(g.RecordsOf(id)) > 0 })
			records := g.RecordsOf(id)
			if len(records) != 1 || records[0]["outcome"] != "success" || records[0]["integrity"] != "verified" {
				t.Errorf("records: %v", records)
			}
			if n := g.Simulator.Ledger().Executions[id]; n != 1 {
				t.Errorf("executions: %d, want 1", n)
			}
		})
	}
}
