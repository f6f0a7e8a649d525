package s3access

import "time"

// midnight returns the Unix time in milliseconds at which a day begins in UTC,
// and whether there is such a day.
func midnight(year, month, day int) (ms int64, ok bool) {
	t := time.Date(year, time.Month(month), day, 0, 0, 0, 0, time.UTC)
	return t.UnixMilli(), year > 0 && t.Day() == day && int(t.Month()) == month
}
