package detection

// A CleanMonth is what the whole app raised over days on which nobody did
// anything wrong. It is kept in testdata/clean_month.json, which
//
//	go test ./internal/scenario/month -run TestCleanMonth -v -update -timeout 2h
//
// writes.
type CleanMonth struct {
	Seed   uint64 `json:"seed"`
	People int    `json:"people"`
	Days   int    `json:"days"`
	// Alerts counts the findings by the number of their detection; one that
	// found nothing is not in it.
	Alerts map[int]int `json:"alerts"`
}

// Rate is how many alerts were raised per hundred people and day.
func (m *CleanMonth) Rate() float64 {
	all := 0
	for _, n := range m.Alerts {
		all += n
	}
	return float64(all) * 100 / float64(m.People) / float64(m.Days)
}
