package nowpay_test

import (
	"strings"
	"testing"

	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
)

func TestScaleCode(t *testing.T) {
	codes := map[nowpay.Scale]string{nowpay.Scale012: "1 0 0 2 2 2", nowpay.Scale01: "1 0 0 2 2 2", nowpay.ScalePAN: "17 0 0 21 21 21"}
	outcomes := []nowpay.Outcome{nowpay.Success, nowpay.Failed, nowpay.Refused, nowpay.Pending, nowpay.Unknown, nowpay.Unsent}
	for scale, want := range codes {
		var got []string
		for _, o := range outcomes {
			got = append(got, scale.Code(o))
		}
		if strings.Join(got, " ") != want {
			t.Errorf("Scale(%q).Code of %q = %q, want %q", scale, outcomes, got, want)
		}
	}
}

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
