package gateway

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/nowpay-gateway/nowpay-gateway/integrity"
)

// TestEvidence: what is stored in the open keeps its form, and says nothing of
// what is not known.
func TestEvidence(t *testing.T) {
	for _, c := range []struct {
		record Record
		want   string
	}{
		{Record{}, `{}`},
		{
			Record{ProviderStatus: 200, CredentialVersion: 3, EgressAddress: netip.MustParseAddr("192.0.2.1")},
			`{"credential_version":3,"egress_address":"192.0.2.1","provider_status":200}`,
		},
		{
			Record{ProviderStatus: 502, Findings: []integrity.Finding{"amount"}, Err: errors.New("<no answer>")},
			`{"error":"\u003cno answer\u003e","findings":["amount"],"provider_status":502}`,
		},
	} {
		x := &exchange{record: c.record}
		if got := x.evidence(); got != c.want {
			t.Errorf("evidence() = %s, want %s", got, c.want)
		}
	}
}
