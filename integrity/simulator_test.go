package integrity_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/integrity"
	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
	"github.com/nowpay-gateway/nowpay-gateway/simulator"
)

// TestStatusOfSimulator asks about transactions of every state, through every
// fault that there is. Whatever happens, no state is believed that is not the
// one in the provider's books.
func TestStatusOfSimulator(t *testing.T) {
	t.Parallel()
	for operation, fields := range map[string]string{
		"bank/payout":         `"accountnumber":"1","ifsc":"2","amount":"1.50","yourrequestid":"1001","name":"n","transferMode":"IMPS"`,
		"recharge/dorecharge": `"number":"1","operatorid":"2","amount":"1.50","yourreqid":"1001"`,
		"pan/managecoupon":    `"psaid":"P1","type":"1","qty":"1","yourrequestid":"1001"`,
	} {
		for _, state := range []simulator.Kind{simulator.Success, simulator.Failed, simulator.Pending, simulator.Ambiguous} {
			for _, kind := range simulator.Kinds() {
				name := fmt.Sprint(operation, " ", state, ", asked with ", kind)
				a := asked(operation)
				sim := newSimulator(t)
				addFault(t, sim, simulator.Fault{Kind: state, Operation: operation})
				if w, ok := call(t, sim, operation, fields); !ok || len(sim.Ledger().Entries) != 1 {
					t.Fatalf("%s: nothing was executed: %s", name, w.Body)
				}
				books := sim.Ledger().Entries[0]
				a.Known.ProviderID = books.ProviderID

				addFault(t, sim, simulator.Fault{Kind: kind, Operation: a.StatusOperation.Name})
				got, answered := ask(t, sim, a)
				if !answered || kind == simulator.StatusContradicts {
					continue // only another source could tell
				}
				truth := map[simulator.State]nowpay.Outcome{
					simulator.StateSuccess: nowpay.Success, simulator.StateFailed: nowpay.Failed, simulator.StatePending: nowpay.Pending,
				}[books.State]
				if got.Outcome != truth && (got.Outcome != nowpay.Unknown || kind == simulator.Success) {
					t.Errorf("%s: %s %q, the books say %s", name, got.Outcome, got.Findings, truth)
				}
				if got.Reference != "" && got.Reference != books.RRN {
					t.Errorf("%s: reference %q, the books say %q", name, got.Reference, books.RRN)
				}
			}
		}
	}
}

func newSimulator(t *testing.T) *simulator.Simulator {
	t.Helper()
	sim, err := simulator.New(simulator.Config{
		Username: "2000", Key: canary, Now: func() time.Time { return time.Date(2026, 11, 26, 0, 0, 0, 0, time.UTC) },
	})
	if err != nil {
		t.Fatal(err)
	}
	sim.Close() // nothing is to hang here
	return sim
}

func addFault(t *testing.T, sim *simulator.Simulator, f simulator.Fault) {
	t.Helper()
	if err := sim.AddFault(f); err != nil {
		t.Fatal(err)
	}
}

// ask asks the simulator as the query says, false if there is no answer.
func ask(t *testing.T, sim *simulator.Simulator, a integrity.Asked) (integrity.StatusVerdict, bool) {
	t.Helper()
	a.StatusOperation.Encoding = nowpay.JSON
	body, err := a.Operation.Status.Body(a.StatusOperation, a.Known)
	if err != nil {
		t.Fatal(err)
	}
	w, ok := call(t, sim, a.StatusOperation.Name, strings.Trim(string(body.Bytes()), "{}"))
	if !ok {
		return integrity.StatusVerdict{}, false
	}
	ans := integrity.Answer{Status: w.Code, Header: w.Result().Header, Body: w.Body.Bytes()}
	return integrity.CheckStatus(a, ans, canaryKey()), true
}

// call calls the simulator without a network; false if it ends the connection.
func call(t *testing.T, sim *simulator.Simulator, operation, fields string) (w *httptest.ResponseRecorder, answered bool) {
	t.Helper()
	body := `{"username":"2000","key":"` + canary + `",` + fields + `}`
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/api/index.php?route=/api/"+operation, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	w = httptest.NewRecorder()
	defer func() {
		if p := recover(); p != nil {
			if err, ok := p.(error); !ok || !errors.Is(err, http.ErrAbortHandler) {
				panic(p)
			}
			answered = false
		}
	}()
	sim.Handler().ServeHTTP(w, r)
	return w, true
}
