package callback_test

import (
	"testing"

	"github.com/nowpay-gateway/nowpay-gateway/callback"
)

// BenchmarkRead reads the reported callback, as JSON and as a form.
//
//	go test -run='^$' -bench=Read -count=6 ./callback
func BenchmarkRead(b *testing.B) {
	table := mustTable(b)
	for name, r := range map[string]callback.Received{
		"json": postJSON(`{"status":"SUCCESS","statusMessage":"Done","result":{"paytmOrderId":"P9","orderId":"A-1","rrn":"33","beneficiaryName":"X"}}`),
		"form": postForm("status=SUCCESS&statusMessage=Done&result%5BpaytmOrderId%5D=P9&result%5BorderId%5D=A-1&result%5Brrn%5D=33"),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if c, err := table.Read(r); err != nil || c.RequestID != "A-1" {
					b.Fatalf("Read() = %+v, %v", c, err)
				}
			}
		})
	}
}
