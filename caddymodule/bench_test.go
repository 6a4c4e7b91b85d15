package caddymodule_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/nowpay-gateway/nowpay-gateway/internal/gatewaytest"
)

// clients is how many merchants call at the same time.
const clients = 64

// BenchmarkExchange compares, in one run, exchanges that move no money with
// payments, which are recorded twice: 64 kept connections in front of a provider
// that answers at once. The merchants and the provider are in the same process,
// so that only the ratio of the two says something.
//
//	go test -run '^$' -bench Exchange -benchtime 20000x -count 5 ./caddymodule
func BenchmarkExchange(b *testing.B) {
	g := gatewaytest.Start(b, gatewaytest.Options{
		Provider: func(http.Handler) http.Handler { return http.HandlerFunc(answerAtOnce) },
	})
	var ids atomic.Int64
	for _, kind := range []struct {
		name    string
		request func() string
	}{
		{"plain", func() string { return rawCall("/api/common/balance", "{}") }},
		{"payment", func() string {
			id := fmt.Sprintf("B%d", ids.Add(1))
			return rawCall("/api/bank/payout", gatewaytest.Payout(id, "1.50"))
		}},
	} {
		b.Run(kind.name, func(b *testing.B) {
			writes, commits := g.Metric("nowpay_journal_writes_total"), g.Metric("nowpay_journal_commits_total")
			b.SetParallelism(clients / 2) // times GOMAXPROCS, which is two on the machine of the figures
			b.RunParallel(func(pb *testing.PB) {
				conn, err := net.Dial("tcp", strings.TrimPrefix(g.URL, "http://"))
				if err != nil {
					b.Error(err)
					return
				}
				defer conn.Close()
				answers := bufio.NewReader(conn)
				for pb.Next() {
					if err := exchangeRaw(conn, answers, kind.request()); err != nil {
						b.Error(err)
						return
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "exchanges/s")
			if written := g.Metric("nowpay_journal_writes_total") - writes; written > float64(b.N) {
				b.ReportMetric((g.Metric("nowpay_journal_commits_total")-commits)/float64(b.N), "commits/exchange")
			}
		})
	}
}

// rawCall is a request as it goes over the wire.
func rawCall(path, body string) string {
	return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		path, gatewaytest.ShopToken, len(body), body)
}

func exchangeRaw(conn io.Writer, answers *bufio.Reader, request string) error {
	if _, err := io.WriteString(conn, request); err != nil {
		return err
	}
	answer, err := http.ReadResponse(answers, nil)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err == nil && (answer.StatusCode != http.StatusOK || answer.Header.Get("Nowpay-Gateway-Outcome") != "success") {
		err = fmt.Errorf("HTTP %d: %s", answer.StatusCode, body)
	}
	return err
}

// answerAtOnce is a provider that does nothing and says success.
func answerAtOnce(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	_, rest, _ := strings.Cut(string(body), `"yourrequestid":"`)
	id, _, _ := strings.Cut(rest, `"`)
	w.Header().Set("Content-Type", "application/json")
	_, _ = fmt.Fprintf(w, `{"success":"1","message":"Done","ourrequestid":"N%s","yourrequestid":%q,"rrn":"429910000001"}`, id, id)
}
