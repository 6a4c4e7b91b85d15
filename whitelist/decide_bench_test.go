package whitelist_test

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/nowpay-gateway/nowpay-gateway/whitelist"
)

// BenchmarkDecide asks policies of 10 and of 1000 merchants for the first, the last and
// no merchant. The three are to cost the same, but for the few steps that an
// identified caller takes after the comparison of tokens.
func BenchmarkDecide(b *testing.B) {
	merchants := make([]whitelist.Merchant, 1000)
	for i := range merchants {
		merchants[i] = whitelist.Merchant{
			Name:   fmt.Sprintf("m%d", i),
			Tokens: [][32]byte{whitelist.HashToken(fmt.Sprintf("token-%03d", i))},
			From:   networks(b, "10.0.0.0/8"),
			Allow:  patterns(b, "bank/*"),
		}
	}
	for _, size := range []int{10, 1000} {
		p := policy(b, merchants[:size]...)
		for _, caller := range []struct{ place, token string }{
			{"first", "token-000"}, {"last", fmt.Sprintf("token-%03d", size-1)}, {"none", "token-xxx"},
		} {
			b.Run(fmt.Sprintf("merchants=%d/%s", size, caller.place), func(b *testing.B) {
				a := whitelist.Args{Operation: "bank/payout", Amount: 100}
				a.Token, a.Source = caller.token, netip.MustParseAddr("10.1.2.3")
				b.ReportAllocs()
				for b.Loop() {
					if _, err := p.Decide(a); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
