package simulation

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

// step is one request of the story, and what must come of it.
type step struct {
	title   string
	token   string // "" sends none
	from    string // the source address; "" lets the system choose
	path    string // "" is the payout
	body    string
	status  int
	outcome string // what Nowpay-Gateway-Outcome must say
	problem string // what Nowpay-Gateway-Error must say
	why     string
}

const (
	shopToken  = "npg_demo_shop"
	kioskToken = "npg_demo_kiosk"
	gatewayURL = "http://127.0.0.1:8480"
	payoutPath = "/api/index.php?route=/api/bank/payout"
)

// payout is a payout's body as a merchant sends it: without username and key.
func payout(requestID, amount, name string) string {
	return fmt.Sprintf(`{"accountnumber":"50100012345678","ifsc":"HDFC0000001","amount":%q,"yourrequestid":%q,"name":%q,"transferMode":"IMPS"}`, amount, requestID, name)
}

// story is what the demo plays.
var story = []step{
	{
		title: "The shop pays out 1.50 rupees, the way it always called Nowpay",
		token: shopToken, body: payout("1001", "1.50", "Asha Rao"), status: 200, outcome: "success",
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
		title: "Nowpay's answer is tampered with: another amount",
		token: shopToken, body: payout("1009", "2.00", "sim:other-amount"), status: 200, outcome: "unknown",
		why: "not believed; the shop gets a pending answer, never a failure",
	},
	{
		title: "Nowpay pays out, and the line goes dead before it answers",
		token: shopToken, body: payout("1010", "3.00", "sim:close-after-debit"), status: 200, outcome: "unknown",
		why: "sent once, never again; pending, because it may have been paid (it was)",
	},
	{
		title: "Nowpay's answer repeats the key",
		token: shopToken, body: payout("1011", "4.00", "sim:key-echo-hex"), status: 200, outcome: "success",
		why: "the key is cut out of the answer, and an alarm is raised",
	},
	{
		title: "Nowpay says success without a bank reference",
		token: shopToken, body: payout("1012", "5.00", "sim:ambiguous"), status: 200, outcome: "pending",
		why: "without rrn a payout is not final",
	},
}

// tell plays the story and returns how many steps came out other than told.
func tell(ctx context.Context, w io.Writer, sim *provider, account credential, logFile string) int {
	fmt.Fprintf(w, "Gateway %s, simulated Nowpay http://%s, which knows the partner as %s.\nThe key is %d characters that no merchant sees.\n", gatewayURL, providerAddress, egressAddress, len(account.Key))
	unexpected := 0
	var answers bytes.Buffer
	for i, s := range story {
		before := len(sim.Requests())
		answer, body, err := s.play(ctx) //nolint:bodyclose // play closes it
		answers.Write(body)
		fmt.Fprintf(w, "\n%2d  %s\n", i+1, s.title)
		if err != nil {
			fmt.Fprintf(w, "    UNEXPECTED  %v\n", err)
			unexpected++
			continue
		}
		sent := len(sim.Requests()) - before
		if !s.print(w, answer, body, sent) {
			unexpected++
		}
	}
	return unexpected + conclude(w, sim, account, answers.Bytes(), logFile)
}

// play sends the step's request.
func (s *step) play(ctx context.Context) (*http.Response, []byte, error) {
	path := s.path
	if path == "" {
		path = payoutPath
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, gatewayURL+path, strings.NewReader(s.body))
	if err != nil {
		return nil, nil, fmt.Errorf("making the request: %w", err)
	}
	request.Header.Set("Content-Type", "application/json")
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
func (s *step) print(w io.Writer, answer *http.Response, body []byte, sent int) bool {
	outcome, problem := answer.Header.Get("Nowpay-Gateway-Outcome"), answer.Header.Get("Nowpay-Gateway-Error")
	wantSent := 0
	if s.problem == "" {
		wantSent = 1
	}
	verdict := "passed on"
	switch {
	case answer.StatusCode != s.status || outcome != s.outcome || problem != s.problem || sent != wantSent:
		verdict = "UNEXPECTED"
	case problem != "":
		verdict = "refused"
	case outcome == "unknown" || outcome == "pending":
		verdict = "held back"
	}
	fmt.Fprintf(w, "    %-10s  HTTP %d  %s%s  requests that reached Nowpay: %d\n", verdict, answer.StatusCode, outcome, problem, sent)
	fmt.Fprintf(w, "    because     %s\n", s.why)
	if problem == "" {
		fmt.Fprintf(w, "    answer      %s\n", body)
	}
	return verdict != "UNEXPECTED"
}

// conclude shows what the provider saw, and that the key is nowhere.
func conclude(w io.Writer, sim *provider, account credential, answers []byte, logFile string) int {
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

	log, err := os.ReadFile(logFile)
	switch {
	case err != nil || len(log) == 0:
		fmt.Fprintf(w, "\nUNEXPECTED: the gateway's log cannot be read: %v\n", err)
		unexpected++
	case bytes.Contains(log, []byte(account.Key)) || bytes.Contains(answers, []byte(account.Key)):
		fmt.Fprint(w, "\nUNEXPECTED: the key is in the log or in an answer\n")
		unexpected++
	default:
		fmt.Fprintf(w, "\nThe key was searched for in %d bytes of answers and %d bytes of log: it is not there.\n", len(answers), len(log))
	}
	return unexpected
}
