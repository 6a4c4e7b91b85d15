package vault

// Waiting is how many calls are in the queues.
func (t *Transit) Waiting() int { return len(t.signing) + len(t.verifying) }
