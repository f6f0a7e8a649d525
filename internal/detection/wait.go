package detection

import (
	"context"
	"fmt"
	"time"

	"aiwatch/internal/spl"
)

// Wait is how long the detection waits before it judges an act, as the macros of
// an engine have it.
func (d *Detection) Wait(ctx context.Context, engine *spl.Engine, now time.Time) (time.Duration, error) {
	if d.Schedule.Waits == "" {
		return 0, nil
	}
	res, err := engine.Run(ctx, "| makeresults | eval waits="+d.Schedule.Waits, spl.Params{Now: now})
	if err != nil {
		return 0, fmt.Errorf("waits = %s: %w", d.Schedule.Waits, err)
	}
	seconds, ok := res.Get(res.Rows[0], "waits").Float()
	if !ok || seconds <= 0 {
		return 0, fmt.Errorf("waits = %s is no number of seconds", d.Schedule.Waits)
	}
	return time.Duration(seconds * float64(time.Second)), nil
}
