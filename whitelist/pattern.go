package whitelist

import (
	"fmt"
	"strings"
)

// Pattern names one operation, "bank/payout", or all operations of a group,
// "bank/*". Patterns can be compared with ==. The zero Pattern matches nothing
// and is refused by [NewPolicy].
type Pattern struct{ text string }

// ParsePattern parses "group/action" or "group/*"; both parts consist of a-z,
// 0-9 and _. There is no pattern for every operation: each group that a
// merchant may use is to be named.
func ParsePattern(s string) (Pattern, error) {
	if !isPattern(s) {
		return Pattern{}, fmt.Errorf("parsing operation %q: %s", s, patternHint(s))
	}
	return Pattern{s}, nil
}

// Match reports whether the pattern names the operation. It is false for
// operation names that are not well-formed.
func (p Pattern) Match(operation string) bool {
	if !isName(operation) {
		return false
	}
	group, whole := strings.CutSuffix(p.text, "*") // "bank/": the slash ends the group
	return operation == p.text || whole && strings.HasPrefix(operation, group)
}

// String returns the pattern as it is written, "" for the zero Pattern.
func (p Pattern) String() string { return p.text }

func isPattern(s string) bool {
	group, whole := strings.CutSuffix(s, "/*")
	return isName(s) || whole && isWord(group)
}

// patternHint says what to write instead of s, which is not a pattern.
func patternHint(s string) string {
	wanted := strings.TrimPrefix(strings.ToLower(s), dropInTarget)
	wanted = strings.Trim(strings.TrimPrefix(wanted, shortTarget), "/")
	group, _, _ := strings.Cut(wanted, "/")
	switch {
	case isPattern(wanted):
		return fmt.Sprintf("write `%s`", wanted)
	case strings.HasPrefix(wanted, "*"):
		return "name each group, such as `bank/*`"
	case isWord(wanted):
		return fmt.Sprintf("write `%s/*` for the whole group, or name one operation of it", wanted)
	case isWord(group) && strings.Contains(wanted, "*"):
		return fmt.Sprintf("a star stands for a whole action only: write `%s/*`", group)
	}
	return "write `group/action` or `group/*`, such as `bank/payout` or `bank/*`"
}
