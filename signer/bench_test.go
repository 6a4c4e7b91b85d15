package signer_test

import (
	"strings"
	"testing"

	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
	"github.com/nowpay-gateway/nowpay-gateway/secret"
	"github.com/nowpay-gateway/nowpay-gateway/signer"
)

// BenchmarkSign is also for GOEXPERIMENT=runtimesecret: what erasing costs.
func BenchmarkSign(b *testing.B) {
	c, err := secret.NewCredential([]byte("2000"), []byte(strings.Repeat("k", 26)), 1)
	if err != nil {
		b.Fatal(err)
	}
	body := `{"accountnumber":"50100012345678","ifsc":"HDFC0000001","amount":"1.00","yourrequestid":"1001","name":"Asha Rao","transferMode":"IMPS"}`
	r := request(b, nowpay.JSON, body)
	b.ReportAllocs()
	for b.Loop() {
		s, err := signer.Credentials{}.Sign(b.Context(), r, c)
		if err != nil {
			b.Fatal(err)
		}
		s.Wipe()
	}
}
