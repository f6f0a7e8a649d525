package audit

import "aiwatch/internal/spl"

// fillLeavers lists somebody who leaves.
func fillLeavers(engine *spl.Engine) error {
	engine.Lookups.Set("aiwatch_leavers.csv", &spl.Table{Fields: []string{"user", "notice_date", "last_day"}, Rows: [][]string{{"bob", "2026-03-01", "2026-03-31"}}})
	return nil
}
