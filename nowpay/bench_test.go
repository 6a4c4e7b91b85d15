package nowpay_test

import (
	"testing"

	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
)

const payoutBody = `{"accountnumber":"50100123456789","ifsc":"HDFC0001234","amount":"1499.50",` +
	`"yourrequestid":"2021102422342398768","name":"Asha Rao","transferMode":"IMPS","bank":"HDFC Bank Limited",` +
	`"remarks":"Salary for October, second part; questions to payroll@example.com or the desk on the third floor",` +
	`"address":{"line1":"12 MG Road","line2":"Shivaji Nagar","city":"Bengaluru","pin":"560001"},"tags":["payroll","2021-10"]}`

func BenchmarkParseSplice(b *testing.B) {
	raw := []byte(payoutBody)
	members := credential("2000", "0123456789abcdef0123456789abcdef")
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		body, err := nowpay.ParseJSON(raw, nowpay.Limits{})
		if err != nil {
			b.Fatal(err)
		}
		body.Splice(nil, members...)
	}
}

func BenchmarkCheckFields(b *testing.B) {
	o, body := documented(b, "bank/payout"), mustJSON(b, payoutBody)
	b.ReportAllocs()
	for b.Loop() {
		if err := o.CheckFields(body); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSame(b *testing.B) {
	raw := []byte(payoutBody)
	b.ReportAllocs()
	for b.Loop() {
		if !nowpay.Same(raw, raw) {
			b.Fatal("not the same")
		}
	}
}
