// Package memory tests what a gateway's memory holds: no core dump is left, and a
// key that was replaced is gone. The tests run gateways as processes of their own,
// so that the copies of the key that the tests have are not found, and look into
// them from outside. They are for Linux.
package memory
