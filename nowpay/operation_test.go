package nowpay_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
)

func recharge() nowpay.Operation {
	return nowpay.Operation{
		Name: "recharge/dorecharge", Method: "POST", Encoding: nowpay.JSON, Scale: nowpay.Scale012,
		Fields: []nowpay.Field{
			{Name: "number", Format: nowpay.FormatDigits},
			{Name: "operatorid", Format: nowpay.FormatDigits},
			{Name: "amount", Format: nowpay.FormatAmount},
			{Name: "yourreqid", Format: nowpay.FormatText, Max: 50},
			{Name: "mode", Format: nowpay.FormatChoice, Choices: []string{"A"}, Optional: true},
		},
		MovesMoney: true, RequestID: "yourreqid", AnswerRequestID: "yourrequestid", ProviderID: "ourrequestid",
		Amount: "amount", SuccessNeeds: []string{"op_referenceid"}, Personal: []string{"number"},
	}
}

func TestOperationRouteAndTarget(t *testing.T) {
	o := recharge()
	if got, want := o.Route(), "/api/recharge/dorecharge"; got != want {
		t.Errorf("Route() = %q, want %q", got, want)
	}
	if got, want := o.Target(), "/api/index.php?route=/api/recharge/dorecharge"; got != want {
		t.Errorf("Target() = %q, want %q", got, want)
	}
}

func TestOperationAnswerIDAndPersonal(t *testing.T) {
	o := recharge()
	if got := o.AnswerID(); got != "yourrequestid" {
		t.Errorf("AnswerID() = %q, want yourrequestid", got)
	}
	o.AnswerRequestID = ""
	if got := o.AnswerID(); got != "yourreqid" {
		t.Errorf("AnswerID() = %q, want the name in the request", got)
	}
	if !o.IsPersonal("number") || o.IsPersonal("amount") || o.IsPersonal("") {
		t.Error("IsPersonal does not follow the table")
	}
}

func TestOperationValidate(t *testing.T) {
	type op = nowpay.Operation
	for _, test := range []struct {
		name   string
		change func(o *op)
		want   string // in the error; "" if it is valid
	}{
		{"as it is", func(*op) {}, ""},
		{"a read needs nothing", func(o *op) {
			*o = op{Name: "a/b", Method: "POST", Encoding: nowpay.Form, Scale: nowpay.Scale01}
		}, ""},
		{"digits and underscore in the name", func(o *op) { o.Name = "recharge_2/do_1" }, ""},
		{"no amount", func(o *op) { o.Amount = "" }, ""},
		{"no answer request ID", func(o *op) { o.AnswerRequestID = "" }, ""},

		{"zero", func(o *op) { *o = op{} }, "the name must be"},
		{"no action", func(o *op) { o.Name = "recharge" }, "the name must be"},
		{"no group", func(o *op) { o.Name = "/dorecharge" }, "the name must be"},
		{"empty action", func(o *op) { o.Name = "recharge/" }, "the name must be"},
		{"three parts", func(o *op) { o.Name = "a/b/c" }, "the name must be"},
		{"a route", func(o *op) { o.Name = "/api/recharge/dorecharge" }, "the name must be"},
		{"upper case", func(o *op) { o.Name = "Recharge/do" }, "the name must be"},
		{"escape", func(o *op) { o.Name = "a/b%2f" }, "the name must be"},
		{"dots", func(o *op) { o.Name = "a/.." }, "the name must be"},
		{"wildcard", func(o *op) { o.Name = "recharge/*" }, "the name must be"},
		{"query", func(o *op) { o.Name = "a/b&method=GET" }, "the name must be"},
		{"GET", func(o *op) { o.Method = "GET" }, "the method must be POST"},
		{"no method", func(o *op) { o.Method = "" }, "the method must be POST"},
		{"small method", func(o *op) { o.Method = "post" }, "the method must be POST"},
		{"no encoding", func(o *op) { o.Encoding = "" }, "the encoding must be"},
		{"other encoding", func(o *op) { o.Encoding = "xml" }, "the encoding must be"},
		{"no scale", func(o *op) { o.Scale = "" }, "the scale must be"},
		{"other scale", func(o *op) { o.Scale = "0/1/2/3" }, "the scale must be"},

		{"field without name", func(o *op) { o.Fields[0].Name = "" }, `"" is not a field name`},
		{"field with a dot", func(o *op) { o.Fields[0].Name = "a.b" }, `"a.b" is not a field name`},
		{"field username", func(o *op) { o.Fields[0].Name = "username" }, "username and key"},
		{"field key", func(o *op) { o.Fields[0].Name = "KEY" }, "username and key"},
		{"field twice", func(o *op) { o.Fields[0].Name = "operatorid" }, `field "operatorid" is there twice`},
		{"field twice in other case", func(o *op) { o.Fields[0].Name = "OperatorID" }, `"operatorid" is there twice`},
		{"field without format", func(o *op) { o.Fields[0].Format = "" }, `field "number": unknown format ""`},
		{"field with unknown format", func(o *op) { o.Fields[0].Format = "int" }, `unknown format "int"`},
		{"negative length", func(o *op) { o.Fields[0].Max = -1 }, "must not be negative"},
		{"choices of another format", func(o *op) { o.Fields[0].Choices = []string{"1"} }, `only format "choice" has choices`},
		{"no choices", func(o *op) { o.Fields[4].Choices = nil }, `field "mode": format "choice" needs choices`},
		{"empty choice", func(o *op) { o.Fields[4].Choices = []string{"A", ""} }, "needs choices"},

		{"request ID is no field", func(o *op) { o.RequestID = "yourrequestid" }, "the request ID must be one of the fields"},
		{"request ID in other case", func(o *op) { o.RequestID = "YourReqID" }, "the request ID must be one of the fields"},
		{"no request ID", func(o *op) { o.RequestID, o.AnswerRequestID = "", "" }, "moving money takes a request ID"},
		{"optional request ID", func(o *op) { o.Fields[3].Optional = true }, "moving money takes a request ID"},
		{"request ID is an amount", func(o *op) { o.RequestID = "amount" }, "moving money takes a request ID"},
		{"request ID is a choice", func(o *op) {
			o.RequestID, o.Fields[4].Optional = "mode", false
		}, "moving money takes a request ID"},
		{"answer request ID alone", func(o *op) { o.MovesMoney, o.RequestID = false, "" }, "the answer's request ID"},
		{"bad answer request ID", func(o *op) { o.AnswerRequestID = "a b" }, "the answer's request ID"},
		{"no provider ID", func(o *op) { o.ProviderID = "" }, "moving money takes a provider ID"},
		{"bad provider ID", func(o *op) { o.ProviderID = "a/b" }, "the provider ID must be"},
		{"amount is no field", func(o *op) { o.Amount = "rupees" }, "the amount must be"},
		{"amount is no amount", func(o *op) { o.Amount = "number" }, "the amount must be"},
		{"optional amount", func(o *op) { o.Fields[2].Optional = true }, "the amount must be"},
		{"moves money and may cost", func(o *op) { o.MayCost = true }, "either moves money or"},
		{"bad success field", func(o *op) { o.SuccessNeeds = []string{"rrn", ""} }, `"" is not a field name`},
		{"bad personal field", func(o *op) { o.Personal = []string{"a b"} }, `"a b" is not a field name`},
	} {
		o := recharge()
		test.change(&o)
		err := o.Validate()
		switch {
		case test.want == "" && err != nil:
			t.Errorf("%s: Validate() = %v, want nil", test.name, err)
		case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
			t.Errorf("%s: Validate() = %v, want %q", test.name, err, test.want)
		case err != nil && !strings.HasPrefix(err.Error(), "validating operation "):
			t.Errorf("%s: Validate() = %v, does not name the operation", test.name, err)
		}
	}
}

func TestCatalogue(t *testing.T) {
	ops := append(nowpay.Documented(), recharge())
	c, err := nowpay.NewCatalogue(ops)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, o := range c.Operations() {
		names = append(names, o.Name)
		if found, ok := c.Lookup(o.Name); !ok || found != o {
			t.Errorf("Lookup(%q) = %v, %v", o.Name, found, ok)
		}
	}
	if len(names) != len(ops) || !slices.IsSorted(names) {
		t.Errorf("Operations() = %q, want %d names, sorted", names, len(ops))
	}
	for _, name := range []string{"", "bank", "bank/", "bank/Payout", "/api/bank/payout", "bank/payout ", "bank/nothing"} {
		if o, ok := c.Lookup(name); ok || o != nil {
			t.Errorf("Lookup(%q) = %v, %v, want nothing", name, o, ok)
		}
	}

	// One that is copied under another name has a route of its own.
	other, _ := c.Lookup("bank/payout")
	renamed := *other
	renamed.Name = "bank/other"
	d, err := nowpay.NewCatalogue(append(nowpay.Documented(), renamed))
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range d.Operations() {
		if want := "/api/index.php?route=/api/" + o.Name; o.Target() != want {
			t.Errorf("the target of %s is %s", o.Name, o.Target())
		}
	}

	// Neither what went in nor what comes out is a way to change the catalogue.
	ops[0].Name = "changed/name"
	c.Operations()[0] = nil
	if c.Operations()[0] == nil || c.Operations()[0].Name == "changed/name" {
		t.Error("the catalogue was changed from outside")
	}
}

func TestNewCatalogueRefuses(t *testing.T) {
	change := func(f func(o *nowpay.Operation)) []nowpay.Operation {
		o := recharge()
		f(&o)
		return append(nowpay.Documented(), o)
	}
	for name, test := range map[string]struct {
		ops  []nowpay.Operation
		want string
	}{
		"invalid": {change(func(o *nowpay.Operation) { o.Method = "GET" }), "the method must be POST"},
		"twice":   {change(func(o *nowpay.Operation) { o.Name = "bank/payout" }), `adding operation "bank/payout": it is there already`},
		"unknown status": {
			change(func(o *nowpay.Operation) { o.Status = nowpay.HistoryQuery("recharge/history") }),
			`adding operation "recharge/dorecharge": its status operation "recharge/history" is unknown`,
		},
		"status moves money": {
			change(func(o *nowpay.Operation) { o.Status = nowpay.HistoryQuery("bank/payout") }),
			`its status operation "bank/payout" moves money`,
		},
		"status is not sent what it requires": {
			change(func(o *nowpay.Operation) { o.Status = nowpay.HistoryQuery("recharge/heavyrefresh") }),
			`its status operation "recharge/heavyrefresh" requires field "operatorid": send it`,
		},
	} {
		if c, err := nowpay.NewCatalogue(test.ops); c != nil || err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: NewCatalogue() = %v, %v, want %q", name, c, err, test.want)
		}
	}
	if c, err := nowpay.NewCatalogue(nil); err != nil || len(c.Operations()) != 0 {
		t.Errorf("NewCatalogue(nil) = %v, %v", c, err)
	}
}
