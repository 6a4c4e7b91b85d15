package caddymodule

import "time"

// ObserveTransit counts a signature by Vault's transit engine.
func ObserveTransit(account string) {
	observer := metrics.transit(account)
	observer.Sent(1)
	observer.Called(time.Millisecond, nil)
}
