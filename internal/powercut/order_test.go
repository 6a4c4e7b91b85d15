//go:build linux

package powercut

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/journal"
	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
)

// order is a request that a merchant sends until it has a definite answer, and
// all that it was told. Two orders with one request ID differ in their amount.
type order struct {
	prefix    string // the merchant's: "" or kioskPrefix
	requestID string // the merchant's own
	operation string
	amount    nowpay.Paise
	kind      string // the provider's fault, as sim:<kind>
	second    bool   // its request ID was sent with another amount before, or is at the same time
	parallel  bool   // sent more than once at the same time

	mu   sync.Mutex
	sent int // requests that may have arrived
	told []told
}

// told is what an order was told, once or several times in a row.
type told struct {
	first, last time.Time // the first begin, and the last end
	times       int
	status      int // of HTTP; 0: the connection was cut
	outcome     journal.State
	problem     string
	body        string
	replayed    bool
}

// tokens of the merchants, by their prefixes.
var tokens = map[string]string{"": "npg_test_shop", kioskPrefix: "npg_test_kiosk"}

// id is the request ID as the provider knows it.
func (o *order) id() string { return o.prefix + o.requestID }

func (o *order) body() string {
	var fields string
	switch o.operation {
	case payout:
		fields = `"accountnumber":"50100012345678","ifsc":"HDFC0000001","name":"Asha Rao","transferMode":"IMPS"`
	case accountTransfer:
		fields = `"snumber":"9000000001","beneficiaryid":"17","remitterid":"4","transferMode":"IMPS"`
	case walletTransfer:
		fields = `"beneficiaryPhoneNo":"9000000001","transferMode":"PAYTM"`
	}
	return fmt.Sprintf(`{%s,"amount":%q,"yourrequestid":%q,"remark":"sim:%s"}`, fields, o.amount, o.requestID, o.kind)
}

// send sends the order once, and keeps what it is told. It reports false where
// nobody listens.
func (o *order) send(ctx context.Context, client *http.Client, address string) bool {
	answer := told{first: time.Now(), times: 1}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+address+"/api/"+o.operation, strings.NewReader(o.body()))
	if err != nil {
		panic(err) // cannot happen
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Authorization", "Bearer "+tokens[o.prefix])
	response, err := client.Do(request)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return false
	}
	if err == nil {
		defer response.Body.Close()
		var raw []byte
		if raw, err = io.ReadAll(response.Body); err == nil {
			answer.status, answer.body = response.StatusCode, string(raw)
			answer.outcome = journal.State(response.Header.Get("Nowpay-Gateway-Outcome"))
			answer.problem = response.Header.Get("Nowpay-Gateway-Error")
			answer.replayed = response.Header.Get("Idempotent-Replayed") == "true"
		}
	}
	if answer.problem != "" {
		answer.body = "" // it names the exchange, and the rest is in the code
	}
	answer.last = time.Now()
	o.keep(answer)
	return true
}

func (o *order) keep(answer told) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.sent++
	if n := len(o.told); n > 0 && o.told[n-1].same(&answer) {
		o.told[n-1].times++
		o.told[n-1].last = answer.last
		return
	}
	o.told = append(o.told, answer)
}

func (t *told) same(other *told) bool {
	return t.status == other.status && t.outcome == other.outcome && t.problem == other.problem &&
		t.body == other.body && t.replayed == other.replayed
}

// final reports whether it is a definite answer.
func (t *told) final() bool { return t.status == http.StatusOK && t.outcome.Final() }

// definite reports whether the order needs to be sent no more: it was told an
// end, or that its request ID is another's.
func (o *order) definite() bool {
	last := o.last()
	return last.final() || last.status == http.StatusUnprocessableEntity
}

// last is what it was told last; zero if nothing.
func (o *order) last() told {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.told) == 0 {
		return told{}
	}
	return o.told[len(o.told)-1]
}

// echoes reports whether an answer speaks of this order and no other.
func (o *order) echoes(body string) bool {
	var echo struct {
		RequestID string  `json:"yourrequestid"`
		Amount    *string `json:"amount"`
	}
	if err := json.Unmarshal([]byte(body), &echo); err != nil {
		return false
	}
	return (echo.RequestID == "" || echo.RequestID == o.requestID) && (echo.Amount == nil || *echo.Amount == o.amount.String())
}
