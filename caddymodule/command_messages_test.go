package caddymodule_test

import (
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/nowpay-gateway/nowpay-gateway/callback/notify"
	"github.com/nowpay-gateway/nowpay-gateway/internal/gatewaytest"
)

// posted is a gateway whose merchant was told of w1, and in vain of 1002, and that
// got two callbacks of 1001 and one that is junk.
type posted struct {
	*operator
	app    *merchantApp
	status *atomic.Int64 // what the merchant answers
	waits  string        // the notification of 1002, without msg_
	done   string        // and that of w1
}

const (
	junkCallback = `{"beneficiary":"Asha Rao"`
	bankInPost   = "429910000777" // in the envelope: the bank's reference
)

// shownMessage is what the tests look at.
type shownMessage struct {
	Message     string `json:"message"`
	Box         string `json:"box"`
	Merchant    string `json:"merchant"`
	Account     string `json:"account"`
	Transaction string `json:"transaction"`
	Kind        string `json:"kind"`
	Shape       string `json:"shape"`
	State       string `json:"state"`
	Note        string `json:"note"`
	Tries       int    `json:"tries"`
	Received    int    `json:"received"`
	Content     *struct {
		Method      string `json:"method"`
		ContentType string `json:"content_type"`
		Body        string `json:"body"`
		Bytes       []byte `json:"bytes"`
	} `json:"content"`
}

func withMessages(t *testing.T) *posted {
	t.Helper()
	p := &posted{status: new(atomic.Int64)}
	p.app = newMerchantApp(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(int(p.status.Load())) })
	g := withTransactions(t, gatewaytest.Options{Shop: p.app.notify(t), Callbacks: "from " + gatewaytest.ProviderIP})
	p.operator = &operator{Gateway: g, t: t, way: "asking", config: write(t, "Caddyfile", g.Caddyfile)}
	sent := envelope("SUCCESS", "1001", p.find("1001").ProviderID)
	for _, body := range []string{sent, sent, junkCallback} {
		p.callIn(body)
	}
	worked(t, g)
	p.status.Store(http.StatusNoContent)
	p.done = p.settled("w1", "done")
	p.status.Store(http.StatusServiceUnavailable)
	p.waits = p.settled("1002", "waiting")
	return p
}

// callIn calls back as the provider does.
func (p *posted) callIn(body string) {
	p.t.Helper()
	answer, err := p.ClientFrom("http/1.1", gatewaytest.ProviderIP).Post(p.CallbackURL, "application/json", strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		p.t.Fatalf("a callback was answered with %s", answer.Status)
	}
}

// settled settles a transaction by hand, and waits until its notification was tried
// and is in a state. It returns the notification's ID.
func (p *posted) settled(requestID, state string) string {
	p.t.Helper()
	id := p.find(requestID).Transaction
	p.must("settle", id, "--state", "failed", "--reason", "not in the statement")
	var found []shownMessage
	gatewaytest.Eventually(p.t, "the notification of "+requestID, func() bool {
		p.decodeNowpay(&found, "notifications", "list", "--transaction", id)
		return len(found) == 1 && found[0].State == state && found[0].Tries > 0
	})
	return strings.TrimPrefix(found[0].Message, "msg_")
}

// shows is one message.
func (p *posted) shows(args ...string) (m shownMessage) {
	p.t.Helper()
	p.decodeNowpay(&m, args...)
	return m
}

// TestMessageCommands: they do the same in a running gateway and beside a stopped
// one.
func TestMessageCommands(t *testing.T) {
	for name, start := range map[string]func(*testing.T, *posted){
		"running": func(*testing.T, *posted) {},
		"stopped": func(t *testing.T, p *posted) {
			if code := asProcess(t, p.Gateway).signal(syscall.SIGTERM); code != 0 {
				t.Fatalf("exit code %d", code)
			}
			p.config, p.way = write(t, "Caddyfile", p.Caddyfile), "no running gateway is reached"
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := withMessages(t)
			start(t, p)
			for _, part := range []struct {
				name string
				run  func(*posted)
			}{
				{"list", testListMessages},
				{"show", testShowMessage},
				{"callbacks", testListCallbacks},
				{"body", testCallbackBody},
				{"errors", testMessageErrors},
				{"drop", testDropMessage},
				{"replay", testReplayMessage},
				{"send-test", testSendTest}, // last: meanwhile the merchant takes what waits
			} {
				t.Run(part.name, func(t *testing.T) { p.t = t; part.run(p) })
			}
		})
	}
}

func testListMessages(p *posted) {
	r := p.nowpay("notifications", "list")
	r.mustSay(p.t, 0, p.way)
	lines := strings.Split(strings.TrimSpace(r.stdout), "\n")
	if len(lines) != 3 || !strings.HasPrefix(lines[0], "TIME  ") {
		p.t.Fatalf("table:\n%s", r.stdout)
	}
	if fields := strings.Fields(lines[2]); !slices.Equal(fields[1:7], []string{"msg_" + p.done, "shop", p.find("w1").Transaction, "failed", "done", "1"}) ||
		!strings.HasSuffix(lines[2], "  HTTP 204") {
		p.t.Errorf("line %q", lines[2])
	}
	if fields := strings.Fields(lines[1]); fields[5] != "waiting" || !strings.HasPrefix(fields[7], "20") || !strings.HasSuffix(lines[1], "  HTTP 503") {
		p.t.Errorf("line %q", lines[1])
	}
	for args, want := range map[string][]string{
		"":                                {p.waits, p.done},
		"--state done":                    {p.done},
		"--state waiting --merchant shop": {p.waits},
		"--merchant kiosk":                {},
		"--limit 1":                       {p.waits},
		"--limit 0":                       {p.waits, p.done},
		"--transaction " + p.find("1002").Transaction: {p.waits},
		"--transaction none":                          {},
	} {
		var found []shownMessage
		p.decodeNowpay(&found, append([]string{"notifications", "list"}, strings.Fields(args)...)...)
		ids := []string{}
		for _, m := range found {
			ids = append(ids, strings.TrimPrefix(m.Message, "msg_"))
		}
		if !slices.Equal(ids, want) || found == nil {
			p.t.Errorf("list %s: %v, want %v", args, found, want)
		}
	}
	p.nowpay("notifications", "list", "--limit", "1").mustSay(p.t, 0, "there may be more than these 1")
}

func testShowMessage(p *posted) {
	for _, id := range []string{p.done, "msg_" + p.done} {
		m := p.shows("notifications", "show", id)
		want := shownMessage{
			Message: "msg_" + p.done, Box: "out", Merchant: "shop", Transaction: p.find("w1").Transaction, Kind: "failed", State: "done", Note: "HTTP 204", Tries: 1,
		}
		if m != want {
			p.t.Errorf("%s: %+v, want %+v", id, m, want)
		}
	}
	p.nowpay("notifications", "show", p.waits).mustSay(p.t, 0, "notification   msg_"+p.waits+"\nstate          waiting\n", "merchant       shop\n", "next try       20")
}

func testListCallbacks(p *posted) {
	r := p.nowpay("callbacks", "list")
	r.mustSay(p.t, 0, p.way)
	lines := strings.Split(strings.TrimSpace(r.stdout), "\n")
	if len(lines) != 3 || !strings.HasPrefix(lines[0], "FIRST RECEIVED  ") || strings.Contains(r.stdout, "Asha") || strings.Contains(r.stdout, bankInPost) {
		p.t.Fatalf("table:\n%s", r.stdout)
	}
	if fields := strings.Fields(lines[1]); !slices.Equal(fields[2:7], []string{"-", "-", "unreadable", "dead", "1"}) {
		p.t.Errorf("junk: %q", lines[1])
	}
	if fields := strings.Fields(lines[2]); !slices.Equal(fields[2:7], []string{"main", p.find("1001").Transaction, "envelope", "done", "2"}) ||
		!strings.HasSuffix(lines[2], "  it says what is known") {
		p.t.Errorf("callback: %q", lines[2])
	}
	for args, want := range map[string]string{
		"--account main": "done", "--state dead": "dead", "--limit 1": "dead", "--transaction " + p.find("1001").Transaction: "done",
	} {
		var found []shownMessage
		p.decodeNowpay(&found, append([]string{"callbacks", "list"}, strings.Fields(args)...)...)
		if len(found) != 1 || found[0].State != want || found[0].Box != "in" {
			p.t.Errorf("list %s: %+v", args, found)
		}
	}
}

// testCallbackBody: what tells something about a person is shown to who asks for it
// alone.
func testCallbackBody(p *posted) {
	var found []shownMessage
	p.decodeNowpay(&found, "callbacks", "list")
	for i, want := range []string{junkCallback, envelope("SUCCESS", "1001", p.find("1001").ProviderID)} {
		id := found[i].Message
		for _, format := range []string{"text", "json"} {
			r := p.nowpay("callbacks", "show", id, "--format", format)
			r.mustSay(p.t, 0, id)
			if strings.Contains(r.stdout, "Asha Rao") || strings.Contains(r.stdout, "content") {
				p.t.Errorf("without --body it shows\n%s", r.stdout)
			}
		}
		p.nowpay("callbacks", "show", id, "--body").mustSay(p.t, 0, "method         POST\n", "content type   application/json\n", "body           "+want+"\n")
		if m := p.shows("callbacks", "show", id, "--body"); m.Content == nil || m.Content.Body != want || m.Content.ContentType != "application/json" {
			p.t.Errorf("content %+v, want %s", m.Content, want)
		}
	}
}

func testMessageErrors(p *posted) {
	for args, says := range map[string]string{
		"notifications show none":                           "there is no such message",
		"notifications show":                                "it takes exactly one argument: the ID of a notification",
		"notifications show msg_":                           "an ID is empty",
		"notifications show cb_00":                          "`caddy nowpay callbacks` is about those",
		"notifications show " + p.done + " --body":          "unknown flag: --body",
		"notifications list --state Dead":                   `--state: there is no state "Dead"`,
		"notifications list --merchant=":                    "--merchant: has no value",
		"notifications list --account main":                 "unknown flag: --account",
		"notifications list --limit -1":                     "--limit: must not be negative",
		"notifications list --format csv":                   "--format: must be table or json",
		"notifications list surplus":                        "unknown command",
		"notifications replay":                              "it takes either IDs of notifications or --merchant",
		"notifications replay " + p.done + " --merchant x":  "it takes either IDs of notifications or --merchant",
		"notifications replay " + p.done + " --state dead":  "--state: belongs to --merchant",
		"notifications replay --merchant shop --state Dead": "there is no state",
		"notifications replay cb_00":                        "`caddy nowpay callbacks` is about those",
		"notifications replay none":                         "changing none, which ends this: there is no such message",
		"notifications drop --reason so":                    "requires at least 1 arg",
		"notifications drop " + p.waits:                     `required flag(s) "reason" not set`,
		"notifications drop " + p.waits + " --reason=":      "it takes a reason",
		"notifications drop none --reason so":               "there is no such message",
		"notifications send-test":                           `required flag(s) "merchant" not set`,
		"notifications send-test --merchant=":               "--merchant: has no value",
		"notifications send-test --merchant kiosk":          `the merchant has no notify URL: "kiosk"`,
		"callbacks show none":                               "none is no callback, whose ID begins with cb_",
		"callbacks show cb_00":                              "there is no such message",
		"callbacks list --merchant shop":                    "unknown flag: --merchant",
	} {
		p.nowpay(strings.Fields(args)...).mustSay(p.t, 1, says)
	}
	for _, reason := range []string{"so\nand so", strings.Repeat("x", 201), " "} {
		p.nowpay("notifications", "drop", p.waits, "--reason", reason).mustSay(p.t, 1, "it takes a reason, in one line of at most 200 bytes")
	}
	if m := p.shows("notifications", "show", p.waits); m.State != "waiting" || m.Note != "HTTP 503" {
		p.t.Errorf("it became %+v", m)
	}
}

func testSendTest(p *posted) {
	for status, code := range map[int64]int{204: 0, 503: 1} {
		p.status.Store(status)
		r := p.nowpay("notifications", "send-test", "--merchant", "shop")
		if r.mustSay(p.t, code); r.stdout != fmt.Sprintf("HTTP %d\n", status) {
			p.t.Errorf("it prints %q", r.stdout)
		}
	}
	if told := p.app.told("TEST"); len(told) != 2 || told[0].Type != "transaction.test" || told[0].ID == told[1].ID {
		p.t.Errorf("told %+v", told)
	}
}

func testDropMessage(p *posted) {
	const reason = "the shop has closed, for ever"
	p.nowpay("notifications", "drop", p.done, p.waits, "--reason", reason).
		mustSay(p.t, 1, "notifications dropped: 0 of 2", "only a message that waits, or is dead, can be dropped: it is done")
	if m := p.shows("notifications", "show", p.waits); m.State != "waiting" {
		p.t.Errorf("the one behind it became %+v", m)
	}
	r := p.nowpay("notifications", "drop", "msg_"+p.waits, p.done, "--reason", reason)
	r.mustSay(p.t, 1, "msg_"+p.waits+" of shop, transaction "+p.find("1002").Transaction+": dropped\nnotifications dropped: 1 of 2\n", "changing "+p.done+", which ends this")
	if m := p.shows("notifications", "show", p.waits); m.State != "dropped" || m.Note != reason {
		p.t.Errorf("it became %+v", m)
	}
	p.nowpay("notifications", "drop", p.waits, "--reason", reason).mustSay(p.t, 1, "it is dropped")
	if m := p.shows("notifications", "show", p.done); m.State != "done" {
		p.t.Errorf("the other became %+v", m)
	}
}

func testReplayMessage(p *posted) {
	p.status.Store(http.StatusNoContent)
	before := len(p.app.told("1002"))
	p.nowpay("notifications", "replay", p.waits).mustSay(p.t, 0, "msg_"+p.waits, "notifications to be sent again: 1 of 1\n") // which was dropped
	p.delivered(p.waits, "1002", before)

	before = len(p.app.told("w1"))
	var after []shownMessage
	p.decodeNowpay(&after, "notifications", "replay", "msg_"+p.done)
	if len(after) != 1 || after[0].Message != "msg_"+p.done || after[0].State != "waiting" || after[0].Tries != 0 {
		p.t.Errorf("replaying what is done: %+v", after)
	}
	p.delivered(p.done, "w1", before)

	p.nowpay("notifications", "replay", "--merchant", "shop").mustSay(p.t, 0, "notifications to be sent again: 0 of 0\n")
	p.exec("UPDATE messages SET state = 'dead', due = 0 WHERE box = 'out'")
	before = len(p.app.told("w1"))
	p.nowpay("notifications", "replay", "--merchant", "kiosk").mustSay(p.t, 0, "0 of 0")
	r := p.nowpay("notifications", "replay", "--merchant", "shop", "--state", "dead")
	r.mustSay(p.t, 0, "notifications to be sent again: 2 of 2\n")
	if older, newer := strings.Index(r.stdout, p.done), strings.Index(r.stdout, p.waits); older < 0 || older > newer {
		p.t.Errorf("they go out in another order:\n%s", r.stdout)
	}
	p.delivered(p.done, "w1", before)
}

// delivered waits for a notification to come once more, or to wait for a gateway.
func (p *posted) delivered(id, requestID string, before int) {
	p.t.Helper()
	if p.way != "asking" {
		if m := p.shows("notifications", "show", id); m.State != "waiting" || m.Note != "to be worked on again" {
			p.t.Errorf("replayed: %+v", m)
		}
		return
	}
	gatewaytest.Eventually(p.t, "the notification", func() bool {
		return p.shows("notifications", "show", id).State == "done" && len(p.app.told(requestID)) > before
	})
	if told := p.app.told(requestID); told[len(told)-1].ID != "msg_"+id {
		p.t.Errorf("told %+v, want %s", told, id)
	}
}

func TestNotificationSecret(t *testing.T) {
	line := regexp.MustCompile(`^for the merchant app:  (whsec_\S+)\nfor the secret_file:   (whsec_\S+)\n$`)
	var secrets []string
	for range 2 {
		r := runNowpay(t, "notifications", "secret")
		r.mustSay(t, 0)
		found := line.FindStringSubmatch(r.stdout)
		if found == nil || found[1] != found[2] {
			t.Fatalf("printed %q", r.stdout)
		}
		secret, err := notify.ParseSecret(found[1])
		if err != nil || "whsec_"+base64.StdEncoding.EncodeToString(secret.Reveal()) != found[1] {
			t.Errorf("%s: %v", found[1], err)
		}
		secrets = append(secrets, found[1])
	}
	if secrets[0] == secrets[1] {
		t.Errorf("two runs made the same secret %s", secrets[0])
	}
}

// TestNotificationTestOverTLS: it goes where notifications go, and needs no journal.
func TestNotificationTestOverTLS(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusAccepted) }))
	defer server.Close()
	ca := write(t, "ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))
	with := func(lines ...string) gatewaytest.Options {
		return gatewaytest.Options{Shop: fmt.Sprintf("notify %s/hook {\nprivate\n%s\n}", server.URL, strings.Join(lines, "\n"))}
	}
	inFile := "secret_file " + write(t, "hook.secret", webhookSecret+"\n")
	g := gatewaytest.Start(t, with(inFile, "ca "+ca))
	test := func(code int, says ...string) {
		t.Helper()
		file := write(t, "Caddyfile", g.Caddyfile)
		runNowpay(t, "notifications", "send-test", "--merchant", "shop", "--config", file).mustSay(t, code, append(says, "asking the gateway")...)
		stopped := strings.NewReplacer("admin "+strings.TrimPrefix(g.AdminURL, "http://"), "admin off", g.JournalFile, t.TempDir()+"/none.db").Replace(g.Caddyfile)
		runNowpay(t, "notifications", "send-test", "--merchant", "shop", "--config", write(t, "Caddyfile", stopped)).
			mustSay(t, code, append(says, "the configuration has no admin endpoint; sending from here")...)
	}
	test(0, "HTTP 202\n")
	mustReload(t, g, with("ca "+ca, "secret file "+write(t, "hook.json", fmt.Sprintf(`{"username":"none","key":%q}`, webhookSecret))))
	test(0, "HTTP 202\n")
	mustReload(t, g, with(inFile))
	test(1, "tls failed\n", "the test was not delivered: tls failed: the certificate is signed by an unknown authority")
	server.Close()
	test(1, "connection refused\n", "the test was not delivered: connection refused")
}
