package machine

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
)

// Child is this command as another process. It answers each line of its standard
// input with a line of numbers, and ends with it.
type Child struct {
	*Process
	Address string // where it listens
	in      io.Writer
	out     *bufio.Reader
	pipe    io.Closer // of out
}

// StartChild starts this command with arguments.
func StartChild(args ...string) (*Child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding this command: %w", err)
	}
	cmd := exec.Command(self, args...)
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("starting this command: %w", err)
	}
	out, theirs, err := os.Pipe() // not cmd's, which Wait closes
	if err != nil {
		return nil, fmt.Errorf("starting this command: %w", err)
	}
	defer theirs.Close() // the process has its own by then
	cmd.Stdout = theirs
	c := &Child{in: in, out: bufio.NewReader(out), pipe: out}
	if c.Process, err = Start(cmd); err != nil {
		return nil, errors.Join(err, out.Close())
	}
	line, err := c.out.ReadString('\n')
	if err != nil {
		return nil, errors.Join(fmt.Errorf("reading the address of %q: %w", args[0], err), c.Stop())
	}
	c.Address = strings.TrimSpace(line)
	return c, nil
}

// Stop ends it.
func (c *Child) Stop() error { return errors.Join(c.Process.Stop(), c.pipe.Close()) }

// Ask returns its numbers.
func (c *Child) Ask(numbers ...any) error {
	if _, err := fmt.Fprintln(c.in); err != nil {
		return fmt.Errorf("asking %s: %w", c.Address, err)
	}
	line, err := c.out.ReadString('\n')
	if err == nil {
		_, err = fmt.Sscan(line, numbers...)
	}
	if err != nil {
		return fmt.Errorf("asking %s: %w", c.Address, err)
	}
	return nil
}

// AnswerLines is the child's part. It returns at the end of its input.
func AnswerLines(numbers func() string) {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		fmt.Println(numbers())
	}
}
