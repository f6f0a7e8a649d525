//go:build scs

package main

import (
	"context"
	"log/slog"

	"aiwatch/forwarder"
	"aiwatch/forwarder/scs"
	"aiwatch/internal/conf"
)

// toSCS makes the destination Splunk Cloud Services.
func (p *program) toSCS(ctx context.Context, s *conf.Settings, _ *slog.Logger) (forwarder.Destination, error) {
	token, err := secret(ctx, s, "token")
	if err != nil {
		return nil, err
	}
	password, err := secret(ctx, s, "client_secret")
	if err != nil {
		return nil, err
	}
	d, err := scs.New(scs.Config{
		Tenant: s.String("tenant"), Token: token.Reveal(),
		ClientID: s.String("client_id"), ClientSecret: password.Reveal(), Host: s.String("host"),
	})
	if err != nil {
		return nil, exitWith(exitUsage, err)
	}
	return d, nil
}
