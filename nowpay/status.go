package nowpay

// Revalidate says when Nowpay is asked, server to server, what became of a transaction.
type Revalidate string

const (
	// RevalidateNever asks by itself never; what is pending waits for a callback or a person.
	RevalidateNever Revalidate = "never"
	// RevalidatePending asks about what is pending or unknown.
	RevalidatePending Revalidate = "pending"
	// RevalidateAlways asks also before an answer is passed on, and believes no success that is not confirmed.
	RevalidateAlways Revalidate = "always"
)

// StatusQuery says how to ask what became of a transaction, and how to read the answer. It must not be
// modified once its operation is in a [Catalogue].
type StatusQuery struct {
	// Operation that is called, such as "pan/coupon_status". It moves no money.
	Operation string
	// Send are the fields of the request.
	Send []StatusField
	// Rows is the field of the answer with an array of rows, of which one is the transaction's; the answer's
	// own `success` is then about the query. "" if the answer is about the transaction itself.
	Rows string
	// Match are fields of the row that must be there and equal. The same text is demanded, but for amounts,
	// which are compared as such, and for what is not known of the transaction, which is not compared.
	Match []StatusField
	// State is the field of the row that tells the state.
	State string
	// States says what its texts mean: [Success], [Failed] or [Pending]. All others mean nothing.
	States map[string]Outcome
	// ProviderID and Reference are fields of the row with Nowpay's id and the bank's reference; "" if it has none.
	ProviderID, Reference string
}

// StatusField is a field of a status request or its answer, and what of the transaction it holds.
type StatusField struct {
	Name   string
	Source StatusSource
}

// StatusSource names something that is known of a transaction.
type StatusSource string

const (
	// SourceRequestID is the request ID as it was sent to Nowpay.
	SourceRequestID StatusSource = "request_id"
	// SourceProviderID is Nowpay's id. Without an answer it is not known.
	SourceProviderID StatusSource = "provider_id"
	// SourceAmount is the amount in rupees, as in "1.50".
	SourceAmount StatusSource = "amount"
	// SourceDay, SourceDayBefore and SourceDayAfter are the Indian calendar day of the request, and those
	// around it, as in "2026-11-26": where a query finds today's only, and clocks differ about midnight.
	SourceDay       StatusSource = "day"
	SourceDayBefore StatusSource = "day_before"
	SourceDayAfter  StatusSource = "day_after"
	// SourceField begins the name of a field of the transaction's own request, as in "field:psaid".
	SourceField StatusSource = "field:"
)

// HistoryQuery asks the operation in the way that Nowpay documents for its recharge history.
func HistoryQuery(operation string) *StatusQuery {
	return &StatusQuery{
		Operation: operation,
		Send:      []StatusField{{"ourrequestid", SourceProviderID}},
		Rows:      "data",
		Match: []StatusField{
			{"Clientid", SourceProviderID}, {"yourreqid", SourceRequestID}, {"amount", SourceAmount},
		},
		State:      "status",
		States:     map[string]Outcome{"1": Success, "0": Failed, "2": Pending},
		ProviderID: "Clientid",
		Reference:  "op_referenceid",
	}
}
