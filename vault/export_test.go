package vault

// Asked reports whether somebody waits for a reading that has not begun.
func (k *keeper) Asked() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.asked != nil
}
