//go:build !scs

package main

import (
	"context"
	"fmt"
	"log/slog"

	"aiwatch/forwarder"
	"aiwatch/internal/conf"
)

// toSCS refuses: forwarder/scs/README.md tells why.
func (p *program) toSCS(_ context.Context, s *conf.Settings, _ *slog.Logger) (forwarder.Destination, error) {
	return nil, exitWith(exitUsage, fmt.Errorf("%s: [scs] is not in this build, since Splunk's SDK for it needs a module without a licence to pass on; build aiwatch yourself with `make build TAGS=scs`, or send to Splunk Enterprise and Splunk Cloud Platform by [hec]", s.Where("tenant").File))
}
