package nowpay

// Outcome is what became of an exchange. The zero value is no outcome.
type Outcome string

const (
	// Success is final: Nowpay did what was asked.
	Success Outcome = "success"
	// Failed is final: Nowpay created a transaction and gave the money back.
	Failed Outcome = "failed"
	// Refused is final: Nowpay created nothing.
	Refused Outcome = "refused"
	// Pending means that Nowpay itself does not know yet.
	Pending Outcome = "pending"
	// Unknown means that the request was sent and there is no answer to trust.
	Unknown Outcome = "unknown"
	// Unsent means that certainly no byte of the request left.
	Unsent Outcome = "unsent"
)

// Scale says how the field `success` of an answer is to be read.
type Scale string

const (
	// Scale012 is the common one: 1 success, 0 failed, 2 pending.
	Scale012 Scale = "0/1/2"
	// Scale01 knows no pending: 1 success, 0 failed.
	Scale01 Scale = "0/1"
	// ScalePAN is that of PSA enrolment and coupon purchase: 17 approved, 0 and 19 rejected, 21 pending.
	ScalePAN Scale = "pan"
)

var scales = map[Scale]map[string]Outcome{
	Scale012: {"1": Success, "0": Failed, "2": Pending},
	Scale01:  {"1": Success, "0": Failed},
	ScalePAN: {"17": Success, "0": Failed, "19": Failed, "21": Pending},
}

// Read says what success, the text of a string or of a number, means on the scale: [Success], [Failed] or
// [Pending]; [Unknown] for all other texts and for an unknown scale. Telling failed from refused takes the
// rest of the answer.
func (s Scale) Read(success string) Outcome {
	if o, ok := scales[s][success]; ok {
		return o
	}
	return Unknown
}

// Code is the text of `success` that tells an outcome on the scale. What is not final is pending: "2", also
// where the scale itself knows none.
func (s Scale) Code(o Outcome) string {
	success, pending := "1", "2"
	if s == ScalePAN {
		success, pending = "17", "21"
	}
	switch o {
	case Success:
		return success
	case Failed, Refused:
		return "0"
	case Pending, Unknown, Unsent:
		return pending
	}
	return pending
}
