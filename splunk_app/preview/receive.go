package preview

import (
	"aiwatch/internal/hecserver"
)

// Receive starts the embedded HEC receiver on a loopback address, with a token;
// data gets what comes. Scheduled searches do not run over it, so that pages show
// events and no findings.
func Receive(address, token string, data *Data) (*hecserver.Server, error) {
	return hecserver.Start(address, nil, hecserver.Config{
		Tokens: []hecserver.Token{{Value: token, DefaultIndex: "aiwatch", Ack: true}},
		Sink:   indexer{data},
	})
}

// indexer is data as a sink.
type indexer struct{ data *Data }

// Index adds the events.
func (i indexer) Index(events []hecserver.Received) error {
	var line []byte
	for n := range events {
		line = hecserver.AppendEnvelope(line[:0], &events[n])
		if err := i.data.Add(line); err != nil {
			return err
		}
	}
	return nil
}
