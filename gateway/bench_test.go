package gateway

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// BenchmarkExchange carries out exchanges one after the other, each with its line of
// the log. A provider of net/http in the same process answers, and is counted, too:
// bench/cost counts without.
//
//	go test -run='^$' -bench=Exchange -count=6 ./gateway
func BenchmarkExchange(b *testing.B) {
	for _, c := range []struct {
		name, path, body, token string
		status                  int
	}{
		{"plain", "/api/common/balance", "{}", testToken, http.StatusOK},
		{"payment", "/api/bank/payout", payoutBody, testToken, http.StatusOK},
		{"refused", "/api/bank/payout", payoutBody, "npg_test_unknown", http.StatusUnauthorized},
	} {
		b.Run(c.name, func(b *testing.B) {
			p := newParts(b)
			n := 0
			p.NewID = func() string { return fmt.Sprintf("01EXCHANGE%d", n) }
			b.ReportAllocs()
			for b.Loop() {
				n++
				id := fmt.Sprintf(`:"%d"`, n)
				p.answers(func(w http.ResponseWriter, _ *http.Request) {
					w.Header()["Content-Type"] = []string{"application/json"}
					_, _ = io.WriteString(w, `{"success":"1","message":"Done","ourrequestid":"2","yourrequestid"`+id+`,"amount":"1.50","tradebal":"1.00"}`)
				})
				r := request(c.path, strings.Replace(c.body, `:"1001"`, id, 1))
				r.Caller.Token = c.token
				p.log.Reset()
				p.records = p.records[:0]
				if answer := p.Exchange(b.Context(), r); answer.Status != c.status {
					b.Fatalf("answered %d: %s", answer.Status, answer.Body)
				}
			}
		})
	}
}
