// Package memory tests what a gateway's memory holds: no core dump is left, and a
// key that was replaced is gone. The tests run gateways as processes of their own,
// so that the copies of the key that the tests have are not found, and look into
// them from outside. They are for Linux.
//
// TestNoCoreDump and TestCoreDump crash the built command caddy. TestKeyIsGone pays
// with a key, replaces it, pays on, and looks for the old key in the process. Most
// telling is the gateway whose garbage collector never runs (GOGC=off): no memory is
// used a second time there, so that whatever the gateway has not overwritten itself is
// found. Take out any one of the places where it is wiped, and the test fails.
package memory
