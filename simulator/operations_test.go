package simulator_test

import (
	"encoding/json"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
	"github.com/nowpay-gateway/nowpay-gateway/simulator"
)

var providerID = regexp.MustCompile(`^\d{8}(am|pm)\d{12}$`)

// sample is a well-formed value for a field of the gateway's catalogue.
func sample(f nowpay.Field) string {
	switch {
	case len(f.Choices) > 0:
		return f.Choices[0]
	case f.Format == "amount":
		return "100.50"
	case f.Format == "digits":
		return "12"
	default:
		return "abc123"
	}
}

// TestDocumented: what the gateway's catalogue says of a documented operation
// is what this provider, written apart from it, does.
func TestDocumented(t *testing.T) {
	kinds := map[simulator.Kind]nowpay.Outcome{
		simulator.Success: nowpay.Success,
		simulator.Failed:  nowpay.Failed,
		simulator.Pending: nowpay.Pending,
		simulator.Refused: nowpay.Failed, // told from failed by the missing id
	}
	for _, op := range nowpay.Documented() {
		for kind, want := range kinds {
			if kind == simulator.Pending && op.Scale == nowpay.Scale01 {
				continue
			}
			t.Run(op.Name+" "+string(kind), func(t *testing.T) {
				b := start(t)
				members := body{}
				for _, f := range op.Fields {
					if !f.Optional || f.Name == op.RequestID {
						members[f.Name] = sample(f)
					}
				}
				if op.Name == "pan/coupon_status" {
					members["ourrequestid"] = b.call("pan/managecoupon", body{"psaid": "P1", "type": "0", "qty": "1", "yourrequestid": "c1"}).text("ourrequestid")
				}
				if kind != simulator.Success {
					b.fault(simulator.Fault{Kind: kind})
				}
				req := b.request(op.Name, members)
				if op.Encoding == nowpay.Form {
					req = b.raw(op.Name, nowpay.Form.MediaType(), form(members))
				}
				a, err := try(client(t, "127.0.0.10"), req)
				if err != nil {
					t.Fatal(err)
				}
				checkAnswer(t, b, op, kind, want, a)
			})
		}
	}
}

func checkAnswer(t *testing.T, b *bench, op nowpay.Operation, kind simulator.Kind, want nowpay.Outcome, a answer) {
	t.Helper()
	if a.status != http.StatusOK || a.header.Get("Content-Type") != "application/json" {
		t.Errorf("status %d, content type %q", a.status, a.header.Get("Content-Type"))
	}
	if got := op.Scale.Read(a.text("success")); got != want {
		t.Errorf("outcome %s, want %s: %s", got, want, a.body)
	}
	if op.ProviderID == "" {
		return
	}
	if kind == simulator.Refused {
		if a.text(op.ProviderID) != "" || len(b.Ledger().Entries) != 0 {
			t.Errorf("refused, but created: %s", a.body)
		}
		return
	}
	if id := a.text(op.ProviderID); !providerID.MatchString(id) {
		t.Errorf("provider ID %q, want 22 characters of its shape", id)
	}
	echo := op.AnswerRequestID
	if echo == "" {
		echo = op.RequestID
	}
	if got := a.text(echo); got != "abc123" {
		t.Errorf("request ID %q, want it as sent", got)
	}
	if op.Amount != "" && a.text(op.Amount) != "100.50" {
		t.Errorf("amount %q, want it as sent", a.text(op.Amount))
	}
	for _, name := range op.SuccessNeeds {
		if got := a.text(name) != ""; got != (kind == simulator.Success) {
			t.Errorf("%s there: %v, though %s", name, got, kind)
		}
	}
	e := b.only()
	if moved := e.Wallet != ""; moved != op.MovesMoney {
		t.Errorf("moves money: %v, the catalogue says %v", moved, op.MovesMoney)
	}
	if e.Operation != op.Name || e.RequestID != "abc123" || e.ProviderID != a.text(op.ProviderID) {
		t.Errorf("entry %+v does not belong to the answer %s", e, a.body)
	}
}

// TestShapes pins the answers byte for byte.
func TestShapes(t *testing.T) {
	tests := []struct {
		operation string
		members   body
		want      string
	}{
		{"common/balance", nil, `{"success":"1","tradebal":"100000.00","aepsbal":"100000.00","smsbal":"100","planbal":"100","message":"Success"}`},
		{"bank/payout", payout("a1"), `{"success":"1","message":"Transaction Successful","ourrequestid":"20211028am021507ID","yourrequestid":"a1","rrn":"RRN","amount":"150.50","beneficiaryName":"Asha Rao","date":"2021-10-28 02:15:07 am"}`},
		{"bank/payout", payout("a1").with("name", "sim:failed"), `{"success":"0","message":"Transaction Failed","ourrequestid":"20211028am021507ID","yourrequestid":"a1","amount":"150.50","date":"2021-10-28 02:15:07 am"}`},
		{"bank/payout", payout("a1").with("name", "sim:pending"), `{"success":"2","message":"Transaction Pending","ourrequestid":"20211028am021507ID","yourrequestid":"a1","amount":"150.50","date":"2021-10-28 02:15:07 am"}`},
		{"bank/payout", payout("a1").with("name", "sim:ambiguous"), `{"success":"1","message":"Transaction Successfull","ourrequestid":"20211028am021507ID","yourrequestid":"a1","amount":"150.50","date":"2021-10-28 02:15:07 am"}`}, //nolint:misspell // as reported
		{"bank/payout", payout("a1").with("name", "sim:refused"), `{"success":"0","message":"Service Not Assigned"}`},
		{"bank/payout", payout("a1").with("name", "Zoë/😀"), `{"success":"1","message":"Transaction Successful","ourrequestid":"20211028am021507ID","yourrequestid":"a1","rrn":"RRN","amount":"150.50","beneficiaryName":"Zo\u00eb\/\ud83d\ude00","date":"2021-10-28 02:15:07 am"}`},
		{"bank/payout", payout("a1").with("name", "\"\\\t\r\n\x01"), `{"success":"1","message":"Transaction Successful","ourrequestid":"20211028am021507ID","yourrequestid":"a1","rrn":"RRN","amount":"150.50","beneficiaryName":"\"\\\t\r\n\u0001","date":"2021-10-28 02:15:07 am"}`},
		{"bank/payout", payout("a1").with("amount", json.RawMessage("1.50")), `{"success":"1","message":"Transaction Successful","ourrequestid":"20211028am021507ID","yourrequestid":"a1","rrn":"RRN","amount":1.5,"beneficiaryName":"Asha Rao","date":"2021-10-28 02:15:07 am"}`},
		{"bank/payout", payout("a1").with("amount", json.RawMessage("2.0")), `{"success":"1","message":"Transaction Successful","ourrequestid":"20211028am021507ID","yourrequestid":"a1","rrn":"RRN","amount":2.0,"beneficiaryName":"Asha Rao","date":"2021-10-28 02:15:07 am"}`},
		{"bank/upi_verify", body{"beneficiaryVPA": "a@upi", "yourrequestid": "v1"}, `{"success":"1","ourrequestid":"20211028am021507ID","yourrequestid":"v1","rrn":"RRN","beneficiaryName":"SIMULATED CUSTOMER"}`},
		{"recharge/dorecharge", recharge("r1"), `{"success":"1","message":"Recharge Success","op_referenceid":"RRN","ourrequestid":"20211028am021507ID","number":"9876543210","amount":"10","yourrequestid":"r1","date":"2021-10-28 02:15:07 am","operatorname":"Operator 1"}`},
		{"recharge/dorecharge", recharge("sim:pending:r1"), `{"success":"2","message":"Recharge Submitted","op_referenceid":"","ourrequestid":"20211028am021507ID","number":"9876543210","amount":"10","yourrequestid":"sim:pending:r1","date":"2021-10-28 02:15:07 am","operatorname":"Operator 1"}`},
		{"recharge/history", body{"ourrequestid": "20211028am000000000000"}, `{"success":"1","data":[]}`},
		{"recharge/heavyrefresh", body{"operatorid": "1", "number": "2"}, `{"success":"1","tel":"2","records":{"desc":"Heavy refresh was sent"}}`},
		{"pan/managecoupon", body{"psaid": "P1", "type": "0", "qty": "2", "yourrequestid": "c1"}, `{"success":"17","message":"Approved","psaid":"P1","ourrequestid":"20211028am021507ID","yourrequestid":"c1","qty":"2","amount":"214.00"}`},
		{"pan/managecoupon", body{"psaid": "P1", "type": "0", "qty": "2", "yourrequestid": "sim:failed"}, `{"success":"19","message":"Rejected","psaid":"P1","ourrequestid":"20211028am021507ID","yourrequestid":"sim:failed","qty":"2","amount":"214.00"}`},
		{"pan/coupon_status", body{"ourrequestid": "unknown"}, `{"success":"0","message":"No Record Found"}`},
	}
	rrn := regexp.MustCompile(`("rrn"|"op_referenceid"):"[1-9]\d{11}"`)
	id := regexp.MustCompile(`(20211028am021507)\d{6}"`)
	for _, tt := range tests {
		t.Run(tt.operation, func(t *testing.T) {
			got := start(t).call(tt.operation, tt.members).body
			got = id.ReplaceAllString(rrn.ReplaceAllString(got, `$1:"RRN"`), `${1}ID"`)
			if got != tt.want {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
}

// TestOthers: the calls known by hearsay answer too, and both channels of a
// documented one.
func TestOthers(t *testing.T) {
	tests := []struct {
		operation string
		members   body
		want      string
	}{
		{"recharge/mbasicplans", body{"circleid": "3", "operatorid": "1"}, `"plans":[{"id":"1"`},
		{"recharge/dthinfo", body{"number": "3", "operatorid": "1"}, `"records":{"MonthlyRecharge":"350"`},
		{"aeps/aeps_auth", body{"mobilenumber": "1", "aepsid": "2", "channel": "1"}, `"url":"https:\/\/aeps.example.com`},
		{"aeps/aeps_auth", body{"mobilenumber": "1", "aepsid": "2", "channel": "2"}, `"password":"`},
		{"bank/account_verify", body{"accountnumber": "1", "ifsc": "2", "bank": "3", "yourrequestid": "4"}, `"beneficiaryName":"SIMULATED CUSTOMER"`},
		{"bank/upi_transfer", body{"beneficiaryVPA": "a@upi", "amount": "5", "yourrequestid": "4", "transferMode": "UPI"}, `"rrn":"`},
	}
	for _, tt := range tests {
		if a := start(t).call(tt.operation, tt.members); a.text("success") != "1" || !strings.Contains(a.body, tt.want) {
			t.Errorf("%s: %s, want %s in it", tt.operation, a.body, tt.want)
		}
	}
}

// TestRefusals: everything that is wrong is refused the provider's way: status
// 200, success "0", a message, no id, and nothing in the books.
func TestRefusals(t *testing.T) {
	register := body{"snumber": "9", "sname": "x", "spincode": "1", "semail": "y"}
	transferBody := body{"snumber": "1", "beneficiaryid": "2", "remitterid": "3", "amount": "5000.01", "yourrequestid": "4", "transferMode": "IMPS"}
	tests := []struct {
		name, operation string
		members         body
		message         string
	}{
		{"wrong key", "bank/payout", payout("a").with("key", "wrong"), "Invalid Username Or Key"},
		{"no key", "bank/payout", payout("a").with("key", nil), "Invalid Username Or Key"},
		{"wrong username", "bank/payout", payout("a").with("username", "2001"), "Invalid Username Or Key"},
		{"missing field", "bank/payout", payout("a").with("ifsc", ""), "Missing Field ifsc"},
		{"missing in a query", "bank/register", register.with("semail", nil), "Missing Field semail"},
		{"no amount", "bank/payout", payout("a").with("amount", "ten"), "Invalid Amount"},
		{"zero", "bank/payout", payout("a").with("amount", "0.001"), "Invalid Amount"},
		{"more than there is", "bank/payout", payout("a").with("amount", "9e16"), "Invalid Amount"},
		{"negative", "bank/payout", payout("a").with("amount", "-1"), "Invalid Amount"},
		{"RTGS as documented", "bank/payout", payout("a").with("transferMode", "RTGS"), "Invalid Transfer Mode"},
		{"long request ID", "bank/payout", payout(strings.Repeat("a", 51)), "Invalid Request Id"},
		{"over the wallet", "bank/payout", payout("a").with("amount", "100000.01"), "Insufficient Balance"},
		{"over the transfer limit", "bank/account_transfer", transferBody, "Amount Exceeds Limit"},
		{"sample's wallet mode", "bank/wallet_transfer", body{"beneficiaryPhoneNo": "1", "amount": "1", "yourrequestid": "1", "transferMode": "PYTM_WALLET"}, "Invalid Transfer Mode"},
		{"wallet limit", "bank/wallet_verify", body{"beneficiaryPhoneNo": "1", "limitCheckAmount": "10001", "yourrequestid": "1", "transferMode": "PAYTM"}, "Amount Exceeds Limit"},
		{"coupon type", "pan/managecoupon", body{"psaid": "P1", "type": "2", "qty": "1", "yourrequestid": "c"}, "Invalid Coupon Type"},
		{"no coupon", "pan/managecoupon", body{"psaid": "P1", "type": "1", "qty": "0.5", "yourrequestid": "c"}, "Invalid Amount"},
		{"unknown fault", "bank/payout", payout("a").with("name", "sim:nonsense"), `Simulator: unknown fault "nonsense"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := start(t)
			a := b.call(tt.operation, tt.members)
			if a.status != http.StatusOK || a.text("success") != "0" || a.text("message") != tt.message || len(a.json) != 2 {
				t.Errorf("status %d, %s, want a refusal with %q", a.status, a.body, tt.message)
			}
			if n := len(b.Ledger().Entries); n != 0 {
				t.Errorf("%d entries in the ledger", n)
			}
			if r := b.Requests(); len(r) != 1 || r[0].Operation != tt.operation {
				t.Errorf("requests = %+v", r)
			}
		})
	}
}

// TestLenient: what the gateway refuses is good enough for PHP.
func TestLenient(t *testing.T) {
	tests := []struct {
		name, text string
		want       nowpay.Paise
	}{
		{"exponent", `{"username":"2000","key":KEY,"accountnumber":"1","ifsc":"2","amount":"1e2","yourrequestid":"a","name":"n","transferMode":"IMPS"}`, 100_00},
		{"space", `{"username":"2000","key":KEY,"accountnumber":"1","ifsc":"2","amount":" 7","yourrequestid":"a","name":"n","transferMode":"IMPS"}`, 7_00},
		{"last of two", `{"username":"2000","key":KEY,"accountnumber":"1","ifsc":"2","amount":"1","yourrequestid":"a","name":"n","transferMode":"IMPS","amount":"900"}`, 900_00},
		{"numbers", `{"username":2000,"key":KEY,"accountnumber":1,"ifsc":true,"amount":3,"yourrequestid":4,"name":"n","transferMode":"IMPS"}`, 3_00},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := start(t)
			quoted, _ := json.Marshal(key)
			r := b.raw("bank/payout", "application/json", []byte(strings.Replace(tt.text, "KEY", string(quoted), 1)))
			if _, err := try(client(t, "127.0.0.10"), r); err != nil {
				t.Fatal(err)
			}
			if got := b.only().Amount; got != tt.want {
				t.Errorf("moved %v, want %v", got, tt.want)
			}
		})
	}
}

// TestUnreadable: what PHP can't read, or reads from elsewhere, is a request
// without a key.
func TestUnreadable(t *testing.T) {
	good, _ := json.Marshal(payout("a").signed())
	tests := []struct {
		name, operation, contentType string
		text                         []byte
		edit                         func(*http.Request)
	}{
		{name: "trailing data", operation: "bank/payout", contentType: "application/json", text: append(slices.Clip(good), "{}"...)},
		{name: "no object", operation: "bank/payout", contentType: "application/json", text: []byte(`["a"]`)},
		{name: "empty", operation: "bank/payout", contentType: "application/json"},
		{name: "form to a JSON call", operation: "bank/payout", contentType: "application/x-www-form-urlencoded", text: form(payout("a"))},
		{name: "JSON to a form call", operation: "aeps/be", contentType: "application/json", text: good},
		{name: "no content type", operation: "bank/payout", text: good},
		{name: "PUT", operation: "bank/payout", contentType: "application/json", text: good, edit: func(r *http.Request) { r.Method = http.MethodPut }},
		{name: "too long", operation: "bank/payout", contentType: "application/json", text: append(slices.Clip(good), strings.Repeat(" ", 9<<20)...)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := start(t)
			r := b.raw(tt.operation, tt.contentType, tt.text)
			if tt.edit != nil {
				tt.edit(r)
			}
			a, err := try(client(t, "127.0.0.10"), r)
			if err != nil {
				t.Fatal(err)
			}
			if a.status != http.StatusOK || a.text("message") != "Invalid Username Or Key" {
				t.Errorf("status %d, %s", a.status, a.body)
			}
			if n := len(b.Ledger().Entries); n != 0 {
				t.Errorf("%d entries in the ledger", n)
			}
		})
	}
}

// TestRoutes: one path, and the routes of the table.
func TestRoutes(t *testing.T) {
	b := start(t)
	for target, want := range map[string]int{
		"/api/index.php?route=/api/common/balance":                        http.StatusOK,
		"/api/index.php?route=/api/bank/payout&route=/api/common/balance": http.StatusOK, // PHP takes the last
		"/api/index.php?route=/api/bank/nothing":                          http.StatusNotFound,
		"/api/index.php":                                                  http.StatusNotFound,
		"/api/common/balance":                                             http.StatusNotFound,
		"/":                                                               http.StatusNotFound,
	} {
		r := b.request("common/balance", nil)
		r.URL.Path, r.URL.RawQuery, _ = strings.Cut(target, "?")
		a, err := try(client(t, "127.0.0.10"), r)
		if err != nil {
			t.Fatal(err)
		}
		if a.status != want {
			t.Errorf("%s: status %d, want %d", target, a.status, want)
		}
		if want == http.StatusOK && a.text("tradebal") == "" {
			t.Errorf("%s: %s", target, a.body)
		}
	}
	if n := len(b.Requests()); n != 6 {
		t.Errorf("%d requests are remembered, want all 6", n)
	}
}

// TestAddresses: the key is looked at first, and then the peer.
func TestAddresses(t *testing.T) {
	b := start(t, func(c *simulator.Config) {
		c.AllowedIPs = []netip.Prefix{netip.MustParsePrefix("127.0.0.9/32"), netip.MustParsePrefix("127.0.1.0/24")}
	})
	for from, want := range map[string]string{"127.0.0.9": "1", "127.0.1.77": "1", "127.0.0.10": "0"} {
		a, err := try(client(t, from), b.request("bank/payout", payout("a")))
		if err != nil {
			t.Fatal(err)
		}
		if a.text("success") != want {
			t.Errorf("from %s: %s, want success %s", from, a.body, want)
		}
		if want == "0" && (a.text("message") != "Invalid IP Address 127.0.0.10" || a.text("ourrequestid") != "") {
			t.Errorf("from %s: %s", from, a.body)
		}
	}
	if a := b.call("bank/payout", payout("a").with("key", "wrong")); a.text("message") != "Invalid Username Or Key" {
		t.Errorf("wrong key from a wrong address: %s", a.body)
	}
	b.SetAllowedIPs()
	if a := b.call("bank/payout", payout("a")); a.text("success") != "1" {
		t.Errorf("without a whitelist: %s", a.body)
	}
}

// TestKeys: old and new are valid together while rotating, and username and key
// must be of one pair.
func TestKeys(t *testing.T) {
	b := start(t)
	success := func(username, key string) string {
		t.Helper()
		return b.call("common/balance", body{"username": username, "key": key}).text("success")
	}
	b.SetKeys(key, "new key 0123456789")
	if a, c := success(username, key), success(username, "new key 0123456789"); a != "1" || c != "1" {
		t.Errorf("while rotating: old %s, new %s", a, c)
	}
	b.SetKeys("new key 0123456789")
	if got := success(username, key); got != "0" {
		t.Errorf("the old key after rotation: %s", got)
	}
	b.SetCredentials(simulator.Credential{Username: "1", Key: "key of 1"}, simulator.Credential{Username: "2", Key: "key of 2"})
	for _, tt := range []struct{ username, key, want string }{
		{"1", "key of 1", "1"}, {"2", "key of 2", "1"}, {"1", "key of 2", "0"}, {"2", "key of 1", "0"},
	} {
		if got := success(tt.username, tt.key); got != tt.want {
			t.Errorf("%s with %s: %s, want %s", tt.username, tt.key, got, tt.want)
		}
	}
	b.SetKeys()
	if got := success("1", "key of 1"); got != "0" {
		t.Errorf("without keys: %s", got)
	}
	hashes := map[string]bool{}
	for _, r := range b.Requests() {
		hashes[r.KeyHash] = true
	}
	if len(hashes) != 4 || !hashes[simulator.KeyHash(key)] {
		t.Errorf("key hashes %v, want four, one of them the first key's", hashes)
	}
}

// TestHistory: success is about the query, the date defaults to today, and the
// id is a prefix.
func TestHistory(t *testing.T) {
	b := start(t, func(c *simulator.Config) { c.Surcharge = 50 })
	id := b.call("recharge/dorecharge", recharge("sim:pending:r1")).text("ourrequestid")
	b.call("bank/payout", payout("not a recharge"))
	rows := func(query body) []any {
		t.Helper()
		a := b.call("recharge/history", query)
		if a.text("success") != "1" {
			t.Errorf("history: %s", a.body)
		}
		data, ok := a.json["data"].([]any)
		if !ok {
			t.Fatalf("data is no array: %s", a.body)
		}
		return data
	}
	found := rows(body{"ourrequestid": id})
	if len(found) != 1 {
		t.Fatalf("%d rows, want 1", len(found))
	}
	row, _ := found[0].(map[string]any)
	for name, want := range map[string]string{
		"transactionid": "1", "MemberId": username, "number": "9876543210", "amount": "10.00", "Clientid": id,
		"op_referenceid": "", "status": "2", "yourreqid": "sim:pending:r1", "apirequestid": "NA",
		"beforebal": "100000.00", "afterbal": "99989.50", "profit": "0.50", "chargetype": "1",
		"date": "2021-10-28 02:15:07 am",
	} {
		if row[name] != want {
			t.Errorf("%s = %v, want %q", name, row[name], want)
		}
	}
	if len(row) != 18 {
		t.Errorf("%d members in a row, want the 18 of the reference", len(row))
	}
	if err := b.SettlePending(id, simulator.StateFailed); err != nil {
		t.Fatal(err)
	}
	row, _ = rows(body{"ourrequestid": id})[0].(map[string]any)
	if row["status"] != "0" {
		t.Errorf("status %v after it failed", row["status"])
	}
	second := b.call("recharge/dorecharge", recharge("r2")).text("ourrequestid")
	both := rows(body{"ourrequestid": "20211028am"})
	if len(both) != 2 {
		t.Fatalf("%d rows for a prefix, want 2", len(both))
	}
	if first, _ := both[0].(map[string]any); first["Clientid"] != second {
		t.Error("rows are not newest first")
	}

	b.fault(simulator.Fault{Kind: simulator.HistoryPrefix, Times: 1})
	if n := len(rows(body{"ourrequestid": id})); n != 2 {
		t.Errorf("history-prefix: %d rows, want 2", n)
	}
	b.fault(simulator.Fault{Kind: simulator.HistoryEmpty, Times: 1})
	if n := len(rows(body{"ourrequestid": id})); n != 0 {
		t.Errorf("history-empty: %d rows", n)
	}

	b.clock.now = b.clock.now.Add(24 * time.Hour)
	if n := len(rows(body{"ourrequestid": id})); n != 0 {
		t.Errorf("yesterday's recharge without dates: %d rows, want 0", n)
	}
	if n := len(rows(body{"ourrequestid": id, "fdate": "2021-10-28", "tdate": "2021-10-28"})); n != 1 {
		t.Errorf("yesterday's recharge with dates: %d rows, want 1", n)
	}
}

// TestCouponStatus: the purchase is on one scale, its status on another.
func TestCouponStatus(t *testing.T) {
	for kind, want := range map[simulator.Kind][3]string{
		simulator.Success: {"17", "1", "APPROVED"},
		simulator.Failed:  {"19", "0", "REJECTED"},
		simulator.Pending: {"21", "2", "PENDING"},
	} {
		b := start(t)
		bought := b.call("pan/managecoupon", body{"psaid": "P1", "type": "1", "qty": "3", "yourrequestid": "sim:" + string(kind)})
		status := b.call("pan/coupon_status", body{"ourrequestid": bought.text("ourrequestid")})
		got := [3]string{bought.text("success"), status.text("success"), status.text("coupon_status")}
		if got != want || status.text("psaid") != "P1" {
			t.Errorf("%s: %v, want %v: %s", kind, got, want, status.body)
		}
	}
}

// TestTime: ids have the time on 24 hours, dates on 12, both in India.
func TestTime(t *testing.T) {
	b := start(t)
	b.clock.now = time.Date(2021, 10, 28, 17, 45, 37, 0, time.UTC)
	a := b.call("bank/payout", payout("a"))
	if id, date := a.text("ourrequestid"), a.text("date"); !strings.HasPrefix(id, "20211028pm231537") || date != "2021-10-28 11:15:37 pm" {
		t.Errorf("id %s, date %s", id, date)
	}
}

// TestHistorySettles: a status query sees what became of a pending transaction
// in the meantime.
func TestHistorySettles(t *testing.T) {
	b := start(t)
	id := b.call("recharge/dorecharge", recharge("sim:pending-then-success:1m")).text("ourrequestid")
	for _, want := range []string{`"status":"2"`, `"status":"1"`} {
		if a := b.call("recharge/history", body{"ourrequestid": id}); !strings.Contains(a.body, want) {
			t.Errorf("got %s, want %s in it", a.body, want)
		}
		b.clock.now = b.clock.now.Add(time.Minute)
	}
}
