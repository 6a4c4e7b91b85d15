//go:build linux

package powercut

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/journal"
	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
	"github.com/nowpay-gateway/nowpay-gateway/simulator"
)

// at is so many seconds into the story.
func at(seconds int) time.Time { return time.Unix(int64(1_000_000+seconds), 0) }

// answered are answers that came one a second.
func answered(answers ...told) []told {
	for i := range answers {
		answers[i].first, answers[i].last, answers[i].times = at(i), at(i+1), 1
	}
	return answers
}

func ok(outcome journal.State) told {
	body := fmt.Sprintf(`{"success":%q,"yourrequestid":"m1n1"}`, codes[outcome])
	return told{status: http.StatusOK, outcome: outcome, body: body}
}

func problem(status int, code string) told { return told{status: status, problem: code} }

// TestAudit shows that the audit finds what it is for, and nothing else.
func TestAudit(t *testing.T) {
	const id, amount = "m1n1", nowpay.Paise(150)
	first := func(answers ...told) *order {
		return &order{requestID: id, operation: payout, amount: amount, sent: len(answers), told: answered(answers...)}
	}
	other := func(answers ...told) *order { o := first(answers...); o.amount++; return o }
	wallet := func(answers ...told) *order { o := first(answers...); o.operation = walletTransfer; return o }
	racing := func(answers ...told) *order { o := first(answers...); o.parallel = true; return o }
	entry := func(state simulator.State) simulator.Entry {
		return simulator.Entry{RequestID: id, Operation: payout, Amount: amount, State: state, Created: at(0)}
	}
	late := func(state simulator.State, seconds int) simulator.Entry {
		e := entry(state)
		e.Created = at(seconds)
		return e
	}
	row := func(state journal.State) journal.Transaction {
		return journal.Transaction{RequestID: id, Operation: payout, Amount: amount, State: state}
	}
	cut, inFlight, unsent, reused := told{}, problem(409, "in-flight"), problem(503, "not-sent"), problem(422, "request-id-reused")
	withBody := func(outcome journal.State, body string) told { a := ok(outcome); a.body = body; return a }
	orders := func(all ...*order) []*order { return all }
	entries := func(all ...simulator.Entry) []simulator.Entry { return all }
	rows := func(all ...journal.Transaction) []journal.Transaction { return all }
	reversed := row(journal.Success)
	reversed.Reversed = journal.Failed
	otherRow, walletRow, walletEntry := row(journal.Success), row(journal.Unknown), entry(simulator.StateSuccess)
	otherRow.Amount++
	walletRow.Operation, walletEntry.Operation = walletTransfer, walletTransfer

	const paid, failed, pending = simulator.StateSuccess, simulator.StateFailed, simulator.StatePending
	for _, test := range []struct {
		name  string
		books books
		want  string // "", or "<kind>: <part of the line>"
	}{
		{"paid", books{orders(first(cut, inFlight, ok("unknown"), ok("success"), ok("success"))), entries(entry(paid)), rows(row("success"))}, ""},
		{"failed", books{orders(first(ok("failed"))), entries(entry(failed)), rows(row("failed"))}, ""},
		{"refused", books{orders(first(ok("refused"))), nil, rows(row("refused"))}, ""},
		{"never arrived", books{orders(first(cut, unsent)), nil, nil}, ""},
		{"unsent, then paid", books{orders(first(unsent, unsent, ok("success"))), entries(late(paid, 2)), rows(row("success"))}, ""},
		{"not executed, as far as one knows", books{orders(first(ok("unknown"))), nil, rows(row("unknown"))}, ""},
		{"pending at the provider", books{orders(first(ok("pending"))), entries(entry(pending)), rows(row("pending"))}, ""},
		{"nothing to ask by", books{orders(wallet(ok("unknown"))), entries(walletEntry), rows(walletRow)}, ""},
		{"request ID of another", books{orders(first(ok("success")), other(reused)), entries(entry(paid)), rows(row("success"))}, ""},
		{"race, answered out of order", books{orders(racing(ok("success"), ok("unknown"))), entries(entry(paid)), rows(row("success"))}, ""},

		{"paid twice", books{orders(first(ok("success"))), entries(entry(paid), entry(paid)), rows(row("success"))}, "double: executed 2 times"},
		{"not recorded", books{orders(first(cut)), entries(entry(paid)), nil}, "lost: not in the journal"},
		{"recorded with another amount", books{orders(first(cut), other(cut)), entries(entry(paid)), rows(otherRow)}, "lost: recorded as"},
		{"nobody's", books{nil, entries(entry(paid)), rows(row("success"))}, "wrong: nobody sent it"},
		{"two rows", books{orders(first(cut)), nil, rows(row("unknown"), row("unknown"))}, "wrong: 2 rows"},
		{"recorded as failed, but paid", books{orders(first(cut)), entries(entry(paid)), rows(row("failed"))}, "wrong: failed in the journal, and success"},
		{"recorded as failed, and unknown", books{orders(first(cut)), nil, rows(row("failed"))}, "wrong: failed in the journal, and nothing"},
		{"recorded as unsent, but paid", books{orders(first(cut)), entries(entry(paid)), rows(row("unsent"))}, "wrong: unsent in the journal"},
		{"recorded as refused, but paid", books{orders(first(cut)), entries(entry(paid)), rows(row("refused"))}, "wrong: refused in the journal"},
		{"recorded as success, but pending", books{orders(first(cut)), entries(entry(pending)), rows(row("success"))}, "wrong: success in the journal, and pending"},
		{"for ever under way", books{orders(first(cut)), entries(entry(paid)), rows(row("sent"))}, "wrong: still sent"},
		{"never settled", books{orders(first(ok("unknown"))), entries(entry(paid)), rows(row("unknown"))}, "wrong: which the gateway could know"},
		{"reversed", books{orders(first(ok("success"))), entries(entry(paid)), rows(reversed)}, "wrong: contradict"},
		{"told failed, but paid", books{orders(first(ok("failed"), ok("success"))), entries(entry(paid)), rows(row("success"))}, "wrong: told failed, and success"},
		{"told refused, but paid", books{orders(first(ok("refused"))), entries(entry(paid)), rows(row("success"))}, "wrong: told refused, and success"},
		{"told success, but failed", books{orders(first(ok("success"))), entries(entry(failed)), rows(row("failed"))}, "wrong: told success, and failed"},
		{"told success, journal not sure", books{orders(wallet(ok("success"))), entries(walletEntry), rows(walletRow)}, "wrong: told success, and unknown in the journal"},
		{"told less than before", books{orders(first(ok("success"), ok("pending"))), entries(entry(paid)), rows(row("success"))}, "wrong: after success"},
		{"told otherwise than before", books{orders(first(ok("success"), withBody("success", `{"success":"1"}`))), entries(entry(paid)), rows(row("success"))}, "wrong: after success"},
		{"race, told otherwise", books{orders(racing(ok("success"), withBody("success", `{"success":1}`))), entries(entry(paid)), rows(row("success"))}, "wrong: after success"},
		{"told nothing was sent, but paid", books{orders(first(unsent, ok("success"))), entries(entry(paid)), rows(row("success"))}, "wrong: nothing was sent"},
		{"told of another amount", books{orders(first(withBody("success", `{"success":"1","amount":"1.51"}`))), entries(entry(paid)), rows(row("success"))}, "wrong: something else"},
		{"told of another request", books{orders(first(withBody("success", `{"success":"1","yourrequestid":"x"}`))), entries(entry(paid)), rows(row("success"))}, "wrong: something else"},
		{"pending that reads as success", books{orders(first(withBody("pending", `{"success":"1"}`))), entries(entry(pending)), rows(row("pending"))}, `wrong: told "pending" as`},
		{"told the key", books{orders(first(withBody("success", `{"success":"1","message":"`+key+`"}`))), entries(entry(paid)), rows(row("success"))}, "wrong: told the key"},
		{"told an error", books{orders(first(problem(500, ""))), nil, rows(row("unknown"))}, "wrong: told 500"},
		{"other's answer", books{orders(first(ok("success")), other(ok("success"))), entries(entry(paid)), rows(row("success"))}, "wrong: is not recorded, and was told 200"},
		{"own request ID reused", books{orders(first(reused)), entries(entry(paid)), rows(row("success"))}, "wrong: told 422"},
		{"unused request ID reused", books{orders(first(reused)), nil, nil}, "wrong: which it was not"},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := test.books.check(false)
			var found []string
			for kind, lines := range map[string][]string{"double": a.doubles, "lost": a.lost, "wrong": a.wrong} {
				for _, line := range lines {
					found = append(found, kind+": "+line)
				}
			}
			kind, part, _ := strings.Cut(test.want, ": ")
			switch {
			case test.want == "" && len(found) > 0:
				t.Errorf("found %q, want nothing", found)
			case test.want == "":
			case len(found) == 0 || !strings.HasPrefix(found[0], kind+": ") || !strings.Contains(found[0], part):
				t.Errorf("found %q, want %q", found, test.want)
			}
		})
	}
}
