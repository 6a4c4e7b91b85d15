package nowpay

import (
	"errors"
	"strconv"
	"strings"
)

// Paise is an amount of money: hundredths of a rupee.
type Paise int64

const (
	maxRupeeDigits = 12
	paiseDigits    = 2
	paisePerRupee  = 100
)

// ParseAmount reads rupees as Nowpay documents them: digits, and behind a point one or two more. It refuses
// what two readers could take for different amounts, and zero. Errors do not repeat s.
func ParseAmount(s string) (Paise, error) {
	rupees, fraction, point := strings.Cut(s, ".")
	reason := ""
	switch {
	case !isDigits(rupees) || point && !isDigits(fraction):
		reason = "only digits and one point between digits are allowed"
	case len(rupees) > 1 && rupees[0] == '0':
		reason = "leading zeros are not allowed"
	case len(rupees) > maxRupeeDigits:
		reason = "too large"
	case len(fraction) > paiseDigits:
		reason = "at most two decimals are allowed"
	case strings.Trim(s, "0.") == "":
		reason = "zero is not allowed"
	}
	if reason != "" {
		return 0, errors.New("parsing amount: " + reason)
	}

	var p Paise
	for _, digit := range rupees + (fraction + "00")[:paiseDigits] {
		p = 10*p + Paise(digit-'0')
	}
	return p, nil
}

// String gives rupees with two decimals: "1.50".
func (p Paise) String() string {
	sign, rupees, paise := "", p/paisePerRupee, p%paisePerRupee
	if p < 0 {
		sign, rupees, paise = "-", -rupees, -paise
	}
	return sign + strconv.FormatInt(int64(rupees), 10) + "." + string([]byte{byte('0' + paise/10), byte('0' + paise%10)})
}

// Amount reads a string or a bare number as [ParseAmount] does.
func (v Value) Amount() (Paise, error) {
	if v.Kind != String && v.Kind != Number {
		return 0, errors.New("parsing amount: neither a string nor a number")
	}
	return ParseAmount(v.Text)
}

// isDigits reports whether s is one or more ASCII digits.
func isDigits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}
