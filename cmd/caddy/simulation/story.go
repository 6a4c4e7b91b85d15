package simulation

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/simulator"
)

// step is one request of the story, and what must come of it.
type step struct {
	title   string
	after   time.Duration    // a pause before it
	fault   *simulator.Fault // that the provider is given before it
	token   string           // "" sends none
	from    string           // the source address; "" lets the system choose
	method  string           // "" is POST
	path    string           // "" is the payout
	body    string
	status  int
	outcome string   // what Nowpay-Gateway-Outcome must say, or the state of a transaction
	problem string   // what Nowpay-Gateway-Error must say
	replay  bool     // whether it must be answered from the journal
	holds   []string // what the answer must hold
	sent    int      // how many requests to move money must reach Nowpay
	asked   int      // how many questions about a transaction must, at least
	why     string
}

const (
	shopToken  = "npg_demo_shop"
	kioskToken = "npg_demo_kiosk"
	gatewayURL = "http://127.0.0.1:8480"
	payoutPath = "/api/index.php?route=/api/bank/payout"

	moneyOperation  = "bank/payout"
	statusOperation = "bank/payout_status"
	// askAgain is just longer than the gateway takes between two questions about
	// a transaction that a merchant brings about.
	askAgain = 2100 * time.Millisecond
)

// payout is a payout's body as a merchant sends it: without username and key.
func payout(requestID, amount, name string) string {
	return fmt.Sprintf(`{"accountnumber":"50100012345678","ifsc":"HDFC0000001","amount":%q,"yourrequestid":%q,"name":%q,"transferMode":"IMPS"}`, amount, requestID, name)
}

// story is what the demo plays.
var story = []step{
	{
		title: "The shop pays out 1.50 rupees, the way it always called Nowpay",
		token: shopToken, body: payout("1001", "1.50", "Asha Rao"), status: 200, outcome: "success", sent: 1,
		why: "identified, allowed, signed, sent from " + egressAddress + ", checked",
	},
	{
		title: "Someone without a token tries the same",
		body:  payout("1002", "1.50", "Asha Rao"), status: 401, problem: "unauthenticated",
		why: "no rule, no call",
	},
	{
		title: "The shop's token, stolen, is used from another address",
		token: shopToken, from: "127.0.0.66", body: payout("1003", "1.50", "Asha Rao"), status: 403, problem: "source-not-allowed",
		why: "a token is good only from where its merchant lives",
	},
	{
		title: "The kiosk, which may only look up, tries to pay out",
		token: kioskToken, body: payout("1004", "1.50", "Asha Rao"), status: 403, problem: "operation-not-allowed",
		why: "the kiosk may call common/balance and bank/upi_verify",
	},
	{
		title: "The shop tries to pay out more than it may",
		token: shopToken, body: payout("1005", "5000.01", "Asha Rao"), status: 403, problem: "amount-not-allowed",
		why: "max_amount 5000",
	},
	{
		title: "The path is disguised",
		token: shopToken, path: "/api/index.php?route=/api/common/balance&route=/api/bank/payout", body: payout("1006", "1.50", "Asha Rao"), status: 404, problem: "unknown-operation",
		why: "paths are refused, not cleaned",
	},
	{
		title: "The amount is given twice",
		token: shopToken, body: `{"amount":"1",` + payout("1007", "4000", "Asha Rao")[1:], status: 400, problem: "malformed-body",
		why: "whoever reads the other one would pay something else",
	},
	{
		title: "The shop sends a key of its own",
		token: shopToken, body: `{"KEY":"guess",` + payout("1008", "1.50", "Asha Rao")[1:], status: 400, problem: "credential-in-request",
		why: "only the gateway signs",
	},
	{
		title: "Nowpay pays out, and the line goes dead before it answers",
		token: shopToken, body: payout("1009", "3.00", "sim:close-after-debit"), status: 200, outcome: "unknown", sent: 1,
		why: "never called failed: it may have been paid (and it was)",
	},
	{
		title: "The shop does what it should: it sends the same request ID again",
		fault: &simulator.Fault{Kind: simulator.HistoryEmpty, Operation: statusOperation, Times: 1},
		token: shopToken, body: payout("1009", "3.00", "sim:close-after-debit"), status: 200, outcome: "unknown", asked: 1,
		why: "never paid again; Nowpay was asked what became of it, and its books know nothing yet",
	},
	{
		title: "The shop uses the request ID for another payment",
		token: shopToken, body: payout("1009", "30.00", "Asha Rao"), status: 422, problem: "request-id-reused",
		why: "one request ID, one payment",
	},
	{
		title: "A browser says that it was paid, and the shop has the gateway ask Nowpay",
		after: askAgain,
		token: shopToken, path: "/transactions/1009/revalidate", body: `{"amount":"3.00","status":"success"}`, status: 200, outcome: "success", asked: 1,
		holds: []string{`"match":true`}, why: "Nowpay's own word counts, and now it is the same",
	},
	{
		title: "The same request ID once more",
		token: shopToken, body: payout("1009", "3.00", "sim:close-after-debit"), status: 200, outcome: "success", replay: true,
		why: "answered from the journal",
	},
	{
		title: "The shop looks up what happened",
		token: shopToken, method: http.MethodGet, path: "/transactions/1009", status: 200, outcome: "success",
		holds: []string{`"event":"sent"`, `"event":"unknown","cause":"exchange"`, `"event":"success","cause":"revalidation"`},
		why:   "the journal keeps every change of a transaction",
	},
	{
		title: "Nowpay's answer is tampered with: another amount",
		token: shopToken, body: payout("1010", "2.00", "sim:other-amount"), status: 200, outcome: "unknown", sent: 1,
		why: "not believed; the shop gets a pending answer, and Nowpay is asked later",
	},
	{
		title: "Nowpay's answer repeats the key",
		token: shopToken, body: payout("1011", "4.00", "sim:key-echo-hex"), status: 200, outcome: "success", sent: 1,
		why: "the key is cut out of the answer, and an alarm is raised",
	},
	{
		title: "Nowpay says success without a bank reference",
		token: shopToken, body: payout("1012", "5.00", "sim:ambiguous"), status: 200, outcome: "pending", sent: 1,
		why: "without rrn a payout is not final",
	},
}

// tell plays the story and returns how many steps came out other than told.
func tell(ctx context.Context, w io.Writer, sim *provider, app *merchantApp, account credential, folder string) int {
	fmt.Fprintf(w, "Gateway %s, simulated Nowpay http://%s, which knows the partner as %s.\nThe key is %d characters that no merchant sees.\n", gatewayURL, providerAddress, egressAddress, len(account.Key))
	unexpected := 0
	var answers bytes.Buffer
	for i, s := range story {
		before := countRequests(sim)
		answer, body, err := s.play(ctx, sim) //nolint:bodyclose // play closes it
		answers.Write(body)
		fmt.Fprintf(w, "\n%2d  %s\n", i+1, s.title)
		if err != nil {
			fmt.Fprintf(w, "    UNEXPECTED  %v\n", err)
			unexpected++
			continue
		}
		after := countRequests(sim)
		if !s.print(w, answer, body, traffic{after.sent - before.sent, after.asked - before.asked}) {
			unexpected++
		}
	}
	unexpected += tellOfCallbacks(ctx, w, sim, app, len(story)+1)
	return unexpected + conclude(w, sim, account, answers.Bytes(), folder)
}

// traffic is how many requests have reached Nowpay.
type traffic struct {
	sent  int // to move money
	asked int // about a transaction
}

func countRequests(sim *provider) (t traffic) {
	for _, request := range sim.Requests() {
		switch request.Operation {
		case moneyOperation:
			t.sent++
		case statusOperation:
			t.asked++
		}
	}
	return t
}

// play sends the step's request.
func (s *step) play(ctx context.Context, sim *provider) (*http.Response, []byte, error) {
	if s.fault != nil {
		if err := sim.AddFault(*s.fault); err != nil {
			return nil, nil, err
		}
	}
	select {
	case <-time.After(s.after):
	case <-ctx.Done():
	}
	path := cmp.Or(s.path, payoutPath)
	request, err := http.NewRequestWithContext(ctx, cmp.Or(s.method, http.MethodPost), gatewayURL+path, strings.NewReader(s.body))
	if err != nil {
		return nil, nil, fmt.Errorf("making the request: %w", err)
	}
	if s.body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	if s.token != "" {
		request.Header.Set("Authorization", "Bearer "+s.token)
	}
	dialer := &net.Dialer{Timeout: 5 * time.Second}
	if s.from != "" {
		dialer.LocalAddr = &net.TCPAddr{IP: net.ParseIP(s.from)}
	}
	client := http.Client{Transport: &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true}, Timeout: time.Minute}
	response, err := client.Do(request)
	if err != nil {
		return nil, nil, fmt.Errorf("calling the gateway: %w", err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, nil, fmt.Errorf("reading the gateway's answer: %w", err)
	}
	return response, body, nil
}

// print shows the step's verdict, and whether it is the one that was told.
func (s *step) print(w io.Writer, answer *http.Response, body []byte, reached traffic) bool {
	outcome, problem := outcomeOf(answer, body), answer.Header.Get("Nowpay-Gateway-Error")
	replayed := answer.Header.Get("Idempotent-Replayed") == "true"
	holds := !slices.ContainsFunc(s.holds, func(text string) bool { return !bytes.Contains(body, []byte(text)) })
	verdict := "passed on"
	switch {
	case answer.StatusCode != s.status, outcome != s.outcome, problem != s.problem, replayed != s.replay, !holds,
		reached.sent != s.sent, reached.asked < s.asked:
		verdict = "UNEXPECTED"
	case problem != "":
		verdict = "refused"
	case replayed:
		verdict = "replayed"
	case outcome == "unknown" || outcome == "pending":
		verdict = "held back"
	case s.sent == 0:
		verdict = "told"
	}
	fmt.Fprintf(w, "    %-10s  HTTP %d  %s%s  payments that reached Nowpay: %d", verdict, answer.StatusCode, outcome, problem, reached.sent)
	if reached.asked > 0 {
		fmt.Fprintf(w, ", questions: %d", reached.asked)
	}
	fmt.Fprintf(w, "\n    because     %s\n", s.why)
	if problem == "" {
		fmt.Fprintf(w, "    answer      %s\n", body)
	}
	return verdict != "UNEXPECTED"
}

// outcomeOf is what an answer says became of the payment: in a header, or in
// the view of a transaction as its state.
func outcomeOf(answer *http.Response, body []byte) string {
	var view struct {
		State string `json:"state"`
	}
	if outcome := answer.Header.Get("Nowpay-Gateway-Outcome"); outcome != "" || json.Unmarshal(body, &view) != nil {
		return outcome
	}
	return view.State
}

// conclude shows what the provider saw, and that the key is nowhere.
func conclude(w io.Writer, sim *provider, account credential, answers []byte, folder string) int {
	unexpected := 0
	fmt.Fprint(w, "\nWhat Nowpay saw of the first request, its key cut out:\n")
	if requests := sim.Requests(); len(requests) > 0 {
		first := requests[0]
		fmt.Fprintf(w, "    from %s   %s %s\n", first.Remote.Addr(), first.Method, first.Target)
		header, _ := json.Marshal(first.Header) // a map of strings always marshals
		fmt.Fprintf(w, "    %s\n    %s\n", header, first.Body)
	}

	fmt.Fprint(w, "\nNowpay's ledger:\n")
	ledger := sim.Ledger()
	for _, entry := range ledger.Entries {
		fmt.Fprintf(w, "    %s  %-12s  %7s rupees  %-8s executed %d×\n", entry.RequestID, entry.Operation, entry.Amount, entry.State, ledger.Executions[entry.RequestID])
		if ledger.Executions[entry.RequestID] != 1 {
			unexpected++
		}
	}

	written, err := filesOf(folder)
	switch {
	case err != nil || len(written) == 0:
		fmt.Fprintf(w, "\nUNEXPECTED: the gateway's log and journal cannot be read: %v\n", err)
		unexpected++
	case bytes.Contains(written, []byte(account.Key)) || bytes.Contains(answers, []byte(account.Key)):
		fmt.Fprint(w, "\nUNEXPECTED: the key is in the log, in the journal or in an answer\n")
		unexpected++
	default:
		fmt.Fprintf(w, "\nThe key was searched for in %d bytes of answers and %d bytes of log and journal: it is not there.\n", len(answers), len(written))
	}
	return unexpected
}

// filesOf is all that the gateway wrote into its folder.
func filesOf(folder string) ([]byte, error) {
	var all []byte
	for _, pattern := range []string{logName, journalName + "*"} {
		names, err := filepath.Glob(filepath.Join(folder, pattern))
		if err != nil || len(names) == 0 {
			return nil, fmt.Errorf("finding %s: %w", pattern, cmp.Or(err, fs.ErrNotExist))
		}
		for _, name := range names {
			content, err := os.ReadFile(name)
			if err != nil {
				return nil, fmt.Errorf("reading what the gateway wrote: %w", err)
			}
			all = append(all, content...)
		}
	}
	return all, nil
}
