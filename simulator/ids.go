package simulator

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// ist is the provider's time zone (assumed; India has had no other since 1947
// and no daylight saving, so no zone database is needed).
var ist = time.FixedZone("IST", 5*3600+1800) //nolint:gochecknoglobals // a constant in all but syntax

// dateLayout is the date in answers: 2021-10-24 10:34:23 pm.
const dateLayout = "2006-01-02 03:04:05 pm"

// ids makes the provider's identifiers. They are repeatable: the same seed,
// times and order give the same ones. Not safe for concurrent use.
type ids struct {
	random *rand.Rand
	used   map[string]struct{}
}

func newIDs(seed uint64) *ids {
	return &ids{
		random: rand.New(rand.NewPCG(seed, 1)), //nolint:gosec // G404: repeatable on purpose
		used:   map[string]struct{}{},
	}
}

// provider makes an `ourrequestid`: 20211028pm231537111806, which is the date,
// am or pm, the time on 24 hours and six random digits. The real ones may
// collide; these do only on demand (IDCollision), so that a load test is not
// disturbed by chance.
func (g *ids) provider(now time.Time) string {
	for {
		id := now.In(ist).Format("20060102pm150405") + g.digits(6)
		if _, taken := g.used[id]; !taken {
			g.used[id] = struct{}{}
			return id
		}
	}
}

// digits makes n random digits, the first of which is not 0.
func (g *ids) digits(n int) string {
	var b strings.Builder
	fmt.Fprint(&b, 1+g.random.IntN(9))
	for b.Len() < n {
		fmt.Fprint(&b, g.random.IntN(10))
	}
	return b.String()
}
