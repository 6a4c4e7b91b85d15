package whitelist

import (
	"errors"
	"time"
)

// Rate limits how often something may happen: Burst times at once, and Requests
// times in each Per on average. The zero Rate is no limit.
type Rate struct {
	Requests int           // at least 1
	Per      time.Duration // above zero
	Burst    int           // at least 1
}

// Validate checks a rate that limits something, which the zero Rate does not.
func (r Rate) Validate() error {
	switch {
	case r.Requests < 1:
		return errors.New("takes at least 1 request: write `<requests>/<duration>`, such as `100/1m`")
	case r.Per <= 0:
		return errors.New("takes a duration above zero: write `<requests>/<duration>`, such as `100/1m`")
	case r.Burst < 1:
		return errors.New("takes a burst of at least 1: write it behind the rate, such as `100/1m 20`, or leave it out")
	}
	return nil
}
