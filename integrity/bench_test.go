package integrity_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/nowpay-gateway/nowpay-gateway/integrity"
	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
	"github.com/nowpay-gateway/nowpay-gateway/secret"
)

func BenchmarkCheck(b *testing.B) {
	header := http.Header{
		"Content-Type": {"application/json; charset=utf-8"}, "Date": {"Wed, 21 Oct 2026 07:28:00 GMT"},
		"Server": {"Apache/2.4.41 (Ubuntu)"}, "X-Powered-By": {"PHP/7.4.3"}, "Vary": {"Accept-Encoding"},
		"Connection": {"keep-alive"}, "Cache-Control": {"no-store, no-cache, must-revalidate"},
	}
	answer := `{"success":"1","message":"Recharge Submitted","ourrequestid":"20211028pm231537111806",` +
		`"yourrequestid":"2021102422342398768","rrn":"130117123456","amount":"1.00",` +
		`"beneficiaryName":"ASHA RAMESH KUMAR","date":"2021-10-28 11:15:37 pm","remark":"` + strings.Repeat("x", 150) + `"}`
	ops := operations()
	sent := integrity.Sent{Operation: ops["bank/payout"], RequestID: "2021102422342398768", Amount: 100}
	for name, size := range map[string]int{"key of 26": 26, "key of 265": 265} {
		key := secret.New([]byte(strings.Repeat("5f3a9c0d1e7b2846af5c3d9e0b", 11)[:size]))
		for kind, body := range map[string]string{
			"clean": answer, "escapes": strings.Replace(answer, "xxxx", `\/%2F\u0041`, 1),
		} {
			b.Run(name+"/"+kind, func(b *testing.B) {
				b.ReportAllocs()
				b.SetBytes(int64(len(body)))
				for b.Loop() {
					v := integrity.Check(sent, integrity.Answer{Status: 200, Header: header, Body: []byte(body)}, key)
					if v.Outcome != nowpay.Success || v.Leak {
						b.Fatalf("%+v", v)
					}
				}
			})
		}
	}
}

// BenchmarkCheckHostile is an answer of the largest size made to cost the most.
func BenchmarkCheckHostile(b *testing.B) {
	sent := integrity.Sent{Operation: operations()["bank/payout"]}
	for name, filling := range map[string]string{
		"plain": "x", "backslashes": `\\\\\\\\`, "percents": "%25252525", "both": `%2525\\u005c%5c%5cu0025255c`,
		"values": `","`,
	} {
		b.Run(name, func(b *testing.B) {
			body := `{"success":"2","debug":["` + strings.Repeat(filling, (1<<20)/len(filling)) + `"]}`
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				if v := integrity.Check(sent, jsonAnswer(body), canaryKey()); v.Outcome != nowpay.Pending {
					b.Fatalf("%+v", v.Findings)
				}
			}
		})
	}
}
