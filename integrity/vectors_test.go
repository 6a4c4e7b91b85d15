package integrity_test

import (
	"bytes"
	"io/fs"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/nowpay-gateway/nowpay-gateway/integrity"
	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
	"github.com/nowpay-gateway/nowpay-gateway/secret"
)

// canary is the key in the vectors.
const canary = "5f3a9c0d1e7b2846af5c3d9e0b"

func canaryKey() secret.Value { return secret.New([]byte(canary)) }

// vector is a file in testdata/vectors: comments, fields, an empty line, the
// answer's body, and where one is expected, the scrubbed body.
type vector struct {
	name     string
	sent     integrity.Sent
	answer   integrity.Answer
	outcome  nowpay.Outcome
	findings []integrity.Finding
	id       string
	body     string // same, none or scrubbed
	scrubbed []byte
}

func TestVectors(t *testing.T) {
	t.Parallel()
	for _, v := range vectors(t) {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			want := map[string][]byte{"same": v.answer.Body, "none": nil, "scrubbed": v.scrubbed}[v.body]
			got := integrity.Check(v.sent, v.answer, canaryKey())

			if got.Outcome != v.outcome {
				t.Errorf("outcome = %q, want %q", got.Outcome, v.outcome)
			}
			if !slices.Equal(got.Findings, v.findings) {
				t.Errorf("findings = %q, want %q", got.Findings, v.findings)
			}
			if got.ProviderID != v.id {
				t.Errorf("provider id = %q, want %q", got.ProviderID, v.id)
			}
			if got.Leak != slices.Contains(v.findings, integrity.KeyLeak) {
				t.Errorf("leak = %v with findings %q", got.Leak, v.findings)
			}
			if !bytes.Equal(got.Body, want) || (got.Body == nil) != (want == nil) {
				t.Errorf("body = %q, want %q", got.Body, want)
			}
			wantHeader := http.Header{}
			if want != nil {
				wantHeader.Set("Content-Type", v.answer.Header.Get("Content-Type"))
			}
			if !equalHeaders(got.Header, wantHeader) {
				t.Errorf("header = %v, want %v", got.Header, wantHeader)
			}
		})
	}
}

func equalHeaders(a, b http.Header) bool {
	if len(a) != len(b) {
		return false
	}
	for name := range a {
		if !slices.Equal(a[name], b[name]) {
			return false
		}
	}
	return a != nil
}

func vectors(tb testing.TB) []vector {
	tb.Helper()
	dir := os.DirFS("testdata/vectors")
	files, err := fs.Glob(dir, "*.txt")
	if err != nil || len(files) == 0 {
		tb.Fatalf("no vectors: %v", err)
	}
	ops := operations()
	all := make([]vector, len(files))
	for i, file := range files {
		text, err := fs.ReadFile(dir, file)
		if err != nil {
			tb.Fatal(err)
		}
		all[i] = parseVector(tb, ops, strings.TrimSuffix(file, ".txt"), string(text))
	}
	return all
}

func parseVector(tb testing.TB, ops map[string]*nowpay.Operation, name, text string) vector {
	tb.Helper()
	v := vector{name: name, answer: integrity.Answer{Status: http.StatusOK, Header: http.Header{}}}
	fields, body, _ := strings.Cut(text, "\n\n")
	body, scrubbed, isScrubbed := strings.Cut(body, "-- scrubbed --\n")
	v.answer.Body = []byte(strings.TrimSuffix(body, "\n"))
	v.scrubbed = []byte(strings.TrimSuffix(scrubbed, "\n"))

	for line := range strings.Lines(fields) {
		field, value, ok := strings.Cut(strings.TrimSpace(line), ": ")
		var err error
		switch {
		case strings.HasPrefix(line, "#"):
		case !ok:
			tb.Fatalf("%s: no field: %q", name, line)
		case field == "operation":
			if v.sent.Operation = ops[value]; v.sent.Operation == nil {
				tb.Fatalf("%s: no operation %q", name, value)
			}
		case field == "request-id":
			v.sent.RequestID = value
		case field == "amount":
			v.sent.Amount, err = nowpay.ParseAmount(value)
		case field == "status":
			v.answer.Status, err = strconv.Atoi(value)
		case field == "header":
			key, content, _ := strings.Cut(value, ": ")
			v.answer.Header.Add(key, content)
		case field == "outcome":
			v.outcome = nowpay.Outcome(value)
		case field == "findings":
			for finding := range strings.FieldsSeq(value) {
				v.findings = append(v.findings, integrity.Finding(finding))
			}
		case field == "provider-id":
			v.id = value
		case field == "body":
			v.body = value
		default:
			tb.Fatalf("%s: unknown field %q", name, field)
		}
		if err != nil {
			tb.Fatalf("%s: %s: %v", name, field, err)
		}
	}
	if v.body != "same" && v.body != "none" && v.body != "scrubbed" || isScrubbed != (v.body == "scrubbed") {
		tb.Fatalf("%s: body: %q, scrubbed body there: %v", name, v.body, isScrubbed)
	}
	return v
}

// operations are the documented ones, and recharge as a user would add it.
func operations() map[string]*nowpay.Operation {
	byName := map[string]*nowpay.Operation{}
	for _, op := range append(nowpay.Documented(), nowpay.Operation{
		Name: "recharge/dorecharge", Method: http.MethodPost, Encoding: nowpay.JSON, Scale: nowpay.Scale012,
		MovesMoney: true, RequestID: "yourreqid", AnswerRequestID: "yourrequestid",
		ProviderID: "ourrequestid", Amount: "amount",
	}) {
		byName[op.Name] = &op
	}
	return byName
}
