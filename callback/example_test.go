package callback_test

import (
	"fmt"

	"github.com/nowpay-gateway/nowpay-gateway/callback"
)

func ExampleTable_Read() {
	table, err := callback.NewTable(nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	c, err := table.Read(callback.Received{
		Method:      "POST",
		ContentType: "application/json",
		Body:        []byte(`{"status":"FAILED","result":{"paytmOrderId":"20261126pm093012123456","orderId":"A-1001"}}`),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%s: request %s, Nowpay's %s, is said to be %s\n", c.Shape, c.RequestID, c.ProviderID, c.Says)
	// Output: envelope: request A-1001, Nowpay's 20261126pm093012123456, is said to be failed
}
