package simulator

import (
	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
)

// operation is one call as the provider executes it. This table is written from
// the provider's reference and not from the gateway's catalogue, so that a
// mistake in one of them shows.
type operation struct {
	name string
	// reported marks what is known by hearsay at most; the gateway has no built-in
	// entry for these. They are here to try `operation` blocks on.
	reported bool
	// form: the body is a form, not JSON.
	form bool
	// required fields must be there and not empty.
	required []string
	// requestID is the field with the partner's id; "" if the call creates no
	// transaction.
	requestID string
	// wallet is what is debited; "" if the call moves no money.
	wallet Wallet
	// pan: success is 17, 19 or 21 instead of 1, 0 or 2.
	pan bool
	// check refuses with a message; nil, or "", if there is nothing to say.
	check func(fields) string
	// reply makes the answer once all is done.
	reply func(*exchange) object
}

// operations are all calls that the simulator answers.
var operations = []operation{ //nolint:gochecknoglobals // a table, never changed
	{name: "common/balance", reply: balance},

	{name: "recharge/heavyrefresh", required: []string{"operatorid", "number"}, reply: heavyRefresh},
	{name: "recharge/dorecharge", reported: true, required: []string{"number", "operatorid", "amount", "yourreqid"}, requestID: "yourreqid", wallet: Trade, reply: recharge},
	{name: "recharge/history", reported: true, reply: history},
	{name: "recharge/mbasicplans", reported: true, required: []string{"circleid", "operatorid"}, reply: plans},
	{name: "recharge/dthinfo", reported: true, required: []string{"number", "operatorid"}, reply: dthInfo},

	{name: "bank/register", required: []string{"snumber", "sname", "spincode", "semail"}, reply: register},
	{name: "bank/account_verify", reported: true, required: []string{"accountnumber", "ifsc", "bank", "yourrequestid"}, requestID: "yourrequestid", reply: verification},
	{name: "bank/account_transfer", required: []string{"snumber", "beneficiaryid", "remitterid", "amount", "yourrequestid", "transferMode"}, requestID: "yourrequestid", wallet: Trade, check: all(modes("IMPS", "NEFT"), atMost("amount", 5000_00)), reply: transfer},
	{name: "bank/payout", required: []string{"accountnumber", "ifsc", "amount", "yourrequestid", "name", "transferMode"}, requestID: "yourrequestid", wallet: AEPS, check: all(modes("IMPS", "NEFT", "RGTS"), idAtMost50), reply: transfer},
	{name: "bank/upi_verify", required: []string{"beneficiaryVPA", "yourrequestid"}, requestID: "yourrequestid", reply: vpaVerification},
	{name: "bank/upi_transfer", reported: true, required: []string{"beneficiaryVPA", "amount", "yourrequestid", "transferMode"}, requestID: "yourrequestid", wallet: Trade, check: modes("UPI"), reply: transfer},
	{name: "bank/wallet_verify", required: []string{"beneficiaryPhoneNo", "transferMode", "yourrequestid"}, requestID: "yourrequestid", check: all(modes("PAYTM", "AMAZON"), atMost("limitCheckAmount", 10_000_00)), reply: verification},
	{name: "bank/wallet_transfer", required: []string{"beneficiaryPhoneNo", "amount", "yourrequestid", "transferMode"}, requestID: "yourrequestid", wallet: Trade, check: modes("PAYTM", "AMAZON"), reply: transfer},
	// Neither documented nor reported, but made up: the page of payouts speaks of fetching their status, so that
	// some such call should exist.
	{name: "bank/payout_status", reported: true, check: anyOf("yourrequestid", "ourrequestid"), reply: payoutStatus},

	{name: "pan/managepsa", required: []string{"psaphonenumber", "psaname", "yourrequestid", "psaemailid", "panno", "shopname", "location", "state", "pin"}, requestID: "yourrequestid", pan: true, reply: managePSA},
	{name: "pan/managecoupon", required: []string{"psaid", "type", "qty", "yourrequestid"}, requestID: "yourrequestid", wallet: Trade, pan: true, check: oneOf("type", "Invalid Coupon Type", "0", "1"), reply: manageCoupon},
	{name: "pan/coupon_status", required: []string{"ourrequestid"}, reply: couponStatus},

	{name: "aeps/aeps_auth", required: []string{"mobilenumber", "aepsid", "channel"}, reply: aepsAuth},
	// The reference shows these two's fields without names, so none is required.
	{name: "aeps/be", form: true, requestID: "yourrequestid", reply: balanceEnquiry},
	{name: "aeps/ms", form: true, requestID: "yourrequestid", reply: miniStatement},
}

// byName finds an operation.
var byName = func() map[string]*operation { //nolint:gochecknoglobals // a table, never changed
	m := make(map[string]*operation, len(operations))
	for i := range operations {
		m[operations[i].name] = &operations[i]
	}
	return m
}()

// code is the text of `success` for a state.
func (o *operation) code(s State) string {
	switch {
	case s == StateSuccess && o.pan:
		return "17"
	case s == StateSuccess:
		return "1"
	case s == StatePending && o.pan:
		return "21"
	case s == StatePending:
		return "2"
	case o.pan:
		return "19"
	default:
		return "0"
	}
}

// couponPrice is what one PAN coupon costs. The real price is Nowpay's to say.
const couponPrice nowpay.Paise = 107_00

// amount is what the request would move: 0 for a call that moves no money, and
// false if it is no amount.
func (o *operation) amount(f fields) (nowpay.Paise, bool) {
	switch {
	case o.wallet == "":
		return 0, true
	case o.name == "pan/managecoupon":
		qty, ok := f.amount("qty")
		return qty / 100 * couponPrice, ok && qty >= 100
	default:
		return f.amount("amount")
	}
}

// all joins checks; the first that objects is heard.
func all(checks ...func(fields) string) func(fields) string {
	return func(f fields) string {
		for _, check := range checks {
			if message := check(f); message != "" {
				return message
			}
		}
		return ""
	}
}

// modes allows transferMode by its literals.
func modes(allowed ...string) func(fields) string {
	return oneOf("transferMode", "Invalid Transfer Mode", allowed...)
}

func oneOf(name, message string, allowed ...string) func(fields) string {
	return func(f fields) string {
		for _, a := range allowed {
			if f.text(name) == a {
				return ""
			}
		}
		return message
	}
}

// atMost limits an amount, if there is one.
func atMost(name string, limit nowpay.Paise) func(fields) string {
	return func(f fields) string {
		if p, ok := f.amount(name); ok && p > limit {
			return "Amount Exceeds Limit"
		}
		return ""
	}
}

// anyOf demands that one of the fields is there.
func anyOf(names ...string) func(fields) string {
	return func(f fields) string {
		for _, name := range names {
			if f.text(name) != "" {
				return ""
			}
		}
		return "Missing Field " + names[0]
	}
}

func idAtMost50(f fields) string {
	if len(f.text("yourrequestid")) > 50 {
		return "Invalid Request Id"
	}
	return ""
}
