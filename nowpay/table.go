package nowpay

import "net/http"

// maxRequestID is documented for payout ("alphanumeric, at most 50 characters"). The rule is taken for the
// others too: an id that the provider trims or escapes would not come back as it was sent.
const maxRequestID = 50

func text(name string) Field   { return Field{Name: name, Format: FormatText} }
func digits(name string) Field { return Field{Name: name, Format: FormatDigits} }
func amount(name string) Field { return Field{Name: name, Format: FormatAmount} }
func requestID(name string) Field {
	return Field{Name: name, Format: FormatAlphanumeric, Max: maxRequestID}
}

func choice(name string, choices ...string) Field {
	return Field{Name: name, Format: FormatChoice, Choices: choices}
}

func optional(f Field) Field {
	f.Optional = true
	return f
}

// Documented gives a fresh copy of the operations whose route and fields the provider's pages document. What
// is only reported or guessed is not among them (recharge/dorecharge, say): that is for the user to add.
// Each comment says what the page says where it matters; the list is in the order of the pages.
func Documented() []Operation {
	const (
		ours  = "ourrequestid"
		yours = "yourrequestid"
	)
	return []Operation{
		// "Getting started with your API": answers success, message, tradebal, aepsbal, planbal, smsbal.
		{
			Name: "common/balance", Method: http.MethodPost, Encoding: JSON, Scale: Scale012,
		},

		// "Setup box heavy refresh": a command to a set-top box, not to be repeated unasked. Answers success, tel, records{desc}.
		{
			Name: "recharge/heavyrefresh", Method: http.MethodPost, Encoding: JSON, Scale: Scale012,
			Fields:  []Field{digits("operatorid"), digits("number")},
			MayCost: true, Personal: []string{"number", "tel"},
		},

		// "Register remitter": all four mandatory, two numeric. Sends an OTP. Answers success 1/0, otp_ref, message.
		{
			Name: "bank/register", Method: http.MethodPost, Encoding: JSON, Scale: Scale01,
			Fields:  []Field{digits("snumber"), text("sname"), digits("spincode"), text("semail")},
			MayCost: true, Personal: []string{"snumber", "sname", "spincode", "semail", "otp_ref"},
		},

		// "Get bank details" (in truth the transfer): at most Rs 5000 each; IMPS or NEFT, "RGTS not yet".
		// A repeated yourrequestid is accepted at the partner's risk. Answers rrn and beneficiaryName.
		{
			Name: "bank/account_transfer", Method: http.MethodPost, Encoding: JSON, Scale: Scale012,
			Fields: []Field{
				digits("snumber"), digits("beneficiaryid"), digits("remitterid"), amount("amount"),
				requestID(yours), choice("transferMode", "IMPS", "NEFT"),
			},
			MovesMoney: true, RequestID: yours, ProviderID: ours, Amount: "amount",
			SuccessNeeds: []string{"rrn"},
			Personal:     []string{"snumber", "beneficiaryid", "remitterid", "beneficiaryName", "rrn", "authpin"},
		},

		// "Money transfer" (in truth payout): rrn "when success is 1". RTGS is on the page in two spellings, and
		// one of them is certainly refused, so neither is let through until Nowpay says which.
		{
			Name: "bank/payout", Method: http.MethodPost, Encoding: JSON, Scale: Scale012,
			Fields: []Field{
				text("accountnumber"), text("ifsc"), amount("amount"), requestID(yours), text("name"), choice("transferMode", "IMPS", "NEFT"),
			},
			MovesMoney: true, RequestID: yours, ProviderID: ours, Amount: "amount",
			SuccessNeeds: []string{"rrn"},
			Personal:     []string{"accountnumber", "ifsc", "name", "beneficiaryName", "rrn"},
		},

		// "Verify VPA": lists rrn without saying when it is there. Booked like a transaction, so probably charged.
		{
			Name: "bank/upi_verify", Method: http.MethodPost, Encoding: JSON, Scale: Scale012,
			Fields:  []Field{text("beneficiaryVPA"), requestID(yours)},
			MayCost: true, RequestID: yours, ProviderID: ours,
			Personal: []string{"beneficiaryVPA", "beneficiaryName", "rrn"},
		},

		// "Paytm" (in truth verify wallet): limitCheckAmount is compared with a limit, nothing is moved. Lists rrn
		// without saying when it is there.
		{
			Name: "bank/wallet_verify", Method: http.MethodPost, Encoding: JSON, Scale: Scale012,
			Fields: []Field{
				digits("beneficiaryPhoneNo"), choice("transferMode", "PAYTM", "AMAZON"), requestID(yours),
				optional(amount("limitCheckAmount")), optional(text("beneficiaryName")),
			},
			MayCost: true, RequestID: yours, ProviderID: ours,
			Personal: []string{"beneficiaryPhoneNo", "beneficiaryName", "rrn"},
		},

		// "Transfer to Paytm wallet": PAYTM or AMAZON by the table; the sample's PYTM_WALLET contradicts it.
		{
			Name: "bank/wallet_transfer", Method: http.MethodPost, Encoding: JSON, Scale: Scale012,
			Fields: []Field{
				digits("beneficiaryPhoneNo"), amount("amount"), requestID(yours),
				choice("transferMode", "PAYTM", "AMAZON"),
			},
			MovesMoney: true, RequestID: yours, ProviderID: ours, Amount: "amount",
			SuccessNeeds: []string{"rrn"},
			Personal:     []string{"beneficiaryPhoneNo", "beneficiaryName", "rrn"},
		},

		// "Enrollment" of a PAN service agency: all mandatory, two numeric; state is a code. May be charged.
		{
			Name: "pan/managepsa", Method: http.MethodPost, Encoding: JSON, Scale: ScalePAN,
			Fields: []Field{
				digits("psaphonenumber"), text("psaname"), requestID(yours), text("psaemailid"), text("panno"),
				text("shopname"), text("location"), text("state"), digits("pin"),
			},
			MayCost: true, RequestID: yours, ProviderID: ours,
			Personal: []string{
				"psaphonenumber", "psaname", "psaemailid", "panno", "shopname", "location", "state", "pin", "psaid",
			},
		},

		// "Coupon purchase": type 1 physical, 0 soft. The price is not in the request, only in the answer's amount.
		{
			Name: "pan/managecoupon", Method: http.MethodPost, Encoding: JSON, Scale: ScalePAN,
			Fields:     []Field{text("psaid"), choice("type", "1", "0"), digits("qty"), requestID(yours)},
			MovesMoney: true, RequestID: yours, ProviderID: ours,
			// "Coupon status" answers for the purchase itself, without an id.
			Status: &StatusQuery{
				Operation: "pan/coupon_status",
				Send:      []StatusField{{ours, SourceProviderID}},
				Match:     []StatusField{{"psaid", SourceField + "psaid"}},
				State:     "coupon_status",
				States:    map[string]Outcome{"APPROVED": Success, "REJECTED": Failed, "PENDING": Pending},
			},
			Personal: []string{"psaid"},
		},

		// "Coupon status": by Nowpay's id of the purchase, on the common scale. Answers coupon_status and psaid.
		{
			Name: "pan/coupon_status", Method: http.MethodPost, Encoding: JSON, Scale: Scale012,
			Fields:   []Field{{Name: ours, Format: FormatText, Max: maxRequestID}},
			Personal: []string{"psaid"},
		},

		// "Web launch": channel 1 web, 2 SDK; types not stated. The answer carries a login of the agent.
		{
			Name: "aeps/aeps_auth", Method: http.MethodPost, Encoding: JSON, Scale: Scale01,
			Fields:   []Field{text("mobilenumber"), text("aepsid"), choice("channel", "1", "2")},
			Personal: []string{"mobilenumber", "aepsid", "url", "aadhar", "pan", "password", "developerid"},
		},

		// "Balance enquiry": a form post whose page shows values without names; only the answer's are known.
		{
			Name: "aeps/be", Method: http.MethodPost, Encoding: Form, Scale: Scale012,
			Fields:  []Field{optional(requestID(yours))},
			MayCost: true, RequestID: yours, ProviderID: ours,
			Personal: []string{"uid", "PidData", "mobilenumber", "aepsid", "rrn", "balance"},
		},

		// "Mini statement": as balance enquiry; answers also statement{date, txntype, amount, narration}.
		{
			Name: "aeps/ms", Method: http.MethodPost, Encoding: Form, Scale: Scale012,
			Fields:  []Field{optional(requestID(yours))},
			MayCost: true, RequestID: yours, ProviderID: ours,
			Personal: []string{"uid", "PidData", "mobilenumber", "aepsid", "rrn", "balance", "statement", "narration"},
		},
	}
}
