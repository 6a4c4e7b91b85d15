package whitelist_test

import (
	"fmt"
	"net/netip"

	"github.com/nowpay-gateway/nowpay-gateway/whitelist"
)

func ExamplePolicy_Decide() {
	from, _ := whitelist.ParseNetworks([]string{"10.1.0.0/16"})
	bank, _ := whitelist.ParsePattern("bank/*")
	register, _ := whitelist.ParsePattern("bank/register")
	policy, err := whitelist.NewPolicy([]whitelist.Merchant{{
		Name:   "shop",
		Tokens: [][32]byte{whitelist.HashToken("a long random token")},
		From:   from,
		Allow:  []whitelist.Pattern{bank},
		Deny:   []whitelist.Pattern{register},
	}})
	if err != nil {
		fmt.Println(err)
		return
	}

	caller := whitelist.Caller{Token: "a long random token", Source: netip.MustParseAddr("10.1.2.3")}
	for _, operation := range []string{"bank/payout", "bank/register", "common/balance"} {
		d, err := policy.Decide(whitelist.Args{Caller: caller, Operation: operation})
		fmt.Println(d.Allowed, d.Reason, "|", d.Rule, err)
	}
	// Output:
	// true  | merchant shop: allow bank/* <nil>
	// false operation-not-allowed | merchant shop: deny bank/register <nil>
	// false operation-not-allowed | default deny <nil>
}
