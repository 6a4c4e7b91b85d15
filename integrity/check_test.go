package integrity_test

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/nowpay-gateway/nowpay-gateway/integrity"
	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
	"github.com/nowpay-gateway/nowpay-gateway/secret"
)

func jsonAnswer(body string) integrity.Answer {
	return integrity.Answer{
		Status: http.StatusOK,
		Header: http.Header{"Content-Type": {"application/json"}},
		Body:   []byte(body),
	}
}

// TestScales reads every kind of `success` on every scale, in an answer that
// lacks nothing and in one with a message only.
func TestScales(t *testing.T) {
	t.Parallel()
	const (
		s = nowpay.Success
		f = nowpay.Failed
		r = nowpay.Refused
		p = nowpay.Pending
		u = nowpay.Unknown
	)
	type outcomes struct{ complete, bare nowpay.Outcome }
	unknown := outcomes{u, u}
	tests := map[string]struct {
		operation string
		outcomes  map[string]outcomes // of the JSON text of `success`; others are unknown
	}{
		"0/1/2": {"bank/payout", map[string]outcomes{
			`"1"`: {s, u}, `"0"`: {f, r}, `"2"`: {p, p}, `1`: {s, u}, `0`: {f, r}, `2`: {p, p},
		}},
		"0/1": {"bank/register", map[string]outcomes{
			`"1"`: {s, s}, `"0"`: {f, r}, `1`: {s, s}, `0`: {f, r},
		}},
		"pan": {"pan/managecoupon", map[string]outcomes{
			`"17"`: {s, u}, `"0"`: {f, r}, `"19"`: {f, u}, `"21"`: {p, p},
			`17`: {s, u}, `0`: {f, r}, `19`: {f, u}, `21`: {p, p},
		}},
		"no id": {"common/balance", map[string]outcomes{
			`"1"`: {s, s}, `"0"`: {f, r}, `"2"`: {p, p}, `1`: {s, s}, `0`: {f, r}, `2`: {p, p},
		}},
	}
	texts := []string{
		`"1"`, `"0"`, `"2"`, `"17"`, `"19"`, `"21"`, `1`, `0`, `2`, `17`, `19`, `21`,
		`"3"`, `3`, `-1`, `1.0`, `1e0`, `10`, `-0`, `"01"`, `"1.0"`, `" 1"`, `"1 "`, `"1\n"`, `"+1"`, `"１"`, `""`, `" "`,
		`"SUCCESS"`, `"true"`, `true`, `false`, `null`, `[]`, `["1"]`, `{}`, `{"success":"1"}`,
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sent := integrity.Sent{Operation: operations()[tt.operation], RequestID: "a1"}
			for _, text := range texts {
				want, ok := tt.outcomes[text]
				if !ok {
					want = unknown
				}
				bare := fmt.Sprintf(`{"success":%s,"message":"m"}`, text)
				complete := fmt.Sprintf(`{"success":%s,"message":"m","ourrequestid":"o1","yourrequestid":"a1","rrn":"1"}`, text)
				if got := integrity.Check(sent, jsonAnswer(bare), canaryKey()); got.Outcome != want.bare {
					t.Errorf("%s = %s %q, want %s", bare, got.Outcome, got.Findings, want.bare)
				}
				got := integrity.Check(sent, jsonAnswer(complete), canaryKey())
				if got.Outcome != want.complete {
					t.Errorf("%s = %s %q, want %s", complete, got.Outcome, got.Findings, want.complete)
				}
				wantFindings := []integrity.Finding(nil)
				if !ok {
					wantFindings = []integrity.Finding{integrity.WrongSuccess}
				}
				if !slices.Equal(got.Findings, wantFindings) {
					t.Errorf("%s: findings = %q, want %q", complete, got.Findings, wantFindings)
				}
			}
		})
	}
}

// TestEchoes varies one field of an answer that is right otherwise.
func TestEchoes(t *testing.T) {
	t.Parallel()
	const absent = ""
	long := strings.Repeat("9", 100)
	ok := map[string]string{"ourrequestid": `"o1"`, "yourrequestid": `"1001"`, "amount": `"1.50"`, "rrn": `"77"`}
	tests := []struct {
		field, value string
		success      string // "1" if not set
		want         nowpay.Outcome
		finding      integrity.Finding
	}{
		{field: "yourrequestid", value: `"1001"`, want: nowpay.Success},
		{field: "yourrequestid", value: `"\u0031001"`, want: nowpay.Success},
		{field: "yourrequestid", value: `1001`, want: nowpay.Success},
		{field: "yourrequestid", value: `1001.0`, want: nowpay.Unknown, finding: integrity.WrongRequestID},
		{field: "yourrequestid", value: `" 1001"`, want: nowpay.Unknown, finding: integrity.WrongRequestID},
		{field: "yourrequestid", value: `"01001"`, want: nowpay.Unknown, finding: integrity.WrongRequestID},
		{field: "yourrequestid", value: `"100"`, want: nowpay.Unknown, finding: integrity.WrongRequestID},
		{field: "yourrequestid", value: `""`, want: nowpay.Unknown, finding: integrity.WrongRequestID},
		{field: "yourrequestid", value: `null`, want: nowpay.Unknown, finding: integrity.WrongRequestID},
		{field: "yourrequestid", value: `["1001"]`, want: nowpay.Unknown, finding: integrity.WrongRequestID},
		{field: "yourrequestid", value: absent, want: nowpay.Unknown, finding: integrity.WrongRequestID},
		{field: "yourrequestid", value: absent, success: "0", want: nowpay.Unknown, finding: integrity.WrongRequestID},
		{field: "yourrequestid", value: absent, success: "2", want: nowpay.Pending},
		{field: "yourrequestid", value: `"7"`, success: "0", want: nowpay.Unknown, finding: integrity.WrongRequestID},
		{field: "yourrequestid", value: `"7"`, success: "2", want: nowpay.Unknown, finding: integrity.WrongRequestID},

		{field: "ourrequestid", value: `20211028`, want: nowpay.Success},
		{field: "ourrequestid", value: absent, want: nowpay.Unknown, finding: integrity.WrongProviderID},
		{field: "ourrequestid", value: `""`, want: nowpay.Unknown, finding: integrity.WrongProviderID},
		{field: "ourrequestid", value: `" "`, want: nowpay.Unknown, finding: integrity.WrongProviderID},
		{field: "ourrequestid", value: `null`, want: nowpay.Unknown, finding: integrity.WrongProviderID},
		{field: "ourrequestid", value: `true`, want: nowpay.Unknown, finding: integrity.WrongProviderID},
		{field: "ourrequestid", value: absent, success: "0", want: nowpay.Refused},
		{field: "ourrequestid", value: `" "`, success: "0", want: nowpay.Refused},
		{field: "ourrequestid", value: `null`, success: "0", want: nowpay.Refused},
		{field: "ourrequestid", value: `{}`, success: "0", want: nowpay.Unknown, finding: integrity.WrongProviderID},
		{field: "ourrequestid", value: `false`, success: "2", want: nowpay.Unknown, finding: integrity.WrongProviderID},
		{field: "ourrequestid", value: absent, success: "2", want: nowpay.Pending},

		{field: "ourrequestid", value: `"` + long + `"`, want: nowpay.Success},
		{field: "ourrequestid", value: `"` + long + `9"`, want: nowpay.Unknown, finding: integrity.WrongProviderID},
		{field: "ourrequestid", value: `"` + long + `9"`, success: "0", want: nowpay.Unknown, finding: integrity.WrongProviderID},
		{field: "ourrequestid", value: `"` + long + `9"`, success: "2", want: nowpay.Unknown, finding: integrity.WrongProviderID},
		{field: "ourrequestid", value: `1` + long, want: nowpay.Unknown, finding: integrity.WrongProviderID},
		{field: "ourrequestid", value: `"o\u0000"`, want: nowpay.Unknown, finding: integrity.WrongProviderID},
		{field: "ourrequestid", value: `"o\u0000"`, success: "0", want: nowpay.Unknown, finding: integrity.WrongProviderID},
		{field: "ourrequestid", value: `"o\n1"`, want: nowpay.Unknown, finding: integrity.WrongProviderID},
		{field: "ourrequestid", value: `"o\u202e1"`, want: nowpay.Unknown, finding: integrity.WrongProviderID},
		{field: "ourrequestid", value: `"o\ufffd1"`, want: nowpay.Unknown, finding: integrity.WrongProviderID},

		{field: "amount", value: `"1.5"`, want: nowpay.Success},
		{field: "amount", value: `1.5`, want: nowpay.Success},
		{field: "amount", value: `1.50`, want: nowpay.Success},
		{field: "amount", value: absent, want: nowpay.Success},
		{field: "amount", value: `"1.500"`, want: nowpay.Unknown, finding: integrity.WrongAmount},
		{field: "amount", value: `"1.51"`, want: nowpay.Unknown, finding: integrity.WrongAmount},
		{field: "amount", value: `15e-1`, want: nowpay.Unknown, finding: integrity.WrongAmount},
		{field: "amount", value: `"150"`, want: nowpay.Unknown, finding: integrity.WrongAmount},
		{field: "amount", value: `""`, want: nowpay.Unknown, finding: integrity.WrongAmount},
		{field: "amount", value: `null`, want: nowpay.Unknown, finding: integrity.WrongAmount},
		{field: "amount", value: `0`, success: "0", want: nowpay.Unknown, finding: integrity.WrongAmount},
		{field: "amount", value: `"2"`, success: "2", want: nowpay.Unknown, finding: integrity.WrongAmount},

		{field: "rrn", value: `12`, want: nowpay.Success},
		{field: "rrn", value: absent, want: nowpay.Pending, finding: integrity.MissingField},
		{field: "rrn", value: `" "`, want: nowpay.Pending, finding: integrity.MissingField},
		{field: "rrn", value: `null`, want: nowpay.Pending, finding: integrity.MissingField},
		{field: "rrn", value: `true`, want: nowpay.Pending, finding: integrity.MissingField},
		{field: "rrn", value: `{"rrn":"1"}`, want: nowpay.Pending, finding: integrity.MissingField},
		{field: "rrn", value: `"000000000000"`, want: nowpay.Pending, finding: integrity.MissingField},
		{field: "rrn", value: `"NA"`, want: nowpay.Pending, finding: integrity.MissingField},
		{field: "rrn", value: `"null"`, want: nowpay.Pending, finding: integrity.MissingField},
		{field: "rrn", value: `"` + long + `"`, want: nowpay.Success},
		{field: "rrn", value: `"` + long + `9"`, want: nowpay.Pending, finding: integrity.MissingField},
		{field: "rrn", value: `"77\u0000"`, want: nowpay.Pending, finding: integrity.MissingField},
		{field: "rrn", value: absent, success: "0", want: nowpay.Failed},
		{field: "rrn", value: absent, success: "2", want: nowpay.Pending},
		{field: "RRN", value: `"77"`, want: nowpay.Unknown, finding: integrity.AmbiguousName},
		{field: "Amount", value: `"1.50"`, want: nowpay.Unknown, finding: integrity.AmbiguousName},
		{field: "OurRequestID", value: `"o2"`, success: "0", want: nowpay.Unknown, finding: integrity.AmbiguousName},
		{field: "ſuccess", value: `"1"`, want: nowpay.Unknown, finding: integrity.AmbiguousName},
		{field: "Message", value: `"77"`, want: nowpay.Success},
	}
	sent := integrity.Sent{Operation: operations()["bank/payout"], RequestID: "1001", Amount: 150}
	for _, tt := range tests {
		success := tt.success
		if success == "" {
			success = "1"
		}
		body := fmt.Sprintf(`{"success":%q`, success)
		for name, value := range ok {
			if name != tt.field && (name != "rrn" || success != "0") {
				body += fmt.Sprintf(`,%q:%s`, name, value)
			}
		}
		if tt.value != absent {
			body += fmt.Sprintf(`,%q:%s`, tt.field, tt.value)
		}
		body += "}"

		got := integrity.Check(sent, jsonAnswer(body), canaryKey())
		if got.Outcome != tt.want {
			t.Errorf("%s = %s, want %s", body, got.Outcome, tt.want)
		}
		var findings []integrity.Finding
		if tt.finding != "" {
			findings = []integrity.Finding{tt.finding}
		}
		if !slices.Equal(got.Findings, findings) {
			t.Errorf("%s: findings = %q, want %q", body, got.Findings, findings)
		}
		if tt.finding == integrity.WrongProviderID && got.ProviderID != "" {
			t.Errorf("%s: provider ID %q", body, got.ProviderID)
		}
		if passed := got.Body != nil; passed != (len(findings) == 0) {
			t.Errorf("%s: body passed on: %v", body, passed)
		}
	}
}

// TestNothingSent checks that what was not sent is not compared.
func TestNothingSent(t *testing.T) {
	t.Parallel()
	for _, body := range []string{
		`{"success":"1","ourrequestid":"o1","rrn":"7"}`,
		`{"success":"1","ourrequestid":"o1","rrn":"7","yourrequestid":"x","amount":"5"}`,
	} {
		sent := integrity.Sent{Operation: operations()["bank/payout"]}
		if got := integrity.Check(sent, jsonAnswer(body), canaryKey()); got.Outcome != nowpay.Success {
			t.Errorf("%s = %s %q, want success", body, got.Outcome, got.Findings)
		}
	}
}

func TestTransport(t *testing.T) {
	t.Parallel()
	const body = `{"success":"1","ourrequestid":"o1","yourrequestid":"1","rrn":"7"}`
	tests := []struct {
		name    string
		status  int
		header  http.Header
		body    string
		finding integrity.Finding
	}{
		{name: "plain", header: http.Header{"Content-Type": {"application/json"}}},
		{name: "charset", header: http.Header{"Content-Type": {"Application/JSON; Charset=UTF-8"}}},
		{name: "quoted charset", header: http.Header{"Content-Type": {`application/json;charset="utf-8"`}}},
		{name: "identity", header: http.Header{"Content-Type": {"application/json"}, "Content-Encoding": {"Identity"}}},
		{name: "whitespace around", body: " \r\n\t" + body + "\n"},

		{name: "no type", header: http.Header{}, finding: integrity.WrongContentType},
		{name: "empty type", header: http.Header{"Content-Type": {""}}, finding: integrity.WrongContentType},
		{name: "same type twice", header: http.Header{"Content-Type": {"application/json", "application/json"}}, finding: integrity.WrongContentType},
		{name: "two types in one", header: http.Header{"Content-Type": {"application/json, text/html"}}, finding: integrity.WrongContentType},
		{name: "other charset", header: http.Header{"Content-Type": {"application/json; charset=utf-16"}}, finding: integrity.WrongContentType},
		{name: "other parameter", header: http.Header{"Content-Type": {"application/json; profile=x"}}, finding: integrity.WrongContentType},
		{name: "two parameters", header: http.Header{"Content-Type": {"application/json; charset=utf-8; q=1"}}, finding: integrity.WrongContentType},
		{name: "bad parameter", header: http.Header{"Content-Type": {"application/json; charset"}}, finding: integrity.WrongContentType},
		{name: "problem", header: http.Header{"Content-Type": {"application/problem+json"}}, finding: integrity.WrongContentType},
		{name: "script", header: http.Header{"Content-Type": {"text/javascript"}}, finding: integrity.WrongContentType},
		{name: "brotli", header: http.Header{"Content-Type": {"application/json"}, "Content-Encoding": {"br"}}, finding: integrity.WrongEncoding},
		{name: "two encodings", header: http.Header{"Content-Type": {"application/json"}, "Content-Encoding": {"identity", "gzip"}}, finding: integrity.WrongEncoding},

		{name: "status 201", status: 201, finding: integrity.WrongStatus},
		{name: "status 0", status: -1, finding: integrity.WrongStatus},
		{name: "status 299", status: 299, finding: integrity.WrongStatus},

		{name: "byte order mark", body: "\ufeff" + body, finding: integrity.Malformed},
		{name: "invalid UTF-8", body: strings.Replace(body, "o1", "o\xff", 1), finding: integrity.Malformed},
		{name: "trailing object", body: body + "{}", finding: integrity.Malformed},
		{name: "trailing NUL", body: body + "\x00", finding: integrity.Malformed},
		{name: "trailing comma", body: strings.Replace(body, "}", ",}", 1), finding: integrity.Malformed},
		{name: "duplicate by escape", body: strings.Replace(body, "}", `,"\u0073uccess":"1"}`, 1), finding: integrity.Malformed},
		{name: "deep duplicate", body: strings.Replace(body, "}", `,"d":[{"a":1,"a":2}]}`, 1), finding: integrity.Malformed},
		{name: "cut off", body: body[:len(body)-1], finding: integrity.Malformed},
		{name: "string", body: `"1"`, finding: integrity.Malformed},
		{name: "null", body: `null`, finding: integrity.Malformed},
		{name: "depth 32", body: strings.Replace(body, "}", `,"d":`+strings.Repeat("[", 31)+strings.Repeat("]", 31)+"}", 1)},
		{name: "depth 33", body: strings.Replace(body, "}", `,"d":`+strings.Repeat("[", 32)+strings.Repeat("]", 32)+"}", 1), finding: integrity.Malformed},
		{name: "large", body: strings.Replace(body, "}", `,"d":"`+strings.Repeat("x", 1<<20)+`"}`, 1)},
	}
	sent := integrity.Sent{Operation: operations()["bank/payout"], RequestID: "1"}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ans := jsonAnswer(body)
			if tt.status != 0 {
				ans.Status = tt.status
			}
			if tt.header != nil {
				ans.Header = tt.header
			}
			if tt.body != "" {
				ans.Body = []byte(tt.body)
			}
			got := integrity.Check(sent, ans, canaryKey())
			outcome, findings := nowpay.Success, []integrity.Finding(nil)
			if tt.finding != "" {
				outcome, findings = nowpay.Unknown, []integrity.Finding{tt.finding}
			}
			if got.Outcome != outcome || !slices.Equal(got.Findings, findings) {
				t.Errorf("Check = %s %q, want %s %q", got.Outcome, got.Findings, outcome, findings)
			}
		})
	}
}

// TestNothingIsShared checks that Check changes nothing that it was given, and
// that a verdict's header is nobody else's.
func TestNothingIsShared(t *testing.T) {
	t.Parallel()
	for _, v := range vectors(t) {
		body, header := bytes.Clone(v.answer.Body), v.answer.Header.Clone()
		key := canaryKey()
		got := integrity.Check(v.sent, v.answer, key)
		got.Header.Set("Content-Type", "changed")
		got.Header.Set("Added", "1")
		if !bytes.Equal(v.answer.Body, body) || !equalHeaders(v.answer.Header, header) {
			t.Errorf("%s: the answer has changed", v.name)
		}
		if string(key.Reveal()) != canary {
			t.Errorf("%s: the key has changed", v.name)
		}
	}
}

// TestNoKey checks that an empty key, or one already wiped, is found nowhere.
func TestNoKey(t *testing.T) {
	t.Parallel()
	sent := integrity.Sent{Operation: operations()["common/balance"]}
	wiped := canaryKey()
	wiped.Wipe()
	for _, key := range []secret.Value{{}, secret.New(nil), wiped} {
		got := integrity.Check(sent, jsonAnswer(`{"success":"1","message":""}`), key)
		if got.Leak || got.Body == nil {
			t.Errorf("Check without a key = %+v", got)
		}
	}
}

// TestKeyIsNumber checks that a number that holds the key is scrubbed too.
func TestKeyIsNumber(t *testing.T) {
	t.Parallel()
	sent := integrity.Sent{Operation: operations()["bank/payout"]}
	got := integrity.Check(sent, jsonAnswer(`{"success":2,"message":1298765432100}`), secret.New([]byte("9876543210")))
	if want := `{"success":2,"message":"[removed]"}`; !got.Leak || string(got.Body) != want {
		t.Errorf("Check = leak %v, body %q; want a leak and %q", got.Leak, got.Body, want)
	}
}

// TestKeyInPassedHeader checks that a header that may be passed on is not if
// it holds the key.
func TestKeyInPassedHeader(t *testing.T) {
	t.Parallel()
	sent := integrity.Sent{Operation: operations()["bank/payout"]}
	got := integrity.Check(sent, jsonAnswer(`{"success":2}`), secret.New([]byte("application")))
	if !got.Leak || got.Body == nil || len(got.Header) != 0 {
		t.Errorf("Check = leak %v, body %q, header %v; want a leak, the body and no header", got.Leak, got.Body, got.Header)
	}
}

// TestShortKey checks that what scrubbing makes of a field that tells the
// outcome is not passed on.
func TestShortKey(t *testing.T) {
	t.Parallel()
	sent := integrity.Sent{Operation: operations()["bank/payout"]}
	got := integrity.Check(sent, jsonAnswer(`{"success":"2","message":"m"}`), secret.New([]byte("2")))
	if got.Outcome != nowpay.Pending || !got.Leak || got.Body != nil {
		t.Errorf("Check = %s, leak %v, body %q; want pending with a leak and no body", got.Outcome, got.Leak, got.Body)
	}
}
