package integrity_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/nowpay-gateway/nowpay-gateway/integrity"
	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
	"github.com/nowpay-gateway/nowpay-gateway/secret"
)

const ours = "20211028pm231537111806"

// payoutQuery is a query about payouts as a user would add it.
func payoutQuery() *nowpay.StatusQuery {
	return &nowpay.StatusQuery{
		Operation: "bank/payout_status",
		Send:      []nowpay.StatusField{{Name: "yourrequestid", Source: nowpay.SourceRequestID}},
		Rows:      "data",
		Match: []nowpay.StatusField{
			{Name: "yourrequestid", Source: nowpay.SourceRequestID},
			{Name: "ourrequestid", Source: nowpay.SourceProviderID},
			{Name: "amount", Source: nowpay.SourceAmount},
		},
		State:      "status",
		States:     map[string]nowpay.Outcome{"1": nowpay.Success, "0": nowpay.Failed, "2": nowpay.Pending},
		ProviderID: "ourrequestid",
		Reference:  "rrn",
	}
}

// asked is a question about a transaction of 1.50 rupees of which all is known.
func asked(operation string) integrity.Asked {
	op := *operations()[operation]
	switch operation {
	case "bank/payout":
		op.Status = payoutQuery()
	case "recharge/dorecharge":
		op.Status = nowpay.HistoryQuery("recharge/history")
	}
	return integrity.Asked{
		Operation:       &op,
		StatusOperation: &nowpay.Operation{Name: op.Status.Operation, Scale: nowpay.Scale012},
		Known: nowpay.Known{
			RequestID: "1001", ProviderID: ours, Amount: 150, Fields: map[string]string{"psaid": "P1"},
		},
	}
}

type wantStatus struct {
	outcome  nowpay.Outcome
	found    bool
	findings []integrity.Finding
}

func checkVerdict(t *testing.T, name string, got integrity.StatusVerdict, want wantStatus) {
	t.Helper()
	if got.Outcome != want.outcome || got.Found != want.found || !slices.Equal(got.Findings, want.findings) {
		t.Errorf("%s: %s, found %v, findings %q; want %s, %v, %q",
			name, got.Outcome, got.Found, got.Findings, want.outcome, want.found, want.findings)
	}
	known := got.Outcome != nowpay.Unknown
	if !known && (got.ProviderID != "" || got.Reference != "") {
		t.Errorf("%s: ids %q and %q of an unknown outcome", name, got.ProviderID, got.Reference)
	}
}

func is(outcome nowpay.Outcome) wantStatus { return wantStatus{outcome: outcome, found: true} }
func not(findings ...integrity.Finding) wantStatus {
	return wantStatus{outcome: nowpay.Unknown, findings: findings}
}

func doubt(findings ...integrity.Finding) wantStatus {
	return wantStatus{outcome: nowpay.Unknown, found: true, findings: findings}
}

// TestStatusRows: answers with rows, which history and payouts have.
func TestStatusRows(t *testing.T) {
	t.Parallel()
	row := func(ours, yours, amount, status, rrn string) string {
		return fmt.Sprintf(`{"ourrequestid":%q,"yourrequestid":%q,"amount":%q,"status":%q,"rrn":%q,"date":"today"}`, ours, yours, amount, status, rrn)
	}
	data := func(rows ...string) string {
		return `{"success":"1","message":"ok","data":[` + strings.Join(rows, ",") + `]}`
	}
	paid, other := row(ours, "1001", "1.50", "1", "77"), row("20211028pm000000000000", "2002", "9", "0", "")
	tests := map[string]struct {
		body string
		want wantStatus
	}{
		"paid":                       {data(paid), is(nowpay.Success)},
		"failed":                     {data(row(ours, "1001", "1.50", "0", "")), is(nowpay.Failed)},
		"pending":                    {data(row(ours, "1001", "1.50", "2", "")), is(nowpay.Pending)},
		"numbers":                    {`{"success":1,"data":[{"ourrequestid":"` + ours + `","yourrequestid":1001,"amount":1.5,"status":1,"rrn":77}]}`, is(nowpay.Success)},
		"among others":               {data(other, paid, row(ours+"0", "10010", "1.50", "0", "")), is(nowpay.Success)},
		"paid without rrn":           {data(row(ours, "1001", "1.50", "1", "")), wantStatus{nowpay.Pending, true, []integrity.Finding{integrity.MissingField}}},
		"paid with an unset rrn":     {data(row(ours, "1001", "1.50", "1", "0000")), wantStatus{nowpay.Pending, true, []integrity.Finding{integrity.MissingField}}},
		"nothing":                    {data(), not()},
		"only others":                {data(other, other), not()},
		"longer ids":                 {data(row(ours+"0", "10010", "1.50", "0", "")), not()},
		"shorter ids":                {data(row(ours[:21], "100", "1.50", "0", "")), not()},
		"no ids":                     {data(`{"amount":"1.50","status":"0"}`), not()},
		"ids of another type":        {data(`{"ourrequestid":["` + ours + `"],"yourrequestid":{"a":"1001"},"status":"0"}`), not()},
		"twice":                      {data(paid, paid), not(integrity.ManyRows)},
		"paid under another id too":  {data(row("20211028pm231538000000", "1001", "1.50", "1", "78"), paid), not(integrity.ManyRows)},
		"id collision":               {data(paid, row(ours, "2002", "7", "0", "")), not(integrity.ManyRows)},
		"another's provider ID":      {data(row(ours[:21]+"7", "1001", "1.50", "0", "")), not(integrity.WrongProviderID)},
		"another's request ID":       {data(row(ours, "2002", "1.50", "0", "")), not(integrity.WrongRequestID)},
		"request ID missing":         {data(`{"ourrequestid":"` + ours + `","amount":"1.50","status":"0"}`), not(integrity.WrongRequestID)},
		"provider ID missing":        {data(`{"yourrequestid":"1001","amount":"1.50","status":"0"}`), not(integrity.WrongProviderID)},
		"another amount":             {data(row(ours, "1001", "2.50", "1", "77")), doubt(integrity.WrongAmount)},
		"no amount":                  {data(row(ours, "1001", "", "0", "")), doubt(integrity.WrongAmount)},
		"another state":              {data(row(ours, "1001", "1.50", "3", "77")), doubt(integrity.WrongState)},
		"a word for a state":         {data(row(ours, "1001", "1.50", "FAILED", "")), doubt(integrity.WrongState)},
		"a space in the state":       {data(row(ours, "1001", "1.50", " 0", "")), doubt(integrity.WrongState)},
		"no state":                   {data(`{"ourrequestid":"` + ours + `","yourrequestid":"1001","amount":"1.50"}`), doubt(integrity.WrongState)},
		"state in other case":        {data(paid[:len(paid)-1] + `,"Status":"0"}`), not(integrity.AmbiguousName)},
		"id in other case":           {data(other, `{"OurRequestID":"`+ours+`","status":"0"}`), not(integrity.AmbiguousName)},
		"rows in other case":         {`{"success":"1","data":[],"Data":[` + paid + `]}`, not(integrity.AmbiguousName)},
		"success in other case":      {`{"success":"1","Success":"0","data":[` + paid + `]}`, not(integrity.AmbiguousName)},
		"query refused":              {`{"success":"0","message":"Invalid Username Or Key"}`, not(integrity.QueryRefused)},
		"query refused, with a row":  {`{"success":"0","data":[` + row(ours, "1001", "1.50", "0", "") + `]}`, not(integrity.QueryRefused)},
		"query pending":              {`{"success":"2","data":[` + paid + `]}`, not(integrity.WrongSuccess)},
		"query of unknown success":   {`{"success":"7","data":[` + paid + `]}`, not(integrity.WrongSuccess)},
		"no success":                 {`{"data":[` + paid + `]}`, not(integrity.WrongSuccess)},
		"no data":                    {`{"success":"1"}`, not(integrity.Malformed)},
		"data null":                  {`{"success":"1","data":null}`, not(integrity.Malformed)},
		"data is one row":            {`{"success":"1","data":` + paid + `}`, not(integrity.Malformed)},
		"data is a text":             {`{"success":"1","data":"[]"}`, not(integrity.Malformed)},
		"data of more than rows":     {`{"success":"1","data":[` + paid + `,1]}`, not(integrity.Malformed)},
		"the answer looks like one":  {`{"success":"1","data":[],"ourrequestid":"` + ours + `","yourrequestid":"1001","amount":"1.50","status":"0"}`, not()},
		"duplicate names":            {`{"success":"1","data":[{"status":"0",` + paid[1:] + `]}`, not(integrity.Malformed)},
		"junk in front":              {`{"a":1}` + data(paid), not(integrity.Malformed)},
		"no JSON":                    {`<br>`, not(integrity.Malformed)},
		"nothing at all":             {``, not(integrity.Malformed)},
		"nested too deeply":          {data(paid[:len(paid)-1] + `,"x":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}`), not(integrity.Malformed)},
		"a reference too long":       {data(row(ours, "1001", "1.50", "1", strings.Repeat("7", 101))), wantStatus{nowpay.Pending, true, []integrity.Finding{integrity.MissingField}}},
		"a reference with a NUL":     {strings.Replace(data(paid), `"77"`, `"77\u0000"`, 1), wantStatus{nowpay.Pending, true, []integrity.Finding{integrity.MissingField}}},
		"failed, unfit reference":    {data(row(ours, "1001", "1.50", "0", strings.Repeat("7", 101))), is(nowpay.Failed)},
		"amount and state are wrong": {data(row(ours, "1001", "2", "9", "")), doubt(integrity.WrongAmount, integrity.WrongState)},
	}
	for name, tt := range tests {
		got := integrity.CheckStatus(asked("bank/payout"), jsonAnswer(tt.body), canaryKey())
		checkVerdict(t, name, got, tt.want)
		if len(got.Reference) > 100 {
			t.Errorf("%s: reference %s", name, got.Reference)
		}
		if got.Outcome == nowpay.Success && (got.ProviderID != ours || got.Reference != "77") {
			t.Errorf("%s: ids %q and %q", name, got.ProviderID, got.Reference)
		}
	}

	recharge := asked("recharge/dorecharge")
	text := `{"success":"1","data":[{"Clientid":"` + ours + `","yourreqid":"1001","amount":"1.50","status":"1","op_referenceid":""}]}`
	checkVerdict(t, "history", integrity.CheckStatus(recharge, jsonAnswer(text), canaryKey()), is(nowpay.Success))
	recharge.Operation.Status.Match = recharge.Operation.Status.Match[1:] // the id is there, but not compared
	text = strings.Replace(text, ours, "20211028pm231538000000", 1)
	checkVerdict(t, "history of another", integrity.CheckStatus(recharge, jsonAnswer(text), canaryKey()), not(integrity.WrongProviderID))
}

// TestStatusUnasked: what is not known is not compared, and who is not known is
// not found.
func TestStatusUnasked(t *testing.T) {
	t.Parallel()
	row := `{"success":"1","data":[{"ourrequestid":"` + ours + `","yourrequestid":"1001","amount":"1.50","status":"1","rrn":"77"}]}`
	coupon := `{"success":"1","coupon_status":"APPROVED","psaid":"P1"}`
	tests := map[string]struct {
		operation, body string
		known           nowpay.Known
		want            wantStatus
	}{
		"after a time-out":        {"bank/payout", row, nowpay.Known{RequestID: "1001", Amount: 150}, is(nowpay.Success)},
		"by provider ID alone":    {"bank/payout", row, nowpay.Known{ProviderID: ours}, is(nowpay.Success)},
		"without an amount":       {"bank/payout", row, nowpay.Known{RequestID: "1001"}, is(nowpay.Success)},
		"of another, by time-out": {"bank/payout", row, nowpay.Known{RequestID: "100"}, not()},
		"without an id":           {"bank/payout", row, nowpay.Known{Amount: 150}, not()},
		"nothing":                 {"bank/payout", row, nowpay.Known{}, not()},
		"coupon":                  {"pan/managecoupon", coupon, nowpay.Known{ProviderID: ours}, is(nowpay.Success)},
		"coupon without an id":    {"pan/managecoupon", coupon, nowpay.Known{RequestID: "1001", Fields: map[string]string{"psaid": "P1"}}, not()},
	}
	for name, tt := range tests {
		a := asked(tt.operation)
		a.Known = tt.known
		checkVerdict(t, name, integrity.CheckStatus(a, jsonAnswer(tt.body), canaryKey()), tt.want)
	}
}

// TestStatusItself: answers that are about the transaction, as that of coupons.
func TestStatusItself(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]wantStatus{
		`{"success":"1","message":"m","coupon_status":"APPROVED","psaid":"P1"}`:   is(nowpay.Success),
		`{"success":1,"coupon_status":"APPROVED","psaid":"P1"}`:                   is(nowpay.Success),
		`{"success":"0","message":"m","coupon_status":"REJECTED","psaid":"P1"}`:   is(nowpay.Failed),
		`{"success":"2","message":"m","coupon_status":"PENDING","psaid":"P1"}`:    is(nowpay.Pending),
		`{"success":"0","message":"Invalid Username Or Key"}`:                     not(integrity.QueryRefused),
		`{"success":"0","message":"m","coupon_status":"","psaid":"P1"}`:           not(integrity.QueryRefused),
		`{"success":"1","message":"m","psaid":"P1"}`:                              doubt(integrity.WrongState),
		`{"success":"1","coupon_status":"REJECTED","psaid":"P1"}`:                 doubt(integrity.Contradiction),
		`{"success":"0","coupon_status":"APPROVED","psaid":"P1"}`:                 doubt(integrity.Contradiction),
		`{"success":"2","coupon_status":"APPROVED","psaid":"P1"}`:                 doubt(integrity.Contradiction),
		`{"success":"0","coupon_status":"PENDING","psaid":"P1"}`:                  doubt(integrity.Contradiction),
		`{"success":"17","coupon_status":"APPROVED","psaid":"P1"}`:                not(integrity.WrongSuccess),
		`{"coupon_status":"REJECTED","psaid":"P1"}`:                               not(integrity.WrongSuccess),
		`{"success":"1","coupon_status":"APPROVED","psaid":"P2"}`:                 not(integrity.WrongField),
		`{"success":"0","coupon_status":"REJECTED"}`:                              not(integrity.WrongField),
		`{"success":"1","coupon_status":"approved","psaid":"P1"}`:                 doubt(integrity.WrongState),
		`{"success":"1","coupon_status":null,"psaid":"P1"}`:                       doubt(integrity.WrongState),
		`{"success":"1","coupon_status":"APPROVED","psaid":"P1","PSAID":"P2"}`:    not(integrity.AmbiguousName),
		`{"success":"1","Success":"0","coupon_status":"APPROVED","psaid":"P1"}`:   not(integrity.AmbiguousName),
		`{"success":"1","data":[{"coupon_status":"APPROVED","psaid":"P1"}]}`:      not(integrity.WrongField, integrity.WrongState),
		`[{"success":"1","coupon_status":"APPROVED","psaid":"P1"}]`:               not(integrity.Malformed),
		`{"success":"1","coupon_status":"APPROVED","psaid":"P1","psaid":"P1"}`:    not(integrity.Malformed),
		`{"success":"1","coupon_status":"APPROVED","psaid":"P1"} {"success":"0"}`: not(integrity.Malformed),
	} {
		got := integrity.CheckStatus(asked("pan/managecoupon"), jsonAnswer(body), canaryKey())
		checkVerdict(t, body, got, want)
	}

	// Where `success` is the state, only the id tells an answer from a refusal.
	payout := asked("bank/payout")
	payout.Operation.Status.Rows, payout.Operation.Status.State = "", "success"
	for body, want := range map[string]wantStatus{
		`{"success":"0","message":"Invalid Username Or Key"}`:                                                           not(integrity.WrongRequestID, integrity.WrongProviderID, integrity.WrongAmount),
		`{"success":"0","ourrequestid":"` + ours + `","yourrequestid":"1001","amount":"1.50"}`:                          is(nowpay.Failed),
		`{"success":"1","ourrequestid":"` + ours + `","yourrequestid":"1001","amount":"1.50","rrn":"1"}`:                is(nowpay.Success),
		`{"success":"0","ourrequestid":"` + ours + `","yourrequestid":"100","amount":"1.50"}`:                           not(integrity.WrongRequestID),
		`{"success":"0","data":[{"ourrequestid":"` + ours + `","yourrequestid":"1001","amount":"1.50","success":"0"}]}`: not(integrity.WrongRequestID, integrity.WrongProviderID, integrity.WrongAmount),
	} {
		checkVerdict(t, body, integrity.CheckStatus(payout, jsonAnswer(body), canaryKey()), want)
	}
}

// TestStatusTransport: an answer that is no answer tells nothing.
func TestStatusTransport(t *testing.T) {
	t.Parallel()
	const body = `{"success":"0","coupon_status":"REJECTED","psaid":"P1"}`
	for name, tt := range map[string]struct {
		change func(ans *integrity.Answer)
		want   wantStatus
	}{
		"as it is":     {func(*integrity.Answer) {}, is(nowpay.Failed)},
		"status":       {func(ans *integrity.Answer) { ans.Status = http.StatusInternalServerError }, not(integrity.WrongStatus)},
		"redirect":     {func(ans *integrity.Answer) { ans.Status = http.StatusFound }, not(integrity.WrongStatus)},
		"content type": {func(ans *integrity.Answer) { ans.Header.Set("Content-Type", "text/html") }, not(integrity.WrongContentType)},
		"no header":    {func(ans *integrity.Answer) { ans.Header = nil }, not(integrity.WrongContentType)},
		"encoding":     {func(ans *integrity.Answer) { ans.Header.Set("Content-Encoding", "gzip") }, not(integrity.WrongEncoding)},
	} {
		ans := jsonAnswer(body)
		tt.change(&ans)
		checkVerdict(t, name, integrity.CheckStatus(asked("pan/managecoupon"), ans, canaryKey()), tt.want)
	}
}

// TestStatusLeak: the state counts, but nothing that holds the key is returned.
func TestStatusLeak(t *testing.T) {
	t.Parallel()
	leak := []integrity.Finding{integrity.KeyLeak}
	row := func(message, id, rrn string) string {
		return fmt.Sprintf(`{"success":"1","message":%q,"data":[{"ourrequestid":%q,"yourrequestid":"1001","amount":"1.50","status":"1","rrn":%q}]}`, message, id, rrn)
	}
	tests := map[string]struct {
		body, header          string
		want                  wantStatus
		providerID, reference string
	}{
		"in the message": {row("key "+canary, ours, "77"), "", wantStatus{nowpay.Success, true, leak}, ours, "77"},
		"in a header":    {row("", ours, "77"), "k=" + canary, wantStatus{nowpay.Success, true, leak}, ours, "77"},
		"in a reference": {row("", ours, "77"+strings.ToUpper(canary)), "", wantStatus{nowpay.Success, true, leak}, ours, ""},
		"in the id":      {row("", canary, "77"), "", wantStatus{nowpay.Success, true, leak}, "", "77"},
		"in pieces":      {row(canary[13:], ours, "77"+canary[:13]), "", wantStatus{nowpay.Success, true, leak}, "", ""},
		"of nothing":     {`{"success":"1","data":[],"x":"` + canary + `"}`, "", wantStatus{nowpay.Unknown, false, leak}, "", ""},
		"in no JSON":     {canary, "", not(integrity.Malformed, integrity.KeyLeak), "", ""},
	}
	for name, tt := range tests {
		a := asked("bank/payout")
		a.Known.ProviderID = ""
		ans := jsonAnswer(tt.body)
		ans.Header.Set("X-Debug", tt.header)
		got := integrity.CheckStatus(a, ans, canaryKey())
		checkVerdict(t, name, got, tt.want)
		if !got.Leak || got.ProviderID != tt.providerID || got.Reference != tt.reference {
			t.Errorf("%s: leak %v, ids %q and %q, want %q and %q", name, got.Leak, got.ProviderID, got.Reference, tt.providerID, tt.reference)
		}
	}
}

// FuzzCheckStatus holds CheckStatus against a naive reader of the answer.
func FuzzCheckStatus(f *testing.F) {
	const pay, coupon = "bank/payout", "pan/managecoupon"
	row := `{"ourrequestid":"` + ours + `","yourrequestid":"1001","amount":"1.50","status":"1","rrn":"77"}`
	for _, body := range []string{
		`{"success":"1","data":[` + row + `]}`,
		`{"success":"1","data":[` + row + `,{"ourrequestid":"x"}]}`,
		`{"success":"0","message":"` + canary + `"}`,
		`{"success":"1","coupon_status":"APPROVED","psaid":"P1"}`,
	} {
		f.Add(pay, "1001", ours, int64(150), http.StatusOK, "application/json", []byte(body))
		f.Add(coupon, "1001", ours, int64(0), http.StatusOK, "application/json", []byte(body))
		f.Add(pay, "1001", "", int64(0), http.StatusOK, "text/html", []byte(body))
	}
	about := map[string]integrity.Asked{pay: asked(pay), coupon: asked(coupon)}
	f.Fuzz(func(t *testing.T, operation, requestID, providerID string, amount int64, status int, contentType string, body []byte) {
		a, ok := about[operation]
		if !ok {
			a = about[pay]
		}
		a.Known.RequestID, a.Known.ProviderID, a.Known.Amount = requestID, providerID, nowpay.Paise(amount)
		ans := integrity.Answer{Status: status, Header: http.Header{"Content-Type": {contentType}}, Body: body}
		got := integrity.CheckStatus(a, ans, canaryKey())

		if got.Leak != slices.Contains(got.Findings, integrity.KeyLeak) {
			t.Errorf("leak %v with findings %q", got.Leak, got.Findings)
		}
		for _, text := range []string{got.ProviderID, got.Reference} {
			if form := naiveLeak([]byte(canary), []byte(text)); form != "" {
				t.Errorf("key as %q in %q", form, text)
			}
		}
		switch got.Outcome {
		case nowpay.Success, nowpay.Failed, nowpay.Pending:
			checkStatusFinal(t, a, ans, got)
		case nowpay.Unknown:
		default:
			t.Errorf("outcome %q", got.Outcome)
		}
		if again := integrity.CheckStatus(a, ans, secret.Value{}); again.Outcome != got.Outcome || again.Found != got.Found {
			t.Errorf("%s %v depends on the key: %s %v", got.Outcome, got.Found, again.Outcome, again.Found)
		}
	})
}

// checkStatusFinal allows a state only where exactly one row tells it that has
// all ids that are known.
func checkStatusFinal(t *testing.T, a integrity.Asked, ans integrity.Answer, got integrity.StatusVerdict) {
	t.Helper()
	if ans.Status != http.StatusOK || !got.Found {
		t.Errorf("%s with status %d, found %v", got.Outcome, ans.Status, got.Found)
	}
	dec := json.NewDecoder(bytes.NewReader(ans.Body))
	dec.UseNumber()
	var answer map[string]any
	if err := dec.Decode(&answer); err != nil {
		t.Fatalf("%s of %q: %v", got.Outcome, ans.Body, err)
	}
	if a.Operation.Status.Rows == "" {
		state, _ := answer["coupon_status"].(string)
		if a.Known.ProviderID == "" || fmt.Sprint(answer["psaid"]) != "P1" || a.Operation.Status.States[state] != got.Outcome {
			t.Errorf("%s of %q, asked by %q", got.Outcome, ans.Body, a.Known.ProviderID)
		}
		return
	}
	k := a.Known
	var own []map[string]any
	rows, _ := answer["data"].([]any)
	for _, element := range rows {
		row, _ := element.(map[string]any)
		if k.RequestID != "" && fmt.Sprint(row["yourrequestid"]) == k.RequestID || k.ProviderID != "" && fmt.Sprint(row["ourrequestid"]) == k.ProviderID {
			own = append(own, row)
		}
	}
	if len(own) != 1 || fmt.Sprint(answer["success"]) != "1" {
		t.Fatalf("%s of %d rows in %q", got.Outcome, len(own), ans.Body)
	}
	state := map[string]nowpay.Outcome{"1": nowpay.Success, "0": nowpay.Failed, "2": nowpay.Pending}[fmt.Sprint(own[0]["status"])]
	if state != got.Outcome && !slices.Contains(got.Findings, integrity.MissingField) {
		t.Errorf("%s of a row that says %q", got.Outcome, state)
	}
	if k.RequestID != "" && fmt.Sprint(own[0]["yourrequestid"]) != k.RequestID ||
		k.ProviderID != "" && fmt.Sprint(own[0]["ourrequestid"]) != k.ProviderID {
		t.Errorf("%s of %v, asked was about %+v", got.Outcome, own[0], k)
	}
}

// TestStatusUnfitID: an id that a query tells first is stored, so it must be fit
// for that.
func TestStatusUnfitID(t *testing.T) {
	t.Parallel()
	question := asked("bank/payout")
	question.Known.ProviderID = ""
	for id, want := range map[string]wantStatus{
		ours: is(nowpay.Success), strings.Repeat("9", 100): is(nowpay.Success),
		strings.Repeat("9", 101): not(integrity.WrongProviderID), `o\u0000`: not(integrity.WrongProviderID), `o\u2028`: not(integrity.WrongProviderID),
	} {
		body := `{"success":"1","data":[{"ourrequestid":"` + id + `","yourrequestid":"1001","amount":"1.50","status":"1","rrn":"77"}]}`
		checkVerdict(t, id, integrity.CheckStatus(question, jsonAnswer(body), canaryKey()), want)
	}
}
