// Package nowpaygateway adds the Nowpay gateway to Caddy. Import it for its
// side effect, as xcaddy does:
//
//	import _ "github.com/nowpay-gateway/nowpay-gateway"
//
// The modules and their documentation are in the package caddymodule.
package nowpaygateway

import (
	_ "embed"

	_ "github.com/nowpay-gateway/nowpay-gateway/caddymodule"
)

// Example is Caddyfile.example: a configuration that runs against the simulator
// as it stands, with the parts for production beside it in comments.
//
//go:embed Caddyfile.example
var Example []byte
