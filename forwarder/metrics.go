package forwarder

import "sync/atomic"

// Metrics count what was done since the start. Their fields may be read at any
// time.
type Metrics struct {
	Committed atomic.Int64 // events put into the queue
	Sent      atomic.Int64 // events that the destination took
	Confirmed atomic.Int64 // events that it confirmed
	Resent    atomic.Int64 // events sent again because a confirmation never came
	Refused   atomic.Int64 // events put to the dead letters
	Retries   atomic.Int64 // bodies that were not taken and are tried again
	Recuts    atomic.Int64 // bodies cut anew
	Bytes     atomic.Int64 // compressed bytes handed to the destination
	Lost      atomic.Int64 // events in batches that could not be read any more
}

// Counters are Metrics at one moment.
type Counters struct {
	Committed int64 `json:"committed"`
	Sent      int64 `json:"sent"`
	Confirmed int64 `json:"confirmed"`
	Resent    int64 `json:"resent"`
	Refused   int64 `json:"refused"`
	Retries   int64 `json:"retries"`
	Recuts    int64 `json:"recuts"`
	Bytes     int64 `json:"bytes"`
	Lost      int64 `json:"lost"`
}

func (m *Metrics) counters() *Counters {
	return &Counters{
		Committed: m.Committed.Load(), Sent: m.Sent.Load(), Confirmed: m.Confirmed.Load(), Resent: m.Resent.Load(),
		Refused: m.Refused.Load(), Retries: m.Retries.Load(), Recuts: m.Recuts.Load(), Bytes: m.Bytes.Load(), Lost: m.Lost.Load(),
	}
}
