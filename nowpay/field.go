package nowpay

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// Format is what the value of a field must look like. A form has strings only.
type Format string

const (
	// FormatText is a string that is not empty and has no control characters.
	FormatText Format = "text"
	// FormatDigits is a string of ASCII digits, or a plain whole number of at most 15 digits.
	FormatDigits Format = "digits"
	// FormatAlphanumeric is a string of ASCII letters and digits.
	FormatAlphanumeric Format = "alphanumeric"
	// FormatAmount is a string or number that [ParseAmount] reads.
	FormatAmount Format = "amount"
	// FormatChoice is a string or number whose text is one of the field's choices.
	FormatChoice Format = "choice"
)

const (
	defaultFieldMax = 1024
	// exactDigits is how many digits of a number survive a reader that takes it for floating point.
	exactDigits = 15
)

// Field is a field of a request.
type Field struct {
	Name     string
	Format   Format
	Max      int      // bytes of the text; 0 means 1024
	Choices  []string // of FormatChoice, in the spelling that counts
	Optional bool     // may be missing or null; if it is there it must be well-formed
}

// FieldError says what is wrong with a field of a request. It never holds the value.
type FieldError struct {
	Field  string
	Reason string
}

// Error is safe to show to the merchant.
func (e *FieldError) Error() string { return fmt.Sprintf("field %q: %s", e.Field, e.Reason) }

func (f *Field) max() int {
	if f.Max == 0 {
		return defaultFieldMax
	}
	return f.Max
}

// check says what is wrong with v, "" if nothing is.
func (f *Field) check(v Value) (reason string) {
	if len(v.Text) > f.max() {
		return "must not be longer than " + strconv.Itoa(f.max()) + " bytes"
	}
	switch f.Format {
	case FormatText:
		return checkText(v)
	case FormatDigits:
		return checkDigits(v)
	case FormatAlphanumeric:
		return checkAlphanumeric(v)
	case FormatAmount:
		return checkAmount(v)
	case FormatChoice:
		return f.checkChoice(v)
	}
	return "has no known format" // Validate has refused it
}

func checkText(v Value) string {
	switch {
	case v.Kind != String:
		return "must be a string"
	case v.Text == "":
		return "must not be empty"
	case strings.ContainsFunc(v.Text, unicode.IsControl):
		return "must not have control characters"
	}
	return ""
}

func checkDigits(v Value) string {
	switch {
	case !isDigits(v.Text): // only strings and numbers have a text
		return "must be digits"
	case v.Kind == Number && len(v.Text) > exactDigits:
		return "must be sent as a string, being longer than a number keeps"
	}
	return ""
}

func checkAlphanumeric(v Value) string {
	other := func(r rune) bool { return !isAlphanumeric(r) }
	if v.Kind != String || v.Text == "" || strings.ContainsFunc(v.Text, other) {
		return "must be a string of ASCII letters and digits"
	}
	return ""
}

func checkAmount(v Value) string {
	if _, err := v.Amount(); err != nil {
		return "must be rupees above zero with at most two decimals, such as \"1.50\""
	}
	return ""
}

func (f *Field) checkChoice(v Value) string {
	if !slices.Contains(f.Choices, v.Text) {
		return "must be one of " + strings.Join(f.Choices, ", ")
	}
	return ""
}

func isCredential(name string) bool {
	return strings.EqualFold(name, "username") || strings.EqualFold(name, "key")
}

func (f *Field) validate() error {
	if !isName(f.Name) {
		return fmt.Errorf("%q is not a field name", f.Name)
	}
	if isCredential(f.Name) {
		return errors.New("username and key are not fields of a merchant's request")
	}
	if f.Max < 0 {
		return fmt.Errorf("field %q: the longest length must not be negative", f.Name)
	}
	switch f.Format {
	case FormatText, FormatDigits, FormatAlphanumeric, FormatAmount:
		if len(f.Choices) > 0 {
			return fmt.Errorf("field %q: only format %q has choices", f.Name, FormatChoice)
		}
	case FormatChoice:
		if len(f.Choices) == 0 || slices.Contains(f.Choices, "") {
			return fmt.Errorf("field %q: format %q needs choices", f.Name, FormatChoice)
		}
	default:
		return fmt.Errorf("field %q: unknown format %q", f.Name, f.Format)
	}
	return nil
}
