// Package machine is what the commands of bench need of the machine they run on:
// processes, which a terminal's Ctrl-C does not reach, so that the command can end
// them in order; what these use; free ports; and what the machine is.
//
// It is for Linux.
package machine
