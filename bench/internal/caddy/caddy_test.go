package caddy

import (
	"slices"
	"testing"
)

func TestParse(t *testing.T) {
	const text = `# HELP go_memstats_mallocs_total counts 7
go_memstats_alloc_bytes_total 2.5e+06
nowpay_exchanges_total{merchant="a",operation="bank/x y",outcome="success"} 3

nonsense
nowpay_in_flight x
`
	want := []Metric{
		{"go_memstats_alloc_bytes_total", "", 2.5e6},
		{"nowpay_exchanges_total", `merchant="a",operation="bank/x y",outcome="success"`, 3},
	}
	if got := parse(text); !slices.Equal(got, want) {
		t.Errorf("parse() = %+v, want %+v", got, want)
	}
}
