// Command caddy is Caddy with the Nowpay gateway and a simulated Nowpay.
package main

import (
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/nowpay-gateway/nowpay-gateway"
	_ "github.com/nowpay-gateway/nowpay-gateway/cmd/caddy/simulation"
)

func main() {
	caddycmd.Main()
}
