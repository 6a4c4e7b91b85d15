package nowpay_test

import (
	"fmt"

	"github.com/nowpay-gateway/nowpay-gateway/nowpay"
)

func ExampleBody_Splice() {
	body, err := nowpay.ParseJSON([]byte(`{ "amount": 1.50 }`), nowpay.Limits{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%s\n", body.Splice(nil, nowpay.Member{Name: "username", Value: []byte("2000")}))
	// Output: {"username":"2000", "amount": 1.50 }
}

func ExampleOperation_CheckFields() {
	operation := nowpay.Operation{Fields: []nowpay.Field{{Name: "amount", Format: nowpay.FormatAmount}}}
	body, err := nowpay.ParseJSON([]byte(`{"amount":"1,50"}`), nowpay.Limits{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(operation.CheckFields(body))
	// Output: field "amount": must be rupees above zero with at most two decimals, such as "1.50"
}
