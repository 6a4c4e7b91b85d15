package caddymodule_test

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/nowpay-gateway/nowpay-gateway/internal/gatewaytest"
	"github.com/nowpay-gateway/nowpay-gateway/simulator"
)

const webhookSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// merchantApp takes notifications, and checks each with the official library.
type merchantApp struct {
	server *httptest.Server
	answer http.HandlerFunc // after the check; nil: 204
	hook   atomic.Pointer[standardwebhooks.Webhook]

	mu  sync.Mutex
	got []notification
}

type notification struct {
	ID   string
	At   time.Time
	Type string `json:"type"`
	Data struct {
		transaction
		RequestID string `json:"request_id"`
	} `json:"data"`
}

func newMerchantApp(t *testing.T, answer http.HandlerFunc) *merchantApp {
	t.Helper()
	app := &merchantApp{answer: answer}
	app.know(t, webhookSecret)
	app.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			err = app.hook.Load().Verify(body, r.Header)
		}
		n := notification{ID: r.Header.Get("Webhook-Id"), At: time.Now()}
		if err == nil {
			err = json.Unmarshal(body, &n)
		}
		if err != nil {
			t.Errorf("a notification is not genuine: %v: %s", err, body)
		}
		app.mu.Lock()
		app.got = append(app.got, n)
		app.mu.Unlock()
		if app.answer != nil {
			app.answer(w, r)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	}))
	t.Cleanup(app.server.Close)
	return app
}

// know gives the app its secret.
func (a *merchantApp) know(t *testing.T, secret string) {
	t.Helper()
	hook, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		t.Fatal(err)
	}
	a.hook.Store(hook)
}

// notify is the line of the merchant.
func (a *merchantApp) notify(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "hook.secret")
	if err := os.WriteFile(file, []byte(webhookSecret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("notify %s/hook?app=shop {\nsecret_file %s\nprivate\n}", a.server.URL, file)
}

// told are the notifications of a request ID, in the order in which they came.
func (a *merchantApp) told(id string) (told []notification) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, n := range a.got {
		if n.Data.RequestID == id {
			told = append(told, n)
		}
	}
	return told
}

// startCallbacks starts a gateway that takes callbacks from the simulator, which
// sends them to it.
func startCallbacks(t *testing.T, o gatewaytest.Options) *gatewaytest.Gateway {
	t.Helper()
	if o.Callbacks == "" {
		o.Callbacks = "from " + gatewaytest.ProviderIP
	}
	g := gatewaytest.Start(t, o)
	target := simulator.CallbackTarget{URL: g.CallbackURL, From: netip.MustParseAddr(gatewaytest.ProviderIP)}
	if err := g.Simulator.SetCallback(target); err != nil {
		t.Fatal(err)
	}
	return g
}

// callBack sends a callback of one's own from an address, and returns its status.
func callBack(t *testing.T, g *gatewaytest.Gateway, from, body string) int {
	t.Helper()
	sent, err := g.Simulator.SendRaw(t.Context(), simulator.RawCallback{
		From: netip.MustParseAddr(from), ContentType: "application/json", Body: body,
	})
	if err != nil || sent.Error != "" {
		t.Fatalf("sending a callback: %v, %s", err, sent.Error)
	}
	return sent.Status
}

// envelope is a callback as it is reported.
func envelope(status, requestID, providerID string) string {
	return fmt.Sprintf(`{"status":%q,"statusMessage":"","result":{"paytmOrderId":%q,"orderId":%q,"rrn":"429910000777","beneficiaryName":"Asha Rao"}}`,
		status, providerID, requestID)
}

// pend makes a payout that stays pending.
func pend(t *testing.T, g *gatewaytest.Gateway, id string) simulator.Entry {
	t.Helper()
	if answer := g.Must(paid(id, "1.50", simulator.Pending)); answer.Outcome() != "pending" {
		t.Fatalf("%s: %s %s", id, answer.Outcome(), answer.Body)
	}
	return entry(t, g, id)
}

// worked waits until no callback waits any more.
func worked(t *testing.T, g *gatewaytest.Gateway) {
	t.Helper()
	gatewaytest.Eventually(t, "all callbacks to be worked off", func() bool { return g.Metric("nowpay_callbacks_waiting") == 0 })
}

// A callback has the provider asked; what its status says counts, and the merchant
// is told.
func TestCallbackAsks(t *testing.T) {
	gatewaytest.VerifyNoLeaks(t)
	app := newMerchantApp(t, nil)
	g := startCallbacks(t, gatewaytest.Options{
		Nowpay: asks(byRequestID, "pending"), Reconcile: "status_rate 100/1s",
		Shop: app.notify(t) + "\nrequest_id_prefix SH",
	})
	const recorded, delivered = `nowpay_callbacks_total{result="recorded"}`, `nowpay_notifications_total{merchant="shop",result="done"}`
	before := [2]float64{g.Metric(recorded), g.Metric(delivered)}
	for id, state := range map[string]simulator.State{"1001": simulator.StateSuccess, "1002": simulator.StateFailed} {
		answer := g.Must(paid(id, "1.50", simulator.Pending))
		if answer.Outcome() != "pending" {
			t.Fatalf("%s: %s", id, answer.Body)
		}
		if err := g.Simulator.SettlePending(entry(t, g, "SH"+id).ProviderID, state); err != nil {
			t.Fatal(err)
		}
		settled(t, g, id, string(state))
		gatewaytest.Eventually(t, "the notification", func() bool { return len(app.told(id)) > 0 })
		told := app.told(id)
		if len(told) != 1 || told[0].Type != "transaction."+string(state) || told[0].Data.State != string(state) ||
			!strings.HasPrefix(told[0].ID, "msg_") || told[0].Data.Transaction != answer.Header.Get("Nowpay-Gateway-Transaction") {
			t.Errorf("%s: told %+v", id, told)
		}
		executed(t, g, "SH"+id, 1)
	}
	worked(t, g)
	if n := g.Metric(recorded) - before[0]; n != 2 {
		t.Errorf("%v callbacks are counted", n)
	}
	gatewaytest.Eventually(t, "the count", func() bool { return g.Metric(delivered)-before[1] == 2 })
}

// Without a status operation a callback settles what is pending, if both ids are
// right, or is left to a person.
func TestCallbackSettles(t *testing.T) {
	for _, mode := range []string{"settle", "hint"} {
		t.Run(mode, func(t *testing.T) {
			app := newMerchantApp(t, nil)
			g := startCallbacks(t, gatewaytest.Options{Shop: app.notify(t), Callbacks: "from " + gatewaytest.ProviderIP + "\n" + mode})
			for id, state := range map[string]simulator.State{"1001": simulator.StateSuccess, "1002": simulator.StateFailed} {
				if err := g.Simulator.SettlePending(pend(t, g, id).ProviderID, state); err != nil {
					t.Fatal(err)
				}
				if mode == "hint" {
					gatewaytest.Eventually(t, "a person", func() bool { return look(t, g, id).NeedsPerson })
					if tx := look(t, g, id); tx.State != "pending" || len(app.told(id)) > 0 {
						t.Errorf("%s: %+v", id, tx)
					}
					continue
				}
				settled(t, g, id, string(state))
				tx := look(t, g, id)
				if last := tx.Events[len(tx.Events)-1]; last.Cause != "callback" || tx.Integrity != "unverified" {
					t.Errorf("%s: %s, %s", id, tx.timeline(), tx.Integrity)
				}
				if state == simulator.StateSuccess && tx.Reference == "" {
					t.Errorf("%s: no reference", id)
				}
				gatewaytest.Eventually(t, "the notification", func() bool { return len(app.told(id)) == 1 })
			}
		})
	}
}

// Every shape that Nowpay is reported to use is understood, also as a form and in
// a query, and one that the operator adds.
func TestCallbackShapes(t *testing.T) {
	g := startCallbacks(t, gatewaytest.Options{Nowpay: `callback_shape portal {
		request_id  data.mine
		provider_id data.theirs
		state       data.state
		reference   data.utr
		success     OK
		failed      NO
	}`})
	target := simulator.CallbackTarget{URL: g.CallbackURL, From: netip.MustParseAddr(gatewaytest.ProviderIP)}
	for _, shape := range []simulator.Shape{simulator.Envelope, simulator.Flat, simulator.FlatForm, simulator.FlatGet} {
		target.Shape = shape
		if err := g.Simulator.SetCallback(target); err != nil {
			t.Fatal(err)
		}
		for _, state := range []simulator.State{simulator.StateSuccess, simulator.StateFailed} {
			id := strings.ReplaceAll(string(shape), "-", "") + string(state)
			if err := g.Simulator.SettlePending(pend(t, g, id).ProviderID, state); err != nil {
				t.Fatal(err)
			}
			settled(t, g, id, string(state))
		}
	}
	provider := pend(t, g, "own").ProviderID
	callBack(t, g, gatewaytest.ProviderIP, fmt.Sprintf(`{"data":{"mine":"own","theirs":%q,"state":"ok","utr":"429910000778"}}`, provider))
	settled(t, g, "own", "success")
	if tx := look(t, g, "own"); tx.Reference != "429910000778" {
		t.Errorf("reference %q", tx.Reference)
	}
}

// A merchant has itself told once more, of its own transactions and of what is
// final, under the ID that it knows.
func TestNotifyOnDemand(t *testing.T) {
	app := newMerchantApp(t, nil)
	g := startCallbacks(t, gatewaytest.Options{Shop: app.notify(t)})
	ask := func(token, id string) (gatewaytest.Answer, bool, string) {
		t.Helper()
		answer := g.Must(gatewaytest.Call{Path: "/transactions/" + id + "/notify", Token: token})
		var said struct {
			Notified bool   `json:"notified"`
			Detail   string `json:"detail"`
		}
		if answer.StatusCode == http.StatusOK {
			if err := json.Unmarshal([]byte(answer.Body), &said); err != nil {
				t.Fatal(err)
			}
		}
		return answer, said.Notified, said.Detail
	}
	if answer := g.Must(gatewaytest.Call{Body: gatewaytest.Payout("1001", "1.50")}); answer.Outcome() != "success" {
		t.Fatal(answer.Body)
	}
	for times := 1; times <= 2; times++ {
		if answer, notified, _ := ask("", "1001"); !notified {
			t.Errorf("%d %s", answer.StatusCode, answer.Body)
		}
		gatewaytest.Eventually(t, "the notification", func() bool { return len(app.told("1001")) == times })
		gatewaytest.Eventually(t, "its end", func() bool { return g.Metric(`nowpay_notifications_waiting{merchant="shop"}`) == 0 })
	}
	if told := app.told("1001"); told[0].ID != told[1].ID || told[0].Type != "transaction.success" {
		t.Errorf("told %+v", told)
	}
	pend(t, g, "1002")
	if _, notified, detail := ask("", "1002"); notified || !strings.Contains(detail, "not final") {
		t.Errorf("of what is pending: %t, %s", notified, detail)
	}
	if answer, _, _ := ask(gatewaytest.KioskToken, "1001"); answer.Problem() != "not-found" {
		t.Errorf("of another merchant: %d %s", answer.StatusCode, answer.Body)
	}
	if answer, _, _ := ask("-", "1001"); answer.Problem() != "unauthenticated" {
		t.Errorf("of nobody: %d %s", answer.StatusCode, answer.Body)
	}
	if answer := g.Must(gatewaytest.Call{Method: http.MethodGet, Path: "/transactions/1001/notify"}); answer.Problem() != "method-not-allowed" {
		t.Errorf("with GET: %d %s", answer.StatusCode, answer.Body)
	}
}

// What is forged changes nothing, and is answered as what is genuine.
func TestCallbackForged(t *testing.T) {
	app := newMerchantApp(t, nil)
	g := startCallbacks(t, gatewaytest.Options{Shop: app.notify(t)})
	open := pend(t, g, "1001").ProviderID
	other := pend(t, g, "1002").ProviderID
	const refused = `nowpay_callbacks_total{result="refused"}`
	before := g.Metric(refused)
	done := g.Must(gatewaytest.Call{Body: gatewaytest.Payout("1003", "1.50")})
	if done.Outcome() != "success" {
		t.Fatal(done.Body)
	}
	for name, test := range map[string]struct{ from, body string }{
		"from another address":            {"127.0.0.66", envelope("SUCCESS", "1001", open)},
		"of another provider's id":        {"", envelope("SUCCESS", "1001", other)},
		"of no provider's id":             {"", envelope("SUCCESS", "1001", "")},
		"of an unknown request ID":        {"", envelope("SUCCESS", "1009", open)},
		"ids the wrong way round":         {"", envelope("SUCCESS", open, "1001")},
		"of another amount":               {"", fmt.Sprintf(`{"success":"1","yourrequestid":"1001","ourrequestid":%q,"amount":"15.00","rrn":"429910000777"}`, open)},
		"success without a reference":     {"", fmt.Sprintf(`{"success":"1","yourrequestid":"1002","ourrequestid":%q}`, other)},
		"a state that is none":            {"", envelope("DONE", "1001", open)},
		"junk":                            {"", `{"status":`},
		"twice the same name":             {"", `{"status":"FAILED","status":"SUCCESS","result":{"orderId":"1001","paytmOrderId":"` + open + `"}}`},
		"nothing":                         {"", ""},
		"failed, though it was a success": {"", envelope("FAILED", "1003", entry(t, g, "1003").ProviderID)},
	} {
		want := http.StatusOK
		if test.from == "" {
			test.from = gatewaytest.ProviderIP
		} else {
			want = http.StatusForbidden
		}
		if status := callBack(t, g, test.from, test.body); status != want {
			t.Errorf("%s: HTTP %d, want %d", name, status, want)
		}
	}
	worked(t, g)
	for id, want := range map[string]string{"1001": "pending", "1002": "pending", "1003": "success"} {
		if tx := look(t, g, id); tx.State != want || tx.Reversed != "" {
			t.Errorf("%s: %s, reversed %q, %s", id, tx.State, tx.Reversed, tx.timeline())
		}
		if told := app.told(id); len(told) > 0 {
			t.Errorf("%s: told %+v", id, told)
		}
	}
	if !look(t, g, "1003").NeedsPerson {
		t.Error("nobody is called because of the contradiction")
	}
	if n := g.Metric(refused) - before; n != 1 {
		t.Errorf("%v were refused", n)
	}
}

// A callback that comes a thousand times, a hundred at once, changes and tells
// once.
func TestCallbackFlood(t *testing.T) {
	app := newMerchantApp(t, nil)
	g := startCallbacks(t, gatewaytest.Options{Shop: app.notify(t), Nowpay: asks(byRequestID, "pending"), Reconcile: "status_rate 1000/1s"})
	misbehave(t, g, simulator.Fault{Kind: simulator.CallbackLost, Operation: "bank/payout"})
	id := pend(t, g, "1001").ProviderID
	if err := g.Simulator.SettlePending(id, simulator.StateSuccess); err != nil {
		t.Fatal(err)
	}
	client := g.ClientFrom("http/1.1", gatewaytest.ProviderIP)
	var senders sync.WaitGroup
	for range 100 {
		senders.Go(func() {
			for range 10 {
				answer, err := client.Post(g.CallbackURL, "application/json", strings.NewReader(envelope("SUCCESS", "1001", id)))
				if err != nil {
					t.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, answer.Body)
				answer.Body.Close()
				if answer.StatusCode != http.StatusOK {
					t.Errorf("HTTP %d", answer.StatusCode)
				}
			}
		})
	}
	senders.Wait()
	settled(t, g, "1001", "success")
	worked(t, g)
	gatewaytest.Eventually(t, "the notification", func() bool { return len(app.told("1001")) > 0 })
	if tx := look(t, g, "1001"); len(app.told("1001")) != 1 || strings.Count(tx.timeline(), "success") != 1 {
		t.Errorf("told %d times, %s", len(app.told("1001")), tx.timeline())
	}
	if n := statusCalls(g); n > 2 { // and one by the background
		t.Errorf("%d status calls", n)
	}
}

// A callback that overtakes the answer changes nothing before it.
func TestCallbackOvertakes(t *testing.T) {
	app := newMerchantApp(t, nil)
	g := startCallbacks(t, gatewaytest.Options{Shop: app.notify(t)})
	misbehave(t, g,
		simulator.Fault{Kind: simulator.CallbackBeforeAnswer, RequestID: "1001", Operation: "bank/payout"},
		simulator.Fault{Kind: simulator.PendingThenSuccess, RequestID: "1001", Operation: "bank/payout"})
	answer := g.Must(gatewaytest.Call{Body: gatewaytest.Payout("1001", "1.50")})
	if answer.Outcome() != "pending" || len(g.Simulator.Callbacks()) != 1 {
		t.Fatalf("%s %s, %d callbacks", answer.Outcome(), answer.Body, len(g.Simulator.Callbacks()))
	}
	settled(t, g, "1001", "success")
	worked(t, g)
	gatewaytest.Eventually(t, "the notification", func() bool { return len(app.told("1001")) > 0 })
	if tx := look(t, g, "1001"); tx.timeline() != "created by exchange, sent by exchange, pending by exchange, success by callback" || len(app.told("1001")) != 1 {
		t.Errorf("%s, told %+v", tx.timeline(), app.told("1001"))
	}
}

// Addresses count as Caddy resolves them: what a peer that is not trusted says of
// itself does not.
func TestCallbackSource(t *testing.T) {
	const trusting = "servers {\ntrusted_proxies static 127.0.0.20 127.0.0.21\ntrusted_proxies_strict\n}"
	for name, test := range map[string]struct {
		global, peer, forwarded string
		want                    int
	}{
		"Nowpay itself":                     {"", gatewaytest.ProviderIP, "", 200},
		"another":                           {"", "127.0.0.66", "", 403},
		"another, who says otherwise":       {"", "127.0.0.66", gatewaytest.ProviderIP, 403},
		"by a proxy":                        {trusting, "127.0.0.20", gatewaytest.ProviderIP, 200},
		"mapped, by a proxy":                {trusting, "127.0.0.20", "::ffff:" + gatewaytest.ProviderIP, 200},
		"by two proxies":                    {trusting, "127.0.0.20", gatewaytest.ProviderIP + ", 127.0.0.21", 200},
		"who invents a hop, by a proxy":     {trusting, "127.0.0.20", gatewaytest.ProviderIP + ", 127.0.0.66", 403},
		"another, though there are proxies": {trusting, "127.0.0.66", gatewaytest.ProviderIP, 403},
		"by a proxy that says nothing":      {trusting, "127.0.0.20", "", 403},
	} {
		t.Run(name, func(t *testing.T) {
			g := startCallbacks(t, gatewaytest.Options{Global: test.global})
			request, err := http.NewRequest("POST", g.CallbackURL, strings.NewReader(envelope("SUCCESS", "1", "2")))
			if err != nil {
				t.Fatal(err)
			}
			request.Header.Set("Content-Type", "application/json")
			if test.forwarded != "" {
				request.Header.Set("X-Forwarded-For", test.forwarded)
			}
			answer, err := g.ClientFrom("http/1.1", test.peer).Do(request)
			if err != nil {
				t.Fatal(err)
			}
			defer answer.Body.Close()
			body, _ := io.ReadAll(answer.Body)
			if answer.StatusCode != test.want || len(body) > 0 {
				t.Errorf("HTTP %d %q, want %d", answer.StatusCode, body, test.want)
			}
		})
	}
}

// The secret, in the path or a header, is needed as well, and can be rotated.
func TestCallbackSecret(t *testing.T) {
	file := filepath.Join(t.TempDir(), "callback.secret")
	write := func(lines ...string) {
		if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const first, second = "first-0123456789abcdef", "second-0123456789abcdef"
	for _, line := range []string{"secret_path " + file, "secret_header Nowpay-Token " + file} {
		write("# of the portal", first)
		g := startCallbacks(t, gatewaytest.Options{Callbacks: "from " + gatewaytest.ProviderIP + "\n" + line})
		client := g.ClientFrom("http/1.1", gatewaytest.ProviderIP)
		check := func(carried string, want int) {
			t.Helper()
			url, header := g.CallbackURL+"/"+carried, http.Header{}
			if strings.HasPrefix(line, "secret_header") {
				url = g.CallbackURL
				header.Set("Nowpay-Token", carried)
			}
			request, err := http.NewRequest("GET", url+"?status=1&yourrequestid=1&ourrequestid=2", nil)
			if err != nil {
				t.Fatal(err)
			}
			maps.Copy(request.Header, header)
			answer, err := client.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			answer.Body.Close()
			if answer.StatusCode != want {
				t.Errorf("%s with %q: HTTP %d, want %d", line, carried, answer.StatusCode, want)
			}
		}
		check(first, 200)
		check(second, 403)
		check("", 403)
		check("# of the portal", 403)
		write(second, first)
		check(first, 200)
		check(second, 200)
		write(second)
		check(first, 403)
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		check(second, 403)
	}
}
