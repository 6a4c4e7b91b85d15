// Package provider is what all that is measured in bench stands in front of: a
// provider that says success at once, or after some time, with as little as possible
// in between, to spare the machine for what is measured. It counts what it gets: that
// each exchange came, that it carried what proves the gateway, and that no payment
// came twice.
//
// It is a process of its own, a machine.Child.
package provider
