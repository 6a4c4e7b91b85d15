package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"

	"github.com/nowpay-gateway/nowpay-gateway/bench/internal/provider"
)

const (
	token = "npg_bench"
	quote = "bank/quote" // bank/payout without money
)

// A request of about 400 bytes: a payment to a company with a long name. Its ID
// goes in between.
const (
	requestBefore = `{"accountnumber":"50100012345678901234","ifsc":"HDFC0000001","amount":"1.50","yourrequestid":"`
	requestAfter  = `","name":"Shri Venkateshwara Agricultural Produce Marketing and Warehousing Cooperative Society Limited` +
		` (Bengaluru Rural and Kolar Districts), Account of the Members' Welfare and Scholarship Fund for the Year` +
		` 2026-27, Branch Office Hoskote","transferMode":"IMPS"}`
)

// idLength is that of request IDs: a prefix and a number, which wrk's script counts.
const (
	prefixLength = 12
	numberLength = 12
	idLength     = prefixLength + numberLength
)

// prefixes counts those that were given out, so that no two loads send the same IDs.
var prefixes atomic.Int64

func newPrefix() string { return fmt.Sprintf("L%0*d", prefixLength-1, prefixes.Add(1)) }

func newRequest(prefix string, number int) string {
	return fmt.Sprintf("%s%s%0*d%s", requestBefore, prefix, numberLength, number, requestAfter)
}

// probe makes sure that what is called answers as the upstream does, and tells how
// many bytes an answer has with its head: it is the same for all.
func probe(ctx context.Context, url string) (length int, err error) {
	body := newRequest(newPrefix(), 0)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return 0, fmt.Errorf("calling %s: %w", url, err)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	request.Header.Set("Content-Type", "application/json")
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", request.URL.Host)
	if err != nil {
		return 0, fmt.Errorf("calling %s: %w", url, err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	if err := request.Write(conn); err != nil {
		return 0, fmt.Errorf("calling %s: %w", url, err)
	}
	var raw bytes.Buffer
	response, err := http.ReadResponse(bufio.NewReader(io.TeeReader(conn, &raw)), request)
	if err != nil {
		return 0, fmt.Errorf("calling %s: %w", url, err)
	}
	defer response.Body.Close()
	got, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, fmt.Errorf("calling %s: %w", url, err)
	}
	if want := provider.AppendAnswer(nil, provider.RequestID([]byte(body))); response.StatusCode != http.StatusOK || !bytes.Equal(got, want) {
		return 0, fmt.Errorf("calling %s: got HTTP %d, %s, want %s", url, response.StatusCode, got, want)
	}
	return raw.Len(), nil
}
