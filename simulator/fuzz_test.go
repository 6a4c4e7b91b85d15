package simulator_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/nowpay-gateway/nowpay-gateway/simulator"
)

// FuzzHandler: whatever is sent, the provider does not fall over, moves money
// for the right key only, answers JSON, and remembers no key.
func FuzzHandler(f *testing.F) {
	const key = "0123456789abcdef"
	f.Add("bank/payout", "application/json", `{"username":"2000","key":"0123456789abcdef","accountnumber":"1","ifsc":"2","amount":"1","yourrequestid":"a","name":"n","transferMode":"IMPS"}`)
	f.Add("bank/payout", "application/json", `{"username":"2000","key":"0123456789abcdee","amount":1e400,"amount":NaN}`)
	f.Add("pan/managecoupon", "application/json", `{"username":2000,"key":"0123456789abcdef","psaid":"\ud800","type":"0","qty":"1e9","yourrequestid":"\u0000"}`)
	f.Add("bank/payout_status", "application/json", `{"username":"2000","key":"0123456789abcdef","yourrequestid":"a","tdate":"2021-10-28"}`)
	f.Add("recharge/history", "application/json", `{"username":"2000","key":"\u0030123456789abcdef","ourrequestid":"","fdate":"x"}`)
	f.Add("aeps/be", "application/x-www-form-urlencoded", `username=2000&key=0123456789abcdef&a.b=%zz&&=`)
	f.Add("common/balance", "application/json", `{"username":"2000","key":"0123456789abcdef","x":"sim:too-large"}`)
	f.Add("x/y", "", "{")
	f.Add("x/y", "text/plain", "00\x00123456789abcdef")
	f.Fuzz(func(t *testing.T, operation, contentType, body string) {
		sim, err := simulator.New(simulator.Config{Username: username, Key: key})
		if err != nil {
			t.Fatal(err)
		}
		sim.Close()
		w := offline(sim.Handler(), operation, contentType, body)
		remembered := sim.Requests()
		if len(remembered) != 1 {
			t.Fatalf("%d requests remembered", len(remembered))
		}
		// Not as JSON: a NUL in front of the rest of the key would be "\u0000123…" there.
		if text := fmt.Sprintf("%+v", remembered[0]); strings.Contains(text, key) {
			t.Errorf("the key is remembered: %s", text)
		}
		l := sim.Ledger()
		if !remembered[0].KeyRight && len(l.Entries) > 0 {
			t.Errorf("executed without the right key: %+v", l.Entries)
		}
		if l.AEPSBalance < 0 || l.TradeBalance < 0 {
			t.Errorf("wallets overdrawn: %+v", l)
		}
		if strings.Contains(body, "sim:") {
			return // what faults do to answers is tested elsewhere
		}
		if w != nil && w.Code == http.StatusOK && !json.Valid(w.Body.Bytes()) {
			t.Errorf("no JSON: %s", w.Body)
		}
	})
}
