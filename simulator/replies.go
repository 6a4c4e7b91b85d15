package simulator

import (
	"slices"
	"strconv"
	"time"
)

// This file holds the shapes of the answers: the documented members, and those
// reported for the platform, in the order in which they are listed.

// begin starts every answer.
func (x *exchange) begin(message string) object {
	return object{{"success", x.op.code(x.state)}, {"message", message}}
}

// transaction starts the answer of a call that created a transaction.
func (x *exchange) transaction() object {
	return append(x.begin(x.message("Transaction Successful", "Transaction Failed", "Transaction Pending")),
		member{"ourrequestid", x.entry.ProviderID},
		member{"yourrequestid", x.fields.echo(x.op.requestID)},
	)
}

// message chooses a text by the state.
func (x *exchange) message(success, failed, pending string) string {
	switch x.state {
	case StateSuccess:
		return success
	case StateFailed:
		return failed
	default:
		return pending
	}
}

// date is the provider's clock, as its answers write it.
func (x *exchange) date() string { return x.now.In(ist).Format(dateLayout) }

func balance(x *exchange) object {
	return object{
		{"success", x.op.code(x.state)},
		{"tradebal", x.books.balance[Trade].String()},
		{"aepsbal", x.books.balance[AEPS].String()},
		{"smsbal", "100"},
		{"planbal", "100"},
		{"message", "Success"},
	}
}

// transfer answers payouts and transfers: the bank's reference and the name
// come only with success.
func transfer(x *exchange) object {
	a := x.transaction()
	if x.state == StateSuccess {
		a = append(a, member{"rrn", x.entry.RRN})
	}
	a = append(a, member{"amount", x.fields.echo("amount")})
	if x.state == StateSuccess {
		a = append(a, member{"beneficiaryName", x.beneficiary()})
	}
	return append(a, member{"date", x.date()})
}

// beneficiary is the name that was sent (so it verifies nothing), or else one
// that was stored before.
func (x *exchange) beneficiary() string {
	for _, name := range []string{"name", "beneficiaryName"} {
		if sent := x.fields.text(name); sent != "" {
			return sent
		}
	}
	return "SIMULATED CUSTOMER"
}

// verification answers checks of accounts and wallets.
func verification(x *exchange) object {
	a := x.transaction()
	if x.state == StateSuccess {
		a = append(a, member{"rrn", x.entry.RRN}, member{"beneficiaryName", x.beneficiary()})
	}
	return a
}

// vpaVerification is a verification whose reference lists no message.
func vpaVerification(x *exchange) object { return verification(x).without("message") }

func recharge(x *exchange) object {
	reference := ""
	if x.state == StateSuccess {
		reference = x.entry.RRN
	}
	return object{
		{"success", x.op.code(x.state)},
		{"message", x.message("Recharge Success", "Recharge Failed", "Recharge Submitted")},
		{"op_referenceid", reference},
		{"ourrequestid", x.entry.ProviderID},
		{"number", x.fields.echo("number")},
		{"amount", x.fields.echo("amount")},
		{"yourrequestid", x.fields.echo("yourreqid")}, // not the name it was sent under
		{"date", x.date()},
		{"operatorname", "Operator " + x.entry.operator},
	}
}

// history answers about recharges. success is about the query; what became of
// the recharge is the row's status.
func history(x *exchange) object {
	found := x.listed(x.fields.text("ourrequestid"), "", "recharge/dorecharge")
	return object{{"success", x.op.code(x.state)}, {"data", rows(found, x.historyRow)}}
}

// payoutStatus answers about payouts and transfers, by either id.
func payoutStatus(x *exchange) object {
	ours, yours := x.fields.text("ourrequestid"), x.fields.text("yourrequestid")
	found := x.listed(ours, yours, "bank/payout", "bank/account_transfer", "bank/wallet_transfer")
	return append(x.begin("Success"), member{"data", rows(found, x.payoutRow)})
}

func rows(entries []*Entry, row func(*Entry) object) []object {
	all := make([]object, len(entries))
	for i, e := range entries {
		all[i] = row(e)
	}
	return all
}

// listed are the entries that a query about some operations finds, newest
// first. It matches ids as prefixes, and without dates looks at today only.
func (x *exchange) listed(ours, yours string, operations ...string) []*Entry {
	if x.fault.Kind == HistoryEmpty {
		return nil
	}
	if x.fault.Kind == HistoryPrefix {
		ours, yours = ours[:min(len(ours), faultyPrefix)], yours[:min(len(yours), faultyPrefix)]
	}
	from, to := x.fields.text("fdate"), x.fields.text("tdate")
	if today := x.now.In(ist).Format(time.DateOnly); from == "" && to == "" {
		from, to = today, today
	}
	return slices.DeleteFunc(x.books.withPrefix(ours, yours), func(e *Entry) bool {
		day := e.Created.In(ist).Format(time.DateOnly)
		return !slices.Contains(operations, e.Operation) || from != "" && day < from || to != "" && day > to
	})
}

// faultyPrefix is how much of an id HistoryPrefix leaves: of a provider ID the
// day.
const faultyPrefix = 8

// tells is what a status query tells of an entry: its state and the bank's
// reference.
func (x *exchange) tells(e *Entry) (state State, rrn string) {
	if x.fault.Kind != StatusContradicts {
		return e.State, e.RRN
	}
	switch e.State {
	case StateSuccess:
		return StateFailed, ""
	case StateFailed:
		return StateSuccess, x.books.ids.digits(12)
	default:
		return e.State, e.RRN
	}
}

func (x *exchange) payoutRow(e *Entry) object {
	state, rrn := x.tells(e)
	payee := ""
	if state == StateSuccess {
		payee = e.payee
	}
	return object{
		{"ourrequestid", e.ProviderID},
		{"yourrequestid", e.RequestID},
		{"amount", e.Amount.String()},
		{"status", x.op.code(state)},
		{"rrn", rrn},
		{"beneficiaryName", payee},
		{"date", e.Created.In(ist).Format(dateLayout)},
	}
}

// historyRow has only strings, and capitals where the reference has them.
func (x *exchange) historyRow(e *Entry) object {
	state, reference := x.tells(e)
	message := map[State]string{StateSuccess: "Recharge Success", StateFailed: "Recharge Failed", StatePending: "Recharge Submitted"}[state]
	return object{
		{"transactionid", strconv.Itoa(e.Number)},
		{"MemberId", x.username},
		{"number", e.subject},
		{"amount", e.Amount.String()},
		{"Clientid", e.ProviderID},
		{"op_referenceid", reference},
		{"status", x.op.code(state)},
		{"message", message},
		{"date", e.Created.In(ist).Format(dateLayout)},
		{"customerphonenumber", e.subject},
		{"rechargetype", "Prepaid"},
		{"operator", "Operator " + e.operator},
		{"profit", e.Surcharge.String()},
		{"chargetype", "1"},
		{"beforebal", e.Before.String()},
		{"afterbal", e.After.String()},
		{"apirequestid", "NA"},
		{"yourreqid", e.RequestID},
	}
}

func plans(x *exchange) object {
	return object{
		{"success", x.op.code(x.state)},
		{"operatorname", "Operator " + x.fields.text("operatorid")},
		{"circle", "Circle " + x.fields.text("circleid")},
		{"plans", []object{
			{{"id", "1"}, {"type", "4G"}, {"price", "199"}, {"talktime", "0"}, {"validity", "28 Days"}, {"description", "1.5 GB a day"}},
			{{"id", "2"}, {"type", "Plan Cutter"}, {"price", "19"}, {"talktime", "14.95"}, {"validity", "3 Days"}, {"description", "Talk time"}},
		}},
	}
}

func dthInfo(x *exchange) object {
	return object{
		{"success", x.op.code(x.state)},
		{"tel", x.fields.text("number")},
		{"operator", "Operator " + x.fields.text("operatorid")},
		{"records", object{
			{"MonthlyRecharge", "350"},
			{"Balance", "120.50"},
			{"customerName", "SIMULATED CUSTOMER"},
			{"status", "Active"},
			{"NextRechargeDate", x.now.In(ist).AddDate(0, 0, 10).Format(time.DateOnly)},
			{"planname", "Family"},
		}},
	}
}

func heavyRefresh(x *exchange) object {
	return object{
		{"success", x.op.code(x.state)},
		{"tel", x.fields.text("number")},
		{"records", object{{"desc", "Heavy refresh was sent"}}},
	}
}

func register(x *exchange) object {
	return object{
		{"success", x.op.code(x.state)},
		{"otp_ref", x.books.ids.digits(16)},
		{"message", "OTP Sent"},
	}
}

func managePSA(x *exchange) object {
	return append(append(x.begin(x.message("Approved", "Rejected", "Pending")), member{"apirequestid", "NA"}),
		member{"ourrequestid", x.entry.ProviderID},
		member{"yourrequestid", x.fields.echo("yourrequestid")},
		member{"psaid", "PSA" + strconv.Itoa(1000+x.entry.Number)},
	)
}

func manageCoupon(x *exchange) object {
	return append(x.begin(x.message("Approved", "Rejected", "Pending")),
		member{"psaid", x.fields.echo("psaid")},
		member{"ourrequestid", x.entry.ProviderID},
		member{"yourrequestid", x.fields.echo("yourrequestid")},
		member{"qty", x.fields.echo("qty")},
		member{"amount", x.entry.Amount.String()},
	)
}

// couponStatus answers on the scale 1/0/2, other than the purchase.
func couponStatus(x *exchange) object {
	e := x.books.find(x.fields.text("ourrequestid"))
	if e == nil || e.Operation != "pan/managecoupon" || x.fault.Kind == HistoryEmpty {
		return refusal("No Record Found")
	}
	state, _ := x.tells(e)
	word := map[State]string{StateSuccess: "APPROVED", StateFailed: "REJECTED", StatePending: "PENDING"}[state]
	return object{
		{"success", x.op.code(state)},
		{"message", "Success"},
		{"coupon_status", word},
		{"psaid", e.subject},
	}
}

func aepsAuth(x *exchange) object {
	a := x.begin("Success")
	if x.fields.text("channel") == "1" {
		return append(a,
			member{"url", "https://aeps.example.com/launch?token=" + x.books.ids.digits(16)},
			member{"aepsid", x.fields.echo("aepsid")},
		)
	}
	return append(a,
		member{"aepsid", x.fields.echo("aepsid")},
		member{"aadhar", "XXXXXXXX0000"},
		member{"pan", "AAAAA0000A"},
		member{"password", x.books.ids.digits(8)},
		member{"developerid", "SIMULATOR"},
		member{"vendor_type", "SIMULATED"},
	)
}

func balanceEnquiry(x *exchange) object {
	a := x.transaction()
	if x.state == StateSuccess {
		a = append(a, member{"rrn", x.entry.RRN})
	}
	a = append(a, member{"date", x.date()})
	if x.state == StateSuccess {
		a = append(a, member{"balance", "4321.00"})
	}
	return a
}

func miniStatement(x *exchange) object {
	a := balanceEnquiry(x)
	if x.state != StateSuccess {
		return a
	}
	return append(a, member{"statement", []object{
		{{"date", x.now.In(ist).Format(time.DateOnly)}, {"txntype", "Dr"}, {"amount", "100.00"}, {"narration", "ATM"}},
		{{"date", x.now.In(ist).Format(time.DateOnly)}, {"txntype", "Cr"}, {"amount", "500.00"}, {"narration", "Salary"}},
	}})
}

// refusal is how everything is refused, from a wrong key to a missing field:
// with status 200, and no id.
func refusal(message string) object {
	return object{{"success", "0"}, {"message", message}}
}
