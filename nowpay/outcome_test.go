package nowpay_test

import (
	"testing"

	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
)

func TestScaleRead(t *testing.T) {
	known := map[nowpay.Scale]map[string]nowpay.Outcome{
		nowpay.Scale012: {"1": nowpay.Success, "0": nowpay.Failed, "2": nowpay.Pending},
		nowpay.Scale01:  {"1": nowpay.Success, "0": nowpay.Failed},
		nowpay.ScalePAN: {"17": nowpay.Success, "0": nowpay.Failed, "19": nowpay.Failed, "21": nowpay.Pending},
		"":              {},
		"other":         {},
	}
	texts := []string{
		"0", "1", "2", "17", "19", "21", // every text on every scale: the scales must not mix
		"", " ", "1 ", " 1", "01", "1.0", "1e0", "+1", "-1", "-0", "3", "١", "true", "null", "success", "SUCCESS", "1\x00",
	}
	for scale, meaning := range known {
		for _, text := range texts {
			want, ok := meaning[text]
			if !ok {
				want = nowpay.Unknown
			}
			if got := scale.Read(text); got != want {
				t.Errorf("Scale(%q).Read(%q) = %q, want %q", scale, text, got, want)
			}
		}
	}
}
