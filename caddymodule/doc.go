// Package caddymodule is the gateway as Caddy modules. It is all that touches
// Caddy, and is thin: the rules are in the rooms that it puts together.
//
//   - the app `nowpay` ([App]): accounts, upstream, operations, merchants
//   - the handler `nowpay_gateway` ([Handler]): serves merchants
//   - guests of the app: `nowpay.secrets.*`, `nowpay.signers.*`
//   - the commands under `caddy nowpay`, and the metrics
//
// # What always holds
//
//   - Provision reaches no network and reads no secret; Start does.
//   - Two configurations are live at once during a reload, and requests outlive
//     theirs. What an exchange uses is given back by whoever leaves last, and a
//     failed reload takes nothing from the configuration that goes on.
//   - Secret sources outlive configurations that do not change them, so that a
//     reload during an outage of the secret store costs nothing.
//   - Placeholders are resolved when a configuration is provisioned, and never in
//     anything that a caller sent.
package caddymodule
