package gateway

import (
	"context"
	"net/http"

	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
)

// operationView is one operation as GET /operations shows it.
type operationView struct {
	Operation  string      `json:"operation"`
	Method     string      `json:"method"`
	Path       string      `json:"path"`
	MediaType  string      `json:"content_type"`
	MovesMoney bool        `json:"moves_money"`
	MayCost    bool        `json:"may_cost"`
	RequestID  string      `json:"request_id,omitempty"` // the field with the merchant's own id
	Fields     []fieldView `json:"fields"`
}

// fieldView is one field of an operation. Fields that are not listed are
// passed on as they are.
type fieldView struct {
	Name     string        `json:"name"`
	Format   nowpay.Format `json:"format"`
	Max      int           `json:"max,omitempty"` // bytes
	Choices  []string      `json:"choices,omitempty"`
	Optional bool          `json:"optional,omitempty"`
}

// operationsView is the answer of GET /operations.
type operationsView struct {
	Merchant   string          `json:"merchant"`
	MaxAmount  string          `json:"max_amount,omitempty"`   // rupees, of one transaction
	DayAmount  string          `json:"daily_amount,omitempty"` // rupees, on an Indian calendar day
	Operations []operationView `json:"operations"`
}

// Operations answers a merchant with the operations that it may call.
func (g *Gateway) Operations(ctx context.Context, r Request) Answer {
	x := g.begin(r)
	x.record.ID = g.NewID()
	answer, problem := g.operations(ctx, x, r)
	return g.close(ctx, x, answer, problem)
}

func (g *Gateway) operations(ctx context.Context, x *exchange, r Request) (Answer, *Problem) {
	if problem := refuseEarly(x, r); problem != nil {
		return Answer{}, problem
	}
	merchant, problem := g.decide(ctx, x, r, "")
	if problem != nil {
		return Answer{}, problem
	}
	if problem := g.throttle(merchant); problem != nil {
		return Answer{}, problem
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return Answer{}, &Problem{Code: MethodNotAllowed, Detail: "the list is read with GET", Allow: http.MethodGet}
	}
	if problem := g.useNonce(ctx, x); problem != nil {
		return Answer{}, problem
	}
	view := operationsView{Merchant: merchant.Name, Operations: []operationView{}}
	if merchant.MaxAmount > 0 {
		view.MaxAmount = merchant.MaxAmount.String()
	}
	if merchant.DailyAmount > 0 {
		view.DayAmount = merchant.DailyAmount.String()
	}
	for _, operation := range g.Catalogue.Operations() {
		// A merchant with a limit may not spend what is not known beforehand.
		unpriced := operation.MovesMoney && operation.Amount == ""
		if merchant.DecideOperation(operation.Name).Allowed && !(unpriced && merchant.LimitsAmount()) {
			view.Operations = append(view.Operations, viewOf(operation))
		}
	}
	return jsonAnswer(view), nil
}

func viewOf(operation *nowpay.Operation) operationView {
	view := operationView{
		Operation: operation.Name, Method: operation.Method, Path: operation.Route(), MediaType: operation.Encoding.MediaType(),
		MovesMoney: operation.MovesMoney, MayCost: operation.MayCost, RequestID: operation.RequestID,
		Fields: make([]fieldView, 0, len(operation.Fields)),
	}
	for _, field := range operation.Fields {
		view.Fields = append(view.Fields, fieldView(field))
	}
	return view
}
