package hec

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/klauspost/compress/gzip"

	"aiwatch/forwarder"
)

// CheckSourcetype is the sourcetype of the event that Check sends. It is none of
// the schema's, so no search takes it for an event.
const CheckSourcetype = "aiwatch:check"

// clockSkew is how far the two clocks may be apart.
const clockSkew = 5 * time.Minute

// Check tries each endpoint by sending one event of CheckSourcetype for each
// index: there is no other way to learn whether a token may write to it.
func (d *Destination) Check(ctx context.Context) []forwarder.Finding {
	var findings []forwarder.Finding
	if d.config.InsecureSkipVerify {
		findings = append(findings, forwarder.Finding{
			Severity: forwarder.Warning, Text: "insecure_skip_verify is set: whoever is on the way can read the token and the events",
			Fix: "set ca_file to the certificate of the authority that signed the server's",
		})
	}
	indexes := d.config.Indexes
	if len(indexes) == 0 {
		indexes = []string{""}
	}
	for _, e := range d.endpoints {
		for i, index := range indexes {
			found, reached := d.checkIndex(ctx, e, index, i == 0)
			findings = append(findings, found...)
			if !reached {
				break // the other indexes would tell the same
			}
		}
	}
	return findings
}

// checkIndex sends one event. The first one for an endpoint tells of its clock
// and acknowledgements too.
func (d *Destination) checkIndex(ctx context.Context, e *endpoint, index string, first bool) (findings []forwarder.Finding, reached bool) {
	body, err := checkEvent(index, d.clock.Now())
	if err != nil {
		return []forwarder.Finding{{Severity: forwarder.Misset, Text: err.Error()}}, false
	}
	ch, ticket := e.begin()
	ans, err := d.post(ctx, e.base+eventPath, ch.guid, body, true)
	if err != nil {
		e.end(ch, ticket, nil, false, nil)
		t := explain(e.base, err)
		return []forwarder.Finding{{Severity: t.severity, Text: t.text, Fix: t.fix}}, false
	}
	e.end(ch, ticket, ans.ackID(), false, nil)
	out := ans.outcome(e.base, 1, d.clock.Now())
	name := fmt.Sprintf("index %s", index)
	if index == "" {
		name = "the token's default index"
	}
	if out.Verdict != forwarder.Delivered {
		f := forwarder.Finding{Severity: forwarder.Misset, Text: ans.told(e.base), Fix: ans.fix()}
		switch out.Verdict {
		case forwarder.Retry:
			f.Severity, f.Fix = forwarder.Unavailable, "it is there but takes nothing now; look at its queues and its load"
		case forwarder.HoldIndex:
			f.Text += " for " + name
		case forwarder.Refused, forwarder.TooLarge:
			f.Fix = "it refuses a small plain event; look at the receiver and at proxies on the way"
		}
		return append(findings, f), out.Verdict == forwarder.HoldIndex
	}
	findings = append(findings, forwarder.Finding{Text: fmt.Sprintf("%s takes events for %s", e.base, name)})
	if first {
		findings = append(findings, d.checkAck(e, ans)...)
		findings = append(findings, d.checkClock(e, ans)...)
	}
	return findings, true
}

func (d *Destination) checkAck(e *endpoint, ans *answer) []forwarder.Finding {
	acked := ans.ackID() != nil
	switch {
	case acked && d.config.Ack == AckOff:
		return []forwarder.Finding{{
			Severity: forwarder.Warning, Text: fmt.Sprintf("%s acknowledges what is indexed, but ack = off", e.base),
			Fix: "set ack = auto: then a batch leaves the queue when it is indexed, not when it is accepted",
		}}
	case acked:
		return []forwarder.Finding{{Text: fmt.Sprintf("%s acknowledges what is indexed", e.base)}}
	case d.config.Ack == AckOn:
		return []forwarder.Finding{{
			Severity: forwarder.Misset, Text: fmt.Sprintf("%s acknowledges nothing, although ack = on: everything would be held", e.base),
			Fix: actions[14].fix,
		}}
	}
	return []forwarder.Finding{{
		Severity: forwarder.Warning, Text: fmt.Sprintf("%s accepts events but does not confirm them: accepted, not confirmed", e.base),
		Fix: "turn on indexer acknowledgement for the token where Splunk offers it; otherwise what an indexer loses after its answer is lost",
	}}
}

func (d *Destination) checkClock(e *endpoint, ans *answer) []forwarder.Finding {
	theirs, err := http.ParseTime(ans.header.Get("Date"))
	if err != nil {
		return nil
	}
	ours := d.clock.Now()
	skew := ours.Sub(theirs).Truncate(time.Second)
	if skew.Abs() <= clockSkew {
		return nil
	}
	return []forwarder.Finding{{
		Severity: forwarder.Warning, Text: fmt.Sprintf("the clocks differ: here it is %s, at %s %s", ours.UTC().Format(time.RFC3339), e.base, theirs.UTC().Format(time.RFC3339)),
		Fix: "set the clocks by NTP: events that lie in the future are missed by searches",
	}}
}

func checkEvent(index string, now time.Time) ([]byte, error) {
	event := map[string]any{
		"time": now.Unix(), "source": "aiwatch check", "sourcetype": CheckSourcetype, "event": "aiwatch check: events arrive here",
	}
	if index != "" {
		event["index"] = index
	}
	raw, err := json.Marshal(event)
	if err != nil {
		return nil, err
	}
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	_, _ = w.Write(raw) // a bytes.Buffer takes everything
	_ = w.Close()
	return packed.Bytes(), nil
}
