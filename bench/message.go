package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
)

const (
	username = "2000"
	key      = "0123456789abcdef0123456789"
	token    = "npg_bench"
	quote    = "bank/quote" // bank/payout without money
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

// requestID finds the ID in a request.
func requestID(request []byte) []byte {
	_, rest, _ := bytes.Cut(request, []byte(`"yourrequestid":"`))
	id, _, _ := bytes.Cut(rest, []byte(`"`))
	return id
}

// appendAnswer appends an answer of about 350 bytes.
func appendAnswer(out, id []byte) []byte {
	out = append(out, `{"success":"1","message":"Transaction Successful","ourrequestid":"N`...)
	out = append(out, id...)
	out = append(out, `","yourrequestid":"`...)
	out = append(out, id...)
	return append(out, `","rrn":"429910000001","amount":"1.50","beneficiaryName":"Shri Venkateshwara Agricultural Produce`+
		` Marketing and Warehousing Cooperative Society Limited, Bengaluru Rural","date":"2026-11-22 05:19:50 pm"}`...)
}

// probe makes sure that what is called answers as the upstream does.
func probe(ctx context.Context, url string) error {
	body := newRequest(newPrefix(), 0)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return fmt.Errorf("calling %s: %w", url, err)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	request.Header.Set("Content-Type", "application/json")
	got, err := do(request)
	if err != nil {
		return err
	}
	if want := appendAnswer(nil, requestID([]byte(body))); !bytes.Equal(got, want) {
		return fmt.Errorf("calling %s: got %s, want %s", url, got, want)
	}
	return nil
}

// get returns what an address answers.
func get(ctx context.Context, url string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, fmt.Errorf("asking %s: %w", url, err)
	}
	return do(request)
}

// do returns the body of an answer that is OK.
func do(request *http.Request) ([]byte, error) {
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, fmt.Errorf("calling: %w", err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("HTTP %d: %s", response.StatusCode, body)
	}
	if err != nil {
		return nil, fmt.Errorf("calling %s: %w", request.URL, err)
	}
	return body, nil
}
