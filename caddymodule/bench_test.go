//go:build unix

package caddymodule_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/internal/gatewaytest"
)

// clients is how many merchants call at the same time.
const clients = 64

// BenchmarkExchange compares, in one run, an operation that moves no money with a
// payment of the same fields, which is recorded twice: 64 kept connections in front
// of a provider that answers at once. The merchants and the provider are in the
// same process, so that only the ratio of the two says something.
//
//	go test -run '^$' -bench Exchange -benchtime 20000x -count 5 ./caddymodule
func BenchmarkExchange(b *testing.B) {
	g := gatewaytest.Start(b, gatewaytest.Options{
		Nowpay: `operation bank/payout_quote {
			moves_money off
			field accountnumber text
			field ifsc text
			field amount amount
			field yourrequestid alphanumeric 50
			field name text
			field transferMode choice IMPS NEFT
			request_id yourrequestid
			provider_id ourrequestid
			amount amount
			personal accountnumber ifsc name rrn
		}`,
		Provider: func(http.Handler) http.Handler { return http.HandlerFunc(answerAtOnce) },
	})
	var ids atomic.Int64
	for _, kind := range []struct{ name, path string }{
		{"plain", "/api/bank/payout_quote"},
		{"payment", "/api/bank/payout"},
	} {
		b.Run(kind.name, func(b *testing.B) {
			spent := cpuTime(b)
			writes, commits := g.Metric("nowpay_journal_writes_total"), g.Metric("nowpay_journal_commits_total")
			b.SetParallelism(clients / runtime.GOMAXPROCS(0))
			b.RunParallel(func(pb *testing.PB) {
				conn, err := net.Dial("tcp", strings.TrimPrefix(g.URL, "http://"))
				if err != nil {
					b.Error(err)
					return
				}
				defer conn.Close()
				answers := bufio.NewReader(conn)
				for pb.Next() {
					body := gatewaytest.Payout(fmt.Sprintf("B%d", ids.Add(1)), "1.50")
					if err := exchangeRaw(conn, answers, rawCall(kind.path, body)); err != nil {
						b.Error(err)
						return
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "exchanges/s")
			b.ReportMetric(float64((cpuTime(b)-spent).Microseconds())/float64(b.N), "CPU-µs/exchange")
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

// cpuTime is what the process has used so far.
func cpuTime(b *testing.B) time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
